"""SQL of destinations: the budget of each, and how it fares. One row, shared by all replicas."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, func, select, update

from alerthub.store.batch import among, several
from alerthub.store.schema import Instant, destinations
from alerthub.store.tx import AnyRow, Tx

SECOND = timedelta(seconds=1)
MOMENT = bindparam("moment", type_=Instant())
HERE = destinations.c.key == bindparam("place")
# Never earlier than what stands: a pause that the provider asked for is not shortened by anything.
LATER = case((destinations.c.free_at > MOMENT, destinations.c.free_at), else_=MOMENT)
SET_FREE = update(destinations).where(HERE).values(free_at=LATER)
FARES = {is_postgres: select(destinations.c.key, destinations.c.failing_since, destinations.c.last_sent_at)
         .where(among(destinations.c.key, "places", is_postgres)).order_by(destinations.c.key) for is_postgres in (False, True)}
HELD = {is_postgres: query.with_for_update(key_share=True) for is_postgres, query in FARES.items()}
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


def work(tx: Tx, keys: Iterable[str], now: datetime) -> list[str]:
    """Note a success of each, to the second; those that were failing before."""
    named = {"places": several(sorted(keys), tx.is_postgres)}
    old = [row.key for row in tx.conn.execute(FARES[tx.is_postgres], named) if is_news(row, now)]
    if not old:         # most times: the row is what all replicas claim by, and stays free for them
        return []
    # Locked in one order: two replicas that note successes at several places at once would else wait for each other.
    held = tx.conn.execute(HELD[tx.is_postgres], {"places": several(old, tx.is_postgres)}).all()
    tx.batch(WORKS, [{"place": row.key, "last_sent_at": now} for row in held])
    return [row.key for row in held if row.failing_since is not None]


def is_news(row: AnyRow, now: datetime) -> bool:
    return row.failing_since is not None or row.last_sent_at is None or abs(now - row.last_sent_at) >= SECOND


def moved(tx: Tx, key: str, address: str) -> None:
    tx.conn.execute(update(destinations).where(destinations.c.key == key).values(moved_to=address))


def failing(tx: Tx) -> list[tuple[str, datetime, str]]:
    query = select(destinations.c.key, destinations.c.failing_since, destinations.c.last_error).where(
        destinations.c.failing_since.is_not(None)).order_by(destinations.c.key)
    return [(row.key, row.failing_since, row.last_error) for row in tx.conn.execute(query)]
