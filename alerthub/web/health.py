"""How the hub is: alive, ready, and healthy by component; and its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from alerthub.errors import Busy, Failure
from alerthub.metrics import CONTENT_TYPE
from alerthub.store import destinations, lanes, migrate, reading
from alerthub.store.file import Gone
from alerthub.web.base import HubView, answer, hub_of, problem

READY_SECONDS = 1.5
LAG_DEGRADED = 60.0      # seconds that a due delivery may wait before the hub calls itself degraded
ORDER = ("healthy", "degraded", "unhealthy")
OUTCOMES = ("sent", *(failure.value for failure in Failure))


async def alive(request: Request) -> Response:
    """The process answers. Says nothing about the database: a restart would not mend that."""
    return answer(200, {"status": "alive"})


async def ready(request: Request) -> Response:
    """The database answers, so webhooks can be stored."""
    hub = hub_of(request)
    try:
        async with asyncio.timeout(READY_SECONDS):
            await hub.store.read(lambda tx: lanes.oldest_due(tx, hub.clock.now()))
    except (Busy, TimeoutError) as error:
        return problem(503, silence(error, "the database does not answer"))
    return answer(200, {"status": "ready"})


async def health(request: Request) -> Response:
    """Every component by name; 503 only when nothing can be stored or sent."""
    parts = await components(hub_of(request))
    worst = max((str(part["status"]) for part in parts.values()), key=ORDER.index)
    return answer(503 if worst == "unhealthy" else 200, {"status": worst, "components": parts})


async def components(hub: HubView) -> dict[str, dict[str, object]]:
    parts: dict[str, dict[str, object]] = {}
    try:
        async with asyncio.timeout(READY_SECONDS):
            now = hub.clock.now()
            oldest, failing, numbers, newer = await hub.store.read(
                lambda tx: (lanes.oldest_due(tx, now), destinations.failing(tx), reading.counts(tx), migrate.newer(tx)))
    except (Busy, TimeoutError) as error:
        return {"database": part("unhealthy", silence(error, "does not answer"))}
    trouble = hub.store.trouble
    parts["database"] = part("healthy", "answers") if trouble is None else part(
        "unhealthy", f"can be read, but not written since {trouble.since:%Y-%m-%d %H:%M:%S} UTC: {trouble.word}")
    if newer:
        parts["schema"] = part("degraded", f"at revision {newer}, which a newer replica made; replace this one by that version")
    for name, word in hub.components().items():
        parts[name] = part("healthy" if word == "running" else "degraded", word)
    lag = max(((now - at).total_seconds() for at in oldest.values()), default=0.0)
    parts["deliveries"] = part("degraded" if lag > LAG_DEGRADED or numbers["dead"] else "healthy",
                               f"oldest waits {lag:.0f} s, {numbers['dead']} dead letters")
    for key, since, word in failing:
        parts[f"destination {key}"] = part("degraded", f"fails since {since:%Y-%m-%d %H:%M:%S} UTC: {word}")
    return parts


def silence(error: Exception, word: str) -> str:
    return str(error) if isinstance(error, Gone) else f"{word}: {str(error) or 'time is up'}"


def part(status: str, detail: str) -> dict[str, object]:
    return {"status": status, "detail": detail}


async def metrics(request: Request) -> Response:
    hub = hub_of(request)
    try:
        async with asyncio.timeout(READY_SECONDS):
            await refresh(hub)
    except (Busy, TimeoutError):
        hub.metrics.database.set(0)
        hub.metrics.errors.labels("metrics").inc()
    return Response(hub.metrics.text(), headers={"content-type": CONTENT_TYPE})


async def refresh(hub: HubView) -> None:
    """Gauges are read from the database when they are asked for: all replicas show the same."""
    now = hub.clock.now()
    oldest, failing, numbers = await hub.store.read(
        lambda tx: (lanes.oldest_due(tx, now), destinations.failing(tx), reading.counts(tx)))
    metrics = hub.metrics
    metrics.database.set(hub.store.trouble is None)
    metrics.failing_destinations.set(len(failing))
    metrics.dead_lanes.set(numbers["dead"])
    for is_verified, number in numbers["latched"].items():
        metrics.latched.labels(is_verified).set(number)
    for severity in ("critical", "error", "warning", "info"):
        metrics.open_incidents.labels(severity).set(numbers["severity"].get(severity, 0))
    set_channels(hub, {key: (now - at).total_seconds() for key, at in oldest.items()})


def set_channels(hub: HubView, oldest: Mapping[str, float]) -> None:
    """Every channel that is in use is there from the start: a counter that is born at 1 hides its first step."""
    for channel in {destination.channel for destination in hub.rules.destinations().values()}:
        hub.metrics.oldest_pending.labels(channel).set(max(0.0, oldest.get(channel, 0.0)))
        hub.metrics.dead_letters.labels(channel)
        hub.metrics.possible_duplicates.labels(channel)
        for outcome in OUTCOMES:
            hub.metrics.deliveries.labels(channel, outcome)
