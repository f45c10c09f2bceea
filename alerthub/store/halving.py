"""Which row was the first at a moment, of a table whose numbers grow with time: found by halving, a row a step. An index by time
would be paid for by every row."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, func, select

from alerthub.store.tx import Tx


def first_at(tx: Tx, number: Column[int], at: Column[datetime], moment: datetime) -> int:
    """The number of the first row that is not from before then; one more than the last where there is none."""
    low, high = 1, (tx.conn.execute(select(func.max(number))).scalar() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = tx.conn.execute(select(number, at).where(number >= middle).order_by(number).limit(1)).first()
        if row is None or row[1] >= moment:
            high = middle
        else:
            low = row[0] + 1
    return low
