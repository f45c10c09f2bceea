"""Transactions of an engine, each over a connection that works, and none whose COMMIT is waited for without end: PostgreSQL waits
so for a synchronous standby that is gone, whatever its timeouts say."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from alerthub.clock import SystemClock
from alerthub.errors import Busy

logger = logging.getLogger("alerthub.store")
MONOTONIC = SystemClock().monotonic
BEGIN = "alerthub_begin"    # an option of a connection: the words by which its transaction begins on PostgreSQL
COMMIT_SECONDS = 5.0        # longer than any that works; a sender has been answered 503 by then
LOOK_SECONDS = 1.0
CANCEL_SECONDS = 2.0
UNCONFIRMED = "database: COMMIT is not confirmed; does it wait for a standby?"


@dataclass(slots=True, eq=False)
class Commit:
    driver: Any
    since: float
    is_given_up: bool = False


class Commits:
    """Gives up what takes too long, in a thread of its own that begins with the first commit."""

    def __init__(self, seconds: float = COMMIT_SECONDS) -> None:
        self.seconds = seconds
        self.under_way: dict[Commit, None] = {}
        self.closing = threading.Event()
        self.starting = threading.Lock()
        self.thread: threading.Thread | None = None

    @contextmanager
    def watched(self, driver: Any) -> Iterator[None]:
        """Raises Busy for one that was given up: the database has it, its standby perhaps not, and may never."""
        self.start()
        commit = Commit(driver, MONOTONIC())
        self.under_way[commit] = None
        try:
            yield
        finally:
            self.under_way.pop(commit)
        if commit.is_given_up:
            raise Busy(UNCONFIRMED)

    def start(self) -> None:
        if self.thread is None:
            with self.starting:
                if self.thread is None:
                    self.thread = threading.Thread(target=self.watch, name="alerthub-commits", daemon=True)
                    self.thread.start()

    def watch(self) -> None:
        while not self.closing.wait(min(LOOK_SECONDS, self.seconds)):
            late = MONOTONIC() - self.seconds
            for commit in [one for one in list(self.under_way) if one.since < late and not one.is_given_up]:
                commit.is_given_up = True
                give_up(commit.driver)

    def close(self) -> None:
        """What is still under way is waited for by nobody any more."""
        self.closing.set()


def give_up(driver: Any) -> None:
    """The server is asked to end its wait; what it has written stays written."""
    try:
        driver.cancel_safe(timeout=CANCEL_SECONDS)
    except (OSError, RuntimeError, driver.Error) as error:
        logger.warning("a commit that waits could not be given up: %s", type(error).__name__, extra={"event": "commit.stuck"})


@contextmanager
def begun(engine: Engine, words: str, commits: Commits | None = None) -> Iterator[Connection]:
    """A connection in a transaction that begins with these words. One of the pool whose other end has gone meanwhile shows it
    then, before anything was done, and another one is taken."""
    for is_last in (False, True):
        with engine.connect().execution_options(**{BEGIN: words}) as conn:
            try:
                held = conn.begin()
            except DBAPIError as error:
                if is_last or not error.connection_invalidated:
                    raise
                continue
            with held:
                yield conn
                if commits is not None and held.is_active:
                    commit(conn, held, commits)
            return


def commit(conn: Connection, held: Any, commits: Commits) -> None:
    try:
        with commits.watched(conn.connection.driver_connection):
            held.commit()
    except Busy:
        conn.invalidate()       # the word to give up may still be on its way to this session
        raise
