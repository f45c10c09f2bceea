"""Silences, heartbeats, who is on call, and what the configuration says."""

from __future__ import annotations

from pydantic import Field

from alerthub.domain.alert import Severity
from alerthub.domain.heartbeat import State
from alerthub.domain.rules import Direction, RunMode
from alerthub.web.shapes.base import Count, Moment, Page, Shape


class Mirrored(Shape):
    state: str
    remote_id: str
    detail: str


class SilenceShape(Shape):
    """Who silenced what until when."""

    number: int
    id: str
    state: str
    matchers: list[str]
    starts_at: Moment
    ends_at: Moment
    created_by: str
    comment: str
    created_at: Moment
    source: str = Field(description="empty for the hub's own; else it is shown only")
    remote_id: str
    mirrored: dict[str, Mirrored]


class SilenceBody(Shape):
    """Exactly one of `ends_at` and `duration`."""

    matchers: list[str] = Field(min_length=1, max_length=50)
    ends_at: str = ""
    duration: str = Field("", examples=["4h"])
    comment: str = ""
    created_by: str = ""


class ActionOf(Shape):
    name: str
    targets: list[str]


class HeartbeatShape(Shape):
    """A dead man's switch."""

    name: str
    state: State
    seen_at: Moment | None
    due_at: Moment | None
    since: Moment | None
    interval: str | None = None
    cron: str | None = None
    time_zone: str | None = None
    grace: str
    severity: str
    receiver: str
    matchers: list[str]
    actions: list[ActionOf]


class ShiftShape(Shape):
    person: str | None = Field(description="null: nobody")
    starts_at: Moment
    ends_at: Moment | None = Field(description="null: later than is shown")


class ScheduleNow(Shape):
    """Who is on call at that time, and in the two weeks after it."""

    schedule: str
    time_zone: str
    at: Moment
    person: str | None
    until: Moment | None
    shifts: list[ShiftShape]


class OnCall(Shape):
    items: list[ScheduleNow]


class OverrideShape(Shape):
    id: int
    schedule: str
    person: str
    replaces: str | None
    starts_at: Moment
    ends_at: Moment
    created_by: str
    uid: str | None


class OverrideBody(Shape):
    """Times without an offset are on the clocks of the schedule."""

    person: str
    starts_at: str = Field(examples=["2026-11-23T09:00"])
    ends_at: str
    replaces: str = ""
    created_by: str = ""


class ImportedBody(OverrideBody):
    uid: str


class ImportBody(Shape):
    uids: list[str] = Field(max_length=2000)
    overrides: list[ImportedBody] = Field(max_length=2000)
    created_by: str = ""


class Imported(Shape):
    added: Count
    removed: Count
    already: int


class Removed(Shape):
    removed: int


class Calendar(Shape):
    """Who is on call from `from` until `until`, without hole; nobody is `person: null`, and those again in `gaps`."""

    schedule: str
    time_zone: str
    start: Moment = Field(alias="from")
    until: Moment
    shifts: list[ShiftShape]
    gaps: list[ShiftShape]
    overrides: list[OverrideShape]


class Called(Shape):
    destination: str
    after: str


class StepShape(Shape):
    """`calls` are the names of those whom it would call now; `nobody` are schedules that have nobody."""

    notify: list[str]
    wait: str
    calls: list[str]
    nobody: list[str]
    destinations: list[Called]


class PolicyShape(Shape):
    name: str
    repeat: int
    steps: list[StepShape]


class Agreement(Shape):
    role: str
    count: int


class ActionTold(Shape):
    name: str
    direction: Direction
    mode: RunMode
    targets: list[str]
    approval: Agreement | None
    problem: str | None


class RouteTold(Shape):
    route: str
    matchers: list[str]
    receiver: str
    destinations: list[str]
    group: dict[str, str]
    is_muted: bool
    speaks_at: Moment
    repeat_interval: str
    escalation_policy: PolicyShape | None
    actions: list[ActionTold]


class SilencedBy(Shape):
    number: int
    ends_at: Moment
    created_by: str
    comment: str


class RoutesTold(Shape):
    """What an alert with these labels would lead to at that time, and why."""

    labels: dict[str, str]
    at: Moment
    severity: Severity
    routes: list[RouteTold]
    runbook: str | None
    silence: SilencedBy | None


class LinkCode(Shape):
    """The code is told this once: with the same key again it is null."""

    person: str
    code: str | None
    expires_at: Moment


class Reloaded(Shape):
    status: str
    version: str


Silences, Heartbeats, Overrides, Policies = Page[SilenceShape], Page[HeartbeatShape], Page[OverrideShape], Page[PolicyShape]
