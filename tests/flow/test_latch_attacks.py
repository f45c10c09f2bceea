"""Ways out of a latch that an adversary, an outage or a changed configuration could find, and ways not to be latched at all; each
was tried against the hub (reviews of issue 4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerthub.actions.base import Outcome, Report
from alerthub.domain.command import Outcome as Said
from alerthub.domain.command import Verb
from alerthub.domain.event import EventKind
from alerthub.domain.latch import Cause, LatchState, lacking
from alerthub.domain.route import Route
from alerthub.domain.rules import Approval, Flapping, HeartbeatRule, Rules
from alerthub.engine.sweep import sweep
from alerthub.flow import beat, flapping, prune
from alerthub.flow import latch as room
from alerthub.store import events as event_store
from alerthub.store import latches, leases
from tests.flow.test_latch import (
    BTC,
    PEOPLE,
    RELEASE,
    RELEASED,
    RELEASING,
    REQUESTED,
    ROUTE,
    SAFE,
    action,
    agreed,
    ask,
    clear,
    fire,
    is_as_told,
    lack,
    latch_of,
    look,
    look_for,
    proved,
    pushed,
    rules,
    state_of,
    vote,
)
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START
from tests.kit.world import World, rules_for, safe_mode

pytestmark = pytest.mark.anyio
NO_ACTION = Route("alerts", group_by=("alertname",))


@pytest.fixture
def world(world: World) -> World:
    world.configure(rules())
    return world


# -- heartbeats: the hub's own word

def watching(**fields: Any) -> Rules:
    etl = HeartbeatRule("etl", timedelta(minutes=2), "alerts", actions=(("safe-mode", (BTC,)),))
    return rules(heartbeats={"etl": etl}, **fields)


async def start(world: World) -> None:
    await world.store.write(lambda tx: beat.start(tx, world.rules, world.clock.now()))


async def comes(world: World) -> None:
    await world.store.write(lambda tx: beat.seen(tx, world.rules, "etl", world.clock.now(), world.clock.now()))


async def comes_for(world: World, minutes: int) -> None:
    for _ in range(minutes):
        await comes(world)
        await world.advance(minutes=1)


async def stays_away(world: World) -> None:
    for _ in range(15):
        await world.advance(seconds=10)


async def missing(world: World, **fields: Any) -> None:
    world.configure(watching(**fields))
    await start(world)
    await stays_away(world)
    assert await state_of(world) is SAFE


async def test_a_heartbeat_that_is_not_configured_any_more_cannot_be_asked(world: World) -> None:
    await missing(world)
    world.configure(rules())
    await start(world)
    await world.advance(minutes=30)
    assert (await world.state()).firing == 0
    assert await lack(world) == "cannot_be_asked"
    assert "heartbeat etl cannot be asked whether #1 is over (it is not in the configuration any more)" in (await ask(world)).text
    world.configure(watching())
    await start(world)
    assert await lack(world) == "not_looked", "it is configured again, and has not come yet"
    await comes_for(world, 10)
    assert await lack(world) == ""


async def test_a_heartbeat_that_was_clear_and_is_removed_and_added_again_must_come_again(world: World) -> None:
    await missing(world)
    await comes_for(world, 11)
    assert await lack(world) == ""
    for configured in (rules(), watching()):
        world.configure(configured)
        await start(world)
    assert await lack(world) == "not_looked"


async def test_neither_the_end_of_flapping_nor_a_person_says_that_a_heartbeat_came(world: World) -> None:
    await missing(world, flapping=Flapping(1, timedelta(hours=1)))
    for _ in range(2):
        await comes(world)
        await stays_away(world)
    assert (await world.command(Verb.resolve, 1, by="ayse", forced=True)).outcome is Said.done
    await world.advance(hours=3)
    await world.store.write(lambda tx: flapping.calm(tx, world.rules, world.clock.now()))
    await world.advance(minutes=11)
    assert await lack(world) == "not_looked"


async def test_a_person_s_word_does_not_keep_the_beats_from_proving_it(world: World) -> None:
    await missing(world)
    assert (await world.command(Verb.resolve, 1, by="ayse", forced=True)).outcome is Said.done
    await comes_for(world, 9)
    assert await lack(world) == "not_long_enough"
    await comes_for(world, 1)
    assert await lack(world) == ""


async def test_a_heartbeat_that_is_lost_again_is_no_proof_any_more(world: World) -> None:
    await missing(world)
    await comes_for(world, 11)
    assert await lack(world) == ""
    world.configure(replace(world.rules, heartbeats={"etl": replace(world.rules.heartbeats["etl"], actions=())}))
    await stays_away(world)
    assert await lack(world) == "still_fires"


async def test_a_clock_that_jumps_does_not_make_a_heartbeat_clear_for_longer(world: World) -> None:
    await missing(world)
    await comes(world)
    world.clock.advance(seconds=10)
    world.clock.moment += timedelta(hours=1)
    await world.store.write(lambda tx: leases.shift(tx, timedelta(hours=1)))
    assert await lack(world) == "not_long_enough"


@pytest.mark.parametrize("is_restarted", [True, False])
async def test_a_time_in_which_nobody_listened_for_beats_proves_nothing(world: World, is_restarted: bool) -> None:
    await missing(world)
    await comes(world)
    world.clock.advance(hours=1)
    if is_restarted:
        await start(world)
    await world.drain()
    assert await lack(world) == "not_long_enough"


async def test_a_reload_that_gives_a_missing_heartbeat_an_action_latches_at_once(world: World) -> None:
    without = watching()
    world.configure(replace(without, heartbeats={"etl": replace(without.heartbeats["etl"], actions=())}))
    await start(world)
    await stays_away(world)
    assert await state_of(world) is LatchState.armed
    world.configure(without)
    for _ in range(2):
        await start(world)
        await world.drain()
    assert await state_of(world) is SAFE
    assert pushed(world) == ["safe"]
    await is_as_told(world)
    await world.command(Verb.override, by="emre", subject=BTC, text="known")
    await world.drain()
    await start(world)
    assert await state_of(world) is RELEASED


# -- the record of causes

async def test_an_incident_that_holds_a_target_safe_is_never_forgotten(world: World) -> None:
    world.configure(rules(retention=timedelta(days=1)))
    await fire(world)
    await fire(world, "Drift")
    await clear(world)
    assert (await world.command(Verb.resolve, 2, by="ayse", forced=True)).outcome is Said.done
    drift = firing("Drift", agent=BTC)
    for _ in range(3):
        await look(world, drift, suppressed=True)
        world.clock.advance(minutes=1)
    await world.drain()
    world.clock.advance(hours=26)
    await world.drain()
    await world.store.write(lambda tx: prune.prune(tx, world.rules, world.clock.now()))
    assert {one["number"] for one in await world.incidents()} >= {1, 2}
    await look_for(world, 11, drift)
    assert await lack(world) == "not_looked"


async def test_a_cause_whose_incident_is_gone_is_never_proved(world: World) -> None:
    await proved(world)
    row = {"target": BTC, "incident_id": "gone", "action": "safe-mode", "at": world.clock.now()}
    await world.store.write(lambda tx: latches.add_causes(tx, [row]))
    assert await lack(world) == "cannot_be_asked"
    assert "an incident that latched it is not kept any more" in (await ask(world)).text


def test_nothing_proves_a_cause_without_an_incident() -> None:
    gone = Cause("gone", 0, "", "safe-mode", is_open=False, clear_since=START - timedelta(days=1), looked_at=START)
    assert lacking([gone], RELEASE, START) is not None


async def test_what_an_admin_overrode_must_be_over_before_the_next_release(world: World) -> None:
    await fire(world)
    await world.command(Verb.override, by="emre", subject=BTC, text="known")
    await world.drain()
    assert await state_of(world) is RELEASED
    await fire(world, "Drift")
    assert await state_of(world) is SAFE
    await clear(world, "Drift")
    await look_for(world, 11, firing("Reward", agent=BTC))
    assert await lack(world) == "still_fires"
    await clear(world)
    await look_for(world, 11)
    assert await lack(world) == ""


async def test_what_an_admin_overrode_and_was_over_is_forgotten(world: World) -> None:
    await proved(world)
    await world.command(Verb.override, by="emre", subject=BTC, text="no time")
    await world.drain()
    assert not await world.store.read(lambda tx: room.causes_of(tx, world.rules, BTC, world.clock.now()))


# -- what fires already

async def swept(world: World) -> None:
    await sweep(world.store, world.rules, world.clock, world.metrics, world.worker.nudge)
    await world.drain()


@pytest.mark.parametrize("before", [rules(route=NO_ACTION, actions=()), rules(actions=()), rules(targets=["agent-eth"])])
async def test_a_reload_that_adds_what_an_alert_calls_for_latches_what_fires_already(world: World, before: Rules) -> None:
    before = before if before.actions else replace(before, route=NO_ACTION)
    world.configure(before)
    await fire(world)
    assert await state_of(world) is LatchState.armed
    world.configure(rules())
    await swept(world)
    assert await state_of(world) is SAFE
    assert pushed(world) == ["safe"]
    assert f"{BTC} is latched safe: only people can release it" in await world.history()
    await swept(world)
    assert pushed(world) == ["safe"]
    await is_as_told(world)


async def test_an_alert_that_an_older_replica_took_in_latches_with_its_next_repeat(world: World) -> None:
    world.configure(rules(route=NO_ACTION, actions=()))
    await fire(world)
    world.configure(rules())
    world.clock.advance(minutes=5)
    await fire(world)
    assert await state_of(world) is SAFE
    assert pushed(world) == ["safe"]
    (run,) = [run for run in await world.runs() if run.state.value == "succeeded"]
    assert run.alert["labels"]["agent"] == BTC
    await is_as_told(world)


async def test_neither_a_reload_nor_a_repeat_undoes_an_override(world: World) -> None:
    await fire(world)
    await world.command(Verb.override, by="emre", subject=BTC, text="the feed was wrong")
    await world.drain()
    await swept(world)
    world.clock.advance(minutes=5)
    await fire(world)
    assert await state_of(world) is RELEASED
    assert pushed(world) == ["safe", "trading"]


async def test_what_is_over_is_not_latched_by_a_reload(world: World) -> None:
    world.configure(rules(route=NO_ACTION, actions=()))
    await fire(world)
    await clear(world)
    world.configure(rules())
    await swept(world)
    assert await state_of(world) is LatchState.armed


# -- people

async def test_a_request_of_somebody_who_is_here_under_another_name_is_void(world: World) -> None:
    """Else bora would agree to what bora has asked for."""
    await proved(world)
    await ask(world, "bora")
    people = {name: one for name, one in PEOPLE.items() if name != "bora"}
    world.configure(rules(people={**people, "bora-k": replace(PEOPLE["bora"], name="bora-k")}))
    answer = await world.command(Verb.approve, by="bora", subject=BTC)
    assert answer.outcome is Said.refused
    assert answer.text == f"bora, who asked, is not in the configuration any more: {BTC} stays safe. Ask again."
    assert answer.text in await world.history()
    assert (await vote(world, "can")).outcome is Said.refused
    assert await state_of(world) is SAFE
    await is_as_told(world)


async def test_a_request_of_somebody_who_has_left_ends_before_its_release_is_told(world: World) -> None:
    await agreed(world)
    world.configure(rules(people={name: one for name, one in PEOPLE.items() if name != "ayse"}))
    await world.drain()
    assert await state_of(world) is SAFE
    assert set(pushed(world)) == {"safe"}


@pytest.mark.parametrize("by", ["bora", "ayse"])
async def test_whoever_asked_may_call_it_off(world: World, by: str) -> None:
    await proved(world)
    await ask(world, by)
    assert (await vote(world, by, Verb.deny)).outcome is Said.done
    assert await state_of(world) is SAFE
    assert f"{by} calls it off: {BTC} stays safe" in await world.history()


@pytest.mark.parametrize(("by", "outcome"), [("ayse", Said.done), ("emre", Said.done), ("filiz", Said.refused)])
async def test_anybody_who_may_answer_may_say_that_it_stays_safe(world: World, by: str, outcome: Said) -> None:
    await proved(world)
    await ask(world, "bora")
    assert (await vote(world, by, Verb.deny)).outcome is outcome
    assert await state_of(world) is (SAFE if outcome is Said.done else REQUESTED)


async def test_words_that_were_on_their_way_do_not_count_for_a_later_request(world: World) -> None:
    await proved(world)
    await ask(world)
    said_at = world.clock.now()
    world.clock.advance(seconds=3)
    await vote(world, "can", Verb.deny)
    await ask(world)
    answer = await world.command(Verb.approve, by="bora", subject=BTC, said_at=said_at)
    assert answer.outcome is Said.refused
    assert "You wrote that before this request" in answer.text
    assert (await world.command(Verb.approve, by="bora", subject=BTC, said_at=world.clock.now())).outcome is Said.done


async def test_where_fewer_must_agree_since_a_reload_the_end_of_the_time_finds_that_they_have(world: World) -> None:
    await proved(world)
    await ask(world)
    await vote(world, "bora")
    world.configure(rules(releases={BTC: replace(RELEASE, approval=Approval("approver", 1, timedelta(minutes=15)))}))
    for _ in range(15):
        await world.advance(minutes=1)
        await look(world)
    history = "\n".join(await world.history())
    assert "1 of 1" not in history
    assert f"bora agreed to release {BTC}, as ayse asked" in history
    assert await state_of(world) in (RELEASING, RELEASED)


# -- what the target is told

def renamed(**fields: Any) -> Rules:
    route = replace(ROUTE, actions=("safe",))
    return rules(route=route, actions=[replace(safe_mode(releases=True), name="safe", **fields)])


async def test_another_action_tells_the_target_when_its_own_was_renamed(world: World) -> None:
    await proved(world)
    world.configure(renamed())
    await ask(world)
    for name in ("bora", "can"):
        await vote(world, name)
    await world.drain()
    assert await state_of(world) is RELEASED
    assert [call.release for call in world.actions["safe", BTC].calls] == ["trading"]


@pytest.mark.parametrize("without", [rules(actions=(), route=NO_ACTION), renamed(targets=("agent-eth",))])
async def test_what_cannot_be_told_is_released_by_nobody_but_an_admin(world: World, without: Rules) -> None:
    await proved(world)
    world.configure(without)
    refused = await ask(world)
    assert refused.outcome is Said.refused
    assert "safe-mode, which made it safe, is not in the configuration any more" in refused.text
    done = await world.command(Verb.override, by="emre", subject=BTC, text="told it by hand")
    assert (done.outcome, "It was NOT told so" in done.text) == (Said.done, True)
    assert await state_of(world) is RELEASED
    assert any("it was not told" in text for text in await world.history())


async def test_a_release_is_told_by_the_action_that_can_tell_it(world: World) -> None:
    flatten = replace(safe_mode(), name="flatten", type="http")
    world.configure(rules(route=replace(ROUTE, actions=("flatten", "safe-mode")), actions=[safe_mode(releases=True), flatten]))
    await proved(world)
    await ask(world)
    for name in ("bora", "can"):
        await vote(world, name)
    await world.drain()
    assert await state_of(world) is RELEASED
    assert pushed(world) == ["safe", "trading"]


# -- a target that was not reached

async def test_a_target_that_was_not_reached_is_told_once_a_minute_until_it_is_safe(world: World) -> None:
    action(world).report = Report(Outcome.failed, "no connection")
    await fire(world)
    for _ in range(5):
        await world.advance(minutes=1)
    assert pushed(world) == ["safe"] * 6
    assert (await latch_of(world)).verified_at is None
    alarms = [one for one in await world.incidents() if one["source"] == "alerthub"]
    assert [one["status"] for one in alarms] == ["triggered"], "one page, not one a minute"
    assert len(await world.runs()) == 1
    assert sum("FAILED" in line for line in await world.history()) == 1, "nor is it told once a minute"
    action(world).report = Report(Outcome.succeeded, "safe")
    await world.advance(minutes=1)
    latch = await latch_of(world)
    assert (latch.verified_at, latch.due_at) == (world.clock.now(), None)
    assert (await world.incident(alarms[0]["number"]))["status"] == "resolved"
    await world.advance(minutes=30)
    assert pushed(world) == ["safe"] * 7
    await is_as_told(world)


async def test_a_target_whose_action_was_renamed_before_it_was_told_is_told_by_the_new_one(world: World) -> None:
    await world.receive(firing("Reward", agent=BTC))
    world.configure(renamed())
    await world.drain()
    await world.advance(minutes=1)
    assert len(world.actions["safe", BTC].calls) == 1
    assert (await latch_of(world)).verified_at is not None
    await world.advance(minutes=10)
    assert len(world.actions["safe", BTC].calls) == 1


async def test_a_target_that_failed_under_the_old_name_of_its_action_is_told_by_the_new_one(world: World) -> None:
    action(world).report = Report(Outcome.failed, "no connection")
    await fire(world)
    world.configure(renamed())
    await world.advance(minutes=1)
    assert len(world.actions["safe", BTC].calls) == 1
    assert (await latch_of(world)).verified_at == world.clock.now()
    await world.advance(minutes=10)
    assert len(world.actions["safe", BTC].calls) == 1


async def test_an_older_replica_that_refuses_to_tell_a_target_does_not_keep_it_from_being_told(world: World) -> None:
    new = world.rules
    await world.receive(firing("Reward", agent=BTC))
    world.configure(rules_for(NO_ACTION, targets=[BTC]))
    await world.drain()
    world.configure(new)
    await world.advance(minutes=1)
    assert pushed(world) == ["safe"]
    assert (await latch_of(world)).verified_at is not None


async def test_a_target_that_is_asked_to_be_released_is_told_again_when_that_is_called_off(world: World) -> None:
    action(world).report = Report(Outcome.unknown, "no answer")
    await fire(world)
    await clear(world)
    await look_for(world, 10)
    assert (await ask(world)).outcome is Said.done
    before = len(pushed(world))
    for _ in range(3):
        await world.advance(minutes=1)
    assert len(pushed(world)) == before
    await vote(world, "can", Verb.deny)
    await world.drain()
    assert len(pushed(world)) == before + 1


async def test_a_request_that_an_alert_calls_off_leaves_the_target_verified(world: World) -> None:
    await proved(world)
    at = (await latch_of(world)).verified_at
    await ask(world)
    await world.receive(firing("Drift", agent=BTC))
    latch = await latch_of(world)
    assert (latch.state, latch.verified_at) == (SAFE, at)
    assert at is not None


async def test_a_replica_without_the_action_keeps_a_target_safe_that_its_release_did_not_reach(world: World) -> None:
    await agreed(world)
    new = world.rules
    world.configure(rules_for(NO_ACTION, targets=[BTC], people=PEOPLE))
    await world.drain()
    world.configure(new)
    await world.advance(minutes=1)
    assert await state_of(world) is SAFE
    assert pushed(world)[-1] == "safe"
    (incident,) = {one["id"] for one in await world.incidents() if one["source"] != "alerthub"}
    assert await world.store.read(lambda tx: event_store.of_kind(tx, EventKind.latch, [incident]))
    await is_as_told(world)


async def test_what_nobody_can_prove_is_overridden_once_and_not_for_ever(world: World) -> None:
    known = world.rules.sources["alertmanager"]
    world.configure(replace(world.rules, sources={"alertmanager": replace(known, reconcile_urls=())}))
    await fire(world)
    await world.receive(resolved("Reward", agent=BTC))
    await world.drain()
    await world.advance(minutes=11)
    assert await lack(world) == "cannot_be_asked"
    await world.command(Verb.override, by="emre", subject=BTC, text="the source cannot be asked")
    await world.drain()
    assert await state_of(world) is RELEASED
    assert (await world.store.read(lambda tx: latches.causes(tx, [BTC]))).get(BTC, []) == []
