"""WHEN this replica looks for work that another one has made due: as soon as the database passes the other's call on.
PostgreSQL only. While the line is away, work of others is found by looking, every few seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress

from alerthub.clock import Clock
from alerthub.errors import Busy
from alerthub.metrics import Metrics
from alerthub.store.calls import APART as APART_SAID
from alerthub.store.calls import CLOCK, Line
from alerthub.store.database import Store

logger = logging.getLogger("alerthub.engine")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0      # seconds before the next try to connect, doubled each time
APART = 0.1     # seconds between two looks on others' behalf: who has made work due takes most of it up itself


class Calls:
    """`nudge` is called for the work of others, `set_clock` when the database's clock was seen to jump."""

    def __init__(self, store: Store, clock: Clock, metrics: Metrics, owner: str, nudge: Callable[[], None],
                 set_clock: Callable[[], None]) -> None:
        self.store, self.clock, self.metrics, self.owner = store, clock, metrics, owner
        self.nudge, self.set_clock = nudge, set_clock
        self.away = "connecting"        # empty while the line is there
        self.waiting: asyncio.TimerHandle | None = None
        self.last = -APART
        metrics.line.set(0)

    def state(self) -> str:
        """For health."""
        return f"does not hear other replicas, looks every few seconds: {self.away}" if self.away else "running"

    async def run(self) -> None:
        """Until cancelled. No error of the database ends it."""
        await asyncio.gather(self.hear(), self.pay())

    async def pay(self) -> None:
        """Make the calls that commits have left out, a moment later, as one."""
        loop, owed = asyncio.get_running_loop(), asyncio.Event()

        def owes() -> None:
            loop.call_soon_threadsafe(owed.set)

        self.store.caller.owes = owes
        try:
            while True:
                await owed.wait()
                owed.clear()
                await self.clock.sleep(APART_SAID)
                with suppress(Busy):    # then they are found by looking
                    await self.store.write(self.store.caller.call_owed)
        finally:
            self.store.caller.owes = None

    async def hear(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                line = await self.connect()
                pause = FIRST_PAUSE
                await self.listen(line)
            except Busy as error:
                self.lost(str(error))
            await self.clock.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def connect(self) -> Line:
        """Raises Busy. When it is cancelled meanwhile, nothing is left open."""
        connecting = asyncio.create_task(asyncio.to_thread(self.store.line), name="connect")
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            with suppress(Busy):
                (await connecting).close()
            raise

    def lost(self, word: str) -> None:
        if self.away != word:
            logger.warning("other replicas are not heard: %s", word, extra={"event": "calls.lost"})
        self.away = word
        self.metrics.line.set(0)

    async def listen(self, line: Line) -> None:
        """As long as the line holds. Raises Busy when it does not."""
        self.away = ""
        self.metrics.line.set(1)
        logger.info("other replicas are heard", extra={"event": "calls.heard"})
        loop, said, number = asyncio.get_running_loop(), asyncio.Event(), line.fileno()
        loop.add_reader(number, said.set)
        try:
            self.nudge()        # what was called before the line was there
            while True:
                self.pass_on(line.heard())
                await said.wait()
                said.clear()
        finally:
            loop.remove_reader(number)
            await asyncio.shield(asyncio.to_thread(line.close))
            if self.waiting is not None:
                self.waiting.cancel()
                self.waiting = None

    def pass_on(self, payloads: Iterable[str]) -> None:
        """Look now, or as soon as the last look on others' behalf is long enough ago; never for what this replica has said."""
        others = set(payloads) - {self.owner}
        if CLOCK in others:
            self.set_clock()
        if not others - {CLOCK} or self.waiting is not None:
            return
        left = self.last + APART - self.clock.monotonic()
        if left <= 0:
            self.look()
        else:
            self.waiting = asyncio.get_running_loop().call_later(left, self.look)

    def look(self) -> None:
        self.waiting, self.last = None, self.clock.monotonic()
        self.metrics.calls.inc()
        self.nudge()
