"""PagerDuty closes its incident by itself, or repeats what the hub did there: the first is answered, the second is not.

The channel and the subscription are the real ones; PagerDuty is the kit's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from alerthub.channels.base import Inbound, Wire
from alerthub.channels.pagerduty import PagerDuty, PagerdutyConfig, PagerdutyGlobal
from alerthub.channels.pagerduty_answers import PagerDutyAnswers
from alerthub.domain.command import Verb
from alerthub.domain.message import IncidentStatus
from alerthub.domain.person import Account
from alerthub.errors import Failure, SendFailed
from alerthub.store.database import Store
from tests.kit.alerts import firing, resolved
from tests.kit.providers.pagerduty import OUR_INTEGRATION, WEBHOOK_SECRET, FakePagerDuty, Paged, signed, webhook
from tests.kit.world import PAGERDUTY, SLACK, World, destination, person, rules_for

pytestmark = pytest.mark.anyio
KEY = "R0123456789ABCDEF0123456789abcde"
MEHMET = Account("pagerduty", "PMEHMET", "Mehmet")
BY_ITSELF = "PagerDuty closed it there by itself, after its auto-resolve time or by a rule."
STAYS = "1 alert still fires at alertmanager, so #1 stays open."
DID = {"trigger": "incident.triggered", "acknowledge": "incident.acknowledged", "resolve": "incident.resolved"}


class Stage:
    """A hub that tells PagerDuty, and hears its webhooks."""

    def __init__(self, store: Store, provider: FakePagerDuty, http: httpx.AsyncClient) -> None:
        self.provider, self.told, self.posts, self.last = provider, 0, 0, b""
        told = [destination(SLACK, answers="buttons"), destination(PAGERDUTY, echoes=True)]
        self.world = World(store, rules_for(receivers={"alerts": told}, people={"ayse": person("ayse")}))
        channel = PagerDuty(PagerdutyConfig(routing_key=KEY), PagerdutyGlobal(pagerduty_url=provider.enqueue_url),
                            Wire(http, self.world.clock))
        self.world.channels[PAGERDUTY] = channel  # type: ignore[assignment]
        self.subscription = PagerDutyAnswers(WEBHOOK_SECRET.encode(), PAGERDUTY)

    @property
    def there(self) -> Paged:
        (paged,) = self.provider.incidents.values()
        return paged

    @property
    def actions(self) -> list[str]:
        """All that PagerDuty was told, in order."""
        return [request.json()["event_action"] for request in self.provider.requests]

    async def fired(self) -> None:
        await self.world.receive(firing("DiskFull", severity="critical"))
        await self.world.settle_down(2)

    async def says(self, kind: str, *, agent: Any = None, at: datetime | None = None, number: int = 0, **data: Any) -> str:
        """One webhook of PagerDuty's, and how the hub ended it."""
        self.posts += 1
        key = list(self.provider.incidents)[number]
        body = json.loads(webhook(kind, key, agent=agent, event_id=f"E{self.posts}", **data))
        body["event"]["occurred_at"] = (at or self.world.clock.now()).isoformat().replace("+00:00", "Z")
        return await self.posted(json.dumps(body).encode())

    async def posted(self, raw: bytes) -> str:
        self.last = raw
        reply = await self.subscription.receive(Inbound("", signed(raw), raw, self.world.clock.now()), self.world.ask)
        assert reply.status == 200
        await self.world.settle_down(3)
        return reply.body.decode()

    async def closes(self, *, at: datetime | None = None) -> str:
        self.there.status = "resolved"
        return await self.says("incident.resolved", at=at)

    async def echoes(self) -> list[str]:
        """PagerDuty posts what the hub has done there since, as automation; that may make the hub do more."""
        new = self.actions[self.told:]
        self.told += len(new)
        return [await self.says(DID[action], agent=OUR_INTEGRATION) for action in new]


@pytest.fixture
async def stage(store: Store) -> AsyncIterator[Stage]:
    async with FakePagerDuty(KEY) as provider, httpx.AsyncClient(trust_env=False, verify=False) as http:
        yield Stage(store, provider, http)


async def test_what_pagerduty_closes_while_it_fires_stays_open_here_and_is_opened_there_again(stage: Stage) -> None:
    await stage.fired()
    await stage.world.advance(hours=4)
    assert await stage.closes() == "held"
    state = await stage.world.state()
    assert (state.status, stage.there.status, stage.there.opened) == (IncidentStatus.triggered, "triggered", 2)
    assert (await stage.world.history())[-1] == f"{BY_ITSELF} {STAYS}"


async def test_the_people_in_slack_are_told_of_it(stage: Stage) -> None:
    await stage.fired()
    stage.world.slack.told.clear()
    await stage.closes()
    stage.world.slack.expect("PagerDuty closed it there by itself")


async def test_what_pagerduty_closes_when_nothing_fires_any_more_is_resolved(stage: Stage) -> None:
    await stage.fired()
    await stage.world.store.write(lambda tx: tx.conn.exec_driver_sql("UPDATE incidents SET firing = 0"))
    assert await stage.closes() == "done"
    assert (await stage.world.state()).status is IncidentStatus.resolved
    assert (await stage.world.history())[-1] == "Resolved by PagerDuty"


async def test_an_acknowledgement_ends_with_what_was_acknowledged_there_and_it_rings_again(stage: Stage) -> None:
    await stage.fired()
    await stage.world.command(Verb.acknowledge)
    await stage.world.settle_down(2)
    assert await stage.closes() == "held"
    assert (await stage.world.state()).acknowledged_by == ""
    assert (stage.there.status, stage.there.opened) == ("triggered", 2)


async def test_its_repetition_of_our_own_end_does_nothing(stage: Stage) -> None:
    await stage.fired()
    await stage.world.receive(resolved("DiskFull", severity="critical"))
    await stage.world.settle_down(2)
    before = await stage.world.history()
    assert await stage.echoes() == ["nothing to do", "already"]
    assert (await stage.world.history(), stage.actions) == (before, ["trigger", "resolve"])


async def test_its_repetition_of_the_end_of_an_earlier_time_does_nothing(stage: Stage) -> None:
    await stage.fired()
    await stage.world.receive(resolved("DiskFull", severity="critical"))
    await stage.fired()
    before = await stage.world.history()
    assert "already" in [await stage.says("incident.resolved", number=0)]
    assert await stage.world.history() == before


async def rung_anew(stage: Stage) -> None:
    """Somebody had it there and gave it back here: the hub closes it there and opens it again."""
    await stage.fired()
    await stage.world.command(Verb.acknowledge)
    await stage.world.settle_down(2)
    await stage.world.command(Verb.unacknowledge)
    await stage.world.settle_down(2)
    assert stage.actions == ["trigger", "acknowledge", "resolve", "trigger"]


async def test_ringing_anew_is_no_loop_between_the_two(stage: Stage) -> None:
    await rung_anew(stage)
    before = await stage.world.history()
    for _ in range(3):
        await stage.echoes()
    assert (await stage.world.history(), len(stage.actions)) == (before, 4)
    assert (await stage.world.state()).status is IncidentStatus.triggered


async def test_an_end_from_before_the_hub_rang_anew_is_over_however_late_it_comes(stage: Stage) -> None:
    await rung_anew(stage)
    then = stage.world.clock.now()
    await stage.world.advance(hours=40)
    before = len(await stage.world.history())
    for at in (then, then - timedelta(minutes=30), then + timedelta(minutes=4)):
        assert await stage.says("incident.resolved", at=at) == "already"
    assert len(await stage.world.history()) == before


async def test_later_than_our_closing_the_end_is_its_own(stage: Stage) -> None:
    await rung_anew(stage)
    await stage.world.advance(minutes=6)
    assert await stage.closes() == "held"
    assert stage.there.status == "triggered"


async def test_what_was_rung_anew_is_remembered_when_there_is_news(stage: Stage) -> None:
    await rung_anew(stage)
    await stage.world.command(Verb.comment, text="look")
    await stage.world.settle_down(2)
    assert await stage.says("incident.resolved") == "already"


async def test_a_closing_whose_opening_failed_is_not_taken_for_pagerdutys(stage: Stage) -> None:
    await stage.fired()
    channel = stage.world.channels[PAGERDUTY]
    failing = Failing(channel)
    stage.world.channels[PAGERDUTY] = failing  # type: ignore[assignment]
    await stage.world.command(Verb.comment, text="look")
    await stage.world.drain()
    assert failing.attempts == 1
    assert await stage.says("incident.resolved") == "already"


class Failing:
    """The closing has arrived there, the opening has not."""

    def __init__(self, channel: Any) -> None:
        self.channel, self.attempts = channel, 0

    async def send(self, message: Any, previous: Any) -> Any:
        self.attempts += 1
        raise SendFailed(Failure.timeout, "no answer", after=3_600)

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("via", [PAGERDUTY, ""])        # one service, and several
async def test_a_rule_there_that_closes_whatever_is_opened_is_told_once_and_not_fought(stage: Stage, via: str) -> None:
    await stage.fired()
    stage.subscription.via = via
    for _ in range(7):
        assert await stage.closes() == "held"
    assert (stage.there.status, stage.there.opened) == ("resolved", 2)
    assert ["left closed: look for a rule" in line for line in await stage.world.history()] == [False, False, True]
    assert (await stage.world.state()).is_open


async def test_the_next_auto_resolve_hours_later_is_answered_as_the_first(stage: Stage) -> None:
    await stage.fired()
    for opened in (2, 3, 4):
        await stage.world.advance(hours=4)
        assert await stage.closes() == "held"
        assert (stage.there.status, stage.there.opened) == ("triggered", opened)


async def test_an_automatic_acknowledgement_stays_an_echo(stage: Stage) -> None:
    await stage.fired()
    await stage.world.advance(hours=1)
    assert await stage.says("incident.acknowledged") == "already"
    assert (await stage.world.state()).status is IncidentStatus.triggered


async def test_a_person_there_is_held_as_before(stage: Stage) -> None:
    await rung_anew(stage)
    stage.there.status = "resolved"
    agent = {"id": MEHMET.id, "type": "user_reference", "summary": MEHMET.name}
    assert await stage.says("incident.resolved", agent=agent) == "held"
    assert "Mehmet (PagerDuty) resolved it there." in (await stage.world.history())[-1]
    assert stage.there.status == "triggered"


# -- a webhook that is posted again

async def test_a_webhook_that_pagerduty_repeats_is_not_taken_for_a_rule_that_closes_everything(stage: Stage) -> None:
    await stage.fired()
    await stage.world.advance(hours=4)
    assert await stage.closes() == "held"
    before = await stage.world.history()
    assert await stage.posted(stage.last) == "held"
    assert (await stage.world.history(), stage.there.status) == (before, "triggered")


async def test_a_webhook_that_pagerduty_repeats_takes_no_acknowledgement_away(stage: Stage) -> None:
    await stage.fired()
    stage.there.status = "resolved"
    assert await stage.says("incident.resolved", agent={"id": MEHMET.id, "type": "user_reference", "summary": "Mehmet"}) == "held"
    repeated = stage.last
    await stage.world.command(Verb.acknowledge)
    await stage.world.settle_down(3)
    assert await stage.posted(repeated) == "held"
    assert (await stage.world.state()).acknowledged_by == "ayse"


# -- two services

SECOND = "pagerduty:second"


class Broken:
    async def send(self, message: Any, previous: Any) -> Any:
        raise SendFailed(Failure.unavailable, "HTTP 503")

    async def aclose(self) -> None: ...


class TwoServices(Stage):
    """One hub, two services; both post to the same subscription."""

    def __init__(self, store: Store, first: FakePagerDuty, second: FakePagerDuty, http: httpx.AsyncClient) -> None:
        super().__init__(store, first, http)
        self.second = second
        told = [destination(SLACK, answers="buttons"), destination(PAGERDUTY, echoes=True), destination(SECOND, echoes=True)]
        self.world.configure(rules_for(receivers={"alerts": told}, people={"ayse": person("ayse")}))
        channel = PagerDuty(PagerdutyConfig(routing_key=KEY), PagerdutyGlobal(pagerduty_url=second.enqueue_url),
                            Wire(http, self.world.clock))
        self.world.channels[SECOND] = channel  # type: ignore[assignment]
        self.subscription.via = ""

    @property
    def states(self) -> list[str]:
        return [paged.status for provider in (self.provider, self.second) for paged in provider.incidents.values()]

    def close(self, provider: FakePagerDuty) -> None:
        next(iter(provider.incidents.values())).status = "resolved"

    async def say(self, service: str) -> str:
        return await self.says("incident.resolved", service={"id": service, "type": "service_reference"})


@pytest.fixture
async def two(store: Store) -> AsyncIterator[TwoServices]:
    async with FakePagerDuty(KEY) as first, FakePagerDuty(KEY) as second, httpx.AsyncClient(
            trust_env=False, verify=False) as http:
        yield TwoServices(store, first, second, http)


async def test_two_services_with_the_same_auto_resolve_time_are_both_opened_again(two: TwoServices) -> None:
    await two.fired()
    await two.world.advance(hours=4)
    two.close(two.provider)
    assert await two.say("PFIRST") == "held"
    two.close(two.second)
    assert await two.say("PSECOND") == "held"
    assert two.states == ["triggered", "triggered"]


async def test_two_services_that_closed_before_either_has_said_so_are_both_opened_again(two: TwoServices) -> None:
    await two.fired()
    await two.world.advance(hours=4)
    two.close(two.provider)
    two.close(two.second)
    await two.say("PFIRST")
    await two.say("PSECOND")
    assert two.states == ["triggered", "triggered"]
    assert not any("left closed" in line for line in await two.world.history())


async def test_a_service_that_closes_everything_is_left_closed_beside_another(two: TwoServices) -> None:
    await two.fired()
    for _ in range(2):
        two.close(two.provider)
        await two.say("PFIRST")
    assert two.states == ["resolved", "triggered"]


async def test_a_service_that_was_never_reached_makes_no_closing_of_another_ours(two: TwoServices) -> None:
    two.world.channels[SECOND] = Broken()  # type: ignore[assignment]
    await two.fired()
    await two.world.advance(hours=4)
    two.close(two.provider)
    assert await two.say("PFIRST") == "held"
    assert two.states == ["triggered"]
