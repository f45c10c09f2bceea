"""What the hub goes by, as people look at it; no secret is in it. Spans are words, such as `2 h 30 min`."""

from __future__ import annotations

from pydantic import Field

from alerthub.domain.person import Right
from alerthub.domain.rules import Direction, RunMode
from alerthub.web.shapes.base import Count, Moment, Shape


class RouteNode(Shape):
    """One node, with what it inherits; its children follow it, one deeper."""

    place: str
    depth: Count
    matchers: list[str]
    continues: bool = Field(alias="continue")
    receiver: str
    group_by: list[str]
    group_wait: str
    repeat_interval: str
    escalation_policy: str | None
    ack_timeout: str | None
    actions: list[str]
    mute_time_intervals: list[str]
    active_time_intervals: list[str]


class DestinationShape(Shape):
    key: str
    channel: str
    send_resolved: bool
    answers: str = Field(description="how people answer there")
    is_personal: bool


class ReceiverShape(Shape):
    name: str
    destinations: list[DestinationShape]


class PersonShape(Shape):
    name: str
    role: str
    grants: list[Right | str]
    known_by: list[str] = Field(description="kinds of accounts; the accounts themselves are theirs")
    contact: list[str]


class PolicyStep(Shape):
    notify: list[str]
    wait: str


class ConfiguredPolicy(Shape):
    name: str
    steps: list[PolicyStep]
    repeat: Count


class ConfiguredSchedule(Shape):
    name: str
    time_zone: str
    layers: list[list[str]] = Field(description="the people of each")


class SourceShape(Shape):
    name: str
    type: str
    stale_after: str
    asked_at: list[str] = Field(description="which hosts are asked what still fires")


class ReleaseShape(Shape):
    clear_for: str
    approve: str | None


class TargetShape(Shape):
    name: str
    permit: str | None = Field(description="how long a lease lasts")
    release: ReleaseShape | None


class ConfiguredAction(Shape):
    name: str
    type: str
    direction: Direction
    mode: RunMode
    targets: list[str]
    target_label: str | None
    approve: str | None
    cooldown: str | None
    max_per_hour: int | None
    deadline: str
    does: list[str]
    version: str


class ConfiguredHeartbeat(Shape):
    name: str
    expected: str = Field(description="cron, or every how long")
    grace: str | None
    receiver: str
    severity: str
    matchers: list[str]
    actions: list[str]
    needs_token: bool


class RunbookShape(Shape):
    name: str
    title: str
    owner: str
    matchers: list[str]
    actions: list[str]


class GuardsShape(Shape):
    max_per_hour: int
    mode: RunMode


class Configuration(Shape):
    """`loaded_at`: since when it counts. `problems`: why the last file was not taken over; nothing when it was."""

    version: str
    public_url: str
    time_zone: str
    routes: list[RouteNode]
    receivers: list[ReceiverShape]
    people: list[PersonShape]
    escalation_policies: list[ConfiguredPolicy]
    schedules: list[ConfiguredSchedule]
    sources: list[SourceShape]
    targets: list[TargetShape]
    actions: list[ConfiguredAction]
    heartbeats: list[ConfiguredHeartbeat]
    runbooks: list[RunbookShape]
    guards: GuardsShape
    retention: str
    reopen_window: str
    loaded_at: Moment
    problems: list[str]
