"""The incidents, and one of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.rules import Rules
from alerthub.domain.runbook import choose
from alerthub.store import reading
from alerthub.web.api import STATUSES, find_incident
from alerthub.web.base import hub_of
from alerthub.web.pages.render import page
from alerthub.web.routing import route

PAGE = 100
SHOWN = {"alerts": 20, "lines": 8}      # of a long list at first; the rest unfolds, so that a phone's page ends somewhere
GRAVEST_FIRST = frozenset({"open", "triggered", "acknowledged"})
AFTER = re.compile(r"([0-3])-([0-9]{1,15})")


async def index(request: Request) -> Response:
    """What is open, the gravest first; with what is over among it, the newest first."""
    status, before = request.query_params.get("status", "open"), request.query_params.get("before", "")
    store = hub_of(request).store
    if status in GRAVEST_FIRST:
        last = AFTER.fullmatch(before)
        after = (int(last[1]), int(last[2])) if last else None
        found = await store.read(lambda tx: reading.gravest_incidents(tx, PAGE, after, status))
        cursor = "{}-{}".format(*found["next"]) if found["next"] else ""
    else:
        number = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
        wanted = status if status in STATUSES else ""
        found = await store.read(lambda tx: reading.list_incidents(tx, PAGE, number, wanted))
        cursor = str(found["next"] or "")
    return page(request, "incidents.html", incidents=found["items"], next=cursor, shown=status)


async def incident(request: Request) -> Response:
    hub, found = hub_of(request), await find_incident(request)
    if found is None:
        return page(request, "missing.html", 404, what="incident")
    runbook = next((book for alert in found["alert_list"] if (book := choose(hub.rules.runbooks, alert["labels"]))), None)
    return page(request, "incident.html", incident=found, runbook=runbook, owners=owners_of(hub.rules), tries=tries_of(found),
                  is_held=bool(found["silence_id"] or found["is_silenced"]), policies=hub.rules.policies, first=SHOWN)


def owners_of(rules: Rules) -> dict[str, str]:
    """Whose own each destination is, of those that are somebody's."""
    owners: dict[str, str] = {}
    for person, told in rules.contacts.items():
        for destination in told:
            known = owners.get(destination.key)
            owners[destination.key] = f"{known}, {person}" if known else person
    return owners


def tries_of(found: Mapping[str, Any]) -> dict[int, int]:
    """Which try each delivery was since its destination was reached last; only of those that failed, or came after one."""
    failed: dict[int, int] = {}
    tries: dict[int, int] = {}
    for delivery in found["deliveries"]:
        lane, state = delivery["lane_id"], delivery["state"]
        if state in ("failed", "unknown") or failed.get(lane):
            tries[delivery["id"]] = failed.get(lane, 0) + 1
        failed[lane] = 0 if state == "sent" else failed.get(lane, 0) + (state in ("failed", "unknown"))
    return tries


ROUTES = [*route("/", index), *route("/incidents/{reference}", incident)]
