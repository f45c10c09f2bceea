"""SQL of freezes: while one stands, no neutral and no relaxing action starts, whichever replica looks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update

from alerthub.domain.local_time import dated
from alerthub.store.schema import freezes
from alerthub.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Freeze:
    """`scope`: the action that it holds; empty: all of them."""

    scope: str
    by: str
    account: str
    why: str
    at: datetime

    def holds(self, action: str) -> bool:
        return self.scope in ("", action)

    def text(self, zone: str) -> str:
        """As a reason, at the time of the place where people read it."""
        why = f": {self.why}" if self.why else ""
        return f"{self.by} froze {self.scope or 'all actions'} at {dated(self.at, zone)}{why}"


def standing(tx: Tx) -> list[Freeze]:
    query = select(freezes).where(freezes.c.lifted_at.is_(None)).order_by(freezes.c.id)
    return [Freeze(row.scope, row.by, row.account, row.why, row.at) for row in tx.conn.execute(query)]


def add(tx: Tx, freeze: Freeze) -> bool:
    """False: that much is frozen already."""
    new = tx.insert(freezes).values(scope=freeze.scope, by=freeze.by, account=freeze.account, why=freeze.why, at=freeze.at,
                                    lifted_by="")
    return tx.conn.execute(new.on_conflict_do_nothing().returning(freezes.c.id)).first() is not None


def lift(tx: Tx, scope: str, by: str, now: datetime) -> bool:
    """False: there was none."""
    which = (freezes.c.scope == scope) & freezes.c.lifted_at.is_(None)
    return tx.conn.execute(update(freezes).where(which).values(lifted_at=now, lifted_by=by)).rowcount > 0
