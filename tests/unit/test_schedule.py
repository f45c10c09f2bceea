"""Who is on call, told by cases: hand-offs over changes of the clocks, layers over layers, overrides over all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from alerthub.domain.interval import Period
from alerthub.domain.rotation import Layer, instant_of
from alerthub.domain.schedule import Override, Schedule, Shift, gaps, next_change, on_call, shifts

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MONDAY, FRIDAY, TWO = 1, 5, ("ayse", "mehmet")
ISTANBUL, BERLIN = "Europe/Istanbul", "Europe/Berlin"
OFFICE = Period(times=((540, 1080),), weekdays=((1, 5),), location=ISTANBUL)


def at(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


def one(*layers: Layer, zone: str = "UTC") -> Schedule:
    return Schedule("primary", layers, zone)


def daily(zone: str, minute: int = 540) -> Schedule:
    return one(Layer(TWO, "daily", handoff_minute=minute, time_zone=zone), zone=zone)


def instead(person: str, start: str, end: str, replaces: str = "") -> Override:
    return Override("primary", person, at(start), at(end), replaces)


def told(found: tuple[Shift, ...], zone: str) -> list[str]:
    return [shift.told(zone) for shift in found]


WEEKLY = one(Layer(TWO, handoff_weekday=MONDAY, start=date(2026, 11, 23), time_zone=ISTANBUL), zone=ISTANBUL)
ALWAYS_AYSE = one(Layer(("ayse",)))


# -- turns

def test_a_weekly_turn_lasts_from_hand_off_to_hand_off() -> None:
    found = shifts(WEEKLY, (), at("2026-11-23T09:00", ISTANBUL), at("2026-12-07T09:00", ISTANBUL))
    assert told(found, ISTANBUL) == ["Mon 2026-11-23 09:00 – Mon 2026-11-30 09:00 Europe/Istanbul  ayse",
                                     "Mon 2026-11-30 09:00 – Mon 2026-12-07 09:00 Europe/Istanbul  mehmet"]


def test_turns_go_on_backwards_before_the_start() -> None:
    assert on_call(WEEKLY, (), at("2026-11-23T08:59:59", ISTANBUL)) == "mehmet"
    assert on_call(WEEKLY, (), at("2026-11-16T08:59:59", ISTANBUL)) == "ayse"


@pytest.mark.parametrize(("start", "weekday", "first"), [
    (date(2026, 11, 25), MONDAY, "2026-11-30T09:00"), (date(2026, 11, 23), MONDAY, "2026-11-23T09:00"),
    (date(2026, 11, 25), None, "2026-11-25T09:00"), (date(2026, 11, 23), FRIDAY, "2026-11-27T09:00"),
    (date(2026, 11, 23), 0, "2026-11-29T09:00"),
])
def test_the_first_of_the_people_begins_with_the_first_hand_off_from_the_start_on(
        start: date, weekday: int | None, first: str) -> None:
    schedule = one(Layer(TWO, handoff_weekday=weekday, start=start))
    assert on_call(schedule, (), at(first)) == "ayse"
    assert on_call(schedule, (), at(first) - timedelta(microseconds=1)) == "mehmet"
    assert on_call(schedule, (), at(first) + 7 * DAY) == "mehmet"


def test_without_a_start_turns_are_counted_from_the_first_monday_of_1970() -> None:
    weeks = (at("2026-11-23T09:00") - datetime(1970, 1, 5, 9, tzinfo=UTC)) // (7 * DAY)
    assert on_call(one(Layer(TWO)), (), at("2026-11-23T09:00")) == TWO[weeks % 2]
    assert on_call(one(Layer(TWO)), (), at("2026-11-23T08:59")) == TWO[(weeks - 1) % 2]


def test_a_custom_turn_has_its_own_length() -> None:
    schedule = one(Layer(("ayse", "mehmet", "zeynep"), "custom", length=3 * DAY, start=date(2026, 11, 21)))
    found = shifts(schedule, (), at("2026-11-21T09:00"), at("2026-12-03T09:00"))
    assert [(shift.person, shift.ends_at - shift.starts_at) for shift in found] == [
        ("ayse", 3 * DAY), ("mehmet", 3 * DAY), ("zeynep", 3 * DAY), ("ayse", 3 * DAY)]


def test_a_person_may_have_two_turns_in_a_row() -> None:
    schedule = one(Layer(("ayse", "ayse", "mehmet"), "daily", start=date(2026, 11, 21)))
    found = shifts(schedule, (), at("2026-11-21T09:00"), at("2026-11-24T09:00"))
    assert [(shift.person, shift.ends_at - shift.starts_at) for shift in found] == [("ayse", 2 * DAY), ("mehmet", DAY)]


def test_a_turn_that_would_be_shorter_than_a_minute_is_a_minute() -> None:
    schedule = one(Layer(TWO, "custom", length=timedelta(milliseconds=1)))
    assert len(shifts(schedule, (), at("2026-11-21T09:00"), at("2026-11-21T09:10"))) == 10


# -- the clocks change

@pytest.mark.parametrize(("zone", "day", "hours"), [
    (BERLIN, "2026-03-28", 23), (BERLIN, "2026-10-24", 25), ("America/New_York", "2026-03-07", 23),
    ("America/New_York", "2026-10-31", 25), ("Australia/Lord_Howe", "2026-10-03", 23.5),
    ("Australia/Lord_Howe", "2026-04-04", 24.5), (ISTANBUL, "2026-03-28", 24), (ISTANBUL, "2026-10-24", 24),
])
def test_the_hand_off_stays_at_its_hour_when_the_clocks_change(zone: str, day: str, hours: float) -> None:
    start = at(f"{day}T09:00", zone)
    first, second = shifts(daily(zone), (), start, start + 2 * DAY)      # wall clock arithmetic: 09:00 two days later
    assert first.ends_at - first.starts_at == timedelta(hours=hours)
    assert (second.starts_at.astimezone(ZoneInfo(zone)).hour, second.ends_at - second.starts_at) == (9, DAY)


@pytest.mark.parametrize(("zone", "wall", "expected"), [
    (BERLIN, "2026-03-29T02:30", "2026-03-29T01:00"), (BERLIN, "2026-03-29T02:00", "2026-03-29T01:00"),
    (BERLIN, "2026-03-29T03:00", "2026-03-29T01:00"), (BERLIN, "2026-03-29T01:59", "2026-03-29T00:59"),
    ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30"), ("Africa/Cairo", "2026-04-24T00:00", "2026-04-23T22:00"),
])
def test_a_hand_off_that_the_clocks_jump_over_is_at_the_first_instant_after_it(zone: str, wall: str, expected: str) -> None:
    assert instant_of(datetime.fromisoformat(wall), zone) == at(expected)


@pytest.mark.parametrize(("zone", "wall", "expected"), [
    (BERLIN, "2026-10-25T02:30", "2026-10-25T00:30"), ("America/New_York", "2026-11-01T01:00", "2026-11-01T05:00"),
    ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45"),
])
def test_a_hand_off_whose_hour_comes_twice_is_at_the_first(zone: str, wall: str, expected: str) -> None:
    assert instant_of(datetime.fromisoformat(wall), zone) == at(expected)


def test_when_the_hour_comes_again_nothing_is_handed_back() -> None:
    schedule = daily(BERLIN, minute=150)
    before, after = at("2026-10-25T02:29", BERLIN), at("2026-10-25T02:30", BERLIN)
    again = at("2026-10-25T02:10", BERLIN, fold=1)
    assert on_call(schedule, (), before) != on_call(schedule, (), after)
    assert on_call(schedule, (), again) == on_call(schedule, (), after)


def test_office_hours_are_those_of_the_wall_clock() -> None:
    night = one(Layer(("ayse",), time_zone=BERLIN, restrictions=(Period(times=((60, 240),), location=BERLIN),)))
    spring = gaps(night, (), at("2026-03-29T00:00", BERLIN), at("2026-03-29T12:00", BERLIN))
    autumn = shifts(night, (), at("2026-10-25T00:00", BERLIN), at("2026-10-25T12:00", BERLIN))
    assert [(gap.starts_at, gap.ends_at) for gap in spring] == [
        (at("2026-03-28T23:00"), at("2026-03-29T00:00")), (at("2026-03-29T02:00"), at("2026-03-29T10:00"))]
    assert [(shift.person, shift.ends_at - shift.starts_at) for shift in autumn][1] == ("ayse", 4 * HOUR)


# -- layers

def test_a_later_layer_covers_the_earlier_where_it_is_on() -> None:
    schedule = one(Layer(("mehmet",)), Layer(("ayse",), restrictions=(OFFICE,), time_zone=ISTANBUL), zone=ISTANBUL)
    found = shifts(schedule, (), at("2026-11-20T12:00", ISTANBUL), at("2026-11-23T12:00", ISTANBUL))
    assert told(found, ISTANBUL) == [
        "Fri 2026-11-20 12:00 – Fri 2026-11-20 18:00 Europe/Istanbul  ayse",
        "Fri 2026-11-20 18:00 – Mon 2026-11-23 09:00 Europe/Istanbul  mehmet",
        "Mon 2026-11-23 09:00 – Mon 2026-11-23 12:00 Europe/Istanbul  ayse"]


def test_where_no_layer_is_on_nobody_is_on_call() -> None:
    office = one(Layer(("ayse",), restrictions=(OFFICE,), time_zone=ISTANBUL))
    start = at("2026-11-20T09:00", ISTANBUL)
    assert told(gaps(office, (), start, start + 3 * DAY), ISTANBUL) == [
        "Fri 2026-11-20 18:00 – Mon 2026-11-23 09:00 Europe/Istanbul  NOBODY"]
    assert on_call(office, (), at("2026-11-22T12:00", ISTANBUL)) == ""


def test_a_night_is_two_periods() -> None:
    night = Period(times=((0, 360), (1320, 1440)), location="UTC")
    schedule = one(Layer(("day",)), Layer(("night",), restrictions=(night,)))
    found = shifts(schedule, (), at("2026-11-21T12:00"), at("2026-11-22T12:00"))
    assert [(shift.person, shift.ends_at - shift.starts_at) for shift in found] == [
        ("day", 10 * HOUR), ("night", 8 * HOUR), ("day", 6 * HOUR)]


def test_a_schedule_without_layers_or_people_has_nobody() -> None:
    for schedule in (one(), one(Layer(()))):
        assert on_call(schedule, (), at("2026-11-21T12:00")) == ""
        assert next_change(schedule, (), at("2026-11-21T12:00")) is None


# -- overrides

def test_an_override_covers_whoever_it_would_be_to_the_second() -> None:
    made = [instead("zeynep", "2026-11-21T12:00:07", "2026-11-21T12:00:09")]
    found = shifts(ALWAYS_AYSE, made, at("2026-11-21T12:00"), at("2026-11-21T13:00"))
    assert [(shift.person, shift.ends_at - shift.starts_at) for shift in found][1] == ("zeynep", timedelta(seconds=2))
    assert on_call(ALWAYS_AYSE, made, at("2026-11-21T12:00:09")) == "ayse"


def test_the_last_override_made_wins() -> None:
    early, late = (instead(name, "2026-11-21T00:00", "2026-11-22T00:00") for name in ("mehmet", "zeynep"))
    assert on_call(ALWAYS_AYSE, [early, late], at("2026-11-21T12:00")) == "zeynep"
    assert on_call(ALWAYS_AYSE, [late, early], at("2026-11-21T12:00")) == "mehmet"


def test_a_swap_covers_only_the_time_of_the_one_it_replaces() -> None:
    made = [instead("zeynep", "2026-11-01T00:00", "2027-01-01T00:00", "ayse")]
    found = shifts(WEEKLY, made, at("2026-11-23T09:00", ISTANBUL), at("2026-12-07T09:00", ISTANBUL))
    assert [shift.person for shift in found] == ["zeynep", "mehmet"]


def test_a_swap_of_who_stands_in_replaces_them() -> None:
    day = ("2026-11-21T00:00", "2026-11-22T00:00")
    made = [instead("mehmet", *day, "ayse"), instead("zeynep", *day, "mehmet")]
    assert on_call(ALWAYS_AYSE, made, at("2026-11-21T12:00")) == "zeynep"
    assert on_call(ALWAYS_AYSE, made[::-1], at("2026-11-21T12:00")) == "mehmet"


def test_an_override_fills_a_gap() -> None:
    assert on_call(one(), [instead("ayse", "2026-11-21T00:00", "2026-11-22T00:00")], at("2026-11-21T12:00")) == "ayse"


def test_an_override_of_another_schedule_does_nothing() -> None:
    other = Override("other", "zeynep", at("2026-11-21T00:00"), at("2026-11-22T00:00"))
    assert on_call(ALWAYS_AYSE, [other], at("2026-11-21T12:00")) == "ayse"
    assert len(shifts(ALWAYS_AYSE, [other], at("2026-11-20T00:00"), at("2026-11-23T00:00"))) == 1


@pytest.mark.parametrize(("end", "word"), [("2026-11-21T12:00", "ends when it starts"), ("2026-11-21T11:59", "before it starts")])
def test_an_override_that_would_not_last_is_refused(end: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        instead("ayse", "2026-11-21T12:00", end)


def test_an_override_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        Override("primary", "ayse", datetime(2026, 11, 21), at("2026-11-22T00:00"))


def test_an_override_over_the_doubled_hour_has_its_real_length() -> None:
    made = Override("primary", "zeynep", at("2026-10-25T02:45", BERLIN), at("2026-10-25T02:15", BERLIN, fold=1))
    assert made.ends_at - made.starts_at == timedelta(minutes=30)
    assert on_call(ALWAYS_AYSE, [made], at("2026-10-25T02:10", BERLIN, fold=1)) == "zeynep"
    assert on_call(ALWAYS_AYSE, [made], at("2026-10-25T02:20", BERLIN, fold=1)) == "ayse"


# -- asking

def test_no_time_has_no_shifts() -> None:
    now = at("2026-11-21T12:00")
    assert shifts(WEEKLY, (), now, now) == shifts(WEEKLY, (), now, now - DAY) == ()


def test_the_next_change_is_that_of_the_person() -> None:
    now = at("2026-11-24T00:00", ISTANBUL)
    assert next_change(WEEKLY, (), now) == at("2026-11-30T09:00", ISTANBUL).astimezone(UTC)
    assert next_change(WEEKLY, (), now, within=DAY) is None
    same = one(Layer(("ayse", "ayse"), "daily"))
    assert next_change(same, (), now) is None
    late = [instead("zeynep", "2027-01-20T00:00", "2027-01-21T00:00")]
    assert next_change(ALWAYS_AYSE, late, now) == at("2027-01-20T00:00")
