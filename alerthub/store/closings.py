"""SQL of what the hub itself has closed at a provider although it is open, to ring there anew: the lanes' receipts say so."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import select

from alerthub.store.schema import lanes
from alerthub.store.tx import Tx


def closed_at(tx: Tx, incident_id: str, channel: str, now: datetime) -> datetime | None:
    """When one of the channel's destinations was last told so. `now` while one is being told, or told again after an attempt
    that failed: nobody knows yet how much of that has arrived, and in the end it is open there."""
    query = select(lanes.c.receipt, lanes.c.lease_until, lanes.c.failures).where(
        lanes.c.incident_id == incident_id, lanes.c.channel == channel)
    found = []
    for row in tx.conn.execute(query):
        if row.receipt and (row.lease_until is not None or row.failures):     # without one it was never open there
            return now
        if at := json.loads(row.receipt or "{}").get("closed_at"):
            found.append(datetime.fromisoformat(at))
    return max(found, default=None)
