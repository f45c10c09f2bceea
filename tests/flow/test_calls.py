"""Who is called hears it, once, in time, and by the right address: in a storm, at PagerDuty, under silences, while it flaps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import pytest

from alerthub.channels.base import Wire
from alerthub.channels.pagerduty import PagerDuty, PagerdutyConfig, PagerdutyGlobal
from alerthub.domain.command import Outcome, Verb
from alerthub.domain.message import IncidentStatus, Message
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Approval, Direction, EscalationPolicy, Flapping
from alerthub.store.database import Store
from tests.flow.test_people_corners import AYSE, BUTTONS, CONTACTS, MEHMET, MEHMETS_MAIL, PEOPLE, calling, fired, step
from tests.kit.alerts import firing, resolved
from tests.kit.providers.http import Answer
from tests.kit.providers.pagerduty import FakePagerDuty
from tests.kit.world import EMAIL, PAGERDUTY, SLACK, World, contact, destination, person, rules_for

pytestmark = pytest.mark.anyio
KEY = "R0123456789ABCDEF0123456789ABCDE"
SLOW: dict[str, Any] = {"every": timedelta(seconds=2), "burst": 1}      # Telegram's budget


def loud(messages: Sequence[Message]) -> list[Message]:
    return [message for message in messages if not message.only_edit]


# -- in a storm

def in_a_storm(**fields: Any) -> Any:
    route = Route("alerts", group_by=("alertname",), escalation_policy="trading")
    policies = {"trading": EscalationPolicy("trading", (step("person:ayse"), step("person:mehmet")))}
    contacts = {"ayse": (contact(AYSE, **SLOW),), "mehmet": (contact(MEHMET, **SLOW),)}
    return rules_for(route, **{"people": PEOPLE, "contacts": contacts, "policies": policies, **fields})


async def test_in_a_storm_a_person_is_told_all_they_are_called_for_before_the_next_is(store: Store) -> None:
    world = World(store, in_a_storm())
    await world.receive(*[firing(f"A{number:03}", severity="critical") for number in range(150)])
    await world.settle_down(60)
    told = world.channels[AYSE].messages
    named = {message.number for message in told} | {line.number for message in told for line in message.digest}
    assert named == set(range(1, 151))
    assert len(told) <= 6
    assert all(message.title.startswith("YOU ARE CALLED for ") for message in told if message.digest)
    world.channels[MEHMET].expect_nothing()


async def test_a_summary_of_calls_counts_as_told_and_is_not_told_again(store: Store) -> None:
    world = World(store, in_a_storm())
    await world.receive(*[firing(f"A{number:02}", severity="critical") for number in range(30)])
    await world.settle_down(4)
    (told,) = world.channels[AYSE].messages
    assert (told.title, len(told.digest)) == ("YOU ARE CALLED for 30 incidents: A00, A01, A02 …", 30)
    await world.settle_down(200, step=5)
    assert len(world.channels[AYSE].messages) == 1


def asking(count: int) -> Any:
    """An action on each of so many targets, which ayse must approve."""
    names = tuple(f"t{number}" for number in range(count))
    retrain = ActionRule("retrain", "prefect", Direction.neutral, target_label="agent", targets=names, version="1",
                         approval=Approval("ml", 1, timedelta(minutes=15)), does=("x",))
    route = Route("alerts", group_by=("alertname",), actions=("retrain",), escalation_policy="trading")
    return rules_for(
        route, receivers=BUTTONS, people={"ayse": person("ayse", "ml")}, actions=[retrain], targets=names,
        contacts={"ayse": (contact(AYSE, answers="buttons", **SLOW),)},
        policies={"trading": EscalationPolicy("trading", (step("person:ayse"),))})


async def stormed(store: Store, questions: int) -> list[Message]:
    """What ayse reads after a pause in which 30 incidents have called her, and so many of them asked."""
    world = World(store, asking(questions))
    await world.receive(*[firing(f"A{number:02}", severity="critical", agent=f"t{number}") for number in range(30)])
    for free_at in (9_000_000_000_000_000, 0):
        await store.write(lambda tx, free_at=free_at: tx.conn.exec_driver_sql(
            "insert into destinations (key, channel, free_at, last_error, moved_to) "
            f"values ('{AYSE}', 'telegram', {free_at}, '', '') on conflict (key) do update set free_at = {free_at}"))
        await world.settle_down(12)
    return world.channels[AYSE].messages


async def test_who_is_asked_a_few_things_in_a_storm_is_asked_each_with_its_buttons_before_the_summary(store: Store) -> None:
    *asked, summary = await stormed(store, 3)
    assert len(asked) == 3
    assert all(any(line.startswith("YOU ARE ASKED") for line in message.standing) for message in asked)
    assert all(any(button.label.startswith("Approve retrain") for button in message.buttons) for message in asked)
    assert summary.title.startswith("YOU ARE CALLED for 27 incidents")


async def test_who_is_asked_many_things_in_a_storm_reads_in_the_summary_that_they_are(store: Store) -> None:
    (told,) = await stormed(store, 30)
    assert told.title.startswith("YOU ARE ASKED to approve or deny in 30 incidents: A")
    assert all(line.title.startswith("WAITS FOR YOUR APPROVAL: A") for line in told.digest)


async def test_a_grave_call_does_not_wait_behind_a_storm_of_others(store: Store) -> None:
    world = World(store, in_a_storm())
    await world.receive(*[firing(f"A{number:03}", severity="warning") for number in range(150)])
    await world.settle_down(5)
    await world.receive(firing("TradingHalted", severity="critical"))
    await world.settle_down(20)
    titles = [message.title for message in world.channels[AYSE].messages if "TradingHalted" in message.title]
    assert titles
    assert titles[0] == "TradingHalted" or titles[0].startswith("YOU ARE CALLED")


async def test_an_address_that_is_also_a_receivers_reads_in_a_storm_that_it_is_called(store: Store) -> None:
    team = {"alerts": [destination(SLACK)], "team": [destination(AYSE, receiver="team", **SLOW)]}
    world = World(store, in_a_storm(receivers=team))
    await world.receive(*[firing(f"A{number:02}", severity="critical") for number in range(30)])
    await world.settle_down(10)
    world.channels[AYSE].expect("YOU ARE CALLED for 30 incidents")
    assert not any("YOU ARE CALLED" in message.title for message in world.slack.messages)


# -- addresses

async def test_an_address_that_is_also_a_receivers_is_not_told_what_was_taken_before_its_turn(store: Store) -> None:
    team = {"alerts": [destination(SLACK)], "team": [destination(MEHMETS_MAIL, receiver="team")]}
    world = World(store, calling(step("person:mehmet"), receivers=team))
    await fired(world)
    world.clock.advance(seconds=20)
    await world.command(Verb.acknowledge, by="mehmet")
    await world.settle_down(90, step=10)
    world.channels[MEHMETS_MAIL].expect_nothing()


async def test_a_receiver_that_a_route_leads_to_stays_one_although_a_person_has_the_same_address(store: Store) -> None:
    world = World(store, calling(step("person:mehmet"), receivers={"alerts": [destination(MEHMETS_MAIL)]}))
    await fired(world)
    await world.command(Verb.acknowledge, by="ayse")
    await world.settle_down(90, step=10)
    assert [message.status for message in world.channels[MEHMETS_MAIL].messages][-1] is IncidentStatus.acknowledged


async def test_in_the_second_round_too_the_second_address_is_told_after_the_first(store: Store) -> None:
    policies = {"trading": EscalationPolicy("trading", (step("person:mehmet"),), repeat=1)}
    route = Route("alerts", group_by=("alertname",), escalation_policy="trading")
    world = World(store, rules_for(route, people=PEOPLE, contacts=CONTACTS, policies=policies))
    await fired(world)
    await world.settle_down(70, step=10)
    world.channels[MEHMETS_MAIL].expect("called mehmet")
    world.channels[MEHMET].told.clear()
    await world.advance(minutes=4)
    assert any("round 2" in line for line in await world.history())
    world.channels[MEHMET].expect("round 2")
    world.channels[MEHMETS_MAIL].expect_nothing()
    await world.settle_down(70, step=10)
    world.channels[MEHMETS_MAIL].expect("round 2")


async def test_who_was_called_last_time_is_not_told_the_end_of_what_they_never_heard_of(store: Store) -> None:
    leads = {"alerts": [destination(SLACK)], "leads": [destination(EMAIL, receiver="leads")]}
    world = World(store, calling(step("person:ayse"), step("receiver:leads"), receivers=leads))
    await fired(world)
    await world.advance(minutes=5)
    world.email.expect("called receiver leads")
    await world.receive(resolved("DiskFull", severity="critical"))
    await world.advance(minutes=1)
    world.email.expect("resolved")
    await fired(world)
    await world.advance(minutes=1)
    await world.receive(resolved("DiskFull", severity="critical"))
    await world.advance(minutes=1)
    world.email.expect_nothing()


# -- two who press at once

async def test_two_people_who_escalate_at_once_take_one_step(store: Store) -> None:
    world = World(store, calling(receivers=BUTTONS))
    await fired(world)
    message = world.slack.messages[0]
    assert (await world.press(message, "Escalate now", by="ayse")).outcome is Outcome.done
    second = await world.press(message, "Escalate now", by="mehmet")
    assert second.outcome is Outcome.already
    assert second.text == ("Done already, ayse asks for the next person a moment ago. "
                           "Escalation, step 2 of 2 of trading: called mehmet")
    assert not any("run out" in line for line in await world.history())
    world.clock.advance(seconds=5)
    assert (await world.press(message, "Escalate now", by="mehmet")).outcome is Outcome.done


# -- under silences

async def test_a_silence_after_a_call_holds_the_second_address(store: Store) -> None:
    world = World(store, calling(step("person:mehmet")))
    await fired(world)
    world.clock.advance(seconds=20)
    await world.say("silence 1 1h")
    await world.settle_down(90, step=10)
    world.channels[MEHMETS_MAIL].expect_nothing()


@pytest.mark.parametrize("minutes", [0, 6])      # after which the escalation runs still, or has run out
async def test_when_a_silence_ends_and_nobody_has_it_the_first_step_is_called_again(store: Store, minutes: int) -> None:
    world = World(store, calling(step("person:ayse")))
    await fired(world)
    await world.advance(minutes=minutes)
    await world.say("silence 1 1h")
    await world.settle_down(5)
    world.channels[AYSE].told.clear()
    for _ in range(12):
        await world.advance(minutes=5)
    await world.settle_down(5)
    assert [message.why.value for message in loud(world.channels[AYSE].messages)] == ["escalated"]
    assert len([line for line in await world.history() if "step 1 of 1" in line]) == 2
    await world.advance(minutes=6)
    assert len([line for line in await world.history() if "run out" in line]) == (2 if minutes else 1)


async def test_when_a_silence_of_what_somebody_has_ends_nobody_is_called(store: Store) -> None:
    world = World(store, calling())
    await fired(world)
    await world.command(Verb.acknowledge)
    await world.say("silence 1 30m")
    for _ in range(8):
        await world.advance(minutes=5)
    assert len([line for line in await world.history() if "step" in line]) == 1


# -- while it flaps, and where ends are not told

async def test_what_becomes_graver_while_it_flaps_interrupts(store: Store) -> None:
    world = World(store, calling(flapping=Flapping(3, timedelta(hours=1))))
    for _ in range(4):
        await world.receive(firing("Etl", severity="warning"))
        await world.settle_down(20, step=10)
        await world.receive(resolved("Etl", severity="warning"))
        await world.settle_down(20, step=10)
    world.slack.told.clear()
    await world.receive(firing("Etl", severity="warning"))
    await world.settle_down(20, step=10)
    assert loud(world.slack.messages) == []
    await world.receive(firing("Etl", severity="critical", host="b"))
    await world.settle_down(20, step=10)
    assert "severity rose to critical" in loud(world.slack.messages)[0].news[-1]


@pytest.mark.parametrize(("answers", "told"), [("", False), ("buttons", True)])      # its buttons would stay otherwise
async def test_a_hurried_edit_tells_no_end_where_ends_are_not_told(store: Store, answers: str, told: bool) -> None:
    there = destination(PAGERDUTY, send_resolved=False, answers=answers, every=timedelta(minutes=10), burst=1)
    world = World(store, rules_for(people=PEOPLE, receivers={"alerts": [destination(SLACK, answers="buttons"), there]}))
    await fired(world)
    await world.command(Verb.resolve, forced=True)
    await world.settle_down(3)
    assert any(message.status is IncidentStatus.resolved for message in world.pagerduty.messages) is told


# -- at PagerDuty

class Rung:
    """A hub whose second step is a PagerDuty service; `told` is what that has taken, in order."""

    def __init__(self, store: Store, provider: FakePagerDuty, http: httpx.AsyncClient) -> None:
        receivers = {"alerts": [destination(SLACK, answers="buttons")], "pd": [destination(PAGERDUTY, receiver="pd")]}
        self.provider = provider
        self.world = World(store, calling(step("person:ayse"), step("receiver:pd"), receivers=receivers))
        channel = PagerDuty(PagerdutyConfig(routing_key=KEY), PagerdutyGlobal(pagerduty_url=provider.enqueue_url),
                            Wire(http, self.world.clock))
        self.world.channels[PAGERDUTY] = channel  # type: ignore[assignment]

    @property
    def told(self) -> list[str]:
        return [event["event_action"] for there in self.provider.incidents.values() for event in there.events]

    async def does(self, verb: Verb, by: str = "ayse", **fields: Any) -> None:
        await self.world.command(verb, by=by, **fields)
        await self.world.settle_down(3)


@pytest.fixture
async def rung(store: Store) -> Any:
    async with FakePagerDuty(KEY) as provider, httpx.AsyncClient(trust_env=False, verify=False) as http:
        yield Rung(store, provider, http)


@pytest.mark.parametrize("news", ["a word", "an alert"])
async def test_pagerduty_rings_on_for_what_is_silenced_whatever_else_happens(rung: Rung, news: str) -> None:
    await fired(rung.world)
    await rung.does(Verb.silence)
    await rung.does(Verb.escalate)
    assert rung.told == ["trigger"]
    if news == "a word":
        await rung.does(Verb.comment, text="db-1 is back, db-2 not")
    else:
        await rung.world.receive(firing("DiskFull", severity="critical", host="b"))
        await rung.world.settle_down(3)
    assert rung.told == ["trigger"]
    await rung.does(Verb.acknowledge, by="mehmet")
    assert rung.told == ["trigger", "acknowledge"]


async def test_pagerduty_is_quiet_when_what_rings_there_was_given_back_and_taken(rung: Rung) -> None:
    await fired(rung.world)
    await rung.does(Verb.acknowledge)
    await rung.does(Verb.escalate)
    assert rung.told == ["trigger"]
    await rung.world.command(Verb.unacknowledge)
    await rung.does(Verb.acknowledge, by="mehmet")
    await rung.world.settle_down(20, step=5)
    assert rung.told[-1] == "acknowledge"


async def test_pagerduty_is_quiet_when_it_was_taken_while_pagerduty_could_not_be_reached(rung: Rung) -> None:
    await fired(rung.world)
    await rung.does(Verb.acknowledge)
    await rung.does(Verb.escalate)
    works = rung.provider.answer
    rung.provider.answer = lambda _: Answer(503)
    await rung.does(Verb.unacknowledge)
    await rung.does(Verb.acknowledge, by="mehmet")
    rung.provider.answer = works
    await rung.world.settle_down(120, step=10)
    assert rung.told[-1] == "acknowledge"
