"""WHEN the rounds are made that only one replica makes: reconcile, stale, own alarms, pruning. Each under its own term."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from alerthub.clock import Clock
from alerthub.domain.event import Event
from alerthub.domain.reconcile import Peer
from alerthub.domain.rules import Rules, SourceRule
from alerthub.engine.doorway import note_events
from alerthub.engine.waking import woken
from alerthub.errors import Busy, Unreachable
from alerthub.flow import audit, escalate, flapping, prune, silencing, watch
from alerthub.metrics import Metrics
from alerthub.store import leases
from alerthub.store.database import Store

logger = logging.getLogger("alerthub.engine")
MINUTE = timedelta(minutes=1)
TERM = timedelta(seconds=30)
ASK_SECONDS = 15.0
PRUNE_PAUSE = 0.02     # seconds, and twice what the bite took: two thirds of the database's time are left to webhooks
PRUNE_SECONDS = 10.0   # of one round: the others must not wait for a backlog; it goes on after them


class Asker(Protocol):
    """Asks one source's peers which alerts fire."""

    async def ask(self) -> list[Peer]:
        """Every configured peer's answer. Raises Unreachable when even one does not answer."""


@dataclass
class Rounds:
    """One method per round; `due` tells which to make now, so that tests need no loop."""

    store: Store
    rules: Callable[[], Rules]
    askers: Callable[[], Mapping[str, Asker]]
    clock: Clock
    metrics: Metrics
    owner: str
    nudge: Callable[[], None]
    ping: Callable[[], Awaitable[None]] | None = None        # tells the outside that this replica lives
    mirror: Callable[[SourceRule], Awaitable[None]] | None = None     # keeps a source's silences and ours the same
    ping_interval: Callable[[], timedelta | None] = lambda: None

    def __post_init__(self) -> None:
        self.next: dict[str, datetime] = {}
        self.began = self.clock.now()
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        """Until stopped. No error ends it."""
        while not self.stopping.is_set():
            try:
                await self.make_due()
            except Busy as error:
                logger.warning("cannot make a round: %s", error, extra={"event": "round.busy"})
            except Exception:
                self.metrics.errors.labels("rounds").inc()
                logger.exception("a round failed unexpectedly; the others go on", extra={"event": "round.failed"})
            wait = min((at for at in self.next.values()), default=self.clock.now() + MINUTE) - self.clock.now()
            await woken(self.stopping, min(60.0, max(0.05, wait.total_seconds())))

    async def make_due(self) -> None:
        """Make every round whose time has come, if its term is ours."""
        now = self.clock.now()
        for name, source in self.rules().sources.items():
            if source.reconcile_urls and self.is_time(f"reconcile {name}", source.reconcile_interval, now):
                if self.mirror is not None:     # first: what ends here must not be found silenced there
                    await self.mirror(source)
                await self.reconcile(source)
        every = self.ping_interval()
        if self.ping is not None and every is not None and self.is_time("ping", every, now):
            await self.ping()
        if self.is_time("watch", MINUTE, now):
            await self.watch()
        if self.is_time("prune", MINUTE, now):
            await self.prune()
        if self.is_time("anchor", MINUTE, now):
            await self.anchor()

    def is_time(self, name: str, every: timedelta, now: datetime) -> bool:
        due = self.next.get(name, now)
        # A clock that jumped back must not stop the rounds for as long as it jumped.
        if due > now and due - now <= every:
            return False
        self.next[name] = now + every
        return True

    async def leads(self, name: str, every: timedelta) -> bool:
        now, term = self.clock.now(), max(TERM, every * 2)
        return await self.store.write(lambda tx: leases.lead(tx, name, self.owner, now, term))

    async def reconcile(self, source: SourceRule) -> None:
        asker = self.askers().get(source.name)
        if asker is None or not await self.leads(f"reconcile {source.name}", source.reconcile_interval):
            return
        asked_at = self.clock.now()
        try:
            async with asyncio.timeout(ASK_SECONDS):
                peers = await asker.ask()
        except (Unreachable, TimeoutError) as error:
            detail = str(error) or f"no answer within {ASK_SECONDS:.0f} s"
            logger.warning("cannot reconcile: %s", detail, extra={"event": "reconcile.unreachable", "source": source.name})
            self.metrics.reconciliations.labels(source.name, "unreachable").inc()
            taken = await self.store.write(
                lambda tx: watch.unreachable(tx, self.rules(), source.name, detail, self.clock.now()))
        else:
            taken = await self.store.write(
                lambda tx: watch.reconcile(tx, self.rules(), source.name, peers, asked_at, self.clock.now()))
            self.metrics.reconciliations.labels(source.name, "agreed" if not taken.is_news else "corrected").inc()
        note_events(self.metrics, taken.events)
        self.nudge()

    async def watch(self) -> None:
        if not await self.leads("watch", MINUTE):
            return
        rules, now = self.rules(), self.clock.now()
        stale = await self.store.write(lambda tx: watch.mark_stale(tx, rules, now))
        over = await self.store.write(lambda tx: watch.expire_own(tx, rules, now))
        calm = await self.store.write(lambda tx: flapping.calm(tx, rules, now))
        freed = await self.store.write(lambda tx: silencing.free_orphans(tx, now, rules.answers.time_zone))
        stuck: list[Event] = []
        if now - self.began >= escalate.STUCK_AFTER:      # what fell due while nobody ran is done first
            stuck = await self.store.write(lambda tx: escalate.audit(tx, rules, now))
        events = [*stale, *over.events, *calm, *freed, *stuck]
        note_events(self.metrics, events)
        if events:
            self.nudge()

    async def prune(self) -> None:
        if not await self.leads("prune", MINUTE):
            return
        rules, until = self.rules(), self.clock.monotonic() + PRUNE_SECONDS
        while not self.stopping.is_set():
            began = self.clock.monotonic()
            if not await self.store.write(lambda tx: prune.prune(tx, rules, self.clock.now())):
                return
            if began > until:
                self.next["prune"] = self.clock.now()
                return
            await self.clock.sleep(max(PRUNE_PAUSE, 2 * (self.clock.monotonic() - began)))

    async def anchor(self) -> None:
        """The log is kept elsewhere than the database: whoever rewrites one has not rewritten the other."""
        if not await self.leads("anchor", MINUTE):
            return
        made = await self.store.write(lambda tx: audit.anchor(tx, self.clock.now()))
        if made is not None:
            logger.info("the record is anchored", extra={"event": "record.anchored", "anchor": made.n, "hash": made.hash})

    def stop(self) -> None:
        self.stopping.set()
