"""SQLite's one writer: what waits together is committed together, and yet every unit stands or falls alone."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import IntegrityError, OperationalError

from alerthub.errors import Busy, Conflict
from alerthub.store.database import Store
from alerthub.store.tx import Tx
from alerthub.store.writer import TOGETHER, WAITING, Writer
from tests.kit.rows import note, notes

pytestmark = pytest.mark.anyio


class Gate:
    """A unit that keeps the writer busy until it is opened, so that what comes next waits together."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, tx: Tx) -> str:
        self.entered.set()
        assert self.opened.wait(10)
        return note(tx, "gate")


@contextlib.asynccontextmanager
async def held(writer: Writer) -> AsyncIterator[Gate]:
    """Inside, the writer works on the gate; at the end it is opened and everything is written."""
    gate = Gate()
    first = asyncio.create_task(writer.run(gate))
    assert await asyncio.to_thread(gate.entered.wait, 10)
    try:
        yield gate
    finally:
        gate.opened.set()
        await first


@pytest.fixture
def writer(sqlite: Store) -> Writer:
    assert sqlite.writer is not None
    return sqlite.writer


@pytest.fixture
def commits(sqlite: Store) -> list[Connection]:
    """Grows by one with every COMMIT."""
    done: list[Connection] = []

    @event.listens_for(sqlite.engine, "commit")
    def on_commit(conn: Connection) -> None:
        done.append(conn)

    return done


def writes(word: str, size: int = 0) -> Callable[[Tx], str]:
    return lambda tx: note(tx, word, size)


async def queued(writer: Writer, *units: Callable[[Tx], Any]) -> list[asyncio.Task[Any]]:
    """Tasks whose units are in the queue now."""
    tasks = [asyncio.create_task(writer.run(unit)) for unit in units]
    await asyncio.sleep(0)
    return tasks


# -- together

async def test_units_that_wait_together_share_one_commit(writer: Writer, sqlite: Store, commits: list[Connection]) -> None:
    async with held(writer):
        tasks = await queued(writer, *[writes(f"n{number}") for number in range(50)])
    assert await asyncio.gather(*tasks) == [f"n{number}" for number in range(50)]
    assert len(commits) == 2
    assert sqlite.read_now(notes) == ["gate", *[f"n{number}" for number in range(50)]]


async def test_no_commit_holds_more_than_its_share(writer: Writer, commits: list[Connection]) -> None:
    async with held(writer):
        tasks = await queued(writer, *[writes("n")] * (TOGETHER * 2 + 1))
    await asyncio.gather(*tasks)
    assert len(commits) == 1 + 3


async def test_a_unit_alone_is_committed_when_its_caller_hears_of_it(writer: Writer, sqlite: Store,
                                                                      commits: list[Connection]) -> None:
    for number in range(3):
        await writer.run(writes(f"n{number}"))
        assert len(commits) == number + 1
        assert sqlite.read_now(notes)[-1] == f"n{number}"


async def test_each_caller_gets_its_own_result_in_the_order_of_asking(writer: Writer) -> None:
    seen: list[int] = []

    def unit(number: int) -> Callable[[Tx], int]:
        return lambda tx: seen.append(number) or number * number

    async with held(writer):
        tasks = await queued(writer, *map(unit, range(30)))
    assert await asyncio.gather(*tasks) == [number * number for number in range(30)]
    assert seen == list(range(30))


async def test_a_unit_sees_what_its_neighbours_wrote_before_it(writer: Writer) -> None:
    async with held(writer):
        tasks = await queued(writer, writes("a"), notes, writes("b"), notes)
    assert await asyncio.gather(*tasks) == ["a", ["gate", "a"], "b", ["gate", "a", "b"]]


# -- alone

def breaks(error: BaseException) -> Callable[[Tx], Any]:
    def unit(tx: Tx) -> Any:
        note(tx, "never kept")
        raise error
    return unit


def breaks_uniqueness(tx: Tx) -> None:
    for _ in range(2):
        tx.conn.execute(text("insert into leaders (name, owner, until) values ('x', 'y', 0)"))


FAILURES = [
    ("its own error", breaks(KeyError("mine")), KeyError),
    ("a conflict", breaks(Conflict("somebody was first")), Busy),
    ("Busy of its own", breaks(Busy("not now")), Busy),
    ("a row that is there already", breaks_uniqueness, IntegrityError),
    ("a mistake in its SQL", lambda tx: tx.conn.execute(text("select * from nowhere")), OperationalError),
    ("an iterator that ended", lambda tx: next(iter(())), RuntimeError),
]


@pytest.mark.parametrize(("unit", "error"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES])
async def test_one_that_fails_does_not_take_its_neighbours_with_it(
        writer: Writer, sqlite: Store, unit: Callable[[Tx], Any], error: type[Exception]) -> None:
    async with held(writer):
        tasks = await queued(writer, writes("a"), unit, writes("b"))
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert (results[0], type(results[1]), results[2]) == ("a", error, "b")
    assert sqlite.read_now(notes) == ["gate", "a", "b"]


@pytest.mark.parametrize(("unit", "error"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES])
async def test_one_that_fails_alone_leaves_nothing_and_the_next_one_works(
        writer: Writer, sqlite: Store, unit: Callable[[Tx], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await asyncio.wait_for(writer.run(unit), 10)
    assert await writer.run(writes("after")) == "after"
    assert sqlite.read_now(notes) == ["after"]


async def test_all_may_fail_at_once_and_each_hears_its_own_error(writer: Writer) -> None:
    async with held(writer):
        tasks = await queued(writer, *[breaks(KeyError(number)) for number in range(5)])
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [error.args for error in results] == [(number,) for number in range(5)]


# -- giving up, and too much

async def test_a_caller_that_has_given_up_is_not_served(writer: Writer, sqlite: Store) -> None:
    async with held(writer):
        tasks = await queued(writer, writes("a"), writes("given up"), writes("b"))
        tasks[1].cancel()
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert sqlite.read_now(notes) == ["gate", "a", "b"]


async def test_when_everybody_has_given_up_nothing_is_committed(writer: Writer, commits: list[Connection]) -> None:
    async with held(writer):
        tasks = await queued(writer, writes("a"), writes("b"))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert await writer.run(notes) == ["gate"]
    assert len(commits) == 2        # the gate and the look afterwards


async def test_beyond_the_queues_limit_the_answer_is_busy_at_once(writer: Writer) -> None:
    async with held(writer):
        tasks = await queued(writer, *[lambda tx: None] * WAITING)
        with pytest.raises(Busy, match="too many writes"):
            await writer.run(lambda tx: None)
        assert not any(task.done() for task in tasks)
    await asyncio.gather(*tasks)
    assert await writer.run(writes("after")) == "after"


# -- the end

async def test_closing_finishes_what_is_queued_and_takes_no_more(sqlite: Store) -> None:
    writer = Writer(sqlite._begin)
    async with held(writer) as gate:
        tasks = await queued(writer, *[writes(f"n{number}") for number in range(100)])
        closing = asyncio.create_task(asyncio.to_thread(writer.close))
        while not writer.is_closed:
            await asyncio.sleep(0)
        with pytest.raises(Busy, match="stopping"):
            await writer.run(writes("too late"))
        gate.opened.set()
    await closing
    assert len(await asyncio.gather(*tasks)) == 100
    assert not writer.thread.is_alive()
    assert len(sqlite.read_now(notes)) == 101


def test_a_caller_whose_loop_has_ended_harms_nobody(sqlite: Store) -> None:
    writer, gate = Writer(sqlite._begin), Gate()

    async def leave() -> None:
        waiting = asyncio.create_task(writer.run(gate))
        assert await asyncio.to_thread(gate.entered.wait, 10)
        waiting.cancel()

    asyncio.run(leave())
    gate.opened.set()
    assert asyncio.run(writer.run(writes("after"))) == "after"
    writer.close()


# -- the connection

class Begun:
    """Opens connections as the store does, and keeps which ones they were."""

    def __init__(self, store: Store) -> None:
        self.store, self.connections = store, list[Any]()

    def __call__(self) -> tuple[Connection, Tx]:
        conn, tx = self.store._begin()
        self.connections.append(conn.connection.dbapi_connection)
        return conn, tx


async def test_the_connection_is_kept_until_a_database_error_and_then_another_one(sqlite: Store) -> None:
    begun = Begun(sqlite)
    writer = Writer(begun)
    for unit in (writes("a"), breaks(KeyError("mine")), writes("b")):
        await asyncio.gather(writer.run(unit), return_exceptions=True)
    assert len(begun.connections) == 1
    with pytest.raises(OperationalError):
        await writer.run(lambda tx: tx.conn.execute(text("select * from nowhere")))
    await writer.run(writes("c"))
    assert len(begun.connections) == 2
    assert begun.connections[0] is not begun.connections[1]
    await asyncio.to_thread(writer.close)


async def test_a_database_that_cannot_be_opened_is_busy_and_comes_back(sqlite: Store) -> None:
    broken = [True]

    def begin() -> tuple[Connection, Tx]:
        if broken:
            sqlite3.connect("/proc/no/such/folder/hub.db")
        return sqlite._begin()

    def translated_begin() -> tuple[Connection, Tx]:
        try:
            return begin()
        except sqlite3.OperationalError as error:
            raise OperationalError("connect", {}, error) from error

    writer = Writer(translated_begin)
    with pytest.raises(Busy, match="unable to open database file"):
        await writer.run(writes("a"))
    broken.clear()
    assert await writer.run(writes("b")) == "b"
    await asyncio.to_thread(writer.close)


async def test_a_full_disk_is_busy_for_what_does_not_fit_and_is_recovered_from(sqlite: Store) -> None:
    pages = [0]

    def limit(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute(f"pragma max_page_count={pages[0] or 2**30}")

    event.listen(sqlite.engine, "connect", limit)
    pages[0] = sqlite.read_now(lambda tx: tx.conn.execute(text("pragma page_count")).scalar_one()) + 10
    sqlite.engine.dispose()
    writer = Writer(sqlite._begin)
    async with held(writer):
        tasks = await queued(writer, writes("small"), writes("large", 250_000), writes("small too"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["small", "database: database or disk is full", "small too"]
    assert isinstance(results[1], Busy)
    with pytest.raises(Busy, match="full"):
        await writer.run(writes("large again", 250_000))
    pages[0] = 0        # somebody made room
    assert await writer.run(writes("large", 250_000)) == "large"
    await asyncio.to_thread(writer.close)
    assert sqlite.read_now(notes) == ["gate", "small", "small too", "large"]
    assert sqlite.read_now(lambda tx: tx.conn.execute(text("pragma integrity_check")).scalar_one()) == "ok"


async def test_another_process_that_holds_the_file_makes_us_wait_and_then_busy(sqlite: Store) -> None:
    """A backup, or somebody's shell: the file's own lock, not ours."""
    def impatient(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute("pragma busy_timeout=10")

    event.listen(sqlite.engine, "connect", impatient)
    sqlite.engine.dispose()
    writer = Writer(sqlite._begin)
    with contextlib.closing(sqlite3.connect(sqlite.path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(Busy, match="locked"):
            await writer.run(writes("a"))
        other.execute("rollback")
    assert await writer.run(writes("b")) == "b"
    await asyncio.to_thread(writer.close)
    assert sqlite.read_now(notes) == ["b"]


