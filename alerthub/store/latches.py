"""SQL of latches: one row per target that was ever made safe, and what made it so since it was last armed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update

from alerthub.domain.latch import Cause, Latch, LatchState
from alerthub.store.schema import Instant, incidents, latch_causes, latches, looks
from alerthub.store.tx import AnyRow, Tx, chunks

NAMES = tuple(field.name for field in fields(Latch))


def latch_of(row: AnyRow) -> Latch:
    values = {name: getattr(row, name) for name in NAMES}
    return Latch(**{**values, "state": LatchState(values["state"])})


def lock(tx: Tx, targets: Iterable[str], now: datetime) -> dict[str, Latch]:
    """Those of these targets, locked until the end of the transaction, in one order for all; one that was never latched is
    made first, armed."""
    wanted = sorted(set(targets))
    blank = {"state": LatchState.armed.value, "seq": 0, "generation": 0, "since": now, "action": "", "incident_id": "",
             "asked_by": "", "why": ""}
    tx.many(tx.insert(latches).on_conflict_do_nothing(), [{"target": target, **blank} for target in wanted])
    query = select(latches).where(latches.c.target.in_(wanted)).order_by(latches.c.target).with_for_update()
    return {row.target: latch_of(row) for row in tx.conn.execute(query)}


def read(tx: Tx) -> dict[str, Latch]:
    """All of them, by target."""
    return {row.target: latch_of(row) for row in tx.conn.execute(select(latches).order_by(latches.c.target))}


def of_targets(tx: Tx, targets: Iterable[str]) -> dict[str, Latch]:
    """Those of these targets that were ever latched, by target."""
    return {row.target: latch_of(row) for chunk in chunks(targets)
            for row in tx.conn.execute(select(latches).where(latches.c.target.in_(chunk)))}


def find(tx: Tx, target: str) -> Latch | None:
    row = tx.conn.execute(select(latches).where(latches.c.target == target)).first()
    return latch_of(row) if row else None


def save(tx: Tx, latch: Latch) -> None:
    """Of a latch that this transaction has locked."""
    values = {name: getattr(latch, name) for name in NAMES if name != "target"}
    tx.conn.execute(update(latches).where(latches.c.target == latch.target).values({**values, "state": latch.state.value}))


def due(tx: Tx, now: datetime) -> list[str]:
    """Targets whose request for release is over."""
    query = select(latches.c.target).where(latches.c.due_at <= now).order_by(latches.c.target)
    return list(tx.conn.execute(query).scalars())


def next_due(tx: Tx) -> datetime | None:
    return tx.conn.execute(select(func.min(latches.c.due_at, type_=Instant()))).scalar()


def add_causes(tx: Tx, rows: Sequence[dict[str, Any]]) -> None:
    """Given as target, incident_id, action, at. One that is known is not clear any more."""
    new = tx.insert(latch_causes)
    anew = {"clear_since": None, "at": new.excluded.at}
    tx.many(new.on_conflict_do_update(index_elements=["target", "incident_id"], set_=anew), list(rows))


def forget_causes(tx: Tx, target: str) -> None:
    """It is armed again."""
    tx.conn.execute(delete(latch_causes).where(latch_causes.c.target == target))


def causes(tx: Tx, targets: Iterable[str]) -> dict[str, list[Cause]]:
    """By target, oldest first, with the last look at each one's source. A cause whose incident is not kept any more is left
    out. `can_be_asked` is the caller's to say."""
    found: dict[str, list[Cause]] = {}
    for chunk in chunks(targets):
        query = (select(latch_causes, incidents.c.number, incidents.c.source, incidents.c.status, looks.c.at.label("looked_at"))
                 .join(incidents, incidents.c.id == latch_causes.c.incident_id)
                 .outerjoin(looks, looks.c.source == incidents.c.source)
                 .where(latch_causes.c.target.in_(chunk)).order_by(latch_causes.c.at, incidents.c.number))
        for row in tx.conn.execute(query):
            found.setdefault(row.target, []).append(Cause(
                row.incident_id, row.number, row.source, row.action, row.status != "resolved", row.clear_since, row.looked_at))
    return found


@dataclass(frozen=True, slots=True)
class Hold:
    """That an incident holds a target in its safe state: since when, and since when it is clear."""

    target: str
    incident_id: str
    at: datetime
    clear_since: datetime | None


def holds_of_source(tx: Tx, source: str) -> list[Hold]:
    """Those of the incidents of a source, locked until the end of the transaction."""
    theirs = select(incidents.c.id).where(incidents.c.source == source)
    query = (select(latch_causes).where(latch_causes.c.incident_id.in_(theirs))
             .order_by(latch_causes.c.target, latch_causes.c.incident_id).with_for_update())
    return [Hold(row.target, row.incident_id, row.at, row.clear_since) for row in tx.conn.execute(query)]


def set_clear(tx: Tx, hold: Hold, since: datetime | None) -> None:
    """Since when the source shows none of the incident's alerts; None while it shows one."""
    mine = (latch_causes.c.target == hold.target) & (latch_causes.c.incident_id == hold.incident_id)
    tx.conn.execute(update(latch_causes).where(mine).values(clear_since=since))


def last_look(tx: Tx, source: str) -> datetime | None:
    return tx.conn.execute(select(looks.c.at).where(looks.c.source == source)).scalar()


def looked(tx: Tx, source: str, at: datetime) -> None:
    """The source's own list was seen whole."""
    new = tx.insert(looks).values(source=source, at=at)
    tx.conn.execute(new.on_conflict_do_update(index_elements=["source"], set_={"at": at}))
