"""What must come again and again, and whether it does. Its pings come by a door of their own: see web/heartbeats.py."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.heartbeat import Heartbeat, State
from alerthub.domain.rules import HeartbeatRule, Rules
from alerthub.store import heartbeats
from alerthub.web.base import hub_of
from alerthub.web.heartbeats import view
from alerthub.web.pages.render import page
from alerthub.web.pages.times import Times
from alerthub.web.routing import route

ORDER = (State.missing.value, State.new.value, State.alive.value)


async def show(request: Request) -> Response:
    """Those that are missing first."""
    hub = hub_of(request)
    rules = hub.rules
    known = await hub.store.read(heartbeats.read)
    rows = [row_of(rules, rule, known.get(name)) for name, rule in rules.heartbeats.items()]
    times = Times(rules.answers.time_zone, hub.clock.now())
    rows.sort(key=lambda row: ORDER.index(row["state"]))
    return page(request, "heartbeats.html", rows=rows, at=times.at, ago=times.ago,
                count={word: sum(row["state"] == word for row in rows) for word in ORDER})


def row_of(rules: Rules, rule: HeartbeatRule, heartbeat: Heartbeat | None) -> dict[str, Any]:
    """`ping` is its address; its token is known by its hash alone, and is not part of it."""
    address = "" if rule.matchers else f"{rules.public_url.rstrip('/')}/heartbeats/{quote(rule.name, safe='')}"
    actions = [{"name": name, "targets": targets or rules.actions[name].targets} for name, targets in rule.actions]
    return {"cron": "", "interval": "", **view(rule, heartbeat), "ping": address, "has_token": bool(rule.token_sha256),
            "actions": actions}


ROUTES = route("/heartbeats", show)
