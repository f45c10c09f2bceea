"""What waits for people: approved and denied by the right ones, each once, from wherever they are, and never twice done (F21,
R-42, R-43)."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.action import RunState
from alerthub.domain.command import Answer, Outcome, Press, Token, Typed, Verb
from alerthub.domain.message import Message
from alerthub.domain.person import Account
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Approval, Direction
from alerthub.flow.links import view
from alerthub.store import people
from alerthub.store.database import Store
from tests.kit.alerts import firing, resolved
from tests.kit.world import EMAIL, SLACK, TELEGRAM, World, contact, destination, person, rules_for

pytestmark = pytest.mark.anyio
HOOK = Route("alerts", group_by=("alertname",), actions=("retrain",))
PLACES = {"alerts": [destination(SLACK, answers="buttons"), destination(TELEGRAM, answers="buttons"),
                     destination(EMAIL, answers="links")]}
PEOPLE = {one.name: one for one in (
    person("ayse", "ml"), person("mehmet", "ml"), person("vera", "viewer"), person("omer"),
    person("ada", "admin"), person("pia", "viewer", grants=frozenset({"ml"})))}
PRESSED = {"Approve retrain on drl": Verb.approve, "Deny retrain on drl": Verb.deny}


def retrain(**fields: Any) -> ActionRule:
    usual: dict[str, Any] = {"targets": ("drl",), "version": "1", "approval": Approval("ml", 1, timedelta(minutes=15)),
                             "does": ('deployment: "retrain/drl"',)}
    return ActionRule("retrain", "prefect", Direction.neutral, **{**usual, **fields})


def rules(**fields: Any) -> Any:
    action = fields.pop("action", retrain())
    return rules_for(HOOK, **{"receivers": PLACES, "people": PEOPLE, "actions": [action], "targets": ["drl"], **fields})


def two(**fields: Any) -> Any:
    return rules(action=retrain(approval=Approval("ml", 2, timedelta(minutes=15))), **fields)


@pytest.fixture
def world(store: Store) -> World:
    return World(store, rules())


async def waits(world: World) -> Message:
    """Drift, and the live message once it asks."""
    await world.receive(firing("Drift", severity="critical"))
    await world.advance(seconds=2)
    return [message for message in world.slack.messages if message.buttons][-1]


def calls(world: World) -> int:
    return len(world.actions["retrain", "drl"].calls)


async def state(world: World) -> RunState:
    return (await world.runs())[-1].state


async def code(world: World) -> str:
    return (await world.runs())[-1].code


# -- what is shown, and who is called

async def test_the_live_message_asks_by_name_until_it_is_decided(world: World) -> None:
    message = await waits(world)
    assert [button.label for button in message.buttons][-2:] == list(PRESSED)
    assert all(len(button.token.encode()) <= 64 for button in message.buttons)
    assert f"retrain on drl waits for 1 of ml until 03:15 UTC (code {await code(world)})." in message.standing
    assert calls(world) == 0
    await world.press(message, "Approve retrain on drl")
    await world.advance(seconds=2)
    after = world.slack.messages[-1]
    assert [button.verb for button in after.buttons if button.verb in ("approve", "deny")] == []
    assert not any("waits for" in line for line in after.standing)


async def test_where_only_nobodys_address_is_there_is_nothing_to_approve(store: Store) -> None:
    world = World(store, rules(receivers={"alerts": [destination(SLACK, answers="link")]}))
    await world.receive(firing("Drift"))
    await world.advance(seconds=2)
    assert {button.verb for message in world.slack.messages for button in message.buttons} == {"acknowledge"}


async def test_at_most_three_have_buttons_and_the_others_are_counted(store: Store) -> None:
    targets = [f"drl-{number}" for number in range(5)]
    world = World(store, rules(action=retrain(targets=tuple(targets)), targets=targets))
    message = await waits(world)
    assert len([button for button in message.buttons if button.verb == "approve"]) == 3
    assert "2 more wait for people; write runs to see them." in message.standing


async def test_those_who_may_agree_are_called_by_their_first_address_and_not_again_for_a_vote(store: Store) -> None:
    own = {name: (contact(f"telegram:{name}", answers="buttons"), contact(f"email:{name}@own")) for name in PEOPLE}
    world = World(store, two(contacts=own))
    await waits(world)
    told = {key for key, channel in world.channels.items() if channel.told} - {SLACK, TELEGRAM, EMAIL}
    assert told == {"telegram:ayse", "telegram:mehmet", "telegram:pia"}
    asked = world.channels["telegram:mehmet"]
    assert asked.messages[-1].calls
    assert "YOU ARE ASKED to approve or to deny this." in asked.messages[-1].standing
    asked.told.clear()
    assert (await world.say(f"approve {await code(world)}")).outcome is Outcome.done
    await world.advance(seconds=2)
    assert asked.told
    assert all(message.only_edit and not message.calls for message in asked.messages)


# -- from wherever they are

async def test_a_press_in_slack_runs_it_once_and_names_who_it_was(world: World) -> None:
    message = await waits(world)
    answer = await world.press(message, "Approve retrain on drl", key="click-1")
    again = await world.press(message, "Approve retrain on drl", key="click-1")
    assert (answer.outcome, again.text) == (Outcome.done, answer.text)
    await world.drain()
    assert (calls(world), await state(world)) == (1, RunState.succeeded)
    event = next(event for event in (await world.incident())["events"] if "vote" in event["data"])
    assert event["text"] == "ayse agrees to retrain on drl (1 of 1)"
    assert event["data"] == {"account": "slack:AYSE", "via": SLACK, "vote": (await world.runs())[0].subject,
                             "verdict": "approve"}


async def test_a_line_of_words_approves_and_another_denies(world: World) -> None:
    await waits(world)
    assert "Which" not in (await world.say("runs")).text
    assert f"(code {await code(world)})" in (await world.say("runs")).text
    answer = await world.say(f"deny {await code(world)}", by="pia")
    assert (answer.outcome, answer.text) == (Outcome.done, "Denied: retrain on drl will not be run.")
    await world.advance(hours=1)
    assert (calls(world), await state(world)) == (0, RunState.refused)
    (run,) = await world.runs()
    assert run.reason == "denied"
    assert any("pia said no" in line for line in await world.history())


async def test_a_mailed_link_shows_what_would_be_done_and_needs_more_than_the_mail(world: World) -> None:
    await waits(world)
    risk = replace(PEOPLE["ayse"], accounts=frozenset({("email", "risk@example.com"), ("token", "ayse")}))
    world.configure(rules(people={**PEOPLE, "ayse": risk}))
    mail = [message for message in world.email.messages if message.buttons][-1]
    token = next(button.token for button in mail.buttons if button.verb == "approve")
    shown = await world.store.write(lambda tx: view(tx, world.rules, token, world.clock.now()))
    text = "\n".join(shown.effect)
    for part in ("Action: retrain (type prefect", "Target: drl", 'deployment: "retrain/drl"', "Because of: Drift",
                 "alertname=Drift", "Asked for by: the alert", "Must agree: 1 of ml"):
        assert part in text
    assert (shown.who, shown.problem, shown.needs_proof) == ("ayse", "", True)
    by_mail = Press(token, Account("link", "L"), "link:L")
    assert (await world.ask(by_mail)).why == "needs_proof"
    omer = replace(PEOPLE["omer"], accounts=frozenset({("token", "omer")}))
    world.configure(rules(people={**PEOPLE, "ayse": risk, "omer": omer}))
    assert (await world.ask(replace(by_mail, proved=Account("token", "omer")))).why == "needs_proof"
    assert (await world.ask(replace(by_mail, proved=Account("token", "ayse")))).outcome is Outcome.done
    await world.drain()
    assert calls(world) == 1
    over = await world.store.write(lambda tx: view(tx, world.rules, token, world.clock.now()))
    assert (over.effect, "does not wait any more" in over.problem) == ((), True)


async def test_a_mailed_link_denies_by_itself(world: World) -> None:
    await waits(world)
    risk = replace(PEOPLE["ayse"], accounts=frozenset({("email", "risk@example.com")}))
    world.configure(rules(people={**PEOPLE, "ayse": risk}))
    mail = [message for message in world.email.messages if message.buttons][-1]
    token = next(button.token for button in mail.buttons if button.verb == "deny")
    assert (await world.ask(Press(token, Account("link", "L"), "link:L"))).outcome is Outcome.done
    assert await state(world) is RunState.refused


# -- two people

async def test_two_who_click_at_once_are_two_votes_and_one_effect(store: Store) -> None:
    world = World(store, two())
    message = await waits(world)
    first, second = await asyncio.gather(world.press(message, "Approve retrain on drl", by="ayse"),
                                         world.press(message, "Approve retrain on drl", by="mehmet"))
    assert {first.outcome, second.outcome} == {Outcome.done}
    await asyncio.gather(world.drain(), world.drain(world.new_worker("replica-2")))
    await world.advance(seconds=2)
    assert (calls(world), await state(world)) == (1, RunState.succeeded)


async def test_one_who_clicks_twice_at_once_is_one_vote(store: Store) -> None:
    world = World(store, two())
    message = await waits(world)
    answers = await asyncio.gather(*(world.press(message, "Approve retrain on drl") for _ in range(3)))
    assert sorted(answer.outcome.value for answer in answers) == ["already", "already", "done"]
    await world.advance(seconds=2)
    assert (calls(world), await state(world)) == (0, RunState.awaiting_approval)
    assert "retrain on drl waits for 1 of ml until 03:15 UTC; agreed: ayse" in " ".join(world.slack.messages[-1].standing)


async def test_one_human_by_two_accounts_is_one_vote(store: Store) -> None:
    world = World(store, two())
    message = await waits(world)
    await world.press(message, "Approve retrain on drl")
    assert (await world.say(f"approve {await code(world)}")).outcome is Outcome.already
    await world.store.write(lambda tx: people.link(tx, "slack:SECOND", "ayse", world.clock.now()))
    again = await world.press(message, "Approve retrain on drl", by="second")
    assert (again.outcome, again.text) == (Outcome.already, "You have agreed to retrain on drl already.")
    await world.advance(seconds=2)
    assert calls(world) == 0


async def test_who_has_agreed_may_still_deny_before_it_runs(store: Store) -> None:
    world = World(store, two())
    message = await waits(world)
    await world.press(message, "Approve retrain on drl")
    assert (await world.press(message, "Deny retrain on drl")).outcome is Outcome.done
    late = await world.press(message, "Approve retrain on drl", by="mehmet")
    assert (late.outcome, late.why, "a person said no" in late.text) == (Outcome.refused, "is_decided", True)
    await world.advance(seconds=2)
    assert (calls(world), await state(world)) == (0, RunState.refused)


async def test_a_word_against_it_wins_over_enough_that_have_not_run_yet(world: World) -> None:
    message = await waits(world)
    await world.press(message, "Approve retrain on drl")
    assert (await world.press(message, "Deny retrain on drl", by="mehmet")).outcome is Outcome.done
    await world.advance(seconds=2)
    assert (calls(world), await state(world)) == (0, RunState.refused)


async def test_whoever_asked_for_it_does_not_vote(store: Store) -> None:
    world = World(store, rules())
    message = await waits(world)
    await world.store.write(lambda tx: tx.conn.exec_driver_sql("update action_runs set asked_by = 'ayse'"))
    own = await world.press(message, "Approve retrain on drl")
    assert (own.outcome, own.why, "two-person rule" in own.text) == (Outcome.refused, "own_request", True)
    assert (await world.press(message, "Approve retrain on drl", by="mehmet")).outcome is Outcome.done


async def test_the_word_of_somebody_who_left_before_it_ran_does_not_count(store: Store) -> None:
    world = World(store, two())
    message = await waits(world)
    await world.press(message, "Approve retrain on drl")
    stayed = {name: one for name, one in PEOPLE.items() if name != "ayse"}
    world.configure(two(people=stayed))
    gone = await world.press(message, "Approve retrain on drl", by="ayse")
    assert gone.why == "unknown_account"
    answer = await world.press(message, "Approve retrain on drl", by="mehmet")
    assert "1 more of ml must agree" in answer.text
    await world.advance(seconds=2)
    assert calls(world) == 0
    assert (await world.press(message, "Approve retrain on drl", by="pia")).outcome is Outcome.done
    await world.drain()
    assert calls(world) == 1


# -- refused, each by name, and told to that person only

REFUSED = {"vera": "not_allowed", "omer": "not_allowed", "ada": "not_allowed", "stranger": "unknown_account"}


async def test_only_the_role_that_is_asked_for_decides(world: World, caplog: pytest.LogCaptureFixture) -> None:
    message = await waits(world)
    before = await world.history()
    for who, why in REFUSED.items():
        for label, verb in PRESSED.items():
            caplog.clear()
            with caplog.at_level(logging.WARNING, "alerthub.respond"):
                answer = await world.press(message, label, by=who)
            assert (answer.outcome, answer.why) == (Outcome.refused, why)
            record = next(record for record in caplog.records if getattr(record, "event", "") == "answer.refused")
            assert (record.__dict__["reason"], record.__dict__["verb"]) == (why, verb.value)
    await world.advance(seconds=2)
    assert (await world.history(), calls(world), await state(world)) == (before, 0, RunState.awaiting_approval)


@pytest.mark.parametrize("kind", ["api", "cli", "pagerduty"])
async def test_a_door_that_is_nobodys_in_particular_cannot_vote(world: World, kind: str) -> None:
    await waits(world)
    answer = await world.command(Verb.approve, account=Account(kind, kind, "ayse"), subject=await code(world))
    assert (answer.outcome, answer.why, "needs a person" in answer.text) == (Outcome.refused, "needs_person", True)
    await world.advance(seconds=2)
    assert calls(world) == 0


async def pressed_late(world: World, message: Message) -> Answer:
    answer = await world.press(message, "Approve retrain on drl")
    await world.advance(seconds=2)
    assert (answer.outcome, calls(world)) == (Outcome.refused, 0)
    return answer


async def test_after_its_time_it_is_too_late_also_before_the_hub_has_closed_it(world: World) -> None:
    message = await waits(world)
    world.clock.advance(minutes=15, seconds=0.5)
    assert (await pressed_late(world, message)).why == "is_expired"
    assert (await pressed_late(world, message)).why == "is_decided"
    assert await state(world) is RunState.expired


async def test_after_the_resolve_nothing_is_run(world: World) -> None:
    message = await waits(world)
    await world.receive(resolved("Drift", severity="critical"))
    assert (await pressed_late(world, message)).why == "is_resolved"


async def test_what_is_approved_and_resolved_before_it_starts_is_not_run(world: World) -> None:
    message = await waits(world)
    assert (await world.press(message, "Approve retrain on drl")).outcome is Outcome.done
    await world.receive(resolved("Drift", severity="critical"))
    await world.advance(seconds=2)
    assert (calls(world), await state(world)) == (0, RunState.refused)


async def test_a_button_of_an_earlier_time_does_not_approve_what_is_asked_now(world: World) -> None:
    message = await waits(world)
    await world.receive(resolved("Drift", severity="critical"))
    world.clock.advance(seconds=1)
    await world.receive(firing("Drift", severity="critical"))
    answer = await world.press(message, "Approve retrain on drl")
    assert (answer.outcome, answer.why) == (Outcome.refused, "earlier_episode")


@pytest.mark.parametrize("change", [{"version": "2"}, {"approval": None, "version": "3"}])
async def test_after_the_rule_was_changed_nothing_is_run(world: World, change: dict[str, Any]) -> None:
    message = await waits(world)
    world.configure(rules(action=retrain(**change)))
    assert (await pressed_late(world, message)).why == "rule_changed"


async def test_after_the_rule_was_taken_out_nothing_is_run(world: World) -> None:
    message = await waits(world)
    world.configure(rules_for(receivers=PLACES, people=PEOPLE))
    assert (await world.press(message, "Approve retrain on drl")).why == "rule_changed"


HOSTILE = ("", "x", "drl", "0" * 12, "t" + "0" * 12, "%" * 12, "' or 1=1 --", "\0" * 12, "\ud800" * 12, "latch:drl:1", "latch::",
           "run:", "a" * 5000, "../" * 20, "<script>alert(1)</script>")


async def test_a_hostile_subject_is_a_plain_refusal(world: World) -> None:
    await waits(world)
    for subject in HOSTILE:
        for verb in (Verb.approve, Verb.deny):
            answer = await world.command(verb, subject=subject)
            assert (answer.outcome, answer.why, len(answer.text) < 300) == (Outcome.refused, "nothing_waits", True), subject
    assert await state(world) is RunState.awaiting_approval


async def test_a_hostile_target_is_a_plain_refusal(world: World) -> None:
    world.configure(rules(people={**PEOPLE, "ayse": replace(PEOPLE["ayse"], role="admin", grants=frozenset({"approver"}))}))
    for subject in HOSTILE:
        for verb in (Verb.release, Verb.override, Verb.unfreeze):
            answer = await world.command(verb, subject=subject, text="why")
            assert (answer.outcome, answer.why, len(answer.text) < 1000) == (Outcome.refused, "not_possible", True), subject


async def test_a_code_of_somebody_elses_button_is_worth_nothing(world: World) -> None:
    """The token names the run by its code, and the incident by its lane: neither alone is enough."""
    message = await waits(world)
    token = next(button.token for button in message.buttons if button.verb == "approve")
    key = await world.store.write(people.signing_key)
    lane = int(token.split(".")[1])
    for detail in ("", "t", "f" * 12, "t" + "f" * 12, "run", "latch:drl:1"):
        forged = Token(Verb.approve, lane, 1, detail).signed(key)
        answer = await world.ask(Press(forged, Account("slack", "AYSE"), world.clock.new_id()))
        assert (answer.outcome, answer.why) == (Outcome.refused, "nothing_waits"), detail
    bent = token[:-1] + ("B" if token.endswith("A") else "A")
    assert (await world.ask(Press(bent, Account("slack", "AYSE"), "k"))).outcome is Outcome.refused
    assert await state(world) is RunState.awaiting_approval


async def test_a_typed_line_without_what_it_needs_says_how(world: World) -> None:
    for words, says in (("approve", "The code is missing"), ("deny", "The code is missing"), ("freeze", "The reason is missing"),
                        ("release", "The target is missing"), ("override ", "The target is missing")):
        answer = await world.say(words)
        assert (answer.outcome, says in answer.text) == (Outcome.told, True)
    assert (await world.ask(Typed("latches", Account("slack", "AYSE"), "k"))).text.startswith("No target is latched")
