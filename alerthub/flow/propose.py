"""The actions that alerts call for, as rows that are due; and what is said of those that are not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from alerthub.domain.action import REASON_TEXT, Proposal, Reason, RunState
from alerthub.domain.alert import Alert, Batch, canonical
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import Incident
from alerthub.domain.own import action_without_target
from alerthub.domain.rules import ActionRule, Direction, Rules
from alerthub.flow import flapping
from alerthub.flow.tighten import is_latching, tighten
from alerthub.store import runs
from alerthub.store.tx import Tx

Proposed = Sequence[tuple[str, Proposal, Batch]]      # with the id of the incident
Row = dict[str, Any]


def run_rows(tx: Tx, rules: Rules, proposed: Proposed, incidents: Mapping[str, Incident], now: datetime,
             ) -> tuple[list[Row], list[Event]]:
    """Latch what is to be safe; then one run per (incident, episode, action, target) and, of a tighten, per time that its
    target was latched, in the transaction that stores the alert. The incidents are locked, so what is not known now is new."""
    latching = [(incidents[incident_id], proposal.rule.name, proposal.target) for incident_id, proposal, _ in proposed
                if latches_it(rules, proposal)]
    rounds, events = tighten(tx, rules, latching, now)
    rows: dict[tuple[str, int, str, str], Row] = {}
    known = runs.known(tx, {incident_id for incident_id, _, _ in proposed})
    for incident_id, proposal, batch in proposed:
        incident, is_latched = incidents[incident_id], latches_it(rules, proposal)
        key = (incident_id, incident.episode, proposal.rule.name, proposal.target)
        if key not in rows and (is_latched or key not in known):      # a round that is known already is left out by the store
            held_back = flapping.held_back(tx, rules, incident, proposal.rule, proposal.target, now)
            told = {"round": rounds[proposal.target]} if is_latched else {}
            rows[key] = proposed_row(tx.new_id(), rules, incident, proposal, proposal.reason or held_back, batch, now) | told
    return list(rows.values()), events


def latches_it(rules: Rules, proposal: Proposal) -> bool:
    return proposal.reason is None and is_latching(rules, proposal.rule, proposal.target)


def proposed_row(new_id: str, rules: Rules, incident: Incident, proposal: Proposal, refused: Reason | None, batch: Batch,
                 now: datetime) -> Row:
    row = run_row(new_id, rules, incident, proposal.rule, proposal.target, now, body_sha256=batch.body_sha256,
                  **called_by(proposal.alert))
    if refused is None:
        return row
    return row | {"state": RunState.refused.value, "reason": refused.value, "due_at": None, "finished_at": now}


def run_row(new_id: str, rules: Rules, incident: Incident, rule: ActionRule, target: str, now: datetime, **told: Any) -> Row:
    """A run that is due now."""
    reason = Reason.tighten if rule.direction is Direction.tighten else Reason.allowed
    return {
        "id": new_id, "incident_id": incident.id, "episode": incident.episode, "action": rule.name, "target": target,
        "direction": rule.direction.value, "state": RunState.proposed.value, "reason": reason.value, "why": incident.title,
        "rule_version": rule.version, "rules_version": rules.version, "body_sha256": "", "labels": {}, "created_at": now,
        "due_at": now, "finished_at": None, **told,
    }


def called_by(alert: Alert) -> Row:
    """The alert as it was received: for the run, and for whoever must prove later why it was run."""
    times = {name: at.isoformat() for name, at in (("starts_at", alert.starts_at), ("ends_at", alert.ends_at)) if at}
    told = {"labels": dict(alert.labels), "annotations": dict(alert.annotations), "status": alert.status.value,
            "generator_url": alert.generator_url, "fingerprint": alert.fingerprint, **times}
    return {"labels": dict(alert.labels), "alert": canonical(told)}


def say_refused(rows: Sequence[Row], proposed: Proposed, incidents: Mapping[str, Incident],
                now: datetime) -> tuple[list[Event], list[Alert]]:
    """What was not done, and why, is part of the history. A tighten that has no target also pages."""
    texts = {(incident_id, proposal.rule.name, proposal.target): proposal.text for incident_id, proposal, _ in proposed}
    events: list[Event] = []
    alarms: list[Alert] = []
    for row in rows:
        if row["state"] != RunState.refused.value:
            continue
        incident = incidents[row["incident_id"]]
        why = texts[incident.id, row["action"], row["target"]] or REASON_TEXT[Reason(row["reason"])]
        text = f"Action {row['action']} was not run: {why}"
        told = {"run": row["id"], "action": row["action"], "state": row["state"], "reason": row["reason"]}
        events.append(incident.happened(EventKind.action, Actor("hub", "actions"), text, now, told))
        if row["direction"] == Direction.tighten.value:
            wanted = row["target"].removeprefix("?")
            alarms.append(action_without_target(row["action"], wanted, incident.id, f"{incident.title}: {text}"))
    return events, alarms
