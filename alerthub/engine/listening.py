"""WHEN the hub listens: one task per listener, those that only one replica may run under a lease; and the ear that all share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta

from alerthub.channels.base import Listener
from alerthub.clock import Clock
from alerthub.domain.command import UNKNOWN, Answer, Ask, Outcome
from alerthub.domain.rules import Rules
from alerthub.errors import Busy
from alerthub.flow.respond import hear
from alerthub.metrics import Metrics
from alerthub.store import leases
from alerthub.store.database import Store

logger = logging.getLogger("alerthub.engine")
TERM = timedelta(seconds=20)        # with the pause below, another replica listens within 30 s of a kill -9
RENEW_SECONDS = 5.0
AGAIN_SECONDS = 10.0                # after a listener that ended with an error
HEAR_SECONDS = 2.5                  # Slack waits for 3 s, PagerDuty for 5
NOT_NOW = "The hub cannot store that now. Nothing was done; try again."
NOT_KNOWN = "The hub does not know yet whether that was done; look at the message before you try again."


class Ear:
    """What every listener and every door gives its questions to. Never raises."""

    def __init__(self, store: Store, rules: Callable[[], Rules], clock: Clock, metrics: Metrics,
                 nudge: Callable[[], None]) -> None:
        self.store, self.rules, self.clock, self.metrics, self.nudge = store, rules, clock, metrics, nudge

    async def hear(self, ask: Ask) -> Answer:
        rules = self.rules()
        try:
            async with asyncio.timeout(HEAR_SECONDS):
                answer = await self.store.write(lambda tx: hear(tx, rules, ask, self.clock.now()))
        except (Busy, TimeoutError) as error:
            logger.warning("an answer could not be stored: %s", str(error) or "the database did not commit in time", extra={
                "event": "answer.busy", "account": ask.by.key})
            is_unknown = isinstance(error, TimeoutError)        # it may be committed all the same
            answer = Answer(Outcome.busy, NOT_KNOWN, why=UNKNOWN) if is_unknown else Answer(Outcome.busy, NOT_NOW)
        except Exception:
            # One answer that nobody foresaw must not end the listening for all others.
            self.metrics.errors.labels("listening").inc()
            logger.exception("an answer failed unexpectedly", extra={"event": "answer.bug", "account": ask.by.key})
            answer = Answer(Outcome.refused, "An error of the hub; it is in its log. Nothing was done.")
        self.metrics.answers.labels(ask.by.kind, answer.outcome.value).inc()
        if answer.outcome is Outcome.done:
            logger.info("%s", answer.text, extra={"event": "answer.done", "account": ask.by.key, "incident": answer.number})
        self.nudge()
        return answer


class Listening:
    """Runs the listeners of a configuration until stopped; a reload stops these and starts others."""

    def __init__(self, store: Store, clock: Clock, owner: str, ear: Ear) -> None:
        self.store, self.clock, self.owner, self.ear = store, clock, owner, ear
        self.tasks: list[asyncio.Task[None]] = []
        self.listeners: Sequence[Listener] = ()

    def start(self, listeners: Sequence[Listener]) -> None:
        self.listeners = listeners
        self.tasks = [asyncio.create_task(self.keep(listener), name=f"listen {listener.name}") for listener in listeners]

    def states(self) -> dict[str, str]:
        """For health: what listens, and what has ended although it should not."""
        return {task.get_name(): "stopped" if task.done() and (task.cancelled() or task.exception()) else "running"
                for task in self.tasks}

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.gather(*(listener.aclose() for listener in self.listeners), return_exceptions=True)

    async def keep(self, listener: Listener) -> None:
        """Until cancelled. No error of a provider ends it."""
        while True:
            try:
                await (self.alone(listener) if listener.is_exclusive else listener.listen(self.ear.hear))
                return
            except Busy as error:
                logger.warning("cannot listen: %s", error, extra={"event": "listen.busy", "listener": listener.name})
            except (OSError, RuntimeError, ValueError, LookupError, TypeError, ArithmeticError, AttributeError) as error:
                logger.error("listening failed (%s); it goes on", type(error).__name__, extra={
                    "event": "listen.failed", "listener": listener.name})
            await self.clock.sleep(AGAIN_SECONDS)

    async def alone(self, listener: Listener) -> None:
        """Listen while the lease is this replica's."""
        while True:
            while not await self.leads(listener):
                await self.clock.sleep(RENEW_SECONDS)
            listening = asyncio.create_task(self.listen(listener), name=f"ask {listener.name}")
            try:
                while not listening.done() and await self.leads(listener):
                    await asyncio.wait({listening}, timeout=RENEW_SECONDS)
            finally:
                listening.cancel()
                with suppress(asyncio.CancelledError):
                    await listening
            if not listening.cancelled():
                return

    async def listen(self, listener: Listener) -> None:
        await listener.listen(self.ear.hear)

    async def leads(self, listener: Listener) -> bool:
        now = self.clock.now()
        return await self.store.write(lambda tx: leases.lead(tx, f"listen {listener.name}", self.owner, now, TERM))
