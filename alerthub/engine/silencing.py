"""WHEN silences are made the same here and at the source. One replica at a time, under its own term."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from alerthub.clock import Clock
from alerthub.domain.rules import SourceRule
from alerthub.domain.silence import NotTaken, Plan, Silence
from alerthub.errors import Unreachable
from alerthub.flow import silencing
from alerthub.store import leases
from alerthub.store.database import Store

logger = logging.getLogger("alerthub.engine")
SECONDS = 15.0                      # for all that is asked of one source in one round
TERM = timedelta(seconds=30)


class Keeper(Protocol):
    """Reads, makes and ends one source's silences."""

    @property
    def writes(self) -> bool:
        """Whether the configuration allows to change them."""

    async def listed(self) -> tuple[str, list[Silence]]:
        """Which peer answered, those that are not over, and all that are marked as the hub's. Raises Unreachable."""

    async def make(self, url: str, silence: Silence) -> str:
        """Its id there. Raises NotTaken for never, Unreachable for perhaps."""

    async def end(self, url: str, remote_id: str) -> None:
        """Raises Unreachable."""


@dataclass
class Silencing:
    """A round: `mirror`, as often as a source is reconciled, and before that."""

    store: Store
    keepers: Callable[[], Mapping[str, Keeper]]
    clock: Clock
    owner: str

    async def mirror(self, source: SourceRule) -> None:
        """Show the source's silences here, and, where it may be written to, make ours there and end them there. What does not
        succeed is tried again in the next round, after a look whether it is there already."""
        keeper = self.keepers().get(source.name)
        if keeper is None or not await self.leads(source):
            return
        try:
            async with asyncio.timeout(SECONDS):
                url, found = await keeper.listed()
                now, writes = self.clock.now(), keeper.writes
                plan = await self.store.write(lambda tx: silencing.compare(tx, source.name, found, now, writes=writes))
                await self.make_and_end(source.name, keeper, url, plan)
        except (Unreachable, TimeoutError) as error:
            logger.warning("cannot mirror silences: %s", str(error) or f"no answer within {SECONDS:.0f} s",
                           extra={"event": "silences.unreachable", "source": source.name})

    async def leads(self, source: SourceRule) -> bool:
        now, term = self.clock.now(), max(TERM, source.reconcile_interval * 2)
        return await self.store.write(lambda tx: leases.lead(tx, f"silences {source.name}", self.owner, now, term))

    async def make_and_end(self, source: str, keeper: Keeper, url: str, plan: Plan) -> None:
        for silence in plan.make:
            await self.make(source, keeper, url, silence)
        for silence, remote_ids in plan.end:
            for remote_id in remote_ids:
                await keeper.end(url, remote_id)
            await self.store.write(lambda tx, silence=silence: silencing.ended(tx, source, silence))  # type: ignore[misc]
            logger.info("silence %d has ended at %s", silence.number, source, extra={
                "event": "silence.ended", "source": source, "silence": silence.id})

    async def make(self, source: str, keeper: Keeper, url: str, silence: Silence) -> None:
        try:
            remote_id = await keeper.make(url, silence)
        except (NotTaken, Unreachable) as error:
            detail, final = str(error), isinstance(error, NotTaken)
            await self.store.write(lambda tx: silencing.not_taken(tx, source, silence, detail, final=final))
            if not final:
                raise
            logger.warning("%s will not take silence %d: %s", source, silence.number, detail, extra={
                "event": "silence.refused", "source": source, "silence": silence.id})
            return
        await self.store.write(lambda tx: silencing.made(tx, source, silence, remote_id))
        logger.info("silence %d is made at %s", silence.number, source, extra={
            "event": "silence.made", "source": source, "silence": silence.id, "remote_id": remote_id})
