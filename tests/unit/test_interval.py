"""Time intervals: Alertmanager's meaning, clock changes, and the search for the next moment against a slow reference."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.domain.interval import (
    DAY_MINUTES,
    Period,
    TimeInterval,
    next_moment,
    parse_clock,
    parse_days_of_month,
    parse_location,
    parse_months,
    parse_times,
    parse_weekdays,
    parse_years,
)

NIGHT = TimeInterval("night", (Period(times=((1320, 1440), (0, 360))),))
OFFICE = TimeInterval("office", (Period(times=((540, 1020),), weekdays=((1, 5),)),))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# -- what an interval contains

CONTAINS = [
    # period, instant in UTC, contained
    (Period(), "2026-01-01T00:00", True),
    (Period(times=((540, 1020),)), "2026-01-01T08:59:59", False),
    (Period(times=((540, 1020),)), "2026-01-01T09:00:00", True),
    (Period(times=((540, 1020),)), "2026-01-01T16:59:59", True),
    (Period(times=((540, 1020),)), "2026-01-01T17:00:00", False),
    (Period(times=((0, 1440),)), "2026-01-01T23:59:59", True),
    (Period(times=((0, 60), (120, 180))), "2026-01-01T01:30", False),
    (Period(times=((0, 60), (120, 180))), "2026-01-01T02:30", True),
    (Period(weekdays=((0, 0),)), "2026-01-04T12:00", True),            # a Sunday
    (Period(weekdays=((6, 6),)), "2026-01-04T12:00", False),
    (Period(weekdays=((1, 5),)), "2026-01-02T23:59", True),            # a Friday
    (Period(weekdays=((1, 5),)), "2026-01-03T00:00", False),
    (Period(days_of_month=((1, 5),)), "2026-01-05T12:00", True),
    (Period(days_of_month=((1, 5),)), "2026-01-06T12:00", False),
    (Period(days_of_month=((-3, -1),)), "2026-02-25T12:00", False),
    (Period(days_of_month=((-3, -1),)), "2026-02-26T12:00", True),
    (Period(days_of_month=((-3, -1),)), "2028-02-26T12:00", False),    # 29 days
    (Period(days_of_month=((-1, -1),)), "2028-02-29T12:00", True),
    (Period(days_of_month=((31, 31),)), "2026-04-30T12:00", False),    # never clamped to the last day
    (Period(days_of_month=((29, 31),)), "2026-04-30T12:00", True),
    (Period(days_of_month=((10, -1),)), "2026-04-30T12:00", True),
    (Period(days_of_month=((-31, -1),)), "2026-02-01T12:00", True),
    (Period(months=((1, 3),)), "2026-03-31T23:59", True),
    (Period(months=((1, 3),)), "2026-04-01T00:00", False),
    (Period(years=((2024, 2026),)), "2026-12-31T23:59", True),
    (Period(years=((2024, 2026),)), "2027-01-01T00:00", False),
    (Period(years=((2026, 2026),), months=((1, 1),), weekdays=((4, 4),), times=((0, 1),)), "2026-01-01T00:00", True),
    # the date of the zone counts, not that of UTC
    (Period(days_of_month=((1, 1),), location="Asia/Tokyo"), "2025-12-31T15:00", True),
    (Period(days_of_month=((1, 1),), location="Asia/Tokyo"), "2026-01-01T15:00", False),
    (Period(times=((540, 600),), location="Europe/Istanbul"), "2026-07-01T06:00", True),
    (Period(times=((540, 600),), location="Europe/Istanbul"), "2026-07-01T09:00", False),
    # summer time: 02:00 to 03:00 in Berlin is never on 29 March 2026 and lasts two hours on 25 October
    (Period(times=((120, 180),), location="Europe/Berlin"), "2026-03-29T00:30", False),
    (Period(times=((120, 180),), location="Europe/Berlin"), "2026-03-29T01:00", False),
    (Period(times=((120, 180),), location="Europe/Berlin"), "2026-10-25T00:30", True),
    (Period(times=((120, 180),), location="Europe/Berlin"), "2026-10-25T01:30", True),
    (Period(times=((120, 180),), location="Europe/Berlin"), "2026-10-25T02:00", False),
]


@pytest.mark.parametrize(("period", "instant", "contained"), CONTAINS)
def test_a_period_contains_what_alertmanager_says(period: Period, instant: str, contained: bool) -> None:
    assert period.contains(at(instant)) is contained


def test_an_interval_is_all_of_its_periods() -> None:
    interval = TimeInterval("off", (Period(weekdays=((6, 6),)), Period(weekdays=((0, 0),))))
    days = [interval.contains(at(f"2026-01-{day:02d}T12:00")) for day in range(1, 8)]
    assert days == [False, False, True, True, False, False, False]


def test_an_interval_without_periods_contains_nothing() -> None:
    assert not TimeInterval("never", ()).contains(at("2026-01-01T00:00"))


# -- what the configuration may say

GOOD = [
    (parse_clock, "00:00", 0), (parse_clock, "09:05", 545), (parse_clock, "23:59", 1439), (parse_clock, "24:00", 1440),
    (parse_weekdays, "monday:friday", (1, 5)), (parse_weekdays, "Sunday", (0, 0)), (parse_weekdays, "saturday", (6, 6)),
    (parse_days_of_month, "1:5", (1, 5)), (parse_days_of_month, "-3:-1", (-3, -1)), (parse_days_of_month, "15", (15, 15)),
    (parse_days_of_month, "10:-1", (10, -1)), (parse_days_of_month, "28:-1", (28, -1)),
    (parse_days_of_month, "-31:-1", (-31, -1)),
    (parse_months, "january:march", (1, 3)), (parse_months, "1:3", (1, 3)), (parse_months, "May:august", (5, 8)),
    (parse_months, "12", (12, 12)),
    (parse_years, "2024:2026", (2024, 2026)), (parse_years, "2026", (2026, 2026)),
    (parse_location, "Europe/Istanbul", "Europe/Istanbul"), (parse_location, "UTC", "UTC"),
]


@pytest.mark.parametrize(("parse", "text", "meaning"), GOOD)
def test_alertmanagers_words_are_understood(parse, text, meaning) -> None:
    assert parse(text) == meaning


CLOCK = "is not a time of day; write it like 09:00, at most 24:00"
WEEKDAY = "is not a weekday; write sunday, monday, … saturday, or a span like monday:wednesday"
MONTH = "is not a month; write january, february, … december, or a span like february:april"
DAY = "is not a day of the month; write 1 to 31, -1 to -31 from its end, or a span like 1:5"
YEAR = "is not a year; write it like 2026, or a span like 2026:2028"
ZONE = "is not a time zone; write its IANA name, for example Europe/Istanbul or UTC"
BAD = [
    (parse_clock, "9:00", f"9:00 {CLOCK}"), (parse_clock, "24:01", f"24:01 {CLOCK}"), (parse_clock, "12:60", f"12:60 {CLOCK}"),
    (parse_clock, "", f" {CLOCK}"), (parse_clock, "٠٩:00", f"٠٩:00 {CLOCK}"),
    (parse_clock, "0٩:00", f"0٩:00 {CLOCK}"),
    (parse_weekdays, "mon", f"mon {WEEKDAY}"), (parse_weekdays, "", f"an empty text {WEEKDAY}"),
    (parse_weekdays, "monday:", f"an empty text {WEEKDAY}"), (parse_weekdays, "1:5", f"1 {WEEKDAY}"),
    (parse_weekdays, "friday:monday", "friday:monday ends before it begins; write two spans, up to saturday and from sunday"),
    (parse_months, "13", f"13 {MONTH}"), (parse_months, "0", f"0 {MONTH}"), (parse_months, "jan", f"jan {MONTH}"),
    (parse_months, "november:february",
     "november:february ends before it begins; write two spans, up to december and from january"),
    (parse_days_of_month, "0", f"0 {DAY}"), (parse_days_of_month, "32", f"32 {DAY}"), (parse_days_of_month, "-32", f"-32 {DAY}"),
    (parse_days_of_month, "1:5:9", f"5:9 {DAY}"), (parse_days_of_month, "²", f"² {DAY}"),
    (parse_days_of_month, "5:1", "5:1 ends before it begins; the earlier day comes first"),
    (parse_days_of_month, "-1:-3", "-1:-3 ends before it begins; the earlier day comes first"),
    (parse_days_of_month, "31:-5", "31:-5 ends before it begins; the earlier day comes first"),
    (parse_days_of_month, "-3:5",
     "-3:5 begins at the end of the month and ends at its beginning; write two spans, -3:-1 and 1:5"),
    (parse_years, "26", f"26 {YEAR}"),
    (parse_years, "2026:2024", "2026:2024 ends before it begins; write the earlier year first"),
    (parse_location, "Europe/Istanbull", f"Europe/Istanbull {ZONE}"), (parse_location, "", f"an empty text {ZONE}"),
    (parse_location, "../../etc/passwd", f"../../etc/passwd {ZONE}"), (parse_location, "/etc/passwd", f"/etc/passwd {ZONE}"),
    (parse_location, "Europe", f"Europe {ZONE}"), (parse_location, "a\0b", f"a\0b {ZONE}"),
]


@pytest.mark.parametrize(("parse", "text", "problem"), BAD)
def test_a_mistake_is_said_with_what_would_be_right(parse, text, problem) -> None:
    with pytest.raises(ValueError) as raised:
        parse(text)
    assert str(raised.value) == problem


def test_times_over_midnight_are_said_to_be_two() -> None:
    assert parse_times("09:00", "17:00") == (540, 1020)
    with pytest.raises(ValueError) as raised:
        parse_times("22:00", "06:00")
    assert str(raised.value) == ("it ends at 06:00, not after its start at 22:00; an interval over midnight is two: "
                                 "22:00 to 24:00, and 00:00 to 06:00")


# -- the next moment

def outside(*intervals: TimeInterval):
    return lambda moment: not any(interval.contains(moment) for interval in intervals)


NEXT = [
    # now, when the night (22:00 to 06:00) is over
    ("2026-01-01T12:00:00", "2026-01-01T12:00"), ("2026-01-01T12:00:01", "2026-01-01T12:01"),
    ("2026-01-01T22:00:00", "2026-01-02T06:00"), ("2026-01-01T21:59:30", "2026-01-02T06:00"),
    ("2026-01-01T05:59:59.999999", "2026-01-01T06:00"), ("2025-12-31T23:59:59", "2026-01-01T06:00"),
]


@pytest.mark.parametrize(("now", "expected"), NEXT)
def test_the_next_moment_is_the_first_whole_minute(now: str, expected: str) -> None:
    assert next_moment(at(now), outside(NIGHT), [NIGHT]) == at(expected)


def test_a_day_that_ends_at_midnight_of_utc_is_left_there() -> None:
    saturday = TimeInterval("saturday", (Period(weekdays=((6, 6),)),))
    assert next_moment(at("2026-01-03T10:00"), outside(saturday), [saturday]) == at("2026-01-04T00:00")


def test_the_office_opens_on_monday() -> None:
    assert next_moment(at("2026-01-02T17:00"), OFFICE.contains, [OFFICE]) == at("2026-01-05T09:00")


def test_a_moment_that_never_comes_is_400_days_away() -> None:
    past = TimeInterval("past", (Period(years=((2020, 2021),)),))
    now = at("2026-01-01T12:00:30")
    assert next_moment(now, past.contains, [past]) == now + timedelta(days=400)
    assert next_moment(now, lambda moment: False, []) == now + timedelta(days=400)


def test_a_moment_a_year_away_is_found() -> None:
    new_year = TimeInterval("new year", (Period(months=((1, 1),), days_of_month=((1, 1),), times=((0, 1),)),))
    assert next_moment(at("2026-01-01T00:01"), new_year.contains, [new_year]) == at("2027-01-01T00:00")


CHANGES = [
    # zone, a time of day, now in UTC, when it next is in that time
    ("Europe/Berlin", (120, 180), "2026-03-28T12:00", "2026-03-30T00:00"),     # skipped on the 29th
    ("Europe/Berlin", (150, 240), "2026-03-28T12:00", "2026-03-29T01:00"),     # begins inside the gap: at its end
    ("Europe/Berlin", (150, 180), "2026-10-24T12:00", "2026-10-25T00:30"),
    ("Europe/Berlin", (150, 180), "2026-10-25T01:00", "2026-10-25T01:30"),     # it comes twice
    ("Australia/Lord_Howe", (105, 120), "2026-04-04T12:00", "2026-04-04T14:45"),
    ("Australia/Lord_Howe", (105, 120), "2026-04-04T15:00", "2026-04-04T15:15"),     # half an hour back
    ("Africa/Cairo", (0, 30), "2026-04-23T12:00", "2026-04-24T21:00"),         # midnight of the 24th does not exist
    ("Africa/Cairo", (1410, 1440), "2026-10-29T20:00", "2026-10-29T20:30"),
    ("Africa/Cairo", (1410, 1440), "2026-10-29T21:00", "2026-10-29T21:30"),    # the day has 25 hours
]


@pytest.mark.parametrize(("zone", "times", "now", "expected"), CHANGES)
def test_the_clock_change_is_seen(zone: str, times: tuple[int, int], now: str, expected: str) -> None:
    interval = TimeInterval("x", (Period(times=(times,), location=zone),))
    assert next_moment(at(now), interval.contains, [interval]) == at(expected)


def test_the_search_looks_only_where_something_changes_even_when_nothing_is_found() -> None:
    """400 days have 576,000 minutes; 20 periods have two edges a day each."""
    zones = ("UTC", "Europe/Istanbul", "America/New_York", "Europe/Berlin", "Asia/Tokyo")
    odd = TimeInterval("odd", tuple(Period(times=((60 * hour, 60 * hour + 30),), location=zones[hour % 5]) for hour in range(20)))
    looks = 0

    def never(moment: datetime) -> bool:
        nonlocal looks
        looks += 1
        return odd.contains(moment) and outside(odd)(moment)

    next_moment(at("2026-01-01T00:00"), never, [odd])
    assert looks <= 401 * (2 * 20 + 2)


# -- against a slow and obvious reference

def obviously_contains(period: Period, instant: datetime) -> bool:
    local = instant.astimezone(ZoneInfo(period.location))
    length = calendar.monthrange(local.year, local.month)[1]
    days = {day for first, last in period.days_of_month
            for day in range(first if first > 0 else length + first + 1, (last if last > 0 else length + last + 1) + 1)}
    return ((not period.times or any(local.hour * 60 + local.minute in range(*span) for span in period.times))
            and (not period.weekdays or (local.weekday() + 1) % 7 in {d for a, b in period.weekdays for d in range(a, b + 1)})
            and (not period.days_of_month or local.day in days)
            and (not period.months or local.month in {m for a, b in period.months for m in range(a, b + 1)})
            and (not period.years or local.year in {y for a, b in period.years for y in range(a, b + 1)}))


def obviously_next(now: datetime, predicate, days: int) -> datetime | None:
    minute = now.replace(second=0, microsecond=0)
    minute += timedelta(minutes=minute < now)
    for step in range(days * DAY_MINUTES):
        if predicate(moment := minute + timedelta(minutes=step)):
            return moment
    return None


def spans(first: int, last: int, longest: int = 2):
    one = st.tuples(st.integers(first, last), st.integers(first, last)).map(lambda pair: tuple(sorted(pair)))
    return st.lists(one, max_size=longest).map(tuple)


times = st.lists(st.tuples(st.integers(0, 48), st.integers(0, 48)).filter(lambda pair: pair[0] != pair[1]).map(
    lambda pair: (min(pair) * 30, max(pair) * 30)), max_size=2).map(tuple)
days = st.lists(st.sampled_from([(1, 5), (-3, -1), (10, -5), (31, 31), (-31, -20), (28, -1)]), max_size=1).map(tuple)
periods = st.builds(
    Period, times=times, weekdays=spans(0, 6, 1), days_of_month=days, months=spans(1, 12, 1),
    location=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo",
                              "America/Santiago", "Pacific/Kiritimati"]))
# around the clock changes of those zones, at month ends, and anywhere
instants = st.one_of(
    st.sampled_from(["2026-03-28T20:00", "2026-10-24T20:00", "2026-03-08T03:00", "2026-11-01T03:00", "2026-04-04T10:00",
                     "2026-10-03T10:00", "2026-04-23T18:00", "2026-10-29T18:00", "2026-09-05T23:00", "2028-02-28T23:00"]).map(at),
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC)),
)


@given(periods, instants, st.integers(0, 3000))
@settings(max_examples=300, deadline=None)
def test_contains_agrees_with_the_obvious_reading(period: Period, instant: datetime, minutes: int) -> None:
    instant += timedelta(minutes=minutes)
    assert period.contains(instant) is obviously_contains(period, instant)


@given(st.lists(periods, min_size=1, max_size=2), instants, st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_next_moment_agrees_with_walking_every_minute(found: list[Period], now: datetime, wanted: bool) -> None:
    interval = TimeInterval("x", tuple(found))
    walked = obviously_next(now, lambda moment: interval.contains(moment) is wanted, 4)
    jumped = next_moment(now, lambda moment: interval.contains(moment) is wanted, [interval])
    if walked is not None:
        assert jumped == walked
    else:
        assert jumped >= now + timedelta(days=4)
