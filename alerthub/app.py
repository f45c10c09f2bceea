"""The composition root: a configuration becomes a running Hub. Everybody is constructed here and nobody knows this file."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
from pydantic import BaseModel, SecretStr
from starlette.applications import Starlette

from alerthub import actions as action_kinds
from alerthub import channels as channel_kinds
from alerthub import log
from alerthub import sources as source_kinds
from alerthub.actions.base import ActionWire
from alerthub.channels.base import ATTEMPT_SECONDS, Channel, Wire
from alerthub.clock import Clock, SystemClock
from alerthub.config import Config, compile_rules, load
from alerthub.config_model import ConfigModel
from alerthub.domain.alert import Alert, AlertStatus, Batch, Severity
from alerthub.domain.message import AlertLine, IncidentStatus, Link, Message, Why
from alerthub.domain.own import own_batch
from alerthub.domain.rules import Destination, Rules
from alerthub.domain.runbook import Runbook
from alerthub.engine.doorway import Doorway
from alerthub.engine.rounds import Asker, Rounds
from alerthub.engine.worker import Plant, Worker
from alerthub.errors import AlerthubError, Busy, ConfigError, Problem, SendFailed
from alerthub.flow.act import Armed, Arsenal
from alerthub.metrics import Metrics
from alerthub.resources import folder
from alerthub.runbooks import read_runbooks
from alerthub.settings import revealed
from alerthub.sources.alertmanager import AlertmanagerSettings
from alerthub.sources.alertmanager_api import AlertmanagerAsker
from alerthub.sources.base import Source
from alerthub.store.database import Store, password_of
from alerthub.store.leases import resign
from alerthub.store.migrate import migrate
from alerthub.web.app import build as build_web
from alerthub.web.base import Door

logger = logging.getLogger("alerthub")
DRAIN_SECONDS = 12.0      # with uvicorn's grace it stays below the 30 s that Kubernetes gives (PROTOCOLS 7.6)
CONNECTIONS = httpx.Limits(max_connections=200, max_keepalive_connections=50)


@dataclass(frozen=True, slots=True)
class Equipment:
    """All that is made from one configuration; a reload makes another and swaps it whole."""

    config: Config
    plant: Plant
    sources: Mapping[str, Source]
    askers: Mapping[str, Asker]
    door: Door


def equip(config: Config, http: httpx.AsyncClient, clock: Clock) -> Equipment:
    """Construct what the configuration names. No I/O but runbooks; raises ConfigError with every problem."""
    hide_secrets(config.model)
    channels, destinations = make_channels(config, Wire(http, clock))
    rules = compile_rules(config, destinations, read_all_runbooks(config))
    sources = {entry.name: source_kinds.load(rules.sources[entry.name].type)(entry) for entry in config.model.sources}
    askers = {entry.name: AlertmanagerAsker(entry.reconcile, http) for entry in config.model.sources
              if isinstance(entry, AlertmanagerSettings) and entry.reconcile is not None}
    arsenal = make_arsenal(config, rules, ActionWire(http, clock))
    return Equipment(config, Plant(rules, channels, arsenal), sources, askers, door_of(config))


def make_channels(config: Config, wire: Wire) -> tuple[dict[str, Channel], dict[str, tuple[Destination, ...]]]:
    """One channel per destination; and the destinations of every receiver. Two receivers may share one."""
    channels: dict[str, Channel] = {}
    receivers: dict[str, tuple[Destination, ...]] = {}
    for receiver, kind, settings in config.channel_entries():
        make = partial(channel_kinds.load(kind), settings, config.model.global_, wire)
        channel = config.constructed(receiver, kind, settings, make)
        told = destination_of(receiver, channel, settings.send_resolved)
        channels.setdefault(told.key, channel)
        receivers[receiver] = (*receivers.get(receiver, ()), told)
    return channels, receivers


def destination_of(receiver: str, channel: Channel, send_resolved: bool) -> Destination:
    return Destination(
        key=f"{channel.kind}:{channel.address}", channel=channel.kind, address=channel.address, receiver=receiver,
        send_resolved=send_resolved, edits=channel.edits, digests=channel.digests,
        tells_untold_resolved=channel.tells_untold_resolved, every=timedelta(seconds=channel.budget.seconds),
        burst=channel.budget.burst)


def make_arsenal(config: Config, rules: Rules, wire: ActionWire) -> Arsenal:
    """Every action, ready for every target that it may act on."""
    targets = {target.name: target for target in config.model.targets}
    arsenal: dict[tuple[str, str], Armed] = {}
    for settings in config.model.actions:
        kind = action_kinds.load(settings.type)
        for name in rules.actions[settings.name].targets or ("",):
            try:
                arsenal[settings.name, name] = Armed(kind(settings, targets.get(name), wire), settings)
            except ValueError as error:
                raise ConfigError([Problem(config.document.file, 0, 0, f"action {settings.name}: {error}")]) from None
    return arsenal


def read_all_runbooks(config: Config) -> tuple[Runbook, ...]:
    """Those that travel with the program, and the user's own; of two with one name the user's counts."""
    found = {book.name: book for book in read_runbooks(folder("runbooks"))}
    if config.model.runbooks is not None:
        found.update((book.name, book) for book in read_runbooks(Path(config.model.runbooks.folder)))
    return tuple(found.values())


def hide_secrets(model: ConfigModel) -> None:
    """Every secret of the configuration is redacted from all output from now on (R-50)."""
    for value in (*secrets_in(model), password_of(model.database.url)):
        log.hide(value)


def secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item)


def door_of(config: Config) -> Door:
    server = config.model.server
    return Door(server.public_url, config.is_loopback, revealed(server.api_token) or "", server.max_body_size)


class Hub:
    """The running whole. `start` after construction, `stop` at the end; both may be called without a web server."""

    def __init__(self, config: Config, clock: Clock | None = None, http: httpx.AsyncClient | None = None) -> None:
        self.clock = clock or SystemClock()
        self.http = http or outbound()
        self.metrics = Metrics()
        self.owner = f"{socket.gethostname()}/{os.getpid()}/{self.clock.new_id()[-8:]}"
        self.equipment = equip(config, self.http, self.clock)
        self.store = Store(config.model.database.url, self.clock.new_id)
        self.worker = Worker(self.store, lambda: self.equipment.plant, self.clock, self.metrics, self.owner)
        self.rounds = Rounds(self.store, lambda: self.rules, lambda: self.equipment.askers, self.clock, self.metrics,
                             self.owner, self.worker.nudge)
        self.doorway = Doorway(self.store, lambda: self.rules, self.clock, self.metrics, self.worker.nudge)
        self.loops: dict[str, asyncio.Task[None]] = {}
        self.is_reloaded = True

    @property
    def rules(self) -> Rules:
        return self.equipment.plant.rules

    @property
    def door(self) -> Door:
        return self.equipment.door

    @property
    def sources(self) -> Mapping[str, Source]:
        return self.equipment.sources

    def migrate(self) -> str:
        return migrate(self.store)

    async def start(self) -> None:
        """Begin to work. Webhooks can be taken at once; what was left over is claimed first."""
        self.loops = {"worker": asyncio.create_task(self.worker.run(), name="worker"),
                      "rounds": asyncio.create_task(self.rounds.run(), name="rounds")}
        logger.info("alerthub is ready", extra={"event": "hub.started", "owner": self.owner, "config": self.rules.version})

    async def stop(self) -> None:
        """Claim nothing more, let what is under way end, hand over what this replica leads, close."""
        self.rounds.stop()
        await self.worker.stop(DRAIN_SECONDS)
        await asyncio.gather(*self.loops.values(), return_exceptions=True)
        try:
            await self.store.write(lambda tx: resign(tx, self.owner))
        except Busy as error:
            logger.warning("could not hand over: %s", error, extra={"event": "hub.resign"})
        await close_all(self.equipment.plant.channels.values())
        await self.http.aclose()
        await asyncio.to_thread(self.store.close)
        logger.info("alerthub has stopped", extra={"event": "hub.stopped"})

    async def take(self, batch: Batch) -> None:
        await self.doorway.take(batch)

    async def raise_own(self, alerts: list[Alert]) -> None:
        await self.doorway.take(own_batch(alerts, self.clock.now()))

    def nudge(self) -> None:
        self.worker.nudge()

    def components(self) -> Mapping[str, str]:
        """What runs in the background, and whether the last reload was taken over."""
        words = {name: "stopped" if task.done() else "running" for name, task in self.loops.items()}
        return {**words, "configuration": "running" if self.is_reloaded else "the last reload failed; the old one is in use"}

    def reload(self) -> list[str]:
        """Read the configuration again and swap it whole. On any problem the old one stays; the problems are returned."""
        old = self.equipment
        try:
            config = load(old.config.path, os.environ)
            fresh = equip(config, self.http, self.clock)
            if config.model.database.url != old.config.model.database.url:
                raise ConfigError([Problem(str(config.path), 0, 0, "database.url cannot change while the hub runs; restart it")])
        except ConfigError as error:
            self.is_reloaded = False
            self.metrics.reload.set(0)
            problems = [str(problem) for problem in error.problems]
            logger.error("configuration not taken over, the old one stays", extra={
                "event": "config.refused", "problems": problems})
            return problems
        self.equipment = fresh
        self.is_reloaded = True
        self.metrics.reload.set(1)
        logger.info("configuration taken over", extra={"event": "config.reloaded", "config": self.rules.version})
        self.retire(old)
        self.nudge()
        return []

    def retire(self, old: Equipment) -> None:
        """Close what the old configuration had opened, when what it is sending has ended."""

        async def later() -> None:
            await self.clock.sleep(ATTEMPT_SECONDS * 2)
            await close_all(old.plant.channels.values())

        self.loops["retired"] = asyncio.create_task(later(), name="retired")

    def web(self) -> Starlette:
        return build_web(self)


def outbound() -> httpx.AsyncClient:
    """The one client for calls out: no proxies from the environment, no redirects, no retries (R-21)."""
    return httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=ATTEMPT_SECONDS, limits=CONNECTIONS)


async def close_all(channels: Iterable[Channel]) -> None:
    await asyncio.gather(*(channel.aclose() for channel in channels), return_exceptions=True)


async def send_test(config: Config, receiver: str) -> list[tuple[str, str]]:
    """One message to each destination of a receiver; per destination its key and the error, empty when it was sent."""
    clock = SystemClock()
    async with outbound() as http:
        plant = equip(config, http, clock).plant
        if receiver not in plant.rules.receivers:
            known = ", ".join(sorted(plant.rules.receivers))
            raise AlerthubError(f"there is no receiver {receiver!r}; known are {known}")
        message = test_message(clock, plant.rules)
        results = []
        for told in plant.rules.receivers[receiver].destinations:
            results.append((told.key, await sent(plant.channels[told.key], message)))
        await close_all(plant.channels.values())
        return results


async def sent(channel: Channel, message: Message) -> str:
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            await channel.send(message, None)
    except TimeoutError:
        return f"no answer within {ATTEMPT_SECONDS:.0f} s"
    except SendFailed as error:
        return str(error)
    return ""


def test_message(clock: Clock, rules: Rules) -> Message:
    now = clock.now()
    line = AlertLine(AlertStatus.firing, {"alertname": "AlerthubTest", "severity": "info"},
                     {"summary": "This is a test message of AlertHub. Nothing is wrong."}, now, None)
    return Message(
        delivery_id=clock.new_id().replace("-", ""), incident_id=clock.new_id(), number=0, episode=1, why=Why.test,
        status=IncidentStatus.triggered, severity=Severity.info, title="Test message from AlertHub", at=now, opened_at=now,
        alerts=(line,), firing=1, common_labels=line.labels, common_annotations=line.annotations, source="alerthub",
        links=(Link("AlertHub", rules.public_url),))
