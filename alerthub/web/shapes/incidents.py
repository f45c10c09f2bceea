"""Incidents, and what belongs to them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from alerthub.domain.alert import AlertStatus, Severity
from alerthub.domain.command import Outcome
from alerthub.domain.delivery import DeliveryState
from alerthub.domain.event import EventKind
from alerthub.domain.message import IncidentStatus
from alerthub.web.shapes.actions import Run
from alerthub.web.shapes.base import Count, Moment, Page, Shape


class Incident(Shape):
    """One thing that burns, or burned."""

    number: int
    id: str
    source: str
    title: str
    status: IncidentStatus
    severity: Severity
    episode: int
    opened_at: Moment
    updated_at: Moment
    resolved_at: Moment | None
    acknowledged_by: str
    acknowledged_at: Moment | None
    firing: Count
    alerts: Count
    incomplete: int
    is_stale: bool
    is_silenced: bool = Field(description="its source says that a silence or inhibition holds it")
    silence_id: str = Field(description="of the hub's own silence that holds it; empty for none")
    flaps: Count


class AlertShape(Shape):
    """One alert as it was last seen."""

    labels: dict[str, str]
    annotations: dict[str, str]
    generator_url: str = ""
    fingerprint: str = ""
    links: dict[str, str] = Field(default_factory=dict)
    status: AlertStatus
    starts_at: Moment | None
    ends_at: Moment | None
    seen_at: Moment | None


class EventShape(Shape):
    """One line of history."""

    seq: int
    at: Moment
    kind: EventKind
    actor: str = Field(description="who, as `kind:name`")
    text: str
    data: dict[str, Any]


class Timer(Shape):
    """What happens at a time unless somebody is first."""

    kind: str
    policy: str
    step: int
    round: int
    state: str
    due_at: Moment | None


class Delivery(Shape):
    """One attempt to tell one destination."""

    id: int
    lane_id: int
    incident_id: str
    destination: str
    attempt: int
    state: DeliveryState
    why: str
    up_to_seq: int
    possible_duplicate: bool
    started_at: Moment
    finished_at: Moment | None
    failure: str
    detail: str
    is_dead_letter: bool


class DeliveryDetail(Delivery):
    number: int | None = Field(description="of the incident; null when it is not kept any more")


class HeldBy(Shape):
    """The silence that holds an incident."""

    number: int
    created_by: str
    ends_at: Moment
    comment: str


class IncidentDetail(Incident):
    """With what belongs to it, at most 500 of each; longer lists are at addresses of their own."""

    silence: HeldBy | None
    alert_list: list[AlertShape]
    events: list[EventShape] = Field(description="the newest, oldest first")
    events_left_out: Count = Field(description="older ones, which are at its address `/events` with all others")
    timers: list[Timer]
    deliveries: list[Delivery]
    actions: list[Run]


class PlaceState(Shape):
    """How a destination is, for all incidents."""

    failing_since: Moment | None
    last_error: str
    last_sent_at: Moment | None
    moved_to: str
    paused_until: Moment | None


class Lane(Shape):
    """One incident at one destination."""

    id: int
    incident_id: str
    destination: str
    channel: str
    told_seq: int = Field(description="the last event of the incident that this destination knows")
    want_seq: int
    repeats: int
    due_at: Moment | None
    not_before: Moment | None
    attempt: int
    failures: int
    failing_since: Moment | None
    is_degraded: bool
    is_dead: bool


class LaneDetail(Lane):
    number: int | None
    is_live: bool = Field(description="it has a message there that is kept true")
    state_of_destination: PlaceState | None
    deliveries: list[Delivery]


class Told(Shape):
    """What became of what was asked."""

    outcome: Outcome
    text: str
    number: int


class Replayed(Shape):
    replayed: Count


class SetAside(Shape):
    """A body that could not be read."""

    id: int
    source: str
    arrived_at: Moment
    reason: str
    body_sha256: str


class CommandBody(Shape):
    """All of it may be left out."""

    by: str = Field("", description="the name that history shows beside the door")
    comment: str = ""
    duration: str = Field("1h", description="of a silence: 1h, 4h, 2d, tomorrow, until 18:00")
    force: bool = Field(False, description="resolve although it still fires")


class CommentBody(CommandBody):
    comment: str


Incidents, Alerts, Events = Page[Incident], Page[AlertShape], Page[EventShape]
Deliveries, Lanes, Quarantine = Page[Delivery], Page[Lane], Page[SetAside]
