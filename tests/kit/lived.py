"""One random history of a hub with guarded actions, in-process: what its counterparts saw, what people clicked, when the source
was asked; killed and started again in between. What must hold of it is judged in tests/flow/test_histories.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from alerthub.actions.base import ActionSettings, Call, Outcome, Report
from alerthub.domain.command import Outcome as Said
from alerthub.domain.command import Verb
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.reconcile import Listed, Peer
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Approval, Direction, Release, Rules, SourceRule
from alerthub.flow import watch
from alerthub.flow.act import Claimed
from alerthub.flow.serving import Armed
from alerthub.store import runs
from alerthub.store.database import Store
from alerthub.store.runs import Run
from alerthub.store.schema import action_runs
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START, FakeClock
from tests.kit.world import World, person, rules_for, safe_mode

BTC, ETH = "agent-btc", "agent-eth"
PEOPLE = {name: person(name, role) for name, role in (
    ("ayse", "responder"), ("bora", "approver"), ("can", "approver"), ("deniz", "approver"), ("emre", "admin"))}
APPROVERS, ADMIN, NEEDED = {"bora", "can", "deniz"}, "emre", 2
CLEAR_FOR, BLIND_AFTER = 600.0, 300.0       # seconds
DEADLINE = 30.0                             # of every action; what hangs for longer has given up
LONG_AGO = START - timedelta(days=20)
# An alert is its name and the agent that it is about.
ALERTS = [("Losing", BTC), ("Drifting", BTC), ("Losing", ETH), ("Slow", ""), ("Stale", "")]


def rules(edition: int = 1) -> Rules:
    """Each edition is the configuration after a reload that changed every action."""
    version, approval = str(edition), Approval("approver", NEEDED, timedelta(minutes=15))
    actions = [
        safe_mode(releases=True, version=version),
        ActionRule("scale", "http", Direction.neutral, ("scaler",), cooldown=timedelta(minutes=10 * edition), max_per_hour=3,
                   version=version),
        ActionRule("retrain", "http", Direction.neutral, ("drl",), approval=approval, version=version)]
    routes = [Route("alerts", parse_matchers(f'alertname=~"{names}"'), actions=(action,), group_by=("alertname", "agent"))
              for names, action in (("Losing|Drifting", "safe-mode"), ("Slow", "scale"), ("Stale", "retrain"))]
    return rules_for(
        Route("alerts", group_by=("alertname", "agent"), routes=tuple(routes)), actions=actions,
        targets=[BTC, ETH, "scaler", "drl"], people=PEOPLE, version=version,
        releases={target: Release(timedelta(seconds=CLEAR_FOR), approval, "trading") for target in (BTC, ETH)},
        sources={"alertmanager": SourceRule("alertmanager", "alertmanager", reconcile_urls=("http://am",))})


class Killed(BaseException):
    """kill -9: nothing of that process is done any more."""


def unless_killed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a killed task raised is known already."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)


@dataclass(frozen=True, slots=True)
class Seen:
    """A counterpart was called. `clicks` is how many there had been by then; `wall` is what the clock would show without the
    jumps that the hub has followed."""

    call: Call
    round: int
    wall: datetime
    elapsed: float
    clicks: int
    fires: bool                 # in truth, an alert of its target
    frozen: frozenset[str]
    rule: ActionRule


@dataclass(frozen=True, slots=True)
class Click:
    """One that was done. `what`: a target, a run's id, or the scope of a freeze."""

    by: str
    verb: Verb
    what: str


class MortalStore:
    """The real store under a process that can be killed."""

    def __init__(self, store: Store, life: Life) -> None:
        self.store, self.life = store, life

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def write(self, unit: Callable[..., Any]) -> Any:
        def watched(tx: Any) -> Any:
            if self.life.is_dead:
                raise Killed
            before = settled(tx)
            result = unit(tx)
            is_starting = isinstance(result, Claimed) and bool(result.started)
            self.life.reached("not started", is_starting)
            self.life.reached("not settled", settled(tx) > before)
            return result

        return await self.store.write(watched)


def settled(tx: Any) -> int:
    """Runs that were started and have ended."""
    ended = action_runs.c.started_at.is_not(None) & action_runs.c.finished_at.is_not(None)
    return int(tx.conn.execute(select(func.count()).select_from(action_runs).where(ended)).scalar_one())


@dataclass
class Counterpart:
    """What an action acts on, as the real actions do: each call is one request at most, and a release that was broken off
    only looks."""

    life: Life
    name: str

    async def run(self, call: Call) -> Report:
        life = self.life
        life.calls.append(life.seen(call, self.name))
        life.reached("started", True)
        began = life.world.clock.elapsed
        if life.hangs and (call.release or self.name != "safe-mode"):
            await life.hang()
        is_too_late = life.world.clock.elapsed - began > DEADLINE
        if is_too_late or (call.release and call.resumed):
            is_there = life.modes.get(call.target or "") == (call.release or "safe")
            return Report(Outcome.succeeded if is_there and not is_too_late else Outcome.unknown, "looked")
        if life.outcome is not Outcome.failed:
            life.modes[call.target or ""] = call.release or "safe"
        life.reached("acted", True)
        return Report(life.outcome, "done")


@dataclass
class Life:
    """The steps of a history are its methods."""

    store: Store
    clock: FakeClock
    calls: list[Seen] = field(default_factory=list)
    clicks: list[Click] = field(default_factory=list)
    looks: list[tuple[float, frozenset[tuple[str, str]]]] = field(default_factory=list)
    firing: set[tuple[str, str]] = field(default_factory=set)
    fired_after: dict[str, int] = field(default_factory=dict)      # by target: how many clicks there had been
    modes: dict[str, str] = field(default_factory=lambda: {BTC: "trading", ETH: "trading"})
    frozen: set[str] = field(default_factory=set)
    outcome: Outcome = Outcome.succeeded
    dies_at: str = ""
    is_dead: bool = False
    hangs: bool = False
    hanging: int = 0
    rounds: int = 0
    crashes: int = 0
    followed: timedelta = timedelta(0)      # by how much the clock has jumped while somebody could see it

    def __post_init__(self) -> None:
        asyncio.get_running_loop().set_exception_handler(unless_killed)
        self.changed, self.gate = asyncio.Event(), asyncio.Event()
        self.world = World(MortalStore(self.store, self), rules(), self.clock)      # type: ignore[arg-type]
        self.reload(1)

    # -- what happens

    async def fire(self, which: tuple[str, str]) -> None:
        name, agent = which
        if which not in self.firing:
            self.fired_after[agent] = len(self.clicks)
        self.firing.add(which)
        await self.world.receive(firing(name, agent=agent))
        self.clock.advance(seconds=1)

    async def resolve(self, which: tuple[str, str]) -> None:
        self.firing.discard(which)
        await self.world.receive(resolved(which[0], agent=which[1]))
        self.clock.advance(seconds=1)

    async def look(self, minutes: int) -> None:
        for _ in range(minutes):
            now = self.clock.now()
            alerts = [firing(name, agent=agent) for name, agent in self.firing]
            peers = [Peer(LONG_AGO, {alert.identity: Listed(alert.labels, False) for alert in alerts})]
            await self.world.store.write(lambda tx, at=now, seen=peers: watch.reconcile(
                tx, self.world.rules, "alertmanager", seen, at, at))
            self.looks.append((self.clock.elapsed, frozenset(self.firing)))
            self.clock.advance(minutes=1)

    async def click(self, said: tuple[Verb, str, str]) -> None:
        verb, by, what = said
        subject = what
        if what == "run":
            waiting = [run for run in await self.runs() if run.state == "awaiting_approval"]
            if not waiting:
                return
            subject, what = waiting[0].code, waiting[0].id
        answer = await self.world.command(verb, by=by, subject=subject, text="seen")
        if answer.outcome is not Said.done:
            return
        self.clicks.append(Click(by, verb, what))
        if verb in (Verb.freeze, Verb.unfreeze):
            (self.frozen.add if verb is Verb.freeze else self.frozen.discard)(what)

    async def silence(self, number: int) -> None:
        await self.world.command(Verb.silence, number, until=self.clock.now() + timedelta(hours=4))
        await self.world.command(Verb.acknowledge, number)

    async def wait(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    async def jump(self, seconds: int) -> None:
        """Of the wall clock, under a running worker, which sees it."""
        await self.world.worker.hours.follow()
        self.clock.moment += timedelta(seconds=seconds)
        self.followed += timedelta(seconds=seconds)
        await self.world.worker.hours.follow()

    async def jump_while_down(self, seconds: int) -> None:
        """Nobody could see it."""
        await self.restart()
        self.clock.moment += timedelta(seconds=seconds)

    async def configure(self, edition: int) -> None:
        self.reload(edition)

    def reload(self, edition: int) -> None:
        self.world.configure(rules(edition))
        self.world.arsenal = {(name, target): Armed(Counterpart(self, name), ActionSettings(name=name, type="any", target="any"))
                              for name, target in self.world.arsenal}

    async def will(self, outcome: Outcome) -> None:
        """How the counterparts answer from now on."""
        self.outcome = outcome

    async def hold(self, hangs: bool) -> None:
        """From now on relaxing and neutral calls hang until they are let go."""
        self.hangs = hangs
        if not hangs:
            await self.let_go()

    async def crash(self, where: str) -> None:
        """The next time that it gets there."""
        self.dies_at = where

    # -- the process

    async def round(self, times: int = 1) -> None:
        """One turn of the worker's loop and what it started, but for what hangs."""
        for _ in range(times):
            self.rounds += 1
            with suppress(Killed):
                await self.world.worker.run_once()
            await self.rest()
            if self.is_dead:
                self.crashes += 1
                await self.restart()

    async def restart(self, _: Any = None) -> None:
        self.is_dead = True
        tasks = list(self.world.worker.under_way)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.is_dead, self.hanging, self.dies_at, self.gate = False, 0, "", asyncio.Event()
        self.world.worker = self.world.new_worker(f"replica-{self.rounds}")

    async def rest(self) -> None:
        """Until everything under way has ended or hangs."""
        while len(self.world.worker.under_way) > self.hanging:
            self.changed.clear()
            waiter = asyncio.create_task(self.changed.wait())
            await asyncio.wait({*self.world.worker.under_way, waiter}, return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
            await asyncio.sleep(0)

    async def let_go(self) -> None:
        self.hanging = 0
        self.gate.set()
        self.gate = asyncio.Event()
        await self.rest()
        if self.is_dead:
            self.crashes += 1
            await self.restart()

    async def hang(self) -> None:
        gate = self.gate
        self.hanging += 1
        self.changed.set()
        await gate.wait()

    def reached(self, where: str, is_there: bool) -> None:
        if self.is_dead or (is_there and self.dies_at == where):
            self.is_dead = True
            raise Killed

    async def come_to_rest(self) -> None:
        """Everything works again, and time passes."""
        self.outcome, self.hangs = Outcome.succeeded, False
        await self.restart()
        for seconds in (0, 120, 7_200, 7_200):
            self.clock.advance(seconds=seconds)
            await self.round(4)
        await self.world.settle_down(30, 5)

    # -- what is looked at

    def seen(self, call: Call, action: str) -> Seen:
        fires = any(agent == call.target for _, agent in self.firing)
        wall = self.clock.now() - self.followed
        return Seen(call, self.rounds, wall, self.clock.elapsed, len(self.clicks), fires, frozenset(self.frozen),
                    replace(self.world.rules.actions[action]))

    async def runs(self) -> list[Run]:
        return await self.store.read(lambda tx: runs.recent(tx, 1_000))
