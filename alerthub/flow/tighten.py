"""Targets become safe with the alert that calls for it, in the transaction that stores it. Nothing may delay or drop that: no
silence, cap, freeze, approval or closed incident is asked about here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import Incident
from alerthub.domain.latch import Latch, tightened
from alerthub.domain.rules import ActionRule, Direction, Rules
from alerthub.store import latches
from alerthub.store.tx import Tx

ACTOR = Actor("hub", "latch")
Wanted = Sequence[tuple[Incident, str, str]]      # with the names of action and target


def is_latching(rules: Rules, action: ActionRule, target: str) -> bool:
    """Whether a run of this action latches this target."""
    return action.direction is Direction.tighten and target in rules.targets


def tighten(tx: Tx, rules: Rules, wanted: Wanted, now: datetime) -> tuple[Mapping[str, int], list[Event]]:
    """Latch these targets for these incidents, which the caller has locked. By target how often it has been latched, this time
    included: the same number as before where it was safe already. The caller stores the incidents and the events."""
    if not wanted:
        return {}, []
    known = latches.lock(tx, {target for _, _, target in wanted}, now)
    events: list[Event] = []
    for incident, action, target in wanted:
        old = known[target]
        new = known[target] = tightened(old, action, incident.id, now)
        if new is not old:
            latches.save(tx, new)
            events.append(incident.happened(EventKind.latch, ACTOR, text_of(old, target), now, {**new.data(), "action": action}))
    latches.add_causes(tx, [{"target": target, "incident_id": incident.id, "action": action, "at": now}
                            for incident, action, target in wanted])
    return {target: latch.generation for target, latch in known.items()}, events


def text_of(old: Latch, target: str) -> str:
    """What people read when it was not safe before, or was about to be safe no longer."""
    called_off = "; its release is called off" if old.state.is_safe else ""
    return f"{target} is latched safe: only people can release it{called_off}"
