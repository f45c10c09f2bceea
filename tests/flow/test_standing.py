"""What a live message says comes next stays true until it is edited, whatever puts the next step off; and no edit rings."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.command import Verb
from alerthub.domain.event import Actor
from alerthub.domain.interval import Period, TimeInterval, parse_times
from alerthub.domain.message import Message
from alerthub.domain.reconcile import Listed, Peer
from alerthub.domain.route import Route
from alerthub.domain.rules import Answers, EscalationPolicy, Flapping, PolicyStep, Rules
from alerthub.flow import silencing, watch
from alerthub.store.database import Store
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START
from tests.kit.world import SLACK, ScriptedChannel, World, contact, destination, person, rules_for

pytestmark = pytest.mark.anyio
AYSE, MEHMET = "telegram:1001", "telegram:1002"
UNTIL_FIVE = TimeInterval("until five", (Period(times=(parse_times("03:03", "05:00"),)),))
CALLED = "YOU ARE CALLED: take it (acknowledge), or the next person is called."
GONE = ("Nobody has it. Called: ayse at 03:00 UTC. Nobody else will be called: the escalation policy is not in the configuration "
        "any more.")


def call(name: str, minutes: int = 5) -> PolicyStep:
    return PolicyStep((("person", name),), timedelta(minutes=minutes))


def calling(*, policy: str = "trading", wait: int = 5, **route: Any) -> Rules:
    steps = (call("ayse", wait), call("mehmet", 10))
    people = {name: person(name) for name in ("ayse", "mehmet")}
    return rules_for(Route("alerts", group_by=("alertname",), escalation_policy=policy, **route), people=people,
                     receivers={"alerts": [destination(SLACK, answers="buttons")]},
                     contacts={"ayse": (contact(AYSE),), "mehmet": (contact(MEHMET),)},
                     policies={policy: EscalationPolicy(policy, steps)} if policy else {})


async def fired(world: World) -> None:
    await world.receive(firing("DiskFull", severity="critical"))
    await world.drain()


async def minutes(world: World, count: int) -> None:
    for _ in range(count):
        await world.advance(minutes=1)


def shown(channel: ScriptedChannel) -> Message:
    """The live message as it is now."""
    return channel.messages[-1]


async def test_a_mute_time_that_begins_before_the_next_step_is_reckoned_in_from_the_first_message_on(store: Store) -> None:
    world = World(store, calling(mute=(UNTIL_FIVE,)))
    await fired(world)
    assert shown(world.channels[AYSE]).standing == (CALLED, "Nobody has it. Called: ayse at 03:00 UTC. Next step 05:00 UTC.")
    await minutes(world, 119)
    world.channels[MEHMET].expect_nothing()
    await world.advance(minutes=1)
    world.channels[MEHMET].expect("called mehmet")


async def test_a_mute_time_that_a_reload_brought_is_shown_by_one_edit_that_rings_nobody(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    assert "Next step 03:05 UTC." in shown(world.channels[AYSE]).standing[1]
    world.configure(calling(mute=(UNTIL_FIVE,)))
    world.channels[AYSE].told.clear()
    await minutes(world, 60)
    (edit,) = world.channels[AYSE].messages
    assert edit.only_edit
    assert "Next step 05:00 UTC." in edit.standing[1]
    assert (await world.history())[-1] == "Escalation trading waits until 2026-11-21 05:00 UTC: a mute time, or it flaps"


async def test_of_a_policy_that_left_the_configuration_no_step_is_shown_and_it_is_edited_once(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    assert "Escalate now" in [button.label for button in shown(world.slack).buttons]
    world.configure(replace(calling(policy=""), contacts=world.rules.contacts))
    for channel in world.channels.values():
        channel.told.clear()
    await minutes(world, 60)
    for channel in (world.slack, world.channels[AYSE]):
        (edit,) = channel.messages
        assert edit.only_edit
        assert edit.standing == (GONE,)
        assert "Escalate now" not in [button.label for button in edit.buttons]


async def test_a_policy_that_came_back_is_shown_and_one_that_leaves_again_is_said_again(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    world.configure(calling(policy=""))
    await minutes(world, 10)
    world.configure(calling())
    await minutes(world, 1)
    assert "Everybody was called; the escalation runs out at 03:21 UTC." in shown(world.slack).standing[0]
    world.configure(calling(policy=""))
    await minutes(world, 20)
    assert len([line for line in await world.history() if "not in the configuration" in line]) == 2


async def test_a_policy_that_left_is_stopped_by_an_acknowledgement(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    world.configure(calling(policy=""))
    await minutes(world, 6)
    await world.command(Verb.acknowledge)
    await minutes(world, 2)
    assert [item["state"] for item in (await world.incident())["timers"] if item["kind"] == "escalation"] == ["stopped"]


async def test_after_the_last_call_it_says_when_the_escalation_runs_out(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    await minutes(world, 5)
    assert shown(world.channels[MEHMET]).standing == (
        "YOU ARE CALLED: take it (acknowledge), nobody else will be called.",
        "Nobody has it. Called: ayse at 03:00 UTC, mehmet at 03:05 UTC. "
        "Everybody was called; the escalation runs out at 03:15 UTC.")


async def test_what_flaps_shows_the_step_where_it_will_be(store: Store) -> None:
    world = World(store, replace(calling(wait=1), flapping=Flapping(1, timedelta(hours=1))))
    await fired(world)
    await world.receive(resolved("DiskFull", severity="critical"))
    await minutes(world, 1)
    await fired(world)
    assert shown(world.slack).standing == ()        # nobody is called yet in this episode
    await world.command(Verb.escalate)              # but a person asks
    await world.drain()
    assert "Next step 03:06 UTC." in shown(world.slack).standing[0]
    edits = len(world.slack.messages)
    await minutes(world, 4)
    assert len(world.slack.messages) <= edits + 2   # the news of the asking, and the one that it waits
    assert len(world.channels[MEHMET].told) == 0
    await minutes(world, 1)
    assert world.channels[MEHMET].told


async def test_while_the_source_has_silenced_it_no_time_is_shown(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    await suppress(world, suppressed=True)
    edits = len(world.slack.messages)
    await minutes(world, 10)
    assert shown(world.slack).standing == ()
    assert len(world.slack.messages) == edits
    await suppress(world, suppressed=False)
    assert "Next step" in shown(world.slack).standing[0]


async def suppress(world: World, *, suppressed: bool) -> None:
    alert, now = firing("DiskFull", severity="critical"), world.clock.now()
    peer = Peer(START - timedelta(days=9), {alert.identity: Listed(alert.labels, suppressed)})
    await world.store.write(lambda tx: watch.reconcile(tx, world.rules, "alertmanager", [peer], now, now))
    await world.drain()


async def test_an_acknowledgement_that_ends_under_a_silence_shows_no_end(store: Store) -> None:
    world = World(store, calling(ack_timeout=timedelta(minutes=10)))
    await fired(world)
    await world.command(Verb.acknowledge)
    await world.drain()
    assert shown(world.slack).standing == ("ayse has it until 03:10 UTC; then it asks again.",)
    await world.command(Verb.silence)
    await minutes(world, 20)
    assert shown(world.slack).standing == ()
    await world.store.write(lambda tx: silencing.expire(tx, world.rules, 1, Actor("person", "ayse"), world.clock.now()))
    await world.drain()
    assert "ayse has it until 03:2" in shown(world.slack).standing[0]


async def test_times_are_those_of_where_people_live_with_the_zone_and_the_date_of_another_day(store: Store) -> None:
    istanbul = Answers(time_zone="Europe/Istanbul")
    world = World(store, replace(calling(wait=24 * 60), answers=istanbul))
    await fired(world)
    assert shown(world.slack).standing == ("Nobody has it. Called: ayse at 06:00 +03. Next step 2026-11-22 06:00 +03.",)
    await world.command(Verb.silence, until=START + timedelta(hours=1))
    assert (await world.history())[-1] == "Silenced by ayse until 2026-11-21 07:00 +03"
    assert shown(world.slack).time_zone == "Europe/Istanbul"


async def test_who_asks_reads_local_times_too(store: Store) -> None:
    world = World(store, replace(calling(), answers=Answers(time_zone="Europe/Istanbul")))
    await fired(world)
    await world.command(Verb.acknowledge)
    assert (await world.say("who 1")).text == "#1 critical, ayse has it since 06:00 +03: DiskFull"
    assert (await world.command(Verb.acknowledge)).text == "You have #1 since 2026-11-21 06:00 +03."
    silenced = await world.command(Verb.silence, until=START + timedelta(hours=1))
    assert silenced.text == "#1 is silenced until 2026-11-21 07:00 +03."


async def test_who_takes_it_reads_until_when_in_local_time(store: Store) -> None:
    world = World(store, replace(calling(ack_timeout=timedelta(hours=1)), answers=Answers(time_zone="Europe/Istanbul")))
    await fired(world)
    assert (await world.command(Verb.acknowledge)).text == "You have #1 now, until 07:00 +03."
    assert (await world.history())[-1] == "Acknowledged by ayse, until 07:00 +03"
