"""The record: what happened, whether it is as the hub wrote it, and what people write about it afterwards."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from alerthub.domain.event import EventKind
from alerthub.web.shapes.base import Count, Moment, Page, Shape


class RecordedEvent(Shape):
    """One line of the record."""

    position: int
    incident: int | None = Field(description="its number")
    incident_id: str
    seq: int
    at: Moment
    kind: EventKind
    actor_kind: str
    actor_name: str
    text: str
    data: dict[str, Any]
    hash: str


class AnchorShape(Shape):
    n: int
    at: Moment
    position: int
    hash: str


class AnchorName(Shape):
    n: int
    hash: str


class Verified(Shape):
    """Whether the history of one incident is as the hub wrote it."""

    number: int
    id: str
    events: Count
    is_intact: bool
    findings: list[str]
    anchor: AnchorName | None


class FindingShape(Shape):
    """`seq` is 0 when it is about a whole incident, or about an anchor."""

    incident_id: str
    number: int
    seq: int
    text: str


class Extent(Shape):
    first_event_at: Moment | None
    last_event_at: Moment | None
    last_position: Count


class Checked(Shape):
    """The check that runs, or the last one. `is_cut`: there are more findings than are shown."""

    state: Literal["never", "running", "done", "failed"]
    started_at: Moment | None
    ended_at: Moment | None
    by: str
    is_good: bool
    findings: list[FindingShape]
    is_cut: bool
    extent: Extent | None
    anchors: Count
    newest_anchor: str
    problem: str


class Version(Shape):
    """One version of a report: `draft` by the hub, `edited` by somebody. 0 is a draft that nobody has saved."""

    version: Count
    at: Moment
    by: str
    kind: Literal["draft", "edited"]


class SavedReport(Version):
    text: str


class ReportShape(SavedReport):
    """`versions`: those that are kept, newest first."""

    incident: int
    versions: list[Version]


class ReportBody(Shape):
    text: str = Field(description="the whole report as Markdown")


Record, Anchors = Page[RecordedEvent], Page[AnchorShape]
