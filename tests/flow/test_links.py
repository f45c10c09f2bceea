"""What a mailed link shows before it is pressed is what the press would do; and a mail's token is no button, nor the reverse."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.command import LinkView, Outcome, Press, Verb, press_of_link
from alerthub.domain.message import IncidentStatus, Message
from alerthub.domain.person import Account
from alerthub.domain.rules import Answers
from alerthub.flow.links import view
from alerthub.store.database import Store
from tests.kit.alerts import firing, resolved
from tests.kit.world import SLACK, World, destination, person, rules_for

pytestmark = pytest.mark.anyio
MAIL = "email:ayse@example.com"


@pytest.fixture
def world(store: Store) -> World:
    places = [destination(SLACK, answers="buttons"), destination(MAIL, answers="links")]
    return World(store, rules_for(receivers={"alerts": places}, people={name: person(name) for name in ("ayse", "mehmet")},
                                  answers=Answers(time_zone="Europe/Istanbul")))


async def mailed(world: World) -> Message:
    await world.receive(firing("DiskFull", severity="critical"))
    await world.drain()
    return world.channels[MAIL].expect("DiskFull")


def token(message: Message, label: str = "Acknowledge") -> str:
    return next(button.token for button in message.buttons if button.label == label)


async def looked(world: World, link: str) -> LinkView:
    return await world.store.write(lambda tx: view(tx, world.rules, link, world.clock.now()))


async def test_a_silence_is_asked_for_by_its_own_name_and_says_until_when(world: World) -> None:
    mail = await mailed(world)
    shown = await looked(world, token(mail, "Silence until 09:00"))
    assert (shown.verb, shown.until) == ("Silence until 09:00", "Sat 2026-11-21 09:00 +03")
    shown = await looked(world, token(mail, "Silence 4 h"))
    assert (shown.verb, shown.until) == ("Silence 4 h", "Sat 2026-11-21 10:00 +03")
    assert (await looked(world, token(mail))).until == ""


async def test_a_link_that_was_used_is_not_offered_again(world: World) -> None:
    link = token(await mailed(world), "Silence 1 h")
    assert (await looked(world, link)).problem == ""
    assert (await world.ask(press_of_link(link))).outcome is Outcome.done
    shown = await looked(world, link)
    assert (shown.problem.startswith("This link was used already"), shown.number) == (True, 1)


async def test_who_clicks_a_link_twice_reads_what_the_first_click_did(world: World) -> None:
    press = press_of_link(token(await mailed(world), "Silence 1 h"))
    first, second = await world.ask(press), await world.ask(press)
    assert (second.outcome, second.number) == (Outcome.already, 1)
    assert second.text.startswith(f"Done before: {first.text} This link was used already")


async def taken(world: World) -> None:
    await world.command(Verb.acknowledge, by="mehmet")


async def ended(world: World) -> None:
    await world.receive(resolved("DiskFull", severity="critical"))


async def fired_again(world: World) -> None:
    await ended(world)
    await world.advance(minutes=10)
    await world.receive(firing("DiskFull", severity="critical"))


@pytest.mark.parametrize(("happens", "problem"), [
    (taken, "mehmet has #1 since 2026-11-21 06:00 +03."), (ended, "#1 is resolved already."),
    (fired_again, "That message is about an earlier time; #1 has fired again since. Use the newest message.")])
async def test_what_is_over_is_said_instead_of_offered(world: World, happens: Any, problem: str) -> None:
    link = token(await mailed(world))
    await happens(world)
    shown = await looked(world, link)
    assert (shown.problem, shown.number) == (problem, 1)
    assert (await world.ask(press_of_link(link))).text == problem


async def test_what_would_be_held_is_offered_since_the_press_asks(world: World) -> None:
    assert (await looked(world, token(await mailed(world), "Resolve"))).problem == ""


async def test_a_button_of_a_chat_shows_nothing_as_a_link(world: World) -> None:
    await mailed(world)
    button = token(world.slack.expect("DiskFull"))
    shown = await looked(world, button)
    assert shown == LinkView(problem="That is a button of a chat, not a link.")
    assert (await world.ask(press_of_link(button))).text == shown.problem


@pytest.mark.parametrize("kind", ["slack", "telegram"])
async def test_a_link_of_a_mail_is_no_button(world: World, kind: str) -> None:
    link = token(await mailed(world))
    answer = await world.ask(Press(link, Account(kind, "MEHMET"), "k", "anywhere"))
    assert (answer.outcome, answer.text) == (Outcome.refused, "That is a link of a mail, not a button.")
    assert (await world.state()).status is IncidentStatus.triggered


async def test_the_log_says_which_link_was_too_old_and_whose(world: World, caplog: pytest.LogCaptureFixture) -> None:
    link = token(await mailed(world))
    world.clock.advance(hours=24)
    with caplog.at_level(logging.WARNING, "alerthub.respond"):
        answer = await world.ask(press_of_link(link))
    assert (answer.outcome, answer.number) == (Outcome.refused, 1)
    told = [record.getMessage() for record in caplog.records if record.name == "alerthub.respond"]
    assert told == ["acknowledge of #1 by ayse refused: expired_link"]
    assert (await looked(world, link)).problem == answer.text


async def test_a_link_lives_a_day(world: World) -> None:
    link = token(await mailed(world))
    world.clock.advance(seconds=timedelta(hours=24).total_seconds() - 1)
    assert (await looked(world, link)).problem == ""
