"""SQL of destinations: the budget of each, and how it fares. One row, shared by all replicas."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, func, select, update

from alerthub.store.schema import Instant, destinations
from alerthub.store.tx import Tx

MOMENT = bindparam("moment", type_=Instant())
HERE = destinations.c.key == bindparam("place")
# Never earlier than what stands: a pause that the provider asked for is not shortened by anything.
LATER = case((destinations.c.free_at > MOMENT, destinations.c.free_at), else_=MOMENT)
SET_FREE = update(destinations).where(HERE).values(free_at=LATER)
FAILING_SINCE = select(destinations.c.failing_since).where(HERE)
WORKS = update(destinations).where(HERE).values(failing_since=None, last_error="")


def set_free(tx: Tx, free_at: dict[str, datetime]) -> None:
    tx.batch(SET_FREE, [{"place": key, "moment": moment} for key, moment in sorted(free_at.items())])


def failed(tx: Tx, key: str, now: datetime, error: str, pause_until: datetime | None) -> None:
    columns: dict[str, Any] = {"failing_since": func.coalesce(destinations.c.failing_since, bindparam(
        None, now, type_=destinations.c.failing_since.type)), "last_error": error}
    if pause_until is not None:
        columns |= {"free_at": LATER, "paused_until": MOMENT}
    named = {"place": key} | ({"moment": pause_until} if pause_until is not None else {})
    tx.conn.execute(update(destinations).where(HERE).values(columns), named)


def gone(tx: Tx, key: str) -> None:
    """It left the configuration: it neither fails nor works any more."""
    tx.conn.execute(WORKS, {"place": key})


def works(tx: Tx, key: str, now: datetime) -> bool:
    """Note a success; True when it was failing before."""
    row = tx.conn.execute(FAILING_SINCE, {"place": key}).first()
    tx.batch(WORKS, [{"place": key, "last_sent_at": now}])
    return bool(row and row.failing_since is not None)


def moved(tx: Tx, key: str, address: str) -> None:
    tx.conn.execute(update(destinations).where(destinations.c.key == key).values(moved_to=address))


def failing(tx: Tx) -> list[tuple[str, datetime, str]]:
    query = select(destinations.c.key, destinations.c.failing_since, destinations.c.last_error).where(
        destinations.c.failing_since.is_not(None)).order_by(destinations.c.key)
    return [(row.key, row.failing_since, row.last_error) for row in tx.conn.execute(query)]
