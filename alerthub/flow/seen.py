"""Has what somebody decides about changed since they looked at it? Asked in the transaction that changes it, with it locked."""

from __future__ import annotations

from datetime import datetime

from alerthub.domain.answer import Decision, Why, refused
from alerthub.domain.command import Command
from alerthub.domain.incident import Incident
from alerthub.domain.latch import Latch
from alerthub.store import alerts as alert_store
from alerthub.store import latches, runs
from alerthub.store.runs import Run
from alerthub.store.tx import Tx

CHANGED = "{} has changed since you looked at it. Look again, and decide anew."


def mark_of_incident(seq: int, updated_at: str) -> str:
    """How far its history goes, and since when: after a failover something else may have happened by the same number."""
    return f"{seq}-{updated_at}"


def mark_of_run(run: Run) -> str:
    return f"{run.state.value}-{run.attempt}"


def mark_of_latch(latch: Latch) -> str:
    return str(latch.seq)


def changed_incident(command: Command, incident: Incident) -> Decision | None:
    """Of an incident that is locked. None where it is as expected, or nothing was expected."""
    if not command.expected or mark_of_incident(incident.seq, incident.updated_at.isoformat()) in command.expected:
        return None
    return refused(Why.changed_since, CHANGED.format(f"#{incident.number}"))


def changed(tx: Tx, command: Command, now: datetime) -> Decision | None:
    """Of a latch or a run, which is locked by this; a latch after its incident, as everywhere. What is
    not there, the room says."""
    if not command.expected:
        return None
    latch = latches.find(tx, command.subject)
    if latch is not None:
        alert_store.incidents_for_change(tx, [latch.incident_id] if latch.incident_id else [])
        mark = mark_of_latch(latches.lock(tx, [latch.target], now)[latch.target])
    else:
        run = runs.find(tx, command.subject.removeprefix("run:"))
        mark = mark_of_run(run) if run else command.expected[0]
    return None if mark in command.expected else refused(Why.changed_since, CHANGED.format(command.subject[:80]))
