"""SQL of heartbeats: one row each, and one without a name that says when some replica last watched them.

Rows are locked in the order of their names, so the nameless one first; whoever holds that is the one who looks what is due.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update

from alerthub.domain.heartbeat import TICK, Heartbeat, State
from alerthub.store.schema import Instant, heartbeats
from alerthub.store.tx import AnyRow, Tx

WATCH = ""              # the name of the row whose `since` is the last tick
WATCHING = "watching"   # its state
NAMED = heartbeats.c.name != WATCH
NOW = bindparam("now", type_=Instant())
KNOWN = heartbeats.c.name.in_(bindparam("names", expanding=True))
DUE = (select(heartbeats).where(KNOWN, heartbeats.c.due_at <= NOW).order_by(heartbeats.c.name).with_for_update(skip_locked=True))
SAVE = update(heartbeats).where(heartbeats.c.name == bindparam("the_name"))
FIRST = select(func.min(heartbeats.c.due_at)).where(KNOWN, heartbeats.c.due_at.is_not(None))
TURN = select(heartbeats.c.since).where(heartbeats.c.name == WATCH)


def heartbeat_of(row: AnyRow) -> Heartbeat:
    return Heartbeat(row.name, State(row.state), row.seen_at, row.due_at, row.since)


def columns_of(heartbeat: Heartbeat) -> dict[str, Any]:
    return {**asdict(heartbeat), "state": heartbeat.state.value}


def read(tx: Tx) -> dict[str, Heartbeat]:
    """All, by name, as they are now."""
    rows = tx.conn.execute(select(heartbeats).where(NAMED).order_by(heartbeats.c.name))
    return {row.name: heartbeat_of(row) for row in rows}


def lock(tx: Tx, names: Collection[str] | None = None) -> dict[str, Heartbeat]:
    """These, or all, by name; nobody else changes them until the end of the transaction."""
    which = NAMED if names is None else heartbeats.c.name.in_(names)
    rows = tx.conn.execute(select(heartbeats).where(NAMED, which).order_by(heartbeats.c.name).with_for_update())
    return {row.name: heartbeat_of(row) for row in rows}


def due(tx: Tx, names: Iterable[str], now: datetime) -> list[Heartbeat]:
    """Those of them whose time is over, locked. One that is being beaten at this moment is left out."""
    return [heartbeat_of(row) for row in tx.conn.execute(DUE, {"now": now, "names": list(names)})]


def add(tx: Tx, new: Iterable[Heartbeat]) -> None:
    """Those that exist stay as they are."""
    statement = tx.insert(heartbeats).on_conflict_do_nothing(index_elements=["name"])
    tx.many(statement, [columns_of(heartbeat) for heartbeat in sorted(new, key=lambda one: one.name)])


def save(tx: Tx, changed: Sequence[Heartbeat]) -> None:
    """Write what was locked."""
    tx.many(SAVE, [{"the_name": one.name, "state": one.state.value, "seen_at": one.seen_at, "due_at": one.due_at}
                   for one in changed])


def forget(tx: Tx, names: Collection[str]) -> None:
    tx.conn.execute(delete(heartbeats).where(heartbeats.c.name.in_(names)))


def last_tick(tx: Tx, *, wait: bool) -> datetime | None:
    """When some replica last watched; the row is then ours until the end of the transaction. None when there is no such row,
    or, without `wait`, when it is another's."""
    return tx.conn.execute(TURN.with_for_update(skip_locked=not wait)).scalar()


def begin(tx: Tx, now: datetime) -> bool:
    """Write down the first tick. False: there is one."""
    row = {"name": WATCH, "state": WATCHING, "seen_at": None, "due_at": None, "since": now}
    statement = tx.insert(heartbeats).values(row).on_conflict_do_nothing(index_elements=["name"])
    return tx.conn.execute(statement.returning(heartbeats.c.name)).first() is not None


def tick(tx: Tx, now: datetime) -> None:
    tx.conn.execute(update(heartbeats).where(heartbeats.c.name == WATCH).values(since=now))


def next_due(tx: Tx, names: Iterable[str]) -> datetime | None:
    """When the first of them is due, or the next tick is."""
    first = tx.conn.execute(FIRST, {"names": list(names)}).scalar()
    last = tx.conn.execute(TURN).scalar()
    return min((at for at in (first, last + TICK if last else None) if at is not None), default=None)
