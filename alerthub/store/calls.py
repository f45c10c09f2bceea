"""LISTEN and NOTIFY: how a replica hears, with the commit, that another one has made work due. It only makes it quick: who is
not called looks by itself after a few seconds. PostgreSQL only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from alerthub.errors import Busy
from alerthub.store.tx import Tx

NAME = "alerthub"
CLOCK = "clock"         # the payload that says: take the time anew. Any other is the name of the replica that has work
APART = 0.05            # seconds between two calls of one replica
CALL = text("SELECT pg_notify(:name, :payload)")


def call(tx: Tx, payload: str) -> None:
    """Tell all replicas, if and when this transaction commits. Said twice in one transaction it is heard once."""
    tx.conn.execute(CALL, {"name": NAME, "payload": payload})


class Caller:
    """Calls for one replica. A call costs the commit that carries it (PostgreSQL makes callers wait for each other), so in a
    storm not each carries one: what was left out is `owed`, and said a moment later by whoever was told of it by `owes`."""

    def __init__(self, owner: str, monotonic: Callable[[], float]) -> None:
        self.owner, self.monotonic = owner, monotonic
        self.last = -APART
        self.owed = False
        self.owes: Callable[[], None] | None = None

    def call(self, tx: Tx) -> None:
        """This transaction has made work due. Called by many threads."""
        now, owes = self.monotonic(), self.owes     # it is taken away when the hub stops
        if owes is None or now - self.last >= APART:
            self.last, self.owed = now, False
            call(tx, self.owner)
        elif not self.owed:
            self.owed = True
            owes()

    def call_owed(self, tx: Tx) -> None:
        self.last, self.owed = self.monotonic(), False
        call(tx, self.owner)


class Line:
    """One connection of a replica, beside the pool, that only listens. Not safe for threads: one call at a time."""

    def __init__(self, engine: Engine) -> None:
        """Blocks for as long as a connection takes (5 s at most). Raises Busy."""
        self.engine = engine
        try:
            self.conn = self.engine.connect()
            driver: Any = self.conn.connection.driver_connection
            driver.execute(f"LISTEN {NAME}")       # by itself: in a transaction it would count from its end on
        except (SQLAlchemyError, self.engine.dialect.loaded_dbapi.Error) as error:
            self.engine.dispose()
            raise Busy(f"database: {type(getattr(error, 'orig', error)).__name__}") from None
        self.driver = driver

    def fileno(self) -> int:
        """Readable when something was said, or the connection has ended."""
        return int(self.driver.fileno())

    def heard(self) -> list[str]:
        """The payloads that have come; never waits. Raises Busy when the connection has ended."""
        try:
            return [found.payload for found in self.driver.notifies(timeout=0)]
        except self.engine.dialect.loaded_dbapi.Error as error:
            raise Busy(f"database: {type(error).__name__}") from None

    def close(self) -> None:
        """Never fails, also when it is closed already."""
        if not self.conn.closed:
            self.conn.invalidate()      # the pool must not ask a dead connection to roll back
            self.conn.close()
        self.engine.dispose()
