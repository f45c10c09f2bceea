"""Who is called next about an incident, for whoever looks at it. It reads and writes nothing down."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from alerthub.domain.escalation import call_for
from alerthub.domain.incident import Incident
from alerthub.domain.message import IncidentStatus
from alerthub.domain.rules import Rules
from alerthub.domain.standing import step_at
from alerthub.flow.escalate import who_has
from alerthub.flow.labels import routes_of
from alerthub.store import timers
from alerthub.store.timers import ESCALATION, LOST, RAN_OUT, RUNNING, Timer
from alerthub.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Coming:
    """Where one escalation stands: `state` is a word of STATES; `at` and `names` only while it calls somebody, or runs out."""

    policy: str
    state: str
    step: int = 0
    steps: int = 0
    at: datetime | None = None
    names: tuple[str, ...] = ()


STATES = {"calls": "next call", "ends": "everybody was called; it runs out", "waits": "waits while it is silenced",
          "stopped": "stopped", "ran_out": "has run out, nobody acknowledged",
          "lost": "is not in the configuration any more: nobody else will be called"}


def coming(tx: Tx, rules: Rules, incident: Incident, now: datetime) -> list[Coming]:
    """Of each escalation of this episode."""
    mine = [timer for timer in timers.of_incidents(tx, [incident.id])
            if timer.kind == ESCALATION and timer.episode == incident.episode]
    return [of_timer(tx, rules, incident, timer, now) for timer in mine]


def of_timer(tx: Tx, rules: Rules, incident: Incident, timer: Timer, now: datetime) -> Coming:
    if timer.state == RAN_OUT:
        return Coming(timer.name, "ran_out")
    if timer.state not in (RUNNING, LOST) or incident.status is not IncidentStatus.triggered:
        return Coming(timer.name, "stopped")
    if incident.silence_id or incident.is_silenced:
        return Coming(timer.name, "waits")
    policy = rules.policies.get(timer.name)
    if policy is None or timer.due_at is None:
        return Coming(timer.name, "lost")
    at = step_at(incident, policy.name, routes_of(tx, rules, incident), timer.due_at)
    if timer.step >= len(policy.steps):
        return Coming(timer.name, "ends", timer.step, len(policy.steps), at)
    # Who is on call then may be another than who is now.
    call = call_for(policy.steps[timer.step], rules, partial(who_has, tx, rules, max(at, now)))
    return Coming(timer.name, "calls", timer.step + 1, len(policy.steps), at, (*call.names, *call.nobody))
