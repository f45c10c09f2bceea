"""A hub with a fake clock and scripted channels: stories read as sentences over it. The store is the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from alerthub.actions.base import ActionSettings, Call, Outcome, Report
from alerthub.clock import Clock, SteeredClock
from alerthub.domain.alert import Alert, Batch
from alerthub.domain.command import Answer, Ask, Command, Press, Typed, Verb
from alerthub.domain.incident import Incident
from alerthub.domain.message import Message, Receipt
from alerthub.domain.person import Account, Person
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Destination, Direction, Receiver, Rules, SourceRule
from alerthub.engine.attempts import Plant
from alerthub.engine.timed import Timed
from alerthub.engine.worker import Worker
from alerthub.errors import SendFailed
from alerthub.flow import watch
from alerthub.flow.intake import Taken, take_in
from alerthub.flow.respond import hear
from alerthub.flow.serving import Armed
from alerthub.metrics import Metrics
from alerthub.store import alerts as alert_store
from alerthub.store import reading
from alerthub.store.database import Store
from alerthub.store.runs import Run, of_incident
from tests.kit.alerts import batch
from tests.kit.clock import FakeClock


@dataclass
class ScriptedChannel:
    """A destination that records what it is told. `failures` are raised, first in first out; then it works."""

    destination: Destination
    told: list[tuple[Message, Receipt | None]] = field(default_factory=list)
    failures: list[SendFailed | Exception] = field(default_factory=list)
    broken: SendFailed | None = None
    gate: asyncio.Event | None = None
    attempts: int = 0

    async def send(self, message: Message, previous: Receipt | None) -> Receipt:
        self.attempts += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        if self.broken is not None:
            raise self.broken
        self.told.append((message, previous))
        return previous or Receipt({"ts": f"{len(self.told)}.000"})

    async def aclose(self) -> None: ...

    @property
    def messages(self) -> list[Message]:
        return [message for message, _ in self.told]

    def expect(self, text: str) -> Message:
        """The oldest unread message, which must hold the text; it is read by that."""
        assert self.told, f"{self.destination.key} was told nothing, expected {text!r}"
        message, _ = self.told.pop(0)
        said = f"{message.why} {message.status} {message.title} {' '.join(message.news)} {message.digest}"
        assert text in said, f"{self.destination.key} was told {said!r}, expected {text!r}"
        return message

    def expect_nothing(self) -> None:
        assert not self.told, f"{self.destination.key} was told {[message.title for message in self.messages]}"


@dataclass
class ScriptedAction:
    """An action that records its calls and answers with a scripted report."""

    report: Report = field(default_factory=lambda: Report(Outcome.succeeded, "done", verified="safe"))
    calls: list[Call] = field(default_factory=list)
    error: Exception | None = None
    hold: asyncio.Event | None = None

    async def run(self, call: Call) -> Report:
        self.calls.append(call)
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return self.report


def destination(key: str, *, receiver: str = "alerts", **fields: Any) -> Destination:
    channel, _, address = key.partition(":")
    usual: dict[str, Any] = {"edits": channel in ("slack", "telegram", "pagerduty"), "digests": channel != "pagerduty",
                             "tells_untold_resolved": channel != "pagerduty"}
    return Destination(key, channel, address, receiver, **{**usual, **fields})


SLACK, TELEGRAM, EMAIL, PAGERDUTY = "slack:#alerts", "telegram:42", "email:risk@example.com", "pagerduty:main"


def rules_for(route: Route | None = None, *, receivers: dict[str, Sequence[Destination]] | None = None,
              actions: Sequence[ActionRule] = (), targets: Sequence[str] = (), **fields: Any) -> Rules:
    """Slack takes everything, unless told otherwise; mail stands beside it for alarms."""
    told = receivers or {"alerts": [destination(SLACK)], "mail": [destination(EMAIL, receiver="mail")]}
    fields.setdefault("sources", {"alertmanager": SourceRule("alertmanager", "alertmanager")})
    return Rules(route=route or Route("alerts", group_by=("alertname",)),
                 receivers={name: Receiver(name, tuple(members)) for name, members in told.items()},
                 actions={action.name: action for action in actions}, targets=frozenset(targets), **fields)


def person(name: str, role: str = "responder", **fields: Any) -> Person:
    """Known in Slack and Telegram by their name in capitals, and by mail."""
    accounts = {("slack", name.upper()), ("telegram", name.upper()), ("email", f"{name}@example.com")}
    return Person(name, role, accounts=frozenset(accounts), **fields)


def contact(key: str, **fields: Any) -> Destination:
    return destination(key, receiver="", is_personal=True, **fields)


def safe_mode(**fields: Any) -> ActionRule:
    usual: dict[str, Any] = {"target_label": "agent", "resumable": True, "version": "1"}
    return ActionRule("safe-mode", "safe_mode", Direction.tighten, **{**usual, **fields})


class World:
    """`receive` what a source says, `drain` the work that is due, `advance` the time, and look at what was told."""

    def __init__(self, store: Store, rules: Rules | None = None, clock: FakeClock | None = None) -> None:
        self.store = store
        self.clock = clock or FakeClock()
        self.steered: Clock = SteeredClock(self.clock) if store.is_sqlite else self.clock      # as the hub has it
        self.rules = rules or rules_for()
        self.channels: dict[str, ScriptedChannel] = {}
        self.actions: dict[tuple[str, str], ScriptedAction] = {}
        self.arsenal: dict[tuple[str, str], Armed] = {}
        self.metrics = Metrics()
        self.configure(self.rules)
        self.worker = self.new_worker("replica-1")

    def configure(self, rules: Rules) -> None:
        """Take over a configuration, as a reload does: known channels stay."""
        self.rules = rules
        for key, told in rules.destinations().items():
            self.channels.setdefault(key, ScriptedChannel(told))
        for action in rules.actions.values():
            for target in rules.targets or ("",):
                scripted = self.actions.setdefault((action.name, target), ScriptedAction())
                settings = ActionSettings(name=action.name, type=action.type, target="any")
                self.arsenal[action.name, target] = Armed(scripted, settings)

    def new_worker(self, owner: str) -> Worker:
        return Worker(self.store, self.plant, self.steered, self.metrics, owner, Timed(self.store, lambda: self.rules))

    def plant(self) -> Plant:
        return Plant(self.rules, self.channels, self.arsenal)

    def __getattr__(self, name: str) -> ScriptedChannel:
        known = {"slack": SLACK, "telegram": TELEGRAM, "email": EMAIL, "pagerduty": PAGERDUTY}
        if name in known and known[name] in self.__dict__.get("channels", {}):
            return self.channels[known[name]]
        raise AttributeError(name)

    async def receive(self, *alerts: Alert, **fields: Any) -> Taken:
        return await self.receive_batches(batch(*alerts, **{"at": self.clock.now(), **fields}))

    async def receive_batches(self, *batches: Batch) -> Taken:
        return await self.store.write(lambda tx: take_in(tx, self.rules, batches, self.clock.now()))

    async def ask(self, ask: Ask) -> Answer:
        return await self.store.write(lambda tx: hear(tx, self.rules, ask, self.clock.now()))

    async def press(self, message: Message, label: str, *, by: str = "ayse", key: str = "", place: str = "") -> Answer:
        """Click a button of a message, as the person of that name does in Slack."""
        token = next(button.token for button in message.buttons if button.label == label)
        return await self.ask(Press(token, Account("slack", by.upper(), by), key or self.clock.new_id(), place))

    async def say(self, words: str, *, by: str = "ayse", key: str = "") -> Answer:
        """Type a line, as the person of that name does in Telegram."""
        return await self.ask(Typed(words, Account("telegram", by.upper(), by), key or self.clock.new_id()))

    async def command(self, verb: Verb, number: int = 1, *, by: str = "ayse", **fields: Any) -> Answer:
        account = fields.pop("account", Account("slack", by.upper(), by))
        return await self.ask(Command(verb, str(number), account, fields.pop("key", "") or self.clock.new_id(), **fields))

    async def history(self, number: int = 1) -> list[str]:
        """The texts of an incident's events, oldest first."""
        return [event["text"] for event in (await self.incident(number))["events"]]

    async def drain(self, worker: Worker | None = None, rounds: int = 200) -> None:
        """Do all work that is due now, and what becomes due by it."""
        worker = worker or self.worker
        for _ in range(rounds):
            started = await worker.run_once()
            if worker.under_way:
                await asyncio.gather(*worker.under_way)
            if not started and (worker.due.timed is None or worker.due.timed > self.clock.now()):
                return
        raise AssertionError("the work does not come to an end")

    async def settle_down(self, seconds: float = 60, step: float = 1) -> None:
        """Let time pass in steps, doing what comes due: for budgets and back-off."""
        for _ in range(int(seconds / step)):
            await self.drain()
            self.clock.advance(seconds=step)
        await self.drain()

    async def advance(self, **span: float) -> None:
        self.clock.advance(**span)
        await self.drain()

    async def watch(self) -> None:
        await self.store.write(lambda tx: watch.mark_stale(tx, self.rules, self.clock.now()))

    async def incidents(self, status: str = "") -> list[dict[str, Any]]:
        return (await self.store.read(lambda tx: reading.list_incidents(tx, 200, None, status)))["items"]

    async def incident(self, number: int = 1) -> dict[str, Any]:
        found = await self.store.read(lambda tx: reading.one_incident(tx, str(number)))
        assert found is not None, f"there is no incident {number}"
        return found

    async def state(self, number: int = 1) -> Incident:
        found = await self.incident(number)
        state = await self.store.read(lambda tx: alert_store.find_incident(tx, found["id"]))
        assert state is not None
        return state

    async def runs(self, number: int = 1) -> list[Run]:
        found = await self.incident(number)
        return await self.store.read(lambda tx: of_incident(tx, found["id"]))

    async def deliveries(self) -> list[dict[str, Any]]:
        page = await self.store.read(lambda tx: reading.list_deliveries(tx, 200, None, "", only_dead=False))
        return list(reversed(page["items"]))
