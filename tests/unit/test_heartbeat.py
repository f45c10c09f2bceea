"""Heartbeats and cron times: by when the next one must come, also when clocks change, jump, or nobody has watched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.domain import heartbeat as domain
from alerthub.domain.cron import next_time, parse_cron
from alerthub.domain.heartbeat import SKEW, UNWATCHED, Heartbeat, State
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.rules import HeartbeatRule
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START

MINUTE = timedelta(minutes=1)
EVERY_HOUR = HeartbeatRule("etl", timedelta(hours=1), "alerts", grace=5 * MINUTE)
NIGHTLY = HeartbeatRule("backup", timedelta(0), "alerts", grace=30 * MINUTE, cron="0 3 * * *", time_zone="Europe/Berlin")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def alive(seen_at: datetime = START, due_at: datetime | None = None, rule: HeartbeatRule = EVERY_HOUR) -> Heartbeat:
    return Heartbeat(rule.name, State.alive, seen_at, due_at or domain.deadline(rule, seen_at), START)


# -- cron

@pytest.mark.parametrize(("cron", "zone", "after", "expected"), [
    ("*/5 * * * *", "UTC", "2026-11-21T03:00:00Z", "2026-11-21T03:05:00Z"),
    ("*/5 * * * *", "UTC", "2026-11-21T03:04:59.999999Z", "2026-11-21T03:05:00Z"),
    ("*/5 * * * *", "UTC", "2026-11-21T03:05:00.000001Z", "2026-11-21T03:10:00Z"),
    ("0 3 * * *", "Europe/Istanbul", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
    ("30 9 * * MON-FRI", "America/New_York", "2026-11-21T12:00:00Z", "2026-11-23T14:30:00Z"),
    ("0 0 L * *", "UTC", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z"),
    ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
    # Berlin, 29 March 2026: 02:00 becomes 03:00. What is skipped comes right after.
    ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
    ("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"),
    ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
    # Berlin, 25 October 2026: 03:00 becomes 02:00. What is doubled comes once, at first.
    ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
    ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
    # In the second of the two hours; the library alone would say 00:45, which is over.
    ("45 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T01:45:00Z"),
    ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),
])
def test_the_next_cron_time(cron: str, zone: str, after: str, expected: str) -> None:
    assert next_time(parse_cron(cron), zone, instant(after)) == instant(expected)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)), st.sampled_from([
    "*/7 * * * *", "30 2 * * *", "15 1,2,3 * * *", "0 0 1 * *", "59 23 * * SUN"]), st.sampled_from([
        "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]))
def test_the_next_time_is_always_later(after: datetime, cron: str, zone: str) -> None:
    moment = after.replace(tzinfo=UTC)
    assert next_time(cron, zone, moment) > moment


def test_spaces_in_a_cron_time_do_not_matter() -> None:
    assert parse_cron("  0\t3 *  * mon ") == "0 3 * * mon"


@pytest.mark.parametrize("text", [
    "", "hourly", "@daily", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
    "*/0 * * * *", "5-1 * * * *", "a * * * *", ", * * * *", "* * * * ²L", "٣ * * * *", "-1 * * * *", "1-L * * * *", "* * * * L",
    "9" * 4000 + " * * * *", "1,2,3," * 50 + "4 * * * *", "9" * 150 + " * * * *", "\x00 * * * *", "* * * * MON#9",
])
def test_what_is_no_cron_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a cron time.*for example 0 3") as caught:
        parse_cron(text)
    assert "999" not in str(caught.value)


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_a_cron_time_that_never_comes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cron time"):
        parse_cron(text)


# -- deadlines

def test_the_next_one_must_come_within_the_interval_and_the_grace() -> None:
    assert domain.deadline(EVERY_HOUR, START) == START + 65 * MINUTE


def test_after_a_night_the_next_night_counts() -> None:
    assert domain.deadline(NIGHTLY, instant("2026-11-21T02:04:00Z")) == instant("2026-11-22T02:30:00Z")
    assert domain.deadline(NIGHTLY, instant("2026-11-21T01:59:00Z")) == instant("2026-11-21T02:30:00Z")


def test_a_new_one_has_one_full_gap() -> None:
    assert domain.born(EVERY_HOUR, START) == Heartbeat("etl", State.new, None, START + 65 * MINUTE, START)


def test_one_that_comes_is_alive_and_one_that_is_lost_waits_for_nothing() -> None:
    beaten = domain.beaten(EVERY_HOUR, domain.born(EVERY_HOUR, START), START + MINUTE)
    assert (beaten.state, beaten.seen_at, beaten.due_at) == (State.alive, START + MINUTE, START + 66 * MINUTE)
    lost = domain.lost(beaten)
    assert (lost.state, lost.seen_at, lost.due_at) == (State.missing, START + MINUTE, None)


@pytest.mark.parametrize(("at", "seen_at", "now", "is_late"), [
    (0, None, 0, False), (1, 0, 1, False), (0, 1, 2, True), (1, 1, 1, True),
    (5, 60, 5, False),     # seen in the future: the clock has jumped back since
])
def test_a_word_is_late_when_a_later_one_is_known(at: int, seen_at: int | None, now: int, is_late: bool) -> None:
    known = Heartbeat("etl", State.alive, None if seen_at is None else START + seen_at * MINUTE, START, START)
    assert domain.is_late(known, START + at * MINUTE, START + now * MINUTE) is is_late


@pytest.mark.parametrize(("seconds", "expected"), [(0, False), (60, False), (61, True), (-3600, False)])
def test_more_than_a_minute_without_a_tick_is_our_own_fault(seconds: int, expected: bool) -> None:
    assert domain.unwatched(START, START + timedelta(seconds=seconds)) is expected
    assert domain.unwatched(None, START)
    assert timedelta(seconds=60) == UNWATCHED


def test_a_tick_far_ahead_was_written_by_a_clock_that_jumped() -> None:
    assert [domain.is_ahead(last, START) for last in (None, START, START + SKEW, START + SKEW + MINUTE)] == [
        False, False, False, True]


def test_whoever_was_not_listened_to_gets_one_full_gap_from_now() -> None:
    given_time = domain.given_time(EVERY_HOUR, alive(), START + 60 * MINUTE)
    assert given_time.due_at == START + 125 * MINUTE
    later = alive(due_at=START + 500 * MINUTE)
    assert domain.given_time(EVERY_HOUR, later, START) == later
    lost = domain.lost(alive())
    assert domain.given_time(EVERY_HOUR, lost, START) == lost


@pytest.mark.parametrize(("interval", "minutes"), [
    (60, 65),       # as it was
    (120, 125),     # longer: counted from the last beat
    (10, 45),       # shorter: one gap from now, not at once
])
def test_a_changed_interval_counts_from_the_reload_on(interval: int, minutes: int) -> None:
    rule = HeartbeatRule("etl", interval * MINUTE, "alerts", grace=5 * MINUTE)
    assert domain.fitted(rule, alive(), START + 30 * MINUTE).due_at == START + minutes * MINUTE


def test_after_a_jump_back_of_the_clock_nobody_waits_for_the_time_it_showed() -> None:
    future = alive(seen_at=START + timedelta(days=365))
    assert domain.fitted(EVERY_HOUR, future, START).due_at == START + 65 * MINUTE
    lost = domain.lost(future)
    assert domain.fitted(EVERY_HOUR, lost, START) == lost


# -- alerts as beats

WATCHDOG = HeartbeatRule("watchdog", 2 * MINUTE, "alerts", matchers=parse_matchers('alertname="Watchdog", cluster=~"a|b"'))


def test_only_alerts_that_match_are_beats() -> None:
    rules = [EVERY_HOUR, WATCHDOG]
    assert domain.heard(rules, [firing("Watchdog", cluster="a"), firing("DiskFull", cluster="a")]) == {"watchdog": True}
    assert domain.heard(rules, [firing("Watchdog", cluster="c"), firing("Watchdog")]) == {}
    assert domain.heard([EVERY_HOUR], [firing("Watchdog", cluster="a")]) == {}


def test_one_resolved_alert_outweighs_those_that_fire() -> None:
    alerts = [firing("Watchdog", cluster="a"), resolved("Watchdog", cluster="b"), firing("Watchdog", cluster="b")]
    assert domain.heard([WATCHDOG], alerts) == {"watchdog": False}


# -- the alarm

def test_the_alarm_says_what_since_when_and_what_to_do() -> None:
    alert = domain.missing(EVERY_HOUR, alive(), START + 65 * MINUTE)
    assert alert.labels == {"alertname": "AlerthubHeartbeatMissing", "severity": "critical", "heartbeat": "etl"}
    assert alert.annotations == {
        "summary": "heartbeat etl is missing",
        "description": "It came last at 2026-11-21 03:00:00 UTC, 1 h 5 min ago; expected every 1 h, with a grace of 5 min. "
                       "Look whether the job ran, whether it failed, and whether it can reach this hub."}


def test_the_alarm_of_one_that_never_came_says_so() -> None:
    text = domain.missing(NIGHTLY, domain.born(NIGHTLY, START), START).annotations["description"]
    assert text.startswith("It has not come since the hub began to wait for it at 2026-11-21 03:00:00 UTC; "
                           "expected at 0 3 * * * (Europe/Berlin), with a grace of 30 min.")


def test_the_alarm_of_a_resolved_watchdog_says_so() -> None:
    text = domain.missing(WATCHDOG, alive(rule=WATCHDOG), START, was_resolved=True).annotations["description"]
    assert text.startswith("The alert that says that all is well was resolved by its source. Alerts may not get through")


def test_an_alarm_is_about_its_heartbeat_only() -> None:
    labels = domain.missing(EVERY_HOUR, alive(), START).labels
    assert domain.is_about(labels, "etl")
    assert not domain.is_about(labels, "backup")
    assert not domain.is_about({**labels, "alertname": "Other"}, "etl")


# -- what is given is not given for ever

def alarm_of(rule: HeartbeatRule, up: timedelta, down: timedelta) -> datetime:
    """When a hub that is up and down for so long, for ever, misses what was heard at START and never came again."""
    one, now = alive(rule=rule), START
    while one.due_at and one.due_at > now + up:
        now += up + down
        assert now < START + timedelta(days=7)
        one = domain.given_time(rule, one, now)
    return max(one.due_at or now, now)


@pytest.mark.parametrize("rule", [EVERY_HOUR, NIGHTLY, HeartbeatRule("short", timedelta(seconds=20), "alerts")],
                         ids=lambda rule: rule.name)
@pytest.mark.parametrize(("up", "down"), [(0, 61), (100, 25), (10, 300), (100, 300)])
def test_a_hub_that_comes_and_goes_for_ever_raises_the_alarm_after_three_gaps(rule: HeartbeatRule, up: int, down: int) -> None:
    third = START
    for _ in range(3):
        third = domain.deadline(rule, third)
    longest = max(third, START + 4 * MINUTE) + 2 * timedelta(seconds=up + down)
    assert domain.deadline(rule, START) <= alarm_of(rule, timedelta(seconds=up), timedelta(seconds=down)) <= longest


@pytest.mark.parametrize("hours", [0.5, 1.2, 24, 24 * 30])
def test_one_absence_however_long_gives_a_full_gap_from_the_return(hours: float) -> None:
    back = START + timedelta(hours=hours)
    assert domain.given_time(EVERY_HOUR, alive(), back).due_at == back + 65 * MINUTE
