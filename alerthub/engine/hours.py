"""WHEN the hub asks what time it is. On PostgreSQL all replicas take the time from the database; on SQLite it is the machine's.
Either may jump, and then everything that waits moves with it: nothing freezes, and no lease ends under its holder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from alerthub.clock import Clock, SteeredClock
from alerthub.domain.hours import JUMP, NOTHING
from alerthub.engine.waking import woken
from alerthub.errors import Busy
from alerthub.store import hours, leases
from alerthub.store.database import Store
from alerthub.store.tx import Tx, Urgent, briefly

T = TypeVar("T")
logger = logging.getLogger("alerthub.engine")
EVERY = 2.0             # seconds between two looks: so long it may go unnoticed that the database's clock has jumped
LARGEST_ERROR = 0.5     # seconds; a look that took longer says less than the monotonic clock does


@dataclass
class Hours:
    """What the worker works by. `jumps` counts the times that the clock was found to have jumped."""

    store: Store
    clock: Clock
    jumps: int = 0
    moved: timedelta = NOTHING
    following: asyncio.Lock = field(default_factory=asyncio.Lock)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: asyncio.Event = field(default_factory=asyncio.Event)

    def holding(self, unit: Callable[[Tx], T]) -> Callable[[Tx], T]:
        """The same unit of work, which has read the clock just now: refused, as Busy, when the clock jumps before it runs. The
        leases that it would find over are not."""
        jumps = self.jumps

        def held(tx: Tx) -> T:
            if self.jumps != jumps:
                raise Busy("the clock has just been set")
            return unit(tx)
        return held

    async def follow(self) -> None:
        """SQLite: look whether the machine's clock has jumped. With PostgreSQL `run` looks at the database's."""
        if self.store.is_sqlite and isinstance(self.clock, SteeredClock):
            async with self.following:      # or two would move everything
                await self.follow_machine(self.clock)

    async def follow_machine(self, clock: SteeredClock) -> None:
        """The hub's own time jumps in the transaction that moves what waits: what is written before it is moved with the rest,
        and what is written after it goes by the new time. When that transaction is rolled back, so is the time: others that
        shared it are run again, and those before the jump must not be moved from where the new time has put them."""
        moment, at, before = clock.own.now(), clock.monotonic(), clock.known
        expected = clock.told(at)
        if expected is None or abs(moment - expected) <= JUMP:
            return clock.steer(moment, at)
        jump = moment - expected
        self.note(jump)

        def moved(tx: Tx) -> None:
            leases.shift(tx, jump, expected - hours.HISTORY)
            tx.undoing.append(back)
            clock.steer(moment, at)

        def back() -> None:
            clock.known = before

        return await self.store.write(moved)

    def note(self, jump: timedelta) -> None:
        self.jumps += 1
        logger.warning("the clock jumped by %.0f s; what waits is moved with it", jump.total_seconds(), extra={
            "event": "clock.jumped"})

    async def look(self, clock: SteeredClock) -> None:
        """Ask the database for the time, and go by it. Raises Busy."""
        if clock.known is None:
            read = await self.store.write(Urgent(lambda tx: hours.first_look(tx, clock.monotonic)))
        else:
            read = await self.store.write(Urgent(briefly(lambda tx: hours.look(tx, clock.monotonic, clock.told, self.moved))))
        expected, others = clock.told(read.at), read.moved - read.jump - self.moved
        self.moved = read.moved
        if expected is not None and (read.jump or others):
            self.note(read.jump or others)
        elif expected is not None and read.error > LARGEST_ERROR:
            return
        # Within the error of the look it is as right as before; to go on by it keeps it from going back and forth.
        if expected is None or abs(read.moment - expected) > timedelta(seconds=read.error):
            clock.steer(read.moment, read.at)

    async def run(self, clock: SteeredClock) -> None:
        """Until stopped; no error ends it. While the database is away, the time goes on by the monotonic clock."""
        while not self.stopping.is_set():
            self.wanted.clear()
            try:
                await self.look(clock)
            except Busy as error:
                logger.warning("the database does not say what time it is: %s", error, extra={"event": "clock.unknown"})
            except Exception:
                logger.exception("asking the database what time it is failed unexpectedly", extra={"event": "clock.failed"})
            await woken(self.wanted, EVERY)

    def stop(self) -> None:
        self.stopping.set()
        self.wanted.set()
