"""What a configuration is made into: channels, actions, sources, rules, the door. Constructed here, run by app.py."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import httpx

from alerthub import actions as action_kinds
from alerthub import channels as channel_kinds
from alerthub import log
from alerthub import sources as source_kinds
from alerthub.actions.base import ActionWire
from alerthub.channels.base import ATTEMPT_SECONDS, Channel, Listener, Wire
from alerthub.clock import Clock, SystemClock
from alerthub.config import Config, compile_rules
from alerthub.config.targets import permit_keys
from alerthub.config.tokens import tokens_of
from alerthub.contacts import how_answered, make_contacts, make_listeners
from alerthub.domain.alert import AlertStatus, Severity
from alerthub.domain.message import AlertLine, IncidentStatus, Link, Message, Why
from alerthub.domain.rules import Destination, Rules
from alerthub.domain.runbook import Runbook
from alerthub.engine.attempts import Plant
from alerthub.engine.rounds import Asker
from alerthub.engine.silencing import Keeper
from alerthub.errors import AlerthubError, ConfigError, SendFailed
from alerthub.flow.serving import Armed, Arsenal
from alerthub.outbound import client
from alerthub.registry import named
from alerthub.resources import folder
from alerthub.runbooks import read_runbooks
from alerthub.settings import revealed, secrets_in
from alerthub.sources.alertmanager import AlertmanagerSettings
from alerthub.sources.alertmanager_api import AlertmanagerAsker
from alerthub.sources.alertmanager_silences import AlertmanagerSilences
from alerthub.sources.base import Source
from alerthub.store.address import password_of
from alerthub.web.base import Door, Limits, Provider

OIDC = "alerthub.oidc:Oidc"


@dataclass(frozen=True, slots=True)
class Equipment:
    """All that is made from one configuration; a reload makes another and swaps it whole."""

    config: Config
    plant: Plant
    listeners: tuple[Listener, ...]
    sources: Mapping[str, Source]
    askers: Mapping[str, Asker]
    keepers: Mapping[str, Keeper]
    door: Door
    provider: Provider | None = None


def equip(config: Config, http: httpx.AsyncClient, clock: Clock) -> Equipment:
    """Construct what the configuration names. No I/O but runbooks; raises ConfigError with every problem."""
    hide_secrets(config)
    wire = Wire(http, clock)
    listeners = make_listeners(config, wire)
    heard = frozenset(listener.kind for listener in listeners)
    channels, destinations = make_channels(config, wire, heard)
    contacts: dict[str, tuple[Destination, ...]] = {}
    for person, own in make_contacts(config, wire).items():
        contacts[person] = tuple(replace(destination_of(person, channel, send_resolved=True), is_personal=True,
                                         answers=how_answered(config, channel, heard)) for channel in own)
        for told, channel in zip(contacts[person], own, strict=True):
            channels.setdefault(told.key, channel)
    rules = compile_rules(config, destinations, read_all_runbooks(config), contacts)
    sources = {entry.name: source_kinds.load(rules.sources[entry.name].type)(entry) for entry in config.model.sources}
    askers = {entry.name: AlertmanagerAsker(entry.reconcile, http) for entry in config.model.sources
              if isinstance(entry, AlertmanagerSettings) and entry.reconcile is not None}
    keepers = {entry.name: AlertmanagerSilences(entry.reconcile, http) for entry in config.model.sources
               if isinstance(entry, AlertmanagerSettings) and entry.reconcile is not None}
    arsenal = make_arsenal(config, rules, ActionWire(http, clock))
    return Equipment(config, Plant(rules, channels, arsenal), listeners, sources, askers, keepers, door_of(config),
                     provider_of(config, http))


def make_channels(config: Config, wire: Wire, heard: frozenset[str]) -> tuple[
        dict[str, Channel], dict[str, tuple[Destination, ...]]]:
    """One channel per destination; and the destinations of every receiver. Two receivers may share one. That each can be
    made, `load` has tried."""
    channels: dict[str, Channel] = {}
    receivers: dict[str, tuple[Destination, ...]] = {}
    for receiver, kind, settings in config.channel_entries():
        channel: Channel = channel_kinds.load(kind)(settings, config.model.global_, wire)
        told = replace(destination_of(receiver, channel, settings.send_resolved), answers=how_answered(config, channel, heard))
        channels.setdefault(told.key, channel)
        receivers[receiver] = (*receivers.get(receiver, ()), told)
    return channels, receivers


def destination_of(receiver: str, channel: Channel, send_resolved: bool) -> Destination:
    return Destination(
        key=f"{channel.kind}:{channel.address}", channel=channel.kind, address=channel.address, receiver=receiver,
        send_resolved=send_resolved, edits=channel.edits, digests=channel.digests,
        tells_untold_resolved=channel.tells_untold_resolved, every=timedelta(seconds=channel.budget.seconds),
        burst=channel.budget.burst, echoes=channel.kind == "pagerduty")


def make_arsenal(config: Config, rules: Rules, wire: ActionWire) -> Arsenal:
    """Every action, ready for every target that it may act on. That each can be made, `load` has tried."""
    targets = {target.name: target for target in config.model.targets}
    arsenal: dict[tuple[str, str], Armed] = {}
    for settings in config.model.actions:
        kind = action_kinds.load(settings.type)
        for name in rules.actions[settings.name].targets or ("",):
            arsenal[settings.name, name] = Armed(kind(settings, targets.get(name), wire), settings)
    return arsenal


def read_all_runbooks(config: Config) -> tuple[Runbook, ...]:
    """Those that travel with the program, and the user's own; of two with one name the user's counts."""
    found = {book.name: book for book in read_runbooks(folder("runbooks"))}
    if config.model.runbooks is not None:
        found.update((book.name, book) for book in read_runbooks(Path(config.model.runbooks.folder)))
    return tuple(found.values())


def hide_secrets(config: Config) -> None:
    """Every secret of the configuration is redacted from all output from now on (R-50)."""
    try:
        password = password_of(config.model.database.url)
    except ValueError:      # whose text may hold it
        problem = config.document.problem(("database", "url"), "not an address; write postgresql://user:password@host:5432/name")
        raise ConfigError([problem]) from None
    for value in (*secrets_in(config.model), password):
        log.hide(value)


def door_of(config: Config) -> Door:
    server = config.model.server
    return Door(server.public_url, config.is_loopback, revealed(server.api_token) or "", server.max_body_size,
                people=tokens_of(config.model), permit_keys=permit_keys(config.model),
                limits=Limits(config.model.access.session.idle, config.model.access.session.absolute))


def provider_of(config: Config, http: httpx.AsyncClient) -> Provider | None:
    """Imported where it is wanted only: it needs the extra `oidc`."""
    settings = config.model.access.oidc
    if settings is None:
        return None
    made: Provider = named(OIDC)(settings, http, config.model.server.public_url)
    return made


def outbound() -> httpx.AsyncClient:
    """The one client for calls out: no proxies from the environment, no redirects, no retries (R-21)."""
    return client(timeout=ATTEMPT_SECONDS)


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
