"""SQL of the history: append-only, and the bodies that could not be read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import bindparam, delete, func, select

from alerthub.domain.alert import canonical
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.store.schema import events, incidents, quarantine
from alerthub.store.tx import AnyRow, Tx, chunks

AFTER = (select(events).where(events.c.incident_id == bindparam("incident"), events.c.seq > bindparam("after"))
         .order_by(events.c.seq))


def append(tx: Tx, happened: Sequence[Event]) -> None:
    """Add to the history. Two writers of one `seq` cannot both commit."""
    tx.many(events.insert(), [
        {"incident_id": event.incident_id, "seq": event.seq, "at": event.at, "kind": event.kind.value,
         "actor_kind": event.actor.kind, "actor_name": event.actor.name, "text": event.text, "data": canonical(event.data)}
        for event in happened])


def after(tx: Tx, incident_id: str, seq: int, up_to: int | None = None) -> tuple[Event, ...]:
    query = AFTER if up_to is None else AFTER.where(events.c.seq <= up_to)
    return tuple(event_of(row) for row in tx.conn.execute(query, {"incident": incident_id, "after": seq}))


def event_of(row: AnyRow) -> Event:
    return Event(row.incident_id, row.seq, row.at, EventKind(row.kind), Actor(row.actor_kind, row.actor_name), row.text,
                 json.loads(row.data))


OPENINGS = (EventKind.opened.value, EventKind.reopened.value)


def openings(tx: Tx, key: str, since: datetime) -> int:
    """How often the incidents of a key have opened since then."""
    query = (select(func.count()).select_from(events.join(incidents, incidents.c.id == events.c.incident_id))
             .where(incidents.c.key == key, events.c.at >= since, events.c.kind.in_(OPENINGS)))
    return tx.conn.execute(query).scalar_one()


def of_kind(tx: Tx, kind: EventKind, ids: Iterable[str]) -> list[Event]:
    """All events of one kind in these incidents, oldest first."""
    found: list[Event] = []
    for chunk in chunks(sorted(ids)):
        query = select(events).where(events.c.incident_id.in_(chunk), events.c.kind == kind.value).order_by(events.c.position)
        found += [event_of(row) for row in tx.conn.execute(query)]
    return found


QUARANTINE_BODY = 256 * 1024     # bytes kept of a body that could not be read
QUARANTINE_ROWS = 1000           # kept per source; a sender that is broken for months must not fill the disk


def set_aside(tx: Tx, source: str, arrived_at: datetime, reason: str, body: bytes, sha256: str) -> None:
    """Keep a body that can never be valid, for whoever repairs the sender. The newest 1,000 of a source are kept."""
    tx.conn.execute(quarantine.insert().values(
        source=source, arrived_at=arrived_at, reason=reason, body_sha256=sha256, body=body[:QUARANTINE_BODY]))
    oldest = (select(quarantine.c.id).where(quarantine.c.source == source)
              .order_by(quarantine.c.id.desc()).offset(QUARANTINE_ROWS).limit(1))
    tx.conn.execute(delete(quarantine).where(quarantine.c.source == source, quarantine.c.id <= oldest.scalar_subquery()))

