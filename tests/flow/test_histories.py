"""Random histories of a hub with guarded actions: alerts, clicks, crashes, restarts, jumps of the clock, reloads. What must hold
of every one of them (issue 4): a tighten is tried with the first turn of the worker after its alert was stored; nothing is let
out of its safe mode without proof and people; nothing is done twice; the history tells what is stored; whatever failed or is not
known has an incident of its own."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from alerthub.actions.base import Outcome
from alerthub.domain import own
from alerthub.domain.action import RunState
from alerthub.domain.command import Verb
from alerthub.domain.incident import OWN_SOURCE
from alerthub.domain.latch import LatchState
from alerthub.store import latches
from alerthub.store.database import Store
from alerthub.store.runs import Run
from alerthub.store.schema import alerts, incidents
from alerthub.store.tx import Tx
from tests.flow.test_latch import is_as_told
from tests.kit.clock import FakeClock
from tests.kit.lived import ADMIN, ALERTS, APPROVERS, BLIND_AFTER, BTC, CLEAR_FOR, ETH, NEEDED, Click, Life, Seen
from tests.kit.stores import database

Step = tuple[str, Any]
PLACES = ("not started", "started", "acted", "not settled")     # where a worker is killed
LOSING, SLOW, STALE = ("Losing", BTC), ("Slow", ""), ("Stale", "")
VOTES = st.tuples(st.sampled_from((Verb.approve, Verb.approve, Verb.deny)),
                  st.sampled_from(("ayse", "bora", "can", "deniz", "emre")), st.sampled_from((BTC, ETH, "run")))
ASKS = st.tuples(st.sampled_from((Verb.release, Verb.release, Verb.override)), st.sampled_from(("ayse", "bora", "emre")),
                 st.sampled_from((BTC, ETH)))
FREEZES = st.tuples(st.sampled_from((Verb.freeze, Verb.unfreeze, Verb.unfreeze)), st.sampled_from(("bora", "emre")),
                    st.sampled_from(("", "scale", "safe-mode")))
STEPS = st.one_of(
    st.tuples(st.just("fire"), st.sampled_from(ALERTS)), st.tuples(st.just("fire"), st.sampled_from(ALERTS)),
    st.tuples(st.just("resolve"), st.sampled_from(ALERTS)), st.tuples(st.just("look"), st.sampled_from((1, 11))),
    st.tuples(st.just("click"), st.one_of(VOTES, ASKS, FREEZES)), st.tuples(st.just("round"), st.sampled_from((1, 3))),
    st.tuples(st.just("round"), st.sampled_from((1, 3))), st.tuples(st.just("wait"), st.sampled_from((1, 46, 301, 901))),
    st.tuples(st.just("crash"), st.sampled_from(PLACES)), st.tuples(st.just("crash"), st.sampled_from(PLACES)),
    st.tuples(st.just("restart"), st.none()), st.tuples(st.just("wait"), st.just(46)),
    st.tuples(st.sampled_from(("jump", "jump_while_down")), st.sampled_from((-3600, 3600))),
    st.tuples(st.just("jump_while_down"), st.sampled_from((-3600, 3600))),
    st.tuples(st.just("configure"), st.sampled_from((1, 2))), st.tuples(st.just("will"), st.sampled_from(list(Outcome))),
    st.tuples(st.just("hold"), st.booleans()), st.tuples(st.just("silence"), st.integers(1, 4)),
)
# Ways that lead somewhere, so that histories get there often enough; anything may come in between.
PROVED: list[Step] = [("fire", LOSING), ("round", 1), ("resolve", LOSING), ("look", 11), ("click", (Verb.release, "ayse", BTC)),
                      ("click", (Verb.approve, "bora", BTC))]
AGREED: list[Step] = [*PROVED, ("click", (Verb.approve, "can", BTC))]
RELEASED: list[Step] = [*AGREED, ("round", 2)]
OVERRIDDEN: list[Step] = [("fire", LOSING), ("round", 1), ("click", (Verb.override, "emre", BTC)), ("round", 1)]
REPEATED: list[Step] = [("fire", SLOW), ("round", 1), ("resolve", SLOW), ("fire", SLOW), ("round", 1), ("wait", 901),
                        ("resolve", SLOW), ("fire", SLOW), ("round", 1)]
APPROVED: list[Step] = [("fire", STALE), ("round", 1), ("click", (Verb.approve, "bora", "run")),
                        ("click", (Verb.approve, "can", "run")), ("round", 1)]
WAYS = (RELEASED, OVERRIDDEN, REPEATED, APPROVED, [*RELEASED, *REPEATED])


def woven(way: list[Step], extra: list[tuple[int, Step]]) -> list[Step]:
    return [step for n in range(len(way) + 1) for step in [one for at, one in extra if at == n] + way[n:n + 1]]


HISTORIES = st.one_of(st.lists(STEPS, max_size=25), st.builds(
    woven, st.sampled_from(WAYS), st.lists(st.tuples(st.integers(0, 10), STEPS), max_size=7)))


class Judge:
    """After each step, and at the end."""

    def __init__(self, life: Life) -> None:
        self.life = life
        self.judged = 0
        self.by_id: dict[str, Run] = {}

    async def after(self, step: Step, crashes: int) -> None:
        before, self.by_id = self.by_id, {run.id: run for run in await self.life.runs()}
        if step[0] == "round" and self.life.crashes == crashes:
            self.nothing_that_tightens_waits(before)
        for seen in self.life.calls[self.judged:]:
            self.call(seen, self.life.calls[:self.judged])
            self.judged += 1
        await is_as_told(self.life.world)
        await self.all_are_paged()

    def nothing_that_tightens_waits(self, known: Iterable[str]) -> None:
        """Of what was stored before this turn; but for what a worker took with it when it was killed, until its lease ends."""
        tried = {seen.call.id for seen in self.life.calls}
        late = [run for run in map(self.by_id.__getitem__, known)
                if run.direction == "tighten" and run.id not in tried and not run.was_leased]
        assert not late, f"a whole turn of the worker has passed since it was stored: {late}"

    def call(self, seen: Seen, before: list[Seen]) -> None:
        run, mine = self.by_id[seen.call.id], [one for one in before if one.call.id == seen.call.id]
        if run.direction == "tighten":
            ahead = [one for one in before if one.round == seen.round and self.by_id[one.call.id].direction != "tighten"]
            assert not ahead, "something else was run first"
            return
        assert not mine or (run.direction == "relax" and seen.call.resumed), "an effect is caused once"
        assert not seen.frozen & {"", seen.call.action} or mine, "people have frozen it"
        assert run.rule_version == seen.rule.version or mine, "it was proposed by another configuration"
        if run.direction == "relax" and not mine:
            self.release(seen)
        elif run.direction == "neutral":
            self.neutral(seen, before)

    def neutral(self, seen: Seen, before: list[Seen]) -> None:
        others = [one for one in before if one.call.action == seen.call.action and one.call.target == seen.call.target]
        assert all(seen.wall - one.wall >= seen.rule.cooldown for one in others), "cooldown"
        last_hour = [one for one in others if one.wall > seen.wall - timedelta(hours=1)]
        assert not seen.rule.max_per_hour or len(last_hour) < seen.rule.max_per_hour, "max_per_hour"
        if seen.rule.approval is not None:
            said = [click for click in self.life.clicks[:seen.clicks] if click.what == seen.call.id]
            self.people(said, asker="")

    def release(self, seen: Seen) -> None:
        """By proof and people since it was asked for, or by a named admin's word; and no alert has come since."""
        target = seen.call.target or ""
        clicks = list(enumerate(self.life.clicks[:seen.clicks]))
        at, asked = [(n, one) for n, one in clicks if one.what == target and one.verb in (Verb.release, Verb.override)][-1]
        assert self.life.fired_after.get(target, 0) <= at, "an alert has the last word"
        if asked.verb is Verb.override:
            assert asked.by == ADMIN
            return
        self.people([one for n, one in clicks if n > at and one.what == target], asked.by)
        assert not seen.fires
        assert self.clear_for(target, seen.elapsed) >= CLEAR_FOR, "it is not proved to be over"

    def people(self, said: list[Click], asker: str) -> None:
        assert not [one for one in said if one.verb is Verb.deny]
        agreed = {one.by for one in said if one.verb is Verb.approve} & APPROVERS - {asker}
        assert len(agreed) >= NEEDED, "enough different people"

    def clear_for(self, target: str, at: float) -> float:
        """How long the source has been seen not to list any alert of this target, by looks without a gap, until just now."""
        clear: list[float] = []
        for when, listed in self.life.looks:
            is_gap = clear and when - clear[-1] > BLIND_AFTER
            lists_it = any(agent == target for _, agent in listed)
            clear = [] if lists_it else [when] if is_gap else [*clear, when]
        return clear[-1] - clear[0] if clear and at - clear[-1] <= BLIND_AFTER else -1

    async def all_are_paged(self) -> None:
        pages = await self.life.store.read(paged)
        bad = [run for run in self.by_id.values() if run.state in (RunState.failed, RunState.unknown)]
        missing = [run for run in bad if (run.action, run.target or own.NO_TARGET, run.incident_id) not in pages]
        assert not missing, f"nobody is told that they must look: {missing}"
        shared = [incident for incident, times in Counter(pages.values()).items() if times > 1]
        assert not shared, "each has an incident of its own"

    async def in_the_end(self) -> None:
        await self.after(("end", None), -1)
        unended = [run for run in self.by_id.values() if not run.state.is_final]
        assert not unended, unended
        tried = {seen.call.id for seen in self.life.calls}
        assert all(run.id in tried for run in self.by_id.values() if run.direction == "tighten")
        pages = await self.life.store.read(paged)
        for target, latch in (await self.life.store.read(latches.read)).items():
            assert latch.state in (LatchState.armed, LatchState.safe, LatchState.released)
            is_page = any(target == about for _, about, _ in pages)
            assert latch.state.is_safe == (self.life.modes[target] == "safe") or is_page, "nobody knows that it is not as latched"
        told = {message.number for message in self.life.world.slack.messages}
        numbers = await self.life.store.read(lambda tx: set(tx.conn.execute(
            select(incidents.c.number).where(incidents.c.source == OWN_SOURCE)).scalars()))
        assert numbers <= told, "people are told"


def paged(tx: Tx) -> dict[tuple[str, str, str], str]:
    """The critical incidents of the hub's own that say that a run needs a person: by action, target and the run's incident."""
    query = (select(alerts.c.content, incidents.c.id).join(incidents, incidents.c.id == alerts.c.incident_id)
             .where(incidents.c.source == OWN_SOURCE, incidents.c.severity == "critical", alerts.c.is_current))
    found = {}
    for content, incident_id in tx.conn.execute(query):
        labels = json.loads(content)["labels"]
        if labels["alertname"] == own.ACTION_FAILED:
            found[labels["action"], labels["target"], labels["incident"]] = incident_id
    return found


async def lived(steps: list[Step]) -> Judge:
    with tempfile.TemporaryDirectory(prefix="ah-") as folder, database("sqlite", Path(folder)) as url:
        clock = FakeClock()
        store = Store(url, clock.new_id)
        try:
            life = Life(store, clock)
            judge = Judge(life)
            for step in steps:
                crashes = life.crashes
                await getattr(life, step[0])(step[1])
                await judge.after(step, crashes)
            await life.come_to_rest()
            await judge.in_the_end()
            return judge
        finally:
            store.close()


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(HISTORIES)
@example([("fire", LOSING), ("jump_while_down", -3600), ("round", 1)])
@example([*PROVED, ("jump_while_down", -3600), ("wait", 901), ("click", (Verb.release, "ayse", BTC)),
          ("click", (Verb.approve, "bora", BTC)), ("click", (Verb.approve, "can", BTC)), ("round", 1)])
@example([*AGREED, ("hold", True), ("round", 1), ("fire", LOSING), ("round", 1), ("hold", False), ("round", 1)])
@example([*AGREED, ("crash", "acted"), ("round", 1), ("fire", LOSING), ("wait", 46), ("round", 1)])
@example([("fire", SLOW), ("crash", "acted"), ("round", 1), ("wait", 46), ("round", 1)])
@example([("fire", SLOW), ("click", (Verb.freeze, "bora", "")), ("round", 1)])
@example([*AGREED, ("click", (Verb.freeze, "bora", "")), ("round", 1)])
@example([*PROVED[:4], ("wait", 901), ("click", (Verb.release, "ayse", BTC)), *AGREED[5:], ("round", 1)])
@example([("fire", LOSING), ("crash", "started"), ("round", 1), ("click", (Verb.override, "emre", BTC)), ("round", 1)])
def test_what_must_hold_holds_in_every_history(steps: list[Step]) -> None:
    asyncio.run(lived(steps))


@pytest.mark.parametrize(("steps", "called"), [
    (RELEASED, ["safe-mode", "safe-mode released"]), (OVERRIDDEN, ["safe-mode", "safe-mode released"]),
    (REPEATED, ["scale", "scale"]), (APPROVED, ["retrain"]), (PROVED, ["safe-mode"]), (APPROVED[:3], []),
])
def test_the_ways_lead_where_they_should(steps: list[Step], called: list[str]) -> None:
    judge = asyncio.run(lived(steps))
    assert [f"{one.call.action}{' released' if one.call.release else ''}" for one in judge.life.calls] == called


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", [RELEASED, REPEATED[:2], RELEASED[:2]])
def test_a_worker_is_killed_where_it_was_meant_to_be(way: list[Step], place: str) -> None:
    """Else the histories above would prove nothing."""
    judge = asyncio.run(lived([*way[:-1], ("crash", place), way[-1]]))
    assert judge.life.crashes == 1


def spoiled(judge: Judge, **changes: Any) -> None:
    """The last call again, as it should not have been."""
    last = judge.life.calls[-1]
    judge.call(replace(last, **changes), judge.life.calls[:-1])


@pytest.mark.parametrize(("steps", "changes", "broken"), [
    (RELEASED, {"clicks": 2}, "enough different people"), (RELEASED, {"fires": True}, "fires"),
    (RELEASED, {"elapsed": 9_999.0}, "not proved"), (RELEASED, {"frozen": frozenset({"safe-mode"})}, "frozen"),
    (APPROVED, {"clicks": 1}, "enough different people"), (REPEATED, {"frozen": frozenset({""})}, "frozen"),
])
def test_the_judge_can_say_no(steps: list[Step], changes: dict[str, Any], broken: str) -> None:
    judge = asyncio.run(lived(steps))
    spoiled(judge)
    with pytest.raises(AssertionError, match=broken):
        spoiled(judge, **changes)


def test_the_judge_sees_what_is_done_twice_or_too_soon() -> None:
    judge = asyncio.run(lived(REPEATED))
    last = judge.life.calls[-1]
    with pytest.raises(AssertionError, match="once"):
        judge.call(last, judge.life.calls)
    with pytest.raises(AssertionError, match="cooldown"):
        spoiled(judge, wall=judge.life.calls[0].wall)
