"""SQL of searching the record, in cursor pages of bounded cost: each looks through so many events at most, and where it has
stopped is the cursor, also when it has found nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select

from alerthub.store.audit import last_position
from alerthub.store.halving import first_at
from alerthub.store.schema import events, incidents
from alerthub.store.tx import AnyRow, AnySelect, Tx

LOOKED_THROUGH = 20_000     # events of one page at most
LATE = timedelta(minutes=10)        # so much later than its place among the others an event may have happened


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; empty: anything. `incident` is a number; `text` stands in the line that people read, in whatever case
    (of ASCII letters)."""

    incident: int = 0
    kind: str = ""
    actor: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None


def search(tx: Tx, wanted: Wanted, limit: int, before: int | None, most: int = LOOKED_THROUGH) -> dict[str, Any]:
    """The newest first. `next` is the cursor to go on with; None where nothing older is left."""
    first = place_of(tx, wanted.since - LATE) if wanted.since is not None else 0
    until = place_of(tx, wanted.until + LATE) if wanted.until is not None else None
    query = select(events).where(events.c.position >= first)
    for bound in (until, before):
        query = query.where(events.c.position < bound) if bound is not None else query
    if wanted.incident:
        query = query.where(events.c.incident_id == id_of(tx, wanted.incident))
    looked = query.order_by(events.c.position.desc()).limit(most).subquery()
    rows = tx.conn.execute(matching(looked, wanted).order_by(looked.c.position.desc()).limit(limit + 1)).all()
    if len(rows) > limit:
        reached = rows[limit - 1].position
    else:
        count, oldest = tx.conn.execute(select(func.count(), func.min(looked.c.position)).select_from(looked)).one()
        reached = oldest if count == most else None
    return {"items": [view(row) for row in rows[:limit]], "next": reached}


def matching(looked: Any, wanted: Wanted) -> AnySelect:
    query = select(looked, incidents.c.number).outerjoin(incidents, incidents.c.id == looked.c.incident_id)
    if wanted.kind:
        query = query.where(looked.c.kind == wanted.kind)
    if wanted.actor:
        query = query.where(or_(looked.c.actor_name == wanted.actor, looked.c.actor_kind == wanted.actor,
                                looked.c.actor_kind + ":" + looked.c.actor_name == wanted.actor))
    if wanted.text:
        query = query.where(func.lower(looked.c.text).contains(lowered(wanted.text), autoescape=True))
    if wanted.since is not None:
        query = query.where(looked.c.at >= wanted.since)
    if wanted.until is not None:
        query = query.where(looked.c.at < wanted.until)
    return query


def lowered(text: str) -> str:
    """As SQLite does it: of ASCII letters only. PostgreSQL lowers others as well, so these are found by their own small form."""
    return "".join(sign.lower() if sign.isascii() else sign for sign in text)


def id_of(tx: Tx, number: int) -> str:
    return tx.conn.execute(select(incidents.c.id).where(incidents.c.number == number)).scalar() or ""


def view(row: AnyRow) -> dict[str, Any]:
    return {"position": row.position, "incident": row.number, "incident_id": row.incident_id, "seq": row.seq,
            "at": row.at.isoformat(), "kind": row.kind, "actor_kind": row.actor_kind, "actor_name": row.actor_name,
            "text": row.text, "data": json.loads(row.data), "hash": row.hash or ""}


def place_of(tx: Tx, moment: datetime) -> int:
    """The position of the first event that did not happen before then; one more than the last where there is none."""
    return first_at(tx, events.c.position, events.c.at, moment)


def extent(tx: Tx) -> dict[str, Any]:
    """From when to when the record goes: its first and its last event."""
    first, last = (tx.conn.execute(select(events.c.at).order_by(order).limit(1)).scalar()
                   for order in (events.c.position, events.c.position.desc()))
    return {"first_event_at": first.isoformat() if first else None, "last_event_at": last.isoformat() if last else None,
            "last_position": last_position(tx)}
