"""SQL of what waits to be told, what was given up, and how the destinations fare: for people who look. Only reads, in pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select

from alerthub.domain.delivery import DeliveryState
from alerthub.store.reading import DELIVERY_FIELDS, NOT_SENT, plain
from alerthub.store.schema import deliveries, destinations, holds, incidents, lanes
from alerthub.store.tx import AnySelect, Tx

# Deliveries that one question looks through for a destination or a channel: no index leads there, and there may be millions.
SPAN = 20_000
PLACE_FIELDS = ("key", "channel", "failing_since", "last_error", "last_sent_at", "moved_to", "paused_until", "free_at")
LANE_FIELDS = ("id", "incident_id", "destination", "channel", "told_seq", "want_seq", "due_at", "lease_until", "attempt",
               "failures", "failing_since", "is_degraded", "is_dead")
LAST = and_(deliveries.c.lane_id == lanes.c.id, deliveries.c.attempt == lanes.c.attempt)
EACH_LANE = (select(*(lanes.c[name] for name in LANE_FIELDS), incidents.c.number, incidents.c.title, deliveries.c.failure,
                    deliveries.c.detail, deliveries.c.finished_at, deliveries.c.id.label("delivery"))
             .join(incidents, incidents.c.id == lanes.c.incident_id).outerjoin(deliveries, LAST))
ABOUT = ("number", "title", "failure", "detail", "finished_at", "delivery")
EACH_DELIVERY = (select(*(deliveries.c[name] for name in DELIVERY_FIELDS), incidents.c.number, incidents.c.title)
                 .outerjoin(incidents, incidents.c.id == deliveries.c.incident_id))


def is_waiting(now: datetime) -> ColumnElement[bool]:
    """Due, or to be tried again. What is only to be repeated later waits for nothing."""
    return lanes.c.due_at.is_not(None) & or_(lanes.c.due_at <= now, lanes.c.failures > 0)


def waiting(tx: Tx, now: datetime, limit: int, place: str = "") -> list[dict[str, Any]]:
    """Lanes that are due or fail, whoever waits longest first; of one destination, or of all."""
    query = EACH_LANE.where(is_waiting(now)).order_by(lanes.c.due_at, lanes.c.id).limit(limit)
    return lane_views(tx, query.where(lanes.c.destination == place) if place else query)


def dead(tx: Tx, limit: int, before: int | None, place: str = "") -> dict[str, Any]:
    """Dead letters, the newest lane first. `next` is the cursor of the following page, or None."""
    query = EACH_LANE.where(holds(lanes.c.is_dead)).order_by(lanes.c.id.desc()).limit(limit + 1)
    if place:
        query = query.where(lanes.c.destination == place)
    if before is not None:
        query = query.where(lanes.c.id < before)
    found = lane_views(tx, query)
    return {"items": found[:limit], "next": found[limit - 1]["id"] if len(found) > limit else None}


def lane_views(tx: Tx, query: AnySelect) -> list[dict[str, Any]]:
    return [plain(row, (*LANE_FIELDS, *ABOUT)) for row in tx.conn.execute(query)]


def waiting_at(tx: Tx, now: datetime) -> Mapping[str, int]:
    """How many lanes wait, by destination."""
    return counted(tx, is_waiting(now))


def dead_at(tx: Tx) -> Mapping[str, int]:
    """How many dead letters there are, by destination."""
    return counted(tx, holds(lanes.c.is_dead))


def counted(tx: Tx, which: ColumnElement[bool]) -> Mapping[str, int]:
    query = select(lanes.c.destination, func.count()).where(which).group_by(lanes.c.destination)
    return {row[0]: row[1] for row in tx.conn.execute(query)}


def places(tx: Tx, limit: int, after: str = "") -> dict[str, Any]:
    """How destinations fare: those that fail (all of them on the first page, as far as there is room), then the others by key.
    `next` is the cursor of the following page, or None."""
    failing = destinations.c.failing_since.is_not(None)
    first = select(destinations).where(failing).order_by(destinations.c.failing_since, destinations.c.key).limit(limit)
    rest = select(destinations).where(~failing, destinations.c.key > after).order_by(destinations.c.key).limit(limit + 1)
    failed = [] if after else [plain(row, PLACE_FIELDS) for row in tx.conn.execute(first)]
    well = [plain(row, PLACE_FIELDS) for row in tx.conn.execute(rest)]
    return {"items": [*failed, *well[:limit]], "next": well[limit - 1]["key"] if len(well) > limit else None}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries are looked for; what is empty asks for nothing. `incident` is a number."""

    state: str = ""
    place: str = ""
    channel: str = ""
    incident: int = 0
    only_dead: bool = False


def log(tx: Tx, wanted: Wanted, limit: int, before: int | None) -> dict[str, Any]:
    """Deliveries, newest first. `next` is where to look further, also after a look through SPAN of them that found few."""
    query, floor = EACH_DELIVERY, 0
    if wanted.place or wanted.channel:
        newest = before if before is not None else newest_id(tx) + 1
        floor = max(0, newest - SPAN)
        query = query.where(deliveries.c.id >= floor, deliveries.c.id < newest)
    elif before is not None:
        query = query.where(deliveries.c.id < before)
    query = narrowed(query, wanted).order_by(deliveries.c.id.desc()).limit(limit + 1)
    items = [plain(row, (*DELIVERY_FIELDS, "number", "title")) for row in tx.conn.execute(query)]
    following = items[limit - 1]["id"] if len(items) > limit else floor or None
    return {"items": items[:limit], "next": following, "is_short": bool(floor) and len(items) <= limit}


def narrowed(query: AnySelect, wanted: Wanted) -> AnySelect:
    if wanted.state:
        query = query.where(deliveries.c.state == wanted.state)
        if wanted.state != DeliveryState.sent.value:    # said so that the index of the few others serves
            query = query.where(NOT_SENT)
    if wanted.place:
        query = query.where(deliveries.c.destination == wanted.place)
    if wanted.channel:
        query = query.where(deliveries.c.destination.startswith(f"{wanted.channel}:", autoescape=True))
    if wanted.incident:
        which = select(incidents.c.id).where(incidents.c.number == wanted.incident).scalar_subquery()
        query = query.where(deliveries.c.incident_id == which)
    return query.where(holds(deliveries.c.is_dead_letter)) if wanted.only_dead else query


def newest_id(tx: Tx) -> int:
    return tx.conn.execute(select(deliveries.c.id).order_by(deliveries.c.id.desc()).limit(1)).scalar() or 0


def one(tx: Tx, number: int, limit: int) -> dict[str, Any] | None:
    """One delivery, its lane as it stands now (None: not kept any more), and the lane's latest attempts."""
    row = tx.conn.execute(EACH_DELIVERY.where(deliveries.c.id == number)).first()
    if row is None:
        return None
    attempts = (select(deliveries).where(deliveries.c.lane_id == row.lane_id).order_by(deliveries.c.attempt.desc()).limit(limit))
    standing = lane_views(tx, EACH_LANE.where(lanes.c.id == row.lane_id))
    return {**plain(row, (*DELIVERY_FIELDS, "number", "title")), "lane": standing[0] if standing else None,
            "attempts": [plain(other, DELIVERY_FIELDS) for other in tx.conn.execute(attempts)]}
