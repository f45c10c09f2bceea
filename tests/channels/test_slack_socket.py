"""Socket Mode against a real web socket: acknowledged, heard, opened again whatever happens, and nothing secret in the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from alerthub.channels.base import Wire
from alerthub.channels.slack import SlackGlobal
from alerthub.channels.slack_answers import SlackListener
from alerthub.channels.slack_socket import LONGEST_WAIT, Sockets
from alerthub.domain.command import Answer, Outcome
from tests.channels.test_slack_answers import Ear
from tests.kit.clock import FakeClock
from tests.kit.providers.http import FakeProvider
from tests.kit.providers.slack import APP_TOKEN, FakeSlack, visible
from tests.kit.providers.slack_people import TEAM, press, typed
from tests.kit.providers.slack_socket import FakeSocketMode

pytestmark = pytest.mark.anyio


class ScriptedClock(FakeClock):
    """Tells how long it was asked to wait, and lets others run meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await super().sleep(seconds)
        await asyncio.sleep(0)


class Scene:
    """A hub that listens by Socket Mode."""

    def __init__(self, slack: FakeSlack, sockets: FakeSocketMode, listener: SlackListener, clock: ScriptedClock) -> None:
        self.slack, self.sockets, self.listener, self.clock, self.ear = slack, sockets, listener, clock, Ear()

    def press(self, token: str = "t", **overrides: Any) -> dict[str, Any]:
        return press(token, response_url=self.slack.response_url, **overrides)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        listening = asyncio.get_running_loop().create_task(self.listener.listen(self.ear.take))
        try:
            await self.sockets.connected(1)
            yield
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


@asynccontextmanager
async def opened(patience: float = 5.0) -> AsyncIterator[Scene]:
    clock = ScriptedClock()
    async with FakeSlack() as slack, FakeSocketMode() as sockets, httpx.AsyncClient(trust_env=False) as http:
        slack.socket_url = sockets.url
        shared = SlackGlobal(slack_app_token=APP_TOKEN, slack_base_url=slack.base_url, slack_team_id=TEAM)
        listener = SlackListener(shared, Wire(http, clock), patience)
        yield Scene(slack, sockets, listener, clock)
        await listener.aclose()


@pytest.fixture
async def scene():
    async with opened() as made:
        yield made


async def test_an_envelope_is_acknowledged_and_reaches_the_hub(scene):
    async with scene.listening():
        envelope = await scene.sockets.send("interactive", scene.press())
        assert await scene.sockets.acked(envelope) == {"envelope_id": envelope}
        assert [(ask.token, ask.by.id) for ask in scene.ear.asked] == [("t", "U012AB3CD")]


async def test_the_app_token_goes_into_the_header_alone(scene):
    async with scene.listening():
        (request,) = scene.slack.requests
        assert request.headers["authorization"] == f"Bearer {APP_TOKEN}"
        assert APP_TOKEN not in request.path + request.text()


async def test_a_command_is_answered_in_the_acknowledgement(scene):
    scene.ear.answer = Answer(Outcome.told, "<b>nothing</b> is open")
    async with scene.listening():
        envelope = await scene.sockets.send("slash_commands", typed("list"), accepts_response_payload=True)
        said = (await scene.sockets.acked(envelope))["payload"]
        assert (said["response_type"], visible(said)) == ("ephemeral", "<b>nothing</b> is open")


async def test_a_refusal_is_told_to_the_person(scene):
    scene.ear.answer = Answer(Outcome.refused, "You are a viewer.")
    async with scene.listening():
        await scene.sockets.acked(await scene.sockets.send("interactive", scene.press()))
        await scene.listener.aclose()
        assert [said["text"] for said in scene.slack.told] == ["You are a viewer."]


async def test_a_guest_asks_nothing_here_either(scene):
    async with scene.listening():
        await scene.sockets.acked(await scene.sockets.send("interactive", scene.press(user={"team_id": "T999"})))
        await scene.listener.aclose()
        assert (scene.ear.asked, len(scene.slack.told)) == ([], 1)


async def test_a_slow_hub_delays_no_acknowledgement():
    async with opened(patience=0) as scene, scene.listening():
        scene.ear.open.clear()
        first = await scene.sockets.send("interactive", scene.press())
        second = await scene.sockets.send("slash_commands", typed("list"), accepts_response_payload=True)
        assert await scene.sockets.acked(first) == {"envelope_id": first}
        assert await scene.sockets.acked(second) == {"envelope_id": second}
        assert len(scene.ear.asked) == 2
        scene.ear.open.set()


@pytest.mark.parametrize(("kind", "payload"), [
    ("events_api", {"event": {}}), ("interactive", {"type": "shortcut"}), ("interactive", [1]), ("interactive", None),
    ("interactive", {**press("t"), "user": None}), ("slash_commands", {}), ("unheard_of", "x"),
])
async def test_what_is_not_for_us_is_acknowledged_all_the_same(scene, kind, payload):
    async with scene.listening():
        envelope = await scene.sockets.send(kind, payload)
        assert await scene.sockets.acked(envelope) == {"envelope_id": envelope}
        assert scene.ear.asked == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "9" * 5_000, '{"type": 7}', '{"envelope_id": 7}', "\x00"])
async def test_nonsense_on_the_socket_is_passed_over(scene, text):
    async with scene.listening():
        await scene.sockets.send_raw(text)
        envelope = await scene.sockets.send("interactive", scene.press())
        await scene.sockets.acked(envelope)
        assert len(scene.sockets.connections) == 1


async def test_before_slack_ends_a_connection_the_next_is_open_and_the_last_answers_go_through_the_old(scene):
    async with scene.listening():
        scene.ear.open.clear()
        old = await scene.sockets.send("interactive", scene.press("old"))
        await scene.sockets.disconnect()
        await scene.sockets.connected(2)
        new = await scene.sockets.send("interactive", scene.press("new"))
        scene.ear.open.set()
        await scene.sockets.acked(old)
        await scene.sockets.acked(new)
        assert {ack["envelope_id"]: index for index, ack in scene.sockets.acks} == {old: 0, new: 1}
        assert [ask.token for ask in scene.ear.asked] == ["old", "new"]


async def test_a_connection_that_broke_is_opened_again_with_a_new_ticket(scene):
    async with scene.listening():
        await scene.sockets.connections[0].close()
        await scene.sockets.connected(2)
        await scene.sockets.acked(await scene.sockets.send("interactive", scene.press()))
        assert scene.slack.methods() == ["apps.connections.open"] * 2


async def test_a_message_too_big_to_be_slacks_ends_only_its_connection(scene):
    async with scene.listening():
        await scene.sockets.send_raw('"' + "x" * 2_000_000 + '"')
        await scene.sockets.connected(2)
        await scene.sockets.acked(await scene.sockets.send("interactive", scene.press()))


async def test_a_handshake_that_redirects_is_not_followed(scene, caplog):
    scene.slack.socket_url = f"{scene.slack.url.replace('http', 'ws')}/elsewhere"
    scene.slack.script(body={"ok": True, "url": scene.slack.socket_url})
    scene.slack.script(302, headers={"location": scene.sockets.url.replace("ws", "http")})
    scene.slack.script(body={"ok": True, "url": scene.sockets.url})
    async with scene.listening():
        assert scene.sockets.handshakes == 1
        assert len(scene.clock.waits) == 1
    assert "ticket-secret" not in caplog.text


async def test_a_refused_handshake_asks_for_a_new_ticket_each_time(scene, caplog):
    scene.sockets.refuse = 3
    async with scene.listening():
        assert scene.slack.methods() == ["apps.connections.open"] * 4
        assert scene.clock.waits == sorted(scene.clock.waits)
        assert len(scene.clock.waits) == 3
    assert {record.reason for record in caplog.records} == {"unavailable: the web socket was refused (HTTP 503)"}


@pytest.mark.parametrize("trouble", [
    {"status": 500}, {"status": 429, "headers": {"Retry-After": "7"}}, {"drop": True}, {"body": "not JSON"},
    {"body": {"ok": True}}, {"body": {"ok": True, "url": "http://127.0.0.1:1/?ticket=ticket-secret"}},
    {"body": {"ok": True, "url": "wss://127.0.0.1:1/?ticket=ticket-secret"}}, {"body": {"ok": True, "url": "wss://[ticket-secret"}},
    {"body": {"ok": False, "error": "invalid_auth"}}, {"status": 302, "headers": {"location": "http://127.0.0.1:1/ticket-secret"}},
])
async def test_whatever_slack_answers_it_is_asked_again_and_nothing_secret_is_logged(scene, trouble, caplog):
    caplog.set_level(logging.DEBUG)
    scene.slack.script(**trouble)
    async with scene.listening():
        assert len(scene.clock.waits) == 1
        assert scene.clock.waits[0] >= (7 if trouble.get("status") == 429 else 0.5)
    records = str([record.__dict__ for record in caplog.records if record.name.startswith("alerthub")])
    assert "slack.deaf" in records
    assert "ticket-secret" not in records + caplog.text
    assert APP_TOKEN not in records + caplog.text


async def test_when_slack_is_away_it_waits_longer_and_longer_up_to_a_minute(scene):
    scene.slack.script(500, times=30)
    async with scene.listening():
        assert len(scene.clock.waits) == 30
        assert scene.clock.waits[0] < 2
        assert LONGEST_WAIT / 4 <= max(scene.clock.waits) <= LONGEST_WAIT


async def test_the_proxy_of_the_environment_is_not_used(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with opened() as scene, scene.listening():
        await scene.sockets.acked(await scene.sockets.send("interactive", scene.press()))


async def test_the_socket_is_encrypted_where_the_api_is():
    sockets = Sockets("https://slack.com/api/", APP_TOKEN, FakeClock(), Ear().take)
    assert sockets._checked("wss://wss-primary.slack.com/link/") == "wss://wss-primary.slack.com/link/"
    with pytest.raises(Exception, match="no address"):
        sockets._checked("ws://wss-primary.slack.com/link/")
    assert APP_TOKEN not in repr(sockets)


async def test_without_an_app_token_there_is_nothing_to_listen_to():
    async with FakeProvider() as provider, httpx.AsyncClient(trust_env=False) as http:
        shared = SlackGlobal(slack_signing_secret="s", slack_base_url=provider.url)
        await SlackListener(shared, Wire(http, FakeClock())).listen(Ear().take)
        assert provider.requests == []
