"""`/api/v1`: who is on call, and who stands in for whom. The command line reads and writes by the same functions."""

from __future__ import annotations

import asyncio
import json
import logging
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub import calendars
from alerthub.domain.person import emails_of
from alerthub.domain.rotation import instant_of
from alerthub.domain.rules import Rules
from alerthub.domain.schedule import Override, Schedule, Shift, next_change, on_call, shifts
from alerthub.domain.wording import typed_line
from alerthub.store import overrides as override_store
from alerthub.store.tx import Tx
from alerthub.web.api import MOST, NUMBER, number
from alerthub.web.base import Refused, answer, hub_of, problem
from alerthub.web.bodies import read_body
from alerthub.web.repeats import once
from alerthub.web.tags import Changed, expected, mark_of_override, tagged

logger = logging.getLogger("alerthub.web")
AHEAD = timedelta(weeks=2)
BY = "api"
LARGEST = 1024**2                   # bytes of a body; an import of 2000 overrides has a third of it
MOST_IMPORTED = 2000
WEEKS, MOST_WEEKS = 8, 104
YEARS = range(2000, 2200)           # zoneinfo and calendars are right there; nobody is on call outside
FIELDS = frozenset({"person", "starts_at", "ends_at", "replaces"})
MINUTE = timedelta(minutes=1)
NO_OVERRIDE = "there is no override {!r}; GET /api/v1/schedules/NAME/overrides shows them"
IS_ANOTHER = ("override {id} is not the one that you have seen: now it is {person} on {schedule} from {starts_at} to {ends_at}. "
              "Look again, and decide anew.")
NAME = 200                          # characters of `created_by` that are kept


class Unknown(Refused):
    """A name of a person or schedule that the configuration does not have; with what would be right."""

    def __init__(self, word: str, text: str) -> None:
        self.status = 404 if word == "schedule" else 422
        super().__init__(text)


# -- what a person asks, in the domain's words

def moment(text: str, time_zone: str) -> datetime:
    """`2026-11-23T09:00+03:00`; without an offset it is on that zone's clocks, a date alone is its midnight. ValueError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a time; write it like 2026-11-23T09:00, or with an offset "
                         "2026-11-23T09:00+03:00") from None
    if at.year not in YEARS:
        raise ValueError(f"{text[:40]!r} is too far away; give a year from {YEARS[0]} to {YEARS[-1]}")
    return at if at.tzinfo is not None else instant_of(at, time_zone)


def known(word: str, name: str, names: Collection[str]) -> str:
    """The name, if there is one. Raises Unknown with what would be right."""
    if name in names:
        return name
    close = get_close_matches(name[:200], names, n=1)
    right = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(names)[:10])}" if names else "there are none"
    raise Unknown(word, f"there is no {word} {name[:40]!r}; {right}")


def override_from(fields: Any, schedule: Schedule, people: Collection[str], *, uid: str = "") -> Override:
    """Raises ValueError or Unknown, with what would be right."""
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise ValueError('send an object of texts like {"person": "ayse", "starts_at": "2026-11-23T09:00", "ends_at": …}')
    if wrong := sorted(fields.keys() - FIELDS):
        raise ValueError(f"{wrong[0][:40]!r} is not a field of an override; it has {', '.join(sorted(FIELDS))}")
    if missing := [name for name in ("person", "starts_at", "ends_at") if not fields.get(name)]:
        raise ValueError(f"{' and '.join(missing)} missing")
    person, replaces = known("person", fields["person"], people), fields.get("replaces", "")
    if replaces and known("person", replaces, people) == person:
        raise ValueError(f"{person} cannot stand in for {person}; name another person in replaces, or leave it out")
    return Override(schedule.name, person, moment(fields["starts_at"], schedule.time_zone),
                    moment(fields["ends_at"], schedule.time_zone), replaces, uid=uid)


def import_from(body: Any, schedule: Schedule, people: Collection[str]) -> tuple[list[str], list[Override]]:
    """The UIDs of a calendar's events, and the overrides that they make. Raises ValueError or Unknown."""
    uids, items = (body.get("uids"), body.get("overrides")) if isinstance(body, dict) else (None, None)
    if not isinstance(uids, list) or not isinstance(items, list) or not all(
            isinstance(uid, str) and is_storable(uid) for uid in uids):
        raise ValueError('send {"uids": [every UID of the calendar], "overrides": [{"uid", "person", "starts_at", "ends_at"}]}')
    if max(len(uids), len(items)) > MOST_IMPORTED:
        raise ValueError(f"at most {MOST_IMPORTED} overrides are imported at once")
    if any(not isinstance(item, dict) or item.get("uid") not in uids for item in items):
        raise ValueError("every one of overrides needs the uid of one of uids")
    return uids, [override_from({key: value for key, value in item.items() if key != "uid"}, schedule, people, uid=item["uid"])
                  for item in items]


def is_storable(text: str) -> bool:
    return 0 < len(text) <= 1000 and text.isprintable()     # no lone surrogate and no NUL, which PostgreSQL refuses


# -- what is answered

def on_call_view(tx: Tx, schedules: Iterable[Schedule], at: Callable[[Schedule], datetime]) -> list[dict[str, Any]]:
    """Who is on call at that time and in the two weeks after it. The first shift is shown from its begin, or two weeks back; one
    that goes on after them has no end."""
    return [schedule_view(tx, schedule, at(schedule)) for schedule in schedules]


def schedule_view(tx: Tx, schedule: Schedule, at: datetime) -> dict[str, Any]:
    whole = at.replace(second=0, microsecond=0)
    start, end = whole - AHEAD, whole + AHEAD
    made = override_store.covering(tx, schedule.name, start)
    change = next_change(schedule, made, at)
    return {"schedule": schedule.name, "time_zone": schedule.time_zone, "at": at.isoformat(),
            "person": on_call(schedule, made, at) or None, "until": change.isoformat() if change else None,
            "shifts": [shift_view(shift, end) for shift in shifts(schedule, made, start, end + MINUTE)
                       if shift.ends_at > at and shift.starts_at < end]}


def shift_view(shift: Shift, horizon: datetime) -> dict[str, Any]:
    return {"person": shift.person or None, "starts_at": shift.starts_at.isoformat(),
            "ends_at": shift.ends_at.isoformat() if shift.ends_at <= horizon else None}


def override_view(override: Override) -> dict[str, Any]:
    return {"id": override.id, "schedule": override.schedule, "person": override.person, "replaces": override.replaces or None,
            "starts_at": override.starts_at.isoformat(), "ends_at": override.ends_at.isoformat(),
            "created_by": override.created_by, "uid": override.uid or None}


def author_of(body: Any) -> str:
    """Who made it, as the body says: taken out of it. Whoever may use the API is believed, as for silences. ValueError."""
    given = body.pop("created_by", BY) if isinstance(body, dict) else BY
    if not isinstance(given, str):
        raise ValueError("created_by: must be a text")
    return typed_line(given)[:NAME] or BY


def import_into(tx: Tx, schedule: Schedule, items: Sequence[Override], uids: Collection[str], by: str,
                now: datetime) -> dict[str, int]:
    """Make the events of a calendar overrides, where the schedule does not say the same anyway. `already`: how many of its
    times were so before."""
    added, removed = override_store.replace_imported(tx, schedule.name, needed(tx, schedule, items, uids), uids, by, now)
    return {"added": added, "removed": removed, "already": len(set(items)) - added}


def needed(tx: Tx, schedule: Schedule, items: Sequence[Override], uids: Collection[str]) -> list[Override]:
    """Without those that would change nothing. What an import of before has made does not count, or every second import
    would take it back; and one that another one of the calendar would cover is kept."""
    if not items:
        return []
    start, end = min(item.starts_at for item in items), max(item.ends_at for item in items)
    others = [made for made in override_store.covering(tx, schedule.name, start, end) if made.uid not in uids or not made.uid]
    known = shifts(schedule, others, start, end)
    begins = [shift.starts_at for shift in known]

    def is_so(item: Override) -> bool:
        shift = known[bisect_right(begins, item.starts_at) - 1]
        return shift.person == item.person and shift.ends_at >= item.ends_at

    changing = [item for item in items if not is_so(item)]
    return [item for item in items if not is_so(item) or any(
        other.person != item.person and other.starts_at < item.ends_at and item.starts_at < other.ends_at for other in changing)]


# -- the endpoints

async def now(request: Request) -> Response:
    """`?schedule=NAME&at=TIME`."""
    hub, asked = hub_of(request), request.query_params
    try:
        chosen = [schedule_of(hub.rules, asked["schedule"])] if "schedule" in asked else list(hub.rules.schedules.values())
        times = {one.name: moment(asked["at"], one.time_zone) if "at" in asked else hub.clock.now() for one in chosen}
    except ValueError as error:
        return problem(400, str(error))
    return answer(200, {"items": await hub.store.read(lambda tx: on_call_view(tx, chosen, lambda one: times[one.name]))})


async def list_overrides(request: Request) -> Response:
    """Those that have not ended, in the order of their making."""
    hub = hub_of(request)
    name = schedule_of(hub.rules, request.path_params["name"]).name
    limit, after = number(request, "limit", MOST, MOST) or MOST, number(request, "after", None, 2**62) or 0
    found = await hub.store.read(lambda tx: override_store.covering(tx, name, hub.clock.now()))
    left = [override_view(override) for override in found if override.id > after]
    return answer(200, {"items": left[:limit], "next": left[limit - 1]["id"] if len(left) > limit else None})


async def add_override(request: Request) -> Response:
    hub = hub_of(request)
    try:
        schedule, body, by = await asked_of(request)
        override = override_from(body, schedule, hub.rules.people)
        (_, made), is_new = await once(request, json.dumps([body, by], sort_keys=True).encode(), lambda tx: (
            200, override_view(override_store.add(tx, override, by, hub.clock.now()))))
    except ValueError as error:
        return problem(400, str(error))
    if is_new:
        noted("added", made)
    return answer(200, made)


async def one_override(request: Request) -> Response:
    """Also one that has ended."""
    reference = request.path_params["id"]
    found = await hub_of(request).store.read(lambda tx: override_store.find(tx, int(reference))) if NUMBER.fullmatch(
        reference) else None
    if found is None:
        return problem(404, NO_OVERRIDE.format(reference[:40]))
    return tagged(request, mark_of_override(override_view(found)), override_view(found))


async def remove_override(request: Request) -> Response:
    reference, wanted = request.path_params["id"], expected(request)

    def unit(tx: Tx) -> bool:
        found = override_store.find(tx, int(reference))
        view = override_view(found) if found is not None else {}
        if found is not None and wanted and (mark := mark_of_override(view)) not in wanted:
            raise Changed(IS_ANOTHER.format(**view), mark, view)
        return override_store.remove(tx, int(reference))

    if not NUMBER.fullmatch(reference) or not await hub_of(request).store.write(unit):
        return problem(404, NO_OVERRIDE.format(reference[:40]))
    noted("removed", {"id": int(reference)})
    return answer(200, {"removed": int(reference)})


async def import_overrides(request: Request) -> Response:
    """What `alerthub calendar import` has read from a file. All of it, or nothing."""
    hub = hub_of(request)
    try:
        schedule, body, by = await asked_of(request)
        uids, made = import_from(body, schedule, hub.rules.people)
    except ValueError as error:
        return problem(400, str(error))
    done = await hub.store.write(lambda tx: import_into(tx, schedule, made, uids, by, hub.clock.now()))
    noted("imported", {"schedule": schedule.name, **done})
    return answer(200, done)


async def calendar(request: Request) -> Response:
    """`?weeks=8`, as iCalendar."""
    hub = hub_of(request)
    schedule = schedule_of(hub.rules, request.path_params["name"])
    weeks = number(request, "weeks", WEEKS, MOST_WEEKS) or WEEKS
    found = await hub.store.read(lambda tx: shifts_ahead(tx, schedule, hub.clock.now(), weeks))
    try:
        body = await asyncio.to_thread(calendars.export, schedule, found, emails_of(hub.rules.people.values()), hub.clock.now())
    except calendars.NoCalendars as error:
        return problem(501, str(error))
    return Response(body, 200, {"cache-control": "no-store"}, "text/calendar; charset=utf-8")


def shifts_ahead(tx: Tx, schedule: Schedule, at: datetime, weeks: int) -> tuple[Shift, ...]:
    """From the begin of the shift that is under way, so that a later export shows the same."""
    start, end = at.replace(second=0, microsecond=0) - AHEAD, at + timedelta(weeks=weeks)
    return tuple(shift for shift in shifts(schedule, override_store.covering(tx, schedule.name, start, end), start, end)
                 if shift.ends_at > at)


def schedule_of(rules: Rules, name: str) -> Schedule:
    return rules.schedules[known("schedule", name, rules.schedules)]


async def asked_of(request: Request) -> tuple[Schedule, Any, str]:
    """Which schedule, what is to be made there, and by whom. Raises ValueError, Unknown, NoBody."""
    schedule = schedule_of(hub_of(request).rules, request.path_params["name"])
    body = await json_body(request)
    return schedule, body, author_of(body)


async def json_body(request: Request) -> Any:
    body = await read_body(request, LARGEST, hub_of(request).door.body_seconds)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None


def noted(word: str, fields: Mapping[str, Any]) -> None:
    logger.info("override %s", word, extra={"event": f"override.{word}", **{f"override_{key}": fields[key] for key in fields}})
