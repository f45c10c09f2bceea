"""Slack's listener over HTTP: what reaches the hub, when Slack is answered, and what the person alone is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from alerthub.channels import load_listeners
from alerthub.channels.base import Forged, Hearing, Inbound, Reply, Unreadable, Wire
from alerthub.channels.slack import SlackGlobal
from alerthub.channels.slack_answers import SlackListener, listeners
from alerthub.channels.slack_inbound import GUEST, OTHER_WORKSPACE, Heard
from alerthub.channels.slack_said import ending_of, spoken
from alerthub.domain.command import Answer, Ask, Outcome, Press, Typed
from tests.channels.contract import FixedClock
from tests.kit.messages import HOSTILE, NOW
from tests.kit.providers.slack import CHANNEL, FakeSlack, parsed_as_markup, problems, tokens, visible
from tests.kit.providers.slack_people import SECRET, TEAM, command, interaction, interactivity, press, signed, typed

pytestmark = pytest.mark.anyio
DONE = Answer(Outcome.done, "Acknowledged.", 17)
NOT_DONE = [outcome for outcome in Outcome if outcome is not Outcome.done]
PRIVATE = {"message_ts": "1763726499.000001", "channel_id": CHANNEL, "is_ephemeral": True}


class Ear:
    """The hub, as a listener knows it: keeps what was asked, says `answer`, once `open` is set."""

    def __init__(self, answer: Answer = DONE) -> None:
        self.asked: list[Ask] = []
        self.answer = answer
        self.open = asyncio.Event()
        self.open.set()

    async def take(self, ask: Ask) -> Answer:
        self.asked.append(ask)
        await self.open.wait()
        return self.answer


class Scene:
    """A listener in front of an ear and a fake Slack."""

    def __init__(self, slack: FakeSlack, listener: SlackListener) -> None:
        self.slack, self.listener, self.ear = slack, listener, Ear()

    async def press(self, payload: dict[str, Any] | None = None, **overrides: Any) -> Reply:
        overrides = {"response_url": self.slack.response_url, **overrides}
        return await self.listener.receive(interactivity({**(payload or press("t")), **overrides}, NOW), self.ear.take)

    async def type(self, text: str, **overrides: Any) -> Reply:
        fields = typed(text, **{"response_url": self.slack.response_url, **overrides})
        return await self.listener.receive(command(fields, NOW), self.ear.take)

    async def told(self) -> list[dict[str, Any]]:
        """What the person was told, once everything on its way has arrived."""
        await self.listener.aclose()
        return self.slack.told


@pytest.fixture
async def http():
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
async def scene(http):
    async with FakeSlack() as slack:
        made = Scene(slack, listener_for(slack, http))
        yield made
        await made.listener.aclose()


def listener_for(slack: FakeSlack, http: httpx.AsyncClient, patience: float = 5.0, grace: float = 5.0,
                 **settings: Any) -> SlackListener:
    shared = SlackGlobal(**{"slack_signing_secret": SECRET, "slack_base_url": slack.base_url, "slack_team_id": TEAM, **settings})
    return SlackListener(shared, Wire(http, FixedClock()), patience, grace)


@pytest.mark.parametrize(("settings", "count"), [
    ({}, 0), ({"slack_bot_token": "xoxb-1"}, 0), ({"slack_signing_secret": "s"}, 1), ({"slack_app_token": "xapp-1"}, 1),
    ({"slack_signing_secret": "s", "slack_app_token": "xapp-1"}, 1),
])
async def test_one_listener_where_there_is_something_to_hear_with(http, settings, count):
    made = load_listeners("slack")(SlackGlobal(**settings), Hearing(), Wire(http, FixedClock()))
    assert [(listener.kind, listener.name, listener.is_exclusive) for listener in made] == [("slack", "slack", False)] * count


async def test_a_listener_shows_no_secret(http):
    (listener,) = listeners(SlackGlobal(slack_signing_secret="canary-1", slack_app_token="canary-2"), Hearing(),
                            Wire(http, FixedClock()))
    assert "canary" not in repr(listener) + listener.name


async def test_a_press_reaches_the_hub_and_slack_gets_an_empty_200(scene):
    assert await scene.press() == Reply(200, b"")
    (ask,) = scene.ear.asked
    assert isinstance(ask, Press)
    assert (ask.token, ask.by.key, ask.place) == ("t", "slack:U012AB3CD", CHANNEL)


async def test_a_press_that_was_done_is_told_by_the_live_message_alone(scene):
    await scene.press()
    assert await scene.told() == []


@pytest.mark.parametrize("outcome", NOT_DONE)
async def test_any_other_end_of_a_press_is_told_to_that_person_only(scene, outcome):
    scene.ear.answer = Answer(outcome, "It was so before, by mehmet.", 17)
    await scene.press()
    (said,) = await scene.told()
    assert (said["response_type"], said["replace_original"]) == ("ephemeral", False)
    assert visible(said) == said["text"] == "It was so before, by mehmet."


async def test_a_held_resolve_can_be_insisted_on(scene):
    scene.ear.answer = Answer(Outcome.held, "It still fires. Resolve it anyway?", 17, force="rf.1.1..mac")
    await scene.press()
    (said,) = await scene.told()
    assert tokens(said) == {"Resolve anyway": "rf.1.1..mac"}
    (button,) = said["blocks"][-1]["elements"]
    assert (button["style"], button["confirm"]["title"]["text"]) == ("danger", "Resolve #17 anyway?")
    assert problems(said["blocks"]) == []


async def test_the_question_goes_away_once_it_was_answered(scene):
    await scene.press(container=PRIVATE)
    assert await scene.told() == [{"delete_original": True}]


async def test_a_refusal_takes_the_place_of_the_question(scene):
    scene.ear.answer = Answer(Outcome.refused, "You are a viewer.")
    await scene.press(container=PRIVATE)
    (said,) = await scene.told()
    assert (said["replace_original"], said["text"]) == (True, "You are a viewer.")


async def test_a_command_is_answered_in_the_response(scene):
    scene.ear.answer = Answer(Outcome.told, "#17 critical: <!channel>\n#18 warning: disk")
    reply = await scene.type("list")
    said = json.loads(reply.body)
    assert (reply.status, reply.media_type, said["response_type"]) == (200, "application/json", "ephemeral")
    assert said["text"] == "#17 critical: &lt;!channel&gt;\n#18 warning: disk"
    assert visible(said) == scene.ear.answer.text
    assert [ask.words for ask in scene.ear.asked if isinstance(ask, Typed)] == ["list"]
    assert await scene.told() == []


async def test_a_held_command_can_be_insisted_on_too(scene):
    scene.ear.answer = Answer(Outcome.held, "It still fires.", 17, force="rf.1.1..mac")
    said = json.loads((await scene.type("resolve 17")).body)
    assert tokens(said) == {"Resolve anyway": "rf.1.1..mac"}


@pytest.mark.parametrize(("user", "why"), [({"team_id": "T999"}, OTHER_WORKSPACE), ({"is_restricted": True}, GUEST)])
async def test_a_guest_asks_nothing_and_is_told_why(scene, user, why):
    assert await scene.press(press("t", user=user)) == Reply()
    (said,) = await scene.told()
    assert (visible(said), said["response_type"], scene.ear.asked) == (why, "ephemeral", [])


async def test_a_strangers_command_is_refused_in_the_response(scene):
    said = json.loads((await scene.type("ack 17", team_id="T999")).body)
    assert (visible(said), scene.ear.asked) == (OTHER_WORKSPACE, [])


@pytest.mark.parametrize("payload", [{"type": "view_submission"}, interaction({"type": "button", "action_id": "link_0"})])
async def test_other_interactions_are_answered_200_and_do_nothing(scene, payload):
    assert await scene.press(payload) == Reply()
    assert (scene.ear.asked, await scene.told()) == ([], [])


async def test_slacks_check_of_the_certificate_is_answered(scene):
    assert await scene.listener.receive(command({"ssl_check": "1"}, NOW), scene.ear.take) == Reply()


async def test_a_path_that_slack_does_not_know_is_not_found(scene):
    assert (await scene.listener.receive(signed(b"", NOW, rest="/other"), scene.ear.take)).status == 404


@pytest.mark.parametrize("inbound", [
    signed(b"payload={}", NOW, secret="wrong"), signed(b"payload={}", NOW, stamp="1"), Inbound("", {}, b"", NOW),
    Inbound("/command", {"x-slack-signature": "é", "x-slack-request-timestamp": "٣"}, b"\xff", NOW), Inbound("/x", {}, b"", NOW),
])
async def test_what_is_not_slacks_is_forged_on_every_path(scene, inbound):
    with pytest.raises(Forged) as caught:
        await scene.listener.receive(inbound, scene.ear.take)
    assert (caught.value.status, scene.ear.asked) == (401, [])
    assert SECRET not in str(caught.value)


async def test_without_a_signing_secret_nothing_can_be_proved(http):
    async with FakeSlack() as slack:
        listener = listener_for(slack, http, slack_signing_secret=None, slack_app_token="xapp-1")
        with pytest.raises(Forged):
            await listener.receive(interactivity(press("t"), NOW), Ear().take)


@pytest.mark.parametrize("rest", ["", "/command"])
async def test_genuine_nonsense_is_unreadable(scene, rest):
    with pytest.raises(Unreadable):
        await scene.listener.receive(signed(b"payload=%ff&\xff", NOW, rest=rest), scene.ear.take)


async def test_a_slow_hub_keeps_slack_waiting_no_longer_than_its_patience(http):
    async with FakeSlack() as slack:
        scene = Scene(slack, listener_for(slack, http, patience=0))
        scene.ear.open.clear()
        scene.ear.answer = Answer(Outcome.refused, "Too late.")
        assert await scene.press() == Reply()
        assert len(scene.ear.asked) == 1, "it goes on"
        scene.ear.open.set()
        assert [said["text"] for said in await scene.told()] == ["Too late."]


async def test_a_slow_commands_answer_comes_later(http):
    async with FakeSlack() as slack:
        scene = Scene(slack, listener_for(slack, http, patience=0))
        scene.ear.open.clear()
        assert await scene.type("ack 17") == Reply()
        scene.ear.open.set()
        assert [said["text"] for said in await scene.told()] == ["Acknowledged."]


async def test_slack_is_answered_before_the_person_is_told(http):
    async with FakeSlack() as slack:
        scene = Scene(slack, listener_for(slack, http, grace=0))
        scene.ear.answer = Answer(Outcome.refused, "You are a viewer.")
        slack.script(hang=True)
        assert await scene.press() == Reply()
        await slack.expect()
        assert await scene.told() == []


BAD_URLS = [
    "", None, 7, "https://evil.example/actions/x", "http://hooks.slack.com/actions/x", "https://hooks.slack.com.evil.example/x",
    "https://user:pw@hooks.slack.com/x", "https://hooks.slack.com@evil.example/x", "https://evil.example\\@hooks.slack.com/x",
    "https://hooks.slack.com:8443/x", "file:///etc/passwd", "https://[", "//hooks.slack.com/x", "http://127.0.0.1:1/x",
    "https://hooks.slack.com\x00.evil/x", "https://" + "a" * 5_000,
]


@pytest.mark.parametrize("url", BAD_URLS)
async def test_a_response_url_that_leads_elsewhere_is_never_called(url):
    assert await hosts_called(url) == []


@pytest.mark.parametrize("url", ["https://hooks.slack.com/actions/T1/2/x", "https://hooks.slack.com:443/commands/T1/2/x"])
async def test_a_response_url_of_slack_is_called(url):
    assert await hosts_called(url) == ["hooks.slack.com"]


async def hosts_called(url: Any) -> list[str]:
    """Where a refusal goes, when Slack names this address."""
    called: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        called.append(request.url.host)
        return httpx.Response(200, stream=httpx.ByteStream(b"ok"))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        scene = Scene(FakeSlack(), listener_for(FakeSlack(), http, slack_base_url="https://slack.com/api/"))
        scene.ear.answer = Answer(Outcome.refused, "You are a viewer.")
        assert await scene.press(response_url=url) == Reply()
        await scene.listener.aclose()
    return called


@pytest.mark.parametrize("trouble", [
    {"status": 500}, {"status": 302, "headers": {"location": "http://127.0.0.1:1/"}}, {"drop": True},
])
async def test_a_response_url_in_trouble_is_logged_without_its_address(scene, trouble, caplog):
    scene.slack.script(**trouble)
    scene.ear.answer = Answer(Outcome.refused, "You are a viewer.")
    assert await scene.press() == Reply()
    assert await scene.told() == []
    assert [record.event for record in caplog.records if record.levelname == "WARNING"] == ["slack.untold"]
    assert "response-secret" not in caplog.text + str([record.__dict__ for record in caplog.records if record.name != "httpx"])


@pytest.mark.parametrize("title", [*HOSTILE, "", "&" * 9_000, "🔥<&>" * 5_000, "\x01" * 12_000, "line\n" * 4_000])
async def test_whatever_a_title_holds_the_person_reads_it_literally(title):
    for said in (spoken(Answer(Outcome.held, title, 10**15, force="t" * 64)), ending_of(Answer(Outcome.already, title), Heard())):
        assert problems(said["blocks"]) == []
        assert 1 <= len(said["text"]) <= 4_000
        assert not any(sign in text for text in parsed_as_markup(said) for sign in "<>")
        assert visible(said).startswith(title[:500] or "-")


async def test_what_never_ends_is_given_up_when_the_hub_stops(http):
    async with FakeSlack() as slack:
        scene = Scene(slack, listener_for(slack, http, patience=0, grace=0))
        scene.ear.open.clear()
        await scene.press()
        await scene.listener.aclose()
        assert slack.told == []
