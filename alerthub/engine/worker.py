"""WHEN: the loop that claims what is due and starts it, woken by a nudge or by the next due time, stopped cleanly."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from alerthub.clock import Clock
from alerthub.domain.rules import Direction
from alerthub.engine.attempts import Attempts, Plant
from alerthub.engine.doorway import note_events
from alerthub.engine.hours import Hours
from alerthub.engine.settling import Settling
from alerthub.engine.spans import acting, delivering
from alerthub.engine.timed import Timed, next_due
from alerthub.engine.waking import woken
from alerthub.errors import Busy
from alerthub.flow import act, deliver
from alerthub.flow.slots import kinds_of
from alerthub.metrics import Metrics
from alerthub.store.columns import EPOCH
from alerthub.store.database import Store
from alerthub.store.leases import Due
from alerthub.store.tx import Urgent, briefly
from alerthub.telemetry import OFF, Tracer

logger = logging.getLogger("alerthub.engine")
CHANNEL_SLOTS = 64          # attempts under way per channel: a hanging provider fills its own slots only
ACTION_SLOTS = 16
REMEMBERED = 1000           # action runs of this process
IDLE_SECONDS = 5.0          # the longest sleep without a nudge: another replica's work, a lease that ended
SHORT_PAUSE = 0.05          # for what is due but another replica has just locked
BUG_PAUSE = 1.0             # after a claim that failed unexpectedly
UNKNOWN = Due(None, EPOCH, EPOCH)   # look at once
LONGEST_REST = 0.05         # after a look that found nothing; as long as it took, when that is less


@dataclass
class Worker(Attempts):
    """Claims and runs deliveries and actions. `run_once` does what is due now and tells how much that was."""

    store: Store
    plant: Callable[[], Plant]
    clock: Clock
    metrics: Metrics
    owner: str
    timed: Timed | None = None
    tracer: Tracer = OFF
    under_way: set[asyncio.Task[None]] = field(default_factory=set)
    busy: Counter[str] = field(default_factory=Counter)
    begun: dict[str, int] = field(default_factory=dict)     # run → attempt: the database may forget it in a failover
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    is_stopping: bool = False
    may_act: bool = True                # an action run may have become due since the last look at them
    due: Due = UNKNOWN                  # when something is, as far as the last claim saw
    hours: Hours = field(init=False)
    settling: Settling = field(init=False)

    def __post_init__(self) -> None:
        self.hours = Hours(self.store, self.clock)
        self.settling = Settling(lambda: self.store, lambda: self.clock)

    @property
    def is_run_due(self) -> bool:
        """Whether an action run may be due, as far as is known."""
        return self.may_act or (self.due.run is not None and self.due.run <= self.clock.now())

    def nudge(self, may_act: bool = True) -> None:
        """Something may be due: look now. `may_act` is False for what has made no action run due."""
        self.wake.set()
        if may_act:
            self.may_act = True
            self.called.set()

    async def run(self) -> None:
        """Until stopped. No error ends it. What tightens has a loop of its own: nothing that the other waits for delays it."""
        await asyncio.gather(self.keep_on(self.look, self.wake), self.keep_on(self.look_for_tightening, self.called))

    async def keep_on(self, look: Callable[[], Awaitable[float]], wake: asyncio.Event) -> None:
        """Look, and again after the pause that it asks for, or as soon as something may be due."""
        while not self.is_stopping:
            wake.clear()
            try:
                pause = await look()
            except Busy as error:
                logger.warning("cannot claim work: %s", error, extra={"event": "claim.busy"})
                pause = BUG_PAUSE
            except Exception:
                self.metrics.errors.labels("claim").inc()
                logger.exception("claiming work failed", extra={"event": "claim.failed"})
                pause = BUG_PAUSE
            if pause > 0:
                await woken(wake, pause)

    async def look(self) -> float:
        await self.hours.follow()
        since, all_kinds = self.clock.monotonic(), self.is_run_due
        if await self.run_once(all_kinds=all_kinds) or self.is_run_due > all_kinds:     # seen only now
            return 0.0
        # In a storm each webhook nudges, and what waits for its budget is found by none of these looks.
        await self.clock.sleep(min(LONGEST_REST, self.clock.monotonic() - since))
        return self.until_due()

    async def look_for_tightening(self) -> float:
        await self.hours.follow()      # or a jump would end the lease of what is under way
        return 0.0 if await self.claim_tightening(self.plant(), self.clock.now()) else IDLE_SECONDS

    def until_due(self) -> float:
        """How long there is nothing to do, as far as the last claim saw."""
        if self.due.first is None:
            return IDLE_SECONDS
        now = self.clock.now()
        if self.due.timed is not None and self.due.timed <= now:
            return SHORT_PAUSE
        wait = (self.due.first - now).total_seconds()
        # What is due but was not claimed waits for a slot: the end of an attempt nudges.
        return min(IDLE_SECONDS, wait) if wait > 0 else IDLE_SECONDS if self.under_way else SHORT_PAUSE

    async def run_once(self, *, all_kinds: bool = True) -> int:
        """Claim what is due now and start it; how many units that was. Action runs are looked at with `all_kinds` only."""
        plant, now = self.plant(), self.clock.now()
        # Each in a transaction of its own, and each starts what it claimed at once: nothing that slows or breaks the one may
        # keep the other from its work.
        # What is due by time comes first, so that its news are part of what is told now.
        timed = await asyncio.gather(self.run_timed(now), return_exceptions=True)
        now = self.clock.now()      # it may have been set meanwhile
        claims = [self.claim_lanes(plant, now), *([self.claim_runs(plant, now)] if all_kinds else [])]
        outcomes = [*timed, *await asyncio.gather(*claims, return_exceptions=True)]
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return sum(outcome for outcome in outcomes if isinstance(outcome, int))

    async def run_timed(self, now: datetime) -> int:
        """Escalations, silences and heartbeats whose time has come; how much happened."""
        if self.timed is None or self.due.timed is None or self.due.timed > now:
            return 0
        events = await self.timed.run_due(now, self.hours.holding)
        note_events(self.metrics, events)
        return len(events)

    async def claim_tightening(self, plant: Plant, now: datetime) -> int:
        """What tightens is claimed by itself, and started before anything that may wait for others is looked at."""
        since = self.clock.monotonic()
        claimed = await self.store.write(Urgent(self.hours.holding(
            lambda tx: act.claim_tightening(tx, plant.rules, plant.actions, self.owner, now))))
        self.start_runs(plant, claimed, since)
        if not claimed.ending:
            return claimed.runs
        then = self.clock.now()
        ended = await self.store.write(briefly(self.hours.holding(
            lambda tx: act.end_tightening(tx, plant.rules, plant.actions, self.owner, then))))
        self.start_runs(plant, ended, since)
        return claimed.runs + ended.runs

    async def claim_runs(self, plant: Plant, now: datetime) -> int:
        self.may_act = False
        try:
            tightening = await self.claim_tightening(plant, now)
            slots, since, then = ACTION_SLOTS - self.busy["actions"], self.clock.monotonic(), self.clock.now()
            claimed = await self.store.write(briefly(self.hours.holding(
                lambda tx: act.claim(tx, plant.rules, plant.actions, slots, self.owner, then))))
        except BaseException:
            self.may_act = True
            raise
        self.start_runs(plant, claimed, since)
        return tightening + claimed.runs

    def start_runs(self, plant: Plant, claimed: act.Claimed, since: float) -> None:
        while len(self.begun) > REMEMBERED:
            del self.begun[next(iter(self.begun))]
        for action, reason in claimed.refused:
            self.metrics.refused.labels(action, reason.value).inc()
        for started in claimed.started:
            is_tighten = started.run.direction == Direction.tighten.value
            # What makes safe may be done twice, and must not be left undone.
            is_forgotten = self.begun.get(started.run.id) == started.attempt and not is_tighten
            self.begun[started.run.id] = started.attempt
            work = partial(self.doubt, plant, started) if is_forgotten else partial(self.act, plant, started, since)
            self.start(acting(self.tracer, started, work), "tighten" if is_tighten else "actions")

    async def claim_lanes(self, plant: Plant, now: datetime) -> int:
        channels = {destination.channel for destination in plant.rules.destinations().values()}
        slots = {channel: CHANNEL_SLOTS - self.busy[channel] for channel in channels}
        under_way = dict(self.busy)
        self.due = UNKNOWN      # while this fails, what else may be due is looked at each time
        claimed, self.due = await self.store.write(briefly(self.hours.holding(lambda tx: (
            deliver.claim(tx, plant.rules, slots, under_way, self.owner, now), next_due(tx, plant.rules)))))
        claim = self.tracer.past("claim", now, lanes=claimed.lanes) if claimed.sendings else None
        for sending in claimed.sendings:
            kinds = kinds_of(sending, is_failing=sending.destination.key in claimed.failing)
            self.start(delivering(self.tracer, sending, claim, partial(self.send, plant, sending)), *kinds)
        return claimed.lanes

    def start(self, work: Coroutine[Any, Any, None], *kinds: str) -> None:
        """Begin one unit of work; it counts as under way for each of these kinds."""
        self.busy.update(kinds)
        task = asyncio.create_task(work, name=kinds[0])
        self.under_way.add(task)
        task.add_done_callback(lambda done: self.ended(kinds, done))

    def ended(self, kinds: Iterable[str], task: asyncio.Task[None]) -> None:
        self.busy.subtract(kinds)
        self.busy += Counter()      # what is at zero is forgotten
        self.under_way.discard(task)
        self.wake.set()

    def stop_claiming(self) -> None:
        """The loop ends after the claim that it may be making now."""
        self.is_stopping = True
        self.nudge()

    async def stop(self, seconds: float) -> None:
        """Once the loop has ended: let what is under way end for so long, then cut it off (its lease will end)."""
        if self.under_way:
            _, late = await asyncio.wait(self.under_way, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
