"""How the API reads a question: cursors, references and moments, refused with what would be right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.store.tx import Tx
from alerthub.web.api import LIMIT, MOST, NUMBER, BadQuery, number
from alerthub.web.base import answer, hub_of, problem
from alerthub.web.oncall import moment
from alerthub.web.tags import tagged

LONGEST = 200           # characters of a word that is looked for
Mark = Callable[[dict[str, Any]], str]
Read = Callable[[Tx], dict[str, Any] | None]


def limit_of(request: Request) -> int:
    return number(request, "limit", LIMIT, MOST) or LIMIT


def word(request: Request, name: str) -> str:
    """What both databases can compare."""
    given = request.query_params.get(name, "")
    if "\0" in given or len(given) > LONGEST:
        raise BadQuery(f"{name} holds what cannot be looked for, or more than {LONGEST} characters")
    return given


def time_of(request: Request, name: str, time_zone: str) -> datetime | None:
    given = request.query_params.get(name)
    try:
        return moment(given, time_zone) if given is not None else None
    except ValueError as error:
        raise BadQuery(f"{name}: {error}") from None


def number_in(request: Request, name: str) -> int:
    """The number in the address; 0, which nothing has, for what is none."""
    given = str(request.path_params[name])
    return int(given) if NUMBER.fullmatch(given) else 0


def page_of(items: list[Any], limit: int, after: str, key: str = "name") -> dict[str, Any]:
    """A page of what is configured, in its order. The cursor is the name of the last one; one that left the configuration since
    begins anew."""
    names = [item[key] for item in items]
    first = names.index(after) + 1 if after in names else 0
    shown = items[first:first + limit]
    return {"items": shown, "next": shown[-1][key] if first + limit < len(items) else None}


async def shown(request: Request, what: str, name: str, read: Read, mark: Mark | None = None) -> Response:
    """200 with what is found, or 404 that names it. With a `mark` it has a tag."""
    found = await hub_of(request).store.read(read)
    if found is None:
        return problem(404, f"there is no {what} {str(request.path_params[name])[:40]!r}")
    return tagged(request, mark(found), found) if mark else answer(200, found)


async def listed(request: Request, query: Callable[[Tx, int, int | None], dict[str, Any]]) -> Response:
    """A page by `limit` and `before`, both checked. 400 says what is wrong."""
    limit, before = limit_of(request), number(request, "before", None, 2**62)
    return answer(200, await hub_of(request).store.read(lambda tx: query(tx, limit, before)))
