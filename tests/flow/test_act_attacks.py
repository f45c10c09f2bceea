"""What would keep an agent from its safe mode, or let an action run that should not: a replica with an older configuration, a
lock that somebody keeps, a crash and a long outage, a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerthub.actions.base import Call, Outcome, Report
from alerthub.domain.action import Reason, RunState
from alerthub.domain.alert import Batch
from alerthub.domain.approval import Verdict
from alerthub.domain.command import Answer, Verb
from alerthub.domain.command import Outcome as Said
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Approval, Direction, EscalationPolicy, PolicyStep, Rules
from alerthub.engine.doorway import AT_ONCE, Doorway, Waiting, kindred
from alerthub.errors import Busy
from alerthub.flow import act
from alerthub.store import leases, votes
from alerthub.store.database import Store
from alerthub.store.tx import Locked
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import START, FakeClock
from tests.kit.stores import database, locked
from tests.kit.world import World, person, rules_for, safe_mode

pytestmark = pytest.mark.anyio
ROUTE = Route("alerts", group_by=("alertname",), actions=("safe-mode",))
BTC, ETH = "agent-btc", "agent-eth"
HOUR = timedelta(hours=1)
SOON = 5.0          # seconds of the real clock: far less than a lock that is waited for to its end, which takes 10


def rules(*actions: ActionRule, **fields: Any) -> Rules:
    named = actions or (safe_mode(),)
    policy = next(iter(fields.get("policies", ())), "")
    route = replace(ROUTE, actions=tuple(action.name for action in named), escalation_policy=policy)
    return rules_for(route, actions=named, **{"targets": [BTC, ETH], **fields})


def scale(**fields: Any) -> ActionRule:
    return ActionRule("scale", "kubernetes", Direction.neutral, **{"targets": (BTC,), "version": "1", **fields})


OLD = rules_for(Route("alerts", group_by=("alertname",)), targets=[BTC, ETH])


def told(world: World, action: str = "safe-mode", target: str = BTC) -> int:
    return len(world.actions[action, target].calls)


async def ended(world: World, number: int = 1) -> list[tuple[RunState, Reason]]:
    return [(run.state, Reason(run.reason)) for run in await world.runs(number)]


async def alarms(world: World) -> list[str]:
    return [incident["title"] for incident in await world.incidents() if incident["source"] == "alerthub"]


# -- a replica that knows less

async def test_a_replica_that_does_not_know_the_action_leaves_its_push_to_the_others(world: World) -> None:
    world.configure(rules())
    await world.receive(firing("Reward", agent=BTC))
    world.configure(OLD)
    await world.drain(world.new_worker("older"))
    assert (await ended(world), told(world)) == ([(RunState.proposed, Reason.tighten)], 0)
    world.configure(rules())
    await world.drain()
    assert (await ended(world), told(world), await alarms(world)) == ([(RunState.succeeded, Reason.tighten)], 1, [])


async def test_a_replica_that_does_not_know_the_target_leaves_its_push_to_the_others(world: World) -> None:
    world.configure(rules())
    await world.receive(firing("Reward", agent=BTC))
    known = world.arsenal
    world.arsenal = {which: armed for which, armed in known.items() if which[1] != BTC}
    await world.drain(world.new_worker("older"))
    assert (await ended(world), told(world)) == ([(RunState.proposed, Reason.tighten)], 0)
    world.arsenal = known
    await world.drain()
    assert (await ended(world), told(world), await alarms(world)) == ([(RunState.succeeded, Reason.tighten)], 1, [])


async def test_what_is_left_to_others_is_no_busy_loop_and_waits_for_nobody_who_knows_it(world: World) -> None:
    world.configure(rules())
    await world.receive(firing("Reward", agent=BTC))
    world.configure(OLD)
    older = world.new_worker("older")
    await world.drain(older)
    assert older.due.first == world.clock.now() + act.LEFT
    world.clock.advance(seconds=0.1)
    world.configure(rules())
    await world.drain()
    assert told(world) == 1, "although it is not due again for the other"


async def test_what_a_dead_replica_had_begun_is_left_to_those_who_know_it_too(world: World) -> None:
    world.configure(rules())
    await world.receive(firing("Reward", agent=BTC))
    await world.store.write(lambda tx: act.claim_tightening(tx, world.rules, world.arsenal, "dead", world.clock.now()))
    world.configure(OLD)
    for _ in range(3):
        await world.advance(seconds=20)     # the lease is over after 45
    assert (await ended(world))[0][0] is RunState.started
    world.configure(rules())
    await world.drain()
    assert (await ended(world), told(world)) == ([(RunState.succeeded, Reason.tighten)], 1)
    assert world.actions["safe-mode", BTC].calls[0].resumed


async def test_what_no_replica_knows_is_paged_after_half_a_minute(world: World) -> None:
    world.configure(rules())
    await world.receive(firing("Reward", agent=BTC))
    world.configure(OLD)
    await world.drain()
    await world.advance(seconds=29)
    assert await alarms(world) == []
    await world.advance(seconds=3)
    assert (await ended(world), len(await alarms(world))) == ([(RunState.refused, Reason.rule_changed)], 1)


async def test_a_target_that_no_replica_knows_is_paged_after_half_a_minute(world: World) -> None:
    world.configure(rules())
    await world.receive(firing("Reward", agent=BTC))
    world.arsenal = {which: armed for which, armed in world.arsenal.items() if which[1] != BTC}
    await world.drain()
    await world.advance(seconds=31)
    assert (await ended(world), len(await alarms(world))) == ([(RunState.failed, Reason.tighten)], 1)


async def test_an_action_that_was_renamed_is_pushed_by_its_new_name(world: World) -> None:
    world.configure(rules())
    await world.receive(firing("Reward", agent=BTC))
    world.configure(rules(replace(safe_mode(), name="safe")))
    await world.drain()
    assert (told(world), told(world, "safe"), told(world, "safe", ETH)) == (0, 1, 0)
    assert (await ended(world), await alarms(world)) == ([(RunState.succeeded, Reason.tighten)], [])
    assert "run by safe; safe-mode is no longer configured" in (await world.history())[-1]


async def test_with_tightens_of_several_types_nobody_guesses_which_was_meant(world: World) -> None:
    world.configure(rules())
    await world.receive(firing("Reward", agent=BTC))
    world.configure(rules(replace(safe_mode(), name="safe"), replace(safe_mode(), name="flatten", type="command")))
    await world.drain()
    assert (told(world, "safe"), told(world, "flatten")) == (0, 0)
    await world.advance(seconds=31)
    assert len(await alarms(world)) == 1


async def test_more_than_one_claim_of_what_is_left_hides_nothing_that_can_be_run(world: World) -> None:
    world.configure(rules(targets=[f"agent-{number}" for number in range(act.TOGETHER + 1)]))
    await world.receive(*[firing(f"Reward{number}", agent=f"agent-{number}") for number in range(act.TOGETHER + 1)])
    last = ("safe-mode", f"agent-{act.TOGETHER}")
    world.arsenal = {last: world.arsenal[last]}
    await world.drain()
    assert told(world, *last) == 1


# -- a lock that somebody keeps

def stopped(store: Store, number: int = 1) -> AbstractContextManager[None]:
    """Another replica, stopped in the midst of a transaction that holds an incident."""
    return locked(store, f"SELECT 1 FROM incidents WHERE number = {number:d} FOR UPDATE")


@pytest.fixture
def pair(tmp_path: Path, clock: FakeClock) -> Iterator[World]:
    with database("postgres", tmp_path) as url:
        store = Store(url, clock.new_id)
        steps = EscalationPolicy("trading", (PolicyStep((("receiver", "mail"),)),))
        yield World(store, rules(people={"bora": person("bora")}, policies={"trading": steps}), clock)
        store.close()


class Reached:
    """An agent that says when it is told."""

    def __init__(self, world: World, target: str = ETH) -> None:
        self.told = asyncio.Event()
        world.arsenal["safe-mode", target] = replace(world.arsenal["safe-mode", target], action=self)

    async def run(self, call: Call) -> Report:
        self.told.set()
        return Report(Outcome.succeeded, "done", verified="safe")

    async def in_time(self) -> None:
        await asyncio.wait_for(self.told.wait(), SOON)


@pytest.mark.postgres
async def test_a_push_does_not_wait_for_what_is_due_by_time_of_a_locked_incident(pair: World) -> None:
    await pair.receive(firing("Drift", agent=BTC))
    await pair.drain()
    pair.clock.advance(minutes=6)       # nobody answered
    worker, agent = pair.new_worker("replica-2"), Reached(pair)
    with stopped(pair.store):
        loop = asyncio.create_task(worker.run())
        await pair.receive(firing("Reward", agent=ETH))
        worker.nudge()
        await agent.in_time()
    worker.stop_claiming()
    await loop
    await worker.stop(SOON)


@pytest.mark.postgres
async def test_a_push_does_not_queue_behind_others_that_wait_for_a_lock(pair: World) -> None:
    await pair.receive(firing("Drift", agent=BTC))
    await pair.receive(firing("Reward", agent=ETH))
    with stopped(pair.store):
        for_people = [asyncio.create_task(pair.command(Verb.acknowledge, 1, by="bora")) for _ in range(9)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(pair.worker.claim_tightening(pair.plant(), pair.clock.now()), SOON) == 2
    await asyncio.gather(*for_people, *pair.worker.under_way)


async def reach_the_other(pair: World) -> None:
    """While somebody holds the first agent's incident, the push to the second arrives; then all is done."""
    agent = Reached(pair)
    with stopped(pair.store):
        with pytest.raises(Locked):
            await pair.worker.claim_tightening(pair.plant(), pair.clock.now())
        await agent.in_time()
    await pair.drain()


@pytest.mark.postgres
async def test_what_cannot_be_run_and_is_locked_keeps_no_other_from_its_push(pair: World) -> None:
    await pair.receive(firing("Drift", agent=BTC))
    known = dict(pair.rules.actions)
    pair.rules = replace(pair.rules, actions={**known, "safe-mode": replace(known["safe-mode"], resumable=False)})
    await pair.store.write(lambda tx: act.claim_tightening(tx, pair.rules, pair.arsenal, "dead", pair.clock.now()))
    pair.clock.advance(minutes=2)
    await pair.receive(firing("Reward", agent=ETH))
    await reach_the_other(pair)
    assert (await ended(pair))[0] == (RunState.unknown, Reason.crashed)


@pytest.mark.postgres
async def test_what_says_too_much_and_is_locked_keeps_no_other_from_its_push(pair: World) -> None:
    armed = pair.arsenal["safe-mode", BTC]
    pair.arsenal["safe-mode", BTC] = replace(armed, settings=armed.settings.model_copy(update={"labels": ("book",)}))
    await pair.receive(firing("Drift", agent=BTC, book="a; rm"))
    await pair.receive(firing("Reward", agent=ETH))
    await reach_the_other(pair)
    assert (await ended(pair), told(pair)) == ([(RunState.refused, Reason.bad_label)], 0)


@pytest.mark.postgres
async def test_a_locked_incident_keeps_only_its_own_webhooks_out(pair: World) -> None:
    await pair.receive(firing("Drift", agent=BTC))
    door = Doorway(pair.store, lambda: pair.rules, pair.clock, pair.metrics, lambda _: None)
    at = pair.clock.now() + timedelta(seconds=1)
    first = batch(firing("Other", agent=ETH), at=at)
    locked = batch(resolved("Drift", agent=BTC), at=at)
    others = [batch(firing(f"New{number}", agent=ETH), at=at) for number in range(AT_ONCE * 2)]
    with stopped(pair.store):
        said = await asyncio.wait_for(asyncio.gather(
            *(door.take(one) for one in (first, locked, *others)), return_exceptions=True), SOON)
    assert isinstance(said[1], Busy)
    assert [one for number, one in enumerate(said) if number != 1] == [None] * (1 + len(others))
    assert pair.store.trouble is None, "the database is well"
    await door.take(locked)
    assert {incident["number"] for incident in await pair.incidents("resolved")} == {1}


@pytest.mark.postgres
async def test_what_waits_behind_a_locked_webhook_is_stored_soon(pair: World) -> None:
    await pair.receive(firing("Drift", agent=BTC))
    door = Doorway(pair.store, lambda: pair.rules, pair.clock, pair.metrics, lambda _: None)
    with stopped(pair.store):
        held = asyncio.create_task(door.take(batch(resolved("Drift", agent=BTC), at=START + HOUR)))
        while not door.under_way or door.queue:
            await asyncio.sleep(0)
        await asyncio.wait_for(door.take(batch(firing("Reward", agent=ETH), at=pair.clock.now())), SOON)
        (said,) = await asyncio.gather(held, return_exceptions=True)
    assert isinstance(said, Busy)


async def test_webhooks_of_the_same_alert_stay_together_and_in_order() -> None:
    def waits(*names: str, source: str = "am") -> Waiting:
        return Waiting(Batch(source, START, tuple(firing(name) for name in names)), asyncio.get_running_loop().create_future())
    a, b, c, ab, other = waits("A"), waits("B"), waits("C"), waits("A", "B"), waits("A", source="grafana")
    found = kindred([a, b, c, other, ab, nothing := waits()], rules_for())
    assert found == [[c], [other], [a, b, ab], [nothing]]


async def test_webhooks_of_one_incident_wait_for_it_once() -> None:
    def waits(name: str, disk: str) -> Waiting:
        found = Batch("am", START, (firing(name, disk=disk),))
        return Waiting(found, asyncio.get_running_loop().create_future())
    one, other, two = waits("Disk", "sda"), waits("Cpu", "0"), waits("Disk", "sdb")
    assert kindred([one, other, two], rules_for()) == [[other], [one, two]]


# -- a crash and a long outage

@pytest.mark.parametrize(("over", "hours", "reason"), [(True, 0, Reason.incident_closed), (False, 10, Reason.too_old)],
                         ids=["resolved", "too long ago"])
async def test_what_a_crash_cut_off_is_not_gone_on_with_when_it_fits_no_more(world: World, over: bool, hours: int,
                                                                           reason: Reason) -> None:
    world.configure(rules(scale(resumable=True)))
    await world.receive(firing("Load"))
    await world.store.write(lambda tx: act.claim(tx, world.rules, world.arsenal, 5, "dead", world.clock.now()))
    if over:
        await world.receive(resolved("Load"))
    await world.advance(hours=hours, minutes=2)
    assert (await ended(world), told(world, "scale")) == ([(RunState.unknown, reason)], 0)
    assert len(await alarms(world)) == 1


async def test_what_a_crash_cut_off_is_gone_on_with_soon_after(world: World) -> None:
    world.configure(rules(scale(resumable=True)))
    await world.receive(firing("Load"))
    await world.store.write(lambda tx: act.claim(tx, world.rules, world.arsenal, 5, "dead", world.clock.now()))
    await world.advance(minutes=14)
    assert (await ended(world), told(world, "scale")) == ([(RunState.succeeded, Reason.allowed)], 1)


# -- a clock that jumps, which one process alone can know

async def jump(world: World, by: timedelta) -> None:
    world.clock.moment += by
    await world.store.write(lambda tx: leases.shift(tx, by, world.clock.now() - by - 24 * HOUR))


@pytest.mark.parametrize("seconds", [-20, -1, -30])
async def test_a_clock_that_was_set_back_drops_no_push(world: World, seconds: int) -> None:
    world.configure(rules(people={"emre": person("emre", "admin")}))
    await world.receive(firing("Reward", agent=BTC))
    await world.drain()
    world.clock.advance(minutes=1)
    await world.receive(resolved("Reward", agent=BTC))
    await world.command(Verb.override, by="emre", subject=BTC, text="known")
    await world.drain()
    world.clock.advance(seconds=0.5)
    await jump(world, timedelta(seconds=seconds))
    world.clock.advance(seconds=0.5)
    await world.receive(firing("Reward", agent=BTC))
    await world.drain()
    assert [call.release for call in world.actions["safe-mode", BTC].calls].count("") == 2


@pytest.mark.parametrize(("hours", "minutes", "runs_again"), [(1, 5, False), (-1, 5, False), (-1, 31, True), (1, 31, True)])
async def test_a_cooldown_is_as_long_as_it_is_whatever_the_clock_says(world: World, hours: int, minutes: int,
                                                                    runs_again: bool) -> None:
    world.configure(rules(scale(cooldown=timedelta(minutes=30))))
    await world.receive(firing("A"))
    await world.drain()
    await jump(world, hours * HOUR)
    world.clock.advance(minutes=minutes)
    await world.receive(firing("B", starts_at=world.clock.now()))
    await world.drain()
    assert told(world, "scale") == 1 + runs_again


async def approve(world: World, name: str) -> Answer:
    (run,) = await world.runs()
    said = await world.command(Verb.approve, by=name, subject=run.code)
    await world.drain()
    return said


@pytest.mark.parametrize("hours", [-1, 1])
async def test_an_approval_has_as_long_as_it_has_whatever_the_clock_says(world: World, hours: int) -> None:
    people = {name: person(name, "approver") for name in ("bora", "can", "deniz")}
    world.configure(rules(scale(approval=Approval("approver", 2, timedelta(minutes=15))), people=people))
    await world.receive(firing("A"))
    await world.drain()
    world.clock.advance(minutes=5)
    assert (await approve(world, "bora")).outcome is Said.done
    await jump(world, hours * HOUR)
    await world.advance(minutes=9)
    assert (await approve(world, "can")).outcome is Said.done
    assert told(world, "scale") == 1, "a word that was given in time counts after the jump as well"


@pytest.mark.parametrize("hours", [-1, 1])
async def test_an_approval_that_came_too_late_counts_for_nothing_whatever_the_clock_says(world: World, hours: int) -> None:
    approval = Approval("approver", 1, timedelta(minutes=15))
    world.configure(rules(scale(approval=approval), people={"bora": person("bora", "approver")}))
    await world.receive(firing("A"))
    await world.drain()
    await jump(world, hours * HOUR)
    await world.advance(minutes=16)
    assert (await ended(world))[0] == (RunState.expired, Reason.not_approved)
    assert ((await approve(world, "bora")).outcome, told(world, "scale")) == (Said.refused, 0)


async def test_what_is_under_way_keeps_the_time_at_which_it_was_called_for(world: World) -> None:
    """Its target may tell by it that a second request is the first one again."""
    world.configure(rules(scale(resumable=True)))
    await world.receive(firing("A"))
    await world.store.write(lambda tx: act.claim(tx, world.rules, world.arsenal, 5, "dead", world.clock.now()))
    (before,) = await world.runs()
    await jump(world, HOUR)
    (after,) = await world.runs()
    assert (after.created_at, after.started_at) == (before.created_at, world.clock.now())


async def test_history_keeps_its_times_when_the_clock_jumps(world: World) -> None:
    world.configure(rules(scale()))
    await world.receive(firing("A"))
    await world.drain()
    await world.receive(resolved("A"))
    (before,) = await world.runs()
    world.clock.advance(hours=25)
    await jump(world, HOUR)
    assert await world.runs() == [before]


async def test_words_of_what_was_decided_keep_their_times_when_the_clock_jumps(world: World) -> None:
    approval = Approval("approver", 1, timedelta(minutes=15))
    world.configure(rules(scale(approval=approval), people={"bora": person("bora", "approver")}))
    await world.receive(firing("A"))
    await world.drain()
    await approve(world, "bora")
    (run,) = await world.runs()
    await jump(world, HOUR)
    (vote,) = (await world.store.read(lambda tx: votes.of(tx, [run.subject])))[run.subject]
    assert (vote.verdict, vote.at) == (Verdict.approve, START)
