"""SQL of action runs: proposed once per (incident, episode, action, target), claimed once, settled once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import ColumnElement, func, select, text, update

from alerthub.domain.action import RunState
from alerthub.domain.alert import canonical
from alerthub.domain.guard import Facts
from alerthub.domain.rules import ActionRule, Direction, RunMode
from alerthub.store.leases import is_due, pick
from alerthub.store.schema import Instant, action_runs, incidents
from alerthub.store.tx import AnyRow, Tx, chunks

CODE = 12       # characters of a run's id that people write and buttons hold
HOUR = timedelta(hours=1)
LONGEST_HELD = timedelta(minutes=2)     # longer than any lease of a run that tightens: 45 s, and 15 s more
DECIDING = 720_261_104      # of the advisory lock of whoever decides about runs that do not tighten
SUCCEEDED, NOT_DONE = RunState.succeeded.value, (RunState.failed.value, RunState.unknown.value)
UNDER_WAY = (RunState.started.value, RunState.verifying.value)


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
    round: int = 0
    mode: str = "live"
    rules_version: str = ""
    body_sha256: str = ""
    alert: dict[str, Any] = field(default_factory=dict)      # as received
    asked_by: str = ""

    @property
    def subject(self) -> str:
        """What people vote on."""
        return f"run:{self.id}"

    @property
    def code(self) -> str:
        """The end of the id: how people and buttons name it."""
        return self.id[-CODE:]


def ran_since(tx: Tx, incident_id: str, action: str, target: str, since: datetime) -> bool:
    """Whether this was run for this incident since then, refused ones not counted."""
    query = select(action_runs.c.id).where(
        action_runs.c.incident_id == incident_id, action_runs.c.action == action, action_runs.c.target == target,
        action_runs.c.created_at >= since, action_runs.c.state != RunState.refused.value)
    return tx.conn.execute(query.limit(1)).first() is not None


def run_of(row: AnyRow) -> Run:
    return Run(
        id=row.id, incident_id=row.incident_id, episode=row.episode, action=row.action, target=row.target,
        direction=row.direction, state=RunState(row.state), reason=row.reason, why=row.why, rule_version=row.rule_version,
        labels=json.loads(row.labels), created_at=row.created_at, started_at=row.started_at, finished_at=row.finished_at,
        attempt=row.attempt, was_leased=row.lease_until is not None, report=json.loads(row.report) if row.report else {},
        round=row.round, mode=row.mode, rules_version=row.rules_version, body_sha256=row.body_sha256,
        alert=json.loads(row.alert) if row.alert else {}, asked_by=row.asked_by,
    )


def propose(tx: Tx, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Insert runs that do not exist yet for their (incident, episode, action, target); the ids of those that are new."""
    new: list[str] = []
    statement = tx.insert(action_runs).on_conflict_do_nothing(
        index_elements=["incident_id", "episode", "action", "target", "direction", "round"]).returning(action_runs.c.id)
    for row in rows:
        values = {**row, "labels": canonical(row["labels"]), "attempt": 0, "report": ""}
        new.extend(tx.conn.execute(statement, values).scalars())
    tx.has_work = tx.has_work or bool(new)
    return new


def known(tx: Tx, incident_ids: Iterable[str]) -> set[tuple[str, int, str, str]]:
    """(incident, episode, action, target) of every run of these incidents."""
    names = action_runs.c.incident_id, action_runs.c.episode, action_runs.c.action, action_runs.c.target
    return {(row[0], row[1], row[2], row[3]) for chunk in chunks(incident_ids)
            for row in tx.conn.execute(select(*names).where(action_runs.c.incident_id.in_(chunk)))}


def due(tx: Tx, now: datetime, limit: int, *, tighten: bool) -> tuple[list[Run], Sequence[AnyRow]]:
    """Due runs, those that tighten or all others, locked until the end of the transaction; and their rows, to lease."""
    which = is_pressing(now) if tighten else is_due(action_runs, now) & (action_runs.c.direction != "tighten")
    query = (select(action_runs).where(which, action_runs.c.finished_at.is_(None))
             .order_by(action_runs.c.due_at, action_runs.c.id).limit(limit))
    rows = pick(tx, query, action_runs)
    return [run_of(row) for row in rows], rows


def is_pressing(now: datetime) -> ColumnElement[bool]:
    """Tightens. One that nobody holds waits for no time, and none for long: else a clock that was set back would delay it."""
    waits = action_runs.c.due_at.is_not(None) & (action_runs.c.direction == "tighten")
    was_left = action_runs.c.due_at > action_runs.c.lease_until
    is_free = action_runs.c.lease_until.is_(None) | was_left | (action_runs.c.due_at > now + LONGEST_HELD)
    return waits & (is_due(action_runs, now) | is_free)


def leave(tx: Tx, ids: Iterable[str], now: datetime, until: datetime) -> int:
    """Tightens that this transaction has locked and does not take: any other replica may at any time, and this one looks again
    then. How many were not left already."""
    still = (action_runs.c.due_at <= now) & action_runs.c.finished_at.is_(None)
    return sum(tx.conn.execute(update(action_runs).where(action_runs.c.id.in_(chunk), still).values(due_at=until)).rowcount
               for chunk in chunks(ids))


def is_tightening(tx: Tx, target: str) -> bool:
    """Whether a run that tightens this target has not ended yet."""
    waits = action_runs.c.due_at.is_not(None) & action_runs.c.finished_at.is_(None)
    return count(tx, waits, action_runs.c.target == target, action_runs.c.direction == "tighten") > 0


def may_decide(tx: Tx) -> bool:
    """Whether this transaction may start runs that do not tighten: one at a time may, on all replicas, so that two never pass
    the same limit. Until its end. Nobody waits for it: whoever comes second finds them due a moment later."""
    if not tx.is_postgres:      # there is one writer
        return True
    return bool(tx.conn.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": DECIDING}).scalar_one())


def facts(tx: Tx, run: Run, rule: ActionRule, actions: Iterable[str], mode: RunMode, now: datetime) -> Facts:
    """What the guards may know of the world, in the transaction that obeys them. `actions`: all that are configured. What
    people said and what holds the target is read by the caller."""
    status = tx.conn.execute(select(incidents.c.status).where(incidents.c.id == run.incident_id)).scalar()
    known = Facts(Direction(run.direction), is_open=status != "resolved", rule_version=rule.version,
                  proposed_version=run.rule_version, proposed_at=run.created_at, started_at=run.started_at, target=run.target,
                  round=run.round)
    if known.direction is Direction.tighten:
        return known
    others = (action_runs.c.id != run.id, action_runs.c.direction != Direction.tighten.value, action_runs.c.mode == mode.value)
    known = replace(known, all_started_last_hour=count(tx, *others, action_runs.c.action.in_(sorted({*actions, run.action})),
                                                       action_runs.c.started_at > now - HOUR))
    if known.direction is Direction.relax:
        return known
    mine = (*others, action_runs.c.action == run.action)
    failures, last_failed = failed_in_a_row(tx, rule, mine)
    return replace(
        known, last_started=last_started(tx, rule, run.target, mine, now), touched=touched(tx, rule, mine, now),
        started_last_hour=count(tx, *mine, action_runs.c.started_at > now - HOUR) if rule.max_per_hour else 0,
        failures=failures, last_failed=last_failed,
        is_under_way=bool(failures) and count(tx, *mine, action_runs.c.state.in_(UNDER_WAY)) > 0)


Which = tuple[ColumnElement[bool], ...]


def count(tx: Tx, *which: ColumnElement[bool]) -> int:
    return int(tx.conn.execute(select(func.count()).select_from(action_runs).where(*which)).scalar_one())


def last_started(tx: Tx, rule: ActionRule, target: str, mine: Which, now: datetime) -> datetime | None:
    """On this target, if within its cooldown."""
    if not rule.cooldown:
        return None
    query = select(func.max(action_runs.c.started_at, type_=Instant())).where(
        *mine, action_runs.c.target == target, action_runs.c.started_at > now - rule.cooldown)
    return tx.conn.execute(query).scalar()


def touched(tx: Tx, rule: ActionRule, mine: Which, now: datetime) -> frozenset[str]:
    """The targets on which it was started within the time of its blast radius."""
    if not (rule.blast.targets or rule.blast.percent):
        return frozenset()
    query = select(action_runs.c.target).where(*mine, action_runs.c.started_at > now - rule.blast.within).distinct()
    return frozenset(tx.conn.execute(query).scalars())


def failed_in_a_row(tx: Tx, rule: ActionRule, mine: Which) -> tuple[int, datetime | None]:
    """How many that began last have failed or are unknown, and when the last of them ended."""
    if not rule.circuit.failures:
        return 0, None
    query = (select(action_runs.c.state, action_runs.c.finished_at)
             .where(*mine, action_runs.c.started_at.is_not(None), action_runs.c.state.in_((SUCCEEDED, *NOT_DONE)))
             .order_by(action_runs.c.started_at.desc(), action_runs.c.id.desc()).limit(rule.circuit.failures))
    bad = list(takewhile(lambda row: row.state in NOT_DONE, tx.conn.execute(query)))
    return len(bad), max((row.finished_at for row in bad), default=None)


def find(tx: Tx, reference: str) -> Run | None:
    """By id, or by the end of it among those that wait for people; locked until the end of the transaction."""
    if len(reference) > CODE:
        which = action_runs.c.id == reference
    else:
        which = (action_runs.c.state == RunState.awaiting_approval.value) & action_runs.c.id.endswith(reference, autoescape=True)
    rows = tx.conn.execute(select(action_runs).where(which).with_for_update()).all() if len(reference) >= CODE else []
    return run_of(rows[0]) if len(rows) == 1 else None


def settle(tx: Tx, run_id: str, attempt: int, **columns: Any) -> bool:
    """Write the outcome, if this attempt is still the one that counts. False: somebody else has taken the run over."""
    mine = action_runs.c.id == run_id, action_runs.c.attempt == attempt, action_runs.c.finished_at.is_(None)
    done = tx.conn.execute(update(action_runs).where(*mine).values(lease_until=None, owner=None, **columns))
    return done.rowcount == 1


def decide(tx: Tx, run_id: str, **columns: Any) -> None:
    """Write a decision about a run that this transaction has locked. One that has ended stays as it is: due again, it would be
    run again."""
    still = action_runs.c.id == run_id, action_runs.c.finished_at.is_(None)
    tx.conn.execute(update(action_runs).where(*still).values(**columns))
    tx.has_work = tx.has_work or columns.get("due_at") is not None


def of_incident(tx: Tx, incident_id: str) -> list[Run]:
    mine = select(action_runs).where(action_runs.c.incident_id == incident_id)
    query = mine.order_by(action_runs.c.created_at, action_runs.c.id)
    return [run_of(row) for row in tx.conn.execute(query)]


def of_incidents(tx: Tx, incident_ids: Iterable[str]) -> dict[str, list[Run]]:
    """By incident, oldest first; incidents without runs are absent."""
    found: dict[str, list[Run]] = {}
    for chunk in chunks(incident_ids):
        query = select(action_runs).where(action_runs.c.incident_id.in_(chunk))
        for row in tx.conn.execute(query.order_by(action_runs.c.created_at, action_runs.c.id)):
            found.setdefault(row.incident_id, []).append(run_of(row))
    return found


def recent(tx: Tx, limit: int, state: str | None = None, reason: str | None = None) -> list[Run]:
    query = select(action_runs).order_by(action_runs.c.id.desc()).limit(limit)      # ids sort by the time at which they were made
    if state:
        query = query.where(action_runs.c.state == state)
    if reason:
        query = query.where(action_runs.c.reason == reason)
    return [run_of(row) for row in tx.conn.execute(query)]
