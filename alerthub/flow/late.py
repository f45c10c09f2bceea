"""The room of what fires already: an alert whose action or target came into the configuration later, or that was taken in by a
replica that did not know them, latches its target all the same, as soon as that is seen: at the start, after a reload, and with
its next repeat. What is known as a cause is left alone: it has latched the target, or an admin has overridden it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from alerthub.domain.action import Proposal, proposals
from alerthub.domain.alert import Alert, AlertStatus, Batch
from alerthub.domain.event import Event
from alerthub.domain.incident import OWN_SOURCE, AlertState
from alerthub.domain.rules import Direction, Rules
from alerthub.flow.keep import keep
from alerthub.flow.propose import latches_it, run_rows
from alerthub.store import alerts as alert_store
from alerthub.store import latches, runs
from alerthub.store.tx import Tx

BITE = 500      # alerts in one transaction: a few tens of milliseconds, in which others may wait for their incidents
Firing = Sequence[tuple[str, str, Alert]]       # with the id of its incident and its source


@dataclass(frozen=True, slots=True)
class Swept:
    """What came of one bite; where the next one begins, None after the last."""

    events: list[Event]
    next: int | None


def tightens(rules: Rules) -> bool:
    """Whether any alert could latch anything."""
    return bool(rules.targets) and any(rule.direction is Direction.tighten for rule in rules.actions.values())


def sweep(tx: Tx, rules: Rules, now: datetime, after: int = 0) -> Swept:
    """At the start and after a reload: all that fires, a bite at a time; `after` is where the last one ended."""
    states = alert_store.firing_elsewhere(tx, OWN_SOURCE, after, BITE) if tightens(rules) else []
    events, _ = catch_up(tx, rules, [fired(state) for state in states], now)
    return Swept(events, states[-1].row if len(states) == BITE else None)


def catch_up(tx: Tx, rules: Rules, firing: Firing, now: datetime) -> tuple[list[Event], list[str]]:
    """Latch what these alerts call for and have not yet latched; what happened, and the runs. Their incidents are locked and read
    anew first, if there is anything."""
    late = {incident_id for incident_id, _, _ in missed(tx, rules, firing)}
    if not late:
        return [], []
    incidents = alert_store.incidents_for_change(tx, late)
    still = [fired(state) for incident in incidents.values() if incident.is_open
             for state in alert_store.of_incident(tx, incident.id) if state.is_firing]
    proposed = [(incident_id, proposal, Batch(source, now, (proposal.alert,), observer="hub"))
                for incident_id, source, proposal in missed(tx, rules, still)]
    rows, events = run_rows(tx, rules, proposed, incidents, now)
    moved = {event.incident_id for event in events}
    keep(tx, [incidents[incident_id] for incident_id in sorted(moved)], events, now)
    return events, runs.propose(tx, rows)


def missed(tx: Tx, rules: Rules, firing: Firing) -> list[tuple[str, str, Proposal]]:
    """What they call for, where their incident is no cause of its target's latch."""
    wanted = [(incident_id, source, proposal) for incident_id, source, alert in firing
              for proposal in called_for(rules, alert) if latches_it(rules, proposal)]
    known = latches.known_causes(tx, {proposal.target for _, _, proposal in wanted}) if wanted else set()
    return [one for one in wanted if (one[2].target, one[0]) not in known]


def called_for(rules: Rules, alert: Alert) -> Iterable[Proposal]:
    return proposals(rules.routes(alert.labels), alert, rules)


def fired(state: AlertState) -> tuple[str, str, Alert]:
    content = json.loads(state.content)
    alert = Alert(content["labels"], AlertStatus.firing, content["annotations"], starts_at=state.starts_at, ends_at=state.ends_at,
                  generator_url=content.get("generator_url", ""), fingerprint=content.get("fingerprint", ""))
    return state.incident_id or "", state.source, alert
