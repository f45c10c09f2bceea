"""How a run ends, in one transaction: its outcome, the line in the incident's history, the pages, and what it means for the
latch of its target."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from alerthub.actions.base import Outcome, Report
from alerthub.domain import own
from alerthub.domain.action import REASON_TEXT, Reason, RunState
from alerthub.domain.alert import Alert, AlertStatus
from alerthub.domain.event import Actor, EventKind
from alerthub.domain.incident import OWN_SOURCE, Incident
from alerthub.domain.rules import Direction, Rules, RunMode
from alerthub.flow import latch
from alerthub.flow.intake import take_in
from alerthub.store import alerts as alert_store
from alerthub.store import events as event_store
from alerthub.store import freezes, lanes, runs
from alerthub.store.tx import Tx

ACTOR = Actor("hub", "actions")
WORDS = {RunState.succeeded: "succeeded", RunState.failed: "FAILED", RunState.unknown: "is UNCONFIRMED",
         RunState.refused: "was NOT RUN", RunState.expired: "was NOT RUN"}
MODES = {Reason.shadow: "shadow mode", Reason.dry_run: "dry run"}


def finish(tx: Tx, rules: Rules, run: runs.Run, state: RunState, reason: Reason, report: Report | None, now: datetime, *,
           attempt: int | None = None, text: str = "") -> bool:
    """End a run, if nobody has ended it already: whether that was so. `text`: why it was not run, where more is known than the
    reason says."""
    kept: Mapping[str, Any] = asdict(report) if report is not None else {"detail": text} if text else {}
    ours = runs.settle(tx, run.id, run.attempt if attempt is None else attempt, state=state.value, reason=reason.value,
                       due_at=None, finished_at=now, report=json.dumps(kept) if kept else "")
    if not ours:
        return False
    line = said(run, state, reason, report, text)
    # A target that is told again, each minute, and does not hear it again: that is said already, and its page stands.
    is_known = bool(run.report) and run.direction == Direction.tighten.value and state is not RunState.succeeded
    incident = (alert_store.read_incidents(tx, [run.incident_id])[run.incident_id] if is_known else
                tell(tx, run, line, now, {"state": state.value, "reason": reason.value}))
    news = [*ended(tx, rules, run, state, line, now), *raised(tx, run, incident, state, reason, line)]
    if news:
        take_in(tx, rules, [own.own_batch(news, now)], now)
    if run.direction != Direction.neutral.value:
        latch.ended(tx, rules, run, state, now)
    return True


def said(run: runs.Run, state: RunState, reason: Reason, report: Report | None, text: str) -> str:
    """The line of the history."""
    detail = report.detail if report is not None else text or REASON_TEXT[reason]
    if reason in MODES and report is not None:
        would = "would have been run" if report.outcome is Outcome.succeeded else "would NOT have worked"
        return f"{beginning(run)} {would} ({MODES[reason]}): {detail}"
    undo = report.undo.get("how", "") if report is not None else ""
    return f"{beginning(run)} {WORDS[state]}: {detail}" + (f". To undo it: {undo}" if undo else "")


def ended(tx: Tx, rules: Rules, run: runs.Run, state: RunState, line: str, now: datetime) -> list[Alert]:
    """The alarms that end with it."""
    standing = alarms(tx) if state is RunState.succeeded else []
    if not standing:
        return []
    alike = latch.told_alike(tx, rules, run)
    return [own.cleared(alarm, now, line) for alarm in standing
            if own.is_over(alarm.labels, run.action, run.target, run.direction, alike)]


def raised(tx: Tx, run: runs.Run, incident: Incident, state: RunState, reason: Reason, line: str) -> list[Alert]:
    """What a person must look at, as incidents of their own. What stands already is no news."""
    detail = f"{line} (incident #{incident.number})"
    if state is RunState.succeeded or reason in MODES:
        return []
    if reason is Reason.circuit_open:
        return [own.circuit_open(run.action, detail)]
    found = [own.actions_frozen(freeze.scope, freeze.by, freeze.why, only_releases=freeze.scope != "" and
                                run.direction == Direction.relax.value) for freeze in freezes.standing(tx)
             if freeze.holds(run.action)] if reason is Reason.frozen else []
    if run.direction == Direction.relax.value:
        return [*found, own.release_failed(run.action, run.target, incident.id, WORDS[state], detail)]
    if run.direction == Direction.tighten.value or state in (RunState.failed, RunState.unknown):
        return [*found, own.action_failed(run.action, run.target, incident.id, WORDS[state], detail)]
    return found


def alarms(tx: Tx) -> list[Alert]:
    """The hub's own alarms that stand."""
    contents = [json.loads(state.content) for state in alert_store.firing_of_source(tx, OWN_SOURCE)]
    return [Alert(content["labels"], AlertStatus.firing, content["annotations"]) for content in contents]


def described(run: runs.Run) -> str:
    if run.direction == Direction.relax.value:
        return f"the release of {run.target}"
    return f"{run.action} on {run.target}" if run.target else run.action


def beginning(run: runs.Run) -> str:
    """It, at the beginning of a sentence."""
    what = described(run)
    return f"T{what[1:]}" if run.direction == Direction.relax.value else f"Action {what}"


def tell(tx: Tx, run: runs.Run, text: str, now: datetime, data: Mapping[str, Any]) -> Incident:
    """Add a line to the incident's history and make its lanes due; the incident."""
    incident = alert_store.incidents_for_change(tx, [run.incident_id])[run.incident_id]
    mode = {} if run.mode == RunMode.live.value else {"mode": run.mode}
    event = incident.happened(EventKind.action, ACTOR, text, now, {
        "run": run.id, "action": run.action, "target": run.target, **mode, **data})
    alert_store.save_incidents(tx, [incident])
    event_store.append(tx, [event])
    lanes.mark(tx, [(incident.id, incident.seq)], now)
    return incident
