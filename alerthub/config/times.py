"""Time intervals as the configuration file writes them: Alertmanager's words, read by domain/interval.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from alerthub.domain import interval
from alerthub.settings import Settings

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]


def span_of(parse: Callable[[str], interval.Span], example: str) -> BeforeValidator:
    """Reads a span such as `monday:friday`, or one number, with one of the domain's readers."""

    def read(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError(f"write it like {example}")
        return parse(str(value))

    return BeforeValidator(read)


WORD = WithJsonSchema({"type": ["string", "integer"]})
Weekdays = Annotated[interval.Span, span_of(interval.parse_weekdays, "monday:friday"), WORD]
DaysOfMonth = Annotated[interval.Span, span_of(interval.parse_days_of_month, "1:5 or -3:-1"), WORD]
Months = Annotated[interval.Span, span_of(interval.parse_months, "january:march"), WORD]
Years = Annotated[interval.Span, span_of(interval.parse_years, "2026:2028"), WORD]
Location = Annotated[str, AfterValidator(interval.parse_location)]
# Alertmanager takes an empty list for never; here it is a mistake.
SOME = Field(default=(), min_length=1)


def check_clock(text: str) -> str:
    interval.parse_clock(text)
    return text


Clock = Annotated[str, AfterValidator(check_clock)]


class Times(Settings):
    """From `start_time` up to, and without, `end_time`."""

    start_time: Clock
    end_time: Clock

    @model_validator(mode="after")
    def check_order(self) -> Self:
        interval.parse_times(self.start_time, self.end_time)
        return self


class Restriction(Settings):
    times: tuple[Times, ...] = SOME
    weekdays: tuple[Weekdays, ...] = SOME


class PeriodSettings(Restriction):
    """All that is given must hold at once."""

    days_of_month: tuple[DaysOfMonth, ...] = SOME
    months: tuple[Months, ...] = SOME
    years: tuple[Years, ...] = SOME
    location: Location = "UTC"

    def period(self) -> interval.Period:
        return interval.Period(
            times=tuple(interval.parse_times(span.start_time, span.end_time) for span in self.times),
            weekdays=self.weekdays, days_of_month=self.days_of_month, months=self.months, years=self.years,
            location=self.location)


class TimeIntervalSettings(Settings):
    name: Name
    time_intervals: tuple[PeriodSettings, ...] = Field(min_length=1)
