"""People answer, with a real hub between real connections: what one of them does in one place is shown in all others, and
nothing that is forged, stale, repeated or nobody's changes anything."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.kit.binaries import eventually
from tests.kit.hub_people import AYSE, CHAT, CLOCK, SHOWN_WITHIN, Scene, people_and_hub
from tests.kit.providers import pagerduty
from tests.kit.providers.slack import CHANNEL, visible
from tests.kit.providers.slack_people import command, form_of, interactivity, press, signed, typed

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

HAS_IT = "ACKNOWLEDGED by ayse"


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Whatever the story: what the hub sent was legal, nothing was lost, and nothing failed unseen."""
    async with people_and_hub() as scene:
        yield scene
        await scene.quiet()
        assert scene.places.objections() == []
        assert {one["state"] for one in (await scene.json("deliveries?limit=200"))["items"]} == {"sent"}
        assert scene.hub.metric("alerthub_errors_total") == 0
        assert scene.hub.metric("alerthub_dead_letters_total") == 0
        assert "Traceback" not in scene.hub.logs()


async def shown(scene: Scene, name: str, *words: str) -> None:
    await eventually(lambda: scene.places.shows(name, *words), SHOWN_WITHIN, f"{name}: {words} in Slack and in Telegram")


async def history(scene: Scene, name: str, kind: str) -> list[str]:
    """The texts of the events of this kind."""
    return [event["text"] for event in (await scene.incident(name))["events"] if event["kind"] == kind]


class TestOneAnswerIsShownEverywhere:
    async def test_a_press_in_slack(self, scene: Scene) -> None:
        await scene.fires("DiskFull")
        places = scene.places
        before = len(places.slack.requests)
        answer = await scene.press(places.button("DiskFull", "Acknowledge"))
        assert (answer.status_code, answer.content) == (200, b"")
        await shown(scene, "DiskFull", HAS_IT)
        await eventually(lambda: places.paged("DiskFull") == ["trigger", "acknowledge"], SHOWN_WITHIN, "PagerDuty is told")
        assert places.slack.methods()[before] == "chat.update"      # first of all the message that was pressed
        assert places.button("DiskFull", "Give back")
        await scene.quiet()
        assert [line.text for line in places.slack.thread(places.in_slack("DiskFull").ts)] == ["Acknowledged by ayse"]
        assert await history(scene, "DiskFull", "acknowledged") == ["Acknowledged by ayse"]
        assert places.slack.told == []

    async def test_an_acknowledgement_in_pagerduty_is_not_told_back_there(self, scene: Scene) -> None:
        await scene.fires("DiskFull")
        assert (await scene.in_pagerduty("incident.acknowledged", "DiskFull")).status_code == 200
        await shown(scene, "DiskFull", HAS_IT)
        await scene.quiet()
        assert scene.places.paged("DiskFull") == ["trigger"]

    async def test_what_pagerduty_repeats_of_our_own_words_changes_nothing(self, scene: Scene) -> None:
        await scene.fires("DiskFull")
        await scene.press(scene.places.button("DiskFull", "Acknowledge"))
        await eventually(lambda: scene.places.paged("DiskFull") == ["trigger", "acknowledge"], SHOWN_WITHIN, "PagerDuty is told")
        told = await scene.in_pagerduty("incident.acknowledged", "DiskFull", agent=pagerduty.OUR_INTEGRATION)
        assert (told.status_code, told.text) == (200, "already")
        await scene.quiet()
        assert scene.places.paged("DiskFull") == ["trigger", "acknowledge"]
        assert len(await history(scene, "DiskFull", "acknowledged")) == 1

    async def test_a_press_in_telegram_that_the_hub_asks_for(self, scene: Scene) -> None:
        await scene.fires("DiskFull")
        places = scene.places
        update = await places.telegram.press(places.key("DiskFull", "Acknowledge"), by=AYSE, chat=CHAT,
                                             message=places.in_telegram("DiskFull").id)
        await shown(scene, "DiskFull", HAS_IT)
        await eventually(lambda: places.paged("DiskFull") == ["trigger", "acknowledge"], SHOWN_WITHIN, "PagerDuty is told")
        query = update["callback_query"]["id"]
        await eventually(lambda: query in places.telegram.toasts, SHOWN_WITHIN, "the button stops turning")
        assert places.telegram.toasts[query] == ("You have #1 now.", False)
        await eventually(lambda: not places.telegram.updates, SHOWN_WITHIN, "the press is confirmed")

    async def test_a_mailed_link_shows_a_page_and_acts_on_a_persons_post_only(self, scene: Scene) -> None:
        await scene.fires("DiskFull")
        link = scene.places.link("DiskFull", "Acknowledge")
        for _ in range(3):      # scanners, in their way
            page = await scene.http.get(link)
            assert (page.status_code, page.headers["referrer-policy"]) == (200, "no-referrer")
            assert f'method="post" action="{link}"' in page.text
            assert "<script" not in page.text
        assert (await scene.http.head(link)).status_code in (200, 405)
        assert (await scene.incident("DiskFull"))["status"] == "triggered"
        done = await scene.http.post(link)
        assert (done.status_code, "You have #1 now." in done.text) == (200, True)
        await shown(scene, "DiskFull", HAS_IT)
        await eventually(lambda: scene.places.paged("DiskFull") == ["trigger", "acknowledge"], SHOWN_WITHIN, "PagerDuty is told")

    async def test_a_typed_line(self, scene: Scene) -> None:
        number = await scene.fires("DiskFull")
        assert await scene.types("list") == f"1 open:\n#{number} critical, nobody has it: DiskFull"
        assert await scene.types(f"ack {number}") == f"You have #{number} now."
        await shown(scene, "DiskFull", HAS_IT)
        assert "ayse has it since" in await scene.types("list")
        assert (await scene.types(f"ack {number}")).startswith(f"You have #{number} since")
        assert (await scene.types("ack 4711")).startswith("There is no incident #4711")

    async def test_resolving_is_held_while_the_source_fires_and_can_be_insisted_on(self, scene: Scene) -> None:
        await scene.fires("DiskFull")
        places = scene.places
        await scene.press(places.button("DiskFull", "Resolve"))
        await eventually(lambda: places.slack.told, SHOWN_WITHIN, "a question for that person alone")
        asked = places.slack.told[0]
        assert (asked["response_type"], "1 alert still fires" in visible(asked)) == ("ephemeral", True)
        assert (await scene.incident("DiskFull"))["status"] == "triggered"
        force = next(element["value"] for block in asked["blocks"] if block["type"] == "actions" for element in block["elements"])
        await scene.press(force)
        await shown(scene, "DiskFull", "RESOLVED")
        await eventually(lambda: places.paged("DiskFull")[-1] == "resolve", SHOWN_WITHIN, "PagerDuty is told")
        assert await history(scene, "DiskFull", "resolved") == ["Resolved by ayse, although 1 alert still fires"]


class TestOneEffect:
    async def test_of_a_click_that_is_delivered_many_times_at_once(self, scene: Scene) -> None:
        await scene.fires("DiskFull")
        click = scene.pressing(scene.places.button("DiskFull", "Acknowledge"))
        answers = await asyncio.gather(*(scene.deliver(interactivity(click, CLOCK.now())) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(await history(scene, "DiskFull", "acknowledged")) == 1

    async def test_of_clicks_in_every_place_at_once(self, scene: Scene) -> None:
        await scene.fires("DiskFull")
        places = scene.places
        await asyncio.gather(
            scene.press(places.button("DiskFull", "Acknowledge")), scene.press(places.button("DiskFull", "Acknowledge")),
            scene.in_pagerduty("incident.acknowledged", "DiskFull"), scene.http.post(places.link("DiskFull", "Acknowledge")),
            scene.types("ack 1"), places.telegram.press(places.key("DiskFull", "Acknowledge"), by=AYSE, chat=CHAT))
        await eventually(lambda: places.telegram.toasts, SHOWN_WITHIN, "also the press in Telegram is answered")
        await shown(scene, "DiskFull", HAS_IT)
        await scene.quiet()
        assert len(await history(scene, "DiskFull", "acknowledged")) == 1
        assert places.paged("DiskFull").count("acknowledge") <= 1


Forgery = Callable[[Scene, str], tuple[str, bytes, dict[str, str]]]


def slack(make: Callable[[dict[str, Any]], Any]) -> Forgery:
    """A press whose signature is not right in this way."""
    def forged(scene: Scene, token: str) -> tuple[str, bytes, dict[str, str]]:
        inbound = make(press(token))
        return f"slack{inbound.rest}", inbound.body, dict(inbound.headers)
    return forged


def later(seconds: int) -> Any:
    return CLOCK.now() + timedelta(seconds=seconds)


def unsigned(click: dict[str, Any]) -> Any:
    inbound = interactivity(click, CLOCK.now())
    return type(inbound)(inbound.rest, {"content-type": inbound.headers["content-type"]}, inbound.body, inbound.now)


def changed(click: dict[str, Any]) -> Any:
    inbound = interactivity(click, CLOCK.now())
    return type(inbound)(inbound.rest, inbound.headers, inbound.body + b"&more=1", inbound.now)


def telegrams(scene: Scene, token: str) -> tuple[str, bytes, dict[str, str]]:
    """By the door of the webhook, of which this hub has told Telegram nothing."""
    return "telegram", b'{"update_id": 1}', {"x-telegram-bot-api-secret-token": "guessed"}


def paged(sign: Callable[[bytes], dict[str, str]]) -> Forgery:
    def forged(scene: Scene, token: str) -> tuple[str, bytes, dict[str, str]]:
        body = pagerduty.webhook("incident.acknowledged", scene.places.pagerduty_key("DiskFull"))
        return "pagerduty", body, sign(body)
    return forged


def without_version(body: bytes) -> dict[str, str]:
    mac = hmac.new(pagerduty.WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest()
    return {"x-pagerduty-signature": mac}


FORGED: dict[str, Forgery] = {
    "slack: another secret": slack(lambda click: interactivity(click, CLOCK.now(), secret="guessed")),
    "slack: six minutes old": slack(lambda click: interactivity(click, later(-360))),
    "slack: of the future": slack(lambda click: interactivity(click, later(360))),
    "slack: a time that is none": slack(lambda click: interactivity(click, CLOCK.now(), stamp="now")),
    "slack: a time of many digits": slack(lambda click: interactivity(click, CLOCK.now(), stamp="9" * 400)),
    "slack: no signature": slack(unsigned),
    "slack: a changed body": slack(changed),
    "slack: a command of another secret": slack(lambda click: command(typed("ack 1"), CLOCK.now(), secret="guessed")),
    "telegram: a guessed secret": telegrams,
    "pagerduty: no signature": paged(lambda body: {}),
    "pagerduty: another secret": paged(lambda body: pagerduty.signed(body, "guessed-guessed-guessed")),
    "pagerduty: of another body": paged(lambda body: pagerduty.signed(body + b" ")),
    "pagerduty: without its version": paged(without_version),
    "pagerduty: not ASCII": paged(lambda body: {"x-pagerduty-signature": "v1=\u00e9"}),
}
UNREADABLE = {
    "slack": lambda body: signed(body, CLOCK.now()).headers,
    "pagerduty": lambda body: pagerduty.signed(body),
}
NONSENSE = (b"", b"{", b"[]", b"null", b"\xff\xfe", b"payload=%7B", b"payload=[]", b'payload={"type":"block_actions"}',
            b"[" * 5000, b'{"event": {"data": []}}', form_of({"type": "block_actions", "actions": [{"value": 3}]}),
            form_of(press("token", user={"id": None})), urlencode({"payload": "[" * 5000}).encode())


class TestNothingChanges:
    async def test_by_what_is_forged_unreadable_or_nobodys(self, scene: Scene) -> None:
        """One hub for all of it: each is refused in its own way, and at the end the incident is as it was."""
        await scene.fires("DiskFull")
        token, before = scene.places.button("DiskFull", "Acknowledge"), await scene.incident("DiskFull")
        for name, forgery in FORGED.items():
            kind, body, headers = forgery(scene, token)
            answer = await scene.post_reply(kind, body, headers)
            assert answer.status_code in (401, 403), (name, answer.status_code, answer.text)
            assert token not in answer.text
        for kind, sign in UNREADABLE.items():
            for body in NONSENSE:
                answer = await scene.post_reply(kind, body, dict(sign(body)))
                assert answer.status_code in (200, 400), (kind, body[:40], answer.status_code)
        await check_links(scene)
        assert await scene.incident("DiskFull") == before

    async def test_by_who_may_not_and_each_is_told_why_alone(self, scene: Scene) -> None:
        await scene.fires("DiskFull")
        token, before = scene.places.button("DiskFull", "Acknowledge"), await scene.incident("DiskFull")
        strangers = {
            "whose account this is": {"user": {"id": "U0NOBODY"}},
            "Guests": {"user": {"id": "U0NOBODY", "is_restricted": True}},
            "another workspace": {"user": {"team_id": "T0OTHER"}},
            "Bots": {"user": {"is_bot": True}},
            "another chat": {"channel": {"id": "C0OTHER", "name": "other"}},
        }
        for count, (words, overrides) in enumerate(strangers.items(), 1):
            assert (await scene.press(token, **overrides)).status_code == 200
            await eventually(lambda count=count: len(scene.places.slack.told) == count, SHOWN_WITHIN, words)
            told = scene.places.slack.told[-1]
            assert (told["response_type"], words in visible(told)) == ("ephemeral", True), visible(told)
        await scene.press("forged-token")
        await eventually(lambda: len(scene.places.slack.told) == len(strangers) + 1, SHOWN_WITHIN, "a refusal")
        foreign = await scene.places.telegram.press(scene.places.key("DiskFull", "Acknowledge"), by=AYSE, chat=-100999)
        nobody = await scene.places.telegram.press(scene.places.key("DiskFull", "Acknowledge"), by=666, chat=CHAT)
        toasts = scene.places.telegram.toasts
        for update, words in ((foreign, "not one of the hub's"), (nobody, "whose account this is")):
            query = update["callback_query"]["id"]
            await eventually(lambda query=query: query in toasts, SHOWN_WITHIN, words)
            assert (words in toasts[query][0], toasts[query][1]) == (True, True)
        assert await scene.incident("DiskFull") == before
        assert scene.places.in_slack("DiskFull").sent.get("channel") in ("#alerts", CHANNEL)


async def check_links(scene: Scene) -> None:
    """Cut, changed, posted by another site."""
    link = scene.places.link("DiskFull", "Acknowledge")
    for broken in (link[:-1], link + "x", "/respond/x", f"/respond/{'A' * 300}"):
        for answer in (await scene.http.get(broken), await scene.http.post(broken)):
            assert answer.status_code in (403, 404), (broken, answer.status_code)
    foreign: httpx.Response = await scene.http.post(link, headers={"origin": "https://evil.example"})
    assert foreign.status_code == 403
