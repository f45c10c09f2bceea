"""That a latched target is told so until it says that it is safe: whoever stood still, whatever the configuration has become and
whoever holds an incident meanwhile (a review of issue 4 found each of these)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from alerthub.actions.base import Outcome, Report
from alerthub.domain.action import RunState
from alerthub.domain.command import Outcome as Said
from alerthub.domain.command import Verb
from alerthub.domain.latch import LatchState
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction, Rules
from alerthub.domain.story import story
from alerthub.flow import act, evidence
from alerthub.flow import latch as room
from alerthub.store.database import Store
from alerthub.store.tx import Locked
from tests.flow.test_latch import (
    BTC,
    RELEASED,
    RELEASING,
    ROUTE,
    SAFE,
    action,
    agreed,
    ask,
    clear,
    fire,
    latch_of,
    look,
    look_for,
    proved,
    pushed,
    rules,
    state_of,
)
from tests.kit.alerts import firing
from tests.kit.clock import FakeClock
from tests.kit.stores import database, locked
from tests.kit.world import World, rules_for, safe_mode

pytestmark = pytest.mark.anyio
ETH = "agent-eth"
UNSAFE = Report(Outcome.unknown, 'the agent says that its mode is "trading"', verified="trading")
DONE = Report(Outcome.succeeded, "the agent says that it is in safe mode", verified="safe")
BROKEN = Report(Outcome.failed, "no connection")


@pytest.fixture
def world(world: World) -> World:
    world.configure(rules())
    return world


@pytest.fixture
def pair(tmp_path: Path, clock: FakeClock) -> Iterator[World]:
    with database("postgres", tmp_path) as url:
        store = Store(url, clock.new_id)
        yield World(store, rules(), clock)
        store.close()


async def minutes(world: World, count: int) -> None:
    for _ in range(count):
        await world.advance(minutes=1)


def gone(world: World, target: str = BTC, name: str = "safe-mode") -> None:
    del world.arsenal[name, target]


async def titles(world: World, status: str = "triggered") -> list[str]:
    return [one["title"] for one in await world.incidents() if one["source"] == "alerthub" and one["status"] == status]


# -- until it says so

async def test_what_confirmed_once_and_says_later_that_it_is_not_safe_is_told_again_until_it_is(world: World) -> None:
    await fire(world)
    assert (await latch_of(world)).verified_at is not None
    world.clock.advance(minutes=30)
    action(world).report = UNSAFE
    await fire(world, "Drift")
    assert (await latch_of(world)).verified_at is None
    await minutes(world, 3)
    assert len(pushed(world)) == 5
    action(world).report = DONE
    await minutes(world, 3)
    assert (len(pushed(world)), (await latch_of(world)).verified_at is not None) == (6, True)


async def test_the_evidence_says_so_of_one_that_says_later_that_it_is_not_safe(world: World) -> None:
    await fire(world)
    action(world).report = UNSAFE
    await fire(world, "Drift")
    pack = await world.store.read(lambda tx: evidence.pack(tx, "2", world.clock.now()))
    assert "That it IS safe has not been confirmed." in str([story(run) for run in pack["runs"]])


# -- whatever the configuration has become

def narrowed() -> Rules:
    """`safe-mode` is for another target now, `stop` for this one."""
    stop = ActionRule("stop", "http", Direction.tighten, targets=(BTC,), version="1")
    return rules(actions=[replace(safe_mode(releases=True), targets=(ETH,)), stop])


async def test_an_action_that_is_not_for_this_target_any_more_leaves_it_to_the_one_that_is(world: World) -> None:
    action(world).report = BROKEN
    await fire(world)
    world.configure(narrowed())
    gone(world)
    await minutes(world, 3)
    assert world.actions["stop", BTC].calls


async def test_an_override_needs_nobody_to_tell_a_target_that_nothing_can_tell(world: World) -> None:
    await fire(world)
    world.configure(narrowed())
    gone(world)
    await clear(world)
    await look_for(world, 10)
    assert "nothing else can tell it" in (await ask(world)).text
    assert "NOT told" in (await world.command(Verb.override, by="emre", subject=BTC, text="by hand")).text
    await world.drain()
    assert await state_of(world) is RELEASED


async def test_nobody_reads_that_a_target_is_told_which_nothing_can_tell(world: World) -> None:
    await agreed(world)
    assert await state_of(world) is RELEASING
    world.configure(rules(targets=[ETH]))
    gone(world)
    await world.drain()
    await minutes(world, 2)
    said = "\n".join(await world.history())
    assert await state_of(world) is SAFE
    assert "nothing in the configuration can tell it to be safe: do it by hand" in said
    assert "told again" not in said


async def test_the_page_of_an_action_that_has_another_name_now_ends_when_the_target_is_safe(world: World) -> None:
    action(world).report = BROKEN
    await fire(world)
    assert await titles(world) == [f"safe-mode on {BTC} FAILED: act by hand"]
    world.configure(rules(actions=[replace(safe_mode(releases=True), name="stop")], route=replace(ROUTE, actions=("stop",))))
    gone(world)
    await minutes(world, 3)
    assert world.actions["stop", BTC].calls
    assert (await titles(world), await titles(world, "resolved")) == ([], [f"safe-mode on {BTC} FAILED: act by hand"])


async def test_the_page_of_another_action_on_that_target_stands(world: World) -> None:
    retrain = ActionRule("retrain", "http", Direction.neutral, targets=(BTC,), version="1")
    world.configure(rules(actions=[safe_mode(), retrain], route=replace(ROUTE, actions=("retrain", "safe-mode"))))
    world.actions["retrain", BTC].report = BROKEN
    await fire(world)
    await minutes(world, 2)
    assert await titles(world) == [f"retrain on {BTC} FAILED: act by hand"]


# -- whoever holds an incident

@pytest.mark.postgres
async def test_an_incident_that_somebody_holds_keeps_its_own_target_only_from_being_told_again(pair: World) -> None:
    for target in (BTC, ETH):
        pair.actions["safe-mode", target].report = BROKEN
    await fire(pair)
    await fire(pair, "Drift", agent=ETH)
    told = len(pair.actions["safe-mode", ETH].calls)
    pair.clock.advance(minutes=1)
    with locked(pair.store, "SELECT 1 FROM incidents WHERE title = 'Reward' FOR UPDATE"), pytest.raises(Locked):
        await pair.worker.run_timed(pair.clock.now())
    await pair.drain()
    assert len(pair.actions["safe-mode", ETH].calls) == told + 1


async def test_whoever_comes_second_to_a_target_that_is_due_does_nothing(world: World) -> None:
    world.configure(rules(releases={BTC: replace(rules().releases[BTC], mode="")}))
    action(world).report = BROKEN
    await fire(world)
    world.clock.advance(minutes=1)
    await world.command(Verb.override, by="emre", subject=BTC, text="by hand")
    now = world.clock.now()
    assert await world.store.write(lambda tx: room.run_due(tx, world.rules, BTC, now)) == []
    assert await state_of(world) is RELEASED


# -- whoever stood still

async def claimed(world: World) -> act.Started:
    """Claimed by one that then stands still for longer than it may: stopped, swapped out, suspended."""
    found = await world.store.write(lambda tx: act.claim(tx, world.rules, world.arsenal, 8, "slow", world.clock.now()))
    world.clock.advance(minutes=2)
    return found.started[0]


def order() -> Rules:
    rule = ActionRule("order", "http", Direction.neutral, targets=("desk",), version="1", deadline=timedelta(seconds=30))
    return rules_for(Route("alerts", group_by=("alertname",), actions=("order",)), actions=[rule], targets=["desk"])


async def test_whoever_stood_still_while_others_called_a_person_causes_nothing(world: World) -> None:
    world.configure(order())
    await world.receive(firing("Reward"))
    started = await claimed(world)
    await world.drain()
    await act.run_one(world.store, world.rules, world.arsenal, started, world.clock, held=120)
    assert not world.actions["order", "desk"].calls
    assert [run.state for run in await world.runs()] == [RunState.unknown]


@pytest.mark.parametrize("held", [0.0, 120.0])
async def test_whoever_stood_still_says_that_it_was_not_begun_by_either_clock(world: World, held: float) -> None:
    world.configure(order())
    await world.receive(firing("Reward"))
    started = await claimed(world)
    if held:
        world.clock.moment -= timedelta(minutes=2)
    await act.run_one(world.store, world.rules, world.arsenal, started, world.clock, held=held)
    (run,) = await world.runs()
    assert (run.state, run.report["detail"]) == (
        RunState.failed, "the hub was held up for so long that it was not begun any more")
    assert not world.actions["order", "desk"].calls


async def test_whoever_stood_still_makes_safe_all_the_same(world: World) -> None:
    await world.receive(firing("Reward", agent=BTC))
    found = await world.store.write(lambda tx: act.claim_tightening(tx, world.rules, world.arsenal, "slow", world.clock.now()))
    world.clock.advance(minutes=2)
    await act.run_one(world.store, world.rules, world.arsenal, found.started[0], world.clock, held=120)
    assert pushed(world) == ["safe"]


async def test_a_release_that_whoever_stood_still_did_not_begin_leaves_it_safe(world: World) -> None:
    await agreed(world)
    started = await claimed(world)
    assert started.call.release
    await act.run_one(world.store, world.rules, world.arsenal, started, world.clock, held=120)
    await world.drain()
    assert (await state_of(world), set(pushed(world))) == (SAFE, {"safe"})


async def test_a_release_that_arrives_after_others_have_called_it_off_is_undone(world: World) -> None:
    await agreed(world)
    started = await claimed(world)
    action(world).report = replace(DONE, outcome=Outcome.unknown)
    await world.drain()
    action(world).report = DONE
    await minutes(world, 2)
    assert (await state_of(world), pushed(world)[-1]) == (LatchState.safe, "safe")
    # It was under way when its holder was stopped, and ends now.
    late = Report(Outcome.succeeded, 'the agent says that it is in mode "trading"', verified="trading")
    before = len(pushed(world))
    await world.store.write(lambda tx: act.settle(tx, world.rules, started, late, world.clock.now()))
    await minutes(world, 2)
    assert pushed(world)[before:] == ["safe"]
    assert "may have reached" in "\n".join(await world.history())


# -- the clock

async def test_words_after_the_clock_was_set_back_are_about_what_is_asked_now(world: World) -> None:
    if not world.store.is_sqlite:      # there the database's clock is what counts
        return
    await proved(world)
    await world.worker.hours.follow()
    assert (await ask(world)).outcome is Said.done
    world.clock.moment -= timedelta(minutes=30)
    await world.worker.hours.follow()
    await world.drain()
    world.clock.advance(minutes=1)
    await look(world)
    said = await world.command(Verb.approve, by="bora", subject=BTC, said_at=world.clock.now())
    assert said.outcome is Said.done
