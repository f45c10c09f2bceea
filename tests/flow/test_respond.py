"""What people ask: acknowledged, resolved, silenced, escalated and commented from wherever they are, once, and by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.command import Outcome, Press, Verb
from alerthub.domain.message import IncidentStatus, Why
from alerthub.domain.person import Account, Right
from alerthub.domain.route import Route
from alerthub.domain.rules import Answers, EscalationPolicy, PolicyStep
from alerthub.flow.links import view
from alerthub.store import people
from alerthub.store.database import Store
from tests.kit.alerts import firing, resolved
from tests.kit.world import EMAIL, PAGERDUTY, SLACK, TELEGRAM, World, destination, person, rules_for

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)

EVERYWHERE = {"alerts": [destination(SLACK, answers="buttons"), destination(TELEGRAM, answers="buttons"),
                         destination(EMAIL, answers="links"), destination(PAGERDUTY, echoes=True)]}
PEOPLE = {one.name: one for one in (person("ayse"), person("mehmet"), person("vera", "viewer"), person("ada", "approver"))}


def rules(**fields: Any) -> Any:
    return rules_for(**{"receivers": EVERYWHERE, "people": PEOPLE, **fields})


@pytest.fixture
def world(store: Store) -> World:
    return World(store, rules())


async def fired(world: World) -> Any:
    await world.receive(firing("DiskFull", severity="critical"))
    await world.drain()
    return world.slack.expect("DiskFull")


async def test_an_acknowledgement_in_one_channel_shows_in_all_others(world: World) -> None:
    message = await fired(world)
    for channel in (world.telegram, world.email, world.pagerduty):
        channel.expect("DiskFull")
    answer = await world.press(message, "Acknowledge", by="ayse")
    assert (answer.outcome, answer.text) == (Outcome.done, "You have #1 now.")
    await world.settle_down(5)
    for channel in (world.slack, world.telegram, world.email, world.pagerduty):
        told = channel.expect("Acknowledged by ayse")
        assert (told.status, told.acknowledged_by, told.why) == (IncidentStatus.acknowledged, "ayse", Why.acknowledged)
        assert told.acknowledged_at is not None


async def test_the_same_click_twice_is_one_effect(world: World) -> None:
    message = await fired(world)
    first = await world.press(message, "Acknowledge", key="click-1")
    again = await world.press(message, "Acknowledge", key="click-1")
    assert (first.outcome, again.outcome, again.text) == (Outcome.done, Outcome.done, first.text)
    other = await world.press(message, "Acknowledge", key="click-2", by="mehmet")
    assert (other.outcome, "ayse has #1" in other.text) == (Outcome.already, True)
    assert [line for line in await world.history() if "Acknowledged" in line] == ["Acknowledged by ayse"]


async def test_an_acknowledgement_does_not_carry_over_to_the_next_episode(world: World) -> None:
    message = await fired(world)
    await world.receive(resolved("DiskFull", severity="critical"))
    world.clock.advance(minutes=1)
    await world.receive(firing("DiskFull", severity="critical"))
    await world.settle_down(5)
    late = await world.press(message, "Acknowledge")
    assert (late.outcome, "fired again since" in late.text) == (Outcome.refused, True)
    assert (await world.state()).status is IncidentStatus.triggered


async def test_a_button_that_was_changed_or_made_by_another_hub_is_refused(world: World) -> None:
    message = await fired(world)
    token = message.buttons[0].token
    for wrong in ("", "x", "…", token[:-1], token + "A", token.replace("a.", "r.", 1), "a.1.1..AAAAAAAAAAAAAAAA", "\0" * 70):
        answer = await world.ask(Press(wrong, Account("slack", "AYSE"), world.clock.new_id()))
        assert answer.outcome is Outcome.refused, wrong
    assert (await world.state()).status is IncidentStatus.triggered


async def test_a_button_pressed_in_another_chat_is_refused(world: World) -> None:
    message = await fired(world)
    answer = await world.press(message, "Acknowledge", place="C-ELSEWHERE")
    assert answer.outcome is Outcome.done       # this scripted channel has no chat in its receipt
    await world.store.write(lambda tx: tx.conn.exec_driver_sql(
        """update lanes set receipt = '{"channel": "C1", "ts": "1"}', told_seq = told_seq"""))
    message = replace(message, buttons=tuple(button for button in message.buttons if button.label == "Resolve"))
    wrong = await world.press(message, "Resolve", place="C2")
    assert (wrong.outcome, "another chat" in wrong.text) == (Outcome.refused, True)


@pytest.mark.parametrize(("who", "outcome"), [("ayse", Outcome.done), ("vera", Outcome.refused), ("ada", Outcome.refused),
                                              ("stranger", Outcome.refused)])
async def test_only_responders_respond(world: World, who: str, outcome: Outcome) -> None:
    await fired(world)
    assert (await world.command(Verb.acknowledge, by=who)).outcome is outcome
    assert (await world.state()).acknowledged_by == ("ayse" if outcome is Outcome.done else "")


async def test_an_unknown_account_may_acknowledge_when_the_configuration_allows_it_and_nothing_else(store: Store) -> None:
    world = World(store, rules(answers=Answers(unknown_may_acknowledge=True)))
    await fired(world)
    for verb in (Verb.resolve, Verb.silence, Verb.escalate, Verb.comment):
        assert (await world.command(verb, by="stranger", text="x")).outcome is Outcome.refused
    assert (await world.command(Verb.acknowledge, by="stranger")).outcome is Outcome.done
    assert (await world.state()).acknowledged_by == "stranger (slack:STRANGER, not linked)"


async def test_a_code_makes_an_account_a_persons_once(world: World) -> None:
    await fired(world)
    assert (await world.say("ack 1", by="newphone")).outcome is Outcome.refused
    code = await world.store.write(lambda tx: people.new_code(tx, "ayse", world.clock.now().replace(year=2030)))
    assert (await world.say("link WRONG", by="newphone")).outcome is Outcome.refused
    assert (await world.say(f"link {code.lower()}", by="newphone")).text == "Done: this account is ayse's."
    assert (await world.say(f"link {code}", by="thief")).outcome is Outcome.refused
    assert (await world.say("who", by="newphone")).text == "You are ayse, responder."
    assert (await world.say("ack 1", by="newphone")).outcome is Outcome.done
    assert (await world.state()).acknowledged_by == "ayse"


async def test_a_code_that_is_too_old_links_nobody(world: World) -> None:
    code = await world.store.write(lambda tx: people.new_code(tx, "ayse", world.clock.now()))
    world.clock.advance(seconds=1)
    assert (await world.say(f"link {code}", by="newphone")).outcome is Outcome.refused


async def test_a_linked_account_of_somebody_who_left_the_configuration_is_nobodys(world: World) -> None:
    await fired(world)
    await world.store.write(lambda tx: people.link(tx, "telegram:NEWPHONE", "ayse", world.clock.now()))
    world.configure(replace(world.rules, people={}))
    assert (await world.say("ack 1", by="newphone")).outcome is Outcome.refused


async def test_a_resolve_is_held_while_the_source_fires_and_can_be_forced_by_name(world: World) -> None:
    message = await fired(world)
    held = await world.press(message, "Resolve")
    assert (held.outcome, "still fires at alertmanager" in held.text) == (Outcome.held, True)
    assert (await world.state()).status is IncidentStatus.triggered
    forced = await world.ask(Press(held.force, Account("slack", "AYSE", "ayse"), "second"))
    assert forced.outcome is Outcome.done
    await world.settle_down(5)
    assert (await world.history())[-1] == "Resolved by ayse, although 1 alert still fires"
    assert (await world.incident())["events"][-1]["data"]["forced"] is True
    assert world.slack.expect("Resolved by ayse").status is IncidentStatus.resolved


async def test_what_was_forced_and_fires_again_is_told_again(world: World) -> None:
    await fired(world)
    assert (await world.command(Verb.resolve, forced=True)).outcome is Outcome.done
    world.clock.advance(minutes=5)
    await world.receive(firing("DiskFull", severity="critical"))
    assert (await world.state()).status is IncidentStatus.triggered
    assert (await world.state()).episode == 2


async def test_the_question_cannot_be_answered_for_ever(world: World) -> None:
    message = await fired(world)
    held = await world.press(message, "Resolve")
    world.clock.advance(minutes=11)
    late = await world.ask(Press(held.force, Account("slack", "AYSE"), "late"))
    assert (late.outcome, "too old" in late.text) == (Outcome.refused, True)


async def test_a_second_hand_off_of_what_was_held_is_asked_anew(world: World) -> None:
    """What was held is not remembered: by the next press the source may have resolved."""
    message = await fired(world)
    assert (await world.press(message, "Resolve", key="same")).outcome is Outcome.held
    assert (await world.press(message, "Resolve", key="same")).outcome is Outcome.held


async def test_words_do_what_buttons_do(world: World) -> None:
    await fired(world)
    assert (await world.say("list")).text == "1 open:\n#1 critical, nobody has it: DiskFull"
    assert (await world.say("ack #1")).text == "You have #1 now."
    assert (await world.say("who 1")).text.startswith("#1 critical, ayse has it since")
    assert "write: resolve 1 force" in (await world.say("resolve 1")).text
    assert (await world.say("unack 1")).outcome is Outcome.done
    assert (await world.say("comment 1 looking at the disk")).outcome is Outcome.done
    assert (await world.say("resolve 1 force")).outcome is Outcome.done
    assert (await world.say("list")).text == "Nothing is open."
    assert "ayse: looking at the disk" in await world.history()


@pytest.mark.parametrize("words", ["ack", "ack x", "silence 1 forever", "jump", "comment 1", "link", "", f"ack {'9' * 20}"])
async def test_words_that_mean_nothing_are_answered_with_what_would_be_right(world: World, words: str) -> None:
    await fired(world)
    answer = await world.say(words)
    assert answer.outcome is Outcome.told
    assert answer.text
    assert (await world.state()).seq == 1


@pytest.mark.parametrize("words", ["ack 1 2", "unack 1 2", "resolve 1 2", "resolve 1 force 2", "escalate 1 now", "who 1 2",
                                   "who mehmet", "list all"])
async def test_more_words_than_are_understood_do_nothing(world: World, words: str) -> None:
    await fired(world)
    answer = await world.say(words)
    assert (answer.outcome, "Nothing was done: " in answer.text) == (Outcome.told, True)
    assert f"Write {words.split()[0]} " in answer.text.replace("list:", "list ")
    assert (await world.state()).seq == 1


async def test_a_stranger_is_told_nothing(world: World) -> None:
    await fired(world)
    for words in ("list", "oncall", "who 1"):
        answer = await world.say(words, by="stranger")
        assert answer.outcome is Outcome.refused
        assert "DiskFull" not in answer.text


async def test_an_incident_that_does_not_exist_is_said_so_only_to_people(world: World) -> None:
    assert (await world.say("ack 42")).text == "There is no incident #42."
    assert "42" not in (await world.say("ack 42", by="stranger")).text


async def test_what_was_acknowledged_in_pagerduty_is_not_told_back_there(world: World) -> None:
    await fired(world)
    world.pagerduty.expect("DiskFull")
    answer = await world.command(Verb.acknowledge, account=Account("pagerduty", "PUSER", "Mehmet"), via=PAGERDUTY)
    assert answer.outcome is Outcome.done
    await world.settle_down(5)
    world.pagerduty.expect_nothing()
    assert world.slack.expect("Acknowledged by Mehmet").acknowledged_by == "Mehmet (PagerDuty)"


async def test_what_is_resolved_in_pagerduty_while_it_fires_stays_open_and_is_opened_there_again(world: World) -> None:
    await fired(world)
    world.pagerduty.expect("DiskFull")
    answer = await world.command(Verb.resolve, account=Account("pagerduty", "PUSER", "Mehmet"), via=PAGERDUTY)
    assert answer.outcome is Outcome.held
    await world.settle_down(5)
    assert world.pagerduty.expect("Mehmet (PagerDuty) resolved it there. 1 alert still fires").status is IncidentStatus.triggered
    world.slack.expect("Mehmet (PagerDuty) resolved it there")


async def test_nobodys_address_is_mailed_no_more_than_it_may_do(store: Store) -> None:
    mail = {"alerts": [destination(SLACK, answers="buttons"), destination(EMAIL, answers="link")]}
    world = World(store, rules(receivers=mail, answers=Answers(unknown_may_acknowledge=True)))
    await fired(world)
    assert [button.label for button in world.email.expect("DiskFull").buttons] == ["Acknowledge"]


async def test_a_mailed_link_shows_and_changes_nothing_until_it_is_pressed(world: World) -> None:
    await fired(world)
    mail = world.email.expect("DiskFull")
    token = mail.buttons[0].token
    assert mail.buttons[0].url == f"http://127.0.0.1:8095/respond/{token}"
    pressed = Press(token, Account("link", token), "link-1")
    assert (await world.ask(pressed)).outcome is Outcome.refused      # risk@example.com is nobody's
    shown = await world.store.write(lambda tx: view(tx, world.rules, token, world.clock.now()))
    assert "does not know whose account this is" in shown.problem
    risk = replace(person("risk"), accounts=frozenset({("email", "risk@example.com")}))
    world.configure(replace(world.rules, people={"risk": risk}))
    shown = await world.store.write(lambda tx: view(tx, world.rules, token, world.clock.now()))
    assert (shown.verb, shown.number, shown.title, shown.problem) == ("acknowledge", 1, "DiskFull", "")
    assert (await world.state()).status is IncidentStatus.triggered
    assert (await world.ask(pressed)).outcome is Outcome.done
    assert (await world.state()).acknowledged_by == "risk"


async def test_a_mailed_link_expires(world: World) -> None:
    await fired(world)
    token = world.email.expect("DiskFull").buttons[0].token
    world.clock.advance(hours=25)
    assert (await world.ask(Press(token, Account("link", token), "late"))).outcome is Outcome.refused
    shown = await world.store.write(lambda tx: view(tx, world.rules, token, world.clock.now()))
    assert "too old" in shown.problem


async def test_an_acknowledgement_expires_and_asks_again_while_it_fires(store: Store) -> None:
    from_ack = Route("alerts", group_by=("alertname",), ack_timeout=HOUR)
    world = World(store, rules(route=from_ack))
    await fired(world)
    await world.command(Verb.acknowledge)
    await world.settle_down(3)
    world.slack.expect("Acknowledged by ayse, until")
    await world.advance(minutes=58)
    assert (await world.state()).status is IncidentStatus.acknowledged
    await world.advance(minutes=2)
    await world.settle_down(3)
    assert world.slack.expect("has expired").status is IncidentStatus.triggered


async def test_an_acknowledgement_of_what_has_resolved_does_not_expire(store: Store) -> None:
    world = World(store, rules(route=Route("alerts", ack_timeout=HOUR)))
    await fired(world)
    await world.command(Verb.acknowledge)
    await world.receive(resolved("DiskFull", severity="critical"))
    await world.advance(hours=2)
    assert (await world.history())[-1].startswith("Resolved")


async def test_a_silence_from_a_button_holds_news_and_lets_the_end_pass(world: World) -> None:
    message = await fired(world)
    answer = await world.press(message, "Silence 1 h")
    assert (answer.outcome, "#1 is silenced until" in answer.text) == (Outcome.done, True)
    await world.settle_down(3)
    shown = world.slack.expect("Silenced by ayse")
    assert shown.silenced_until is not None
    world.email.told.clear()
    await world.receive(firing("DiskFull", severity="critical", host="b"))
    await world.settle_down(5)
    quiet, _ = world.slack.told.pop()
    assert quiet.only_edit
    world.email.expect_nothing()
    await world.receive(resolved("DiskFull", severity="critical"), resolved("DiskFull", severity="critical", host="b"))
    await world.settle_down(5)
    assert world.slack.expect("Resolved").status is IncidentStatus.resolved
    assert world.email.expect("Resolved").status is IncidentStatus.resolved


async def test_what_fires_anew_under_a_silence_is_told_when_it_ends(world: World) -> None:
    message = await fired(world)
    await world.press(message, "Silence 1 h")
    await world.receive(resolved("DiskFull", severity="critical"))
    await world.settle_down(5)
    for channel in (world.slack, world.telegram, world.email, world.pagerduty):
        channel.told.clear()
    await world.advance(minutes=10)
    await world.receive(firing("DiskFull", severity="critical"))
    await world.settle_down(5)
    world.pagerduty.expect_nothing()
    await world.advance(minutes=60)
    await world.settle_down(5)
    assert world.pagerduty.expect("Silence ended").status is IncidentStatus.triggered


async def test_a_click_shows_at_once_although_the_budget_is_used_up(store: Store) -> None:
    slow = destination(SLACK, answers="buttons", every=timedelta(minutes=1))
    world = World(store, rules(receivers={"alerts": [slow]}))
    message = await fired(world)
    await world.press(message, "Acknowledge")
    await world.drain()
    shown, handle = world.slack.told.pop(0)
    assert (shown.only_edit, shown.status, handle is not None) == (True, IncidentStatus.acknowledged, True)
    world.slack.expect_nothing()
    await world.settle_down(61)
    assert not world.slack.expect("Acknowledged by ayse").only_edit


async def test_escalate_now_without_a_policy_says_so(world: World) -> None:
    await fired(world)
    answer = await world.command(Verb.escalate)
    assert (answer.outcome, "No escalation policy" in answer.text) == (Outcome.refused, True)


async def test_rights_are_what_the_roles_say() -> None:
    assert {role: {right.value for right in Right if person("x", role).may(right)} for role in
            ("viewer", "responder", "approver", "admin", "ml")} == {
        "viewer": {"view"}, "responder": {"view", "respond"}, "approver": {"view", "approve"},
        "admin": {"view", "respond", "administer"}, "ml": {"view", "respond", "approve"}}
    assert EscalationPolicy("p", (PolicyStep((("person", "ayse"),)),)).repeat == 0
