"""One unit of work that was claimed, from its start to what is logged and counted of its end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from alerthub.channels.base import Channel
from alerthub.clock import Clock
from alerthub.domain.action import RunState
from alerthub.domain.rules import Rules
from alerthub.engine.settling import Settling
from alerthub.errors import Busy, Failure, SendFailed
from alerthub.flow import act, deliver
from alerthub.flow.act import Started
from alerthub.flow.serving import Arsenal
from alerthub.flow.settle import Ended, Sending
from alerthub.metrics import Metrics
from alerthub.store.database import Store
from alerthub.telemetry import Tracer

logger = logging.getLogger("alerthub.engine")
BUG = "an unexpected error; see the log"
FORGOTTEN = "it was begun before a failover of the database, which has forgotten that; what came of it is not known"


@dataclass(frozen=True, slots=True)
class Plant:
    """What the worker works with; replaced as a whole when the configuration is reloaded."""

    rules: Rules
    channels: Mapping[str, Channel]                     # by destination key
    actions: Arsenal                                # by (action, target)


class Attempts:
    """How a worker sends and acts. Neither raises: what goes wrong is logged, counted and, where it can be, written down."""

    store: Store
    clock: Clock
    metrics: Metrics
    tracer: Tracer
    settling: Settling

    async def send(self, plant: Plant, sending: Sending) -> None:
        channel = plant.channels[sending.destination.key]
        kind = sending.destination.channel
        if self.clock.now() > sending.send_by:
            self.metrics.leases_lost.labels("late").inc()
            logger.warning("held up for too long; whoever takes it over sends it", extra={
                "event": "delivery.late", "destination": sending.destination.key, "incident": sending.message.number})
            return
        if sending.message.possible_duplicate:
            self.metrics.possible_duplicates.labels(kind).inc()
        try:
            sent = await deliver.send_one(self.settling.settle, plant.rules, channel, sending, self.clock)
        except Busy as error:
            self.metrics.leases_lost.labels("unsettled").inc()
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
        self.tracer.tell(outcome=outcome)
        self.metrics.deliveries.labels(kind, outcome).inc()
        self.metrics.delivery_seconds.labels(kind).observe(sent.seconds)
        if sent.is_dead_letter:
            self.metrics.dead_letters.labels(kind).inc()
        level = logging.INFO if sent.failure is None else logging.WARNING
        logger.log(level, "delivery %s", outcome if sent.failure is None else f"failed: {sent.detail}", extra={
            "event": "delivery.sent" if sent.failure is None else "delivery.failed", "destination": sending.destination.key,
            "incident": sending.message.number, "why": sent.why.value, "outcome": outcome,
            "seconds": round(sent.seconds, 3), "dead_letter": sent.is_dead_letter})

    async def give_back(self, plant: Plant, sending: Sending) -> None:
        """An error that nobody expected: the lane is tried again a few times, then becomes a dead letter, loudly."""
        error = SendFailed(Failure.bug, "an unexpected error; see the log")
        self.metrics.deliveries.labels(sending.destination.channel, error.reason.value).inc()
        try:
            ended = Ended(plant.rules, sending, None, error, self.clock.random())
            await deliver.settle_later(self.settling.settle, ended, self.clock)
        except Busy:
            logger.warning("cannot give a delivery back; its lease will end", extra={
                "event": "delivery.unsettled", "destination": sending.destination.key})

    async def act(self, plant: Plant, started: Started, since: float) -> None:
        try:
            held = self.clock.monotonic() - since
            acted = await act.run_one(self.store, plant.rules, plant.actions, started, self.clock, held)
        except Busy as error:
            self.metrics.leases_lost.labels("unsettled").inc()
            logger.error("an action ran, but its outcome is not stored: %s", error, extra={
                "event": "action.unsettled", "action": started.run.action, "target": started.run.target})
            return
        except Exception:
            self.metrics.errors.labels("act").inc()
            logger.exception("an action failed unexpectedly; its outcome is unknown", extra={
                "event": "action.bug", "action": started.run.action, "target": started.run.target})
            await self.lose(plant, started)
            return
        self.tracer.tell(state=acted.state.value)
        self.metrics.actions.labels(acted.action, acted.state.value).inc()
        if acted.state is RunState.refused:     # it was only rehearsed
            self.metrics.refused.labels(acted.action, acted.reason.value).inc()
        self.metrics.action_seconds.labels(acted.action).observe(acted.seconds)
        level = logging.INFO if acted.state in (RunState.succeeded, RunState.refused) else logging.ERROR
        logger.log(level, "action %s on %s: %s", acted.action, acted.target, acted.detail, extra={
            "event": "action.ended", "action": acted.action, "target": acted.target, "state": acted.state.value,
            "incident": started.call.number, "run": started.run.id, "seconds": round(acted.seconds, 3)})

    async def doubt(self, plant: Plant, started: Started) -> None:
        """The database has forgotten that this process has begun it."""
        self.metrics.actions.labels(started.run.action, RunState.unknown.value).inc()
        logger.error("an action that was begun already is due again: the database has gone back. It is not done twice", extra={
            "event": "action.forgotten", "action": started.run.action, "target": started.run.target, "run": started.run.id})
        await self.lose(plant, started, FORGOTTEN)

    async def lose(self, plant: Plant, started: Started, why: str = BUG) -> None:
        try:
            await act.lose(self.store, plant.rules, started, self.clock, why)
        except Busy as error:
            logger.error("an action may have run, and that is not stored: %s", error, extra={
                "event": "action.unsettled", "action": started.run.action, "target": started.run.target})
