"""Who has it, who was called, and what comes next: what the person who is woken asks first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from alerthub.domain.approval import SHOWN, Asked, waiting_line
from alerthub.domain.event import Event, EventKind
from alerthub.domain.incident import Incident
from alerthub.domain.latch import Latch, LatchState
from alerthub.domain.message import IncidentStatus
from alerthub.domain.person import Person
from alerthub.domain.rules import Destination

NAMED = 5       # calls that are named, the newest of many


@dataclass(frozen=True, slots=True)
class Waiting:
    """A timer of the incident: an escalation's next step, or the end of an acknowledgement (`is_ack`)."""

    is_ack: bool
    has_run_out: bool
    due_at: datetime | None


def standing(incident: Incident, waiting: Sequence[Waiting], calls: Iterable[Event], destination: Destination) -> tuple[str, ...]:
    """The lines for one destination, none when nothing is to be said. `calls`: the escalations of this episode."""
    if incident.status is IncidentStatus.acknowledged:
        ends = min((timer.due_at for timer in waiting if timer.is_ack and timer.due_at), default=None)
        return (f"{incident.acknowledged_by} has it until {clock(ends)}; then it asks again.",) if ends else ()
    if not incident.is_open or incident.silence_id:
        return ()
    made = [event for event in calls if event.kind is EventKind.escalated and event.at >= incident.opened_at]
    called = [event for event in made if event.data.get("names")]
    if not made:
        return ()
    lines = []
    due = min((timer.due_at for timer in waiting if not timer.is_ack and not timer.has_run_out and timer.due_at), default=None)
    if due is not None and destination.is_personal and called and destination.key in called[-1].data.get("told", ()):
        lines.append("YOU ARE CALLED: take it (acknowledge), or the next person is called.")
    by = ", ".join(f"{' and '.join(event.data['names'])} at {clock(event.at)}" for event in called[-NAMED:])
    if due is not None:
        lines.append(f"Nobody has it. Called: {by or 'nobody could be'}. Next step {clock(due)}.")
    elif any(timer.has_run_out for timer in waiting if not timer.is_ack):
        lines.append(f"NOBODY ANSWERED ({by or 'nobody could be called'}). Nobody else will be called.")
    return tuple(lines)


def of_people(asked: Sequence[Asked], latched: Sequence[Latch], people: Mapping[str, Person], *,
              is_asked: bool) -> tuple[str, ...]:
    """What waits for people, and what stays safe until they say so; whatever the state of the incident."""
    lines = ["YOU ARE ASKED to approve or to deny this."] if is_asked else []
    lines += [waiting_line(one, people) for one in asked[:SHOWN]]
    if len(asked) > SHOWN:
        lines.append(f"{len(asked) - SHOWN} more wait for people; write runs to see them.")
    return (*lines, *(latched_line(latch) for latch in latched if latch.state is not LatchState.release_requested))


def latched_line(latch: Latch) -> str:
    if latch.state is LatchState.releasing:
        return f"{latch.target} is being released; it counts as safe until it confirms that."
    since = f" since {clock(latch.since)}" if latch.since else ""
    return f"{latch.target} is latched safe{since}. It stays so until people release it."


def clock(at: datetime) -> str:
    return f"{at:%H:%M} UTC"
