"""`/heartbeats/{name}`: a job says that it has run. And `/api/v1/heartbeats`: which are watched, and how they are.

`ok` after COMMIT; 503 when that cannot be now. A heartbeat that alerts beat has no door here.
"""

from __future__ import annotations

import asyncio
import hmac
import logging

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.heartbeat import Heartbeat, State
from alerthub.domain.rules import HeartbeatRule
from alerthub.domain.wording import spoken
from alerthub.errors import Busy
from alerthub.flow import beat
from alerthub.flow.intake import Taken
from alerthub.hashing import hashed
from alerthub.store import heartbeats
from alerthub.store.reading import text
from alerthub.web.api import MOST, number
from alerthub.web.base import HubView, answer, hub_of, problem
from alerthub.web.gate import bearer

logger = logging.getLogger("alerthub.heartbeats")


async def ping(request: Request) -> Response:
    """One came. Its token is a bearer, or the last part of the address: `/heartbeats/{name}/{token}`."""
    hub, name = hub_of(request), request.path_params["name"]
    rules, at = hub.rules, hub.clock.now()
    rule = rules.heartbeats.get(name)
    if rule is None or rule.matchers:
        return problem(404, f"there is no heartbeat {name[:40]!r} to be pinged")
    if not is_admitted(rule, request):
        return problem(401, "send the header Authorization: Bearer with the token of this heartbeat", {
            "www-authenticate": "Bearer"})
    try:
        async with asyncio.timeout(hub.door.commit_seconds):
            taken = await hub.store.write(lambda tx: beat.seen(tx, rules, name, at, hub.clock.now()))
    except TimeoutError:
        return busy(name, "the database did not commit in time")
    except Busy as error:
        return busy(name, str(error))
    if taken is not None:
        came_again(hub, taken)
    return Response("ok", 200, {"cache-control": "no-store"}, "text/plain")


def is_admitted(rule: HeartbeatRule, request: Request) -> bool:
    given = request.path_params.get("token") or bearer(request.headers)
    return not rule.token_sha256 or hmac.compare_digest(hashed(given), rule.token_sha256)


def busy(name: str, reason: str) -> Response:
    logger.warning("heartbeat answered 503: %s", reason, extra={"event": "heartbeat.busy", "heartbeat": name})
    return problem(503, f"{reason}; send it again", {"retry-after": "1"})


def came_again(hub: HubView, taken: Taken) -> None:
    for event in taken.events:
        hub.metrics.events.labels(event.kind.value).inc()
        logger.info("incident %s: %s", event.kind.value, event.text, extra={
            "event": f"incident.{event.kind.value}", "incident_id": event.incident_id, "seq": event.seq})
    hub.nudge()


async def list_heartbeats(request: Request) -> Response:
    """All that are configured, in the order of the file."""
    hub = hub_of(request)
    limit, after = number(request, "limit", MOST, MOST) or MOST, request.query_params.get("after", "")
    known = await hub.store.read(heartbeats.read)
    names = list(hub.rules.heartbeats)
    left = names[names.index(after) + 1:] if after in names else names
    items = [view(hub.rules.heartbeats[name], known.get(name)) for name in left[:limit]]
    return answer(200, {"items": items, "next": left[limit - 1] if len(left) > limit else None})


def view(rule: HeartbeatRule, heartbeat: Heartbeat | None) -> dict[str, object]:
    expected = {"cron": rule.cron, "time_zone": rule.time_zone} if rule.cron else {"interval": spoken(rule.interval)}
    return {
        "name": rule.name, "state": (heartbeat.state if heartbeat else State.new).value,
        "seen_at": text(heartbeat.seen_at) if heartbeat else None, "due_at": text(heartbeat.due_at) if heartbeat else None,
        "since": text(heartbeat.since) if heartbeat else None, **expected, "grace": spoken(rule.grace),
        "severity": rule.severity, "receiver": rule.receiver, "matchers": [str(matcher) for matcher in rule.matchers],
        "actions": [{"name": name, "targets": list(targets)} for name, targets in rule.actions],
    }
