"""Nobody answers: the next person is called, by their own addresses, until somebody does or everybody has been."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.command import Outcome, Verb
from alerthub.domain.interval import Period
from alerthub.domain.message import IncidentStatus, Why
from alerthub.domain.route import Route
from alerthub.domain.rules import EscalationPolicy, PolicyStep, Receiver
from alerthub.domain.schedule import Layer, Override, Schedule
from alerthub.errors import Failure, SendFailed
from alerthub.flow import escalate
from alerthub.store import overrides
from alerthub.store.database import Store
from tests.kit.alerts import firing, resolved
from tests.kit.world import EMAIL, SLACK, World, contact, destination, person, rules_for

pytestmark = pytest.mark.anyio
MINUTE = timedelta(minutes=1)
AYSE, MEHMET, MEHMETS_MAIL = "telegram:1001", "telegram:1002", "email:mehmet@example.com"
CONTACTS = {"ayse": (contact(AYSE),), "mehmet": (contact(MEHMET), contact(MEHMETS_MAIL))}
PEOPLE = {name: person(name) for name in ("ayse", "mehmet", "nobody")}


def step(*notify: str, wait: timedelta = 5 * MINUTE) -> PolicyStep:
    return PolicyStep(tuple((kind, name) for kind, _, name in (text.partition(":") for text in notify)), wait)


def rules(*steps: PolicyStep, repeat: int = 0, schedules: dict[str, Schedule] | None = None, **fields: Any) -> Any:
    route = Route("alerts", group_by=("alertname",), escalation_policy="trading", **fields)
    return rules_for(route, people=PEOPLE, contacts=CONTACTS, schedules=schedules or {},
                     policies={"trading": EscalationPolicy("trading", steps, repeat)})


NEVER = (Period(years=((1990, 1990),)),)
TWO = (step("person:ayse"), step("person:mehmet", "receiver:mail", wait=10 * MINUTE))


@pytest.fixture
def world(store: Store) -> World:
    return World(store, rules(*TWO))


async def fired(world: World) -> None:
    await world.receive(firing("DiskFull", severity="critical"))
    await world.drain()


async def test_the_first_person_is_called_at_once_and_the_second_when_nobody_answers(world: World) -> None:
    await fired(world)
    called = world.channels[AYSE].expect("Escalation, step 1 of 2 of trading: called ayse")
    assert (called.why, called.status) == (Why.opened, IncidentStatus.triggered)
    world.channels[MEHMET].expect_nothing()
    await world.advance(minutes=4)
    world.channels[MEHMET].expect_nothing()
    await world.advance(minutes=1)
    world.channels[MEHMET].expect("called mehmet, receiver mail")
    world.channels[EMAIL].expect("DiskFull")


async def test_an_acknowledgement_stops_it(world: World) -> None:
    await fired(world)
    assert (await world.command(Verb.acknowledge)).outcome is Outcome.done
    await world.advance(minutes=60)
    world.channels[MEHMET].expect_nothing()
    assert not [line for line in await world.history() if "run out" in line]


async def test_the_end_of_the_incident_stops_it(world: World) -> None:
    await fired(world)
    await world.receive(resolved("DiskFull", severity="critical"))
    await world.advance(minutes=60)
    world.channels[MEHMET].expect_nothing()


async def test_given_back_it_begins_again(world: World) -> None:
    await fired(world)
    await world.command(Verb.acknowledge)
    await world.advance(minutes=30)
    await world.command(Verb.unacknowledge)
    await world.settle_down(3)
    assert [line for line in await world.history() if "step 1 of 2" in line] == [
        "Escalation, step 1 of 2 of trading: called ayse"] * 2


async def test_a_reopened_incident_is_escalated_from_the_first_step(world: World) -> None:
    await fired(world)
    await world.advance(minutes=6)
    await world.receive(resolved("DiskFull", severity="critical"))
    await world.advance(minutes=10)
    world.channels[AYSE].told.clear()
    await fired(world)
    await world.settle_down(5)
    assert world.channels[AYSE].expect("Escalation, step 1 of 2").status is IncidentStatus.triggered


async def test_a_person_is_called_by_the_next_address_while_nobody_has_answered(world: World) -> None:
    await fired(world)
    await world.advance(minutes=5)
    world.channels[MEHMET].expect("DiskFull")
    world.channels[MEHMETS_MAIL].expect_nothing()
    await world.advance(minutes=1)
    world.channels[MEHMETS_MAIL].expect("DiskFull")


async def test_a_person_who_is_not_wanted_any_more_is_not_called(world: World) -> None:
    await fired(world)
    await world.advance(minutes=5)
    await world.command(Verb.acknowledge)
    await world.advance(minutes=5)
    world.channels[MEHMETS_MAIL].expect_nothing()


async def test_a_policy_that_repeats_calls_everybody_again_and_then_pages_the_catch_all(store: Store) -> None:
    world = World(store, rules(*TWO, repeat=1))
    await fired(world)
    for _ in range(40):
        await world.advance(minutes=1)
    steps = [line for line in await world.history() if line.startswith("Escalation")]
    assert [line.split(": ")[0] for line in steps] == [
        "Escalation, step 1 of 2 of trading", "Escalation, step 2 of 2 of trading",
        "Escalation, step 1 of 2 of trading, round 2", "Escalation, step 2 of 2 of trading, round 2",
        "Escalation trading has run out"]
    assert steps[-1] == (
        "Escalation trading has run out: nobody acknowledged. Nobody else is called; telling receiver alerts")
    assert any("run out" in line for message in world.slack.messages for line in message.news)


async def test_a_step_with_nobody_on_call_goes_on_at_once_and_says_so(store: Store) -> None:
    empty = Schedule("night", (Layer(("ayse",), start=None, restrictions=NEVER),))
    world = World(store, rules(step("schedule:night"), step("person:mehmet"), schedules={"night": empty}))
    await fired(world)
    world.channels[MEHMET].expect("DiskFull")
    assert "Escalation, step 1 of 2 of trading: nobody is on call in night; going on to the next step" in await world.history()


async def test_a_policy_that_reaches_nobody_at_all_pages_the_catch_all_at_once(store: Store) -> None:
    world = World(store, rules(step("person:nobody"), repeat=100))
    await fired(world)
    assert (await world.history())[-1].startswith("Escalation trading has run out")
    assert len(await world.history()) == 3


async def test_whoever_is_on_call_is_called_and_an_override_counts(store: Store) -> None:
    week = Schedule("primary", (Layer(("ayse",)),))
    world = World(store, rules(step("schedule:primary"), schedules={"primary": week}))
    now = world.clock.now()
    swap = Override("primary", "mehmet", now - MINUTE, now + 60 * MINUTE)
    await store.write(lambda tx: overrides.add(tx, swap, "ayse", now))
    await fired(world)
    world.channels[MEHMET].expect("called mehmet (on call: primary)")
    world.channels[AYSE].expect_nothing()


async def test_escalate_now_calls_the_next_person_also_when_somebody_has_it(world: World) -> None:
    await fired(world)
    answer = await world.command(Verb.escalate)
    assert "called mehmet" in answer.text
    await world.drain()
    world.channels[MEHMET].expect("ayse asks for the next person")
    await world.command(Verb.acknowledge)
    world.channels[AYSE].told.clear()
    assert (await world.command(Verb.escalate)).text == "Escalation, step 1 of 2 of trading: called ayse"
    await world.drain()
    assert world.channels[AYSE].told
    assert (await world.state()).status is IncidentStatus.acknowledged
    await world.advance(minutes=60)
    assert not [line for line in await world.history() if "run out" in line]


async def test_what_has_run_out_begins_again_when_a_person_asks(world: World) -> None:
    await fired(world)
    await world.advance(minutes=5)
    await world.advance(minutes=10)
    assert (await world.history())[-1].startswith("Escalation trading has run out: nobody acknowledged")
    for channel in world.channels.values():
        channel.told.clear()
    assert (await world.command(Verb.escalate)).text == "Escalation, step 1 of 2 of trading: called ayse"
    await world.drain()
    world.channels[AYSE].expect("called ayse")
    world.channels[MEHMET].told.clear()
    await world.advance(minutes=5)
    world.channels[MEHMET].expect("called mehmet")


async def test_what_reaches_nobody_while_somebody_has_it_says_who_has_it(store: Store) -> None:
    world = World(store, rules(step("person:nobody")))
    await fired(world)
    await world.command(Verb.acknowledge)
    answer = await world.command(Verb.escalate)
    assert answer.text == "Escalation trading has run out: ayse has it. Nobody else is called; telling receiver alerts"


async def test_a_receiver_that_is_also_the_second_address_of_who_is_called_is_told_at_once(store: Store) -> None:
    both = rules(step("person:mehmet"), step("person:ayse"))
    mail = destination(MEHMETS_MAIL)
    world = World(store, replace(both, receivers={**both.receivers, "alerts": Receiver("alerts", (destination(SLACK), mail))}))
    await fired(world)
    for key in (SLACK, MEHMET, MEHMETS_MAIL):
        assert world.channels[key].told, key


async def test_a_restart_loses_no_step_and_calls_nobody_twice(world: World) -> None:
    await fired(world)
    world.clock.advance(minutes=5)
    first, second = world.new_worker("replica-1"), world.new_worker("replica-2")
    await world.drain(first)
    await world.drain(second)
    assert len([line for line in await world.history() if "step 2 of 2" in line]) == 1
    assert len(world.channels[MEHMET].told) == 1


async def test_a_step_that_two_replicas_take_at_once_is_taken_once(shared_world: World) -> None:
    world = shared_world
    await fired(world)
    world.clock.advance(minutes=5)
    rules_now, now = world.rules, world.clock.now()
    await asyncio.gather(*(world.store.write(lambda tx: escalate.run_due(tx, rules_now, now)) for _ in range(4)))
    assert len([line for line in await world.history() if "step 2 of 2" in line]) == 1


@pytest.fixture
def shared_world(store: Store) -> World:
    return World(store, rules(*TWO))


async def test_what_is_silenced_calls_nobody_until_the_silence_ends(world: World) -> None:
    await fired(world)
    await world.say("silence 1 1h")
    for _ in range(20):
        await world.advance(minutes=2)
    world.channels[MEHMET].expect_nothing()
    for _ in range(15):
        await world.advance(minutes=2)
    world.channels[MEHMET].expect("DiskFull")


async def test_a_critical_incident_that_nobody_is_called_for_is_found_and_paged(world: World) -> None:
    await fired(world)
    await world.store.write(lambda tx: tx.conn.exec_driver_sql("delete from timers"))
    await world.advance(minutes=4)
    assert not await world.store.write(lambda tx: escalate.audit(tx, world.rules, world.clock.now()))
    await world.advance(minutes=2)
    events = await world.store.write(lambda tx: escalate.audit(tx, world.rules, world.clock.now()))
    assert len(events) == 1
    await world.drain()
    assert (await world.incident(2))["title"] == "The escalation of #1 was stuck"
    assert "Escalation, step 1 of 2 of trading: called ayse" in (await world.history())[-1]
    assert not await world.store.write(lambda tx: escalate.audit(tx, world.rules, world.clock.now()))


async def test_an_escalation_that_has_run_out_or_is_taken_is_not_stuck(world: World) -> None:
    await fired(world)
    for _ in range(30):
        await world.advance(minutes=1)
    await world.advance(hours=3)
    assert not await world.store.write(lambda tx: escalate.audit(tx, world.rules, world.clock.now()))


async def test_a_person_whose_provider_is_dead_does_not_stop_the_next_step(world: World) -> None:
    world.channels[AYSE].broken = SendFailed(Failure.unavailable, "down")
    await fired(world)
    await world.advance(minutes=5)
    world.channels[MEHMET].expect("DiskFull")


async def test_a_policy_that_left_the_configuration_ends(world: World) -> None:
    await fired(world)
    world.configure(rules_for(Route("alerts", group_by=("alertname",))))
    await world.advance(minutes=60)
    assert [line for line in await world.history() if line.startswith("Escalation")] == [
        "Escalation, step 1 of 2 of trading: called ayse",
        "Escalation policy trading is not in the configuration any more: it calls nobody else"]


async def test_receivers_of_the_route_are_told_of_every_step(world: World) -> None:
    await fired(world)
    world.slack.told.clear()
    await world.advance(minutes=5)
    assert world.slack.expect("called mehmet").why is Why.escalated
    assert destination(SLACK).key == SLACK
