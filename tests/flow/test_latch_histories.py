"""Random histories of one latched target, on both databases: never armed without proof and people or an override, always safe
when an alert has the last word, and the history tells what is stored."""

from __future__ import annotations

import asyncio
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.actions.base import Call, Outcome, Report
from alerthub.domain.answer import Who
from alerthub.domain.approval import Verdict, Vote
from alerthub.domain.latch import LatchState
from alerthub.domain.person import Account
from alerthub.domain.reconcile import Listed, Peer
from alerthub.flow import latch as room
from alerthub.flow import watch
from alerthub.flow.change import NotPossible
from alerthub.flow.intake import take_in
from alerthub.store import latches, votes
from alerthub.store.database import Store
from tests.flow.test_latch import BTC, LONG_AGO, PEOPLE, is_as_told, proved, rules, state_of
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.stores import EACH_DATABASE, database
from tests.kit.world import World

NAMES = ("Reward", "Drift")
STEPS = st.one_of(
    st.tuples(st.just("fire"), st.sampled_from(NAMES)), st.tuples(st.just("resolve"), st.sampled_from(NAMES)),
    st.tuples(st.just("look"), st.sampled_from((1, 6, 11))), st.tuples(st.just("ask"), st.sampled_from(("ayse", "bora"))),
    st.tuples(st.just("approve"), st.sampled_from(("bora", "can", "deniz"))), st.tuples(st.just("deny"), st.just("can")),
    st.tuples(st.just("wait"), st.sampled_from((1, 120, 901))), st.tuples(st.just("work"), st.sampled_from(list(Outcome))),
    st.tuples(st.just("override"), st.just("emre")), st.tuples(st.just("jump"), st.sampled_from((-3600, 3600))),
)
# A way out, so that histories get there often enough; anything may come in between.
WAY_OUT = [("fire", "Reward"), ("work", Outcome.succeeded), ("resolve", "Reward"), ("look", 11), ("ask", "ayse"),
           ("approve", "bora"), ("approve", "can"), ("work", Outcome.succeeded)]
HISTORIES = st.one_of(st.lists(STEPS, max_size=25), st.lists(st.tuples(st.integers(0, 8), STEPS), max_size=6).map(
    lambda extra: [step for n in range(len(WAY_OUT) + 1) for step in
                   [one for at, one in extra if at == n] + WAY_OUT[n:n + 1]]))


class Life:
    """One history, and what must hold after each step of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.firing: set[str] = set()
        self.outcome = Outcome.succeeded
        self.was_overridden = False
        self.agreed: set[str] = set()
        self.asker = ""
        for key in world.actions:
            world.actions[key].run = self.run      # type: ignore[method-assign]

    async def run(self, call: Call) -> Report:
        return Report(self.outcome if call.release else Outcome.succeeded, "")

    async def write(self, unit: Any) -> Any:
        return await self.world.store.write(unit)

    async def step(self, what: str, which: Any) -> None:
        before = await state_of(self.world)
        with suppress(NotPossible):
            await getattr(self, what)(which)
        await self.holds(before, what)

    async def fire(self, name: str) -> None:
        is_new = name not in self.firing
        self.firing.add(name)
        await self.world.receive(firing(name, agent=BTC))
        self.world.clock.advance(seconds=1)
        assert not is_new or await state_of(self.world) is LatchState.safe, "an alert has the last word"

    async def resolve(self, name: str) -> None:
        self.firing.discard(name)
        await self.world.receive(resolved(name, agent=BTC))
        self.world.clock.advance(seconds=1)

    async def look(self, minutes: int) -> None:
        for _ in range(minutes):
            now = self.world.clock.now()
            alerts = [firing(name, agent=BTC) for name in self.firing]
            peers = [Peer(LONG_AGO, {alert.identity: Listed(alert.labels, False) for alert in alerts})]
            await self.write(lambda tx, at=now, peers=peers: watch.reconcile(tx, self.world.rules, "alertmanager", peers, at, at))
            self.world.clock.advance(minutes=1)

    async def ask(self, by: str) -> None:
        await self.write(lambda tx: room.ask(tx, self.world.rules, BTC, who(by), "", "", self.world.clock.now()))
        self.agreed, self.asker = set(), by

    async def approve(self, by: str) -> None:
        now = self.world.clock.now()

        def unit(tx: Any) -> None:
            latch = latches.find(tx, BTC)
            if latch is not None and latch.state is LatchState.release_requested:
                votes.add(tx, latch.subject, Vote(by, f"slack:{by}", "", Verdict.approve, now))

        await self.write(unit)
        if await state_of(self.world) is LatchState.release_requested:
            self.agreed.add(by)
        await self.write(lambda tx: room.agreed(tx, self.world.rules, BTC, sorted(self.agreed), now))

    async def deny(self, by: str) -> None:
        await self.write(lambda tx: room.denied(tx, self.world.rules, BTC, who(by), "", self.world.clock.now()))

    async def override(self, by: str) -> None:
        await self.write(lambda tx: room.override(tx, self.world.rules, BTC, who(by), "known", "", self.world.clock.now()))
        self.was_overridden = True

    async def wait(self, seconds: int) -> None:
        await self.world.advance(seconds=seconds)

    async def jump(self, seconds: int) -> None:
        """Of the wall clock, while the hub was down: nothing could be shifted with it."""
        self.world.clock.moment += timedelta(seconds=seconds)

    async def work(self, outcome: Outcome) -> None:
        self.outcome = outcome
        await self.world.drain()

    async def holds(self, before: LatchState, what: str) -> None:
        after = await state_of(self.world)
        if after is LatchState.releasing and before is not LatchState.releasing:
            is_proved = not self.firing and len(self.agreed - {self.asker}) >= 2
            assert what == "override" or is_proved, "no relax without proof and people"
        if after is LatchState.released and before is not LatchState.released:
            assert before is LatchState.releasing, "only what people let go"
            assert self.was_overridden or not self.firing
        if after is LatchState.safe:
            self.was_overridden = False
        await is_as_told(self.world)


def who(name: str) -> Who:
    return Who(Account("slack", name.upper(), name), PEOPLE[name])


async def lived(kind: str, steps: list[tuple[str, Any]]) -> LatchState:
    with tempfile.TemporaryDirectory(prefix="ah-") as folder, database(kind, Path(folder)) as url:
        clock = FakeClock()
        store = Store(url, clock.new_id)
        world = World(store, rules(), clock)
        life = Life(world)
        for what, which in steps:
            await life.step(what, which)
        state = await state_of(world)
        store.close()
        return state


def test_the_way_out_leads_out() -> None:
    assert asyncio.run(lived("sqlite", WAY_OUT)) is LatchState.released


@pytest.mark.slow
@pytest.mark.parametrize("kind", EACH_DATABASE)
def test_no_history_arms_a_target_without_proof_and_people(kind: str) -> None:
    @settings(max_examples=60 if kind == "sqlite" else 6, deadline=None)
    @given(HISTORIES)
    def live(steps: list[tuple[str, Any]]) -> None:
        asyncio.run(lived(kind, steps))

    live()


@pytest.mark.anyio
@pytest.mark.parametrize("round_", range(5))
async def test_a_tighten_and_the_last_word_of_people_at_once_end_safe(world: World, round_: int) -> None:
    """Whoever is first, the alert wins: it calls the release off, or latches what has just been let go."""
    world.configure(rules())
    await proved(world)
    now = world.clock.now()
    await world.store.write(lambda tx: room.ask(tx, world.rules, BTC, who("ayse"), "", "", now))
    for name in ("bora", "can"):
        given_ = Vote(name, name, "", Verdict.approve, now)
        await world.store.write(lambda tx, one=given_: votes.add(
            tx, found.subject if (found := latches.find(tx, BTC)) else "", one))

    def agree() -> str:
        try:
            return world.store.write_now(lambda tx: room.agreed(tx, world.rules, BTC, ["bora", "can"], now))
        except NotPossible as error:
            return str(error)

    def fire() -> Any:
        return world.store.write_now(lambda tx: take_in(tx, world.rules, [batch(firing("Reward", agent=BTC), at=now)], now))

    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(unit) for unit in ((agree, fire) if round_ % 2 else (fire, agree))]:
            ended.result()
    assert await state_of(world) is LatchState.safe
    await world.drain()
    assert await state_of(world) is LatchState.safe
    await is_as_told(world)
