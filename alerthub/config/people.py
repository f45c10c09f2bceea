"""The blocks of the configuration file that are about people: who they are, when they are on call, who is called when."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from alerthub.config.times import Location, Name, Restriction
from alerthub.domain import interval
from alerthub.settings import Duration, Settings
from alerthub.sources.base import Span, Token

HANDOFF = re.compile(r"(?:([a-z]+) +)?([0-9]{2}:[0-9]{2})", re.IGNORECASE)

# What they look like; the words for it are in words.py.
SLACK_ID, PAGERDUTY_ID, ADDRESS = "^[UW][A-Z0-9]{4,30}$", "^[A-Z0-9]{4,20}$", r"^[^@\s]+@[^@\s]+$"
NUMBER = re.compile(r"[+-]?[0-9]{1,20}")
# Which key of a channel's settings takes the address of a person.
ADDRESSED = {"slack": "channel", "telegram": "chat_id", "email": "to"}

Text = Annotated[str, Field(min_length=1)]


def check_telegram(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str) or not NUMBER.fullmatch(str(value).strip()):
        raise ValueError("Telegram's numeric id is expected, such as 123456789 (ask @userinfobot)")
    return int(value)


class Person(Settings):
    """`contact` says by which of the addresses, in which order. `grants` are roles beside the first, such as approver. Whoever
    shows `api_token` to the API or a page is this person."""

    name: Name
    role: Text = "responder"
    grants: tuple[Text, ...] = ()
    slack: str | None = Field(default=None, pattern=SLACK_ID)
    telegram: Annotated[int, BeforeValidator(check_telegram)] | None = None
    email: str | None = Field(default=None, pattern=ADDRESS)
    pagerduty: str | None = Field(default=None, pattern=PAGERDUTY_ID)
    contact: tuple[Literal["slack", "telegram", "email"], ...] = ()
    api_token: Token | None = None
    api_token_file: str | None = None

    @model_validator(mode="after")
    def check_contact(self) -> Self:
        if gone := [kind for kind in self.contact if getattr(self, kind) is None]:
            raise ValueError(f"contact names {gone[0]}, but the person has no {gone[0]}; add it, or take it out")
        return self


def check_handoff(text: str) -> str:
    """`09:00` or `mon 09:00`; a weekday may be shortened to three letters."""
    match = HANDOFF.fullmatch(text)
    days = [day for day in interval.WEEKDAYS if match and match[1] and match[1].lower() in (day, day[:3])]
    if match is None or (match[1] and not days):
        raise ValueError("not a time of handing over; write it like 09:00 or mon 09:00")
    interval.parse_clock(match[2])
    return text


class Layer(Settings):
    """People in turn. `custom` hands over every `length`, counted from `start`; without restrictions it is always on."""

    name: Name | None = None
    rotation: Literal["daily", "weekly", "custom"] = "weekly"
    handoff: Annotated[str, AfterValidator(check_handoff)] = "09:00"
    length: Span | None = None
    start: date | None = None
    people: tuple[str, ...] = Field(min_length=1)
    time_zone: Location | None = None
    restrictions: tuple[Restriction, ...] = ()

    @model_validator(mode="after")
    def check_turns(self) -> Self:
        if self.rotation == "daily" and " " in self.handoff:
            raise ValueError("handoff names a weekday, but rotation daily hands over every day; take the weekday out, or write "
                             "rotation: weekly")
        if self.rotation == "custom" and self.length is None:
            raise ValueError("rotation custom needs the length of a turn; add it, for example length: 3d")
        if self.length is not None and self.length < timedelta(minutes=1):
            raise ValueError("a turn is at least a minute; write for example length: 12h")
        if self.rotation != "custom" and self.length is not None:
            raise ValueError("length is for rotation custom; take it out, or write rotation: custom")
        return self


class Schedule(Settings):
    """Its name is part of addresses, so it holds no slash."""

    name: Annotated[Name, Field(pattern=r"^[^/]+$")]
    time_zone: Location = "UTC"
    layers: tuple[Layer, ...] = Field(min_length=1)


class Step(Settings):
    """`notify` names a person, a schedule or a receiver, with or without `person:`, `schedule:`, `receiver:` before it."""

    notify: tuple[Text, ...] = Field(min_length=1)
    wait: Duration = timedelta(minutes=5)


class EscalationPolicy(Settings):
    name: Name
    steps: tuple[Step, ...] = Field(min_length=1)
    repeat: int = Field(default=0, ge=0, le=100)


class AnswersSettings(Settings):
    """Whom the hub hears. An account that is nobody's may do nothing, unless it may acknowledge."""

    unknown_accounts: Literal["refuse", "acknowledge"] = "refuse"
    time_zone: Location = "UTC"


class FlappingSettings(Settings):
    """More than `count` openings of one incident within `window` are told as one message with a count."""

    count: int = Field(ge=2, le=1000)
    window: Span = timedelta(hours=1)
