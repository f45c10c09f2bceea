"""Schedules of the configuration in the domain's words; and a word about the times for which nobody is on call."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from alerthub.config.model import ConfigModel
from alerthub.config.people import HANDOFF
from alerthub.config.people import Layer as LayerSettings
from alerthub.config.reader import Document
from alerthub.config.times import Restriction
from alerthub.domain.interval import WEEKDAYS, Period, parse_clock, parse_times
from alerthub.domain.schedule import Layer, Schedule, Shift, gaps, span_told
from alerthub.errors import Problem

AHEAD = timedelta(weeks=2)
NAMED = 2       # of the gaps; the others are counted


def schedules_of(model: ConfigModel) -> dict[str, Schedule]:
    """By name. A layer without a time zone is in its schedule's."""
    return {settings.name: Schedule(
        name=settings.name, time_zone=settings.time_zone,
        layers=tuple(layer_of(layer, layer.time_zone or settings.time_zone) for layer in settings.layers))
        for settings in model.schedules}


def layer_of(settings: LayerSettings, time_zone: str) -> Layer:
    weekday, minute = handoff_of(settings.handoff)
    return Layer(
        people=settings.people, rotation=settings.rotation, handoff_weekday=weekday, handoff_minute=minute,
        length=settings.length, start=settings.start, time_zone=time_zone, name=settings.name or "",
        restrictions=tuple(period_of(restriction, time_zone) for restriction in settings.restrictions))


def handoff_of(text: str) -> tuple[int | None, int]:
    """`mon 09:00` as (1, 540): weekdays count from Sunday."""
    match = HANDOFF.fullmatch(text)
    assert match is not None, "the model has checked it"
    weekday = (match[1] or "").lower()
    return next((number for number, day in enumerate(WEEKDAYS) if weekday in (day, day[:3])), None), parse_clock(match[2])


def period_of(settings: Restriction, time_zone: str) -> Period:
    return Period(times=tuple(parse_times(span.start_time, span.end_time) for span in settings.times),
                  weekdays=settings.weekdays, location=time_zone)


def gap_warnings(document: Document, model: ConfigModel, now: datetime) -> Iterator[Problem]:
    """One line per schedule by which nobody is on call for some of the next two weeks. Overrides are not known here."""
    start = now.replace(second=0, microsecond=0)
    for index, schedule in enumerate(schedules_of(model).values()):
        if found := gaps(schedule, (), start, start + AHEAD):
            yield document.problem(("schedules", index), gap_told(schedule, found))


def gap_told(schedule: Schedule, found: tuple[Shift, ...]) -> str:
    named = ", ".join(span_told(gap.starts_at, gap.ends_at, schedule.time_zone) for gap in found[:NAMED])
    more = f" and {len(found) - NAMED} more in two weeks" if len(found) > NAMED else ""
    return (f"schedule {schedule.name}: nobody is on call {named}{more} ({schedule.time_zone}); put a layer without "
            "restrictions before the others, or let the escalation policy go on to somebody else")
