"""The door for machines: `POST /hooks/{source}`. 200 after COMMIT, and no other answer that ends a retry too early:
overload and a database that is away are 503 within 2 s, never 429, never a redirect (PROTOCOLS 1.5, R-1, R-2)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain import own
from alerthub.domain.alert import Batch
from alerthub.errors import BadPayload, Busy
from alerthub.sources.base import Source
from alerthub.store import events
from alerthub.web.base import HubView, answer, hub_of, problem, refusal
from alerthub.web.bodies import NoBody, TooLarge, read_body
from alerthub.web.refusals import Refusals, refusals

logger = logging.getLogger("alerthub.hooks")
LARGE_BODY = 256 * 1024     # parsed beside the loop, so that others are answered meanwhile
OK = b'{"status":"ok"}'
REFUSED = "unknown source, or its credentials are wrong"
UNKNOWN = "(unknown)"


def note_refusal(told: Refusals, source: Source | None, headers: Mapping[str, str], now: float) -> None:
    """A line for each known source and reason, and one for all unknown sources together."""
    name, reason = source.name if source else UNKNOWN, "wrong" if has_credentials(source, headers) else "missing"
    if told.is_news(name, reason, now):
        logger.warning("webhook refused: %s, credentials %s", f"source {name}" if source else "unknown source", reason,
                       extra={"event": "webhook.refused", "source": name, "reason": reason})


def has_credentials(source: Source | None, headers: Mapping[str, str]) -> bool:
    is_signed = source is not None and source.signs_body and any("signature" in name for name in headers)
    return is_signed or "authorization" in headers


async def receive(request: Request) -> Response:
    """Take one webhook in."""
    hub = hub_of(request)
    name = request.path_params["source"]
    began, arrived_at = hub.clock.monotonic(), hub.clock.now()
    known = name if name in hub.sources else UNKNOWN
    with hub.tracer.span("webhook", source=known):
        response = await take(hub, name, request, arrived_at)
        hub.tracer.tell(status=response.status_code)
    if response.status_code == 401:
        note_refusal(refusals(request, "hooks"), hub.sources.get(name), request.headers, began)
    hub.metrics.webhooks.labels(known, str(response.status_code)).inc()
    hub.metrics.webhook_seconds.labels(known).observe(hub.clock.monotonic() - began)
    return response


async def take(hub: HubView, name: str, request: Request, arrived_at: datetime) -> Response:
    source = hub.sources.get(name)
    headers = dict(request.headers.items())
    if source is None or not source.admits(headers, None, arrived_at):
        return problem(401, REFUSED, {"www-authenticate": "Bearer"})
    try:
        body = await read_body(request, hub.door.body_limit, hub.door.body_seconds, late=503)
    except TooLarge:
        return await too_large(hub, source)
    except NoBody as error:
        return refusal(error)
    if source.signs_body and not source.admits(headers, body, arrived_at):
        return problem(401, REFUSED, {"www-authenticate": "Bearer"})
    return await store_body(hub, source, body, arrived_at)


async def store_body(hub: HubView, source: Source, body: bytes, arrived_at: datetime) -> Response:
    try:
        batch = await parsed(source, body, arrived_at)
        async with asyncio.timeout(hub.door.commit_seconds):
            await hub.take(batch)
    except BadPayload as error:
        return await set_aside(hub, source, body, error.reason, arrived_at)
    except TimeoutError:
        return busy(source, "the database did not commit in time")
    except Busy as error:
        return busy(source, str(error))
    return Response(OK, 200, media_type="application/json")


async def parsed(source: Source, body: bytes, arrived_at: datetime) -> Batch:
    if len(body) > LARGE_BODY:
        return await asyncio.to_thread(source.parse, body, arrived_at)
    return source.parse(body, arrived_at)


def busy(source: Source, reason: str) -> Response:
    logger.warning("webhook answered 503: %s", reason, extra={"event": "webhook.busy", "source": source.name})
    return problem(503, f"{reason}; send it again", {"retry-after": "1"})


async def set_aside(hub: HubView, source: Source, body: bytes, reason: str, arrived_at: datetime) -> Response:
    """Quarantine it, page about its sender once, and say what would be right (R-6)."""
    sha256 = hashlib.sha256(body).hexdigest()
    logger.warning("webhook cannot be read: %s", reason, extra={
        "event": "webhook.quarantined", "source": source.name, "body_sha256": sha256, "bytes": len(body)})

    def unit(tx: Any) -> None:
        events.set_aside(tx, source.name, arrived_at, reason, body, sha256)

    return await paged(hub, source, 400, reason, own.bad_payload(source.name, reason), unit)


async def too_large(hub: HubView, source: Source) -> Response:
    limit = hub.door.body_limit
    reason = f"the body is larger than {limit} bytes; group alerts more finely, or raise server.max_body_size"
    if source.signs_body:       # nobody knows yet whether this sender may page
        return problem(413, reason, {"connection": "close"})
    return await paged(hub, source, 413, reason, own.body_too_large(source.name, limit), None)


async def paged(hub: HubView, source: Source, status: int, reason: str, alert: Any, unit: Any) -> Response:
    try:
        async with asyncio.timeout(hub.door.commit_seconds):
            if unit is not None:
                await hub.store.write(unit)
            await hub.raise_own([alert])
    except (TimeoutError, Busy):
        return busy(source, "the database did not commit in time")
    return problem(status, reason)


async def describe(request: Request) -> Response:
    """A person who opens the address in a browser is told what it is for; nothing is redirected (R-2)."""
    return answer(405, {"reason": "post a webhook here"}, {"allow": "POST, PUT"})
