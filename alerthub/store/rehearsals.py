"""SQL of what would have been done: how often each action in shadow mode, or as a dry run, was called for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from alerthub.store.schema import Instant, action_runs
from alerthub.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Hits:
    action: str
    target: str
    count: int
    first: datetime
    last: datetime


def hits(tx: Tx, reason: str) -> list[Hits]:
    """Per action and target, the most frequent first; of the runs that are still kept."""
    count, at = func.count(), action_runs.c.created_at
    query = (select(action_runs.c.action, action_runs.c.target, count.label("hits"), func.min(at, type_=Instant()).label("first"),
                    func.max(at, type_=Instant()).label("last"))
             .where(action_runs.c.reason == reason).group_by(action_runs.c.action, action_runs.c.target)
             .order_by(count.desc(), action_runs.c.action, action_runs.c.target))
    return [Hits(row.action, row.target, row.hits, row.first, row.last) for row in tx.conn.execute(query)]
