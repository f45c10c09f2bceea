"""One transaction, as rooms see it, and what both databases do differently inside one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeAlias, TypeVar

from sqlalchemy import Connection, Row, Select, Table
from sqlalchemy.dialects import postgresql, sqlite

from alerthub.errors import Busy
from alerthub.store import batch

T = TypeVar("T")
AnyRow: TypeAlias = Row[*tuple[Any, ...]]
AnySelect: TypeAlias = Select[*tuple[Any, ...]]
# A database that is away, locked, full or broken. Any other code of SQLite says that the statement is what is wrong.
AWAY = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
})
LOCKED = "55P03"        # lock_not_available: PostgreSQL's lock_timeout
BRIEFLY = 500           # milliseconds
CHUNK = 400     # SQLite's oldest limit on variables is 999, and two columns may be asked for at once


class Locked(Busy):
    """Another transaction holds what this one must change: the database itself is well."""


class Tx:
    """Every function of the store takes one first. `new_id()` gives a UUIDv7."""

    __slots__ = ("conn", "has_work", "is_postgres", "new_id", "undoing")

    def __init__(self, conn: Connection, new_id: Callable[[], str]) -> None:
        self.conn = conn
        self.new_id = new_id
        self.is_postgres = conn.dialect.name == "postgresql"
        self.has_work = False       # set by whoever makes something due now: other replicas hear of it with the commit
        self.undoing: list[Callable[[], None]] = []     # called by SQLite's writer when it rolls back

    def insert(self, table: Table) -> Any:
        """An INSERT that can say ON CONFLICT, in this database's dialect."""
        return inserting(table, self.is_postgres)

    def batch(self, statement: Any, rows: Sequence[dict[str, Any]]) -> int:
        """The same at the least cost, for a statement that is a constant of its module and rows of which no two are about the
        same thing; see batch.py."""
        return batch.run(self.conn, statement, rows)

    def many(self, statement: Any, rows: Sequence[dict[str, Any]]) -> int:
        """Run once per row; how many rows of the table that touched."""
        return self.conn.execute(statement, rows).rowcount if rows else 0


@dataclass(frozen=True)
class Handled(Generic[T]):
    """A unit of work that the store is to handle in a way of its own."""

    unit: Callable[[Tx], T]

    def __call__(self, tx: Tx) -> T:
        return self.unit(tx)


class Urgent(Handled[T]):
    """It does not queue behind those that wait for locks: for what is short, and waits for none itself."""


class InTurn(Handled[T]):
    """One at a time of these runs in this process; the next begins as soon as the last one has ended."""


@dataclass(frozen=True)
class Brief(Handled[T]):
    """Its transaction raises Locked rather than wait longer for a row that another one holds."""

    milliseconds: int


def briefly(unit: Callable[[Tx], T], milliseconds: int = BRIEFLY) -> Brief[T]:
    """The same unit of work, but it waits for no lock for long: a replica that is stopped in the midst of a transaction keeps
    others from the rows that it holds, and from nothing else. To be given to the store as it is: it is said with BEGIN."""
    return Brief(unit, milliseconds)


def patience_of(unit: Callable[[Tx], T]) -> int | None:
    """How many milliseconds it waits for a lock; None for as long as the connection does."""
    if isinstance(unit, Brief):
        return unit.milliseconds
    return patience_of(unit.unit) if isinstance(unit, Handled) else None


def inserting(table: Table, is_postgres: bool) -> Any:
    return postgresql.insert(table) if is_postgres else sqlite.insert(table)


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk


def is_away(error: sqlite3.Error) -> bool:
    """Whether SQLite cannot do this now, as against: never."""
    code = getattr(error, "sqlite_errorcode", None)     # absent when the driver itself refused
    return code is not None and code & 0xFF in AWAY     # the low byte is the primary code
