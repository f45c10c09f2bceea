"""What happened to an incident, append-only: who did it, why, and the line of text that people read about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from alerthub.domain.message import Why


class EventKind(StrEnum):
    opened = "opened"
    reopened = "reopened"
    changed = "changed"            # alerts joined or left, severity rose, the sender began to cut alerts off
    resolved = "resolved"
    stale = "stale"
    refreshed = "refreshed"        # heard from again after stale
    silenced = "silenced"          # the source says that a silence or inhibition holds it, or no longer does
    action = "action"              # an action run changed its state
    latch = "latch"                # a target was made safe, or is on its way out of it
    acknowledged = "acknowledged"
    unacknowledged = "unacknowledged"   # given back, or its time is over
    unsilenced = "unsilenced"      # a silence of the hub has ended, and it still fires
    escalated = "escalated"        # somebody was called, or nobody could be
    comment = "comment"


WHY = {
    EventKind.opened: Why.opened, EventKind.reopened: Why.reopened, EventKind.changed: Why.changed,
    EventKind.resolved: Why.resolved, EventKind.stale: Why.stale, EventKind.refreshed: Why.changed,
    EventKind.silenced: Why.changed, EventKind.action: Why.action, EventKind.latch: Why.action,
    EventKind.acknowledged: Why.acknowledged, EventKind.unacknowledged: Why.unacknowledged,
    EventKind.escalated: Why.escalated, EventKind.comment: Why.comment,
    EventKind.unsilenced: Why.unacknowledged,
}
# What a telling is called when several events are told at once: the most important one names it.
ORDER = (EventKind.resolved, EventKind.reopened, EventKind.opened, EventKind.escalated, EventKind.unacknowledged,
         EventKind.unsilenced, EventKind.acknowledged, EventKind.action, EventKind.latch, EventKind.stale, EventKind.changed,
         EventKind.comment, EventKind.refreshed, EventKind.silenced)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: `source` alertmanager, `hub` reconciler, later `person` ayse."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Event:
    """One row of an incident's history. `seq` counts from 1 without gaps. `text` is for people."""

    incident_id: str
    seq: int
    at: datetime
    kind: EventKind
    actor: Actor
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


def why_of(events: tuple[Event, ...], *, first: bool) -> Why:
    """Why a destination is told, given the events it has not seen. Nothing new means the repeat interval has passed."""
    kinds = {event.kind for event in events}
    if first and kinds and EventKind.resolved not in kinds:
        return Why.opened
    for kind in ORDER:
        if kind in kinds:
            return WHY[kind]
    return Why.repeat
