"""Searching the record: what is found is what a slow reader of all rows finds, page by page, and each page has an end."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest

from alerthub.store import searching
from alerthub.store.database import Store
from alerthub.store.schema import events
from alerthub.store.searching import Wanted, search
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.plans import explained
from tests.kit.rows import add_incidents

TEXTS = ["Opened: DiskFull", "100% of it", "a_b", "back\\slash", "ayse: Hello", "İstanbul"]


def fill(tx: Tx, seed: int, count: int = 120) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    ids = add_incidents(tx, 3)
    rows = [{"incident_id": dice.choice(ids), "seq": seq, "at": START + timedelta(minutes=seq), "data": "{}", "hash": "x",
             "kind": dice.choice(["opened", "comment", "resolved"]), "actor_kind": dice.choice(["person", "hub"]),
             "actor_name": dice.choice(["ayse", "watch"]), "text": dice.choice(TEXTS)} for seq in range(1, count + 1)]
    tx.conn.execute(events.insert(), rows)
    return [{**row, "number": ids.index(row["incident_id"]) + 1} for row in rows]


def slowly(rows: list[dict[str, Any]], wanted: Wanted) -> list[int]:
    def is_it(row: dict[str, Any]) -> bool:
        actor = {row["actor_name"], row["actor_kind"], f"{row['actor_kind']}:{row['actor_name']}", ""}
        return (wanted.incident in (0, row["number"]) and wanted.kind in ("", row["kind"]) and wanted.actor in actor
                and wanted.text.lower() in row["text"].lower() and (wanted.since is None or row["at"] >= wanted.since)
                and (wanted.until is None or row["at"] < wanted.until))
    return [row["seq"] for row in reversed(rows) if is_it(row)]


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


ASKED = [
    Wanted(), Wanted(incident=2), Wanted(incident=99), Wanted(kind="comment"), Wanted(actor="ayse"), Wanted(actor="person"),
    Wanted(actor="person:ayse"), Wanted(actor="nobody"), Wanted(text="diskfull"), Wanted(text="100%"), Wanted(text="_"),
    Wanted(text="\\"), Wanted(text="hello"), Wanted(since=at(50)), Wanted(until=at(20)), Wanted(since=at(30), until=at(40)),
    Wanted(1, "comment", "ayse", "HELLO", at(10), at(100)), Wanted(since=at(9999)), Wanted(until=at(-9999)),
]


@pytest.mark.parametrize("most", [20_000, 17])
def test_what_is_found_page_by_page_is_all_that_there_is(store: Store, most: int) -> None:
    rows = store.write_now(lambda tx: fill(tx, 7))

    def unit(tx: Tx) -> None:
        for wanted in ASKED:
            for limit in (1, 7, 500):
                found, before = [], None
                while True:
                    page = search(tx, wanted, limit, before, most)
                    assert len(page["items"]) <= limit
                    found += [one["seq"] for one in page["items"]]
                    if page["next"] is None:
                        break
                    assert before is None or page["next"] < before
                    before = page["next"]
                assert found == slowly(rows, wanted), wanted

    store.read_now(unit)


def test_a_page_looks_through_so_many_and_says_where_it_stopped(store: Store) -> None:
    store.write_now(lambda tx: fill(tx, 1, 50))
    page = store.read_now(lambda tx: search(tx, Wanted(text="nothing is like that"), 10, None, most=20))
    assert page == {"items": [], "next": 31}


def test_an_empty_record_has_no_extent(store: Store) -> None:
    assert store.read_now(searching.extent) == {"first_event_at": None, "last_event_at": None, "last_position": 0}


def test_the_extent_is_from_the_first_to_the_last(store: Store) -> None:
    store.write_now(lambda tx: fill(tx, 1, 5))
    found = store.read_now(searching.extent)
    assert (found["first_event_at"], found["last_event_at"]) == (at(1).isoformat(), at(5).isoformat())


def test_no_search_reads_the_record_from_end_to_end(store: Store) -> None:
    store.write_now(lambda tx: fill(tx, 3, 400))
    if not store.is_sqlite:
        store.write_now(lambda tx: tx.conn.exec_driver_sql("analyze"))
    with explained(store) as plans:
        for wanted in ASKED[1:]:
            store.read_now(lambda tx, wanted=wanted: search(tx, wanted, 10, 300, 50))
    found = [told for told in plans.reading_all() if "LIMIT" not in told and "max(events.position)" not in told]
    assert not found, "\n\n".join(found)
