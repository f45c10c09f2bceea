"""Dead letters over the API: send them again."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from alerthub.store import lanes
from alerthub.store.repeats import Said
from alerthub.store.tx import Tx
from alerthub.web.api import NUMBER
from alerthub.web.base import answer, hub_of, problem
from alerthub.web.repeats import once


async def replay(request: Request) -> Response:
    """Send dead letters again: one lane, or all of them."""
    hub = hub_of(request)
    reference = request.path_params.get("lane")
    lane = int(reference) if reference and NUMBER.fullmatch(reference) else None

    def unit(tx: Tx) -> Said:
        count = 0 if reference and lane is None else lanes.replay(tx, hub.clock.now(), lane)
        return (404 if reference and not count else 200), {"replayed": count}

    (status, done), _ = await once(request, b"", unit)
    hub.nudge()
    return answer(200, done) if status == 200 else problem(404, f"lane {str(reference)[:40]!r} holds no dead letter")
