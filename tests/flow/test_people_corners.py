"""Corners of answering and calling that went wrong once: who is called when, what a silence holds, what a click shows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.command import Command, Outcome, Press, Typed, Verb
from alerthub.domain.event import Actor
from alerthub.domain.interval import Period, TimeInterval, parse_times
from alerthub.domain.matcher import EQUAL, Matcher
from alerthub.domain.message import IncidentStatus, Why
from alerthub.domain.person import Account
from alerthub.domain.route import Route
from alerthub.domain.rules import Answers, EscalationPolicy, Flapping, HeartbeatRule, PolicyStep
from alerthub.errors import Failure, SendFailed
from alerthub.flow import beat, escalate, silencing
from alerthub.flow.respond import hear
from alerthub.store import silences
from alerthub.store.database import Store
from tests.kit.alerts import firing, resolved
from tests.kit.world import EMAIL, PAGERDUTY, SLACK, World, contact, destination, person, rules_for

pytestmark = pytest.mark.anyio
MINUTE = timedelta(minutes=1)
AYSE, MEHMET, MEHMETS_MAIL = "telegram:1001", "telegram:1002", "email:mehmet@example.com"
CONTACTS = {"ayse": (contact(AYSE),), "mehmet": (contact(MEHMET), contact(MEHMETS_MAIL))}
PEOPLE = {name: person(name) for name in ("ayse", "mehmet")}
BUTTONS = {"alerts": [destination(SLACK, answers="buttons")]}
ALWAYS = TimeInterval("always", (Period(),))


def step(*notify: str, wait: timedelta = 5 * MINUTE) -> PolicyStep:
    return PolicyStep(tuple((kind, name) for kind, _, name in (text.partition(":") for text in notify)), wait)


TWO = (step("person:ayse"), step("person:mehmet", wait=10 * MINUTE))


def calling(*steps: PolicyStep, name: str = "trading", **fields: Any) -> Any:
    route = Route("alerts", group_by=("alertname",), escalation_policy=name)
    return rules_for(route, people=PEOPLE, contacts=CONTACTS, policies={name: EscalationPolicy(name, steps or TWO)}, **fields)


def answering(route: Route | None = None, **fields: Any) -> Any:
    return rules_for(route, **{"people": PEOPLE, "receivers": BUTTONS, **fields})


async def fired(world: World, **labels: str) -> None:
    await world.receive(firing("DiskFull", **{"severity": "critical", **labels}))
    await world.drain()


# -- who is called, and who is not

async def test_on_reopening_only_the_first_step_is_called(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    await world.advance(minutes=6)
    await world.receive(resolved("DiskFull", severity="critical"))
    await world.advance(minutes=10)
    for channel in world.channels.values():
        channel.told.clear()
    await fired(world)
    await world.settle_down(5)
    assert world.channels[AYSE].told
    world.channels[MEHMET].expect_nothing()


async def test_escalate_now_reaches_the_next_person_also_while_somebody_has_it(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    await world.command(Verb.acknowledge)
    answer = await world.command(Verb.escalate)
    await world.settle_down(5)
    assert "called mehmet" in answer.text
    world.channels[MEHMET].expect("called mehmet")


async def test_a_second_address_is_not_called_when_the_first_step_begins_again(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    await world.advance(minutes=5)
    await world.command(Verb.acknowledge)
    await world.advance(minutes=30)
    await world.command(Verb.unacknowledge)
    await world.settle_down(3)
    world.channels[MEHMETS_MAIL].expect_nothing()


async def test_who_was_called_is_not_rung_again_for_what_is_not_for_them(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    await world.advance(minutes=5)
    world.channels[AYSE].told.clear()
    await world.command(Verb.comment, by="mehmet", text="looking")
    await world.command(Verb.acknowledge, by="mehmet")
    await world.settle_down(5)
    assert world.channels[AYSE].told
    assert all(message.only_edit for message in world.channels[AYSE].messages)


async def test_the_called_person_reads_that_and_who_comes_next(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    told = world.channels[AYSE].expect("called ayse")
    assert told.standing == ("YOU ARE CALLED: take it (acknowledge), or the next person is called.",
                             "Nobody has it. Called: ayse at 03:00 UTC. Next step 03:05 UTC.")
    await world.advance(minutes=5)
    await world.advance(minutes=11)
    assert world.slack.messages[-1].standing == (
        "NOBODY ANSWERED (ayse at 03:00 UTC, mehmet at 03:05 UTC). Nobody else will be called.",)


@pytest.mark.parametrize("back", [True, False])
async def test_a_policy_that_is_renamed_or_comes_back_goes_on(store: Store, back: bool) -> None:
    world = World(store, calling())
    await fired(world, severity="warning")
    world.configure(rules_for(Route("alerts", group_by=("alertname",))) if back else calling(name="other"))
    await world.advance(minutes=6)
    if back:
        world.configure(calling())
    for _ in range(20):
        await world.advance(minutes=1)
    assert world.channels[MEHMET].told


async def test_who_did_not_answer_a_warning_is_asked_again_when_it_becomes_critical(store: Store) -> None:
    world = World(store, calling())
    await fired(world, severity="warning", instance="1")
    for _ in range(20):
        await world.advance(minutes=1)
    before = len(await world.history())
    await fired(world, severity="critical", instance="2")
    await world.advance(minutes=1)
    assert [line for line in (await world.history())[before:] if line.startswith("Escalation, step 1")]


async def test_a_step_that_only_reaches_what_fails_goes_on(store: Store) -> None:
    world = World(store, calling())
    world.channels[AYSE].broken = SendFailed(Failure.configuration, "blocked")
    await fired(world)
    await world.settle_down(3)
    assert not [line for line in await world.history(2) if line.endswith("called ayse")]


async def test_one_alert_that_cannot_be_read_does_not_stop_the_calls(store: Store) -> None:
    world = World(store, calling())
    await world.receive(firing("Bad", severity="critical"), firing("Good", severity="critical"))
    await store.write(lambda tx: tx.conn.exec_driver_sql("update alerts set content = '{}' where content like '%%Bad%%'"))
    await world.drain()
    assert world.channels[AYSE].told


async def test_what_flaps_calls_nobody_until_it_stays(store: Store) -> None:
    world = World(store, calling(flapping=Flapping(3, timedelta(hours=1))))
    for turn in range(6):
        if turn == 4:
            world.channels[AYSE].told.clear()
        await world.receive(firing("Etl", severity="warning"))
        await world.settle_down(60, step=20)
        await world.receive(resolved("Etl", severity="warning"))
        await world.settle_down(60, step=20)
    assert all(message.only_edit or message.status is IncidentStatus.resolved for message in world.channels[AYSE].messages)
    await world.receive(firing("Etl", severity="warning"))
    await world.advance(minutes=5)
    await world.settle_down(3)
    assert any("called ayse" in line for message in world.channels[AYSE].messages for line in message.news)


# -- silences

async def test_what_flaps_beside_a_silence_calls_the_second_in_the_end(store: Store) -> None:
    world = World(store, calling())
    await fired(world, host="a")
    now = world.clock.now()
    held = silencing.Silence("", 0, (Matcher("host", EQUAL, "a"),), now, now + timedelta(hours=10), "ayse", "")
    await store.write(lambda tx: silencing.create(tx, world.rules, held, Actor("person", "ayse"), now))
    for _ in range(10):
        await fired(world, host="b")
        await world.settle_down(120, 10)
        await world.receive(resolved("DiskFull", severity="critical", host="b"))
        await world.settle_down(60, 10)
    assert world.channels[MEHMET].told


@pytest.mark.parametrize(("seconds", "calls"), [(50, 1), (70, 2)])
async def test_a_silence_of_a_moment_does_not_call_again_who_was_called(store: Store, seconds: float, calls: int) -> None:
    world = World(store, calling())
    await fired(world)
    await world.say("silence 1 1h")
    await world.settle_down(seconds, 10)
    now = world.clock.now()
    await store.write(lambda tx: silencing.expire(tx, world.rules, 1, Actor("person", "ayse"), now))
    await world.settle_down(10)
    assert len([line for line in await world.history() if "called ayse" in line]) == calls


async def test_what_a_silence_took_over_from_another_was_held_all_the_time(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    await world.say("silence 1 1h")
    await world.advance(minutes=4)
    await world.say("silence 1 2h")
    await world.advance(seconds=10)
    now = world.clock.now()
    for number in (1, 2):
        await store.write(lambda tx, number=number: silencing.expire(tx, world.rules, number, Actor("person", "ayse"), now))
    await world.settle_down(3)
    assert len([line for line in await world.history() if "called ayse" in line]) == 2


async def test_an_orphan_that_another_silence_holds_says_its_end_in_the_zone_of_the_hub(store: Store) -> None:
    world = World(store, answering())
    now = world.clock.now()
    for hours in (1, 2):
        held = silencing.Silence("", 0, (Matcher("alertname", EQUAL, "DiskFull"),), now, now + timedelta(hours=hours), "ayse", "")
        await store.write(lambda tx, held=held: silencing.create(tx, world.rules, held, Actor("person", "ayse"), now))
    await fired(world)
    holds = (await world.state()).silence_id
    await store.write(lambda tx: silences.end_now(tx, holds, now))
    (event,) = await store.write(lambda tx: silencing.free_orphans(tx, now, "Europe/Istanbul"))
    assert "+03" in event.text


async def test_a_silence_of_one_own_alarm_is_about_that_one_only(store: Store) -> None:
    beats = {name: HeartbeatRule(name, 5 * MINUTE, "alerts") for name in ("backup", "watchdog")}
    world = World(store, rules_for(people=PEOPLE, heartbeats=beats))
    await store.write(lambda tx: beat.start(tx, world.rules, world.clock.now()))
    for _ in range(42):
        world.clock.advance(seconds=10)
        now = world.clock.now()
        await store.write(lambda tx, now=now: beat.seen(tx, world.rules, "watchdog", now, now))
        await world.drain()
    assert (await world.say("silence 1 4h")).outcome is Outcome.done
    world.slack.told.clear()
    for _ in range(90):
        await world.advance(seconds=10)
    assert any("watchdog" in message.title for message in world.slack.messages)


async def test_the_alarm_of_a_heartbeat_is_not_resolved_without_a_question(store: Store) -> None:
    world = World(store, rules_for(people=PEOPLE, heartbeats={"backup": HeartbeatRule("backup", 5 * MINUTE, "alerts")}))
    await store.write(lambda tx: beat.start(tx, world.rules, world.clock.now()))
    for _ in range(45):
        await world.advance(seconds=10)
    assert (await world.command(Verb.resolve)).outcome is Outcome.held


async def test_what_a_silence_holds_whose_end_nobody_saw_is_freed(store: Store) -> None:
    world = World(store, answering())
    now = world.clock.now()
    held = silencing.Silence("", 0, (Matcher("alertname", EQUAL, "DiskFull"),), now, now + timedelta(hours=1), "ayse", "")
    made = await store.write(lambda tx: silencing.create(tx, world.rules, held, Actor("person", "ayse"), now))
    await fired(world)
    world.slack.expect_nothing()
    await store.write(lambda tx: silences.end_now(tx, made.id, now))      # as by a webhook that read it in its last moment
    await store.write(lambda tx: silencing.free_orphans(tx, now))
    await world.drain()
    world.slack.expect("Silence ended")


async def test_an_acknowledgement_does_not_expire_loudly_under_a_silence(store: Store) -> None:
    mail = {"alerts": [destination(EMAIL)]}
    world = World(store, answering(Route("alerts", group_by=("alertname",), ack_timeout=30 * MINUTE), receivers=mail))
    await fired(world)
    await world.command(Verb.acknowledge)
    await world.say("silence 1 4h")
    await world.settle_down(3)
    world.email.told.clear()
    await world.advance(minutes=31)
    world.email.expect_nothing()


async def test_an_end_that_no_clock_can_count_is_answered_with_what_would_be_right(store: Store) -> None:
    world = World(store, answering())
    await fired(world)
    for by in ("ayse", "stranger"):
        answer = await world.say("silence 1 " + "999999w" * 150, by=by)
        assert answer.outcome in (Outcome.told, Outcome.refused)


# -- clicks

async def test_a_click_shows_also_in_a_mute_time(store: Store) -> None:
    world = World(store, answering())
    await fired(world)
    message = world.slack.expect("DiskFull")
    world.configure(answering(Route("alerts", group_by=("alertname",), mute=(ALWAYS,))))
    await world.press(message, "Acknowledge")
    await world.settle_down(5)
    shown, _ = world.slack.told.pop(0)
    assert (shown.only_edit, shown.status) == (True, IncidentStatus.acknowledged)


async def test_a_comment_in_a_mute_time_does_not_swallow_what_became_graver(store: Store) -> None:
    mute = TimeInterval("night", (Period(times=(parse_times("03:03", "05:00"),)),))
    world = World(store, answering(Route("alerts", group_by=("alertname",), mute=(mute,))))
    await fired(world, severity="warning", host="a")
    await world.advance(minutes=5)
    await fired(world, severity="critical", host="b")
    await world.command(Verb.comment, text="looking later")
    await world.settle_down(5)
    world.slack.told.clear()
    await world.advance(hours=2)
    told = world.slack.expect("looking later")
    assert (told.severity.value, told.is_worse, told.only_edit) == ("critical", True, False)


async def test_where_ends_are_not_told_the_buttons_go_all_the_same(store: Store) -> None:
    world = World(store, answering(receivers={"alerts": [destination(SLACK, answers="buttons", send_resolved=False)]}))
    await fired(world)
    world.slack.expect("DiskFull")
    await world.command(Verb.resolve, forced=True)
    await world.settle_down(30)
    shown, _ = world.slack.told.pop(0)
    assert (shown.only_edit, shown.buttons) == (True, ())


async def test_a_double_click_is_one_silence_and_one_call(store: Store) -> None:
    world = World(store, calling(receivers=BUTTONS))
    await fired(world)
    message = world.slack.messages[0]
    for label in ("Silence 1 h", "Silence 1 h", "Escalate now", "Escalate now"):
        await world.press(message, label)
        world.clock.advance(seconds=0.3)
    assert len(await store.read(lambda tx: silences.active(tx, world.clock.now()))) == 1
    assert not [line for line in await world.history() if "run out" in line]


async def test_two_who_escalate_at_replicas_whose_clocks_differ_take_one_step(store: Store) -> None:
    world = World(store, calling(*TWO, step("person:ayse"), receivers=BUTTONS))
    await fired(world)
    now = world.clock.now()
    told = []
    for name, at in (("AYSE", now), ("MEHMET", now - timedelta(milliseconds=1))):
        command = Command(Verb.escalate, "1", Account("slack", name), name)
        told.append(await store.write(lambda tx, command=command, at=at: hear(tx, world.rules, command, at)))
    assert [answer.outcome for answer in told] == [Outcome.done, Outcome.already]


async def test_a_link_that_was_used_does_not_say_that_it_is_done(store: Store) -> None:
    mine = {"alerts": [destination("email:ayse@example.com", answers="links")]}
    world = World(store, answering(Route("alerts", group_by=("alertname",), ack_timeout=30 * MINUTE), receivers=mine))
    await fired(world)
    token = world.channels["email:ayse@example.com"].expect("DiskFull").buttons[0].token
    press = Press(token, Account("link", "x"), "link:x")
    assert (await world.ask(press)).outcome is Outcome.done
    await world.advance(minutes=31)
    again = await world.ask(press)
    assert (again.outcome, "does nothing more" in again.text) == (Outcome.already, True)


async def test_a_button_of_a_chat_is_no_link(store: Store) -> None:
    world = World(store, answering(answers=Answers(unknown_may_acknowledge=True)))
    await fired(world)
    token = world.slack.messages[0].buttons[0].token
    assert (await world.ask(Press(token, Account("link", "x"), "link:y"))).outcome is Outcome.refused


async def test_in_a_private_chat_a_stranger_may_not_acknowledge(store: Store) -> None:
    world = World(store, answering(answers=Answers(unknown_may_acknowledge=True)))
    await fired(world)
    from_nowhere = replace(words("ack 1"), place="666666")
    assert (await world.ask(from_nowhere)).outcome is Outcome.refused
    assert (await world.ask(replace(from_nowhere, place="-100", key="k2"))).outcome is Outcome.done


def words(text: str) -> Typed:
    return Typed(text, Account("telegram", "666666", "somebody"), "k1")


async def test_pagerduty_hears_of_an_acknowledgement_before_the_storm_is_over(store: Store) -> None:
    slow = destination(PAGERDUTY, echoes=True, every=timedelta(seconds=0.5), burst=10)
    world = World(store, answering(receivers={"alerts": [destination(SLACK, answers="buttons"), slow]}))
    await world.receive(*[firing(f"A{number}", severity="critical") for number in range(60)])
    await world.drain()
    first = world.pagerduty.messages[0].number
    world.clock.advance(seconds=0.25)
    await world.command(Verb.acknowledge, first)
    await world.drain()
    assert any(message.status is IncidentStatus.acknowledged for message in world.pagerduty.messages)


async def test_a_chat_that_hangs_takes_a_few_slots_of_its_channel_and_no_more(store: Store) -> None:
    world = World(store, answering())
    for number in range(20):
        await world.receive(firing(f"B{number:02}", severity="critical"))
        await world.drain()
    world.slack.gate = asyncio.Event()
    for number in range(1, 21):
        await world.command(Verb.acknowledge, number)
    await world.worker.run_once()
    assert world.worker.busy["slack"] <= 8
    world.slack.gate.set()
    await world.drain()


async def test_the_auditor_leaves_what_runs_alone(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    world.clock.advance(minutes=15)
    await store.write(lambda tx: escalate.audit(tx, world.rules, world.clock.now()))
    await world.drain()
    assert len([line for line in await world.history() if "step 1 of 2" in line]) == 1


async def test_who_is_called_for_what_is_silenced_hears_it(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    await world.say("silence 1 1h")
    await world.settle_down(3)
    assert "called mehmet" in (await world.command(Verb.escalate)).text
    await world.settle_down(3)
    world.channels[MEHMET].expect("called mehmet")


async def test_a_receiver_of_the_fiftieth_and_later_alerts_is_told_of_the_reopening(store: Store) -> None:
    child = Route("mail", matchers=(Matcher("team", EQUAL, "b"),), group_by=("alertname",))
    both = {"alerts": [destination(SLACK)], "mail": [destination(EMAIL)]}
    world = World(store, rules_for(Route("alerts", group_by=("alertname",), routes=(child,)), receivers=both))
    alerts = [{"team": "a", "host": f"h{number:02}"} for number in range(55)] + [{"team": "b", "host": "z"}]
    await world.receive(*[firing("Many", **labels) for labels in alerts])
    await world.drain()
    await world.receive(*[resolved("Many", **labels) for labels in alerts])
    await world.settle_down(3)
    world.email.told.clear()
    await world.receive(*[firing("Many", **labels) for labels in alerts])
    await world.settle_down(3)
    world.email.expect("reopened")


async def test_mails_that_wait_for_their_budget_do_not_keep_a_click_from_showing(store: Store) -> None:
    slow = {"alerts": [destination(SLACK, answers="buttons", every=timedelta(minutes=10)),
                       destination(EMAIL, every=timedelta(minutes=10))]}
    world = World(store, answering(receivers=slow))
    for number in range(70):
        await world.receive(firing(f"B{number:02}", severity="critical"))
    await store.write(lambda tx: tx.conn.exec_driver_sql(
        """update lanes set told_seq = 1, told_episode = 1, due_at = null, receipt = '{"ts": "1"}'"""))
    for number in range(1, 71):
        await world.command(Verb.acknowledge, number)
    await store.write(lambda tx: tx.conn.exec_driver_sql(
        "update lanes set urgent_at = null where channel = 'slack' and incident_id not in "
        "(select id from incidents where number = 70)"))
    await store.write(lambda tx: tx.conn.exec_driver_sql("update destinations set free_at = 9000000000000000"))
    await world.drain()
    assert [message.number for message in world.slack.messages] == [70]


async def test_a_person_who_is_called_for_a_few_is_called_by_a_message_for_each(store: Store) -> None:
    world = World(store, calling())
    await world.receive(*[firing(f"A{number:02}", severity="critical") for number in range(10)])
    await world.settle_down(10)
    told = world.channels[AYSE].messages
    assert len(told) == 10
    assert all(message.standing[0].startswith("YOU ARE CALLED") for message in told)


async def test_a_reminder_that_falls_into_a_mute_time_comes_at_its_end(store: Store) -> None:
    mute = TimeInterval("night", (Period(times=(parse_times("03:03", "05:00"),)),))
    world = World(store, answering(Route("alerts", group_by=("alertname",), mute=(mute,), repeat_interval=timedelta(minutes=90))))
    await world.receive(firing("DiskFull"))
    await world.drain()
    world.slack.expect("opened")
    await world.advance(minutes=90)
    world.slack.expect_nothing()
    await world.advance(minutes=30)
    reminder = world.slack.expect("repeat")
    assert (reminder.why, reminder.only_edit) == (Why.repeat, False)
