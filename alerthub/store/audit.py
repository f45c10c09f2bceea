"""SQL of the record: anchors, the heads that they name, and all rows for whoever checks them. Nothing here writes history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import BigInteger, and_, create_engine, delete, func, select, type_coerce
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from alerthub.domain.record import Anchor, Head, Row
from alerthub.errors import AlerthubError
from alerthub.store.address import normal_url
from alerthub.store.commits import BEGIN
from alerthub.store.database import READING, busy_or, postgres_engine
from alerthub.store.schema import EPOCH, MICROSECOND, anchors, events, incidents, pruned
from alerthub.store.tx import AnyRow, AnySelect, Tx

AT_ONCE = 1000      # rows that are in memory
ANCHORS = select(anchors.c.n, type_coerce(anchors.c.at, BigInteger), anchors.c.position, anchors.c.content, anchors.c.hash)
ROWS = (select(events.c.incident_id, events.c.seq, type_coerce(events.c.at, BigInteger), events.c.kind, events.c.actor_kind,
               events.c.actor_name, events.c.text, events.c.data, func.coalesce(events.c.hash, ""),
               func.coalesce(incidents.c.number, 0), incidents.c.seq)
        .select_from(events.outerjoin(incidents, incidents.c.id == events.c.incident_id))
        .order_by(events.c.incident_id, events.c.seq))
EMPTY = (select(incidents.c.id, incidents.c.number, incidents.c.seq)
         .where(incidents.c.seq > 0, ~select(events.c.seq).where(events.c.incident_id == incidents.c.id).exists()))


def anchor_of(row: AnyRow) -> Anchor:
    return Anchor(*row)


def last_anchors(tx: Tx, count: int) -> list[Anchor]:
    """The newest first."""
    return [anchor_of(row) for row in tx.conn.execute(ANCHORS.order_by(anchors.c.n.desc()).limit(count))]


def all_anchors(tx: Tx) -> Iterator[Anchor]:
    """In their order, not all of them in memory."""
    for row in streamed(tx, ANCHORS.order_by(anchors.c.n), 20):
        yield anchor_of(row)


def streamed(tx: Tx, query: AnySelect, at_once: int = AT_ONCE) -> Iterator[AnyRow]:
    yield from tx.conn.execute(query.execution_options(yield_per=at_once))


def add_anchor(tx: Tx, anchor: Anchor) -> None:
    """Two of one number cannot both commit."""
    tx.conn.execute(anchors.insert().values(n=anchor.n, at=EPOCH + anchor.at * MICROSECOND, position=anchor.position,
                                            content=anchor.content, hash=anchor.hash))


def last_position(tx: Tx) -> int:
    """Of the newest event; 0 without any."""
    return tx.conn.execute(select(func.max(events.c.position))).scalar() or 0


def heads(tx: Tx, after: int, up_to: int) -> list[Head]:
    """How far each history goes that has an event at one of these positions."""
    newest = (select(events.c.incident_id, func.max(events.c.seq).label("seq"))
              .where(events.c.position > after, events.c.position <= up_to).group_by(events.c.incident_id).subquery())
    query = (select(events.c.incident_id, events.c.seq, func.coalesce(events.c.hash, ""))
             .join(newest, and_(newest.c.incident_id == events.c.incident_id, newest.c.seq == events.c.seq)))
    return [Head(*row) for row in tx.conn.execute(query)]


def waiting_pruned(tx: Tx) -> list[Head]:
    """Histories that were forgotten by age, and that no anchor names yet."""
    return [Head(*row) for row in tx.conn.execute(select(pruned.c.incident_id, pruned.c.seq, pruned.c.hash))]


def take_pruned(tx: Tx) -> list[Head]:
    """The same, for the anchor of this transaction. In one statement: what is forgotten meanwhile waits for the next one."""
    taken = delete(pruned).returning(pruned.c.incident_id, pruned.c.seq, pruned.c.hash)
    return [Head(*row) for row in tx.conn.execute(taken)]


def histories(tx: Tx) -> Iterator[tuple[int, int | None, Iterator[Row]]]:
    """Of each incident that has events: its number, the last seq that it knows, its rows. Take the rows before the next."""
    for _, rows in groupby(streamed(tx, ROWS), key=lambda row: row[0]):
        first = next(rows)
        yield first[9], first[10], (Row(*row[:9]) for row in chained(first, rows))


def chained(first: AnyRow, rest: Iterator[AnyRow]) -> Iterator[AnyRow]:
    yield first
    yield from rest


def history(tx: Tx, incident_id: str) -> list[Row]:
    """One incident's rows, in their order."""
    return [Row(*row[:9]) for row in tx.conn.execute(ROWS.where(events.c.incident_id == incident_id))]


def without_events(tx: Tx) -> list[tuple[str, int, int]]:
    """Incidents whose whole history is gone: id, number, last seq."""
    return [(incident_id, number, seq) for incident_id, number, seq in tx.conn.execute(EMPTY)]


@contextmanager
def opened_for_reading(url: str) -> Iterator[Tx]:
    """A transaction that sees one moment and cannot write, also beside a running hub. Raises AlerthubError."""
    address = normal_url(url)
    is_file = address.startswith("sqlite")
    path = make_url(address).database if is_file else None
    if path is not None and not Path(path).is_file():
        raise AlerthubError(f"there is no database {path}")
    engine = (create_engine(f"sqlite:///file:{quote(str(Path(path).resolve()))}?mode=ro&uri=true") if path is not None
              else postgres_engine(address))
    try:
        with engine.connect().execution_options(**{BEGIN: f"{READING} READ ONLY"}) as conn:
            if is_file:
                conn.exec_driver_sql("BEGIN")       # or each statement would see a moment of its own
            yield Tx(conn, str)
    except SQLAlchemyError as error:
        raise AlerthubError(f"the history cannot be read ({busy_or(error)}); was the database migrated?") from None
    finally:
        engine.dispose()
