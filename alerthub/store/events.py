"""SQL of the history: append-only, and the bodies that could not be read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import itemgetter

from sqlalchemy import Integer, Text, and_, bindparam, column, delete, func, select

from alerthub.domain.alert import canonical
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.record import Row, link
from alerthub.store.batch import among, array, listed, several
from alerthub.store.schema import EPOCH, MICROSECOND, events, incidents, quarantine
from alerthub.store.tx import AnyRow, Tx, chunks

AFTER = (select(events).where(events.c.incident_id == bindparam("incident"), events.c.seq > bindparam("after"))
         .order_by(events.c.seq))

NEWEST = (select(events).where(events.c.incident_id == bindparam("incident")).order_by(events.c.seq.desc())
          .limit(bindparam("most", type_=Integer())))

BETWEEN = AFTER.where(events.c.seq <= bindparam("up_to"))

# Two lists, not one of pairs: for pairs SQLite reads the whole table.
HASHES = {is_postgres: select(events.c.incident_id, events.c.seq, events.c.hash).where(
    among(events.c.incident_id, "ids", is_postgres), among(events.c.seq, "seqs", is_postgres)) for is_postgres in (False, True)}
APPEND = events.insert()
PLACES = 100                 # looked up at once: in the worst case each incident at each seq
Place = tuple[str, int]      # (incident, seq)
Span = tuple[str, int, int]  # (incident, after this seq, up to that one)
WANTED = listed(column("ids", Text()), column("after_seqs", Integer()), column("up_to", Integer()))
SPANS = func.json_each(bindparam("spans", type_=Text())).table_valued("key", "value", name="wanted")
IS_WANTED = {
    True: and_(events.c.incident_id == WANTED.c.ids, events.c.seq > WANTED.c.after_seqs, events.c.seq <= WANTED.c.up_to),
    False: and_(events.c.incident_id == func.json_extract(SPANS.c.value, "$[0]"),
                events.c.seq > func.json_extract(SPANS.c.value, "$[1]"),
                events.c.seq <= func.json_extract(SPANS.c.value, "$[2]"))}
AFTER_EACH = {
    True: (select(WANTED.c.place, *events.c).select_from(WANTED.join(events, IS_WANTED[True]))
           .order_by(WANTED.c.place, events.c.seq)),
    False: (select((SPANS.c.key + 1).label("place"), *events.c).select_from(SPANS.join(events, IS_WANTED[False]))
            .order_by(SPANS.c.key, events.c.seq))}


def append(tx: Tx, happened: Sequence[Event]) -> None:
    """Add to the history, each event chained to the one before it. Two writers of one `seq` cannot both commit."""
    ours = {(event.incident_id, event.seq) for event in happened}
    before = {(event.incident_id, event.seq - 1) for event in happened if event.seq > 1}
    chain = hashes(tx, before - ours)
    rows = []
    for event in sorted(happened, key=lambda event: event.seq):
        at, data = (event.at - EPOCH) // MICROSECOND, canonical(event.data)
        row = Row(event.incident_id, event.seq, at, event.kind.value, event.actor.kind, event.actor.name, event.text, data)
        chain[row.incident_id, row.seq] = linked = link(chain.get((row.incident_id, row.seq - 1)) or "", row)
        rows.append({"incident_id": row.incident_id, "seq": row.seq, "at": event.at, "kind": row.kind,
                     "actor_kind": row.actor_kind, "actor_name": row.actor_name, "text": row.text, "data": data,
                     "hash": linked})
    tx.batch(APPEND, rows)


def hashes(tx: Tx, places: Iterable[Place]) -> dict[Place, str]:
    """Those of these events that are there; empty for an event that is older than the chain."""
    found: dict[Place, str] = {}
    for chunk in chunks(sorted(places, key=itemgetter(1)), PLACES):
        wanted = frozenset(chunk)
        ids, seqs = (several(list({place[column] for place in wanted}), tx.is_postgres) for column in (0, 1))
        rows = tx.conn.execute(HASHES[tx.is_postgres], {"ids": ids, "seqs": seqs})
        found.update(((one, seq), value or "") for one, seq, value in rows if (one, seq) in wanted)
    return found


def after(tx: Tx, incident_id: str, seq: int, up_to: int | None = None) -> tuple[Event, ...]:
    query, named = (AFTER, {}) if up_to is None else (BETWEEN, {"up_to": up_to})
    return tuple(event_of(row) for row in tx.conn.execute(query, {"incident": incident_id, "after": seq, **named}))


def newest(tx: Tx, incident_id: str, most: int) -> tuple[Event, ...]:
    """The last so many of one incident, oldest first."""
    rows = tx.conn.execute(NEWEST, {"incident": incident_id, "most": most}).all()
    return tuple(event_of(row) for row in reversed(rows))


def after_each(tx: Tx, spans: Sequence[Span]) -> list[tuple[Event, ...]]:
    """The same for each of these."""
    ids, after_seqs, up_to = zip(*spans, strict=True) if spans else ((), (), ())
    named = ({"ids": array(ids), "after_seqs": array(after_seqs), "up_to": array(up_to)} if tx.is_postgres
             else {"spans": json.dumps(spans)})
    found: dict[int, list[Event]] = {}
    for row in tx.conn.execute(AFTER_EACH[tx.is_postgres], named) if spans else ():
        found.setdefault(row.place, []).append(event_of(row))
    return [tuple(found.get(place, ())) for place in range(1, len(spans) + 1)]


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

