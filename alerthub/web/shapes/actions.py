"""Action runs, latches, freezes, permits."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from alerthub.domain.action import RunState
from alerthub.domain.latch import LatchState
from alerthub.domain.permit import Mode
from alerthub.domain.rules import Direction, RunMode
from alerthub.web.shapes.base import Count, Moment, Page, Shape


class Run(Shape):
    """One run of an action on one target."""

    id: str
    incident_id: str
    episode: int
    action: str
    target: str
    direction: Direction
    state: RunState
    reason: str
    why: str
    rule_version: str
    labels: dict[str, str]
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    attempt: int
    report: dict[str, Any]
    round: int
    mode: RunMode
    rules_version: str
    body_sha256: str
    alert: dict[str, Any] = Field(description="that called for it, as received")
    asked_by: str


class Hits(Shape):
    """How often an action was called for in shadow mode, or in a dry run."""

    action: str
    target: str
    count: Count
    first: Moment
    last: Moment


class Runs(Page[Run]):
    hits: list[Hits] | None = None


class ApprovalShape(Shape):
    """Who must still agree."""

    role: str
    count: int
    until: Moment
    approved: list[str]
    missing: int


class LatchShape(Shape):
    """A target that was made safe."""

    target: str
    state: LatchState
    is_safe: bool
    seq: int
    generation: int
    since: Moment | None
    action: str
    incident_id: str
    number: int | None
    asked_by: str
    why: str
    due_at: Moment | None
    verified_at: Moment | None
    lack: str | None = Field(description="what speaks against its release")
    approval: ApprovalShape | None


Latches = Page[LatchShape]


class FreezeShape(Shape):
    action: str = Field(description="empty: all of them")
    by: str
    account: str
    why: str
    at: Moment


class Freezes(Shape):
    items: list[FreezeShape]


class LeaseShape(Shape):
    """A signed permit."""

    target: str
    mode: Mode
    issued_at: Moment
    expires_at: Moment
    sequence: int
    signature: str


class VoteBody(Shape):
    by: str = Field("", description="the name that history shows beside the door")


class WhyBody(VoteBody):
    why: str = ""


class FreezeBody(WhyBody):
    action: str = Field("", description="empty: all of them")
