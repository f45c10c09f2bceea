"""The list of incidents over the API: as it was, and with what people look for."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from alerthub.store import reading, search
from alerthub.store.search import BadCursor
from alerthub.web.api import choice, number
from alerthub.web.base import answer, hub_of, problem
from alerthub.web.searching import wanted_of
from alerthub.web.v1.asking import limit_of

SORTS = frozenset({"", "newest", "gravest"})
LAST = 10**15 - 1       # numbers have at most 15 digits


async def list_incidents(request: Request) -> Response:
    """The newest first; of open ones with `sort=gravest` the gravest first. `before` is the `next` of the page before. A page may
    hold fewer than `limit`, or none, and have a next one."""
    limit, is_by_gravity = limit_of(request), choice(request, "sort", SORTS) == "gravest"
    wanted = await asyncio.to_thread(wanted_of, request.query_params, newest_first=not is_by_gravity)
    if wanted.is_gravest_first:
        cursor, before = request.query_params.get("before", ""), None
    else:
        before = number(request, "before", None, 2**62)
        cursor = str(min(before, LAST)) if before is not None else ""
    store = hub_of(request).store
    if wanted.is_plain and not wanted.is_gravest_first:
        return answer(200, await store.read(lambda tx: reading.list_incidents(tx, limit, before, wanted.status)))
    try:
        found = await store.read(lambda tx: search.incidents(tx, wanted, limit, cursor))
    except BadCursor as error:
        return problem(400, f"before: {error}")
    following = found["next"] if wanted.is_gravest_first or found["next"] is None else int(found["next"])
    return answer(200, {"items": found["items"], "next": following})
