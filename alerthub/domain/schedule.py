"""Who is on call: layers, the later ones over the earlier, and overrides over all. Turns and hand-offs are in rotation.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alerthub.domain.rotation import Layer

__all__ = ["Layer", "Override", "Schedule", "Shift", "gaps", "next_change", "on_call", "shifts"]

NOBODY = "NOBODY"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LOOK_AHEAD = timedelta(days=90)
FIRST_LOOK = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Layers, the later one covers the earlier."""

    name: str
    layers: tuple[Layer, ...]
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Override:
    """`person` instead of whoever would be on call; with `replaces`, only instead of that one (a swap). `uid` names the
    calendar event that it was read from. ValueError when it would not last."""

    schedule: str
    person: str
    starts_at: datetime
    ends_at: datetime
    replaces: str = ""
    id: int = 0
    uid: str = ""
    created_by: str = ""

    def __post_init__(self) -> None:
        if self.starts_at.tzinfo is None or self.ends_at.tzinfo is None:
            raise ValueError("a time of the override has no time zone; write it like 2026-11-23T09:00:00+03:00")
        for name in ("starts_at", "ends_at"):       # Python compares two times of one zone by their wall clocks, fold or not
            object.__setattr__(self, name, getattr(self, name).astimezone(UTC))
        if self.ends_at <= self.starts_at:
            word = "when it starts" if self.ends_at == self.starts_at else "before it starts"
            raise ValueError(f"the override ends {word}; give an end after its start")


@dataclass(frozen=True, slots=True)
class Shift:
    """From its start up to, and without, its end the person is on call; nobody when that is empty."""

    person: str
    starts_at: datetime
    ends_at: datetime

    def told(self, time_zone: str) -> str:
        """For people: `Mon 2026-11-23 09:00 – Mon 2026-11-30 09:00 Europe/Istanbul  ayse`."""
        return f"{span_told(self.starts_at, self.ends_at, time_zone)} {time_zone}  {self.person or NOBODY}"


def on_call(schedule: Schedule, overrides: Sequence[Override], at: datetime) -> str:
    """The name of whoever is on call at that instant; empty when nobody is.

    `overrides` come in the order of their making, those of other schedules are passed over. Each acts on what the ones
    before it made: the last one covers all, and a swap after a swap replaces whom the first brought in."""
    at = at.astimezone(UTC)
    person = next(filter(None, (layer.person_at(at) for layer in reversed(schedule.layers))), "")
    for override in overrides:
        if override.starts_at <= at < override.ends_at and override.schedule == schedule.name:
            person = override.person if override.replaces in ("", person) else person
    return person


def shifts(schedule: Schedule, overrides: Sequence[Override], start: datetime, end: datetime) -> tuple[Shift, ...]:
    """The whole of the time from start to end, without hole or overlap: who is on call, gaps as person "". The first begins
    at `start`, the last ends at `end`, two neighbours never are the same person. Times are UTC."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    own = [one for one in overrides if one.schedule == schedule.name and one.starts_at < end and one.ends_at > start]
    found: list[Shift] = []
    for begin, finish in pieces(schedule, own, start, end):
        person = on_call(schedule, own, begin)
        if found and found[-1].person == person:
            begin = found.pop().starts_at
        found.append(Shift(person, begin, finish))
    return tuple(found)


def pieces(schedule: Schedule, overrides: Sequence[Override], start: datetime,
           end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The time, cut wherever anything may change: only there it must be asked who is on call."""
    cuts = {edge for layer in schedule.layers for edge in layer.edges(start, end)}
    cuts |= {edge for one in overrides for edge in (one.starts_at, one.ends_at) if start < edge < end}
    inner = sorted(cuts)
    if start < end:
        yield from zip([start, *inner], [*inner, end], strict=True)


def gaps(schedule: Schedule, overrides: Sequence[Override], start: datetime, end: datetime) -> tuple[Shift, ...]:
    """When nobody is on call."""
    return tuple(shift for shift in shifts(schedule, overrides, start, end) if not shift.person)


def next_change(schedule: Schedule, overrides: Sequence[Override], at: datetime,
                within: timedelta = LOOK_AHEAD) -> datetime | None:
    """The first instant after `at` when somebody else, or nobody, is on call. None: not before `at + within`."""
    look = min(FIRST_LOOK, within)
    while True:
        found = shifts(schedule, overrides, at, at + look)
        if len(found) > 1:
            return found[1].starts_at
        if look >= within:
            return None
        look = min(look * 4, within)


def span_told(start: datetime, end: datetime, time_zone: str) -> str:
    return f"{moment_told(start, time_zone)} – {moment_told(end, time_zone)}"


def moment_told(instant: datetime, time_zone: str) -> str:
    """`Mon 2026-11-23 09:00` on that zone's clocks, in English whatever the locale; seconds only when there are some."""
    local = instant.astimezone(ZoneInfo(time_zone))
    return f"{DAYS[local.weekday()]} {local:%Y-%m-%d %H:%M}{f':{local:%S}' if local.second else ''}"
