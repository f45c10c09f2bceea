"""SQL of deliveries: each attempt to tell a lane, from its start to how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, update

from alerthub.domain.delivery import EDITED, DeliveryState, Lane
from alerthub.domain.message import Why
from alerthub.store.schema import Instant, deliveries, holds
from alerthub.store.tx import Tx


def lose_attempts(tx: Tx, dead: Sequence[Lane]) -> None:
    """Their holder died in the middle: what it was sending may have been delivered."""
    tx.many(update(deliveries).where(deliveries.c.lane_id == bindparam("lane"),
                                     deliveries.c.attempt == bindparam("old_attempt"),
                                     deliveries.c.state == DeliveryState.sending.value),
            [{"lane": lane.id, "old_attempt": lane.attempt, "state": DeliveryState.unknown.value,
              "detail": "the hub stopped while sending"} for lane in dead])


def sending_row(lane: Lane, why: Why, up_to: int, now: datetime) -> dict[str, Any]:
    """The columns of the delivery that is about to be made with the lane's next attempt."""
    return {"lane_id": lane.id, "incident_id": lane.incident_id, "destination": lane.destination, "attempt": lane.attempt + 1,
            "state": DeliveryState.sending.value, "why": why.value, "up_to_seq": up_to,
            "possible_duplicate": lane.may_double, "started_at": now, "failure": "", "detail": "", "is_dead_letter": False}


NEW_DELIVERY = deliveries.insert()


def insert(tx: Tx, rows: Sequence[dict[str, Any]]) -> None:
    tx.batch(NEW_DELIVERY, rows)


FINISH = update(deliveries).where(deliveries.c.lane_id == bindparam("lane"), deliveries.c.attempt == bindparam("ours"),
                                  deliveries.c.started_at == bindparam("began", type_=Instant()))


def finish(tx: Tx, rows: Sequence[dict[str, Any]]) -> None:
    """Given as lane, ours (the attempt), began, state, finished_at, failure, detail, is_dead_letter."""
    tx.batch(FINISH, rows)


def last_told(tx: Tx, lane_id: int) -> datetime | None:
    """When somebody was last interrupted by it: an edit that says nothing new does not count."""
    told = select(func.max(deliveries.c.finished_at, type_=Instant())).where(
        deliveries.c.lane_id == lane_id, deliveries.c.state == DeliveryState.sent.value,
        deliveries.c.detail.not_like(f"{EDITED}%"))
    return tx.conn.execute(told).scalar()


def no_dead_letters(tx: Tx, lane_id: int) -> None:
    """What was given up has been told after all."""
    tx.conn.execute(update(deliveries).where(deliveries.c.lane_id == lane_id, holds(deliveries.c.is_dead_letter)).values(
        is_dead_letter=False))
