"""Rows of heartbeats: kept exactly, locked in the hands of one, and the tick that says that somebody watches."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alerthub.clock import SystemClock
from alerthub.domain.heartbeat import TICK, Heartbeat, State
from alerthub.store import heartbeats
from alerthub.store.database import Store
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.rows import at_once

MINUTE = timedelta(minutes=1)
ETL = Heartbeat("etl", State.new, None, START + MINUTE, START)
BACKUP = Heartbeat("backup", State.alive, START - MINUTE, START + 2 * MINUTE, START - timedelta(days=3))
LOST = Heartbeat("lost", State.missing, START, None, START)
ALL = [ETL, BACKUP, LOST]
NAMES = ["etl", "backup", "lost"]


def add_all(tx: Tx) -> None:
    heartbeats.add(tx, ALL)


def test_what_is_added_is_read_as_it_was(store: Store) -> None:
    store.write_now(add_all)
    assert store.read_now(heartbeats.read) == {"backup": BACKUP, "etl": ETL, "lost": LOST}
    assert store.write_now(lambda tx: heartbeats.lock(tx, ["etl", "nobody"])) == {"etl": ETL}
    assert list(store.write_now(heartbeats.lock)) == ["backup", "etl", "lost"]


def test_what_exists_is_not_added_again(store: Store) -> None:
    store.write_now(add_all)
    store.write_now(lambda tx: heartbeats.add(tx, [replace(ETL, state=State.missing, due_at=None)]))
    assert store.read_now(heartbeats.read)["etl"] == ETL


def test_saving_keeps_since_when_it_is_watched(store: Store) -> None:
    store.write_now(add_all)
    changed = replace(ETL, state=State.alive, seen_at=START, due_at=START + 5 * MINUTE)
    store.write_now(lambda tx: heartbeats.save(tx, [replace(changed, since=START + MINUTE)]))
    assert store.read_now(heartbeats.read) == {"backup": BACKUP, "etl": changed, "lost": LOST}


def test_only_what_is_due_and_known_is_due(store: Store) -> None:
    store.write_now(add_all)
    for names, minutes, expected in ((NAMES, 0, []), (NAMES, 1, ["etl"]), (NAMES, 2, ["backup", "etl"]),
                                     (["backup"], 9, ["backup"]), ([], 9, [])):
        found = store.write_now(lambda tx, names=names, at=START + minutes * MINUTE: heartbeats.due(tx, names, at))
        assert [one.name for one in found] == expected


def test_the_tick_is_no_heartbeat(store: Store) -> None:
    assert store.write_now(lambda tx: heartbeats.last_tick(tx, wait=True)) is None
    assert store.write_now(lambda tx: heartbeats.begin(tx, START)) is True
    assert store.write_now(lambda tx: heartbeats.begin(tx, START + MINUTE)) is False
    assert store.write_now(lambda tx: heartbeats.last_tick(tx, wait=False)) == START
    store.write_now(lambda tx: heartbeats.tick(tx, START + MINUTE))
    assert store.write_now(lambda tx: heartbeats.last_tick(tx, wait=False)) == START + MINUTE
    assert store.read_now(heartbeats.read) == {}
    assert store.write_now(lambda tx: heartbeats.due(tx, NAMES, START + timedelta(days=1))) == []


def test_next_due_is_the_first_deadline_or_the_next_tick(store: Store) -> None:
    assert store.read_now(lambda tx: heartbeats.next_due(tx, NAMES)) is None
    store.write_now(add_all)
    assert store.read_now(lambda tx: heartbeats.next_due(tx, NAMES)) == START + MINUTE
    assert store.read_now(lambda tx: heartbeats.next_due(tx, ["backup", "lost"])) == START + 2 * MINUTE
    store.write_now(lambda tx: heartbeats.begin(tx, START))
    assert store.read_now(lambda tx: heartbeats.next_due(tx, NAMES)) == START + TICK
    store.write_now(lambda tx: heartbeats.tick(tx, START + 5 * MINUTE))
    assert store.read_now(lambda tx: heartbeats.next_due(tx, NAMES)) == START + MINUTE


def test_what_is_forgotten_is_gone(store: Store) -> None:
    store.write_now(add_all)
    store.write_now(lambda tx: heartbeats.forget(tx, ["etl", "nobody"]))
    assert list(store.read_now(heartbeats.read)) == ["backup", "lost"]
    store.write_now(lambda tx: heartbeats.forget(tx, []))
    assert list(store.read_now(heartbeats.read)) == ["backup", "lost"]


@pytest.mark.postgres
def test_what_another_replica_holds_is_left_to_it(postgres: str) -> None:
    one, two = (Store(postgres, SystemClock().new_id) for _ in range(2))
    one.write_now(lambda tx: (add_all(tx), heartbeats.begin(tx, START)))

    def holding(tx: Tx) -> tuple[object, list[Heartbeat]]:
        heartbeats.last_tick(tx, wait=False)
        heartbeats.lock(tx, ["etl"])
        return two.write_now(lambda other: (
            heartbeats.last_tick(other, wait=False), heartbeats.due(other, NAMES, START + 9 * MINUTE)))

    assert one.write_now(holding) == (None, [BACKUP])
    assert two.write_now(lambda tx: heartbeats.last_tick(tx, wait=False)) == START
    one.close()
    two.close()


@pytest.mark.postgres
def test_of_many_who_begin_one_has_begun(postgres: str) -> None:
    stores = [Store(postgres, SystemClock().new_id) for _ in range(4)]
    begun = at_once([lambda store=store: store.write_now(lambda tx: heartbeats.begin(tx, START)) for store in stores])
    assert sorted(begun) == [False, False, False, True]
    for store in stores:
        store.close()
