"""WHEN: the loop that claims what is due and starts it, woken by a nudge or by the next due time, stopped cleanly."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alerthub.channels.base import Channel
from alerthub.clock import Clock
from alerthub.domain.rules import Rules
from alerthub.errors import Busy, Failure, SendFailed
from alerthub.flow import act, deliver
from alerthub.flow.settle import Sending
from alerthub.metrics import Metrics
from alerthub.store import leases
from alerthub.store.database import Store

logger = logging.getLogger("alerthub.engine")
CHANNEL_SLOTS = 16          # attempts under way per channel: a hanging provider fills its own slots only
ACTION_SLOTS = 16
IDLE_SECONDS = 5.0          # the longest sleep without a nudge: another replica's work, a lease that ended
SHORT_PAUSE = 0.05          # for what is due but another replica has just locked
BUG_PAUSE = 1.0             # after a claim that failed unexpectedly


@dataclass(frozen=True, slots=True)
class Plant:
    """What the worker works with; replaced as a whole when the configuration is reloaded."""

    rules: Rules
    channels: Mapping[str, Channel]                     # by destination key
    actions: act.Arsenal                                # by (action, target)


@dataclass
class Worker:
    """Claims and runs deliveries and actions. `run_once` does what is due now and tells how much that was."""

    store: Store
    plant: Callable[[], Plant]
    clock: Clock
    metrics: Metrics
    owner: str
    under_way: set[asyncio.Task[None]] = field(default_factory=set)
    busy: Counter[str] = field(default_factory=Counter)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_stopping: bool = False
    next_due: datetime | None = None

    def nudge(self) -> None:
        """Something may be due: look now."""
        self.wake.set()

    async def run(self) -> None:
        """Until stopped. No error ends it."""
        while not self.is_stopping:
            self.wake.clear()
            try:
                started = await self.run_once()
                pause = 0.0 if started else self.until_due()
            except Busy as error:
                logger.warning("cannot claim work: %s", error, extra={"event": "claim.busy"})
                pause = BUG_PAUSE
            except Exception:
                self.metrics.errors.labels("claim").inc()
                logger.exception("claiming work failed", extra={"event": "claim.failed"})
                pause = BUG_PAUSE
            if pause > 0:
                await self.sleep(pause)

    async def sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            pass

    def until_due(self) -> float:
        """How long there is nothing to do, as far as the last claim saw."""
        if self.next_due is None:
            return IDLE_SECONDS
        wait = (self.next_due - self.clock.now()).total_seconds()
        # What is due but was not claimed waits for a slot: the end of an attempt nudges.
        return min(IDLE_SECONDS, wait) if wait > 0 else IDLE_SECONDS if self.under_way else SHORT_PAUSE

    async def run_once(self) -> int:
        """Claim what is due now and start it; how many units that was."""
        plant = self.plant()
        channels = {destination.channel for destination in plant.rules.destinations().values()}
        slots = {channel: CHANNEL_SLOTS - self.busy[channel] for channel in channels}
        action_slots = ACTION_SLOTS - self.busy["actions"]
        now = self.clock.now()
        # Each in a transaction of its own: what breaks the one must not keep the other from its work.
        started, claimed = await asyncio.gather(
            self.store.write(lambda tx: act.claim(tx, plant.rules, plant.actions, action_slots, self.owner, now)),
            self.store.write(lambda tx: (deliver.claim(tx, plant.rules, slots, self.owner, now), leases.next_due(tx))),
            return_exceptions=True)
        units = 0
        if not isinstance(started, BaseException):
            units += len(started)
            for run in started:
                self.start("actions", self.act(plant, run))
        if not isinstance(claimed, BaseException):
            taken, self.next_due = claimed
            units += taken.lanes
            for sending in taken.sendings:
                self.start(sending.destination.channel, self.send(plant, sending))
        for outcome in (started, claimed):
            if isinstance(outcome, BaseException):
                raise outcome
        return units

    def start(self, kind: str, work: Coroutine[Any, Any, None]) -> None:
        self.busy[kind] += 1
        task = asyncio.create_task(work, name=kind)
        self.under_way.add(task)
        task.add_done_callback(lambda done: self.ended(kind, done))

    def ended(self, kind: str, task: asyncio.Task[None]) -> None:
        self.busy[kind] -= 1
        self.under_way.discard(task)
        self.nudge()

    async def send(self, plant: Plant, sending: Sending) -> None:
        channel = plant.channels[sending.destination.key]
        kind = sending.destination.channel
        if sending.message.possible_duplicate:
            self.metrics.possible_duplicates.labels(kind).inc()
        try:
            sent = await deliver.send_one(self.store, plant.rules, channel, sending, self.clock)
        except Busy as error:
            logger.warning("delivered, but the outcome is not stored: it will be sent again", extra={
                "event": "delivery.unsettled", "destination": sending.destination.key, "cause": str(error)})
            return
        except Exception:
            self.metrics.errors.labels("deliver").inc()
            logger.exception("delivering failed unexpectedly", extra={
                "event": "delivery.bug", "destination": sending.destination.key, "incident": sending.message.number})
            await self.give_back(plant, sending)
            return
        outcome = sent.failure.value if sent.failure else "sent"
        self.metrics.deliveries.labels(kind, outcome).inc()
        self.metrics.delivery_seconds.labels(kind).observe(sent.seconds)
        if sent.is_dead_letter:
            self.metrics.dead_letters.labels(kind).inc()
        level = logging.INFO if sent.failure is None else logging.WARNING
        logger.log(level, "delivery %s", outcome, extra={
            "event": "delivery.sent" if sent.failure is None else "delivery.failed", "destination": sending.destination.key,
            "incident": sending.message.number, "why": sent.why.value, "seconds": round(sent.seconds, 3),
            "dead_letter": sent.is_dead_letter})

    async def give_back(self, plant: Plant, sending: Sending) -> None:
        """An error that nobody expected: the lane is tried again a few times, then becomes a dead letter, loudly."""
        error = SendFailed(Failure.bug, "an unexpected error; see the log")
        self.metrics.deliveries.labels(sending.destination.channel, error.reason.value).inc()
        try:
            await deliver.settle_later(self.store, plant.rules, sending, None, error, self.clock)
        except Busy:
            logger.warning("cannot give a delivery back; its lease will end", extra={
                "event": "delivery.unsettled", "destination": sending.destination.key})

    async def act(self, plant: Plant, started: act.Started) -> None:
        try:
            acted = await act.run_one(self.store, plant.rules, plant.actions, started, self.clock)
        except Busy as error:
            logger.error("an action ran, but its outcome is not stored: %s", error, extra={
                "event": "action.unsettled", "action": started.run.action, "target": started.run.target})
            return
        except Exception:
            self.metrics.errors.labels("act").inc()
            logger.exception("an action failed unexpectedly; its outcome is unknown", extra={
                "event": "action.bug", "action": started.run.action, "target": started.run.target})
            await act.lose(self.store, plant.rules, started, self.clock)
            return
        self.metrics.actions.labels(acted.action, acted.state.value).inc()
        self.metrics.action_seconds.labels(acted.action).observe(acted.seconds)
        logger.info("action %s", acted.state.value, extra={
            "event": "action.ended", "action": acted.action, "target": acted.target, "state": acted.state.value,
            "seconds": round(acted.seconds, 3)})

    async def stop(self, seconds: float) -> None:
        """Claim nothing more; let what is under way end for so long, then cut it off (its lease will end)."""
        self.is_stopping = True
        self.nudge()
        if self.under_way:
            _, late = await asyncio.wait(self.under_way, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
