"""`/api/v1`: what happened and what waits, as JSON; reload. Reading never changes anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.store import reading, runs
from alerthub.store.repeats import Said
from alerthub.store.tx import Tx
from alerthub.web.base import Refused, answer, hub_of, problem
from alerthub.web.repeats import once_outside
from alerthub.web.tags import mark_of_incident, tagged

LIMIT, MOST = 50, 200
STATUSES = frozenset({"", "open", "triggered", "acknowledged", "resolved"})
STATES = frozenset({"", "sending", "sent", "failed", "unknown"})
YES, YES_OR_NO = frozenset({"1", "true"}), frozenset({"", "0", "1", "false", "true"})
# What a row can be called by. Nothing else reaches the database: PostgreSQL refuses some of what an address can hold.
NUMBER = re.compile(r"[0-9]{1,15}")
REFERENCE = re.compile(rf"{NUMBER.pattern}|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}")


class BadQuery(Refused):
    """A query parameter that cannot be understood: which, and what would be right."""


async def one_incident(request: Request) -> Response:
    found = await find_incident(request)
    if found is None:
        return problem(404, f"there is no incident {request.path_params['reference'][:40]!r}")
    return tagged(request, mark_of_incident(found), found)


async def find_incident(request: Request) -> dict[str, Any] | None:
    """The one that the address names by number or id, with its action runs."""
    reference = request.path_params["reference"]
    if not REFERENCE.fullmatch(reference):
        return None
    return await hub_of(request).store.read(lambda tx: with_runs(tx, reading.one_incident(tx, reference)))


def with_runs(tx: Tx, found: dict[str, Any] | None) -> dict[str, Any] | None:
    if found is not None:
        found["actions"] = [run_view(run) for run in runs.of_incident(tx, found["id"])]
    return found


def run_view(run: runs.Run) -> dict[str, Any]:
    view = {name: reading.text(value) for name, value in asdict(run).items()}
    return {name: view[name] for name in view if name != "was_leased"}


async def list_deliveries(request: Request) -> Response:
    return await paged(request, lambda tx, limit, before: reading.list_deliveries(
        tx, limit, before, choice(request, "state", STATES), only_dead=choice(request, "dead_letter", YES_OR_NO) in YES))


async def list_quarantine(request: Request) -> Response:
    return await paged(request, lambda tx, limit, before: reading.list_quarantine(tx, limit, before))


async def reload(request: Request) -> Response:
    """Read the configuration again. A bad file changes nothing, and the answer says what is wrong with it."""
    def do() -> Said:
        hub = hub_of(request)
        problems = hub.reload()
        return (422, {"problems": problems}) if problems else (200, {"status": "reloaded", "version": hub.rules.version})

    status, said = await once_outside(request, do)
    if status != 200:
        return problem(status, "the configuration was not taken over: " + "; ".join(said["problems"]))
    return answer(200, said)


Query = Callable[[Tx, int, int | None], dict[str, Any]]


async def paged(request: Request, query: Query) -> Response:
    limit, before = number(request, "limit", LIMIT, MOST) or LIMIT, number(request, "before", None, 2**62)
    return answer(200, await hub_of(request).store.read(lambda tx: query(tx, limit, before)))


def number(request: Request, name: str, default: int | None, most: int) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or not 1 <= int(text) <= most:
        raise BadQuery(f"{name} must be a number from 1 to {most}")
    return int(text)


def choice(request: Request, name: str, allowed: frozenset[str]) -> str:
    value = request.query_params.get(name, "")
    if value not in allowed:
        raise BadQuery(f"{name} must be one of {', '.join(sorted(filter(None, allowed)))}")
    return value
