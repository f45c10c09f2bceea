"""What the worker says of its work to a collector of traces: one span per attempt to deliver and per run of an action."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from alerthub.flow.act import Started
from alerthub.flow.settle import Sending
from alerthub.telemetry import Tracer


async def delivering(tracer: Tracer, sending: Sending, claim: object | None, work: Callable[[], Awaitable[None]]) -> None:
    """A summary of many incidents stands in the trace of the first of them."""
    message = sending.message
    with tracer.span("deliver", message.incident_id, [claim], incident=message.number, channel=sending.destination.channel,
                     why=message.why.value, lanes=[str(share.lane.id) for share in sending.shares],
                     attempt=sending.shares[0].attempt, possible_duplicate=message.possible_duplicate):
        await work()


async def acting(tracer: Tracer, started: Started, work: Callable[[], Awaitable[None]]) -> None:
    run = started.run
    with tracer.span("act", run.incident_id, incident=started.call.number, run=run.id, action=run.action, target=run.target,
                     direction=run.direction, attempt=started.attempt):
        await work()
