"""Opening the database and running units of work in it. Which SQL a unit runs is not here.

A unit is a plain function of a `Tx`; it may be run more than once (a conflict, a deadlock, a neighbour's failure), so it
has no effect but through its transaction.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from alerthub.clock import SystemClock
from alerthub.errors import Busy, Conflict
from alerthub.store.address import Hosts, normal_url
from alerthub.store.calls import Caller, Line
from alerthub.store.commits import BEGIN, Commits, begun
from alerthub.store.file import Presence, lock_file
from alerthub.store.lineage import Lineage, doubt
from alerthub.store.tx import LOCKED, Brief, InTurn, Locked, Tx, Urgent, is_away, patience_of
from alerthub.store.writer import Writer

T = TypeVar("T")
Unit = Callable[[Tx], T]
logger = logging.getLogger("alerthub.store")

TRIES = 12                              # of one unit after conflicts and deadlocks
AGAIN = frozenset({"40001", "40P01"})   # serialization_failure, deadlock_detected: retry the whole transaction
READ_ONLY = "25006"                     # read_only_sql_transaction
BUSY_MILLISECONDS = 5000
POOL = 4
STATEMENT_SECONDS = 30
CONNECT_SECONDS = 3     # for each host that the address names
READING = "BEGIN ISOLATION LEVEL REPEATABLE READ"       # by default every statement would see its own moment
# A connection whose other end is gone without a word is given up after about 15 s.
KEEP_ALIVE = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}
WAL_RESET_FIXED = (3, 51, 3)            # PROTOCOLS 7.2: older ones can lose pages between connections


@dataclass(frozen=True, slots=True)
class Trouble:
    """Since when nothing can be written, and what the last write met."""

    since: datetime
    word: str


class Store:
    """The database of one hub. `write` and `read` may be awaited by any number of tasks. `trouble` is None while writes
    succeed. `caller` tells other replicas on one PostgreSQL of work; those of commands have no name."""

    def __init__(self, url: str, new_id: Callable[[], str], now: Callable[[], datetime] | None = None,
                 caller: Caller | None = None) -> None:
        self.url = normal_url(url)
        self.new_id = new_id
        self.caller = caller or Caller("", SystemClock().monotonic)
        self.now = now or SystemClock().now
        self.trouble: Trouble | None = None
        self.is_sqlite = self.url.startswith("sqlite")
        self.lock: IO[str] | None = None
        self.lineage, self.hosts = Lineage(), Hosts()
        self.commits: Commits | None = None
        if self.is_sqlite:
            self.lock = lock_file(self.path)
            self.engine = sqlite_engine(self.url, Presence(self.path))
            self.writer: Writer | None = Writer(self._begin)
            self.pool = ThreadPoolExecutor(2, "alerthub-read")
            self.first = self.turns = self.pool
        else:
            self.engine = postgres_engine(self.url, self.hosts, self.lineage)
            self.writer, self.commits = None, Commits()
            self.pool = ThreadPoolExecutor(POOL, "alerthub-db")
            self.first, self.turns = ThreadPoolExecutor(1, "alerthub-first"), ThreadPoolExecutor(1, "alerthub-turn")

    @property
    def path(self) -> str:
        """The SQLite file; empty for one in memory or for PostgreSQL."""
        database = make_url(self.url).database or ""
        return "" if not self.is_sqlite or database in ("", ":memory:") else database

    @property
    def public_url(self) -> str:
        """The address without its password, for logs."""
        return make_url(self.url).render_as_string(hide_password=True).replace("%2C", ",")

    def _begin(self) -> tuple[Connection, Tx]:
        conn = self.engine.connect()
        return conn, Tx(conn, self.new_id)

    async def write(self, unit: Unit[T]) -> T:
        """Run in a transaction and return after COMMIT. Raises Busy when the database cannot take it now."""
        pool = self.first if isinstance(unit, Urgent) else self.turns if isinstance(unit, InTurn) else self.pool
        try:
            if self.trouble is None:
                return await self._write(unit, pool)
            result, has_written = await self._write(noticing(unit), pool)
        except Locked:
            raise
        except Busy as error:
            self.trouble = Trouble(self.trouble.since if self.trouble else self.now(), str(error))
            raise
        if has_written:
            self.trouble = None
        return result

    async def _write(self, unit: Unit[T], pool: ThreadPoolExecutor) -> T:
        if self.writer is not None:
            return await self.writer.run(unit)
        return await asyncio.get_running_loop().run_in_executor(pool, self.write_now, unit)

    async def read(self, unit: Unit[T]) -> T:
        """Run in a transaction that sees one moment and is not kept. Raises Busy."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, self.read_now, unit)

    def write_now(self, unit: Unit[T]) -> T:
        """The same without a loop: commands and tests. A conflict, deadlock or serialization failure runs it again."""
        patience = patience_of(unit)
        begin = "BEGIN" if patience is None or self.is_sqlite else f"BEGIN; SET LOCAL lock_timeout = {patience:d}"
        for left in reversed(range(TRIES)):
            try:
                with begun(self.engine, begin, self.commits) as conn:
                    changes = self.lineage.changes
                    result = self._run(unit, Tx(conn, self.new_id))
                self.lineage.doubted = max(changes, self.lineage.doubted)
                return result
            except Conflict:
                if not left:
                    raise Busy("other replicas keep changing the same rows") from None
            except SQLAlchemyError as error:
                if not (left and is_retryable(error)):
                    raise busy_or(error) from error
        raise AssertionError("unreachable")

    def _run(self, unit: Unit[T], tx: Tx) -> T:
        """The unit; and, as a part of the transaction, the call to the other replicas when it has made work due."""
        if self.lineage.changes > self.lineage.doubted:
            doubt(tx)
        result = unit(tx)
        if tx.has_work and tx.is_postgres:
            self.caller.call(tx)
        return result

    def read_now(self, unit: Unit[T]) -> T:
        try:
            with begun(self.engine, READING) as conn:
                result = unit(Tx(conn, self.new_id))
                conn.rollback()
                return result
        except SQLAlchemyError as error:
            raise busy_or(error) from error

    def line(self) -> Line:
        """A connection of its own to hear other replicas on; PostgreSQL only. Blocks. Raises Busy."""
        return Line(postgres_engine(self.url, self.hosts, poolclass=NullPool))

    def close(self) -> None:
        """Finish what is queued, then let go of the file."""
        if self.writer is not None:
            self.writer.close()
        self.pool.shutdown(wait=True)
        self.first.shutdown(wait=True)
        self.turns.shutdown(wait=True)
        self.engine.dispose()
        if self.commits is not None:
            self.commits.close()
        if self.lock is not None:
            self.lock.close()


def noticing(unit: Unit[T]) -> Unit[tuple[T, bool]]:
    """Also whether it has written: on a full disk, what changes nothing still succeeds."""
    def noticed(tx: Tx) -> tuple[T, bool]:
        before = changes(tx)
        result = unit(tx)
        return result, tx.is_postgres or changes(tx) > before
    patience = patience_of(unit)
    return noticed if patience is None else Brief(noticed, patience)


def changes(tx: Tx) -> int:
    return 0 if tx.is_postgres else int(getattr(tx.conn.connection.driver_connection, "total_changes", 0))


def is_retryable(error: SQLAlchemyError) -> bool:
    """A deadlock, a serialization failure, or a race for a unique row: the same unit will see the winner next time."""
    if isinstance(error, IntegrityError):
        return True
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state in AGAIN


def busy_or(error: SQLAlchemyError) -> Exception:
    """Busy for a database that is away, full or locked; the error itself when the statement is what is wrong."""
    original = getattr(error, "orig", None)
    name = type(original).__name__ if original is not None else type(error).__name__
    if isinstance(error, IntegrityError) or not isinstance(error, DBAPIError):
        return Busy(f"database: {name}") if type(error).__name__ == "TimeoutError" else error
    if isinstance(original, sqlite3.Error):
        return Busy(f"database: {original}") if is_away(original) else error
    if getattr(original, "sqlstate", None) == LOCKED:
        return Locked(f"database: {name}")
    if type(error).__name__ in ("OperationalError", "InterfaceError", "InternalError"):
        return Busy(f"database: {name}")
    return error


def sqlite_engine(url: str, presence: Presence) -> Engine:
    """WAL, synchronous=FULL, foreign keys; writers begin with BEGIN IMMEDIATE (PROTOCOLS 7.2, R-61)."""
    engine = create_engine(url, connect_args={"timeout": BUSY_MILLISECONDS / 1000, "check_same_thread": False})
    if sqlite3.sqlite_version_info < WAL_RESET_FIXED:
        logger.info("SQLite %s is older than 3.51.3; the hub keeps to one writing connection", sqlite3.sqlite_version,
                    extra={"event": "sqlite.old"})

    @event.listens_for(engine, "do_connect")
    def before_connect(*_: Any) -> None:
        presence.check()        # or SQLite would make an empty file in its place

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MILLISECONDS}"):
            connection.execute(f"PRAGMA {pragma}")
        presence.remember()

    @event.listens_for(engine, "begin")
    def on_begin(conn: Connection) -> None:
        presence.check()
        conn.exec_driver_sql("BEGIN" if conn.get_execution_options().get(BEGIN) == READING else "BEGIN IMMEDIATE")

    return engine


def postgres_engine(url: str, hosts: Hosts | None = None, lineage: Lineage | None = None, **options: Any) -> Engine:
    """Timeouts on every connection, so that no statement holds a room for ever (R-62). The driver itself begins no transaction:
    it would take one more round trip than to say it all at once."""
    places = hosts or Hosts()
    seconds = STATEMENT_SECONDS * 1000
    limits = f"-c statement_timeout={seconds} -c lock_timeout={seconds // 3} -c idle_in_transaction_session_timeout={seconds}"
    pooled = options or {"pool_size": POOL, "max_overflow": 2, "pool_timeout": 5, "pool_recycle": 1800}
    engine = create_engine(
        url, **pooled, isolation_level="AUTOCOMMIT",
        connect_args={"options": limits, "connect_timeout": CONNECT_SECONDS, "application_name": "alerthub", **KEEP_ALIVE},
    )

    @event.listens_for(engine, "do_connect")
    def connected(dialect: Any, _record: Any, args: Sequence[Any], parameters: dict[str, Any]) -> Any:
        return dialect.connect(*args, **places.arranged(parameters))

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        places.found(connection.info.host, connection.info.port)
        if lineage is not None:
            lineage.look(connection, engine.dialect.loaded_dbapi.Error)

    @event.listens_for(engine, "handle_error")
    def on_error(context: Any) -> None:
        # One that was made a standby while the connection stayed: whoever takes writes now is found by the next one.
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
            context.is_disconnect = True

    @event.listens_for(engine, "begin")
    def on_begin(conn: Connection) -> None:
        # Without parameters the driver takes several statements at once.
        words = conn.get_execution_options().get(BEGIN, "BEGIN")
        conn.exec_driver_sql(words, execution_options={"no_parameters": True})

    return engine
