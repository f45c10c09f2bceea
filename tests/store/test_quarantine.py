"""Bodies that could never be read: kept for whoever repairs the sender, but never so many that they fill the disk."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select

from alerthub.store import events, pruning, reading
from alerthub.store.database import Store
from alerthub.store.events import QUARANTINE_BODY, QUARANTINE_ROWS
from alerthub.store.schema import quarantine
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.rows import count


def fill(tx: Tx, source: str, rows: int) -> None:
    tx.many(quarantine.insert(), [
        {"source": source, "arrived_at": START, "reason": f"old {number}", "body_sha256": "", "body": b""}
        for number in range(rows)])


def reasons(tx: Tx, source: str) -> list[str]:
    query = select(quarantine.c.reason).where(quarantine.c.source == source).order_by(quarantine.c.id)
    return list(tx.conn.execute(query).scalars())


def test_the_newest_thousand_of_a_source_are_kept_and_others_are_left_alone(store: Store) -> None:
    def unit(tx: Tx) -> None:
        fill(tx, "grafana", 5)
        fill(tx, "am", QUARANTINE_ROWS - 1)
        fill(tx, "generic", QUARANTINE_ROWS)
        for word in ("new 1", "new 2", "new 3"):
            events.set_aside(tx, "am", START, word, b"{", "")

    store.write_now(unit)
    kept = store.read_now(lambda tx: reasons(tx, "am"))
    assert len(kept) == QUARANTINE_ROWS == 1000
    assert (kept[0], kept[-4:]) == ("old 2", [f"old {QUARANTINE_ROWS - 2}", "new 1", "new 2", "new 3"])
    assert store.read_now(lambda tx: (len(reasons(tx, "grafana")), len(reasons(tx, "generic")))) == (5, QUARANTINE_ROWS)


def test_a_source_that_has_grown_too_large_is_cut_at_once(store: Store) -> None:
    def unit(tx: Tx) -> None:
        fill(tx, "am", QUARANTINE_ROWS + 200)
        events.set_aside(tx, "am", START, "new", b"{", "")

    store.write_now(unit)
    assert store.read_now(lambda tx: count(tx, quarantine)) == QUARANTINE_ROWS


def test_any_bytes_are_kept_as_they_came_up_to_a_limit(store: Store) -> None:
    body = bytes(range(256)) * 2 + b"\x00\xff" * QUARANTINE_BODY
    store.write_now(lambda tx: events.set_aside(tx, "am", START, "not JSON", body, "ff" * 32))
    (found,) = store.read_now(lambda tx: tx.conn.execute(select(quarantine)).all())
    assert bytes(found.body) == body[:QUARANTINE_BODY]
    assert (found.source, found.arrived_at, found.reason, found.body_sha256) == ("am", START, "not JSON", "ff" * 32)


def test_the_list_for_people_has_no_bodies_and_pages_newest_first(store: Store) -> None:
    store.write_now(lambda tx: fill(tx, "am", 5))
    first = store.read_now(lambda tx: reading.list_quarantine(tx, 3, None))
    rest = store.read_now(lambda tx: reading.list_quarantine(tx, 3, first["next"]))
    assert [item["reason"] for item in (*first["items"], *rest["items"])] == ["old 4", "old 3", "old 2", "old 1", "old 0"]
    assert rest["next"] is None
    assert set(first["items"][0]) == {"id", "source", "arrived_at", "reason", "body_sha256"}


def test_what_is_older_than_the_retention_is_forgotten(store: Store) -> None:
    def unit(tx: Tx) -> None:
        for days in (3, 2, 1):
            events.set_aside(tx, "am", START - timedelta(days=days), f"{days} days", b"", "")
        pruning.forget_quarantine(tx, START - timedelta(days=2))

    store.write_now(unit)
    assert store.read_now(lambda tx: reasons(tx, "am")) == ["2 days", "1 days"]
