"""When a lane is told again, when the hub gives up, and how many messages a destination's budget allows."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.domain.delivery import (
    BASE,
    BREATH,
    BUG_TRIES,
    CAP,
    FEWEST_TRIES,
    Lane,
    Next,
    Verdict,
    after_failure,
    backoff,
    is_wanted,
    spend,
    tokens,
)
from alerthub.domain.message import Receipt
from alerthub.domain.rules import Destination
from alerthub.errors import Failure, SendFailed
from tests.kit.clock import START

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def lane(**fields: Any) -> Lane:
    usual: dict[str, Any] = {"told_seq": 0, "want_seq": 1, "told_episode": 0, "repeats": 0, "attempt": 1, "failures": 1,
                             "failing_since": START, "is_degraded": False, "is_dead": False, "receipt": None}
    return Lane(1, "incident", "slack:#alerts", "slack", **{**usual, **fields})


# -- back-off

dice = st.floats(0, 1, exclude_max=True)


@settings(deadline=None)
@given(st.integers(1, 10**6), dice)
def test_the_wait_grows_up_to_five_minutes_and_is_never_nothing(failures: int, drawn: float) -> None:
    """PROTOCOLS 7.4."""
    ceiling = min(CAP, BASE * 2 ** min(failures - 1, 30))
    assert ceiling * 0.1 <= backoff(failures, drawn) <= ceiling


@settings(deadline=None)
@given(st.integers(1, 40), dice, dice)
def test_the_dice_alone_decide_within_the_ceiling(failures: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert backoff(failures, low) <= backoff(failures, high)


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0.5), (1, 0.5), (2, 1), (3, 2), (8, 64), (9, 128), (10, 150), (500, 150)])
def test_the_ceiling_doubles(failures: int, seconds: float) -> None:
    assert backoff(failures, 0.5).total_seconds() == seconds


# -- after a failure: what went wrong × how the lane is → what becomes of it

NOW = START + timedelta(minutes=1)
LANES = {
    "young": lane(),
    "with a live message": lane(receipt=Receipt({"ts": "1"})),
    "degraded": lane(is_degraded=True),
    "failing for an hour": lane(failing_since=NOW - HOUR, failures=FEWEST_TRIES),
    "failing often": lane(failures=BUG_TRIES),
}
RETRY, DEAD = Next.retry, Next.dead
BECOMES = {
    #                       young         live message  degraded      for an hour   often
    Failure.rate_limited:  (RETRY,        RETRY,        RETRY,        DEAD,         RETRY),
    Failure.unavailable:   (RETRY,        RETRY,        RETRY,        DEAD,         RETRY),
    Failure.timeout:       (RETRY,        RETRY,        RETRY,        DEAD,         RETRY),
    Failure.content:       (Next.degrade, Next.degrade, DEAD,         Next.degrade, Next.degrade),
    Failure.stale_handle:  (RETRY,        Next.repost,  RETRY,        DEAD,         RETRY),
    Failure.moved:         (Next.move,    Next.move,    Next.move,    Next.move,    RETRY),
    Failure.configuration: (DEAD,         DEAD,         DEAD,         DEAD,         DEAD),
    Failure.bug:           (RETRY,        RETRY,        RETRY,        DEAD,         DEAD),
}


@pytest.mark.parametrize(("failure", "how"), list(itertools.product(Failure, LANES)))
def test_what_becomes_of_a_lane(failure: Failure, how: str) -> None:
    error = SendFailed(failure, "detail", moved_to="-100777")
    verdict = after_failure(LANES[how], error, NOW, 0.5, HOUR)
    assert verdict.next is BECOMES[failure][list(LANES).index(how)]
    at_once = verdict.next in (Next.degrade, Next.repost, Next.move)
    assert (verdict.due_at == NOW) is at_once
    assert (verdict.due_at is None) is (verdict.next is DEAD)


def test_a_move_without_an_address_is_tried_again_as_it_was() -> None:
    assert after_failure(lane(), SendFailed(Failure.moved, "gone"), NOW, 0.5, HOUR).next is RETRY


def test_a_destination_that_moves_in_circles_is_followed_twice() -> None:
    error = SendFailed(Failure.moved, "moved", moved_to="x")
    becomes = [after_failure(lane(failures=tries), error, NOW, 0.5, HOUR).next for tries in (1, 2, 3)]
    assert becomes == [Next.move, Next.move, RETRY]


@pytest.mark.parametrize(("age", "becomes"), [
    (HOUR - timedelta(microseconds=1), RETRY), (HOUR, DEAD), (HOUR * 30, DEAD),
])
def test_it_gives_up_by_age_and_never_by_a_count(age: timedelta, becomes: Next) -> None:
    tired = lane(failures=10_000, failing_since=NOW - age)
    assert after_failure(tired, SendFailed(Failure.unavailable, "503"), NOW, 0.5, HOUR).next is becomes


def test_a_lane_that_has_just_begun_to_fail_is_not_old() -> None:
    assert after_failure(lane(failing_since=None), SendFailed(Failure.timeout, ""), NOW, 0.5, timedelta(0)).next is RETRY


@settings(deadline=None)
@given(st.integers(1, 50), dice)
def test_a_retry_waits_as_the_back_off_says(failures: int, drawn: float) -> None:
    verdict = after_failure(lane(failures=failures), SendFailed(Failure.unavailable, "503"), NOW, drawn, HOUR)
    wait = backoff(failures, drawn)
    assert verdict == Verdict(RETRY, NOW + wait, NOW + min(wait, BREATH))


def test_one_failure_long_ago_is_no_reason_to_give_up() -> None:
    """A clock that jumped makes anything old."""
    old = lane(failing_since=NOW - 10 * HOUR, failures=FEWEST_TRIES - 1)
    assert after_failure(old, SendFailed(Failure.timeout, ""), NOW, 0.5, HOUR).next is RETRY


@pytest.mark.parametrize(("after", "seconds"), [(0.0, 0.1), (-5.0, 0.1), (0.05, 0.1), (7.5, 7.5), (3600.0, 3600.0)])
def test_the_providers_word_wins_over_the_dice(after: float, seconds: float) -> None:
    error = SendFailed(Failure.rate_limited, "429", after=after)
    due = NOW + timedelta(seconds=seconds)
    assert after_failure(lane(failures=9), error, NOW, 0.99, HOUR) == Verdict(RETRY, due, pause_destination_until=due)


@pytest.mark.parametrize("failure", [failure for failure in Failure if failure not in (
    Failure.rate_limited, Failure.unavailable, Failure.timeout)])
def test_only_a_rate_limit_or_an_outage_holds_the_whole_destination(failure: Failure) -> None:
    error = SendFailed(failure, "detail", after=60)
    assert after_failure(lane(), error, NOW, 0.5, HOUR).pause_destination_until is None


# -- whether an end is told

@pytest.mark.parametrize(("is_open", "send_resolved", "tells_untold", "told_episode", "wanted"), [
    (True, True, True, 0, True), (True, False, False, 0, True), (True, False, False, 2, True),
    (False, True, True, 0, True), (False, True, True, 2, True), (False, True, False, 2, True),
    (False, True, False, 0, True), (False, True, False, 1, True),       # after an attempt PagerDuty may have heard of it
    (False, False, True, 2, False), (False, False, False, 2, False),
])
def test_whether_a_destination_is_told_of_an_end(is_open: bool, send_resolved: bool, tells_untold: bool, told_episode: int,
                                                 wanted: bool) -> None:
    told = Destination("pagerduty:main", "pagerduty", "main", "alerts", send_resolved=send_resolved,
                       tells_untold_resolved=tells_untold)
    assert is_wanted(told, lane(told_episode=told_episode), is_open=is_open) is wanted


# -- the name of a delivery

def test_a_delivery_has_one_name_over_its_attempts_and_another_after_news_or_a_repeat() -> None:
    first = lane()
    name = first.delivery_id(3, NOW)
    later = replace(first, attempt=7, failures=7, is_degraded=True, was_leased=True, receipt=Receipt({"ts": "1"}))
    assert later.delivery_id(3, NOW) == name
    others = {first.delivery_id(4, NOW), replace(first, repeats=1).delivery_id(3, NOW),
              replace(first, incident_id="other").delivery_id(3, NOW),
              first.delivery_id(3, NOW + timedelta(seconds=1)),
              replace(first, destination="slack:#other").delivery_id(3, NOW)}
    assert len(others | {name}) == 6
    assert len(name) == 32


def test_a_lane_is_new_until_it_has_told_something() -> None:
    assert lane().is_first
    assert not lane(told_seq=1).is_first


# -- the budget, against a slow and obvious bucket

class Bucket:
    """`burst` tokens at first; one more every `every`, never more than `burst`."""

    def __init__(self, every: timedelta, burst: int, now: datetime) -> None:
        self.every, self.burst, self.level, self.at = every, burst, Fraction(burst), now

    def look(self, now: datetime) -> int:
        microsecond = timedelta(microseconds=1)
        self.level = min(Fraction(self.burst), self.level + Fraction((now - self.at) // microsecond, self.every // microsecond))
        self.at = now
        return int(self.level)


budgets = st.tuples(st.integers(1, 5_000_000).map(lambda micro: timedelta(microseconds=micro)), st.integers(1, 20))
visits = st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(0, 30)), max_size=30)


@settings(deadline=None)
@given(budgets, visits)
def test_the_budget_allows_what_a_bucket_allows_and_never_more(budget: tuple[timedelta, int],
                                                               wanted: list[tuple[int, int]]) -> None:
    every, burst = budget
    bucket, free_at, now, sent = Bucket(every, burst, START), EPOCH, START, list[datetime]()
    for pause, wish in wanted:
        now += timedelta(microseconds=pause)
        allowed = tokens(free_at, every, burst, now)
        assert allowed == bucket.look(now)
        count = min(allowed, wish)
        if count:
            free_at, bucket.level = spend(free_at, every, burst, now, count), bucket.level - count
            sent += [now] * count
    for first, last in itertools.combinations(range(len(sent)), 2):
        assert last - first + 1 <= burst + (sent[last] - sent[first]) // every


@settings(deadline=None)
@given(budgets, st.integers(1, 20), st.integers(0, 30))
def test_no_budget_starves(budget: tuple[timedelta, int], spent: int, waits: int) -> None:
    """After every pause of `every` there is one more, up to a full burst."""
    every, burst = budget
    spent = min(spent, burst)
    free_at = spend(EPOCH, every, burst, START, spent)
    assert tokens(free_at, every, burst, START + every * waits) == min(burst, burst - spent + waits)


def test_without_a_budget_everything_may_go_but_not_during_a_pause() -> None:
    pause = START + SECOND * 30
    assert tokens(START, timedelta(0), 1, START) >= 10_000
    assert tokens(pause, timedelta(0), 1, START) == 0
    assert tokens(pause, timedelta(0), 1, pause) >= 10_000


def test_a_pause_of_the_provider_also_empties_the_bucket() -> None:
    pause = START + SECOND * 30
    assert tokens(pause, SECOND, 5, pause - timedelta(microseconds=1)) == 0
    assert tokens(pause, SECOND, 5, pause) == 1
