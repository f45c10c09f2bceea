"""Time intervals in Alertmanager's words and meaning: which minutes they contain, and when that next changes.

Which routes they mute is in route.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from zoneinfo import ZoneInfo

WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
          "december")
CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00")
DAY_MINUTES = 1440
LONGEST_MONTH = 31
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
SEARCH = timedelta(days=400)        # an interval that is said by month, day and weekday comes again within it, or rarely

Span = tuple[int, int]


@dataclass(frozen=True)
class Period:
    """One set of conditions; all that are given must hold. Minutes are those of the day, the end excluded; the other spans
    include their end. Days of the month below zero count from its end; weekdays count from Sunday, 0."""

    times: tuple[Span, ...] = ()
    weekdays: tuple[Span, ...] = ()
    days_of_month: tuple[Span, ...] = ()
    months: tuple[Span, ...] = ()
    years: tuple[Span, ...] = ()
    location: str = "UTC"

    @cached_property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.location)

    @cached_property
    def edges_of_day(self) -> tuple[int, ...]:
        return tuple(sorted({minute for span in self.times or ((0, DAY_MINUTES),) for minute in span}))

    def contains(self, instant: datetime) -> bool:
        local = instant.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        if self.times and not any(start <= minute < end for start, end in self.times):
            return False
        return self.contains_day(local)

    def contains_day(self, day: date) -> bool:
        """Whether the date fits, whatever the time."""
        if self.years and not within(self.years, day.year):
            return False
        if self.months and not within(self.months, day.month):
            return False
        if self.weekdays and not within(self.weekdays, day.isoweekday() % 7):
            return False
        return not self.days_of_month or self.contains_day_of_month(day)

    def contains_day_of_month(self, day: date) -> bool:
        length = days_in_month(day)
        spans = ((from_end(first, length), from_end(last, length)) for first, last in self.days_of_month)
        return any(first <= day.day <= last for first, last in spans)

    def edges_on(self, day: date) -> Iterable[datetime]:
        """The instants of a local day that fits at which `contains` may change."""
        midnight = datetime.combine(day, time(), self.zone)
        start, end = midnight.astimezone(UTC), (midnight + DAY).astimezone(UTC)
        if end - start == DAY:
            return [start + minute * MINUTE for minute in self.edges_of_day]
        # The clocks change: a wall time may come twice or never, and the change itself is an edge.
        walls = [midnight + minute * MINUTE for minute in self.edges_of_day]
        found = {wall.replace(fold=fold).astimezone(UTC) for wall in walls for fold in (0, 1)}
        return sorted({*found, start, end, change_between(start, end, self.zone)})


def within(spans: Iterable[Span], number: int) -> bool:
    return any(first <= number <= last for first, last in spans)


def from_end(day: int, length: int) -> int:
    return day if day > 0 else length + 1 + day


def days_in_month(day: date) -> int:
    """The 28th and four days are always in the next month."""
    after = day.replace(day=28) + timedelta(days=4)
    return (after - timedelta(days=after.day)).day


def change_between(start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """The first whole minute after a change of the zone's offset that lies between the two."""
    before = start.astimezone(zone).utcoffset()
    while end - start > MINUTE:
        middle = start + (end - start) // MINUTE // 2 * MINUTE
        if middle.astimezone(zone).utcoffset() == before:
            start = middle
        else:
            end = middle
    return end


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """A named interval: an instant is in it when it is in any of its periods."""

    name: str
    periods: tuple[Period, ...]

    def contains(self, instant: datetime) -> bool:
        return any(period.contains(instant) for period in self.periods)


def next_moment(now: datetime, predicate: Callable[[datetime], bool], intervals: Iterable[TimeInterval]) -> datetime:
    """The first whole minute from `now` on at which the predicate holds; 400 days after `now` when there is none.

    The predicate may depend on the time only by what these intervals contain: only where that changes is it asked.
    """
    first, end = whole_minute(now), now + SEARCH
    if predicate(first):
        return first
    periods = tuple(period for interval in intervals for period in interval.periods)
    day, seen = first.astimezone(UTC).replace(hour=0, minute=0), set[Hashable]()
    while day <= end:
        dates = local_dates(day, periods)
        pattern = tuple((period.contains_day(date), date.utcoffset()) for period in periods for date in dates[period.location])
        if pattern not in seen:
            for edge in edges_in(day, dates, periods):
                if first < edge <= end and predicate(edge):
                    return edge
            if day > first and all(early.utcoffset() == late.utcoffset() for early, late in dates.values()):
                seen.add(pattern)
        day += DAY
    return end


def local_dates(day: datetime, periods: Iterable[Period]) -> dict[str, tuple[datetime, datetime]]:
    """When a day of UTC begins and ends, in each zone. Two days for which that fits the same periods, by the same offsets,
    are alike in every minute: what was not found in one is not in the other."""
    zones = {period.location: period.zone for period in periods}
    return {name: (day.astimezone(zone), (day + DAY - MINUTE).astimezone(zone)) for name, zone in zones.items()}


def edges_in(day: datetime, dates: Mapping[str, tuple[datetime, datetime]], periods: Iterable[Period]) -> list[datetime]:
    """In order, where a period may begin or end on this day of UTC. Its first minute, too: there the day before ends."""
    found = {edge for period in periods for date in dates[period.location] if period.contains_day(date)
             for edge in period.edges_on(date.date())}
    return sorted(edge for edge in {*found, day} if day <= edge < day + DAY)


def whole_minute(instant: datetime) -> datetime:
    floor = instant.replace(second=0, microsecond=0)
    return floor if floor == instant else floor + MINUTE


# What the configuration says. Each raises ValueError with what would be right.

def parse_clock(text: str) -> int:
    """`HH:MM`, up to `24:00`, as minutes of the day."""
    if not CLOCK.fullmatch(text):
        raise ValueError(f"{text} is not a time of day; write it like 09:00, at most 24:00")
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)


def parse_times(start: str, end: str) -> Span:
    span = parse_clock(start), parse_clock(end)
    if span[0] >= span[1]:
        raise ValueError(f"it ends at {end}, not after its start at {start}; an interval over midnight is two: "
                         f"{start} to 24:00, and 00:00 to {end}")
    return span


def parse_weekdays(text: str) -> Span:
    return ordered(text, parse_ends(text, named(WEEKDAYS, "a weekday", 0)), "two spans, up to saturday and from sunday")


def parse_months(text: str) -> Span:
    return ordered(text, parse_ends(text, month_of), "two spans, up to december and from january")


def parse_years(text: str) -> Span:
    return ordered(text, parse_ends(text, year_of), "the earlier year first")


def parse_days_of_month(text: str) -> Span:
    first, last = parse_ends(text, day_of)
    if first < 0 < last:
        raise ValueError(f"{text} begins at the end of the month and ends at its beginning; write two spans, "
                         f"{first}:-1 and 1:{last}")
    if from_end(first, LONGEST_MONTH) > from_end(last, LONGEST_MONTH):
        raise ValueError(f"{text} ends before it begins; the earlier day comes first")
    return first, last


def parse_location(text: str) -> str:
    """A name of the IANA time zone database. Never a path."""
    try:
        if text and not text.startswith("/"):
            return ZoneInfo(text).key
    except (ValueError, OSError, KeyError):     # ZoneInfoNotFoundError is a KeyError; a folder's name gives an OSError
        pass
    raise ValueError(f"{text or 'an empty text'} is not a time zone; write its IANA name, for example Europe/Istanbul or UTC")


def parse_ends(text: str, number_of: Callable[[str], int]) -> Span:
    first, colon, last = text.strip().lower().partition(":")
    return number_of(first), number_of(last if colon else first)


def ordered(text: str, span: Span, right: str) -> Span:
    if span[0] > span[1]:
        raise ValueError(f"{text} ends before it begins; write {right}")
    return span


def named(names: tuple[str, ...], what: str, first: int) -> Callable[[str], int]:
    def number_of(text: str) -> int:
        if text not in names:
            raise ValueError(f"{text or 'an empty text'} is not {what}; write {names[0]}, {names[1]}, … {names[-1]}, "
                             f"or a span like {names[1]}:{names[3]}")
        return names.index(text) + first

    return number_of


def month_of(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= len(MONTHS):
        return int(text)
    return named(MONTHS, "a month", 1)(text)


def day_of(text: str) -> int:
    if re.fullmatch(r"-?\d{1,2}", text, re.ASCII) and 1 <= abs(int(text)) <= LONGEST_MONTH:
        return int(text)
    raise ValueError(f"{text or 'an empty text'} is not a day of the month; write 1 to 31, -1 to -31 from its end, "
                     "or a span like 1:5")


def year_of(text: str) -> int:
    if re.fullmatch(r"\d{4}", text, re.ASCII):
        return int(text)
    raise ValueError(f"{text or 'an empty text'} is not a year; write it like 2026, or a span like 2026:2028")
