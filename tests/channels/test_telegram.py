"""Telegram: the channel contract, edits and replies, topics and moved groups, and every row of the error table."""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import ValidationError
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)

from alerthub.channels.base import Channel, Wire
from alerthub.channels.telegram import Telegram, TelegramConfig, TelegramGlobal
from alerthub.channels.telegram_client import CHAT_UNUSABLE, DETAIL, MESSAGE_GONE, TOPIC_GONE, failure_of, without_secret
from alerthub.channels.telegram_html import REPLIED
from alerthub.domain.message import Button, Message, Receipt, Why
from alerthub.errors import Failure, SendFailed
from tests.channels.contract import FixedClock, HttpChannelContract
from tests.kit.messages import HOSTILE, acknowledged_message, digest_message, hostile_message, message, resolved_message
from tests.kit.providers.http import FakeProvider
from tests.kit.providers.telegram import SECRET, TOKEN, FakeTelegram, checked, refusal, shown

pytestmark = pytest.mark.anyio
GROUP = "-1001234567890"


class TestTelegramContract(HttpChannelContract):
    secrets: ClassVar = [TOKEN, SECRET]
    statuses: ClassVar = {404: Failure.configuration, 409: Failure.configuration}
    parse_mode = "HTML"

    def provider(self) -> AbstractAsyncContextManager[FakeProvider]:
        return FakeTelegram(TOKEN)

    def channel(self, provider: FakeTelegram) -> Channel:
        shared = TelegramGlobal(telegram_bot_token=TOKEN, telegram_api_url=provider.url)
        return Telegram(TelegramConfig(chat_id=GROUP, parse_mode=self.parse_mode), shared, self.wire)

    def answer_ok(self, provider: FakeTelegram) -> None:
        provider.answer = provider.respond

    def texts(self, provider: FakeTelegram) -> str:
        return "\n".join(shown(request.form()) for request in provider.requests)

    def markup(self, provider: FakeTelegram) -> list[str]:
        forms = [request.form() for request in provider.requests]
        return [form["text"] for form in forms if form.get("parse_mode")]

    def assert_within_limits(self, provider: FakeTelegram) -> None:
        for request in provider.requests:
            checked(request.form())

    def assert_edited(self, provider: FakeTelegram) -> None:
        assert provider.calls() == ["sendMessage", "editMessageText"]
        assert [root.edits for root in provider.roots] == [1]


class TestPlainTelegramContract(TestTelegramContract):
    """`parse_mode: ""`: nothing is parsed, so nothing is escaped."""

    parse_mode = ""


class Chat:
    """A bot in a fake Telegram: `tell` sends as the hub does, keeping the receipt."""

    def __init__(self, telegram: FakeTelegram, channel: Telegram) -> None:
        self.telegram, self.channel = telegram, channel
        self.receipt: Receipt | None = None

    async def tell(self, told: Message) -> Receipt:
        self.receipt = await self.channel.send(told, self.receipt)
        return self.receipt

    async def refusal(self, told: Message) -> SendFailed:
        with pytest.raises(SendFailed) as caught:
            await self.tell(told)
        return caught.value

    def forms(self) -> list[dict[str, str]]:
        return [request.form() for request in self.telegram.requests]


def bot(telegram: FakeTelegram, http: httpx.AsyncClient, **settings: Any) -> Telegram:
    shared = TelegramGlobal(telegram_bot_token=TOKEN, telegram_api_url=telegram.url)
    return Telegram(TelegramConfig(**{"chat_id": GROUP, **settings}), shared, Wire(http, FixedClock()))


@pytest.fixture
def chat(telegram: FakeTelegram, http: httpx.AsyncClient) -> Chat:
    return Chat(telegram, bot(telegram, http))


# --- one live message, and replies that make a sound --------------------------------------------------------------------------

async def test_an_incident_is_one_message_edited_in_place_with_its_news_as_replies(chat: Chat) -> None:
    await chat.tell(message())
    await chat.tell(acknowledged_message())
    receipt = await chat.tell(resolved_message())
    (root,), (reply,) = chat.telegram.roots, chat.telegram.replies
    assert "RESOLVED" in root.text
    assert (root.edits, reply.reply_to) == (2, root.id)
    assert "Resolved: 1 alert cleared" in reply.text
    assert receipt.handle == {"chat_id": GROUP, "message_id": str(root.id)}


@pytest.mark.parametrize("why", list(Why))
async def test_what_is_news_gets_a_reply_and_the_rest_a_silent_edit(chat: Chat, why: Why) -> None:
    await chat.tell(message())
    await chat.tell(message(why=why, firing=2, digest=digest_message(2).digest if why is Why.digest else ()))
    assert len(chat.telegram.replies) == (why in REPLIED)
    assert len(chat.telegram.roots) == (2 if why is Why.digest else 1)


async def test_nothing_is_asked_of_telegram_before_the_first_message(chat: Chat) -> None:
    await chat.tell(message())
    assert chat.telegram.calls() == ["sendMessage"]


async def test_links_show_no_preview_and_a_lost_root_does_not_stop_a_reply(chat: Chat) -> None:
    await chat.tell(message())
    await chat.tell(resolved_message())
    assert all(json.loads(form["link_preview_options"]) == {"is_disabled": True} for form in chat.forms())
    assert json.loads(chat.forms()[-1]["reply_parameters"])["allow_sending_without_reply"] is True


@pytest.mark.parametrize("silent", [False, True])
async def test_a_chat_can_be_told_without_sound(telegram: FakeTelegram, http: httpx.AsyncClient, silent: bool) -> None:
    chat = Chat(telegram, bot(telegram, http, disable_notifications=silent))
    await chat.tell(message())
    await chat.tell(resolved_message())
    assert {sent.silent for sent in telegram.messages.values()} == {silent}


async def test_an_edit_that_changes_nothing_is_a_success_and_the_news_are_still_told(chat: Chat) -> None:
    await chat.tell(message())
    await chat.tell(message(why=Why.repeat))
    assert chat.telegram.roots[0].edits == 0
    assert len(chat.telegram.replies) == 1


async def test_a_reply_that_failed_is_told_by_the_next_attempt_and_the_edit_does_no_harm(chat: Chat) -> None:
    await chat.tell(message())
    healthy = chat.telegram.respond
    spoilt = refusal(502, "Bad Gateway")
    chat.telegram.answer = lambda request: spoilt if "reply_parameters" in request.form() else healthy(request)
    assert (await chat.refusal(resolved_message())).reason is Failure.unavailable
    chat.telegram.answer = healthy
    await chat.tell(resolved_message())
    assert chat.telegram.roots[0].edits == 1
    assert len(chat.telegram.replies) == 1


async def test_a_degraded_message_is_never_parsed(chat: Chat) -> None:
    await chat.tell(replace(message(), is_degraded=True))
    await chat.tell(replace(resolved_message(), is_degraded=True))
    assert [form.get("parse_mode") for form in chat.forms()] == [None, None, None]
    assert "Resolved: 1 alert" in chat.telegram.replies[0].text


# --- buttons --------------------------------------------------------------------------------------------------------------------

BUTTONS = (Button("acknowledge", "Acknowledge", "a.1.1..mac"), Button("resolve", "Resolve", "r.1.1..mac"),
           Button("silence", "Silence 1 h", "s1.1.1..mac"), Button("silence", "4 h", "s4.1.1..mac"),
           Button("silence", "until 09:00", "st.1.1..mac"), Button("escalate", "Escalate now", "e.1.1..mac"))


async def test_the_live_message_has_its_buttons_in_rows_and_replies_have_none(chat: Chat) -> None:
    await chat.tell(message(buttons=BUTTONS))
    await chat.tell(message(why=Why.changed, firing=2, buttons=BUTTONS))
    (root,), (reply,) = chat.telegram.roots, chat.telegram.replies
    assert [[text for text, _ in row] for row in root.keyboard] == [
        ["Acknowledge", "Resolve"], ["Silence 1 h", "4 h", "until 09:00"], ["Escalate now"]]
    assert root.keyboard[0][0][1] == "a.1.1..mac"
    assert reply.keyboard == ()


async def test_an_edit_changes_the_buttons_and_takes_them_away(chat: Chat) -> None:
    await chat.tell(message(buttons=BUTTONS))
    await chat.tell(acknowledged_message(buttons=BUTTONS[1:2]))
    assert chat.telegram.roots[0].keyboard == ((("Resolve", "r.1.1..mac"),),)
    await chat.tell(resolved_message())
    assert chat.telegram.roots[0].keyboard == ()
    edits = [form for form in chat.forms() if "message_id" in form]
    assert json.loads(edits[-1]["reply_markup"]) == {"inline_keyboard": []}


async def test_a_message_without_buttons_asks_for_none(chat: Chat) -> None:
    await chat.tell(message())
    assert "reply_markup" not in chat.forms()[0]


async def test_a_button_that_telegram_would_refuse_does_not_cost_the_page(chat: Chat) -> None:
    odd = (Button("acknowledge", "x" * 500, "t" * 64), Button("resolve", "Resolve", "t" * 65), Button("silence", " ", "s"),
           Button("escalate", "Escalate", "é" * 33), Button("escalate", "Escalate", ""), Button("approve", "Approve", "p"))
    await chat.tell(message(buttons=odd))
    assert [[data for _, data in row] for row in chat.telegram.roots[0].keyboard] == [["t" * 64], ["p"]]


async def test_the_minimal_form_has_no_buttons(chat: Chat) -> None:
    await chat.tell(message(buttons=BUTTONS, is_degraded=True))
    assert chat.telegram.roots[0].keyboard == ()


@pytest.mark.parametrize("why", sorted(REPLIED))
async def test_what_only_edits_says_nothing_new(chat: Chat, why: Why) -> None:
    await chat.tell(message())
    await chat.tell(acknowledged_message(why=why, only_edit=True))
    assert chat.telegram.calls() == ["sendMessage", "editMessageText"]
    assert "ACKNOWLEDGED by ayse" in chat.telegram.roots[0].text


# --- receipts, topics, groups that move ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("handle", [
    {"chat_id": GROUP, "message_id": "999"}, {"chat_id": GROUP, "message_id": "1.5"}, {"chat_id": GROUP, "message_id": "-1"},
    {"chat_id": GROUP, "message_id": "٣"}, {"chat_id": GROUP, "message_id": "9" * 40}, {"chat_id": GROUP, "message_id": ""},
])
async def test_a_live_message_that_is_gone_is_a_stale_handle(chat: Chat, handle: dict[str, str]) -> None:
    chat.receipt = Receipt(handle)
    error = await chat.refusal(resolved_message())
    assert error.reason is Failure.stale_handle
    assert chat.telegram.messages == {}


@pytest.mark.parametrize(("handle", "where"), [
    ({}, GROUP), ({"moved_to": "-100999"}, "-100999"), ({"chat_id": "-77"}, "-77"),
])
async def test_without_a_live_message_it_is_posted_where_the_hub_says(chat: Chat, handle: dict[str, str], where: str) -> None:
    chat.receipt = Receipt(handle)
    assert (await chat.tell(message())).handle["chat_id"] == where


async def test_a_group_that_moved_is_named_with_its_new_id(chat: Chat) -> None:
    chat.telegram.migrated[GROUP] = -100999
    error = await chat.refusal(message())
    assert (error.reason, error.moved_to) == (Failure.moved, "-100999")
    assert chat.telegram.messages == {}


async def test_a_live_message_in_a_group_that_moved_is_posted_anew_and_edited_there(chat: Chat) -> None:
    await chat.tell(message())
    chat.telegram.migrated[GROUP] = -100999
    error = await chat.refusal(acknowledged_message())
    chat.receipt = Receipt({"moved_to": str(error.moved_to)})
    await chat.tell(acknowledged_message())
    await chat.tell(resolved_message())
    (moved,) = [root for root in chat.telegram.roots if root.chat == "-100999"]
    assert "RESOLVED" in moved.text
    assert [reply.chat for reply in chat.telegram.replies] == ["-100999"]


async def test_a_topic_gets_the_message_and_its_replies(telegram: FakeTelegram, http: httpx.AsyncClient) -> None:
    chat = Chat(telegram, bot(telegram, http, message_thread_id=7))
    await chat.tell(message())
    await chat.tell(resolved_message())
    assert {sent.topic for sent in telegram.messages.values()} == {"7"}
    assert chat.channel.address == f"{GROUP}/7"


async def test_a_closed_topic_falls_back_to_the_main_chat(telegram: FakeTelegram, http: httpx.AsyncClient) -> None:
    telegram.closed_topics.add("7")
    chat = Chat(telegram, bot(telegram, http, message_thread_id=7))
    await chat.tell(message())
    await chat.tell(resolved_message())
    assert {sent.topic for sent in telegram.messages.values()} == {None}
    assert len(telegram.replies) == 1


async def test_a_storm_is_a_message_of_its_own(chat: Chat) -> None:
    await chat.tell(message())
    await chat.tell(digest_message(12))
    assert len(chat.telegram.roots) == 2
    assert all(root.edits == 0 for root in chat.telegram.roots)


# --- errors -------------------------------------------------------------------------------------------------------------------

ROWS = [
    (lambda: BadRequest("Bad Request: can't parse entities"), Failure.content),
    (lambda: BadRequest("Bad Request: message is too long"), Failure.content),
    (lambda: BadRequest("Bad Request: message text is empty"), Failure.content),
    (lambda: BadRequest("whatever comes next"), Failure.content),
    *[(lambda words=words: BadRequest(f"Bad Request: {words.upper()}"), Failure.stale_handle) for words in MESSAGE_GONE],
    *[(lambda words=words: BadRequest(f"Bad Request: {words}"), Failure.configuration) for words in CHAT_UNUSABLE + TOPIC_GONE],
    (lambda: Forbidden("Forbidden: bot was blocked by the user"), Failure.configuration),
    (lambda: Forbidden("Forbidden: bot was kicked from the group chat"), Failure.configuration),
    (lambda: InvalidToken("Unauthorized"), Failure.configuration),
    (lambda: InvalidToken("Not Found"), Failure.configuration),
    (lambda: Conflict("terminated by other getUpdates request"), Failure.configuration),
    (lambda: TimedOut(), Failure.timeout),
    (lambda: NetworkError("Bad Gateway"), Failure.unavailable),
    (lambda: ChatMigrated(-100999), Failure.moved),
    (lambda: ChatMigrated("../x"), Failure.bug),        # type: ignore[arg-type]
    (lambda: RetryAfter(7), Failure.rate_limited),
    (lambda: TelegramError("Invalid server response"), Failure.bug),
]


@pytest.mark.parametrize(("make", "reason"), ROWS)
def test_each_row_of_the_error_table(make: Any, reason: Failure) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert failure_of(make()).reason is reason


@pytest.mark.parametrize("futuristic", [False, True])
@pytest.mark.parametrize(("asked", "after"), [(7, 7.0), (timedelta(seconds=7.5), 7.5), (86_400, 3_600.0), (-3, 0.0)])
def test_the_time_to_wait_is_a_number_now_and_a_duration_later(
        monkeypatch: pytest.MonkeyPatch, asked: Any, after: float, futuristic: bool) -> None:
    monkeypatch.setenv("PTB_TIMEDELTA", str(futuristic).lower())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert failure_of(RetryAfter(asked)).after == after


@pytest.mark.parametrize(("parameters", "header", "after"), [
    ({"retry_after": 17}, None, 17), ({"retry_after": 99_999}, None, 3_600), ({"retry_after": 17}, "5", 17),
    ({}, "5", 5), ({}, None, None), ({"retry_after": "soon"}, None, None), ({"retry_after": None}, "5", 5), ([], "5", 5),
])
async def test_too_many_requests_says_how_long(chat: Chat, parameters: Any, header: str | None, after: float | None) -> None:
    body = {"ok": False, "description": "Too Many Requests", "parameters": parameters}
    chat.telegram.script(429, body=body, headers={"retry-after": header} if header else {})
    error = await chat.refusal(message())
    assert (error.reason, error.after) == (Failure.rate_limited, after)


@pytest.mark.parametrize(("status", "body", "reason"), [
    (200, {"ok": False, "description": "odd"}, Failure.bug),
    (200, {"ok": True, "result": True}, Failure.bug),
    (200, {"ok": True, "result": {"message_id": 1}}, Failure.bug),
    (200, {"ok": True, "result": {"message_id": 1, "date": 1, "chat": 5}}, Failure.bug),
    (200, "<html>log in</html>", Failure.bug),
    (400, {"ok": False, "description": "Bad Request: can't parse entities"}, Failure.content),
    (400, "<html>", Failure.content),
    (400, {"description": "x", "parameters": {"migrate_to_chat_id": -5}}, Failure.moved),
    (401, {"description": "Unauthorized"}, Failure.configuration),
    (403, {"description": "Forbidden: bot was blocked by the user"}, Failure.configuration),
    (404, {"description": "Not Found"}, Failure.configuration),
    (409, {"description": "Conflict"}, Failure.configuration),
    (413, "", Failure.content),
    (500, {"description": "Internal"}, Failure.unavailable),
    (502, "<html>Bad Gateway</html>", Failure.unavailable),
    (504, "", Failure.timeout),
])
async def test_what_telegram_answers_is_classified(chat: Chat, status: int, body: Any, reason: Failure) -> None:
    chat.telegram.script(status, body=body)
    error = await chat.refusal(message())
    assert error.reason is reason
    assert len(chat.telegram.requests) == 1


async def test_a_bot_that_was_kicked_is_a_matter_for_a_person(chat: Chat) -> None:
    chat.telegram.forbidden.add(GROUP)
    error = await chat.refusal(message())
    assert error.reason is Failure.configuration
    assert "kicked" in error.detail


# --- secrets -------------------------------------------------------------------------------------------------------------------

async def test_the_token_is_not_in_what_python_telegram_bot_prints(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.WARNING, logger=name)
    await chat.tell(message())
    printed = "".join(repr(value) + str(value) for value in vars(chat.channel).values() if value != TOKEN)
    assert SECRET not in printed + caplog.text


@pytest.mark.parametrize("text", [
    TOKEN, f"POST /bot{TOKEN}/sendMessage", f"bot123456789%3A{SECRET}", f"only {SECRET}", f"{TOKEN} {TOKEN}",
    "x" * (DETAIL - 5) + TOKEN,
])
def test_the_token_is_taken_out_of_any_detail(text: str) -> None:
    told = without_secret(text, TOKEN)
    assert SECRET[:6] not in told
    assert len(told) <= DETAIL


# --- templates -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
@pytest.mark.parametrize("parse_mode", ["HTML", ""])
async def test_what_a_template_prints_is_text(
        telegram: FakeTelegram, http: httpx.AsyncClient, parse_mode: str, value: str) -> None:
    chat = Chat(telegram, bot(telegram, http, message="<b>{{ title }}</b> {{ labels.agent }}", parse_mode=parse_mode))
    await chat.tell(hostile_message(value))
    assert " ".join(f"<b>{value}".split())[:40] in " ".join(telegram.roots[0].text.split())


@pytest.mark.parametrize("source", ["{{ 1 // (firing - 7) }}", "{% if firing > 5 %}{% else %}x{% endif %}"])
async def test_a_template_that_fails_or_says_nothing_does_not_lose_the_page(
        telegram: FakeTelegram, http: httpx.AsyncClient, source: str) -> None:
    chat = Chat(telegram, bot(telegram, http, message=source))
    await chat.tell(message(firing=7))
    assert "FIRING" in telegram.roots[0].text


# --- settings -------------------------------------------------------------------------------------------------------------------

def build(shared: dict[str, Any], **settings: Any) -> Telegram:
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(500)))
    return Telegram(TelegramConfig(**{"chat_id": 5, **settings}), TelegramGlobal(**shared), Wire(client, FixedClock()))


@pytest.mark.parametrize(("shared", "settings", "word"), [
    ({}, {}, "telegram_bot_token_file"),
    ({"telegram_bot_token": "nonsense"}, {}, "@BotFather"),
    ({"telegram_bot_token": "1:a/../b"}, {}, "@BotFather"),
    ({"telegram_bot_token": TOKEN, "telegram_api_url": "ftp://x"}, {}, "https://"),
    ({"telegram_bot_token": TOKEN}, {"message": "{{ titel }}"}, "titel"),
])
def test_settings_that_do_not_suffice_are_refused_without_the_secret(shared: Any, settings: Any, word: str) -> None:
    with pytest.raises(ValueError) as caught:
        build(shared, **settings)
    assert word in str(caught.value)
    assert "nonsense" not in str(caught.value)


@pytest.mark.parametrize("settings", [
    {"chat_id": "alerts"}, {"chat_id": ""}, {"chat_id": "@x"}, {"chat_id": "1; DROP"}, {"parse_mode": "MarkdownV2"},
    {"chatid": 5}, {"bot_token": TOKEN, "bot_token_file": "/run/x"},
])
def test_a_wrong_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        TelegramConfig(**{"chat_id": 5, **settings})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (255, True), (256, True), (257, False)])
def test_the_webhook_secret_has_the_length_that_telegram_takes(length: int, fits: bool) -> None:
    if fits:
        assert TelegramGlobal(telegram_webhook_secret="s" * length)
    else:
        with pytest.raises(ValidationError):
            TelegramGlobal(telegram_webhook_secret="s" * length)


def test_the_webhook_secret_has_only_letters_that_telegram_takes() -> None:
    with pytest.raises(ValidationError) as caught:
        TelegramGlobal(telegram_webhook_secret="canary secret!")
    assert "canary" not in str(caught.value)


async def test_a_token_of_its_own_comes_before_the_global_one(
        telegram: FakeTelegram, http: httpx.AsyncClient, tmp_path: Path) -> None:
    own = tmp_path / "token"
    own.write_text("42:own\n")
    telegram.token = "42:own"
    await Chat(telegram, bot(telegram, http, bot_token_file=str(own), api_url=f"{telegram.url}/")).tell(message())
    assert telegram.requests[0].path == "/bot42:own/sendMessage"


@pytest.mark.parametrize(("chat_id", "address", "seconds"), [
    (5, "5", 2.0), ("5", "5", 2.0), (-5, "-5", 6.0), ("-5", "-5", 6.0), ("@alerts", "@alerts", 6.0),
])
def test_a_group_is_told_more_slowly_than_a_person(chat_id: Any, address: str, seconds: float) -> None:
    channel = build({"telegram_bot_token": TOKEN}, chat_id=chat_id)
    assert (channel.address, channel.budget.seconds, channel.budget.burst) == (address, seconds, 1)


async def test_a_channel_is_addressed_by_its_name(telegram: FakeTelegram, http: httpx.AsyncClient) -> None:
    chat = Chat(telegram, bot(telegram, http, chat_id="@alerts"))
    await chat.tell(message())
    assert chat.forms()[0]["chat_id"] == "@alerts"
