"""A schedule as a calendar shows it: day by day on the clocks of its zone, who has which part, and instead of whom. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from alerthub.domain.rotation import instant_of
from alerthub.domain.schedule import Override, Schedule, Shift, shifts

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Part:
    """`planned` would have it by the layers alone. Nobody where a name is empty."""

    person: str
    planned: str
    starts_at: datetime
    ends_at: datetime

    @property
    def is_gap(self) -> bool:
        return not self.person

    @property
    def is_override(self) -> bool:
        return self.person != self.planned


@dataclass(frozen=True, slots=True)
class Day:
    """From midnight to midnight there, however many hours that is. The parts fill it."""

    date: date
    parts: tuple[Part, ...]


def roster(schedule: Schedule, overrides: Sequence[Override], start: datetime, end: datetime) -> list[Part]:
    """The whole time from start to end, cut wherever the person or the plan changes."""
    real, plan = shifts(schedule, overrides, start, end), shifts(schedule, (), start, end)
    edges = sorted({shift.starts_at for shift in (*real, *plan)} | {shift.ends_at for shift in (*real, *plan)})
    actual, planned = at_each(real, edges), at_each(plan, edges)
    return [Part(person, other, begin, finish)
            for person, other, begin, finish in zip(actual, planned, edges, edges[1:], strict=False)]


def at_each(found: Sequence[Shift], edges: Sequence[datetime]) -> Iterator[str]:
    """Who is on call from each edge on; both are in order."""
    left = iter(found)
    shift = next(left, None)
    for edge in edges:
        while shift is not None and shift.ends_at <= edge:
            shift = next(left, None)
        yield shift.person if shift is not None else ""


def days(schedule: Schedule, overrides: Sequence[Override], first: date, count: int) -> list[Day]:
    """So many days from this one on."""
    midnights = [instant_of(datetime.combine(first + DAY * index, time()), schedule.time_zone) for index in range(count + 1)]
    parts = roster(schedule, overrides, midnights[0], midnights[-1])
    return [Day(first + DAY * index, tuple(cut(parts, midnights[index], midnights[index + 1]))) for index in range(count)]


def cut(parts: Sequence[Part], start: datetime, end: datetime) -> Iterator[Part]:
    for part in parts:
        if part.starts_at < end and part.ends_at > start:
            yield replace(part, starts_at=max(part.starts_at, start), ends_at=min(part.ends_at, end))


def today(now: datetime, time_zone: str) -> date:
    return now.astimezone(ZoneInfo(time_zone)).date()


def month_days(year: int, month: int) -> tuple[date, int]:
    """The Monday with or before the first of the month, and how many days of whole weeks show all of it."""
    first = date(year, month, 1)
    following = date(year + month // 12, month % 12 + 1, 1)
    monday = first - DAY * first.weekday()
    weeks = -(-(following - monday).days // 7)
    return monday, weeks * 7
