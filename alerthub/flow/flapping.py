"""Incidents that open and close too often: one message with a count, and actions as each has declared."""

from __future__ import annotations

from datetime import datetime

from alerthub.domain.action import Reason
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import Incident
from alerthub.domain.rules import ActionRule, Direction, Rules
from alerthub.flow.keep import keep
from alerthub.store import alerts as alert_store
from alerthub.store import events as event_store
from alerthub.store import runs
from alerthub.store.tx import Tx

ACTOR = Actor("hub", "flapping")


def openings(tx: Tx, rules: Rules, incident: Incident, now: datetime) -> int:
    """How often it has opened within the window, this time counted, once that is too often; else 0."""
    limit = rules.flapping
    if not limit.count:
        return 0
    count = 1 + event_store.openings(tx, incident.key, now - limit.window)
    return count if count > limit.count else 0


def held_back(tx: Tx, rules: Rules, incident: Incident, rule: ActionRule, target: str, now: datetime) -> Reason | None:
    """Why an action is not run for an incident that is silenced or flaps; None when it is. A tighten always is."""
    if rule.direction is Direction.tighten:
        return None
    if incident.silence_id:
        return Reason.silenced
    if incident.flaps and (rule.on_flapping == "hold" or runs.ran_since(
            tx, incident.id, rule.name, target, now - rules.flapping.window)):
        return Reason.flapping
    return None


def calm(tx: Tx, rules: Rules, now: datetime) -> list[Event]:
    """What has not opened or closed for a whole window flaps no longer: everybody is told how it is now."""
    found = alert_store.flapping_until(tx, now - rules.flapping.window)
    changed = alert_store.incidents_for_change(tx, found)
    events: list[Event] = []
    for incident in changed.values():
        state = "it fires" if incident.is_open else "it is resolved"
        incident.flaps = 0
        kind = EventKind.changed if incident.is_open else EventKind.resolved
        events.append(incident.happened(kind, ACTOR, f"No longer flapping: {state}", now, {}))
    keep(tx, list(changed.values()), events, now)
    return events
