"""The actions that alerts call for, as rows that are due; and what is said of those that are not run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from alerthub.domain.action import REASON_TEXT, Proposal, Reason, RunState
from alerthub.domain.alert import Alert, Batch, Labels
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import Incident
from alerthub.domain.own import action_without_target
from alerthub.domain.rules import ActionRule, Direction, Rules
from alerthub.flow import flapping
from alerthub.store import runs
from alerthub.store.tx import Tx

Proposed = Sequence[tuple[str, Proposal, Batch]]      # with the id of the incident


def run_rows(tx: Tx, rules: Rules, proposed: Proposed, incidents: Mapping[str, Incident], now: datetime) -> list[dict[str, Any]]:
    """One run per (incident, episode, action, target), in the transaction that stores the alert. The incidents are locked,
    so what is not known now is new."""
    rows: dict[tuple[str, int, str, str], dict[str, Any]] = {}
    known = runs.known(tx, {incident_id for incident_id, _, _ in proposed})
    for incident_id, proposal, batch in proposed:
        incident = incidents[incident_id]
        key = (incident_id, incident.episode, proposal.rule.name, proposal.target)
        if key not in known and key not in rows:
            held_back = flapping.held_back(tx, rules, incident, proposal.rule, proposal.target, now)
            rows[key] = run_row(tx, incident, proposal.rule, proposal.target, proposal.alert.labels, now,
                                refused=proposal.reason or held_back, body_sha256=batch.body_sha256)
    return list(rows.values())


def run_row(tx: Tx, incident: Incident, rule: ActionRule, target: str, labels: Labels, now: datetime, *,
            refused: Reason | None = None, body_sha256: str = "") -> dict[str, Any]:
    """One run, due now; or its refusal. `body_sha256` names the webhook that asked for it, if one did."""
    reason = refused or (Reason.tighten if rule.direction is Direction.tighten else Reason.allowed)
    return {
        "id": tx.new_id(), "incident_id": incident.id, "episode": incident.episode, "action": rule.name,
        "target": target, "direction": rule.direction.value,
        "state": (RunState.refused if refused else RunState.proposed).value, "reason": reason.value,
        "why": incident.title, "rule_version": rule.version, "body_sha256": body_sha256,
        "labels": dict(labels), "created_at": now,
        "due_at": None if refused else now, "finished_at": now if refused else None,
    }


def say_refused(rows: Sequence[dict[str, Any]], proposed: Proposed, incidents: Mapping[str, Incident],
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
        events.append(incident.happened(
            EventKind.action, Actor("hub", "actions"), text, now, {"run": row["id"], "reason": row["reason"]}))
        if row["direction"] == Direction.tighten.value:
            wanted = row["target"].removeprefix("?")
            alarms.append(action_without_target(row["action"], wanted, incident.id, f"{incident.title}: {text}"))
    return events, alarms
