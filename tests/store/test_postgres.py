"""What only PostgreSQL can do to a unit of work: time out, deadlock, refuse to serialise, hang up, be away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, text, update

from alerthub.clock import SystemClock
from alerthub.errors import Busy
from alerthub.store.database import Store, Trouble
from alerthub.store.schema import destinations
from alerthub.store.tx import InTurn, Tx, Urgent, briefly
from tests.kit.binaries import free_port
from tests.kit.clock import START
from tests.kit.rows import at_once, note, notes

pytestmark = pytest.mark.postgres
new_id = SystemClock().new_id


@pytest.fixture
def store(postgres: str) -> Iterator[Store]:
    opened = Store(postgres, new_id)
    yield opened
    opened.close()


def add_destinations(tx: Tx) -> None:
    tx.conn.execute(destinations.insert(), [
        {"key": key, "channel": "slack", "free_at": START, "last_error": "", "moved_to": ""} for key in ("a", "b")])


def errors(tx: Tx) -> list[str]:
    return [found for found, in tx.conn.execute(select(destinations.c.last_error).order_by(destinations.c.key))]


def write_error(tx: Tx, key: str, word: str) -> None:
    tx.conn.execute(update(destinations).where(destinations.c.key == key).values(last_error=destinations.c.last_error + word))


@pytest.mark.parametrize(("setting", "value"), [
    ("statement_timeout", "30s"), ("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "30s"),
    ("application_name", "alerthub"),
])
def test_no_statement_holds_a_room_for_ever(store: Store, setting: str, value: str) -> None:
    look = lambda tx: tx.conn.execute(text(f"show {setting}")).scalar_one()    # noqa: E731
    assert (store.write_now(look), store.read_now(look)) == (value, value)


def test_a_brief_unit_is_impatient_alone_and_however_it_is_wrapped(store: Store) -> None:
    look = lambda tx: tx.conn.execute(text("show lock_timeout")).scalar_one()    # noqa: E731
    brief = [briefly(look, 50), Urgent(briefly(look, 50)), InTurn(briefly(look, 50))]
    assert [store.write_now(unit) for unit in (look, *brief, look)] == ["10s", "50ms", "50ms", "50ms", "10s"]
    store.trouble = Trouble(START, "away")
    assert asyncio.run(store.write(brief[0])) == "50ms"
    assert store.trouble is None


def test_a_unit_in_turn_begins_when_the_last_one_has_ended_although_the_loop_is_busy(store: Store) -> None:
    async def both() -> None:
        first, second = (asyncio.create_task(store.write(InTurn(lambda tx, word=word: note(tx, word)))) for word in "ab")
        await asyncio.sleep(0)
        while store.read_now(notes) != ["a", "b"]:      # never lets the loop run
            pass
        await asyncio.gather(first, second)
    asyncio.run(both())


def test_a_statement_that_takes_too_long_is_busy(store: Store) -> None:
    def unit(tx: Tx) -> None:
        note(tx, "never kept")
        tx.conn.execute(text("set local statement_timeout = 20"))
        tx.conn.execute(text("select pg_sleep(10)"))

    with pytest.raises(Busy, match="QueryCanceled"):
        store.write_now(unit)
    assert store.read_now(notes) == []


def test_a_lock_that_is_never_given_is_busy(store: Store) -> None:
    store.write_now(add_destinations)

    def impatient(tx: Tx) -> None:
        tx.conn.execute(text("set local lock_timeout = 20"))
        write_error(tx, "a", "x")

    def holder(tx: Tx) -> None:
        write_error(tx, "a", "held")
        with pytest.raises(Busy, match="LockNotAvailable"):
            store.write_now(impatient)

    store.write_now(holder)
    assert store.read_now(errors) == ["held", ""]


@pytest.mark.slow
def test_of_two_who_deadlock_one_is_run_again_and_both_are_stored(store: Store) -> None:
    """40P01. PostgreSQL looks for a deadlock after a second."""
    store.write_now(add_destinations)
    tries: list[str] = []
    met = threading.Barrier(2)

    def unit(tx: Tx, first: str, second: str) -> None:
        tries.append(first)
        write_error(tx, first, f"{first} first;")
        if len(tries) <= 2:     # only the first try of each waits for the other
            met.wait(10)
        write_error(tx, second, f"{first} second;")

    at_once([lambda: store.write_now(lambda tx: unit(tx, "a", "b")), lambda: store.write_now(lambda tx: unit(tx, "b", "a"))])
    assert len(tries) == 3
    assert [sorted(found.split(";")) for found in store.read_now(errors)] == [
        ["", "a first", "b second"], ["", "a second", "b first"]]


def test_a_unit_that_cannot_be_serialised_is_run_again_and_sees_the_winner(store: Store) -> None:
    """40001."""
    store.write_now(add_destinations)
    seen: list[str] = []

    def unit(tx: Tx) -> None:
        tx.conn.execute(text("set transaction isolation level repeatable read"))
        seen.append(errors(tx)[0])
        if len(seen) == 1:
            store.write_now(lambda other: write_error(other, "a", "winner;"))
        write_error(tx, "a", "late")

    store.write_now(unit)
    assert seen == ["", "winner;"]
    assert store.read_now(errors) == ["winner;late", ""]


def hang_up(tx: Tx) -> None:
    note(tx, "never kept")
    tx.conn.execute(text("select pg_terminate_backend(pg_backend_pid())"))


def test_a_connection_that_is_cut_is_busy_and_the_next_unit_works(store: Store) -> None:
    with pytest.raises(Busy, match="AdminShutdown"):
        store.write_now(hang_up)
    with pytest.raises(Busy, match="AdminShutdown"):
        asyncio.run(store.read(hang_up))
    assert store.write_now(lambda tx: note(tx, "after")) == "after"
    assert store.read_now(notes) == ["after"]


def test_connections_that_were_cut_while_nobody_used_them_are_not_noticed(store: Store) -> None:
    """A failover, a restart: it shows at BEGIN, before anything was done."""
    def kill_others(tx: Tx) -> int:
        return int(tx.conn.execute(text("select count(pg_terminate_backend(pid)) from pg_stat_activity"
                                        " where datname = current_database() and pid <> pg_backend_pid()")).scalar_one())

    at_once([lambda: store.write_now(lambda tx: note(tx, "a"))] * 4)
    assert store.write_now(kill_others) >= 1
    at_once([lambda: store.write_now(lambda tx: note(tx, "b"))] * 4)
    assert sorted(store.read_now(notes)) == ["a"] * 4 + ["b"] * 4


@pytest.mark.parametrize("by", ["write_now", "read_now"])
def test_a_server_that_is_away_is_busy_and_its_password_is_not_told(by: str) -> None:
    store = Store(f"postgresql://hub:hunter2@127.0.0.1:{free_port()}/hub", new_id)
    with pytest.raises(Busy) as caught:
        getattr(store, by)(lambda tx: None)
    assert str(caught.value) == "database: OperationalError"
    store.close()


def test_a_value_that_no_column_can_hold_is_an_error_and_nothing_is_kept(store: Store) -> None:
    def unit(tx: Tx) -> Any:
        note(tx, "never kept")
        return note(tx, "a\x00b")

    with pytest.raises(Exception, match="NUL"):
        store.write_now(unit)
    assert store.read_now(notes) == []


def test_a_look_does_not_wait_for_a_write(store: Store) -> None:
    store.write_now(add_destinations)

    def holder(tx: Tx) -> list[str]:
        write_error(tx, "a", "not yet")
        return store.read_now(errors)

    assert store.write_now(holder) == ["", ""]
