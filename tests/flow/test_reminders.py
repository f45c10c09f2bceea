"""Who was called is reminded as long as nobody has it, also when something happens in between that is no news for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.command import Verb
from alerthub.domain.message import Why
from alerthub.domain.route import Route
from alerthub.domain.rules import EscalationPolicy, PolicyStep
from alerthub.domain.schedule import Layer, Schedule
from alerthub.store.database import Store
from tests.kit.alerts import firing, resolved
from tests.kit.world import SLACK, World, contact, destination, person, rules_for

pytestmark = pytest.mark.anyio
MAIL, CHAT = "email:ayse@example.com", "telegram:1001"
NIGHT = Schedule("night", (Layer(("ayse",), start=None),))
STEPS = (PolicyStep((("schedule", "night"),), timedelta(hours=20)),)


def calling(repeat: timedelta = timedelta(hours=1), **fields: Any) -> Any:
    return rules_for(Route("alerts", group_by=("alertname",), escalation_policy="night", repeat_interval=repeat),
                     people={"ayse": person("ayse"), "mehmet": person("mehmet")}, contacts={"ayse": (contact(MAIL),)},
                     schedules={"night": NIGHT}, policies={"night": EscalationPolicy("night", STEPS)}, **fields)


@pytest.fixture
def world(store: Store) -> World:
    return World(store, calling())


async def called(world: World) -> None:
    await world.receive(firing("DiskFull", severity="critical"))
    await world.drain()
    world.channels[MAIL].expect("called ayse")


async def comment(world: World) -> None:
    await world.command(Verb.comment, by="mehmet", text="looking")
    await world.drain()


async def test_a_comment_neither_rings_nor_cancels_the_reminder(world: World) -> None:
    await called(world)
    await world.advance(minutes=30)
    await comment(world)
    world.channels[MAIL].expect_nothing()
    await world.advance(minutes=29)
    world.channels[MAIL].expect_nothing()
    await world.advance(minutes=1)
    assert world.channels[MAIL].expect("DiskFull").why is Why.repeat


async def test_comments_do_not_put_reminders_off(world: World) -> None:
    await called(world)
    for _ in range(12):
        await world.advance(minutes=20)
        await comment(world)
    assert [message.why for message in world.channels[MAIL].messages] == [Why.repeat] * 4


async def test_an_edit_that_interrupts_nobody_does_not_put_reminders_off(store: Store) -> None:
    chat = calling(receivers={"alerts": [destination(SLACK)]})
    world = World(store, replace(chat, contacts={"ayse": (contact(CHAT),)}))
    await world.receive(firing("DiskFull", severity="critical"))
    await world.drain()
    world.channels[CHAT].told.clear()
    for _ in range(12):
        await world.advance(minutes=20)
        await comment(world)
    told = world.channels[CHAT].messages
    assert [message.at.hour for message in told if message.why is Why.repeat] == [4, 5, 6, 7]
    assert all(message.only_edit for message in told if message.why is not Why.repeat)
    assert len(told) > 4


async def test_what_is_given_back_is_reminded_of_a_whole_interval_later(store: Store) -> None:
    world = World(store, replace(calling(), contacts={"ayse": (contact(CHAT),)}, policies={
        "night": EscalationPolicy("night", (PolicyStep((("receiver", "mail"),), timedelta(hours=20)), *STEPS))}))
    await world.receive(firing("DiskFull", severity="critical"))
    await world.drain()
    await world.command(Verb.escalate)
    await world.drain()
    await world.command(Verb.acknowledge, by="mehmet")
    await world.advance(hours=3)
    world.channels[CHAT].told.clear()
    await world.command(Verb.unacknowledge, by="mehmet")
    await world.settle_down(5)
    assert not [message for message in world.channels[CHAT].messages if message.why is Why.repeat]
    await world.advance(hours=1)
    assert world.channels[CHAT].messages[-1].why is Why.repeat


async def test_a_reminder_that_fell_due_while_nobody_ran_is_sent_once(world: World) -> None:
    await called(world)
    world.clock.advance(hours=5)
    await comment(world)
    assert [message.why for message in world.channels[MAIL].messages] == [Why.repeat]


async def test_who_has_taken_it_or_whom_it_does_not_concern_any_more_is_not_reminded(world: World) -> None:
    await called(world)
    await world.command(Verb.acknowledge, by="mehmet")
    await world.drain()
    assert world.channels[MAIL].expect("Acknowledged by mehmet").why is Why.acknowledged
    await comment(world)
    await world.advance(hours=3)
    world.channels[MAIL].expect_nothing()


async def test_after_the_end_a_comment_brings_no_reminder(world: World) -> None:
    await called(world)
    await world.receive(resolved("DiskFull", severity="critical"))
    await world.drain()
    world.channels[MAIL].told.clear()
    await comment(world)
    await world.advance(hours=3)
    world.channels[MAIL].expect_nothing()


async def test_without_a_repeat_interval_a_comment_brings_none(store: Store) -> None:
    world = World(store, calling(timedelta(0)))
    await called(world)
    await comment(world)
    await world.advance(hours=9)
    world.channels[MAIL].expect_nothing()
