"""SQL for people who look at one thing closely: a lane, a delivery, and the long lists of one incident. Only reads, in
cursor pages."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from alerthub.store.events import event_of
from alerthub.store.reading import DELIVERY_FIELDS, page, plain, text
from alerthub.store.schema import alerts, anchors, deliveries, destinations, events, holds, incidents, lanes
from alerthub.store.tx import AnyRow, Tx

LANE_FIELDS = ("id", "incident_id", "destination", "channel", "told_seq", "want_seq", "repeats", "due_at", "not_before",
               "attempt", "failures", "failing_since", "is_degraded", "is_dead")
PLACE_FIELDS = ("failing_since", "last_error", "last_sent_at", "moved_to", "paused_until")
ATTEMPTS = 50       # the newest of one lane


def list_lanes(tx: Tx, limit: int, before: int | None, *, only_dead: bool) -> dict[str, Any]:
    """Newest first."""
    query = select(lanes).where(holds(lanes.c.is_dead)) if only_dead else select(lanes)
    return page(tx, query, lanes.c.id, LANE_FIELDS, limit, before)


def one_lane(tx: Tx, number: int) -> dict[str, Any] | None:
    """With how its destination is, and its newest attempts, the last one first."""
    row = tx.conn.execute(select(lanes).where(lanes.c.id == number)).first()
    if row is None:
        return None
    place = tx.conn.execute(select(destinations).where(destinations.c.key == row.destination)).first()
    sent = select(deliveries).where(deliveries.c.lane_id == number).order_by(deliveries.c.attempt.desc()).limit(ATTEMPTS)
    return {**plain(row, LANE_FIELDS), "number": number_of(tx, row.incident_id), "is_live": row.receipt is not None,
            "state_of_destination": plain(place, PLACE_FIELDS) if place else None,
            "deliveries": [plain(one, DELIVERY_FIELDS) for one in tx.conn.execute(sent)]}


def one_delivery(tx: Tx, number: int) -> dict[str, Any] | None:
    row = tx.conn.execute(select(deliveries).where(deliveries.c.id == number)).first()
    return {**plain(row, DELIVERY_FIELDS), "number": number_of(tx, row.incident_id)} if row else None


def number_of(tx: Tx, incident_id: str) -> int | None:
    return tx.conn.execute(select(incidents.c.number).where(incidents.c.id == incident_id)).scalar()


# -- the long lists of one incident

def events_of(tx: Tx, incident_id: str, limit: int, after: int) -> dict[str, Any]:
    """Oldest first; `after` and `next` are a `seq`."""
    query = select(events).where(events.c.incident_id == incident_id, events.c.seq > after)
    rows = tx.conn.execute(query.order_by(events.c.seq).limit(limit + 1)).all()
    return {"items": [event_view(row) for row in rows[:limit]], "next": rows[limit - 1].seq if len(rows) > limit else None}


def event_view(row: AnyRow) -> dict[str, Any]:
    event = event_of(row)
    return {"seq": event.seq, "at": text(event.at), "kind": event.kind.value, "actor": f"{event.actor.kind}:{event.actor.name}",
            "text": event.text, "data": dict(event.data)}


def alerts_of(tx: Tx, incident_id: str, limit: int, before: int | None) -> dict[str, Any]:
    """Those that came last first."""
    query = select(alerts).where(alerts.c.incident_id == incident_id)
    if before is not None:
        query = query.where(alerts.c.row < before)
    rows = tx.conn.execute(query.order_by(alerts.c.row.desc()).limit(limit + 1)).all()
    return {"items": [{**json.loads(row.content), **plain(row, ("status", "starts_at", "ends_at", "seen_at"))}
                      for row in rows[:limit]], "next": rows[limit - 1].row if len(rows) > limit else None}


def deliveries_of(tx: Tx, incident_id: str, limit: int, before: int | None) -> dict[str, Any]:
    """Newest first."""
    query = select(deliveries).where(deliveries.c.incident_id == incident_id)
    return page(tx, query, deliveries.c.id, DELIVERY_FIELDS, limit, before)


# -- the record

def list_anchors(tx: Tx, limit: int, before: int | None) -> dict[str, Any]:
    return page(tx, select(anchors), anchors.c.n, ("n", "at", "position", "hash"), limit, before)
