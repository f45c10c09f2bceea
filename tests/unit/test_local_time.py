"""Times for people: where they live, never without the zone, and with the date of another day."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alerthub.domain.local_time import clock_time, dated, day_and_time, span

AT = datetime(2026, 11, 21, 22, 5, tzinfo=UTC)


@pytest.mark.parametrize(("zone", "now", "text"), [
    ("UTC", AT, "22:05 UTC"), ("Europe/Berlin", AT, "23:05 CET"), ("Europe/Istanbul", AT, "01:05 +03"),
    ("Europe/Istanbul", AT.replace(hour=20), "2026-11-22 01:05 +03"), ("UTC", AT.replace(day=22), "2026-11-21 22:05 UTC"),
])
def test_the_date_is_told_where_it_is_another_day_there(zone: str, now: datetime, text: str) -> None:
    assert clock_time(AT, zone, now) == text


@pytest.mark.parametrize(("month", "text"), [(11, "2026-11-21 23:05 CET"), (7, "2026-07-22 00:05 CEST")])
def test_a_date_is_that_of_the_place_and_so_is_the_zone(month: int, text: str) -> None:
    assert dated(AT.replace(month=month), "Europe/Berlin") == text


def test_a_weekday_is_that_of_the_place() -> None:
    assert (day_and_time(AT, "UTC"), day_and_time(AT, "Europe/Istanbul")) == (
        "Sat 2026-11-21 22:05 UTC", "Sun 2026-11-22 01:05 +03")


def test_a_span_names_its_zone_once_and_twice_where_clocks_were_moved() -> None:
    start, end = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert span(start, end, "UTC", end) == "00:30–01:30 UTC"
    assert span(start, end, "Europe/Berlin", end) == "02:30 CEST–02:30 CET"
    assert span(start, AT, "UTC", AT) == "2026-10-25 00:30–2026-11-21 22:05 UTC"
