"""Slack's users.info: who may answer although the request did not say what they are, and what happens when Slack is silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from alerthub.channels.base import Hearing, Wire
from alerthub.channels.slack import SlackGlobal
from alerthub.channels.slack_answers import SlackListener, listeners
from alerthub.channels.slack_inbound import BOT, GUEST, OTHER_WORKSPACE
from alerthub.channels.slack_users import LEFT, REMEMBERED, Users, judged
from alerthub.domain.command import Answer, Ask, Outcome
from tests.kit.clock import FakeClock
from tests.kit.messages import NOW
from tests.kit.providers.slack import FakeSlack, member, visible
from tests.kit.providers.slack_people import SECRET, TEAM, USER, command, interactivity, press, typed

pytestmark = pytest.mark.anyio
TOKEN = "xoxb-test"
BAD = [({"is_restricted": True}, GUEST), ({"is_ultra_restricted": True}, GUEST), ({"is_bot": True}, BOT),
       ({"is_workflow_bot": True}, BOT), ({"deleted": True}, LEFT), ({"team_id": "T999"}, OTHER_WORKSPACE),
       ({"is_stranger": True}, OTHER_WORKSPACE)]


class Scene:
    def __init__(self, slack: FakeSlack, http: httpx.AsyncClient) -> None:
        self.slack, self.http, self.clock = slack, http, FakeClock(NOW)
        self.asked: list[Ask] = []

    @property
    def wire(self) -> Wire:
        return Wire(self.http, self.clock)

    def users(self, *accounts: str, token: str | None = TOKEN, team: str | None = TEAM, patience: float = 5.0) -> Users:
        return Users(self.slack.base_url, token, team, frozenset(accounts), self.wire, patience)

    def listener(self, *accounts: str) -> SlackListener:
        shared = SlackGlobal(slack_signing_secret=SECRET, slack_base_url=self.slack.base_url, slack_team_id=TEAM,
                             slack_bot_token=TOKEN)
        (made,) = listeners(shared, Hearing(accounts=frozenset(accounts)), self.wire)
        return made

    async def take(self, ask: Ask) -> Answer:
        self.asked.append(ask)
        return Answer(Outcome.done, "Done.", 1)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with opened() as made:
        yield made


@asynccontextmanager
async def opened() -> AsyncIterator[Scene]:
    async with FakeSlack(TOKEN) as slack, httpx.AsyncClient(trust_env=False, verify=False) as http:
        yield Scene(slack, http)


@pytest.mark.parametrize(("what", "why"), [({}, ""), *BAD])
async def test_an_account_is_judged_by_what_slack_knows_of_it(scene: Scene, what: dict[str, Any], why: str) -> None:
    scene.slack.users[USER] = member(USER, **{"team_id": TEAM, "team": TEAM, **what})
    assert await scene.users().objection(USER) == why
    assert scene.slack.methods() == ["users.info"]


@pytest.mark.parametrize(("user", "team", "why"), [
    ({"team_id": "T999", "enterprise_user": {"teams": ["T999", TEAM]}}, TEAM, ""),      # of the same organisation, and of both
    ({"team_id": "T999", "enterprise_user": {"teams": ["T999"]}}, TEAM, OTHER_WORKSPACE),
    ({"team_id": "T999"}, None, ""), ({}, TEAM, ""), ({"team_id": 5, "enterprise_user": [], "deleted": "no"}, TEAM, ""),
    ({"team_id": "T999", "enterprise_user": {"teams": TEAM}}, TEAM, OTHER_WORKSPACE),
])
def test_a_home_is_ours_where_ours_is_among_its_workspaces(user: dict[str, Any], team: str | None, why: str) -> None:
    assert judged(user, team) == why


@pytest.mark.parametrize(("what", "why"), BAD)
async def test_a_guest_that_the_press_does_not_give_away_asks_nothing_and_is_told_why(
        scene: Scene, what: dict[str, Any], why: str) -> None:
    scene.slack.users[USER] = member(USER, **{"team_id": TEAM, "team": TEAM, **what})
    listener = scene.listener()
    pressed = press("t", response_url=scene.slack.response_url)
    assert (await listener.receive(interactivity(pressed, NOW), scene.take)).status == 200
    said = await listener.receive(command(typed("link ABC"), NOW), scene.take)
    await listener.aclose()
    (told,) = scene.slack.told
    assert (visible(told), told["response_type"]) == (why, "ephemeral")
    assert why in said.body.decode()
    assert scene.asked == []


async def test_a_member_is_heard_and_asked_for_once_an_hour(scene: Scene) -> None:
    scene.slack.users[USER] = member(USER, TEAM)
    listener = scene.listener()
    for _ in range(3):
        await listener.receive(interactivity(press("t"), NOW), scene.take)
    assert (len(scene.asked), scene.slack.methods()) == (3, ["users.info"])
    scene.clock.advance(minutes=61)
    await listener.receive(interactivity(press("t"), NOW), scene.take)
    assert scene.slack.methods() == ["users.info"] * 2
    await listener.aclose()


async def test_whoever_the_configuration_names_is_not_asked_for(scene: Scene) -> None:
    scene.slack.users[USER] = member(USER, TEAM, is_restricted=True)
    listener = scene.listener(USER)
    await listener.receive(interactivity(press("t"), NOW), scene.take)
    assert (len(scene.asked), scene.slack.requests) == (1, [])
    await listener.aclose()


async def test_without_a_bot_token_nobody_is_asked_for(scene: Scene) -> None:
    assert await scene.users(token=None).objection(USER) == ""
    assert scene.slack.requests == []


async def test_a_missing_scope_is_logged_once_and_refuses_nobody(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.slack.scopes.remove("users:read")
    users = scene.users()
    with caplog.at_level(logging.WARNING):
        assert [await users.objection(f"U{number}") for number in range(20)] == [""] * 20
    assert [record.reason for record in caplog.records] == ["missing_scope (needs users:read)"]
    assert len(scene.slack.requests) == 1
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("says", [
    {"status": 429, "headers": {"Retry-After": "20"}}, {"status": 500}, {"status": 302, "headers": {"Location": "/elsewhere"}},
    {"drop": True}, {"body": "<html>"}, {"body": b"[" * 100_000}, {"body": {"ok": True}}, {"body": {"ok": True, "user": "U1"}},
    {"body": {"ok": False}}, {"body": {"ok": False, "error": "user_not_found"}}, {"body": {"ok": False, "error": TOKEN}},
])
async def test_what_slack_does_not_say_refuses_nobody(
        scene: Scene, caplog: pytest.LogCaptureFixture, says: dict[str, Any]) -> None:
    scene.slack.script(**says)
    users = scene.users()
    assert [await users.objection(USER) for _ in range(2)] == ["", ""]
    assert len(scene.slack.requests) == 1
    assert TOKEN not in caplog.text + repr(users)


async def test_after_a_while_slack_is_asked_again(scene: Scene) -> None:
    scene.slack.users[USER] = member(USER, TEAM, is_restricted=True)
    scene.slack.script(429, headers={"Retry-After": "40"})
    users, found = scene.users(), []
    for seconds in (0, 39, 2):
        scene.clock.advance(seconds=seconds)
        found.append(await users.objection(USER))
    assert found == ["", "", GUEST]


async def test_who_is_known_is_known_also_while_slack_is_silent(scene: Scene) -> None:
    scene.slack.users[USER] = member(USER, TEAM, is_restricted=True)
    users = scene.users()
    assert await users.objection(USER) == GUEST
    scene.slack.script(500)
    assert [await users.objection(account) for account in ("U2", USER)] == ["", GUEST]


async def test_slack_that_hangs_keeps_nobody_waiting_but_the_first(scene: Scene) -> None:
    scene.slack.script(hang=True)
    users = scene.users(patience=0.05)
    async with asyncio.timeout(5):
        assert [await users.objection(f"U{number}") for number in range(50)] == [""] * 50
    assert len(scene.slack.requests) == 1


async def test_no_more_than_so_many_are_remembered(scene: Scene) -> None:
    users = scene.users()
    names = [f"U{number}" for number in range(REMEMBERED + 1)]
    scene.slack.users = {name: member(name, TEAM) for name in names}
    for name in names:
        await users.objection(name)
    scene.slack.requests.clear()
    for name in names[-1], names[1], names[0]:
        await users.objection(name)
    assert len(scene.slack.requests) == 1
