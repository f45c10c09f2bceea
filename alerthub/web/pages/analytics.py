"""Looking back: how fast, how noisy, who was woken, and what the automation really did. The numbers are those of the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.analytics import DAYS_ASKED, NIGHT, SEVERITIES, USUAL_DAYS, last_days
from alerthub.domain.schedule import DAYS
from alerthub.domain.wording import spoken
from alerthub.store.analytics import Scope
from alerthub.web.analytics import MEANINGS, asked, looked_back
from alerthub.web.api import BadQuery
from alerthub.web.base import hub_of
from alerthub.web.charts import Chart, chart
from alerthub.web.pages.render import page
from alerthub.web.routing import route

HOURS = [f"{hour:02}:00" for hour in range(24)]
HOUR_TICKS = {0: "0", 6: "6", 12: "12", 18: "18"}
MOST_PEOPLE = 12        # in the picture; the table has all


async def show(request: Request) -> Response:
    hub, problem, status = hub_of(request), "", 200
    try:
        scope = asked(request, hub)
    except BadQuery as error:
        scope = Scope(last_days(USUAL_DAYS, hub.clock.now(), hub.rules.answers.time_zone))
        problem, status = f"{error}. Shown are the last {USUAL_DAYS} days.", 400
    found = await looked_back(request, scope)
    given = {name: request.query_params.get(name, "")[:200] for name in ("days", "from", "to", "severity", "team")}
    return page(request, "analytics.html", status, found=found, meanings=MEANINGS, problem=problem, given=given,
                lengths=DAYS_ASKED, severities=SEVERITIES, usual=USUAL_DAYS, told=told, share=share, hours=HOURS, days=DAYS,
                charts={one.id: one for one in charts(found)})


def told(seconds: float | None) -> str:
    return "–" if seconds is None else spoken(timedelta(seconds=seconds))


def share(part: float) -> str:
    return f"{part:.0%}"


def charts(found: Mapping[str, Any]) -> Iterator[Chart]:
    """The pictures of what there is; nothing is drawn of nothing."""
    days, zone = found["by_day"], found["time_zone"]
    if found["incidents"]["count"]:
        sums = {name: sum(day[name] for day in days) for name in SEVERITIES}
        rows = [(f"{name}: {sums[name]}", name, [day[name] for day in days]) for name in SEVERITIES if sums[name]]
        every = max(1, -(-len(days) // 5))
        ticks = {index: day["day"][5:] for index, day in enumerate(days) if index % every == 0}
        yield chart("days", "Incidents by day", f"One band for each severity, one bar for each day ({zone}).", rows,
                    [day["day"] for day in days], ticks)
        yield chart("hours", "By hour of the day", f"When incidents opened, by the clocks there ({zone}). Night is marked.",
                    [("incidents", "plain", found["by_hour"])], HOURS, HOUR_TICKS, NIGHT)
        yield chart("weekdays", "By weekday", f"When incidents opened ({zone}).", [("incidents", "plain", found["by_weekday"])],
                    DAYS, dict(enumerate(DAYS)))
    if found["woken"]:
        people = [(f"{one['person']}: {one['notifications']}, {one['at_night']} at night", "plain", one["by_hour"])
                  for one in found["woken"][:MOST_PEOPLE]]
        yield chart("woken", "Who was woken", f"One band for each person, by hour of the day ({zone}). Night is marked.", people,
                    HOURS, HOUR_TICKS, NIGHT)


ROUTES = route("/analytics", show)
