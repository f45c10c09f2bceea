"""Opening SQLite: how it is set, and when it is refused. Units of work on either database: all, or nothing, or Busy."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from alerthub.clock import SystemClock
from alerthub.errors import AlerthubError, Busy, Conflict
from alerthub.store.address import normal_url
from alerthub.store.database import TRIES, Store, Trouble, busy_or
from alerthub.store.file import NETWORK_FILE_SYSTEMS, DatabaseInUse, Gone, file_system_of, refuse_network_file_system
from alerthub.store.schema import destinations, quarantine
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.rows import at_once, count, note, notes

new_id = SystemClock().new_id


def value(sql: str) -> Callable[[Tx], Any]:
    return lambda tx: tx.conn.execute(text(sql)).scalar_one()


# -- addresses

@pytest.mark.parametrize(("url", "normal"), [
    ("postgresql://u:p@h:5432/d?sslmode=require", "postgresql+psycopg://u:p@h:5432/d?sslmode=require"),
    ("postgres://h/d", "postgresql+psycopg://h/d"), ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
    ("postgresql://u:p%2C@a:1,b:2/d", "postgresql+psycopg://u:p%2C@/d?host=a,b&port=1,2&target_session_attrs=read-write"),
    ("postgres://a,[::1]:7/d?x=1", "postgresql+psycopg:///d?host=a,::1&port=5432,7&x=1&target_session_attrs=read-write"),
    ("postgresql://u@a,b", "postgresql+psycopg://u@/?host=a,b&port=5432,5432&target_session_attrs=read-write"),
    ("postgresql://a,b/d?target_session_attrs=primary",
     "postgresql+psycopg:///d?host=a,b&port=5432,5432&target_session_attrs=primary"),
    ("sqlite:///hub.db", "sqlite:///hub.db"), ("sqlite:////var/lib/hub.db", "sqlite:////var/lib/hub.db"),
])
def test_an_address_is_written_as_people_write_it(url: str, normal: str) -> None:
    assert normal_url(url) == normal


def test_the_address_in_a_log_has_no_password() -> None:
    store = Store("postgresql://hub:hunter2@127.0.0.1:1/d", new_id)
    assert store.public_url == "postgresql+psycopg://hub:***@127.0.0.1:1/d"
    store.close()


# -- how SQLite is set

PRAGMAS = [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000)]


@pytest.mark.parametrize(("pragma", "expected"), PRAGMAS)
def test_every_connection_is_durable_and_patient(sqlite: Store, pragma: str, expected: object) -> None:
    """PROTOCOLS 7.2: WAL, synchronous=FULL; foreign keys are off by default, per connection."""
    look = value(f"pragma {pragma}")
    held = sqlite.engine.connect()
    assert [sqlite.read_now(look), sqlite.write_now(look), asyncio.run(sqlite.write(look))] == [expected] * 3
    held.close()


def test_two_who_read_and_then_write_both_succeed(sqlite: Store) -> None:
    """BEGIN IMMEDIATE: a deferred transaction would fail with BUSY_SNAPSHOT, which no timeout helps against."""
    sqlite.write_now(lambda tx: tx.conn.execute(destinations.insert().values(
        key="k", channel="slack", free_at=SystemClock().now(), last_error="0", moved_to="")))

    def add_one(tx: Tx) -> None:
        known = int(tx.conn.execute(text("select last_error from destinations")).scalar_one())
        tx.conn.execute(update(destinations).values(last_error=str(known + 1)))

    at_once([lambda: [sqlite.write_now(add_one) for _ in range(25)]] * 4)
    assert sqlite.read_now(value("select last_error from destinations")) == "100"


def test_a_long_look_does_not_hold_up_a_write(sqlite: Store) -> None:
    def look(tx: Tx) -> tuple[int, int, int]:
        before = count(tx, quarantine)
        sqlite.write_now(lambda other: note(other, "meanwhile"))
        return before, count(tx, quarantine), sqlite.read_now(lambda other: count(other, quarantine))

    assert sqlite.read_now(look) == (0, 0, 1)


# -- when SQLite is refused

def test_a_second_hub_on_the_same_file_is_refused_in_clear_words(sqlite: Store) -> None:
    with pytest.raises(DatabaseInUse) as caught:
        Store(sqlite.url, new_id)
    assert str(caught.value) == (f"{sqlite.path} is in use by another alerthub; stop that one, or give this one another "
                                 "database.url (several replicas need PostgreSQL)")


def test_the_file_is_free_after_a_clean_end(sqlite: Store) -> None:
    sqlite.write_now(lambda tx: note(tx, "a"))
    sqlite.close()
    again = Store(sqlite.url, new_id)
    assert again.read_now(notes) == ["a"]
    again.close()


def test_another_name_of_the_same_file_is_refused_too(sqlite: Store, tmp_path: Path) -> None:
    (tmp_path / "other.db").symlink_to(sqlite.path)
    with pytest.raises(DatabaseInUse):
        Store(f"sqlite:///{tmp_path}/other.db", new_id)


HOLD = """
import sys
from alerthub.clock import SystemClock
from alerthub.store.database import Store
store = Store(sys.argv[1], SystemClock().new_id)
store.write_now(lambda tx: tx.conn.exec_driver_sql("create table held (x)"))
print("ready", flush=True)
sys.stdin.read()
"""


def test_another_process_is_refused_and_the_file_is_free_when_it_is_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.db"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(DatabaseInUse):
            Store(url, new_id)
        holder.send_signal(signal.SIGKILL)
    store = Store(url, new_id)
    assert store.read_now(value("select count(*) from held")) == 0
    store.close()


@pytest.mark.parametrize("place", ["gone/hub.db", "file/hub.db"])
def test_a_place_where_no_file_can_be_is_refused_with_the_path(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(AlerthubError, match=f"cannot open {tmp_path / place}"):
        Store(f"sqlite:///{tmp_path}/{place}", new_id)


def test_a_file_that_is_no_database_is_busy_and_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_bytes(b"a text, and long enough to be looked at" * 100)
    store = Store(f"sqlite:///{tmp_path}/hub.db", new_id)
    with pytest.raises(Busy, match="file is not a database"):
        store.write_now(lambda tx: None)
    store.close()
    assert (tmp_path / "hub.db").read_bytes().startswith(b"a text")


MOUNTS = r"""
/dev/sda1 / ext4 rw 0 0
proc /proc proc rw 0 0
server:/export /mnt/share nfs4 rw 0 0
server:/export /mnt/my\040share\134x nfs rw 0 0
/dev/sdb1 /mnt/share/local ext4 rw 0 0
systemd-1 /mnt/auto autofs rw 0 0
server:/auto /mnt/auto nfs4 rw 0 0
//nas/x /srv/cifs cifs rw 0 0
short line
"""


@pytest.mark.parametrize(("path", "kind"), [
    ("/var/lib/hub.db", "ext4"), ("/mnt/share/hub.db", "nfs4"), ("/mnt/share/deep/er/hub.db", "nfs4"),
    ("/mnt/shared/hub.db", "ext4"), ("/mnt/share/local/hub.db", "ext4"), ("/srv/cifs", "cifs"),
    ("/mnt/my share\\x/hub.db", "nfs"),       # blanks and backslashes are written as octal numbers there
    ("/mnt/auto/hub.db", "nfs4"),             # of two on one place, the later one is seen
])
def test_which_file_system_a_path_lies_on(tmp_path: Path, path: str, kind: str) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    assert file_system_of(Path(path), tmp_path / "mounts") == kind


def test_a_link_lies_where_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(f"x / ext4 rw 0 0\nserver:/ {tmp_path}/share nfs rw 0 0\n")
    (tmp_path / "share").mkdir()
    (tmp_path / "hub.db").symlink_to(tmp_path / "share/hub.db")
    assert file_system_of(tmp_path / "hub.db", tmp_path / "mounts") == "nfs"


def test_without_a_list_of_mounts_nothing_is_known(tmp_path: Path) -> None:
    assert file_system_of(Path("/x"), tmp_path / "gone") == ""
    (tmp_path / "mounts").write_text("")
    assert file_system_of(Path("/x"), tmp_path / "mounts") == ""


@pytest.mark.parametrize("kind", sorted(NETWORK_FILE_SYSTEMS))
def test_a_file_on_a_network_file_system_is_refused(tmp_path: Path, kind: str) -> None:
    """PROTOCOLS 7.2: WAL needs shared memory of one host."""
    (tmp_path / "mounts").write_text(f"x / {kind} rw 0 0\n")
    with pytest.raises(DatabaseInUse, match=rf"/x/hub\.db lies on a network file system \({kind}\)"):
        refuse_network_file_system(Path("/x/hub.db"), tmp_path / "mounts")


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "overlay", "tmpfs", "apfs"])
def test_a_file_on_a_local_disk_is_taken(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mounts").write_text(f"x / {kind} rw 0 0\n")
    refuse_network_file_system(Path("/x/hub.db"), tmp_path / "mounts")


def test_a_database_in_memory_needs_no_file() -> None:
    store = Store("sqlite://", new_id)
    assert (store.path, store.lock) == ("", None)
    store.close()


# -- a unit of work, on either database

def test_a_unit_is_stored_when_it_returns_and_not_before(store: Store) -> None:
    def unit(tx: Tx) -> int:
        note(tx, "a")
        return store.read_now(lambda other: count(other, quarantine))

    assert store.write_now(unit) == 0
    assert store.read_now(notes) == ["a"]


@pytest.mark.parametrize("by", ["write_now", "write"])
def test_a_unit_that_raises_leaves_nothing_and_its_error_is_its_own(store: Store, by: str) -> None:
    def unit(tx: Tx) -> None:
        note(tx, "never kept")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        store.write_now(unit) if by == "write_now" else asyncio.run(store.write(unit))
    assert store.read_now(notes) == []


def test_a_look_keeps_nothing(store: Store) -> None:
    assert store.read_now(lambda tx: note(tx, "never kept")) == "never kept"
    assert store.read_now(notes) == []


def test_a_look_sees_one_moment(store: Store) -> None:
    """What a message is made of is read by several statements: they must agree."""
    def look(tx: Tx) -> list[int]:
        seen = [count(tx, quarantine)]
        store.write_now(lambda other: note(other, "meanwhile"))
        return [*seen, count(tx, quarantine)]

    assert store.read_now(look) == [0, 0]
    assert asyncio.run(store.read(notes)) == ["meanwhile"]


def test_a_unit_is_run_again_after_a_conflict_and_sees_the_winner(store: Store) -> None:
    seen: list[list[str]] = []

    def unit(tx: Tx) -> str:
        seen.append(notes(tx))
        if len(seen) < 3:
            raise Conflict("somebody was first")
        return note(tx, "done")

    store.write_now(lambda tx: note(tx, "winner"))
    assert store.write_now(unit) == "done"
    assert seen == [["winner"]] * 3
    assert store.read_now(notes) == ["winner", "done"]


def test_a_unit_that_always_conflicts_is_busy_in_the_end(store: Store) -> None:
    tries: list[int] = []

    def unit(tx: Tx) -> None:
        tries.append(1)
        raise Conflict("somebody was first")

    with pytest.raises(Busy, match="same rows"):
        store.write_now(unit)
    assert len(tries) == TRIES


def test_a_race_for_a_unique_row_is_run_again_and_a_lasting_one_is_an_error(store: Store) -> None:
    tries: list[int] = []

    def unit(tx: Tx, heals: bool) -> str:
        tries.append(1)
        if heals and len(tries) == 3:
            return note(tx, "done")
        for _ in range(2):
            tx.conn.execute(text("insert into leaders (name, owner, until) values ('x', 'y', 0)"))
        return ""

    assert store.write_now(lambda tx: unit(tx, heals=True)) == "done"
    assert len(tries) == 3
    with pytest.raises(IntegrityError):
        store.write_now(lambda tx: unit(tx, heals=False))


WRONG = ["select * from nowhere", "selec 1", "select no_such_column from incidents",
         "insert into incidents (number) values ('x', 1)"]


@pytest.mark.parametrize("by", ["write_now", "read_now", "write", "read"])
def test_a_mistake_in_a_statement_is_an_error_not_busy(store: Store, by: str) -> None:
    """Busy is answered 503 and tried again; what can never work must be seen."""
    for sql in WRONG:
        def unit(tx: Tx, sql: str = sql) -> None:
            tx.conn.exec_driver_sql(sql)

        with pytest.raises(DBAPIError):
            getattr(store, by)(unit) if by.endswith("_now") else asyncio.run(getattr(store, by)(unit))
    assert store.write_now(lambda tx: note(tx, "after")) == "after"


def test_a_pool_without_a_free_connection_is_busy() -> None:
    assert isinstance(busy_or(PoolTimeout("QueuePool limit of size 4 overflow 2 reached")), Busy)


@pytest.mark.parametrize("code", ["SQLITE_BUSY", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_READONLY",
                                  "SQLITE_BUSY_SNAPSHOT", "SQLITE_IOERR_WRITE"])
def test_sqlites_trouble_with_disk_and_locks_is_busy(code: str) -> None:
    original = sqlite3.OperationalError("trouble")
    original.sqlite_errorcode = getattr(sqlite3, code)
    assert isinstance(busy_or(DBAPIError("statement", {}, original)), Busy)


def test_many_tasks_write_and_read_at_once(store: Store) -> None:
    async def everything() -> list[str]:
        await asyncio.gather(*[store.write(lambda tx, word=f"n{number}": note(tx, word)) for number in range(20)],
                             *[store.read(notes) for _ in range(10)])
        return await store.read(notes)

    assert sorted(asyncio.run(everything())) == sorted(f"n{number}" for number in range(20))


def test_closing_waits_for_what_is_under_way(store: Store) -> None:
    entered, opened = threading.Event(), threading.Event()

    def unit(tx: Tx) -> str:
        entered.set()
        assert opened.wait(10)
        return note(tx, "a")

    async def write_and_close() -> str:
        writing = asyncio.create_task(store.write(unit))
        assert await asyncio.to_thread(entered.wait, 10)
        closing = asyncio.create_task(asyncio.to_thread(store.close))
        opened.set()
        await closing
        return await writing

    assert asyncio.run(write_and_close()) == "a"


def test_the_lock_file_stays_and_holds_nothing(sqlite: Store) -> None:
    """Removing it would let two hubs lock two files of one name."""
    sqlite.close()
    assert os.path.getsize(f"{sqlite.path}.lock") == 0


# -- a file that goes away, a disk that is full

GONE = "the database file is gone; stop the hub, restore it"


def taken_away(store: Store, how: str) -> None:
    path = Path(store.path)
    if how == "deleted":
        path.unlink()
    else:
        (path.parent / "copy.db").write_bytes(path.read_bytes())
        (path.parent / "copy.db").replace(path)


@pytest.mark.parametrize("how", ["deleted", "replaced"])
@pytest.mark.parametrize("by", ["write_now", "read_now", "write", "read"])
def test_a_file_that_is_no_longer_at_its_path_is_busy(sqlite: Store, how: str, by: str) -> None:
    """What is written into an unlinked file is lost, so nobody may be told that it is stored."""
    def attempt() -> Any:
        return getattr(sqlite, by)(notes) if by.endswith("_now") else asyncio.run(getattr(sqlite, by)(notes))

    sqlite.write_now(lambda tx: note(tx, "a"))
    assert attempt() == ["a"]
    taken_away(sqlite, how)
    for _ in range(3):
        with pytest.raises(Gone, match=GONE):
            attempt()
    assert Path(sqlite.path).exists() == (how == "replaced")       # no empty one is made in its place


def test_a_new_connection_makes_no_empty_file_in_place_of_the_lost_one(sqlite: Store) -> None:
    sqlite.write_now(notes)
    Path(sqlite.path).unlink()
    sqlite.engine.dispose()
    with pytest.raises(Gone):
        sqlite.read_now(notes)
    assert not Path(sqlite.path).exists()


def test_those_who_wait_together_are_all_told_that_the_file_is_gone(sqlite: Store) -> None:
    async def everything() -> list[Any]:
        await sqlite.write(lambda tx: note(tx, "a"))
        Path(sqlite.path).unlink()
        return await asyncio.gather(*[sqlite.write(notes) for _ in range(20)], return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(everything())] == [Gone] * 20


def overflow(tx: Tx) -> str:
    """As on a full disk: no page can be added. The writer lets go of the connection, and so of the limit."""
    tx.conn.exec_driver_sql("PRAGMA max_page_count=1").close()
    return note(tx, "too much", 1 << 20)


@pytest.mark.anyio
async def test_writes_that_fail_are_known_with_their_beginning_until_one_succeeds(sqlite: Store) -> None:
    moments = iter([START, START + timedelta(minutes=1)])
    sqlite.now = lambda: next(moments)
    await sqlite.write(lambda tx: note(tx, "a"))
    assert sqlite.trouble is None
    for _ in range(2):
        with pytest.raises(Busy):
            await sqlite.write(overflow)
        assert sqlite.trouble == Trouble(START, "database: database or disk is full")
        assert await sqlite.write(notes) == ["a"]       # it changes nothing, so it says nothing
        assert sqlite.trouble is not None
    assert await sqlite.write(lambda tx: note(tx, "b", 1 << 20)) == "b"
    assert sqlite.trouble is None


def test_a_write_on_either_database_ends_the_trouble(store: Store) -> None:
    store.trouble = Trouble(START, "database: away")
    asyncio.run(store.write(lambda tx: note(tx, "a")))
    assert store.trouble is None
