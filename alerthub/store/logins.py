"""SQL of wrong guesses, which all replicas count together, and of what happened at the door."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update

from alerthub.domain.access import FORGOTTEN, LONGEST_WAIT, Kind, wait_after
from alerthub.store.reading import text
from alerthub.store.schema import access_events, login_attempts
from alerthub.store.tx import Tx

DETAIL, SHOWN = 300, 100


def attempt(tx: Tx, keys: Mapping[str, int], now: datetime) -> timedelta:
    """One more guess under each of these keys, of which so many are free: zero when it may be made now, and then it counts as
    wrong until `succeeded` says otherwise, so that many at once are not more than many in turn. Else how long to wait, and
    nothing is counted. Rows in the order of their keys, against deadlocks."""
    rows = {}
    for key in sorted(keys):
        new = tx.insert(login_attempts).values(key=key, failures=0, last_at=now, free_at=now)
        tx.conn.execute(new.on_conflict_do_nothing())
        rows[key] = tx.conn.execute(select(login_attempts).where(login_attempts.c.key == key).with_for_update()).one()
    # Longer than anybody has to wait, it was written by a clock that has jumped back since.
    waits: list[timedelta] = [row.free_at - now for row in rows.values() if now < row.free_at <= now + LONGEST_WAIT]
    if waits:
        return max(waits)
    for key, row in rows.items():
        failures = 1 if now - row.last_at > FORGOTTEN else row.failures + 1
        tx.conn.execute(update(login_attempts).where(login_attempts.c.key == key).values(
            failures=failures, last_at=now, free_at=now + wait_after(failures, keys[key])))
    return timedelta(0)


def succeeded(tx: Tx, forgiven: str, counted: str = "") -> None:
    """It was right: no guess of this name counts any more, and this one not against its address."""
    tx.conn.execute(delete(login_attempts).where(login_attempts.c.key == forgiven))
    if counted:
        tx.conn.execute(update(login_attempts).where(login_attempts.c.key == counted, login_attempts.c.failures > 0).values(
            failures=login_attempts.c.failures - 1))


def note(tx: Tx, kind: Kind, now: datetime, account: str, by: str = "", address: str = "", detail: str = "") -> None:
    """What happened at the door, for whoever asks later. `by`: who did it to them."""
    tx.conn.execute(access_events.insert().values(at=now, kind=kind.value, account=storable(account), by=storable(by),
                                                  address=storable(address), detail=storable(detail)))


def storable(words: str) -> str:
    return words.replace("\0", " ").encode("utf-8", "replace").decode()[:DETAIL]


def page(tx: Tx, before: int = 0, limit: int = SHOWN) -> list[dict[str, Any]]:
    """The newest first."""
    query = select(access_events).order_by(access_events.c.id.desc()).limit(limit)
    found = tx.conn.execute(query.where(access_events.c.id < before) if before else query)
    return [{name: text(value) for name, value in row._mapping.items()} for row in found]


def forget_attempts(tx: Tx, before: datetime) -> None:
    tx.conn.execute(delete(login_attempts).where(login_attempts.c.last_at < before))


def forget_events(tx: Tx, before: datetime, limit: int) -> None:
    old = select(access_events.c.id).where(access_events.c.at < before).order_by(access_events.c.at).limit(limit)
    tx.conn.execute(delete(access_events).where(access_events.c.id.in_(list(tx.conn.execute(old).scalars()))))
