"""Schedules against a slow, obvious reference: it walks minute by minute and knows nothing but zoneinfo."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.domain.interval import Period
from alerthub.domain.rotation import Layer
from alerthub.domain.schedule import Override, Schedule, gaps, next_change, on_call, shifts

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
TICK = timedelta(microseconds=1)
PEOPLE = ("ayse", "mehmet", "zeynep")
# Days on which the clocks change, and one that has none of it.
CHANGES = {
    "Europe/Istanbul": (date(2026, 3, 29), date(2026, 10, 25)),
    "Europe/Berlin": (date(2026, 3, 29), date(2026, 10, 25), date(2027, 3, 28)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Lord_Howe": (date(2026, 4, 5), date(2026, 10, 4)),
    "Africa/Cairo": (date(2026, 4, 24), date(2026, 10, 30)),           # they change at midnight
    "UTC": (date(2026, 11, 21),),
}
STEPS = {"daily": DAY, "weekly": 7 * DAY}


def anchor(layer: Layer) -> datetime:
    day = layer.start or date(1970, 1, 5)
    while layer.handoff_weekday is not None and day.isoweekday() % 7 != layer.handoff_weekday:
        day += DAY
    return datetime.combine(day, time()) + layer.handoff_minute * MINUTE


def fits(period: Period, wall: datetime) -> bool:
    minute, weekday = wall.hour * 60 + wall.minute, wall.isoweekday() % 7
    return (any(start <= minute < end for start, end in period.times or ((0, 1440),))
            and any(first <= weekday <= last for first, last in period.weekdays or ((0, 6),)))


def walk(layer: Layer, start: datetime, end: datetime) -> Iterator[str]:
    """A hand-off happens when the clock on the wall first shows its time, or a later one."""
    zone, at = ZoneInfo(layer.time_zone), start - 2 * DAY
    latest = datetime.min
    step = STEPS.get(layer.rotation) or layer.length
    while at < end:
        wall = at.astimezone(zone).replace(tzinfo=None)
        latest = max(latest, wall)
        if at >= start:
            turn = (latest - anchor(layer)) // step
            is_on = not layer.restrictions or any(fits(period, wall) for period in layer.restrictions)
            yield layer.people[turn % len(layer.people)] if is_on else ""
        at += MINUTE


def reference(schedule: Schedule, overrides: list[Override], start: datetime, end: datetime) -> dict[datetime, str]:
    found: dict[datetime, str] = {}
    for index, people in enumerate(zip(*(walk(layer, start, end) for layer in schedule.layers), strict=True)):
        at, person = start + index * MINUTE, ""
        for of_layer in people:
            person = of_layer or person
        for override in overrides:
            if override.starts_at <= at < override.ends_at and (not override.replaces or override.replaces == person):
                person = override.person
        found[at] = person
    return found


zones = st.sampled_from(sorted(CHANGES))
minutes = st.one_of(st.sampled_from([0, 60, 90, 105, 120, 135, 150, 180, 540, 1439, 1440]), st.integers(0, 1440))
spans = st.tuples(minutes, minutes).filter(lambda span: span[0] < span[1])
weekdays = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda pair: (min(pair), max(pair)))


@st.composite
def periods(draw: st.DrawFn, zone: str) -> Period:
    return Period(times=tuple(draw(st.lists(spans, max_size=2))), weekdays=tuple(draw(st.lists(weekdays, max_size=2))),
                  location=zone)


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    zone = draw(zones)
    rotation = draw(st.sampled_from(["daily", "weekly", "custom"]))
    return Layer(
        people=tuple(draw(st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=3))), rotation=rotation,
        handoff_weekday=draw(st.one_of(st.none(), st.integers(0, 6))), handoff_minute=draw(minutes),
        length=timedelta(minutes=draw(st.sampled_from([15, 30, 60, 300, 720, 1440, 3 * 1440, 4321])))
        if rotation == "custom" else None,
        start=draw(st.one_of(st.none(), st.dates(date(2025, 1, 1), date(2027, 12, 31)))), time_zone=zone,
        restrictions=tuple(draw(st.lists(periods(zone), max_size=2))))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Schedule, list[Override], datetime, datetime]:
    """A schedule, overrides to the second, and a time around a change of the clocks of one of its layers."""
    made = draw(st.lists(layers(), min_size=1, max_size=3))
    day = draw(st.sampled_from(CHANGES[draw(st.sampled_from(made)).time_zone]))
    start = datetime.combine(day, time(), UTC) - draw(st.integers(0, 2880)) * MINUTE
    end = start + draw(st.sampled_from([1, 2, 4, 9])) * DAY
    return Schedule("primary", tuple(made)), draw(st.lists(overrides_after(start), max_size=4)), start, end


@st.composite
def overrides_after(draw: st.DrawFn, start: datetime) -> Override:
    begin = start + timedelta(seconds=draw(st.integers(-90_000, 800_000)))
    return Override(
        schedule=draw(st.sampled_from(["primary", "primary", "primary", "other"])), person=draw(st.sampled_from(PEOPLE)),
        starts_at=begin, ends_at=begin + timedelta(seconds=draw(st.integers(1, 200_000))),
        replaces=draw(st.sampled_from(["", *PEOPLE])))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(cases())
def test_every_minute_is_as_in_the_reference(case: tuple[Schedule, list[Override], datetime, datetime]) -> None:
    schedule, overrides, start, end = case
    own = [override for override in overrides if override.schedule == "primary"]
    found = iter(shifts(schedule, overrides, start, end))
    shift = next(found)
    for at, person in reference(schedule, own, start, end).items():
        while shift.ends_at <= at:
            shift = next(found)
        assert shift.person == person, at
        assert (at.minute % 7) or on_call(schedule, overrides, at) == person, at


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(cases(), st.integers(0, 10**12))
def test_shifts_tile_the_whole_time_and_say_what_on_call_says(
        case: tuple[Schedule, list[Override], datetime, datetime], random: int) -> None:
    schedule, overrides, start, end = case
    found = shifts(schedule, overrides, start, end)
    assert (found[0].starts_at, found[-1].ends_at) == (start, end)
    for early, late in pairwise(found):
        assert early.ends_at == late.starts_at
        assert early.person != late.person
    for shift in found:
        assert shift.starts_at < shift.ends_at
        inside = shift.starts_at + random % ((shift.ends_at - shift.starts_at) // TICK) * TICK
        for at in (shift.starts_at, inside, shift.ends_at - TICK):
            assert on_call(schedule, overrides, at) == shift.person
    assert gaps(schedule, overrides, start, end) == tuple(shift for shift in found if not shift.person)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(cases())
def test_the_next_change_is_where_the_first_shift_ends(case: tuple[Schedule, list[Override], datetime, datetime]) -> None:
    schedule, overrides, start, end = case
    found = shifts(schedule, overrides, start, end)
    expected = found[0].ends_at if len(found) > 1 else None
    assert next_change(schedule, overrides, start, end - start) == expected


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(1, 10**9))
def test_where_one_looks_from_changes_nothing(case: tuple[Schedule, list[Override], datetime, datetime], offset: int) -> None:
    """A restart in the middle of a turn finds the same turn."""
    schedule, overrides, start, end = case
    middle = start + timedelta(microseconds=offset) % (end - start) + TICK
    if middle < end:
        whole = shifts(schedule, overrides, start, end)
        rest = [shift for shift in whole if shift.ends_at > middle]
        assert [(shift.person, shift.ends_at) for shift in shifts(schedule, overrides, middle, end)] == [
            (shift.person, shift.ends_at) for shift in rest]
