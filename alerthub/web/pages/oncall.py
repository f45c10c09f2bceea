"""Who is on call: now, day by day, and instead of whom; who is called when nobody answers. Here people swap their shifts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.escalation import call_for
from alerthub.domain.person import Right
from alerthub.domain.roster import DAY, Day, Part, days, month_days, roster, today
from alerthub.domain.rules import Rules
from alerthub.domain.schedule import Override, Schedule, Shift, gaps, moment_told, next_change, on_call, span_told
from alerthub.store import overrides as override_store
from alerthub.store.tx import Tx
from alerthub.web import oncall
from alerthub.web.api import NUMBER
from alerthub.web.base import hub_of
from alerthub.web.forms import back
from alerthub.web.pages.pressing import key_of, once, pressed, refused, who_of
from alerthub.web.pages.render import page
from alerthub.web.pages.times import Times
from alerthub.web.routing import route
from alerthub.web.visitor import Visitor, known

FORTNIGHT = 14
AHEAD = DAY * FORTNIGHT
MONTH = re.compile(r"(\d{4})-(\d{2})")
HUES = 6            # colours that tell people apart at a glance; the name tells them in any case
MOST_GAPS, MOST_OVERRIDES = 5, 100
FIELDS = ("person", "replaces", "starts_at", "ends_at")
HERE = "/oncall"
NO_EFFECT = " But {} is not on call then, so it changes nothing."


@dataclass(frozen=True, slots=True)
class View:
    """Which days are asked for: whole weeks of a month, or a fortnight. `wrong`: what could not be understood."""

    first: date
    count: int
    month: int = 0
    wrong: str = ""


async def show(request: Request) -> Response:
    """`?schedule=NAME`, and `?month=2026-12` or `?from=2026-11-23`; the fields of the form may be given as well."""
    asked = {name: request.query_params[name] for name in FIELDS if name in request.query_params}
    return await shown(request, request.query_params.get("schedule", ""), asked)


async def shown(request: Request, name: str, form: Mapping[str, str], wrong: str = "", status: int = 200) -> Response:
    hub = hub_of(request)
    rules, now, trouble = hub.rules, hub.clock.now(), ""
    try:
        schedule = oncall.schedule_of(rules, name) if name else next(iter(rules.schedules.values()), None)
    except oncall.Unknown as error:
        schedule, status, trouble = next(iter(rules.schedules.values()), None), 404, str(error)
    zone = schedule.time_zone if schedule else rules.answers.time_zone
    view = view_of(request.query_params.get("month", ""), request.query_params.get("from", ""), today(now, zone))
    found = await hub.store.read(lambda tx: facts(tx, rules, schedule, view, now))
    status = 400 if view.wrong and status == 200 else status
    times = Times(zone, now)
    return page(request, "oncall.html", status, **found, schedule=schedule, view=view, trouble=trouble or view.wrong, at=times.at,
                ago=times.ago, form={**dict.fromkeys(FIELDS, ""), **form}, wrong=wrong, people=sorted(rules.people), here=here,
                key=hub.clock.new_id(), may=known(request).may(Right.respond), today=today(now, zone), zone=zone,
                around=around(view))


def view_of(month: str, start: str, this_day: date) -> View:
    try:
        if month and (asked := MONTH.fullmatch(month)) and int(asked[1]) in oncall.YEARS:
            first, count = month_days(int(asked[1]), int(asked[2]))
            return View(first, count, int(asked[2]))
        if start and (first := date.fromisoformat(start)).year in oncall.YEARS:
            return View(first, FORTNIGHT)
    except ValueError:
        pass
    given = (month or start)[:40]
    wrong = f"{given!r} is no month or day to show; give ?month=2026-12 or ?from=2026-11-23." if given else ""
    return View(this_day, FORTNIGHT, wrong=wrong)


def around(view: View) -> dict[str, str]:
    """What leads to the time before and after, and to the month."""
    middle = view.first + DAY * 7 if view.month else view.first
    before = (middle.replace(day=1) - DAY).strftime("month=%Y-%m") if view.month else f"from={view.first - AHEAD}"
    after = (middle.replace(day=28) + DAY * 4).strftime("month=%Y-%m") if view.month else f"from={view.first + AHEAD}"
    return {"before": before, "after": after, "month": middle.strftime("month=%Y-%m"), "name": middle.strftime("%B %Y")}


def here(schedule: Schedule | None, query: str = "") -> str:
    name = urlencode({"schedule": schedule.name}, quote_via=quote) if schedule else ""
    return f"{HERE}?{'&'.join(filter(None, (name, query)))}" if name or query else HERE


# -- what is shown

def facts(tx: Tx, rules: Rules, chosen: Schedule | None, view: View, now: datetime) -> dict[str, Any]:
    standing = {name: override_store.covering(tx, name, now) for name in rules.schedules}
    found: dict[str, Any] = {"rows": [row_of(one, standing[one.name], now) for one in rules.schedules.values()],
                             "policies": policies(rules, standing, now), "days": [], "overrides": []}
    if chosen is not None:
        start = datetime.combine(view.first - DAY, datetime.min.time(), ZoneInfo(chosen.time_zone))
        made = override_store.covering(tx, chosen.name, start, start + DAY * (view.count + 2))
        hues = {name: index % HUES for index, name in enumerate(sorted(rules.people))}
        found["days"] = [day_view(day, chosen, view, hues) for day in days(chosen, made, view.first, view.count)]
        found["overrides"] = sorted(standing[chosen.name], key=lambda one: one.starts_at)[:MOST_OVERRIDES]
    return found


def row_of(schedule: Schedule, made: Sequence[Override], now: datetime) -> dict[str, Any]:
    """Who has it now, until when, and who follows; and when in the next two weeks nobody does."""
    change = next_change(schedule, made, now)
    whole = now.replace(second=0, microsecond=0)
    holes = gaps(schedule, made, whole, whole + AHEAD)
    times = Times(schedule.time_zone, now)
    return {"schedule": schedule, "person": on_call(schedule, made, now), "until": times.at(change), "in": times.ago(change),
            "follows": on_call(schedule, made, change) if change else None, "has_change": change is not None,
            "gaps": [gap_told(hole, now, schedule.time_zone) for hole in holes[:MOST_GAPS]],
            "more_gaps": max(0, len(holes) - MOST_GAPS)}


def gap_told(hole: Shift, now: datetime, zone: str) -> str:
    """The same until it is over: who reads it is not told of a change each second."""
    if hole.starts_at > now:
        return span_told(hole.starts_at, hole.ends_at, zone)
    return f"now, until {moment_told(hole.ends_at, zone)}"


def policies(rules: Rules, standing: Mapping[str, Sequence[Override]], now: datetime) -> list[dict[str, Any]]:
    def who(name: str) -> str:
        return on_call(rules.schedules[name], standing[name], now)

    return [{"policy": policy, "steps": [{"step": step, "call": call_for(step, rules, who)} for step in policy.steps]}
            for policy in rules.policies.values()]


def day_view(day: Day, schedule: Schedule, view: View, hues: Mapping[str, int]) -> dict[str, Any]:
    return {"date": day.date, "is_outside": bool(view.month) and day.date.month != view.month,
            "parts": [part_view(part, day, schedule, hues) for part in day.parts]}


def part_view(part: Part, day: Day, schedule: Schedule, hues: Mapping[str, int]) -> dict[str, Any]:
    """With what prefills the form to take it over: the whole of what is left of it on that day."""
    start, end = (local(at, schedule) for at in (part.starts_at, part.ends_at))
    is_first, is_last = part is day.parts[0], part is day.parts[-1]
    hours = ("" if is_first and is_last else f"until {end:%H:%M}" if is_first else f"from {start:%H:%M}" if is_last
             else f"{start:%H:%M}–{end:%H:%M}")
    taken = urlencode({"starts_at": f"{start:%Y-%m-%dT%H:%M}", "ends_at": f"{end:%Y-%m-%dT%H:%M}", "replaces": part.person})
    return {"part": part, "hours": hours, "hue": hues.get(part.person, 0), "take": f"{here(schedule, taken)}#swap"}


def local(at: datetime, schedule: Schedule) -> datetime:
    return at.astimezone(ZoneInfo(schedule.time_zone))


# -- what is changed

async def add(request: Request, fields: Mapping[str, str], visitor: Visitor) -> Response:
    """The same checks as over the API; what is wrong is said beside the form, which keeps what was typed."""
    hub, name = hub_of(request), fields.get("schedule", "")
    given = {field: fields[field].strip() for field in FIELDS if fields.get(field, "").strip()}
    try:
        schedule = oncall.schedule_of(hub.rules, name)
        override = asked_for(given, schedule, hub.rules, hub.clock.now())
    except (ValueError, oncall.Unknown) as error:
        return await shown(request, name, given, str(error), 400)

    def make(tx: Tx) -> str:
        made = override_store.add(tx, override, who_of(visitor).name, hub.clock.now())
        oncall.noted("added", oncall.override_view(made))
        standing = override_store.covering(tx, schedule.name, made.starts_at, made.ends_at)
        parts = roster(schedule, standing, made.starts_at, made.ends_at)
        has_effect = any(part.person == made.person for part in parts)
        return told(made, schedule) + ("" if has_effect else NO_EFFECT.format(made.replaces))

    answer = await once(request, key_of(fields, visitor, hub, f"override {name} {sorted(given.items())}"), make)
    return back(request, here(schedule), answer)


def asked_for(given: Mapping[str, str], schedule: Schedule, rules: Rules, now: datetime) -> Override:
    words = {"person": "who takes it over", "starts_at": "from when", "ends_at": "until when"}
    if missing := [words[field] for field in words if field not in given]:
        raise ValueError(f"say {' and '.join(missing)}")
    override = oncall.override_from(dict(given), schedule, rules.people)
    if override.ends_at <= now:
        raise ValueError(f"that was over at {given['ends_at'][:40]}; give an end after now")
    return override


def told(made: Override, schedule: Schedule) -> str:
    instead = f" instead of {made.replaces}" if made.replaces else ""
    when = span_told(made.starts_at, made.ends_at, schedule.time_zone)
    return f"{made.person} is on call{instead}: {when} ({schedule.time_zone})."


async def remove(request: Request, fields: Mapping[str, str], visitor: Visitor) -> Response:
    hub, reference = hub_of(request), request.path_params["id"]
    number = int(reference) if NUMBER.fullmatch(reference) else 0

    def unit(tx: Tx) -> Override | None:
        found = override_store.find(tx, number)
        return found if found is not None and override_store.remove(tx, number) else None

    gone = await hub.store.write(unit)
    if gone is None:
        return refused(request, 404, "That override is not there any more: somebody was first.", HERE)
    oncall.noted("removed", {"id": number, "by": who_of(visitor).name})
    schedule = hub.rules.schedules.get(gone.schedule)
    zone = schedule.time_zone if schedule else "UTC"
    return back(request, here(schedule), f"Removed: {gone.person} is not on call by that override any more "
                                         f"({span_told(gone.starts_at, gone.ends_at, zone)}).")


ROUTES = [*route(HERE, show), *route("/oncall/overrides", pressed(add, HERE, Right.respond), "POST"),
          *route("/oncall/overrides/{id}/remove", pressed(remove, HERE, Right.respond), "POST")]
