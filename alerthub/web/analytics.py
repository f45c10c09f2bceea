"""`/api/v1/analytics`: looking back over 7, 30 or 90 days, or over days by name. What each number means stands in
MEANINGS, which the page shows as well."""

from __future__ import annotations

import asyncio
import re
from datetime import date
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.analytics import DAYS_ASKED, SEVERITIES, USUAL_DAYS, Span, between, last_days
from alerthub.flow.analytics import look_back
from alerthub.store.analytics import Scope
from alerthub.web.api import BadQuery, choice
from alerthub.web.base import HubView, answer, hub_of
from alerthub.web.routing import route

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
LONGEST_TEAM = 200
CHOICES = frozenset({"", *SEVERITIES})
LENGTHS = frozenset({"", *map(str, DAYS_ASKED)})
MEANINGS = {
    "incidents": "Incidents that were first opened within the span. One that came back within reopen_window is the same one.",
    "to_acknowledge": "From the first opening to the first time that a person acknowledged it, by whatever door. Incidents that "
                      "nobody acknowledged have no such time and are not in it.",
    "to_resolve": "From the first opening to the last closing, by the source or by a person. Incidents that are still open are "
                  "not in it.",
    "noise": "By the name of the alert: how often its incidents opened, how often they came back after they were over, and how "
             "many of them nobody ever acknowledged.",
    "woken": "Messages to somebody's own destinations that were sent because somebody was wanted: opened, reopened, escalated, "
             "given back, repeated, or many at once. News of what somebody has, or of what is over, are not counted. Night is "
             "22:00 to 07:00.",
    "actions": "Of all runs that were really started within the span: those that succeeded and whose target confirmed it "
               "afterwards. What nobody knows the end of counts as started, and is shown apart.",
    "safe_mode": "How long each target had to be in its safe state within the span: from its latching until its release was "
                 "confirmed.",
    "deliveries": "Attempts to send, by channel. Dead: given up, a dead letter. Failed: tried again later.",
}


def asked(request: Request, hub: HubView) -> Scope:
    """Which span, severity and team the address asks for. BadQuery, with what would be right."""
    first, last = request.query_params.get("from", ""), request.query_params.get("to", "")
    days, team = choice(request, "days", LENGTHS), request.query_params.get("team", "").strip()
    if len(team) > LONGEST_TEAM or "\0" in team or not team.isprintable():
        raise BadQuery(f"team must be the value of a label, of at most {LONGEST_TEAM} characters")
    return Scope(span_of(first, last, days, hub), choice(request, "severity", CHOICES), team)


def span_of(first: str, last: str, days: str, hub: HubView) -> Span:
    now, zone = hub.clock.now(), hub.rules.answers.time_zone
    if not (first or last):
        return last_days(int(days or USUAL_DAYS), now, zone)
    try:
        return between(day_of(first or last), day_of(last or first), now, zone)
    except ValueError as error:
        raise BadQuery(f"from, to: {error}") from None


def day_of(text: str) -> date:
    if not (text.isascii() and DAY.fullmatch(text)):
        raise ValueError("write a day as 2026-11-21")
    return date.fromisoformat(text)


async def looked_back(request: Request, scope: Scope) -> dict[str, Any]:
    """One at a time: of a long span it takes seconds, and there are few readers of the database for everything else."""
    hub, state = hub_of(request), request.app.state
    if not hasattr(state, "looking_back"):
        state.looking_back = asyncio.Lock()
    async with state.looking_back:
        return await hub.store.read(lambda tx: look_back(tx, hub.rules, scope))


async def show(request: Request) -> Response:
    scope = asked(request, hub_of(request))
    return answer(200, {**await looked_back(request, scope), "meanings": MEANINGS})


ROUTES = route("/api/v1/analytics", show)
