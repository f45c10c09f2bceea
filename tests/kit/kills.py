"""kill -9 at every step of an action, many times, on both databases. `python -m tests.kit.kills 200` prints what came of it.

A nursery has imported everything and made the hub's parts from the configuration; each life is a fork of it, with a store and a
worker of its own and without a web server. A killed life leaves its database to the next one; now and then one is let live until
nothing is left to do.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Queue
from typing import Any

import httpx
from sqlalchemy import create_engine, func, select

from alerthub import log
from alerthub.clock import SystemClock
from alerthub.config import load
from alerthub.domain.alert import Alert, AlertStatus, Batch
from alerthub.domain.command import Command, Outcome, Verb
from alerthub.domain.person import Account
from alerthub.engine.worker import Worker
from alerthub.equipment import Equipment, equip
from alerthub.flow.intake import take_in
from alerthub.flow.respond import hear
from alerthub.metrics import Metrics
from alerthub.store.address import normal_url
from alerthub.store.database import Store
from alerthub.store.schema import action_runs, alerts, incidents, latches
from alerthub.toy_agent import ToyAgent
from tests.kit.crashing_hub import DeadlyAction, DeadlyStore, Step
from tests.kit.forked_hub import FORKS
from tests.kit.hub import NO_TLS
from tests.kit.passed_time import end_leases
from tests.kit.providers.http import Answer, FakeProvider, Request
from tests.kit.providers.receiver import FakeReceiver
from tests.kit.served import served
from tests.kit.stores import database

SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwOdF3aX8hYc4="
KINDS = ("neutral", "tighten", "relax")
NOT_STARTED, STARTED, SENT, ANSWERED, NOT_SETTLED, SETTLED = STEPS = (
    "start not committed", "start committed", "effect sent", "effect answered", "outcome not committed", "outcome committed")
# What a run must have come to after the restart, by kind and step; and whether the effect was caused.
OUTCOMES = {
    "neutral": {NOT_STARTED: ("succeeded", 1), STARTED: ("unknown", 0), SENT: ("unknown", 1), ANSWERED: ("unknown", 1),
                NOT_SETTLED: ("unknown", 1), SETTLED: ("succeeded", 1)},
    "tighten": dict.fromkeys(STEPS, ("succeeded", 1)),
    "relax": {step: ("unknown", 0) if step == STARTED else ("succeeded", 1) for step in STEPS},
}
RECOVERS_EVERY = 25     # kills
Page = tuple[str, str, bool]    # about a run: its incident, its target, and whether it is a release
LIFE_SECONDS = 30
CONFIG = """
server: {{listen: "127.0.0.1:8095"}}
database: {{url: "{database}"}}
sources: [{{name: alertmanager, type: alertmanager}}]
people: [{{name: emre, role: admin, slack: U012AB3CD}}]
receivers: [{{name: screen, console_configs: [{{}}]}}]
guards: {{max_per_hour: 0}}
targets:
  - {{name: scaler, type: http, url: "{machine.url}/scale", secret: {signing}}}
{targets}
actions:
  - {{name: scale, type: http, target: scaler, deadline: 5s, circuit: {{failures: 0}}}}
  - {{name: safe-mode, type: safe_mode, direction: tighten, target_label: agent, deadline: 2s}}
route:
  receiver: screen
  group_by: [alertname, number]
  routes:
    - {{matchers: ['alertname="Slow"'], actions: [scale]}}
    - {{matchers: ['alertname="Losing"'], actions: [safe-mode]}}
"""
TARGET = '  - {{name: agent-{number}, type: agent, url: "{url}/agent-{number}", secret: {signing}, release: {{mode: trading}}}}'


# -- the counterparts

class FakeAgents(FakeProvider):
    """Many toy agents behind one port, by the first part of the path."""

    def __init__(self, secret: str) -> None:
        super().__init__(self._answer)
        self.agents: dict[str, ToyAgent] = {}
        self.secret, self.clock = secret, SystemClock()

    def agent(self, name: str) -> ToyAgent:
        return self.agents.setdefault(name, ToyAgent(name, secret=self.secret))

    def _answer(self, request: Request) -> Answer:
        agent, is_push = self.agent(request.path.split("/")[1]), request.method == "POST"
        if not agent.admits(request.headers, request.body, self.clock.now(), signed=is_push):
            return Answer(401)
        if is_push:
            sent = request.json()
            agent.push(request.headers["webhook-id"], sent["mode"], sent["reason"])
        return Answer(body={"mode": agent.mode})


# -- a life, in a process of its own

@dataclass(frozen=True, slots=True)
class Order:
    """`step` is where it is killed; with none it lives until nothing is left to do. `numbers`: of the alerts that it is sent."""

    kind: str
    step: str = ""
    numbers: tuple[int, ...] = ()
    prepares: bool = False


def nurse(pipe: Any, folder: str, life: Any = None) -> None:
    """Bear one life after the other, of this kind. For each: who it is, and then how it ended."""
    output = os.open(f"{folder}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    log.configure(sys.stderr, json=False, level="warning")
    equipment = equip(load("alerthub.yml", os.environ), httpx.AsyncClient(verify=NO_TLS, trust_env=False), SystemClock())
    while (order := pipe.recv()) is not None:
        pid = os.fork()
        if pid == 0:
            live(equipment, order, life or Life)
        pipe.send(pid)
        pipe.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


@contextmanager
def nursing(folder: str, life: Any = None) -> Iterator[Any]:
    """The pipe to a nursery of the hub in this folder, which ends with the block."""
    pipe, other = FORKS.Pipe()
    nursery = FORKS.Process(target=nurse, args=(other, folder, life), daemon=True)
    nursery.start()
    try:
        yield pipe
    finally:
        pipe.send(None)
        nursery.join(10)
        nursery.kill()


def live(equipment: Equipment, order: Order, life: Any) -> None:
    code = 3
    try:
        asyncio.run(asyncio.wait_for(life(equipment, order).live(), LIFE_SECONDS))
        code = 0
    except BaseException:      # noqa: BLE001  (whatever it was, this process ends here)
        traceback.print_exc()
    finally:
        os._exit(code)


class Life:
    def __init__(self, equipment: Equipment, order: Order) -> None:
        self.url, self.order, self.clock = equipment.config.model.database.url, order, SystemClock()
        self.plant, self.rules = equipment.plant, equipment.plant.rules
        self.store = Store(self.url, self.clock.new_id)
        self.worker = Worker(self.store, lambda: self.plant, self.clock, Metrics(), f"life/{os.getpid()}")

    async def live(self) -> None:
        order = self.order
        if not order.step and not order.prepares:
            end_leases(self.url)
        if order.prepares:
            await self.fire("firing")
            await self.rest()
            await self.fire("resolved")
        elif order.step and order.kind == "relax":
            self.arm()
            await self.override()
        elif order.step:
            self.arm()
            await self.fire("firing")
        await self.rest()
        self.store.close()

    async def fire(self, status: str) -> None:
        now = self.clock.now()
        name = "Slow" if self.order.kind == "neutral" else "Losing"
        batch = Batch("alertmanager", now, tuple(Alert(
            {"alertname": name, "number": str(number), "agent": f"agent-{number}"}, AlertStatus(status), {}, now)
            for number in self.order.numbers))
        await self.worker.store.write(lambda tx: take_in(tx, self.rules, [batch], now))

    async def override(self) -> None:
        for number in self.order.numbers:
            command = Command(Verb.override, "", Account("slack", "U012AB3CD", "emre"), self.clock.new_id(), text="drill",
                              subject=f"agent-{number}")
            said = await self.worker.store.write(lambda tx, asked=command: hear(tx, self.rules, asked, self.clock.now()))
            assert said.outcome is Outcome.done, said

    async def rest(self) -> None:
        """Only actions; deliveries have their own crashes (test_crash)."""
        worker = self.worker
        unended = select(func.count()).select_from(action_runs).where(action_runs.c.finished_at.is_(None))
        while await self.store.read(lambda tx: tx.conn.execute(unended).scalar()):
            await worker.claim_runs(self.plant, self.clock.now())
            if worker.under_way:
                await asyncio.wait(worker.under_way)

    def arm(self) -> None:
        """Build the step in, for the runs that come from now on."""
        step = step_of(self.order, self.clock)
        if step.when is not None:
            self.worker.store = DeadlyStore(self.store, step)     # type: ignore[assignment]
        elif step.call:
            self.plant = replace(self.plant, actions={
                key: replace(found, action=DeadlyAction(found.action, step.call)) for key, found in self.plant.actions.items()})


def step_of(order: Order, clock: SystemClock) -> Step:
    """That the counterpart has the request is its own to say."""
    mine = (action_runs.c.direction == order.kind) & (action_runs.c.created_at >= clock.now())
    started, ended = mine & action_runs.c.started_at.is_not(None), mine & action_runs.c.finished_at.is_not(None)
    return {NOT_STARTED: Step(started, committed=False), STARTED: Step(started), SENT: Step(), ANSWERED: Step(call="after"),
            NOT_SETTLED: Step(ended, committed=False), SETTLED: Step(ended)}[order.step]


# -- one step, many kills

@dataclass
class Tried:
    """What came of so many kills at one step. `broken` is empty when every promise was kept."""

    database: str
    kind: str
    step: str
    kills: int = 0
    seconds: float = 0.0
    effects: int = 0
    doubled: int = 0
    states: Counter[str] = field(default_factory=Counter)
    paged: int = 0
    verified: int = 0
    broken: list[str] = field(default_factory=list)


class Ward:
    """One database, its counterparts, and the nursery of the lives on it."""

    def __init__(self, url: str, kind: str, step: str, kills: int) -> None:
        self.url, self.kind, self.step, self.kills = url, kind, step, kills
        self.machine, self.agents = FakeReceiver(SIGNING), FakeAgents(SIGNING)
        self.born: Queue[int] = Queue()

    @contextmanager
    def opened(self) -> Iterator[Ward]:
        with tempfile.TemporaryDirectory(prefix="ah-") as folder, served(self.machine, self.agents):
            targets = "\n".join(TARGET.format(number=number, url=self.agents.url, signing=SIGNING)
                                for number in range(self.kills))
            (Path(folder) / "alerthub.yml").write_text(CONFIG.format(
                database=self.url, machine=self.machine, signing=SIGNING, targets=targets))
            self.folder = Path(folder)
            with nursing(folder) as self.pipe:
                yield self

    def bear(self, **order: Any) -> int:
        """How a life ended."""
        self.pipe.send(Order(self.kind, **order))
        self.born.put(self.pipe.recv())
        code = int(self.pipe.recv())
        if not self.born.empty():
            self.born.get()         # nobody had to strike it
        return code

    def must(self, wanted: int, **order: Any) -> None:
        if (code := self.bear(**order)) != wanted:
            raise AssertionError(f"a life ended with {code}, not {wanted}:\n{(self.folder / 'log').read_text()[-4000:]}")

    def kill_each(self) -> Tried:
        tried = Tried(normal_url(self.url).partition("+")[0].partition(":")[0], self.kind, self.step, self.kills)
        if self.kind == "relax":
            for first in range(0, self.kills, RECOVERS_EVERY):
                self.must(0, prepares=True, numbers=tuple(range(first, min(first + RECOVERS_EVERY, self.kills))))
        for number in range(self.kills):
            if self.step == SENT:
                self.strike_once()
            began = time.monotonic()
            self.must(-signal.SIGKILL, step=self.step, numbers=(number,))
            tried.seconds += time.monotonic() - began
            if (number + 1) % RECOVERS_EVERY == 0:
                self.must(0)
        self.must(0)
        return tried

    def strike_once(self) -> None:
        """The counterpart does what it is asked for, and kills before anybody hears of it."""
        counterpart = self.machine if self.kind == "neutral" else self.agents
        healthy: Callable[[Request], Answer] = counterpart.answer

        def answer(request: Request) -> Answer:
            reply = healthy(request)
            if request.method == "POST":
                counterpart.answer = healthy
                os.kill(self.born.get(timeout=LIFE_SECONDS), signal.SIGKILL)
            return reply

        counterpart.answer = answer


# -- what came of it

def judged(ward: Ward, tried: Tried) -> Tried:
    """From what the counterparts saw and what the database tells: what was broken."""
    runs, pages, states = told(ward.url)
    mine = [run for run in runs if run["direction"] == ward.kind]
    wanted, effects = OUTCOMES[ward.kind][ward.step]
    if len(mine) != ward.kills:
        tried.broken.append(f"{len(mine)} runs for {ward.kills} alerts")
    for run in runs:
        if run["state"] in ("failed", "unknown") and page_of(run) not in pages:
            tried.broken.append(f"{run['direction']} of {run['target']} is {run['state']}, and nobody was paged")
    for run in mine:
        asked = requests(ward, run)
        tried.states[run["state"]] += 1
        tried.paged += page_of(run) in pages
        tried.effects += bool(asked)
        tried.doubled += asked > 1 and ward.kind != "tighten"
        tried.verified += json.loads(run["report"] or "{}").get("verified") == ("safe" if ward.kind == "tighten" else "trading")
        if (run["state"], bool(asked)) != (wanted, bool(effects)):
            tried.broken.append(f"{run['id']} is {run['state']} after {asked} requests, not {wanted} after {effects}")
    if tried.doubled:
        tried.broken.append(f"{tried.doubled} effects were caused twice")
    tried.broken += [problem for number in range(ward.kills) if ward.kind != "neutral"
                     for problem in unsafe(ward.agents.agent(f"agent-{number}"), states, pages)]
    return tried


def page_of(run: dict[str, Any]) -> Page:
    return run["incident_id"], run["target"], run["direction"] == "relax"


def requests(ward: Ward, run: dict[str, Any]) -> int:
    if ward.kind == "neutral":
        return ward.machine.ids().count(run["id"])
    return sum(push.id == run["id"] for push in ward.agents.agent(run["target"]).pushes)


def unsafe(agent: ToyAgent, states: dict[str, str], pages: set[Page]) -> Iterator[str]:
    """It is never armed without the latch saying so, or a page."""
    state = states.get(agent.name, "armed")
    if state not in ("safe", "released"):
        yield f"the latch of {agent.name} is {state}"
    if (agent.mode == "safe") != (state == "safe") and not any(target == agent.name for _, target, _ in pages):
        yield f"{agent.name} is in mode {agent.mode}, its latch says {state}, and nobody was paged"


def told(url: str) -> tuple[list[dict[str, Any]], set[Page], dict[str, str]]:
    """Runs; the pages about runs, from the hub's own critical incidents; the states of latches."""
    engine = create_engine(normal_url(url))
    try:
        with engine.begin() as connection:
            runs = [dict(row._mapping) for row in connection.execute(select(action_runs).order_by(action_runs.c.id))]
            own = (select(alerts.c.content).join(incidents, incidents.c.id == alerts.c.incident_id)
                   .where(incidents.c.source == "alerthub", incidents.c.severity == "critical"))
            labels = [json.loads(content)["labels"] for content in connection.execute(own).scalars()]
            states = {row.target: row.state for row in connection.execute(select(latches.c.target, latches.c.state))}
        pages = {(found["incident"], found["target"], found.get("direction") == "relax")
                 for found in labels if "incident" in found}
        return runs, pages, states
    finally:
        engine.dispose()


def try_out(which: str, kind: str, step: str, kills: int) -> Tried:
    with (tempfile.TemporaryDirectory(prefix="ah-") as folder, database(which, Path(folder)) as url,
          Ward(url, kind, step, kills).opened() as ward):
        return judged(ward, ward.kill_each())


def line(tried: Tried) -> str:
    states = ", ".join(f"{count} {state}" for state, count in tried.states.items())
    return (f"{tried.database:10}  {tried.kind:8} {tried.step:22} {tried.kills:>6} {tried.seconds / tried.kills * 1000:>8.0f} "
            f"{tried.effects:>8} {tried.doubled:>8} {tried.paged:>6} {tried.verified:>9}  {states}")


def main(kills: int) -> int:
    print("database    kind     killed at                kills  ms each  effects  doubled  paged  verified  what became of it")
    broken = []
    for which in ("sqlite", "postgres"):
        for kind in KINDS:
            for step in STEPS:
                tried = try_out(which, kind, step, kills)
                broken += [f"{which}, {kind}, {step}: {problem}" for problem in tried.broken]
                print(line(tried), flush=True)
    print("\n".join(broken) or "Nothing was done twice, whatever is not known was paged, and no agent was armed unnoticed.")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
