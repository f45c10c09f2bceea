"""Whose turn it is in one layer, and at which instants that may change. Hand-offs are wall-clock times of the layer's zone:
over a change of the clocks a turn is longer or shorter, and the hand-off stays at its hour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from alerthub.domain.interval import DAY, MINUTE, Period

ANCHOR = date(1970, 1, 5)       # a Monday. Turns are counted from here without a `start`, so a restart changes nothing
SECOND = timedelta(seconds=1)
STEPS = {"daily": DAY, "weekly": 7 * DAY}


@dataclass(frozen=True, slots=True)
class Layer:
    """People in turn. `handoff` is (weekday or None, minutes after midnight) in `time_zone`; weekdays count from Sunday, 0, as
    everywhere in the domain. A custom rotation hands over every `length`, at least a minute, also counted on the wall clock.

    The first of `people` has the turn that begins with the first hand-off on or after `start` (else the first Monday of
    1970). `start` only says where counting begins: turns go on backwards before it. Outside its restrictions nobody of
    this layer is on call."""

    people: tuple[str, ...]
    rotation: str = "weekly"                    # daily, weekly, custom
    handoff_weekday: int | None = None
    handoff_minute: int = 540
    length: timedelta | None = None
    start: date | None = None
    time_zone: str = "UTC"
    restrictions: tuple[Period, ...] = ()
    name: str = ""

    @property
    def step(self) -> timedelta:
        """From one hand-off to the next, on the wall clock."""
        return max(MINUTE, STEPS.get(self.rotation) or self.length or DAY)

    @property
    def first_wall(self) -> datetime:
        """The hand-off that begins turn 0, as the clock on the wall shows it."""
        day = self.start or ANCHOR
        if self.handoff_weekday is not None:
            day += (self.handoff_weekday - day.isoweekday()) % 7 * DAY
        return datetime.combine(day, time()) + self.handoff_minute * MINUTE

    def person_at(self, at: datetime) -> str:
        """Empty outside the restrictions."""
        is_on = not self.restrictions or any(period.contains(at) for period in self.restrictions)
        return self.people[turn_at(self, at) % len(self.people)] if is_on and self.people else ""

    def edges(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Every instant strictly between the two at which `person_at` may change; some twice, in no order."""
        yield from (edge for edge in (*hand_offs(self, start, end), *limits(self, start, end)) if start < edge < end)


def begin_of(layer: Layer, turn: int) -> datetime:
    return instant_of(layer.first_wall + turn * layer.step, layer.time_zone)


def turn_at(layer: Layer, at: datetime) -> int:
    """The last turn that has begun. While an hour comes again the wall clock is behind: what has begun is not handed back."""
    wall = at.astimezone(ZoneInfo(layer.time_zone)).replace(tzinfo=None)
    turn = (wall - layer.first_wall) // layer.step
    while begin_of(layer, turn + 1) <= at:
        turn += 1
    return turn


def hand_offs(layer: Layer, start: datetime, end: datetime) -> Iterator[datetime]:
    if len(set(layer.people)) < 2:
        return
    turn = turn_at(layer, start) + 1
    while (begin := begin_of(layer, turn)) < end:
        yield begin
        turn += 1


def limits(layer: Layer, start: datetime, end: datetime) -> Iterator[datetime]:
    """Where a restriction may begin or end. A day of any zone lies within the days around it of UTC."""
    day, last = start.astimezone(UTC).date() - DAY, end.astimezone(UTC).date() + DAY
    while layer.restrictions and day <= last:
        for period in layer.restrictions:
            if period.contains_day(day):
                yield from period.edges_on(day)
        day += DAY


@lru_cache(maxsize=4096)
def instant_of(wall: datetime, time_zone: str) -> datetime:
    """When a clock in that zone shows this: the first time, if it does so twice; if it never does, the first instant after
    the hole, when the clocks jump over it."""
    zone = ZoneInfo(time_zone)
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if shown_at(instant, zone) == wall:
        return instant
    before = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while instant - before > SECOND:
        middle = before + (instant - before) // SECOND // 2 * SECOND
        before, instant = (before, middle) if shown_at(middle, zone) >= wall else (middle, instant)
    return instant


def shown_at(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)
