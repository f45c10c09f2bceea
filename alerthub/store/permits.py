"""SQL of permits: the number of the last lease of each target. It grows whichever replica gives the lease."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select

from alerthub.store.schema import permits
from alerthub.store.tx import Tx


def next_sequence(tx: Tx, target: str, now: datetime) -> int:
    new = tx.insert(permits).values(target=target, sequence=1, asked_at=now)
    grown = new.on_conflict_do_update(index_elements=["target"], set_={"sequence": permits.c.sequence + 1, "asked_at": now})
    return int(tx.conn.execute(grown.returning(permits.c.sequence)).scalar_one())


def asked(tx: Tx) -> Mapping[str, tuple[int, datetime]]:
    """The number of the last lease of each target, and when it was asked for."""
    return {row.target: (row.sequence, row.asked_at) for row in tx.conn.execute(select(permits).order_by(permits.c.target))}
