"""A schedule as a calendar: each day is whole, on the clocks of its zone, and says instead of whom."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from alerthub.domain.roster import Part, days, month_days, roster, today
from alerthub.domain.rotation import Layer
from alerthub.domain.schedule import Override, Schedule

START = datetime(2026, 11, 21, tzinfo=UTC)


def daily(zone: str = "UTC", *people: str) -> Schedule:
    return Schedule("s", (Layer(people or ("ayse", "mehmet"), "daily", start=date(2026, 11, 21), time_zone=zone),), zone)


def names(parts: tuple[Part, ...]) -> list[tuple[str, str]]:
    return [(part.person, part.planned) for part in parts]


def test_a_day_is_divided_where_the_person_changes() -> None:
    (day,) = days(daily(), (), date(2026, 11, 22), 1)
    assert names(day.parts) == [("ayse", "ayse"), ("mehmet", "mehmet")]
    assert [part.starts_at.hour for part in day.parts] == [0, 9]


def test_an_override_says_instead_of_whom_and_two_in_a_row_are_divided_by_the_plan() -> None:
    made = [Override("s", "pia", START + timedelta(hours=29), START + timedelta(hours=37))]
    (day,) = days(daily(), made, date(2026, 11, 22), 1)
    assert names(day.parts) == [("ayse", "ayse"), ("pia", "ayse"), ("pia", "mehmet"), ("mehmet", "mehmet")]
    assert [part.is_override for part in day.parts] == [False, True, True, False]


def test_nobody_is_a_part_of_the_day_too() -> None:
    (day,) = days(Schedule("s", (), "UTC"), (), date(2026, 11, 22), 1)
    assert [(part.is_gap, part.is_override) for part in day.parts] == [(True, False)]


@pytest.mark.parametrize(("zone", "day", "hours"), [
    ("Europe/Berlin", date(2026, 10, 25), 25), ("Europe/Berlin", date(2026, 3, 29), 23), ("UTC", date(2026, 10, 25), 24),
    ("America/Sao_Paulo", date(2018, 11, 4), 23),       # clocks jumped over midnight: the day begins at one
])
def test_a_day_has_as_many_hours_as_its_clocks_say(zone: str, day: date, hours: int) -> None:
    (found,) = days(daily(zone, "ayse"), (), day, 1)
    assert found.parts[-1].ends_at - found.parts[0].starts_at == timedelta(hours=hours)


@pytest.mark.parametrize("count", [1, 14, 42])
def test_days_follow_each_other_without_hole_or_overlap(count: int) -> None:
    made = [Override("s", "pia", START + timedelta(days=index, hours=20), START + timedelta(days=index + 1, hours=3), "ayse")
            for index in range(0, count, 3)]
    found = days(daily("Europe/Istanbul"), made, date(2026, 11, 21), count)
    parts = [part for day in found for part in day.parts]
    assert len(found) == count
    assert all(first.ends_at == second.starts_at for first, second in pairwise(parts))
    assert parts == sorted(parts, key=lambda part: part.starts_at)


def test_no_time_at_all_has_no_parts() -> None:
    assert roster(daily(), (), START, START) == []


@pytest.mark.parametrize(("year", "month", "first", "count"), [
    (2026, 11, date(2026, 10, 26), 42), (2026, 12, date(2026, 11, 30), 35), (2027, 2, date(2027, 2, 1), 28),
    (2199, 12, date(2199, 11, 25), 42),
])
def test_a_month_is_shown_in_whole_weeks(year: int, month: int, first: date, count: int) -> None:
    assert month_days(year, month) == (first, count)


def test_today_is_where_the_schedule_is() -> None:
    assert today(datetime(2026, 11, 21, 22, 30, tzinfo=UTC), "Europe/Istanbul") == date(2026, 11, 22)
