"""Heartbeats: what must come again in time, and the alarm when it does not. A dead man's switch for jobs and for the way
from Prometheus to here (PROTOCOLS 1.10). Pure: where the rows are and who is told is not here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from alerthub.domain.alert import Alert, Labels
from alerthub.domain.cron import next_time
from alerthub.domain.local_time import name_of, there
from alerthub.domain.matcher import all_match
from alerthub.domain.own import own_alert
from alerthub.domain.rules import HeartbeatRule
from alerthub.domain.wording import spoken

HEARTBEAT_MISSING = "AlerthubHeartbeatMissing"
TICK = timedelta(seconds=10)        # so often some replica writes down that it watches
HOLE = timedelta(seconds=12)        # no tick for longer: what came meanwhile may have been refused
UNWATCHED = timedelta(seconds=60)   # nobody has watched for longer: down, stopped, or a clock that jumped
A_MOMENT = timedelta(minutes=1)     # senders that were refused take some time to come again
# A replica's clock may be behind by this much. What is further ahead was written by a clock that has jumped back since.
SKEW = timedelta(minutes=5)
MOST_GAPS = 3


class State(StrEnum):
    new = "new"             # not heard of yet
    alive = "alive"
    missing = "missing"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`seen_at`: the last word of it. `due_at`: when it will be missing; None when it is. `since`: watched since then."""

    name: str
    state: State
    seen_at: datetime | None
    due_at: datetime | None
    since: datetime


def deadline(rule: HeartbeatRule, at: datetime) -> datetime:
    """By when the next one must come, after one at that instant: a full gap."""
    following = next_time(rule.cron, rule.time_zone, at) if rule.cron else at + rule.interval
    return following + rule.grace


def born(rule: HeartbeatRule, now: datetime) -> Heartbeat:
    return Heartbeat(rule.name, State.new, None, deadline(rule, now), now)


def is_late(heartbeat: Heartbeat, at: datetime, now: datetime) -> bool:
    """Whether a later word is known already. One from the future is none: the clock has jumped back."""
    return heartbeat.seen_at is not None and at <= heartbeat.seen_at <= now


def beaten(rule: HeartbeatRule, heartbeat: Heartbeat, at: datetime) -> Heartbeat:
    return replace(heartbeat, state=State.alive, seen_at=at, due_at=deadline(rule, at))


def lost(heartbeat: Heartbeat, heard_at: datetime | None = None) -> Heartbeat:
    """`heard_at`: when its source itself said that it is over."""
    return replace(heartbeat, state=State.missing, seen_at=heard_at or heartbeat.seen_at, due_at=None)


def unwatched(last: datetime | None, now: datetime, longest: timedelta = UNWATCHED) -> bool:
    """Whether nobody may have listened for a while before now: what is missing may be our own fault."""
    return last is None or now - last > longest


def is_ahead(last: datetime | None, now: datetime) -> bool:
    return last is not None and last - now > SKEW


def given_time(rule: HeartbeatRule, heartbeat: Heartbeat, now: datetime) -> Heartbeat:
    """One full gap from now at least, and at least a minute, because nobody may have listened; but not later than `longest`."""
    if heartbeat.due_at is None:
        return heartbeat
    given = max(deadline(rule, now), now + A_MOMENT)
    return replace(heartbeat, due_at=max(heartbeat.due_at, min(given, longest(rule, heartbeat.due_at, heartbeat, now))))


def longest(rule: HeartbeatRule, due_at: datetime, heartbeat: Heartbeat, now: datetime) -> datetime:
    """Three gaps since it was heard, or as many minutes, are the most that is given: else a hub that stumbles for ever would
    never raise the alarm. What is past its time was not seen to be so: the hub was away since, and that does not count."""
    at = first = deadline(rule, heartbeat.seen_at or heartbeat.since)
    for _ in range(MOST_GAPS - 1):
        at = deadline(rule, at - rule.grace)
    return max(at, first + MOST_GAPS * A_MOMENT) + max(now - due_at, timedelta(0))


def spared(rule: HeartbeatRule, heartbeat: Heartbeat, now: datetime) -> Heartbeat:
    """One full gap from now, and at least a minute, because one may have been refused in a short hole; but in all one gap more
    than it had, or two minutes: a hub that stumbles all the time still raises the alarm."""
    if heartbeat.due_at is None:
        return heartbeat
    first = deadline(rule, heartbeat.seen_at or heartbeat.since)
    more = min(deadline(rule, first - rule.grace), deadline(rule, now))
    return replace(heartbeat, due_at=max(heartbeat.due_at, more, min(now, first + UNWATCHED) + A_MOMENT))


def fitted(rule: HeartbeatRule, heartbeat: Heartbeat, now: datetime) -> Heartbeat:
    """Its deadline by the rule as it is now: not before the last beat asks for it, not later than a beat now would.
    Without a change of the rule or of the clock it stays."""
    if heartbeat.due_at is None:
        return heartbeat
    earliest = deadline(rule, heartbeat.seen_at or heartbeat.since)
    latest = max(deadline(rule, now), now + A_MOMENT)
    return replace(heartbeat, due_at=min(max(heartbeat.due_at, earliest), latest))


def heard(rules: Iterable[HeartbeatRule], alerts: Iterable[Alert]) -> dict[str, bool]:
    """The heartbeats that these alerts speak of; False when one of its alerts says that it is over: that counts."""
    listening = [rule for rule in rules if rule.matchers]
    found: dict[str, bool] = {}
    for alert in alerts if listening else ():
        for rule in listening:
            if all_match(rule.matchers, alert.labels):
                found[rule.name] = found.get(rule.name, True) and alert.is_firing
    return found


def missing(rule: HeartbeatRule, heartbeat: Heartbeat, now: datetime, *, was_resolved: bool = False,
            zone: str = "UTC") -> Alert:
    """The alarm. Its identity is the heartbeat's name and severity. `zone`: of the times in its text."""
    what = "the alert that says that all is well was resolved by its source" if was_resolved else silence_of(
        rule, heartbeat, now, zone)
    return own_alert(HEARTBEAT_MISSING, rule.severity, f"heartbeat {rule.name} is missing",
                     f"{what[:1].upper()}{what[1:]}. {what_to_do(rule)}", heartbeat=rule.name)


def silence_of(rule: HeartbeatRule, heartbeat: Heartbeat, now: datetime, zone: str) -> str:
    wanted = f"expected at {rule.cron} ({rule.time_zone})" if rule.cron else f"expected every {spoken(rule.interval)}"
    grace = f", with a grace of {spoken(rule.grace)}" if rule.grace else ""
    if heartbeat.seen_at is None:
        return f"it has not come since the hub began to wait for it at {moment(heartbeat.since, zone)}; {wanted}{grace}"
    return f"it came last at {moment(heartbeat.seen_at, zone)}, {spoken(now - heartbeat.seen_at)} ago; {wanted}{grace}"


def what_to_do(rule: HeartbeatRule) -> str:
    if rule.matchers:
        return ("Alerts may not get through: look whether Prometheus evaluates its rules, Alertmanager runs, and its webhook "
                "reaches this hub.")
    return "Look whether the job ran, whether it failed, and whether it can reach this hub."


def is_about(labels: Labels, name: str) -> bool:
    return labels.get("alertname") == HEARTBEAT_MISSING and labels.get("heartbeat") == name


def moment(at: datetime, zone: str) -> str:
    return f"{there(at, zone):%Y-%m-%d %H:%M:%S} {name_of(at, zone)}"
