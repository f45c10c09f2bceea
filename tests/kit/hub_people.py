"""A hub as a process among all the places where people answer, and the people there: what they see, press, type and open."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from alerthub.channels.base import Inbound
from alerthub.clock import SystemClock
from tests.kit.binaries import LOCAL, eventually
from tests.kit.hub_process import HubProcess
from tests.kit.providers import pagerduty, slack_people
from tests.kit.providers.http import Answer
from tests.kit.providers.pagerduty import FakePagerDuty
from tests.kit.providers.slack import FakeSlack, Posted, problems, tokens
from tests.kit.providers.smtp import FakeSmtp
from tests.kit.providers.telegram import FakeTelegram, Sent, checked, keyboard_of
from tests.kit.webhooks import alert, webhook

CLOCK = SystemClock()
SHOWN_WITHIN = 10.0     # seconds: issue 3 asks for 2, and two busy cores are slow
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
BOT = "123456789:AAE-bot-token-of-the-answers"
CHAT = 777              # private, because to a group the hub speaks every 6 s only
AYSE = 5                # in Telegram; in Slack and PagerDuty she is the one of the kit
CONFIG = """
server: {{listen: "${{HUB_LISTEN}}"}}
database: {{url: "{database}"}}
sources: [{{name: alertmanager, type: alertmanager}}]
global:
  slack_bot_token: {slack.token}
  slack_base_url: "{slack.base_url}"
  {slack_hears}
  telegram_bot_token: "{telegram.token}"
  telegram_api_url: "{telegram.url}"
  pagerduty_url: "{pagerduty.enqueue_url}"
  pagerduty_webhook_secret: "{pagerduty_secret}"
  smtp_smarthost: "{post.smarthost}"
  smtp_tls_ca_file: "{post.ca_file}"
  smtp_from: hub@example.com
people:
  - {{name: ayse, role: responder, slack: {slack_user}, telegram: {telegram_user}, email: ayse@example.com, pagerduty: PLH1HKV}}
receivers:
  - name: everywhere
    slack_configs: [{{channel: "#alerts"}}]
    telegram_configs: [{{chat_id: {chat}}}]
    email_configs: [{{to: ayse@example.com}}]
    pagerduty_configs: [{{routing_key: "{pagerduty.routing_key}"}}]
route: {{receiver: everywhere, group_by: [alertname]}}
"""
BY_HTTP = f"slack_signing_secret: {slack_people.SECRET}"
BY_SOCKET = "slack_app_token: xapp-test"


@dataclass
class Places:
    """Where people are. All run in the loop of the test."""

    slack: FakeSlack = field(default_factory=FakeSlack)
    telegram: FakeTelegram = field(default_factory=lambda: FakeTelegram(BOT))
    post: FakeSmtp = field(default_factory=FakeSmtp)
    pagerduty: FakePagerDuty = field(default_factory=lambda: FakePagerDuty(ROUTING_KEY))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for place in (self.slack, self.telegram, self.post, self.pagerduty):
                await stack.enter_async_context(place)
            yield

    def config(self, database: str = "sqlite:///hub.db", slack_hears: str = BY_HTTP) -> str:
        return CONFIG.format(**vars(self), database=database, slack_hears=slack_hears, chat=CHAT, slack_user=slack_people.USER,
                             telegram_user=AYSE, pagerduty_secret=pagerduty.WEBHOOK_SECRET)

    # --- what people see --------------------------------------------------------------------------------------------------

    def in_slack(self, name: str) -> Posted:
        """The live message about this alert."""
        (found,) = [message for message in self.slack.roots if name in message.text]
        return found

    def in_telegram(self, name: str) -> Sent:
        (found,) = [sent for sent in self.telegram.roots if name in sent.text]
        return found

    def mails(self, name: str) -> list[str]:
        return [mail.part("text/plain") for mail in self.post.mails if name in str(mail.message["Subject"])]

    def pagerduty_key(self, name: str) -> str:
        (found,) = [key for key, paged in self.pagerduty.incidents.items() if name in paged.summary]
        return found

    def paged(self, name: str) -> list[str]:
        """What PagerDuty was told of it, in order."""
        return [event["event_action"] for event in self.pagerduty.incidents[self.pagerduty_key(name)].events]

    def is_told(self, name: str) -> bool:
        return (any(name in one.text for one in self.slack.roots) and any(name in one.text for one in self.telegram.roots)
                and bool(self.mails(name)) and any(name in one.summary for one in self.pagerduty.incidents.values()))

    def shows(self, name: str, *words: str) -> bool:
        """Whether both live messages say all of this."""
        texts = (self.in_slack(name).text, self.in_telegram(name).text)
        return all(word in text for word in words for text in texts)

    def button(self, name: str, label: str) -> str:
        """Its value, in Slack."""
        return tokens(self.in_slack(name).sent)[label]

    def key(self, name: str, label: str) -> str:
        """The data of a button in Telegram."""
        return {text: data for row in self.in_telegram(name).keyboard for text, data in row}[label]

    def link(self, name: str, label: str) -> str:
        """The path that a mail gives for this answer."""
        found = re.search(rf"{label}\W+http://127\.0\.0\.1:\d+(/respond/\S+)", self.mails(name)[0])
        assert found is not None, f"no link to {label} in {self.mails(name)[0]}"
        return found[1]

    def objections(self) -> list[object]:
        """What the providers refused, and what they would have to refuse although the fake took it; empty when all was legal."""
        found: list[object] = [answer.body for place in (self.slack, self.telegram, self.pagerduty) for answer in place.answers
                               if is_refusal(answer)]
        for request in self.slack.requests:
            found += problems(request.json().get("blocks") or [{"type": "divider"}]) if request.body[:1] == b"{" else []
        for request in self.telegram.requests:
            form = request.form()
            if "text" in form and "chat_id" in form:
                checked(form)
            keyboard_of(form)
        return found


def is_refusal(answer: Answer) -> bool:
    """Whether the provider did not take it. That an edit says what stands there already is no fault."""
    body = answer.body if isinstance(answer.body, dict) else {}
    is_same = "message is not modified" in body.get("description", "")
    return (answer.status >= 400 or body.get("ok") is False) and not is_same


@dataclass
class Scene:
    """Places, a hub, and a client at its door."""

    places: Places
    hub: HubProcess
    http: httpx.AsyncClient
    clicks: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def fires(self, name: str) -> int:
        """An alert of this name; its incident's number, when everybody is told."""
        await self.http.post("/hooks/alertmanager", content=json.dumps(webhook(alert(name, severity="critical"))))
        await eventually(lambda: self.places.is_told(name), SHOWN_WITHIN, f"everybody is told of {name}")
        await self.quiet()
        return int((await self.incident(name))["number"])

    async def quiet(self) -> None:
        """Returns when the hub has said all that it has to say."""
        await eventually(self.hub.is_quiet, what="the hub has no more to say")

    async def incident(self, name: str) -> dict[str, Any]:
        (found,) = [one for one in (await self.json("incidents?limit=200"))["items"] if name in one["title"]]
        return dict(await self.json(f"incidents/{found['number']}"))

    async def json(self, path: str) -> Any:
        answer = await self.http.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    # --- what people do ---------------------------------------------------------------------------------------------------

    def pressing(self, token: str, **overrides: Any) -> dict[str, Any]:
        """A click of its own in Slack."""
        return slack_people.press(token, **{"response_url": self.places.slack.response_url,
                                            "trigger_id": f"click-{next(self.clicks)}", **overrides})

    async def press(self, token: str, **overrides: Any) -> httpx.Response:
        return await self.deliver(slack_people.interactivity(self.pressing(token, **overrides), CLOCK.now()))

    async def types(self, text: str) -> str:
        """What `/alerthub` answers."""
        fields = slack_people.typed(text, trigger_id=f"line-{next(self.clicks)}", response_url=self.places.slack.response_url)
        answer = await self.deliver(slack_people.command(fields, CLOCK.now()))
        assert answer.status_code == 200
        return str(answer.json()["text"])

    async def deliver(self, inbound: Inbound, kind: str = "slack", **headers: str) -> httpx.Response:
        """As the provider would post it."""
        return await self.post_reply(f"{kind}{inbound.rest}", inbound.body, {**inbound.headers, **headers})

    async def post_reply(self, kind: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        encoded = {name.encode(): value.encode() for name, value in headers.items()}
        return await self.http.post(f"/replies/{kind}", content=body, headers=encoded)

    async def in_pagerduty(self, kind: str, name: str, **rest: Any) -> httpx.Response:
        """Somebody did it there, and PagerDuty says so."""
        body = pagerduty.webhook(kind, self.places.pagerduty_key(name), event_id=f"E{next(self.clicks)}", **rest)
        return await self.post_reply("pagerduty", body, pagerduty.signed(body))


@asynccontextmanager
async def hub_among(places: Places, config: str) -> AsyncIterator[Scene]:
    """A hub with this configuration; stopped in good order at the end, unless the test has killed it."""
    hub = HubProcess(config)
    try:
        await asyncio.to_thread(hub.start)
        async with httpx.AsyncClient(base_url=hub.url, timeout=10, **LOCAL) as http:
            yield Scene(places, hub, http)
    finally:
        await asyncio.to_thread(hub.close)


@asynccontextmanager
async def people_and_hub() -> AsyncIterator[Scene]:
    """Everything of one story, on SQLite, with answers from Slack by HTTP."""
    places = Places()
    async with places.open(), hub_among(places, places.config()) as scene:
        yield scene
