"""WHEN those who look on hear of a change: one look at the database a second for all of them together, at once after what this
process has done itself, and none while nobody looks on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from alerthub.clock import Clock
from alerthub.engine.waking import woken
from alerthub.errors import Busy
from alerthub.store import changes
from alerthub.store.database import Store

logger = logging.getLogger("alerthub.engine")
LISTENERS = 200         # open pages of one process; each holds a connection
APART = 1.0             # seconds between two looks
AT_LEAST = 0.1          # also when something happens all the time
NAMED = 100             # incidents named to one listener; of more it hears only that there are many

News = tuple[str, tuple[str, ...]]      # `changed` with the ids of incidents, none for too many; `away`; `over`


class Listener:
    """One open page. What it has not heard yet is gathered: a slow one is told less often, and never much."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.is_many = self.is_away = self.is_over = False
        self.told = asyncio.Event()

    def tell(self, ids: frozenset[str] | None) -> None:
        self.is_away = False
        self.ids |= ids or set()
        self.is_many = self.is_many or ids is None or len(self.ids) > NAMED
        self.told.set()

    def tell_away(self) -> None:
        self.is_away = True
        self.told.set()

    def end(self) -> None:
        self.is_over = True
        self.told.set()

    async def next(self) -> News:
        """Waits until there is something. After `over` nothing more comes."""
        await self.told.wait()
        if self.is_over:
            return "over", ()
        self.told.clear()
        if self.is_away:
            return "away", ()
        ids = () if self.is_many else tuple(sorted(self.ids))
        self.ids, self.is_many = set(), False
        return "changed", ids


class Live:
    """Those who look on, and the one task that looks for them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.listeners: set[Listener] = set()
        self.wake = asyncio.Event()
        self.looking: asyncio.Task[None] | None = None
        self.is_over = False

    @property
    def is_full(self) -> bool:
        """Whether no further page may listen: there are too many, or the hub is about to stop."""
        return self.is_over or len(self.listeners) >= LISTENERS

    def nudge(self) -> None:
        """This process has changed something."""
        if self.listeners:
            self.wake.set()

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        listener = Listener()
        if self.is_full:
            listener.end()
        self.listeners.add(listener)
        if self.looking is None and not self.is_over:
            self.looking = asyncio.create_task(self.look(), name="live")
        try:
            yield listener
        finally:
            self.listeners.discard(listener)
            if not self.listeners and self.looking is not None:
                self.looking.cancel()
                self.looking = None

    def close(self) -> None:
        """Nobody listens any more: an open stream would keep the process from stopping (PROTOCOLS 7.6)."""
        self.is_over = True
        for listener in self.listeners:
            listener.end()
        if self.looking is not None:
            self.looking.cancel()
            self.looking = None

    async def look(self) -> None:
        """Until cancelled. A database that is away is said once, and that it is back with the next look that works."""
        seen: changes.Seen | None = None
        is_away = False
        while True:
            try:
                seen, changed = await self.store.read(partial(changes.look, before=seen))
            except Busy as error:
                if not is_away:
                    logger.warning("open pages are not live: %s", error, extra={"event": "live.away"})
                    self.each(Listener.tell_away)
                is_away = True
            else:
                if is_away or changed is None or changed:
                    self.each(partial(Listener.tell, ids=None if is_away else changed))
                is_away = False
            await woken(self.wake, APART)
            self.wake.clear()
            await self.clock.sleep(AT_LEAST)

    def each(self, tell: Callable[[Listener], None]) -> None:
        for listener in self.listeners:
            tell(listener)
