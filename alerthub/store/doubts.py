"""Which lanes may have been told although nobody knows it: an attempt's answer was lost, and no later one succeeded."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, case, func, select

from alerthub.domain.delivery import DeliveryState, Lane
from alerthub.store.schema import deliveries
from alerthub.store.tx import Tx, chunks


def in_doubt(tx: Tx, lanes: Sequence[Lane]) -> set[int]:
    """Their ids. Only a lane that is failing can be one: others cost no look."""
    found: set[int] = set()
    for some in chunks([lane.id for lane in lanes if lane.failures]):
        query = select(deliveries.c.lane_id).where(deliveries.c.lane_id.in_(some)).group_by(deliveries.c.lane_id).having(
            last(DeliveryState.unknown) > last(DeliveryState.sent))
        found.update(tx.conn.execute(query).scalars())
    return found


def last(state: DeliveryState) -> ColumnElement[int]:
    """The last attempt of the group that ended so; 0 for none."""
    return func.max(case((deliveries.c.state == state.value, deliveries.c.attempt), else_=0))
