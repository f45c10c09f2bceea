"""What tells an open page that something has changed: server-sent events. They name incidents and hold nothing else of them;
whoever is told loads the page again, as it is then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from alerthub.web.base import Watch, hub_of, problem
from alerthub.web.gate import gate_of
from alerthub.web.routing import route
from alerthub.web.visitor import known

BEAT_SECONDS = 15       # a script that hears nothing for longer than two of them says that its page is not live
LIFE_SECONDS = 600.0    # then the browser asks anew
STUCK_SECONDS = 20.0    # a reader that takes nothing is given up
AGAIN_MILLISECONDS = 2_000


async def live(request: Request) -> Response:
    watch, gate, visitor = hub_of(request).live, gate_of(request), known(request)
    if watch.is_full:
        return problem(503, "too many pages are open, or the hub stops; this page is not live", {"retry-after": "30"})

    async def may_look() -> bool:
        return await gate.is_still(visitor, request.headers)

    return EventSourceResponse(told(watch, may_look=may_look), ping=BEAT_SECONDS, ping_message_factory=beat,
                               send_timeout=STUCK_SECONDS)


async def anybody() -> bool:
    return True


async def told(watch: Watch, seconds: float = LIFE_SECONDS, may_look: Callable[[], Awaitable[bool]] = anybody,
               every: float = BEAT_SECONDS) -> AsyncIterator[ServerSentEvent]:
    """Until it is over, or old, or whoever looks on may not any more, which is asked so often."""
    time = asyncio.get_running_loop().time
    with watch.listening() as watcher:
        yield ServerSentEvent(event="hello", data="", retry=AGAIN_MILLISECONDS)
        ends, asks = time() + seconds, time() + every
        while time() < ends:
            if time() >= asks:
                if not await may_look():
                    return
                asks = time() + every
            try:
                async with asyncio.timeout_at(min(ends, asks)):
                    kind, ids = await watcher.next()
            except TimeoutError:
                continue
            if kind == "over":
                return
            yield ServerSentEvent(event=kind, data=json.dumps(ids))


def beat() -> ServerSentEvent:
    """An event and not a comment: scripts are not told of comments, and a line that is cut is otherwise never noticed."""
    return ServerSentEvent(event="beat", data="")


ROUTES = route("/live", live)
