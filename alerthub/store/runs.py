"""SQL of action runs: proposed once per (incident, episode, action, target), claimed once, settled once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update

from alerthub.domain.action import Facts, RunState
from alerthub.domain.alert import canonical
from alerthub.store.leases import is_due, pick
from alerthub.store.schema import action_runs, incidents
from alerthub.store.tx import AnyRow, Tx


@dataclass(frozen=True, slots=True)
class Run:
    """One action run as stored. `labels` are those of the alert that called for it."""

    id: str
    incident_id: str
    episode: int
    action: str
    target: str
    direction: str
    state: RunState
    reason: str
    why: str
    rule_version: str
    labels: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    was_leased: bool
    report: dict[str, Any]


def run_of(row: AnyRow) -> Run:
    return Run(
        id=row.id, incident_id=row.incident_id, episode=row.episode, action=row.action, target=row.target,
        direction=row.direction, state=RunState(row.state), reason=row.reason, why=row.why, rule_version=row.rule_version,
        labels=json.loads(row.labels), created_at=row.created_at, started_at=row.started_at, finished_at=row.finished_at,
        attempt=row.attempt, was_leased=row.lease_until is not None, report=json.loads(row.report) if row.report else {},
    )


def propose(tx: Tx, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Insert runs that do not exist yet for their (incident, episode, action, target); the ids of those that are new."""
    new: list[str] = []
    statement = tx.insert(action_runs).on_conflict_do_nothing(
        index_elements=["incident_id", "episode", "action", "target"]).returning(action_runs.c.id)
    for row in rows:
        values = {**row, "labels": canonical(row["labels"]), "attempt": 0, "report": ""}
        new.extend(tx.conn.execute(statement, values).scalars())
    return new


def due(tx: Tx, now: datetime, limit: int) -> tuple[list[Run], Sequence[AnyRow]]:
    """Due runs, tightening ones first, locked until the end of the transaction; and their rows, to lease."""
    # 'tighten' sorts after 'neutral' and 'relax'.
    query = (select(action_runs).where(is_due(action_runs, now))
             .order_by(action_runs.c.direction.desc(), action_runs.c.due_at, action_runs.c.id).limit(limit))
    rows = pick(tx, query, action_runs)
    return [run_of(row) for row in rows], rows


def facts(tx: Tx, run: Run, rule_version: str, now: datetime) -> Facts:
    """What the guards may know of the world, in the transaction that obeys them."""
    status = tx.conn.execute(select(incidents.c.status).where(incidents.c.id == run.incident_id)).scalar()
    mine = action_runs.c.action == run.action, action_runs.c.id != run.id, action_runs.c.started_at.is_not(None)
    last = tx.conn.execute(select(action_runs.c.started_at).where(*mine, action_runs.c.target == run.target)
                           .order_by(action_runs.c.started_at.desc()).limit(1)).first()
    hour = select(func.count()).select_from(action_runs).where(*mine, action_runs.c.started_at > now - timedelta(hours=1))
    return Facts(is_open=status != "resolved", rule_version=rule_version, proposed_version=run.rule_version,
                 proposed_at=run.created_at, last_started=last.started_at if last else None,
                 started_last_hour=int(tx.conn.execute(hour).scalar_one()))


def settle(tx: Tx, run_id: str, attempt: int, **columns: Any) -> bool:
    """Write the outcome, if this attempt is still the one that counts. False: somebody else has taken the run over."""
    done = tx.conn.execute(update(action_runs).where(action_runs.c.id == run_id, action_runs.c.attempt == attempt).values(
        lease_until=None, owner=None, **columns))
    return done.rowcount == 1


def decide(tx: Tx, run_id: str, **columns: Any) -> None:
    """Write a decision about a run that this transaction has locked."""
    tx.conn.execute(update(action_runs).where(action_runs.c.id == run_id).values(**columns))


def of_incident(tx: Tx, incident_id: str) -> list[Run]:
    mine = select(action_runs).where(action_runs.c.incident_id == incident_id)
    query = mine.order_by(action_runs.c.created_at, action_runs.c.id)
    return [run_of(row) for row in tx.conn.execute(query)]


def recent(tx: Tx, limit: int, state: str | None = None) -> list[Run]:
    query = select(action_runs).order_by(action_runs.c.created_at.desc(), action_runs.c.id.desc()).limit(limit)
    if state:
        query = query.where(action_runs.c.state == state)
    return [run_of(row) for row in tx.conn.execute(query)]
