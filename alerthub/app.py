"""The composition root: a configuration becomes a running Hub. What it is made of is constructed in equipment.py; nobody
below knows either file."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta

import httpx
from starlette.types import ASGIApp

from alerthub.channels.base import ATTEMPT_SECONDS, Listener
from alerthub.clock import Clock, SteeredClock, SystemClock
from alerthub.config import Config, load
from alerthub.domain.alert import Alert, Batch
from alerthub.domain.command import Answer, Ask, LinkView
from alerthub.domain.own import own_batch
from alerthub.domain.rules import Rules
from alerthub.engine.attempts import Plant
from alerthub.engine.calls import Calls
from alerthub.engine.doorway import Doorway
from alerthub.engine.listening import Ear, Listening
from alerthub.engine.live import Live
from alerthub.engine.rounds import Rounds
from alerthub.engine.silencing import Silencing
from alerthub.engine.sweep import sweep
from alerthub.engine.timed import Timed
from alerthub.engine.worker import Worker
from alerthub.equipment import close_all, equip, outbound
from alerthub.errors import Busy, ConfigError
from alerthub.flow import access, beat
from alerthub.flow.links import view
from alerthub.metrics import Metrics
from alerthub.outbound import NO_ANSWER
from alerthub.passwords import Passwords
from alerthub.sources.base import Source
from alerthub.store.accounts import adopt
from alerthub.store.calls import Caller
from alerthub.store.database import Store
from alerthub.store.leases import resign
from alerthub.store.migrate import ready
from alerthub.telemetry import tracer_for
from alerthub.web.app import build as build_web
from alerthub.web.base import Door, PasswordCheck, Provider

logger = logging.getLogger("alerthub")
TAKE_OVER_PAUSE = 1.0     # seconds
DRAIN_SECONDS = 12.0      # with uvicorn's grace it stays below the 30 s that Kubernetes gives (PROTOCOLS 7.6)


class Hub:
    """The running whole. `start` after construction, `stop` at the end; both may be called without a web server."""

    def __init__(self, config: Config, clock: Clock | None = None, http: httpx.AsyncClient | None = None) -> None:
        self.steered = SteeredClock(clock or SystemClock())
        self.clock: Clock = self.steered
        self.http = http or outbound()
        self.metrics = Metrics()
        traces = config.model.telemetry
        self.tracer = tracer_for(traces.otlp_endpoint if traces else "", os.environ)
        self.owner = f"{socket.gethostname()}/{os.getpid()}/{self.clock.new_id()[-8:]}"
        self.equipment = equip(config, self.http, self.clock)
        self.passwords: PasswordCheck = Passwords()
        self.store = Store(config.model.database.url, self.clock.new_id, self.clock.now,
                           Caller(self.owner, self.clock.monotonic))
        self.worker = Worker(self.store, lambda: self.equipment.plant, self.clock, self.metrics, self.owner,
                             Timed(self.store, lambda: self.rules), self.tracer)
        self.live = Live(self.store, self.clock)
        self.ear = Ear(self.store, lambda: self.rules, self.clock, self.metrics, self.nudge)
        self.listening = Listening(self.store, self.clock, self.owner, self.ear)
        self.silencing = Silencing(self.store, lambda: self.equipment.keepers, self.clock, self.owner)
        self.rounds = Rounds(self.store, lambda: self.rules, lambda: self.equipment.askers, self.clock, self.metrics,
                             self.owner, self.worker.nudge, self.ping, self.silencing.mirror, self.ping_interval)
        self.doorway = Doorway(self.store, lambda: self.rules, self.clock, self.metrics, self.worker.nudge,
                               tracer=self.tracer)
        self.calls = Calls(self.store, self.clock, self.metrics, self.owner, self.nudge, self.worker.hours.wanted.set)
        self.loops: dict[str, asyncio.Task[None]] = {}
        self.sweeping: asyncio.Task[None] | None = None
        self.retired: dict[asyncio.Task[None], Plant] = {}
        self.changing: asyncio.Task[None] | None = None
        self.changes: set[asyncio.Task[None]] = set()       # the one that is under way, and those that wait for it
        self.is_reloaded = True
        self.is_taken_over = True
        self.loaded_at = self.clock.now()
        self.problems: list[str] = []       # of the last reload

    @property
    def rules(self) -> Rules:
        return self.equipment.plant.rules

    @property
    def door(self) -> Door:
        return self.equipment.door

    @property
    def provider(self) -> Provider | None:
        return self.equipment.provider

    @property
    def sources(self) -> Mapping[str, Source]:
        return self.equipment.sources

    def migrate(self) -> str:
        return ready(self.store)

    @property
    def listeners(self) -> Sequence[Listener]:
        return self.equipment.listeners

    async def hear(self, ask: Ask) -> Answer:
        return await self.ear.hear(ask)

    async def link(self, token: str) -> LinkView:
        return await self.store.write(lambda tx: view(tx, self.rules, token, self.clock.now()))

    async def start(self) -> None:
        """Begin to work. Webhooks can be taken at once; what was left over is claimed first. Raises Busy when the database is
        away: nothing is claimed before it is known what time it is."""
        await (self.worker.hours.follow() if self.store.is_sqlite else self.worker.hours.look(self.steered))
        await self.take_over()
        self.listening.start(self.listeners)
        self.loops = {"worker": asyncio.create_task(self.worker.run(), name="worker"),
                      "rounds": asyncio.create_task(self.rounds.run(), name="rounds")}
        if not self.store.is_sqlite:
            self.loops["clock"] = asyncio.create_task(self.worker.hours.run(self.steered), name="clock")
            self.loops["replicas"] = asyncio.create_task(self.calls.run(), name="replicas")
        logger.info("alerthub is ready", extra={"event": "hub.started", "owner": self.owner, "config": self.rules.version})

    async def take_over(self) -> None:
        """What the configuration changes about what is there already: heartbeats, and alerts that fire."""
        await self.store.write(lambda tx: beat.start(tx, self.rules, self.clock.now()))
        await self.store.write(lambda tx: adopt(tx, self.rules.people.keys()))
        await self.offer_setup()
        if self.sweeping is not None:
            self.sweeping.cancel()
        self.sweeping = asyncio.create_task(sweep(self.store, self.rules, self.clock, self.metrics, self.nudge), name="sweep")

    async def offer_setup(self) -> None:
        """Whoever reads the console becomes the first admin, where one must log in and nobody can. Said once; only a hash is
        kept.
        """
        if self.provider is not None:
            return
        is_open = self.door.is_loopback and not self.door.api_token
        code = await self.store.write(lambda tx: access.offer_setup(tx, self.rules, self.clock.now(), is_open=is_open))
        if code:
            logger.warning("nobody can log in yet. Whoever opens this link first, within an hour, chooses a name and a password "
                           "and is the admin: %s/setup/%s (a new start makes a new one)", self.door.public_url, code,
                           extra={"event": "access.setup"})

    async def take_over_in_the_end(self) -> None:
        """However long the database is busy: a heartbeat that is missing is never said again."""
        while True:
            try:
                await self.take_over()
            except Busy as error:
                self.is_taken_over = False
                logger.warning("the new configuration waits: %s", error, extra={"event": "config.waits"})
                await self.clock.sleep(TAKE_OVER_PAUSE)
            else:
                self.is_taken_over = True
                return

    async def stop(self) -> None:
        """Claim nothing more, let what is under way end, hand over what this replica leads, close."""
        self.live.close()
        self.rounds.stop()
        self.worker.stop_claiming()
        self.worker.hours.stop()
        for change in self.changes:
            change.cancel()
        await asyncio.gather(*self.changes, return_exceptions=True)     # or one could still start to listen
        for task in (self.sweeping, self.loops.get("replicas")):
            if task is not None:
                task.cancel()
        await self.listening.stop()
        if self.loops:
            await asyncio.wait(self.loops.values(), timeout=DRAIN_SECONDS)
        await self.worker.stop(DRAIN_SECONDS)
        try:
            await self.store.write(lambda tx: resign(tx, self.owner))
        except Busy as error:
            logger.warning("could not hand over: %s", error, extra={"event": "hub.resign"})
        for waiting in self.retired:
            waiting.cancel()
        plants = (self.equipment.plant, *self.retired.values())
        await close_all(channel for plant in plants for channel in plant.channels.values())
        await self.http.aclose()
        await asyncio.to_thread(self.tracer.close)
        await asyncio.to_thread(self.store.close)
        logger.info("alerthub has stopped", extra={"event": "hub.stopped"})

    def ping_interval(self) -> timedelta | None:
        settings = self.equipment.config.model.server.ping
        return settings.interval if settings is not None else None

    async def ping(self) -> None:
        """Tell the outside dead man's switch that this replica lives: its database takes writes and its worker runs."""
        settings = self.equipment.config.model.server.ping
        if settings is None or settings.url is None or any(task.done() for task in self.loops.values()):
            return
        await self.store.write(lambda tx: None)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                answer = await self.http.get(settings.url.get_secret_value())
        except (*NO_ANSWER, TimeoutError) as error:
            logger.warning("the dead man's switch does not answer (%s)", type(error).__name__, extra={"event": "ping.failed"})
            return
        if not answer.is_success:
            logger.warning("the dead man's switch answered %d", answer.status_code, extra={"event": "ping.failed"})

    async def take(self, batch: Batch) -> None:
        await self.doorway.take(batch)

    async def raise_own(self, alerts: list[Alert]) -> None:
        await self.doorway.take(own_batch(alerts, self.clock.now()))

    def nudge(self) -> None:
        self.worker.nudge()
        self.live.nudge()

    def components(self) -> Mapping[str, str]:
        """What runs in the background, and whether the last reload was taken over."""
        words = {name: "stopped" if task.done() else "running" for name, task in self.loops.items()}
        words |= {"replicas": self.calls.state()} if words.get("replicas") == "running" else {}
        words |= self.listening.states()
        return {**words, "configuration": "the last reload failed; the old one is in use" if not self.is_reloaded else
                "running" if self.is_taken_over else "reloaded; what is there already is not looked at yet: the database is busy"}

    def reload(self) -> list[str]:
        """Read the configuration again and swap it whole. On any problem the old one stays; the problems are returned."""
        old = self.equipment
        try:
            config = load(old.config.path, os.environ)
            refuse_new_addresses(old.config, config)
            fresh = equip(config, self.http, self.clock)
        except ConfigError as error:
            self.is_reloaded = False
            self.metrics.reload.set(0)
            self.problems = problems = [str(problem) for problem in error.problems]
            logger.error("configuration not taken over, the old one stays", extra={
                "event": "config.refused", "problems": problems})
            return problems
        self.equipment = fresh
        self.is_reloaded = True
        self.loaded_at, self.problems = self.clock.now(), []
        self.metrics.reload.set(1)
        logger.info("configuration taken over", extra={"event": "config.reloaded", "config": self.rules.version})
        self.retire(old.plant)
        self.start_anew()
        self.nudge()
        return []

    def start_anew(self) -> None:
        """Listen by the new configuration, and no longer by the old one; watch its heartbeats. One change after the other."""
        before = self.changing

        async def change() -> None:
            if before is not None:
                await asyncio.wait([before])
            await self.listening.stop()
            self.listening = Listening(self.store, self.clock, self.owner, self.ear)
            self.listening.start(self.listeners)
            await self.take_over_in_the_end()
            self.nudge()

        self.changing = asyncio.create_task(change(), name="reload")
        self.changes.add(self.changing)
        self.changing.add_done_callback(self.changes.discard)

    def retire(self, old: Plant) -> None:
        """Close what the old configuration had opened, when what it is sending has ended."""

        async def later() -> None:
            await self.clock.sleep(ATTEMPT_SECONDS * 2)
            await close_all(old.channels.values())

        waiting = asyncio.create_task(later(), name="retired")
        self.retired[waiting] = old
        waiting.add_done_callback(lambda done: self.retired.pop(done, None))

    def web(self) -> ASGIApp:
        return build_web(self)


def refuse_new_addresses(old: Config, new: Config) -> None:
    """Both are opened once, at the start. And who is let in depends on where the hub listens in truth."""
    changed = {("database", "url"): old.model.database.url != new.model.database.url,
               ("server", "listen"): old.listen != new.listen}
    if problems := [new.document.problem(path, f"{'.'.join(path)} cannot change while the hub runs; restart it")
                    for path, is_changed in changed.items() if is_changed]:
        raise ConfigError(problems)
