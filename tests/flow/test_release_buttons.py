"""The release of a latched target as people meet it: buttons also when the incident is over, words, a mailed link; and that
those who must agree are called."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from alerthub.domain.command import Outcome, Press, Verb
from alerthub.domain.latch import LatchState
from alerthub.domain.message import IncidentStatus, Message
from alerthub.domain.person import Account
from alerthub.domain.reconcile import Peer
from alerthub.domain.route import Route
from alerthub.domain.rules import Approval, Release, Rules, SourceRule
from alerthub.flow import watch
from alerthub.flow.links import view
from alerthub.store import latches
from alerthub.store.database import Store
from alerthub.store.tx import Tx
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START
from tests.kit.world import EMAIL, SLACK, World, contact, destination, person, rules_for, safe_mode

pytestmark = pytest.mark.anyio
BTC = "agent btc"       # a name with a space in it
SPARE = "agent-" + "x" * 190
PLACES = {"alerts": [destination(SLACK, answers="buttons"), destination(EMAIL, answers="links")]}
PEOPLE = {one.name: one for one in (person("ayse"), person("bora", "risk"), person("can", "risk"), person("emre", "admin"),
                                    person("vera", "viewer"), person("pia", "approver"))}
ASK, APPROVE, DENY = (f"{verb} release of {BTC}" for verb in ("Request", "Approve", "Deny"))


def rules(**fields: Any) -> Rules:
    usual: dict[str, Any] = {
        "actions": [safe_mode(releases=True)], "targets": [BTC, SPARE], "people": PEOPLE, "receivers": PLACES,
        "releases": {BTC: Release(timedelta(minutes=2), Approval("risk", 2, timedelta(minutes=15)))},
        "sources": {"alertmanager": SourceRule("alertmanager", "alertmanager", reconcile_urls=("http://am",))}}
    return rules_for(Route("alerts", group_by=("alertname",), actions=("safe-mode",)), **{**usual, **fields})


@pytest.fixture
def world(store: Store) -> World:
    return World(store, rules())


async def over(world: World, agent: str = BTC) -> Message:
    """It fired and is resolved, and the source has confirmed that for long enough; the live message of it."""
    await world.receive(firing("Reward", severity="critical", agent=agent))
    await world.advance(seconds=2)
    await world.receive(resolved("Reward", severity="critical", agent=agent))
    for _ in range(5):
        world.clock.advance(minutes=1)
        await world.store.write(partial(looked, world))
    return await newest(world)


def looked(world: World, tx: Tx) -> None:
    now = world.clock.now()
    watch.reconcile(tx, world.rules, "alertmanager", [Peer(START - timedelta(days=20), {})], now, now)


async def newest(world: World) -> Message:
    await world.advance(seconds=2)
    return world.slack.messages[-1]


async def state(world: World) -> LatchState:
    found = await world.store.read(lambda tx: latches.find(tx, BTC))
    assert found is not None
    return found.state


def labels(message: Message) -> list[str]:
    return [button.label for button in message.buttons]


async def test_a_resolved_incident_still_has_the_way_out_of_what_it_latched(world: World) -> None:
    message = await over(world)
    assert (message.status, labels(message)) == (IncidentStatus.resolved, [ASK])
    assert f"{BTC} is latched safe since 03:00 UTC. It stays so until people release it." in message.standing
    asked = await world.press(message, ASK)
    assert (asked.outcome, asked.number) == (Outcome.done, 1)
    message = await newest(world)
    assert labels(message) == [APPROVE, DENY]
    assert f"the release of {BTC}, asked for by ayse, waits for 2 of risk until" in " ".join(message.standing)
    first = await world.press(message, APPROVE, by="bora")
    assert first.text == f"You agree to the release of {BTC}: 1 more of risk must agree."
    assert (await world.press(message, APPROVE, by="can")).outcome is Outcome.done
    await world.advance(seconds=2)
    assert (await state(world), labels(await newest(world))) == (LatchState.released, [])
    assert [call.release for call in world.actions["safe-mode", BTC].calls] == ["", "armed"]


async def test_whatever_a_target_is_called_its_buttons_fit_into_telegram(world: World) -> None:
    message = await over(world, SPARE)
    assert [button.verb for button in message.buttons] == ["release"]
    assert len(message.buttons[0].token.encode()) <= 64


async def test_a_button_of_an_earlier_request_agrees_to_no_later_one(world: World) -> None:
    await world.press(await over(world), ASK)
    first = await newest(world)
    assert (await world.press(first, DENY, by="bora")).text == f"{BTC} stays safe."
    assert (await world.press(first, APPROVE, by="can")).why == "nothing_waits"
    await world.press(await newest(world), ASK)
    assert (await world.press(first, APPROVE, by="can")).why == "nothing_waits"
    assert await state(world) is LatchState.release_requested
    assert (await world.press(await newest(world), APPROVE, by="can")).outcome is Outcome.done


async def test_by_words_too_also_where_its_name_has_a_space(world: World) -> None:
    await over(world)
    assert f"{BTC}: safe since" in (await world.say("latches")).text
    assert (await world.say(f"release {BTC} drift is over", by="vera")).why == "not_allowed"
    assert (await world.say(f"release {BTC} drift is over", by="pia")).outcome is Outcome.done
    assert any("pia asks to release" in line and "drift is over" in line for line in await world.history())
    assert "waits for 2 of risk" in (await world.say("latches")).text
    assert (await world.say(f"approve {BTC}", by="pia")).why == "not_allowed"
    assert (await world.say(f"approve {BTC}", by="bora")).outcome is Outcome.done
    assert (await world.say(f"approve {BTC}", by="bora")).outcome is Outcome.already
    assert (await world.say(f"deny {BTC}", by="can")).outcome is Outcome.done
    late = await world.say(f"approve {BTC}", by="bora")
    assert (late.why, f"Nobody asks for the release of {BTC} now" in late.text) == ("is_decided", True)


async def test_an_admin_overrides_by_name_with_a_reason_and_nobody_else_does(world: World) -> None:
    await world.receive(firing("Reward", severity="critical", agent=BTC))
    await world.drain()
    for by in ("ayse", "bora", "pia", "vera"):
        assert (await world.say(f"override {BTC} I must", by=by)).why == "not_allowed"
    nobody = Account("api", "api", "emre")
    assert (await world.command(Verb.override, subject=BTC, text="x", account=nobody)).why == "needs_person"
    assert (await world.say(f"override {BTC}", by="emre")).why == "not_possible"
    assert (await world.say(f"override {BTC} the alert is wrong", by="emre")).outcome is Outcome.done
    assert any("emre overrides" in line and "the alert is wrong" in line for line in await world.history())
    await world.advance(seconds=2)
    assert await state(world) is LatchState.released


async def test_what_still_fires_is_not_released_and_says_so(world: World) -> None:
    await world.receive(firing("Reward", severity="critical", agent=BTC))
    answer = await world.say(f"release {BTC}")
    assert (answer.why, "is still open" in answer.text) == ("not_possible", True)
    assert await state(world) is LatchState.safe


async def test_those_who_must_agree_are_called_although_the_incident_is_over(store: Store) -> None:
    own = {name: (contact(f"telegram:{name}", answers="buttons"),) for name in PEOPLE}
    world = World(store, rules(contacts=own, people={**PEOPLE, "deniz": person("deniz", "risk")}))
    await over(world)
    assert not any(channel.told for key, channel in world.channels.items() if key.startswith("telegram:"))
    await world.say(f"release {BTC}", by="bora")
    await world.advance(seconds=2)
    assert {key for key, channel in world.channels.items() if key.startswith("telegram:") and channel.told} == {"telegram:can"}
    message = world.channels["telegram:can"].messages[-1]
    assert (message.calls, labels(message)) == (True, [APPROVE, DENY])
    answer = await world.say(f"approve {BTC}", by="bora")
    assert (answer.outcome, answer.why) == (Outcome.refused, "own_request")


async def test_who_leaves_too_few_to_agree_does_not_ask(world: World) -> None:
    await over(world)
    answer = await world.say(f"release {BTC}", by="bora")
    assert (answer.outcome, answer.why) == (Outcome.refused, "not_possible")
    assert "2 of risk must agree, and without bora there is only 1; let somebody ask who is not of risk" in answer.text
    assert (await world.say(f"release {BTC}", by="ayse")).outcome is Outcome.done


async def test_a_role_of_ones_own_lifts_no_freeze_and_whoever_agrees_meanwhile_is_told_of_it(world: World) -> None:
    await over(world)
    await world.say(f"release {BTC}", by="ayse")
    await world.say("freeze an audit", by="bora")
    said = (await world.say(f"approve {BTC}", by="can")).text
    assert "1 more of risk must agree. But actions are frozen (bora froze all actions at 2026-11-21 " in said
    assert (await world.say("unfreeze", by="bora")).why == "not_allowed"
    granted = replace(PEOPLE["bora"], grants=frozenset({"approver"}))
    world.configure(rules(people={**PEOPLE, "bora": granted}))
    assert (await world.say("unfreeze", by="bora")).outcome is Outcome.done


async def test_a_frozen_release_is_not_told_as_if_nothing_could_be_made_safe(world: World) -> None:
    said = (await world.say("freeze safe-mode an audit")).text
    assert said.startswith("The releases of safe-mode are frozen. No target that it made safe is released; it goes on making "
                           "safe,")
    (alarm,) = [found for found in await world.incidents() if "frozen" in found["title"]]
    assert alarm["title"] == "The releases of safe-mode are frozen by ayse"


async def test_a_mailed_link_asks_for_a_release_only_with_proof(world: World) -> None:
    mehmet = replace(PEOPLE["ayse"], accounts=frozenset({("email", "risk@example.com"), ("token", "ayse")}))
    world.configure(rules(people={**PEOPLE, "ayse": mehmet}))
    await over(world)
    mail = [message for message in world.email.messages if message.buttons][-1]
    token = next(button.token for button in mail.buttons if button.verb == "release")
    shown = await world.store.write(lambda tx: view(tx, world.rules, token, world.clock.now()))
    assert "because of #1 Reward" in " ".join(shown.effect)
    assert "Then must agree: 2 of risk, none of them you" in shown.effect
    press = Press(token, Account("link", "L"), "link:L")
    assert (await world.ask(press)).why == "needs_proof"
    assert (await world.ask(replace(press, proved=Account("token", "ayse")))).outcome is Outcome.done
    assert await state(world) is LatchState.release_requested


async def test_a_freeze_of_one_or_of_all_and_who_lifts_it(world: World) -> None:
    assert (await world.say("freeze agents act strangely", by="vera")).why == "not_allowed"
    assert "All actions are frozen" in (await world.say("freeze agents act strangely")).text
    assert (await world.say("unfreeze")).why == "not_allowed"
    lifted = await world.command(Verb.unfreeze, account=Account("cli", "root"))
    assert lifted.why == "needs_person"
    assert (await world.say("unfreeze", by="pia")).outcome is Outcome.done
    assert (await world.command(Verb.freeze, account=Account("cli", "root"), text="why")).outcome is Outcome.done
    assert (await world.command(Verb.freeze, subject="nothing", text="why")).why == "not_possible"
