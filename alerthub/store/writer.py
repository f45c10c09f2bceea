"""SQLite's one writer: units of work that wait together share one commit, and so one fsync.

Each unit keeps the meaning of a transaction of its own: when one of them fails, all are rolled back and run one by one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from alerthub.errors import Busy, Conflict
from alerthub.store.tx import Tx, is_away

T = TypeVar("T")
TOGETHER = 64        # units in one commit: bounds how long the first of them waits for the last
WAITING = 4096       # units that may wait; more than this is overload, answered Busy


@dataclass(slots=True)
class Waiting:
    unit: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: BaseException | None = None


class Writer:
    """A thread with one connection. `begin` opens the connection; it is opened again after an error."""

    def __init__(self, begin: Callable[[], tuple[Connection, Tx]]) -> None:
        self.begin = begin
        self.queue: deque[Waiting] = deque()
        self.wake = threading.Condition()
        self.is_closed = False
        self.conn: Connection | None = None
        self.tx: Tx | None = None
        self.thread = threading.Thread(target=self._serve, name="alerthub-writer", daemon=True)
        self.thread.start()

    async def run(self, unit: Callable[[Tx], T]) -> T:
        loop = asyncio.get_running_loop()
        waiting = Waiting(unit, loop.create_future(), loop)
        with self.wake:
            if self.is_closed:
                raise Busy("the hub is stopping")
            if len(self.queue) >= WAITING:
                raise Busy("too many writes are waiting for the database")
            self.queue.append(waiting)
            self.wake.notify()
        result: T = await waiting.future
        return result

    def close(self) -> None:
        with self.wake:
            self.is_closed = True
            self.wake.notify()
        self.thread.join()

    def _serve(self) -> None:
        while True:
            with self.wake:
                while not self.queue and not self.is_closed:
                    self.wake.wait()
                if not self.queue:
                    break
                group = [self.queue.popleft() for _ in range(min(TOGETHER, len(self.queue)))]
            # A caller that has given up (its request timed out) is not served.
            group = [waiting for waiting in group if not waiting.future.cancelled()]
            self._commit(group)
            answer(group)
        self._drop()

    def _commit(self, group: list[Waiting]) -> None:
        if not group or self._together(group):
            return
        for waiting in group:
            waiting.result, waiting.error = None, None
            self._alone(waiting)

    def _together(self, group: list[Waiting]) -> bool:
        """True when all of them are committed, or the only one has its error."""
        try:
            tx = self._open()
            tx.undoing.clear()
            with tx.conn.begin():
                for waiting in group:
                    waiting.result = waiting.unit(tx)
        except BaseException as error:  # noqa: BLE001  (handed to whoever waits for it, never swallowed)
            self._after(error)
            if len(group) > 1:
                return False
            group[0].error = translated(error)
        return True

    def _alone(self, waiting: Waiting) -> None:
        self._together([waiting])

    def _open(self) -> Tx:
        if self.tx is None:
            self.conn, self.tx = self.begin()
        return self.tx

    def _after(self, error: BaseException) -> None:
        """What was done beside the transaction is undone, before anything else runs. A connection that saw a database error is
        not trusted again."""
        for undo in self.tx.undoing if self.tx is not None else ():
            undo()
        if isinstance(error, SQLAlchemyError):
            self._drop()

    def _drop(self) -> None:
        if self.conn is not None:
            with suppress(SQLAlchemyError):
                self.conn.invalidate()      # or the pool would hand out the same one again
                self.conn.close()
        self.conn = self.tx = None


def translated(error: BaseException) -> BaseException:
    """What the caller is told. A unit's own error is its own."""
    if isinstance(error, Conflict):
        return Busy("the same rows keep changing")
    if isinstance(error, StopIteration):
        return RuntimeError("a unit of work raised StopIteration")      # a future refuses it: nobody would be told
    original = getattr(error, "orig", None) if isinstance(error, SQLAlchemyError) else None
    if isinstance(original, sqlite3.Error) and is_away(original):
        return Busy(f"database: {original}")
    return error


def answer(group: list[Waiting]) -> None:
    """Wake the callers, each in its own loop, once per commit."""
    loops: dict[asyncio.AbstractEventLoop, list[Waiting]] = {}
    for waiting in group:
        loops.setdefault(waiting.loop, []).append(waiting)
    for loop, members in loops.items():
        with suppress(RuntimeError):    # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, members)


def settle(members: list[Waiting]) -> None:
    for waiting in members:
        if waiting.future.done():
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)
