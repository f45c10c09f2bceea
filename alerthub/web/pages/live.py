"""What tells an open page that something has changed: server-sent events. They name incidents and hold nothing else of them;
whoever is told loads the page again, as it is then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from alerthub.web.base import Watch, hub_of, problem
from alerthub.web.routing import route

BEAT_SECONDS = 15       # a script that hears nothing for longer than two of them says that its page is not live
LIFE_SECONDS = 600.0    # then the browser asks anew: whoever may not enter any more does not look on either
STUCK_SECONDS = 20.0    # a reader that takes nothing is given up
AGAIN_MILLISECONDS = 2_000


async def live(request: Request) -> Response:
    watch = hub_of(request).live
    if watch.is_full:
        return problem(503, "too many pages are open, or the hub stops; this page is not live", {"retry-after": "30"})
    return EventSourceResponse(told(watch), ping=BEAT_SECONDS, ping_message_factory=beat, send_timeout=STUCK_SECONDS)


async def told(watch: Watch, seconds: float = LIFE_SECONDS) -> AsyncIterator[ServerSentEvent]:
    """Until it is over, or old."""
    with watch.listening() as watcher:
        yield ServerSentEvent(event="hello", data="", retry=AGAIN_MILLISECONDS)
        ends = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                async with asyncio.timeout_at(ends):
                    kind, ids = await watcher.next()
            except TimeoutError:
                return
            if kind == "over":
                return
            yield ServerSentEvent(event=kind, data=json.dumps(ids))


def beat() -> ServerSentEvent:
    """An event and not a comment: scripts are not told of comments, and a line that is cut is otherwise never noticed."""
    return ServerSentEvent(event="beat", data="")


ROUTES = route("/live", live)
