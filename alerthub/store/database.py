"""Opening the database and running units of work in it. Which SQL a unit runs is not here.

A unit is a plain function of a `Tx`; it may be run more than once (a conflict, a deadlock, a neighbour's failure), so it
has no effect but through its transaction.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError

from alerthub.errors import AlerthubError, Busy, Conflict
from alerthub.store.tx import Tx, is_away
from alerthub.store.writer import Writer

T = TypeVar("T")
Unit = Callable[[Tx], T]
logger = logging.getLogger("alerthub.store")

TRIES = 12                              # of one unit after conflicts and deadlocks
AGAIN = frozenset({"40001", "40P01"})   # serialization_failure, deadlock_detected: retry the whole transaction
BUSY_MILLISECONDS = 5000
POOL = 4
STATEMENT_SECONDS = 30
# A connection whose other end is gone without a word is given up after about 15 s.
KEEP_ALIVE = {"keepalives": 1, "keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}
WAL_RESET_FIXED = (3, 51, 3)            # PROTOCOLS 7.2: older ones can lose pages between connections
MOUNTS = Path("/proc/self/mounts")
NETWORK_FILE_SYSTEMS = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs",
    "fuse.sshfs", "fuse.glusterfs", "fuse.ceph-fuse", "fuse.s3fs", "fuse.rclone",
})


class DatabaseInUse(AlerthubError):
    """Another process holds this SQLite file."""


class Store:
    """The database of one hub. `write` and `read` may be awaited by any number of tasks."""

    def __init__(self, url: str, new_id: Callable[[], str]) -> None:
        self.url = normal_url(url)
        self.new_id = new_id
        self.is_sqlite = self.url.startswith("sqlite")
        self.lock: IO[str] | None = None
        self.reading: dict[str, Any]
        if self.is_sqlite:
            self.lock = lock_file(self.path)
            self.engine = sqlite_engine(self.url)
            self.reading = {"alerthub_readonly": True}
            self.writer: Writer | None = Writer(self._begin)
            self.pool = ThreadPoolExecutor(2, "alerthub-read")
        else:
            self.engine = postgres_engine(self.url)
            self.reading = {"isolation_level": "REPEATABLE READ"}   # by default every statement would see its own moment
            self.writer = None
            self.pool = ThreadPoolExecutor(POOL, "alerthub-db")

    @property
    def path(self) -> str:
        """The SQLite file; empty for one in memory or for PostgreSQL."""
        database = make_url(self.url).database or ""
        return "" if not self.is_sqlite or database in ("", ":memory:") else database

    @property
    def public_url(self) -> str:
        """The address without its password, for logs."""
        return make_url(self.url).render_as_string(hide_password=True)

    def _begin(self) -> tuple[Connection, Tx]:
        conn = self.engine.connect()
        return conn, Tx(conn, self.new_id)

    async def write(self, unit: Unit[T]) -> T:
        """Run in a transaction and return after COMMIT. Raises Busy when the database cannot take it now."""
        if self.writer is not None:
            return await self.writer.run(unit)
        return await asyncio.get_running_loop().run_in_executor(self.pool, self.write_now, unit)

    async def read(self, unit: Unit[T]) -> T:
        """Run in a transaction that sees one moment and is not kept. Raises Busy."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, self.read_now, unit)

    def write_now(self, unit: Unit[T]) -> T:
        """The same without a loop: commands and tests. A conflict, deadlock or serialization failure runs it again."""
        for left in reversed(range(TRIES)):
            try:
                with self.engine.begin() as conn:
                    return unit(Tx(conn, self.new_id))
            except Conflict:
                if not left:
                    raise Busy("other replicas keep changing the same rows") from None
            except SQLAlchemyError as error:
                if not (left and is_retryable(error)):
                    raise busy_or(error) from error
        raise AssertionError("unreachable")

    def read_now(self, unit: Unit[T]) -> T:
        try:
            with self.engine.connect().execution_options(**self.reading) as conn:
                return unit(Tx(conn, self.new_id))
        except SQLAlchemyError as error:
            raise busy_or(error) from error

    def close(self) -> None:
        """Finish what is queued, then let go of the file."""
        if self.writer is not None:
            self.writer.close()
        self.pool.shutdown(wait=True)
        self.engine.dispose()
        if self.lock is not None:
            self.lock.close()


def password_of(url: str) -> str:
    """The password in a database address; empty without one. ValueError, which never repeats it, for what is no address."""
    try:
        return str(make_url(normal_url(url)).password or "")
    except (ArgumentError, ValueError):
        raise ValueError("not a database address") from None


def normal_url(url: str) -> str:
    """`postgresql://…` means psycopg 3; `sqlite:///relative.db` stays as it is."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


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
    if type(error).__name__ in ("OperationalError", "InterfaceError", "InternalError"):
        return Busy(f"database: {name}")
    return error


def sqlite_engine(url: str) -> Engine:
    """WAL, synchronous=FULL, foreign keys; writers begin with BEGIN IMMEDIATE (PROTOCOLS 7.2, R-61)."""
    engine = create_engine(url, connect_args={"timeout": BUSY_MILLISECONDS / 1000, "check_same_thread": False})
    if sqlite3.sqlite_version_info < WAL_RESET_FIXED:
        logger.info("SQLite %s is older than 3.51.3; the hub keeps to one writing connection", sqlite3.sqlite_version,
                    extra={"event": "sqlite.old"})

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MILLISECONDS}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(conn: Connection) -> None:
        readonly = conn.get_execution_options().get("alerthub_readonly")
        conn.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    return engine


def postgres_engine(url: str) -> Engine:
    """Timeouts on every connection, so that no statement holds a room for ever (R-62)."""
    seconds = STATEMENT_SECONDS * 1000
    options = f"-c statement_timeout={seconds} -c lock_timeout={seconds // 3} -c idle_in_transaction_session_timeout={seconds}"
    return create_engine(
        url, pool_size=POOL, max_overflow=2, pool_timeout=5, pool_pre_ping=True, pool_recycle=1800,
        connect_args={"options": options, "connect_timeout": 5, "application_name": "alerthub", **KEEP_ALIVE},
    )


def lock_file(path: str) -> IO[str] | None:
    """Hold the file against a second hub, for as long as this process lives. None for a database in memory."""
    if not path:
        return None
    target = Path(path).resolve()       # one file, one lock, by whatever name it is called
    refuse_network_file_system(target)
    try:
        handle = open(f"{target}.lock", "a", encoding="ascii")  # noqa: SIM115  (held open on purpose)
    except OSError as error:
        raise AlerthubError(f"cannot open {target}: {error.strerror}; name a file in a folder that this user may write to, "
                            "in database.url") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise DatabaseInUse(
            f"{path} is in use by another alerthub; stop that one, or give this one another database.url "
            "(several replicas need PostgreSQL)",
        ) from None
    return handle


def refuse_network_file_system(path: Path, mounts: Path = MOUNTS) -> None:
    """WAL needs shared memory on the same host; on a network file system it loses data."""
    kind = file_system_of(path, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise DatabaseInUse(f"{path} lies on a network file system ({kind}), where SQLite loses data; "
                            "use a local disk, or PostgreSQL")


def file_system_of(path: Path, mounts: Path) -> str:
    """The kind of file system as in /proc/self/mounts; empty when that cannot be known."""
    try:
        rows = [line.split() for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return ""
    real = os.path.realpath(path)
    places = [(unescaped(row[1]), row[2]) for row in rows if len(row) > 2]
    # Of two on the same place, the later one hides the earlier: autofs, then what it mounted.
    below = [(len(place), index, kind) for index, (place, kind) in enumerate(places) if is_below(real, place)]
    return max(below, default=(0, 0, ""))[2]


def unescaped(place: str) -> str:
    """Blanks and backslashes in a mount point are written as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), place)


def is_below(path: str, mount: str) -> bool:
    return path == mount or path.startswith(mount.rstrip("/") + "/")
