"""Pages for people who look: the incidents, one incident, a runbook. Server-rendered; reading needs no script."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.compose import is_web
from alerthub.domain.rules import Rules
from alerthub.domain.runbook import choose
from alerthub.store import reading
from alerthub.store.columns import EPOCH, MICROSECOND
from alerthub.web.api import STATUSES, find_incident
from alerthub.web.base import hub_of

HERE = Path(__file__).parent
PAGE = 100
SHOWN = {"alerts": 20, "lines": 8}      # of a long list at first; the rest unfolds, so that a phone's page ends somewhere
GRAVEST_FIRST = frozenset({"open", "triggered", "acknowledged"})
AFTER = re.compile(r"([0-3])-([0-9]{1,15})")


def moment(value: str | None) -> str:
    """`2026-11-21 03:04:05 UTC`, from what the API gives."""
    return f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S} UTC" if value else "–"


def micros(value: int) -> str:
    """The same, from what the record keeps: microseconds since 1970."""
    return f"{EPOCH + value * MICROSECOND:%Y-%m-%d %H:%M:%S.%f} UTC"


ENVIRONMENT = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape(default=True),
                          undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
ENVIRONMENT.filters |= {"moment": moment, "micros": micros}
ENVIRONMENT.tests["web"] = is_web


def render(name: str, status: int = 200, **values: Any) -> Response:
    page = ENVIRONMENT.get_template(name).render(**values)
    return Response(page, status, {"cache-control": "no-store"}, "text/html")


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
    return render("incidents.html", incidents=found["items"], next=cursor, shown=status)


async def incident(request: Request) -> Response:
    hub, found = hub_of(request), await find_incident(request)
    if found is None:
        return render("missing.html", 404, what="incident")
    runbook = next((book for alert in found["alert_list"] if (book := choose(hub.rules.runbooks, alert["labels"]))), None)
    return render("incident.html", incident=found, runbook=runbook, owners=owners_of(hub.rules), tries=tries_of(found),
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


async def runbook(request: Request) -> Response:
    """Open to everybody who reaches the hub: nothing of an incident is on it."""
    hub, name = hub_of(request), request.path_params["name"]
    found = next((book for book in hub.rules.runbooks if book.name == name), None)
    if found is None:
        return render("missing.html", 404, what="runbook")
    return render("runbook.html", runbook=found, body=Markup(found.html))  # noqa: S704  (cleaned by nh3 when it was read)


async def style(request: Request) -> Response:
    return Response((HERE / "static" / "hub.css").read_bytes(), headers={"cache-control": "max-age=3600"}, media_type="text/css")
