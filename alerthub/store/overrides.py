"""SQL of overrides: who stands in for whom on a schedule. An `id` grows with the making, and the last made wins."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from sqlalchemy import delete, insert, inspect, select

from alerthub.domain.schedule import Override
from alerthub.store.schema import overrides
from alerthub.store.tx import AnyRow, Tx, chunks


def add(tx: Tx, override: Override, by: str, now: datetime) -> Override:
    """Keep it; with its id and its maker."""
    (made,) = tx.conn.execute(insert(overrides).values(**row_of(override, by, now)).returning(overrides)).all()
    return override_of(made)


def remove(tx: Tx, number: int) -> bool:
    """Whether there was one."""
    return bool(tx.conn.execute(delete(overrides).where(overrides.c.id == number)).rowcount)


def find(tx: Tx, number: int) -> Override | None:
    row = tx.conn.execute(select(overrides).where(overrides.c.id == number)).first()
    return override_of(row) if row else None


def covering(tx: Tx, schedule: str, start: datetime, end: datetime | None = None) -> list[Override]:
    """Those of a schedule that touch the time from start to end, in the order of their making."""
    query = select(overrides).where(overrides.c.schedule == schedule, overrides.c.ends_at > start)
    if end is not None:
        query = query.where(overrides.c.starts_at < end)
    return [override_of(row) for row in tx.conn.execute(query.order_by(overrides.c.id))]


def replace_imported(tx: Tx, schedule: str, items: Iterable[Override], uids: Collection[str], by: str,
                     now: datetime) -> tuple[int, int]:
    """Make the overrides of these calendar events be `items`, whose `uid` names their event; how many came and how many went.

    What is the same stays as it is, so a second import changes nothing. `uids` are all events of the calendar, also those
    that have no time left: what they once gave goes. What has ended is history and stays."""
    wanted = {key_of(item): item for item in items}
    kept = {key_of(old): old for old in imported(tx, schedule, {*uids, *(item.uid for item in wanted.values())}, now)}
    gone = [old.id for key, old in kept.items() if key not in wanted]
    for part in chunks(gone):
        tx.conn.execute(delete(overrides).where(overrides.c.id.in_(part)))
    new = [row_of(item, by, now) for key, item in wanted.items() if key not in kept]
    if new:
        tx.conn.execute(insert(overrides), new)
    return len(new), len(gone)


def imported(tx: Tx, schedule: str, uids: Collection[str], now: datetime) -> list[Override]:
    query = select(overrides).where(overrides.c.schedule == schedule, overrides.c.ends_at > now).order_by(overrides.c.id)
    return [override_of(row) for part in chunks(sorted(filter(None, uids)))
            for row in tx.conn.execute(query.where(overrides.c.uid.in_(part)))]


def is_ready(tx: Tx) -> bool:
    """Whether the database has the table: a command may come before the first `serve`."""
    return inspect(tx.conn).has_table(overrides.name)


def key_of(override: Override) -> tuple[object, ...]:
    return override.uid, override.person, override.replaces, override.starts_at, override.ends_at


def row_of(override: Override, by: str, now: datetime) -> dict[str, object]:
    return {"schedule": override.schedule, "person": override.person, "replaces": override.replaces, "uid": override.uid,
            "starts_at": override.starts_at, "ends_at": override.ends_at, "created_by": by, "created_at": now}


def override_of(row: AnyRow) -> Override:
    return Override(row.schedule, row.person, row.starts_at, row.ends_at, row.replaces, row.id, row.uid, row.created_by)
