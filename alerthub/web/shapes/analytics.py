"""Looking back over a span. What each number means stands in `meanings`."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field

from alerthub.web.shapes.base import Count, Moment, Shape

Hours = Annotated[list[Count], Field(min_length=24, max_length=24, description="at each hour there")]
Weekdays = Annotated[list[Count], Field(min_length=7, max_length=7, description="from Monday")]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0)]


class SpreadShape(Shape):
    """Half of the times are at most the median, nine of ten at most `p90_seconds`."""

    count: Count
    median_seconds: float | None
    p90_seconds: float | None


class Totals(Shape):
    count: Count
    open: Count
    to_acknowledge: SpreadShape
    to_resolve: SpreadShape


class DayShape(Shape):
    day: date
    critical: Count
    error: Count
    warning: Count
    info: Count
    total: Count


class NoiseShape(Shape):
    """Of the incidents of one alert."""

    name: str
    incidents: Count
    openings: Count
    reopenings: Count
    never_acknowledged: Count
    share_never_acknowledged: Share


class WokenShape(Shape):
    person: str
    notifications: Count
    at_night: Count
    by_hour: Hours


class ActionRecord(Shape):
    action: str
    started: Count
    verified: Count
    succeeded: Count
    failed: Count
    unknown: Count
    running: Count
    rate: Share


class SafeTime(Shape):
    target: str
    seconds: Seconds
    times: Count
    is_safe: bool


class ChannelCount(Shape):
    channel: str
    sent: Count
    failed: Count
    unknown: Count
    sending: Count
    dead: Count


class Analytics(Shape):
    """`is_cut`: there was more than is looked at."""

    start: Moment = Field(alias="from")
    end: Moment = Field(alias="to")
    time_zone: str
    team: str
    severity: str
    is_cut: bool
    incidents: Totals
    by_day: list[DayShape]
    by_hour: Hours
    by_weekday: Weekdays
    noise: list[NoiseShape]
    woken: list[WokenShape]
    actions: list[ActionRecord]
    safe_mode: list[SafeTime]
    deliveries: list[ChannelCount]
    meanings: dict[str, str]
