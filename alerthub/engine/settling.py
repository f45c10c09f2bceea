"""WHEN what was sent is written down: attempts that end while the database is at work share one transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alerthub.clock import Clock
from alerthub.engine.waking import fail, tell
from alerthub.errors import Busy
from alerthub.flow.settle import Ended, settle_together
from alerthub.store.database import Store
from alerthub.store.tx import Locked, Tx, briefly

TOGETHER = 64       # attempts in one transaction


@dataclass(slots=True)
class Waiting:
    ended: Ended
    future: asyncio.Future[bool]


class Settling:
    """`settle` returns when it is committed: whether it became a dead letter. Raises Busy when that cannot be done now."""

    def __init__(self, store: Callable[[], Store], clock: Callable[[], Clock]) -> None:
        self.store, self.clock = store, clock
        self.queue: deque[Waiting] = deque()
        self.working: asyncio.Task[None] | None = None
        self.apart: set[asyncio.Task[Sequence[Waiting]]] = set()

    async def settle(self, ended: Ended) -> bool:
        waiting = Waiting(ended, asyncio.get_running_loop().create_future())
        self.queue.append(waiting)
        if self.working is None or self.working.done():
            self.working = asyncio.create_task(self.settle_all(), name="settle")
        return await waiting.future

    async def settle_all(self) -> None:
        while self.queue:
            group = [self.queue.popleft() for _ in range(min(TOGETHER, len(self.queue)))]
            for waiting in await self.settle_group(group):
                task = asyncio.create_task(self.settle_group([waiting], waits=True), name="settle apart")
                self.apart.add(task)
                task.add_done_callback(self.apart.discard)

    async def settle_group(self, group: Sequence[Waiting], *, waits: bool = False) -> Sequence[Waiting]:
        """In one transaction. Those that are to have one of their own: what breaks for one, or waits for a lock, does so for no
        other. Only there are locks waited for: who ends next must not stand behind it."""
        ended = [waiting.ended for waiting in group]

        def unit(tx: Tx) -> list[bool | None]:
            return settle_together(tx, ended, self.clock().now(), waits=waits)

        work = self.store().write(unit if waits else briefly(unit))
        (outcome,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(outcome, BaseException):
            if not waits and (isinstance(outcome, Locked) or not isinstance(outcome, Busy)):
                return group
            for waiting in group:
                fail(waiting.future, outcome)
            return ()
        for waiting, is_dead in zip(group, outcome, strict=True):
            if is_dead is not None:
                tell(waiting.future, is_dead)
        return [waiting for waiting, is_dead in zip(group, outcome, strict=True) if is_dead is None]
