"""Looking back: spans, days and hours where people live, who was woken, what actions really did, how long a target was safe."""

from __future__ import annotations

import math
import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from alerthub.domain.analytics import (
    MOST_DAYS,
    NIGHT,
    QUARTER,
    Span,
    between,
    by_day,
    by_hour,
    by_weekday,
    in_safe_mode,
    last_days,
    rank,
    records,
    woken,
)
from alerthub.web.charts import chart, stretches

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
ZONES = ["UTC", "Europe/Istanbul", "Asia/Kathmandu", "America/St_Johns", "Australia/Lord_Howe", "Europe/Berlin"]
HOUR = timedelta(hours=1)


def quarter(at: datetime) -> int:
    return int(at.timestamp()) // 900


# -- spans

@pytest.mark.parametrize(("days", "zone", "start"), [
    (7, "UTC", "2026-11-15T00:00+00:00"), (1, "UTC", "2026-11-21T00:00+00:00"), (7, "Europe/Istanbul", "2026-11-14T21:00+00:00"),
    (1, "America/New_York", "2026-11-20T05:00+00:00"), (30, "Europe/Berlin", "2026-10-22T22:00+00:00"),
])
def test_the_last_days_begin_at_midnight_there_and_end_now(days: int, zone: str, start: str) -> None:
    assert last_days(days, NOW, zone) == Span(datetime.fromisoformat(start), NOW)


def test_days_by_name_are_whole_days_there() -> None:
    found = between(date(2026, 10, 25), date(2026, 10, 25), NOW, "Europe/Berlin")       # clocks go back: 25 hours
    assert found == Span(datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC))


def test_a_span_does_not_go_beyond_now() -> None:
    assert between(date(2026, 11, 20), date(2026, 12, 24), NOW, "UTC").end == NOW


@pytest.mark.parametrize(("first", "last", "words"), [
    (date(2026, 11, 20), date(2026, 11, 19), "before the first"), (date(2026, 1, 1), date(2026, 11, 1), f"at most {MOST_DAYS}"),
    (date(2026, 11, 22), date(2026, 11, 23), "days that have begun"), (date(1, 1, 1), date(1, 1, 2), "days that have begun"),
    (date(9999, 12, 30), date(9999, 12, 31), "days that have begun"),
])
def test_what_is_no_span_is_refused_with_what_would_be_right(first: date, last: date, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        between(first, last, NOW, "UTC")


@pytest.mark.parametrize("count", [1, 2, 3, 9, 10, 11, 99, 100, 101, 12345])
@pytest.mark.parametrize("percent", [50, 90])
def test_the_rank_is_the_smallest_that_so_many_do_not_exceed(count: int, percent: int) -> None:
    assert rank(count, percent) == math.ceil(count * percent / 100)
    assert 1 <= rank(count, percent) <= count


# -- when

@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("seed", range(3))
def test_days_hours_and_weekdays_are_those_of_the_clocks_there(zone: str, seed: int) -> None:
    dice = random.Random(seed)
    span = Span(datetime(2026, 9, 1, 11, 30, tzinfo=UTC), datetime(2026, 11, 21, 3, tzinfo=UTC))
    minutes = int((span.end - span.start) / timedelta(minutes=1))
    times = [(span.start + timedelta(minutes=dice.randrange(minutes)), dice.choice(["critical", "info"])) for _ in range(400)]
    counted = [(quarter, name, count) for (quarter, name), count in Counter(
        (int(at.timestamp()) // int(QUARTER.total_seconds()), name) for at, name in times).items()]
    local = [(at.astimezone(ZoneInfo(zone)), name) for at, name in times]
    assert by_hour(counted, zone) == [sum(at.hour == hour for at, _ in local) for hour in range(24)]
    assert by_weekday(counted, zone) == [sum(at.weekday() == day for at, _ in local) for day in range(7)]
    days = dict(by_day(counted, span, zone))
    assert Counter({(day, name): count for day, mine in days.items() for name, count in mine.items()}) == Counter(
        (at.date(), name) for at, name in local)
    assert list(days) == [min(days) + timedelta(days=number) for number in range(len(days))]


def test_a_day_on_which_nothing_opened_is_there() -> None:
    assert by_day([], Span(NOW - timedelta(days=2), NOW), "UTC") == [(date(2026, 11, day), {}) for day in (19, 20, 21)]


# -- who was woken

def test_who_was_woken_at_night_stands_first() -> None:
    at = [quarter(NOW.replace(hour=hour)) for hour in range(24)]
    sent = [("email:a", at[12], 9), ("telegram:b", at[3], 2), ("telegram:b", at[12], 1), ("email:a", at[22], 1),
            ("email:x", at[3], 9)]
    found = woken(sent, {"email:a": ["ayse"], "telegram:b": ["berk"], "email:c": ["can"]}, "UTC")
    assert [(one.person, one.count, one.at_night) for one in found] == [("berk", 3, 2), ("ayse", 10, 1)]


def test_a_destination_of_two_people_woke_both_and_night_is_theirs() -> None:
    found = woken([("email:team", quarter(NOW.replace(hour=20)), 1)], {"email:team": ["ayse", "berk"]}, "Europe/Istanbul")
    assert [(one.person, one.hours[23], one.at_night) for one in found] == [("ayse", 1, 1), ("berk", 1, 1)]


def test_night_is_from_ten_to_seven() -> None:
    assert sorted(NIGHT) == [0, 1, 2, 3, 4, 5, 6, 22, 23]


# -- what actions did

def test_only_what_is_verified_counts_as_a_success() -> None:
    (found,) = records([("retrain", "succeeded", True, 6), ("retrain", "succeeded", False, 2), ("retrain", "failed", True, 1),
                        ("retrain", "unknown", False, 2), ("retrain", "started", False, 1)])
    assert (found.started, found.verified, found.succeeded, found.failed, found.unknown, found.running) == (12, 6, 8, 1, 2, 1)
    assert found.rate == 0.5


def test_of_nothing_there_is_no_rate() -> None:
    assert records([]) == []


# -- time in safe mode

SPAN = Span(NOW, NOW + 24 * HOUR)


def change(hour: float, state: str, seq: int, target: str = "btc") -> tuple[datetime, str, str, int]:
    return NOW + hour * HOUR, target, state, seq


@pytest.mark.parametrize(("changes", "hours", "times", "is_safe"), [
    ([change(1, "safe", 1), change(3, "released", 2)], 2, 1, False),
    ([change(1, "safe", 1), change(2, "release_requested", 2), change(3, "releasing", 3), change(4, "released", 4)], 3, 1, False),
    ([change(-5, "safe", 1), change(3, "released", 2)], 3, 0, False),
    ([change(-5, "safe", 1)], 24, 0, True),
    ([change(20, "safe", 1), change(30, "released", 2)], 4, 1, True),
    ([change(1, "safe", 1), change(2, "released", 2), change(5, "safe", 3), change(6, "released", 4)], 2, 2, False),
    ([change(1, "safe", 1), change(2, "safe", 1), change(3, "released", 2)], 2, 1, False),        # a vote in between
    ([change(3, "safe", 1), change(1, "released", 2)], 0, 1, False),                              # a clock was set back
])
def test_a_target_is_safe_from_its_latching_to_its_release(
        changes: list[tuple[datetime, str, str, int]], hours: float, times: int, is_safe: bool) -> None:
    for told in (changes, changes[::-1]):
        found = in_safe_mode(told, SPAN)
        assert [(one.lasted, one.times, one.is_safe) for one in found] == ([(hours * HOUR, times, is_safe)] if hours else [])


def test_what_was_safe_longest_stands_first() -> None:
    found = in_safe_mode([change(1, "safe", 1, "a"), change(2, "released", 2, "a"), change(1, "safe", 1, "b")], SPAN)
    assert [(one.target, one.lasted / HOUR) for one in found] == [("b", 23), ("a", 1)]


def test_what_was_over_before_the_span_is_not_in_it() -> None:
    assert in_safe_mode([change(-5, "safe", 1), change(-2, "released", 2), change(30, "safe", 3)], SPAN) == []


# -- pictures

def test_bars_of_all_bands_have_one_scale_and_stand_on_their_base() -> None:
    found = chart("x", "X", "words", [("a", "plain", [0, 4, 8]), ("b", "plain", [2, 0, 0])], ["p", "q", "r"], {0: "p"}, {1})
    first, second = found.bands
    assert [(bar.words, bar.height) for bar in first.bars] == [("q: 4", 17.0), ("r: 8", 34.0)]
    assert [bar.height for bar in second.bars] == [8.5]
    assert all(bar.y + bar.height == band.base for band in found.bands for bar in band.bars)
    assert found.nights == ((160.0, 160.0),)
    assert second.base < found.height


def test_one_of_a_million_is_still_seen_and_nothing_is_not_drawn() -> None:
    (band,) = chart("x", "X", "", [("a", "", [1, 0, 1_000_000])], ["p", "q", "r"], {}).bands
    assert [bar.height for bar in band.bars] == [2.0, 34]


@pytest.mark.parametrize(("marked", "expected"), [
    ((), []), ({0}, [(0, 1)]), ({0, 1, 5, 6, 7}, [(0, 2), (5, 8)]), (NIGHT, [(0, 7), (22, 24)]),
])
def test_hours_are_marked_as_stretches(marked: set[int], expected: list[tuple[int, int]]) -> None:
    assert list(stretches(marked)) == expected
