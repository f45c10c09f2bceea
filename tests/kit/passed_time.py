"""Time that passes for a database alone: what a hub left there when it was killed is found after its lease has ended."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Table, create_engine, update

from alerthub.store.address import normal_url
from alerthub.store.schema import EPOCH, action_runs, destinations, lanes

LEASED: Sequence[Table] = (lanes, action_runs)


def end_leases(url: str, owner: str = "") -> int:
    """Every lease is over now, or those of one owner; how many there were. Budgets of destinations are full again."""
    engine = create_engine(normal_url(url))
    try:
        with engine.begin() as connection:
            ended = [connection.execute(update(table).where(
                table.c.lease_until.is_not(None), table.c.owner.contains(owner)).values(lease_until=EPOCH, due_at=EPOCH)).rowcount
                for table in LEASED]
            connection.execute(update(destinations).values(free_at=EPOCH))
        return sum(ended)
    finally:
        engine.dispose()
