"""Who has it, who was called, and what comes next: what the person who is woken asks first. Pure.

A live message stays as it is until something happens, so a time is shown only where it will be so: mute times and flapping are
reckoned in, and what is looked at again every minute has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerthub.domain.approval import SHOWN, Asked, waiting_line
from alerthub.domain.event import Event, EventKind
from alerthub.domain.incident import Incident
from alerthub.domain.latch import Latch, LatchState
from alerthub.domain.local_time import clock_time
from alerthub.domain.message import IncidentStatus
from alerthub.domain.route import Route
from alerthub.domain.rules import Destination, Rules

NAMED = 5       # calls that are named, the newest of many
FLAPPING_FOR = timedelta(minutes=5)      # what comes and goes is escalated once it stays


@dataclass(frozen=True, slots=True)
class Waiting:
    """A timer of the incident: a policy's next step, counted from 0, or the end of an acknowledgement (`is_ack`)."""

    is_ack: bool
    has_run_out: bool
    due_at: datetime | None
    policy: str = ""
    step: int = 0


def standing(incident: Incident, waiting: Sequence[Waiting], calls: Iterable[Event], destination: Destination,
             rules: Rules, routes: Sequence[Route], now: datetime) -> tuple[str, ...]:
    """The lines for one destination, none when nothing is to be said. `calls`: the escalations of this episode; `routes`: those
    by which the incident's alerts lead anywhere."""
    if not incident.is_open or incident.silence_id or incident.is_silenced:     # nobody is asked or called before that ends
        return ()
    zone = rules.answers.time_zone
    if incident.status is IncidentStatus.acknowledged:
        ends = min((timer.due_at for timer in waiting if timer.is_ack and timer.due_at), default=None)
        return (f"{incident.acknowledged_by} has it until {clock_time(ends, zone, now)}; then it asks again.",) if ends else ()
    made = [event for event in calls if event.kind is EventKind.escalated and event.at >= incident.opened_at]
    called = [event for event in made if event.data.get("names")]
    by = ", ".join(f"{' and '.join(event.data['names'])} at {clock_time(event.at, zone, now)}" for event in called[-NAMED:])
    running = [timer for timer in waiting if not timer.is_ack and timer.due_at is not None and not timer.has_run_out]
    coming = steps_to_come(incident, running, rules, routes)
    if not made or not (running or any(timer.has_run_out for timer in waiting)):
        return ()
    if not running:
        return (f"NOBODY ANSWERED ({by or 'nobody could be called'}). Nobody else will be called.",)
    line = f"Nobody has it. Called: {by or 'nobody could be'}. {following(coming, zone, now)}."
    is_theirs = destination.is_personal and called and destination.key in called[-1].data.get("told", ())
    return (you_are_called(coming), line) if coming and is_theirs else (line,)


def of_people(asked: Sequence[Asked], latched: Sequence[Latch], rules: Rules, now: datetime, *,
              is_asked: bool) -> tuple[str, ...]:
    """What waits for people, and what stays safe until they say so; whatever the state of the incident."""
    zone = rules.answers.time_zone
    lines = ["YOU ARE ASKED to approve or to deny this."] if is_asked else []
    lines += [waiting_line(one, rules.people, zone, now) for one in asked[:SHOWN]]
    if len(asked) > SHOWN:
        lines.append(f"{len(asked) - SHOWN} more wait for people; write runs to see them.")
    return (*lines, *(latched_line(latch, zone, now) for latch in latched if latch.state is not LatchState.release_requested))


def latched_line(latch: Latch, zone: str, now: datetime) -> str:
    if latch.state is LatchState.releasing:
        return f"{latch.target} is being released; it counts as safe until it confirms that."
    since = f" since {clock_time(latch.since, zone, now)}" if latch.since else ""
    return f"{latch.target} is latched safe{since}. It stays so until people release it."


@dataclass(frozen=True, slots=True)
class Step:
    """When a policy goes on. `is_end`: everybody whom it names has been called, and its last wait is over then."""

    at: datetime
    is_end: bool


def steps_to_come(incident: Incident, running: Iterable[Waiting], rules: Rules, routes: Sequence[Route]) -> list[Step]:
    """The first is the next. None of a policy that the configuration does not have any more."""
    found = [Step(step_at(incident, timer.policy, routes, timer.due_at), timer.step >= len(rules.policies[timer.policy].steps))
             for timer in running if timer.due_at is not None and timer.policy in rules.policies]
    return sorted(found, key=lambda step: step.at)


def following(coming: Sequence[Step], zone: str, now: datetime) -> str:
    if not coming:
        return "Nobody else will be called: the escalation policy is not in the configuration any more"
    at = clock_time(coming[0].at, zone, now)
    return f"Everybody was called; the escalation runs out at {at}" if coming[0].is_end else f"Next step {at}"


def you_are_called(coming: Iterable[Step]) -> str:
    if all(step.is_end for step in coming):
        return "YOU ARE CALLED: take it (acknowledge), nobody else will be called."
    return "YOU ARE CALLED: take it (acknowledge), or the next person is called."


def step_at(incident: Incident, policy: str, routes: Iterable[Route], due_at: datetime) -> datetime:
    """When a step is taken that is due then: flapping and the mute times of all routes that name its policy put it off."""
    if incident.flaps:      # it may be over before anybody could look
        due_at = max(due_at, incident.opened_at + FLAPPING_FOR)
    return min((route.speaks_at(due_at) for route in routes if route.escalation_policy == policy), default=due_at)


def can_escalate(waiting: Iterable[Waiting], rules: Rules) -> bool:
    """Whether there is an escalation whose next step a person could ask for."""
    return any(not timer.is_ack and timer.policy in rules.policies for timer in waiting)
