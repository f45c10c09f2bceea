"""SQL of latches: one row per target that was ever made safe, and what made it so since it was last armed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from alerthub.domain.action import RunState
from alerthub.domain.latch import Cause, Latch, LatchState
from alerthub.store.schema import action_runs, incidents, latch_causes, latches, looks
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



def add_causes(tx: Tx, rows: Sequence[dict[str, Any]]) -> None:
    """Given as target, incident_id, action, at. One that is known is not clear any more."""
    new = tx.insert(latch_causes)
    anew = {"clear_since": None, "at": new.excluded.at}
    tx.many(new.on_conflict_do_update(index_elements=["target", "incident_id"], set_=anew), list(rows))


def forget_causes(tx: Tx, target: str, incident_ids: Iterable[str]) -> None:
    """They are over, and it is armed again."""
    for chunk in chunks(incident_ids):
        tx.conn.execute(delete(latch_causes).where(latch_causes.c.target == target, latch_causes.c.incident_id.in_(chunk)))


def known_causes(tx: Tx, targets: Iterable[str]) -> set[tuple[str, str]]:
    """(target, incident) of all that holds them safe, and of what an admin has overridden."""
    return {(row.target, row.incident_id) for chunk in chunks(targets) for row in tx.conn.execute(
        select(latch_causes.c.target, latch_causes.c.incident_id).where(latch_causes.c.target.in_(chunk)))}


def causes(tx: Tx, targets: Iterable[str]) -> dict[str, list[Cause]]:
    """By target, oldest first, with the last look at each one's source. One whose incident is not kept any more has the number 0.
    `can_be_asked` is the caller's to say."""
    found: dict[str, list[Cause]] = {}
    for chunk in chunks(targets):
        query = (select(latch_causes, incidents.c.number, incidents.c.source, incidents.c.status, looks.c.at.label("looked_at"))
                 .outerjoin(incidents, incidents.c.id == latch_causes.c.incident_id)
                 .outerjoin(looks, looks.c.source == incidents.c.source)
                 .where(latch_causes.c.target.in_(chunk)).order_by(latch_causes.c.at, incidents.c.number))
        for row in tx.conn.execute(query):
            found.setdefault(row.target, []).append(Cause(
                row.incident_id, row.number or 0, row.source or "", row.action, row.status != "resolved", row.clear_since,
                row.looked_at))
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


def begin_anew(tx: Tx, source: str, now: datetime) -> None:
    """Of what is clear of a source nobody knows what was meanwhile: it counts from now."""
    theirs = select(incidents.c.id).where(incidents.c.source == source)
    tx.conn.execute(update(latch_causes).where(
        latch_causes.c.incident_id.in_(theirs), latch_causes.c.clear_since.is_not(None)).values(clear_since=now))


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


# -- whether it was told

IN_VAIN = tuple(state.value for state in RunState if state.is_final and state is not RunState.succeeded)


@dataclass(frozen=True, slots=True)
class Telling:
    """What became of telling a target that it is safe, since it was latched last: the actions that did it once; and of those
    whose last run did not, although none is under way, that run."""

    confirmed: frozenset[str]
    in_vain: Mapping[str, str]


def telling(tx: Tx, target: str, generation: int) -> Telling:
    mine = (action_runs.c.target == target, action_runs.c.direction == "tighten", action_runs.c.round == generation)
    rows = tx.conn.execute(select(action_runs).where(*mine).order_by(action_runs.c.created_at, action_runs.c.id)).all()
    confirmed = frozenset(row.action for row in rows if row.state == RunState.succeeded.value)
    under_way = {row.action for row in rows if row.finished_at is None}
    last = {row.action: row for row in sorted((row for row in rows if row.finished_at), key=lambda row: row.finished_at)}
    return Telling(confirmed, {name: row.id for name, row in last.items() if row.state in IN_VAIN and name not in under_way})


def told_by(tx: Tx, target: str) -> set[str]:
    """The actions that were ever to make it safe."""
    mine = action_runs.c.target == target, action_runs.c.direction == "tighten"
    return set(tx.conn.execute(select(action_runs.c.action).where(*mine).distinct()).scalars())


def tell_again(tx: Tx, run_ids: Iterable[str], now: datetime) -> None:
    """Make runs that have ended due once more: to be told to be safe is the same however often."""
    anew = {"state": RunState.proposed.value, "due_at": now, "lease_until": now, "finished_at": None}
    for chunk in chunks(run_ids):
        ended = (action_runs.c.id.in_(chunk), action_runs.c.direction == "tighten", action_runs.c.state.in_(IN_VAIN))
        tx.conn.execute(update(action_runs).where(*ended).values(anew))
        tx.has_work = True
