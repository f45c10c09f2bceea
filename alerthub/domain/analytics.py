"""Looking back: which span was asked for, and what the counts of the store come to where people live. Pure; nothing here grows
with the number of incidents."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from alerthub.domain.alert import Severity
from alerthub.domain.latch import LatchState
from alerthub.domain.message import Why
from alerthub.domain.schedule import DAYS

DAYS_ASKED = (7, 30, 90)
USUAL_DAYS, MOST_DAYS = 30, 92
QUARTER = timedelta(minutes=15)         # no time zone is off by a part of it
NIGHT = frozenset({22, 23, 0, 1, 2, 3, 4, 5, 6})        # hours by the clocks there: 22:00 to 07:00
SEVERITIES = tuple(one.value for one in sorted(Severity, key=lambda one: -one.rank))
EARLIEST = date(2000, 1, 1)
# A telling for which a phone rings: somebody is wanted. News of what somebody has already, or of what is over, wake nobody.
WAKES = frozenset({Why.opened.value, Why.reopened.value, Why.escalated.value, Why.unacknowledged.value, Why.repeat.value,
                   Why.digest.value})


@dataclass(frozen=True, slots=True)
class Span:
    """From its start up to, and without, its end."""

    start: datetime
    end: datetime


def last_days(days: int, now: datetime, zone: str) -> Span:
    """Today there, as far as it has gone, and the days before it."""
    today = now.astimezone(ZoneInfo(zone)).date()
    return Span(midnight(today - timedelta(days=days - 1), zone), now)


def between(first: date, last: date, now: datetime, zone: str) -> Span:
    """Whole days there, both included, not beyond now. ValueError with what would be right."""
    if last < first:
        raise ValueError("the last day is before the first; exchange them")
    if (last - first).days >= MOST_DAYS:
        raise ValueError(f"at most {MOST_DAYS} days at once; ask for a shorter span")
    if first < EARLIEST or midnight(first, zone) >= now:
        raise ValueError("that is not a time of which anything can be known; choose days that have begun")
    return Span(midnight(first, zone), min(now, midnight(last + timedelta(days=1), zone)))


def midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Spread:
    """Of so many times: half are at most the median, nine of ten at most `p90`, each being one of them (nearest rank)."""

    count: int = 0
    median: timedelta | None = None
    p90: timedelta | None = None


def rank(count: int, percent: int) -> int:
    """The place, from 1, of the smallest of so many values that this part of them does not exceed."""
    return (count * percent + 99) // 100


# -- when

Counted = Iterable[tuple[int, str, int]]        # a quarter of an hour since 1970, a severity, how many


def moment(quarter: int, zone: str) -> datetime:
    return datetime.fromtimestamp(quarter * QUARTER.total_seconds(), UTC).astimezone(ZoneInfo(zone))


def by_day(counted: Counted, span: Span, zone: str) -> list[tuple[date, Mapping[str, int]]]:
    """Every day of the span there, also the empty ones, with how many of each severity."""
    found: dict[date, Counter[str]] = defaultdict(Counter)
    for quarter, severity, count in counted:
        found[moment(quarter, zone).date()][severity] += count
    return [(day, found.get(day, Counter())) for day in days_of(span, zone)]


def days_of(span: Span, zone: str) -> Iterator[date]:
    place = ZoneInfo(zone)
    day, last = span.start.astimezone(place).date(), (span.end - timedelta(microseconds=1)).astimezone(place).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


def by_hour(counted: Counted, zone: str) -> list[int]:
    """How many at each of the 24 hours that clocks there show."""
    found = [0] * 24
    for quarter, _, count in counted:
        found[moment(quarter, zone).hour] += count
    return found


def by_weekday(counted: Counted, zone: str) -> list[int]:
    """From Monday."""
    found = [0] * len(DAYS)
    for quarter, _, count in counted:
        found[moment(quarter, zone).weekday()] += count
    return found


# -- who was woken

@dataclass(frozen=True, slots=True)
class Woken:
    person: str
    hours: tuple[int, ...]      # notifications at each hour there

    @property
    def count(self) -> int:
        return sum(self.hours)

    @property
    def at_night(self) -> int:
        return sum(self.hours[hour] for hour in NIGHT)


def woken(sent: Iterable[tuple[str, int, int]], owners: Mapping[str, Sequence[str]], zone: str) -> list[Woken]:
    """Of (destination, quarter, how many): per person, who was woken most at night first. Nobody who was left in peace."""
    found: dict[str, list[int]] = {}
    for destination, quarter, count in sent:
        for person in owners.get(destination, ()):
            found.setdefault(person, [0] * 24)[moment(quarter, zone).hour] += count
    people = [Woken(person, tuple(hours)) for person, hours in found.items()]
    return sorted(people, key=lambda one: (-one.at_night, -one.count, one.person))


# -- actions and targets

@dataclass(frozen=True, slots=True)
class Record:
    """What became of the runs of one action that were started."""

    action: str
    started: int
    verified: int       # succeeded, and the target said so afterwards
    succeeded: int      # verified or not
    failed: int
    unknown: int

    @property
    def rate(self) -> float:
        """Verified successes of all that were started: what nobody knows is no success."""
        return self.verified / self.started if self.started else 0.0

    @property
    def running(self) -> int:
        return self.started - self.succeeded - self.failed - self.unknown


def records(counted: Iterable[tuple[str, str, bool, int]]) -> list[Record]:
    """Of (action, state, whether it was verified, how many)."""
    found: dict[str, Counter[str]] = {}
    for action, state, is_verified, count in counted:
        mine = found.setdefault(action, Counter())
        mine["all"] += count
        mine[state] += count
        mine["verified"] += count if is_verified and state == "succeeded" else 0
    return [Record(action, mine["all"], mine["verified"], mine["succeeded"], mine["failed"], mine["unknown"])
            for action, mine in sorted(found.items())]


@dataclass(frozen=True, slots=True)
class Safe:
    """How long a target was in its safe state within the span, and how often it was made so."""

    target: str
    lasted: timedelta
    times: int
    is_safe: bool       # at the end of the span


def in_safe_mode(changes: Iterable[tuple[datetime, str, str, int]], span: Span) -> list[Safe]:
    """Of (when, target, state, the latch's own count of changes), in any order, from before the span as well."""
    mine: dict[str, dict[int, tuple[datetime, bool]]] = {}
    for at, target, state, seq in changes:
        told = mine.setdefault(target, {})
        if at < span.end and (seq not in told or at < told[seq][0]):        # a vote repeats the state that it is about
            told[seq] = at, LatchState(state).is_safe
    found = [safe_of(target, [told[seq] for seq in sorted(told)], span) for target, told in sorted(mine.items()) if told]
    return sorted((one for one in found if one.lasted), key=lambda one: (-one.lasted, one.target))


def safe_of(target: str, told: Sequence[tuple[datetime, bool]], span: Span) -> Safe:
    lasted, times, was_safe = timedelta(0), 0, False
    for (at, is_safe), (until, _) in zip(told, [*told[1:], (span.end, False)], strict=True):
        times += is_safe and not was_safe and at >= span.start
        if is_safe:
            lasted += max(timedelta(0), min(until, span.end) - max(at, span.start))
        was_safe = is_safe
    return Safe(target, lasted, times, was_safe)
