"""Which configuration is in use, by name; no secret is in it."""

from __future__ import annotations

from pydantic import Field

from alerthub.domain.rules import Direction, RunMode
from alerthub.web.shapes.base import Shape


class SourceName(Shape):
    name: str
    type: str


class PlaceName(Shape):
    key: str
    channel: str


class ReceiverName(Shape):
    name: str
    destinations: list[PlaceName]


class RouteShape(Shape):
    route: str
    matchers: list[str]
    receiver: str
    continues: bool = Field(alias="continue")
    group_by: list[str]
    escalation_policy: str | None
    actions: list[str]
    routes: list[RouteShape]


class PersonName(Shape):
    name: str
    role: str


class ScheduleName(Shape):
    name: str
    time_zone: str


class ActionName(Shape):
    name: str
    type: str
    direction: Direction
    mode: RunMode


class Configuration(Shape):
    """`state` says whether the last reload was taken over."""

    version: str
    state: str
    public_url: str
    sources: list[SourceName]
    receivers: list[ReceiverName]
    route: RouteShape
    people: list[PersonName]
    schedules: list[ScheduleName]
    escalation_policies: list[str]
    heartbeats: list[str]
    targets: list[str]
    actions: list[ActionName]
    runbooks: list[str]
