"""The one place where due work is claimed. A row with `due_at` is due; a claim sets a lease and a new attempt number, and
whoever claimed must settle with that number. SQLite: one writer. PostgreSQL: FOR UPDATE SKIP LOCKED, the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Table,
    Update,
    bindparam,
    func,
    or_,
    select,
    type_coerce,
    update,
)

from alerthub.store.schema import (
    MICROSECOND,
    Instant,
    action_runs,
    alerts,
    destinations,
    holds,
    lanes,
    latch_causes,
    latches,
    leaders,
    looks,
    silences,
    timers,
    votes,
)
from alerthub.store.tx import AnyRow, AnySelect, Tx


def is_due(table: Table, now: datetime) -> ColumnElement[bool]:
    """Due. What somebody holds is due again only when the lease is over: `lease` moves `due_at` there."""
    return table.c.due_at <= now


def pick(tx: Tx, query: AnySelect, table: Table) -> Sequence[AnyRow]:
    """Lock what the query finds against other replicas. Two statements, select then update: the planner cannot evaluate
    the choice twice, and the order of locks is the order of the query."""
    return tx.conn.execute(query.with_for_update(skip_locked=True, of=table)).all()


@cache
def by_key(table: Table, key: str) -> Update:
    return update(table).where(table.c[key] == bindparam("the_key"))


def lease(tx: Tx, table: Table, key: str, rows: Sequence[AnyRow], owner: str, until: datetime, **columns: Any) -> None:
    """Take rows that `pick` locked, and write these columns with it. Their attempt number moves on: results of earlier holders
    no longer count. In one UPDATE: a second one of the same row makes PostgreSQL check its foreign keys again, and so wait for
    whoever holds the incident."""
    tx.batch(by_key(table, key), [{"the_key": row._mapping[key], "lease_until": until, "due_at": until, "owner": owner,
                         "attempt": row._mapping["attempt"] + 1, **columns} for row in rows])


@dataclass(frozen=True, slots=True)
class Due:
    """When the first lane is due, when the first action run, and the first of what waits for its time; None for none."""

    lane: datetime | None
    run: datetime | None
    timed: datetime | None

    @property
    def first(self) -> datetime | None:
        return earliest(self.lane, self.run, self.timed)


def earliest(*moments: datetime | None) -> datetime | None:
    """None when there is none."""
    return min((moment for moment in moments if moment is not None), default=None)


def next_due(tx: Tx) -> Due:
    """When something is due next, as far as is known now. One statement: it is asked after every look for work."""
    lane, run, *others = tx.conn.execute(next_due_query(tx.is_postgres)).one()
    return Due(lane, run, earliest(*others))


@cache
def next_due_query(is_postgres: bool) -> AnySelect:
    # One look into an index per destination, however many lanes wait there for its budget.
    latest = func.greatest if is_postgres else func.max
    lane_at = latest(first_due(destinations.c.key), destinations.c.free_at)
    lane = select(func.min(lane_at, type_=Instant())).where(first_due(destinations.c.key).is_not(None))
    others = (select(func.min(table.c.due_at, type_=Instant())).where(table.c.due_at.is_not(None))
              for table in (action_runs, timers, silences, latches))
    return select(*(query.scalar_subquery() for query in (lane, *others)))


def first_due(destination: ColumnElement[str]) -> ScalarSelect[datetime]:
    """When the first lane of a destination is due; null when none is."""
    return (select(func.min(lanes.c.due_at)).where(lanes.c.destination == destination, lanes.c.due_at.is_not(None))
            .correlate(destinations).scalar_subquery())


def lead(tx: Tx, name: str, owner: str, now: datetime, term: timedelta) -> bool:
    """Become or stay the one who does `name`. A holder that stopped renewing is followed when its term is over."""
    row = tx.conn.execute(select(leaders).where(leaders.c.name == name).with_for_update()).first()
    if row is None:
        won = (tx.insert(leaders).values(name=name, owner=owner, until=now + term).on_conflict_do_nothing()
               .returning(leaders.c.owner))     # an INSERT's row count is not told on PostgreSQL
        return tx.conn.execute(won).first() is not None
    if row.owner != owner and row.until > now:
        return False
    tx.conn.execute(update(leaders).where(leaders.c.name == name).values(owner=owner, until=now + term))
    return True


def resign(tx: Tx, owner: str) -> None:
    """Let go of everything led: called on a clean stop, so that another replica need not wait for the term."""
    tx.conn.execute(leaders.delete().where(leaders.c.owner == owner))


TIMES = {lanes: ("due_at", "not_before", "lease_until", "failing_since", "urgent_at"), destinations: ("free_at", "paused_until"),
         action_runs: ("due_at", "lease_until"), leaders: ("until",), timers: ("due_at",), latches: ("due_at",),
         latch_causes: ("at", "clear_since"), looks: ("at",)}       # the time that has been clear has not jumped either


def shift(tx: Tx, by: timedelta, since: datetime | None = None) -> None:
    """Move everything that waits by so much: the clock has jumped, the time that is left has not. And what is compared with the
    time of day: when actions ran last and what waits for people was asked and answered, and when alerts were heard. What is
    older than `since` is history, and stays."""
    for table, names in TIMES.items():      # what is over waits for nothing: of a million closed incidents no row is touched
        move(tx, table, names, by, or_(*(table.c[name].is_not(None) for name in names)))
    # When a target was latched or its release asked for is compared with the time at which people spoke.
    move(tx, latches, ("since",), by, latches.c.due_at.is_not(None))
    # A run that is under way keeps the time at which it was called for: its target may tell by it that this is still the same.
    is_open = action_runs.c.finished_at.is_(None)
    move(tx, votes, ("at",), by, votes.c.subject.in_(select("run:" + action_runs.c.id).where(is_open)))
    move(tx, action_runs, ("created_at",), by, or_(is_open & action_runs.c.started_at.is_(None), ~is_open & newer(
        action_runs.c.created_at, since)))
    move(tx, action_runs, ("started_at", "finished_at"), by, newer(action_runs.c.started_at, since))
    is_firing = alerts.c.status == "firing"
    move(tx, alerts, ("changed_at", "seen_at", "missing_since"), by, holds(alerts.c.is_current),
         or_(is_firing, newer(alerts.c.changed_at, since)))


def newer(column: ColumnElement[datetime], since: datetime | None) -> ColumnElement[bool]:
    return column.is_not(None) if since is None else column >= since


def move(tx: Tx, table: Table, names: Sequence[str], by: timedelta, *which: ColumnElement[bool]) -> None:
    tx.conn.execute(update(table).where(*which).values(
        {name: type_coerce(type_coerce(table.c[name], BigInteger) + by // MICROSECOND, Instant()) for name in names}))
