"""Telegram hears people: by polling and by webhook, what is confirmed when, and how the person is told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alerthub.channels import load_listeners
from alerthub.channels.base import Forged, Hearing, Inbound, Reply, Unreadable, Wire
from alerthub.channels.telegram import TelegramConfig, TelegramGlobal
from alerthub.channels.telegram_answers import BATCH, LONGEST_WAIT, PAUSE, TelegramListener, listeners
from alerthub.channels.telegram_updates import FORCE_LABEL
from alerthub.domain.command import Answer, Ask, Outcome, Press, Typed
from tests.kit.clock import START, FakeClock
from tests.kit.messages import HOSTILE
from tests.kit.providers.http import PATIENCE
from tests.kit.providers.http import Answer as HttpAnswer
from tests.kit.providers.telegram import SECRET, TOKEN, FakeTelegram, person, pressed_update, refusal, said_update, units

pytestmark = pytest.mark.anyio
HOOK = "hook-canary_5151"
GROUP = -1001234567890
DONE = Answer(Outcome.done, "Acknowledged #17.", 17)
BUSY = Answer(Outcome.busy, "not now")


class Ear:
    """The hub's: remembers what was asked, and answers from `script` first, then `answer`."""

    def __init__(self, answer: Answer = DONE) -> None:
        self.answer = answer
        self.script: list[Answer] = []
        self.asks: list[Ask] = []
        self.seen: list[Any] = []               # what `watch` said, at each ask
        self.watch: Callable[[], Any] = lambda: None
        self._more = asyncio.Condition()

    async def take(self, ask: Ask) -> Answer:
        async with self._more:
            self.asks.append(ask)
            self.seen.append(self.watch())
            self._more.notify_all()
        return self.script.pop(0) if self.script else self.answer

    async def heard(self, count: int = 1) -> Ask:
        """The n-th thing asked, waiting for it."""
        async with asyncio.timeout(PATIENCE), self._more:
            await self._more.wait_for(lambda: len(self.asks) >= count)
        return self.asks[count - 1]


class Phone:
    """One bot, its chats, and who listens."""

    def __init__(self, telegram: FakeTelegram, http: httpx.AsyncClient, **shared: Any) -> None:
        self.telegram, self.clock, self.ear = telegram, FakeClock(), Ear()
        keys = {"telegram_bot_token": TOKEN, "telegram_api_url": telegram.url, **shared}
        hearing = Hearing((TelegramConfig(chat_id=GROUP), TelegramConfig(chat_id="@Alerts_Room")),
                          public_url="https://hub.example.com/")
        (self.listener,) = listeners(TelegramGlobal(**keys), hearing, Wire(http, self.clock))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.listener.listen(self.ear.take))
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.listener.aclose()

    async def called(self, method: str, count: int = 1) -> dict[str, str]:
        """The form of the n-th call of this method, waiting for it."""
        seen = 0
        while True:
            for index, name in enumerate(self.telegram.calls()):
                seen += name == method
                if seen == count:
                    return self.telegram.requests[index].form()
            seen = 0
            await self.telegram.expect(len(self.telegram.requests) + 1)

    def forms(self, method: str) -> list[dict[str, str]]:
        return [request.form() for request in self.telegram.requests if request.path.endswith(f"/{method}")]

    async def post(self, update: Any, secret: str | None = HOOK, rest: str = "") -> Reply:
        body = update if isinstance(update, bytes) else json.dumps(update).encode()
        headers = {} if secret is None else {"x-telegram-bot-api-secret-token": secret}
        reply = await self.listener.receive(Inbound(rest, headers, body, START), self.ear.take)
        await self.listener.aclose()        # waits for what is told
        return reply


@pytest.fixture
def polling(telegram: FakeTelegram, http: httpx.AsyncClient) -> Phone:
    return Phone(telegram, http)


@pytest.fixture
def hooked(telegram: FakeTelegram, http: httpx.AsyncClient) -> Phone:
    return Phone(telegram, http, telegram_webhook_secret=HOOK)


# --- who listens --------------------------------------------------------------------------------------------------------------

NOBODY = Hearing()


def made(hearing: Hearing = NOBODY, **shared: Any) -> list[TelegramListener]:
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(500)))
    return listeners(TelegramGlobal(**shared), hearing, Wire(client, FakeClock()))


def test_each_bot_is_heard_once() -> None:
    entries = (TelegramConfig(chat_id=1), *(TelegramConfig(chat_id=chat, bot_token="42:own") for chat in (2, 3)))
    found = made(Hearing(entries), telegram_bot_token=TOKEN)
    assert [one.name for one in found] == ["telegram:123456789", "telegram:42"]
    assert all(one.is_exclusive for one in found)
    assert SECRET not in repr(found)


def test_the_registry_leads_here() -> None:
    assert load_listeners("telegram") is listeners


@pytest.mark.parametrize(("shared", "count"), [
    ({}, 0), ({"telegram_bot_token": TOKEN}, 1), ({"telegram_bot_token": TOKEN, "telegram_updates": "off"}, 0),
])
def test_nobody_listens_where_nothing_is_configured(shared: dict[str, Any], count: int) -> None:
    assert len(made(**shared)) == count


@pytest.mark.parametrize(("shared", "is_exclusive"), [
    ({}, True), ({"telegram_updates": "polling", "telegram_webhook_secret": HOOK}, True),
    ({"telegram_webhook_secret": HOOK}, False), ({"telegram_updates": "webhook", "telegram_webhook_secret": HOOK}, False),
])
def test_a_webhook_secret_means_webhook_unless_it_is_said_otherwise(shared: dict[str, Any], is_exclusive: bool) -> None:
    (one,) = made(telegram_bot_token=TOKEN, **shared)
    assert one.is_exclusive is is_exclusive


def test_a_webhook_without_a_secret_is_refused() -> None:
    with pytest.raises(ValidationError, match="telegram_webhook_secret_file"):
        TelegramGlobal(telegram_updates="webhook")


def test_a_token_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(ValueError, match="@BotFather") as caught:
        made(telegram_bot_token="canary")
    assert "canary" not in str(caught.value)


# --- polling ------------------------------------------------------------------------------------------------------------------

async def test_a_press_is_taken_and_answered_once(polling: Phone) -> None:
    async with polling.listening():
        update = await polling.telegram.press("a.1.1..mac")
        ask = await polling.ear.heard()
        await polling.called("getUpdates", 2)
        await polling.called("answerCallbackQuery")
    number = update["update_id"]
    assert ask == Press("a.1.1..mac", ask.by, f"telegram:123456789:{number}", str(GROUP), "101")
    assert (ask.by.key, ask.by.name) == ("telegram:5", "Ayse Yilmaz")
    assert polling.telegram.toasts == {f"q{number}": ("Acknowledged #17.", False)}
    assert len(polling.forms("answerCallbackQuery")) == 1
    assert polling.telegram.updates == []


async def test_an_update_is_confirmed_only_after_it_was_taken(polling: Phone) -> None:
    polling.ear.watch = lambda: (len(polling.telegram.updates), [form.get("offset") for form in polling.forms("getUpdates")])
    async with polling.listening():
        update = await polling.telegram.press("a.1.1..mac")
        await polling.called("getUpdates", 2)
    assert polling.ear.seen == [(1, [None])]
    assert polling.forms("getUpdates")[1]["offset"] == str(update["update_id"] + 1)


async def test_what_the_hub_cannot_take_is_not_confirmed_and_asked_again(polling: Phone) -> None:
    polling.ear.script = [BUSY, BUSY]
    async with polling.listening():
        update = await polling.telegram.press("a.1.1..mac")
        await polling.ear.heard(3)
        await polling.called("getUpdates", 4)
        await polling.called("answerCallbackQuery")
    number = str(update["update_id"])
    assert [form.get("offset") for form in polling.forms("getUpdates")][:4] == [None, number, number, str(int(number) + 1)]
    assert polling.clock.elapsed == 3.0
    assert len(polling.forms("answerCallbackQuery")) == 1
    assert len(set(polling.ear.asks)) == 1, "the same key, so that the hub knows it"


async def test_what_was_taken_beside_a_busy_one_is_neither_taken_nor_answered_again(polling: Phone) -> None:
    polling.ear.script = [BUSY]
    first = await polling.telegram.press("a.1.1..mac", by=5)
    second = await polling.telegram.press("a.2.1..mac", by=6)
    async with polling.listening():
        await polling.ear.heard(3)
        await polling.called("answerCallbackQuery", 2)
        await polling.called("getUpdates", 3)
    assert [ask.by.id for ask in polling.ear.asks] == ["5", "6", "5"]
    assert set(polling.telegram.toasts) == {f"q{first['update_id']}", f"q{second['update_id']}"}
    assert len(polling.forms("answerCallbackQuery")) == 2


async def test_what_one_person_did_keeps_its_order_also_when_the_hub_is_busy(polling: Phone) -> None:
    polling.ear.script = [DONE, BUSY]
    for data in ("one", "two", "three"):
        await polling.telegram.press(data)
    async with polling.listening():
        await polling.ear.heard(4)
    assert [ask.token for ask in polling.ear.asks] == ["one", "two", "two", "three"]


async def test_nothing_is_asked_but_messages_and_presses_and_nothing_pending_is_dropped(polling: Phone) -> None:
    polling.telegram.webhook = {"url": "https://elsewhere.example.com"}
    async with polling.listening():
        await polling.telegram.press("a.1.1..mac")
        await polling.ear.heard()
    form = polling.forms("getUpdates")[0]
    assert json.loads(form["allowed_updates"]) == ["message", "callback_query"]
    assert (form["timeout"], form["limit"]) == ("50", str(BATCH))
    assert polling.forms("deleteWebhook") == [{"drop_pending_updates": "false"}]


async def test_a_webhook_that_stands_in_the_way_is_deleted_once(polling: Phone) -> None:
    conflict = refusal(409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete it")
    healthy = polling.telegram.respond
    polling.telegram.answer = lambda request: conflict if request.path.endswith("getUpdates") else healthy(request)
    async with polling.listening():
        await polling.called("getUpdates", 5)
    assert len(polling.forms("deleteWebhook")) == 1


FAULTS = [refusal(409, "Conflict: terminated by other getUpdates request"), refusal(401, "Unauthorized"),
          refusal(502, "Bad Gateway"), refusal(429, "Too Many Requests"), HttpAnswer(drop=True), HttpAnswer(body="<html>"),
          HttpAnswer(body={"ok": True, "result": 5}), HttpAnswer(body={"ok": True, "result": [{"no": "id"}, 7]}),
          HttpAnswer(body={"ok": False}), HttpAnswer(302, {"location": "about:blank"})]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.status}-{fault.content()[:50]!a}")
async def test_whatever_telegram_answers_it_goes_on_more_slowly_and_says_so_once(
        polling: Phone, fault: HttpAnswer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="alerthub")
    polling.telegram._script.extend([fault] * 8)
    async with polling.listening():
        await polling.telegram.press("a.1.1..mac")
        await polling.ear.heard()
        await polling.called("getUpdates", 10)
    assert polling.clock.elapsed == 1 + 2 + 4 + 8 + 16 + 32 + 2 * LONGEST_WAIT
    assert [(record.levelname, record.event) for record in caplog.records] == [
        ("WARNING", "telegram.deaf"), ("INFO", "telegram.hears")]
    assert SECRET not in caplog.text


async def test_telegrams_own_word_on_how_long_to_wait_is_obeyed(polling: Phone) -> None:
    polling.telegram.script(429, body={"ok": False, "description": "slow", "parameters": {"retry_after": 77}})
    async with polling.listening():
        await polling.called("getUpdates", 2)
    assert polling.clock.elapsed == 77


async def test_of_two_pollers_the_one_that_is_ended_waits_and_comes_back(telegram: FakeTelegram, http: httpx.AsyncClient) -> None:
    one, other = Phone(telegram, http), Phone(telegram, http)
    async with one.listening():
        await telegram.expect(1)
        async with other.listening():
            await telegram.expect(4)        # each ends the other, for ever
    assert one.clock.elapsed >= 1
    assert other.clock.elapsed >= 1


async def test_a_poll_waits_longer_than_the_client_would(telegram: FakeTelegram) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=0.05) as impatient:
        phone = Phone(telegram, impatient)
        async with phone.listening():
            await telegram.expect(1)
            with suppress(httpx.ReadTimeout):       # as long as this client waits for anything
                await impatient.post(f"{telegram.url}/bot{TOKEN}/getUpdates", data={
                    "timeout": "50", "limit": "1", "allowed_updates": '["message", "callback_query"]'})
            await phone.called("getUpdates", 3)
        assert phone.clock.elapsed == 1, "ended by the other poll, and not by a timeout before it"


async def test_a_telegram_that_does_not_hold_a_poll_is_not_asked_in_a_tight_loop(polling: Phone) -> None:
    polling.telegram.script(body={"ok": True, "result": []}, times=20)
    async with polling.listening():
        await polling.called("getUpdates", 21)
    assert polling.clock.elapsed == pytest.approx(20 * PAUSE)


async def test_updates_too_long_to_be_read_together_are_read_one_by_one(polling: Phone) -> None:
    for number in range(30):
        await polling.telegram.press(f"a.{number}.1..mac", text="x" * 60_000)
    async with polling.listening():
        await polling.ear.heard(30)
    assert [form["limit"] for form in polling.forms("getUpdates")][:4] == [str(BATCH), "1", "2", "4"]
    assert len(set(polling.ear.asks)) == 30


async def test_an_update_that_cannot_be_read_stops_nothing(polling: Phone) -> None:
    for odd in ({"callback_query": {"id": []}}, {"message": 5}, {"message": {"message_id": 1, "date": 10**18}}, {"poll": {}}):
        await polling.telegram.push({"update_id": 6000 + len(polling.telegram.updates), **odd})
    async with polling.listening():
        await polling.telegram.press("a.1.1..mac")
        await polling.ear.heard()
        await polling.called("getUpdates", 2)
    assert len(polling.ear.asks) == 1
    assert polling.telegram.updates == []


# --- what the person is told --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("outcome", "is_alert"), [
    (Outcome.done, False), (Outcome.already, False), (Outcome.told, False), (Outcome.refused, True), (Outcome.held, True),
])
async def test_a_refusal_must_be_confirmed_and_a_success_passes(hooked: Phone, outcome: Outcome, is_alert: bool) -> None:
    hooked.ear.answer = Answer(outcome, "words")
    await hooked.post(pressed_update(1, "data", 5, GROUP, 101))
    assert hooked.telegram.toasts == {"q1": ("words", is_alert)}
    assert hooked.telegram.messages == {}


async def test_a_held_press_asks_in_the_chat_and_the_question_goes_when_it_is_answered(hooked: Phone) -> None:
    hooked.ear.answer = Answer(Outcome.held, "#17 still fires.", 17, force="rf.1.1..mac")
    await hooked.post(pressed_update(1, "r.1.1..mac", 5, GROUP, 88, is_topic_message=True, message_thread_id=7))
    (question,) = hooked.telegram.messages.values()
    assert (question.text, question.reply_to, question.topic) == ("Ayse Yilmaz: #17 still fires.", 88, "7")
    assert question.keyboard == (((FORCE_LABEL, "rf.1.1..mac"),),)
    hooked.ear.answer = DONE
    markup = {"inline_keyboard": [[{"text": FORCE_LABEL, "callback_data": "rf.1.1..mac"}]]}
    root = pressed_update(2, "", 5, GROUP, 88)["callback_query"]["message"]
    await hooked.post(pressed_update(2, "rf.1.1..mac", 5, GROUP, question.id, reply_markup=markup, reply_to_message=root))
    assert question.keyboard == ()
    assert hooked.ear.asks[-1].message == "88", "the live message, as the receipt names it"


async def test_a_question_that_was_refused_stays(hooked: Phone) -> None:
    hooked.ear.answer = Answer(Outcome.refused, "You may not.")
    markup = {"inline_keyboard": [[{"text": FORCE_LABEL, "callback_data": "rf.1.1..mac"}]]}
    await hooked.post(pressed_update(2, "rf.1.1..mac", 6, GROUP, 90, reply_markup=markup))
    assert hooked.telegram.calls() == ["answerCallbackQuery"]


@pytest.mark.parametrize("text", [*HOSTILE, "🔥" * 5_000, "\ud800 half"], ids=lambda text: ascii(text[:12]))
async def test_an_answer_is_shown_as_it_is_within_the_limits(hooked: Phone, text: str) -> None:
    hooked.ear.answer = Answer(Outcome.held, text, force="f" * 64)
    await hooked.post(pressed_update(1, "data", 5, GROUP, 101))
    await hooked.post(said_update(2, "/list", 5, GROUP))
    assert units(hooked.telegram.toasts["q1"][0]) <= 200
    assert len(hooked.telegram.messages) == 2, "nothing was refused"
    assert hooked.telegram.toasts["q1"][0][:12] == text[:12].encode("utf-8", "replace").decode()
    assert all("parse_mode" not in form for form in hooked.forms("sendMessage"))


async def test_typed_words_are_answered_by_a_reply_in_their_topic(hooked: Phone) -> None:
    hooked.ear.answer = Answer(Outcome.told, "#17 critical: AgentRewardNegative")
    await hooked.post(said_update(6500, "/list", 5, GROUP, is_topic_message=True, message_thread_id=7))
    (reply,) = hooked.telegram.messages.values()
    assert (reply.text, reply.reply_to, reply.topic, reply.keyboard) == ("#17 critical: AgentRewardNegative", 500, "7", ())
    assert "answerCallbackQuery" not in hooked.telegram.calls()


@pytest.mark.parametrize("failing", [
    refusal(400, "Bad Request: query is too old and response timeout expired or query ID is invalid"),
    refusal(502, "Bad Gateway"), refusal(429, "Too Many"), HttpAnswer(drop=True), HttpAnswer(body="<html>"),
])
async def test_an_answer_that_telegram_does_not_take_is_a_log_line(
        hooked: Phone, failing: HttpAnswer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="alerthub")
    hooked.telegram.answer = lambda request: failing
    assert await hooked.post(pressed_update(1, "data", 5, GROUP, 101)) == Reply()
    assert len(hooked.telegram.requests) == 1
    assert [record.event for record in caplog.records] == ["telegram.press.unanswered"]
    assert SECRET not in caplog.text


# --- webhook ------------------------------------------------------------------------------------------------------------------

async def test_the_webhook_is_registered_and_that_is_all(hooked: Phone) -> None:
    hooked.telegram.script(502, times=2)
    async with asyncio.timeout(PATIENCE):
        await hooked.listener.listen(hooked.ear.take)
    assert hooked.telegram.webhook == {
        "url": "https://hub.example.com/replies/telegram", "secret_token": HOOK, "drop_pending_updates": "false",
        "allowed_updates": '["message", "callback_query"]'}
    assert hooked.clock.elapsed == 3.0


async def test_a_genuine_update_is_taken_and_answered_with_nothing(hooked: Phone) -> None:
    assert await hooked.post(pressed_update(9, "a.1.1..mac", 5, GROUP, 101)) == Reply(200, b"")
    assert hooked.ear.asks[0].key == "telegram:123456789:9"
    assert await hooked.post({"update_id": 10, "poll": {}}) == Reply(200, b"")


async def test_a_busy_hub_asks_telegram_to_come_again_and_tells_nobody(hooked: Phone) -> None:
    hooked.ear.answer = BUSY
    assert (await hooked.post(pressed_update(9, "a.1.1..mac", 5, GROUP, 101))).status == 503
    assert hooked.telegram.requests == []


@pytest.mark.parametrize("secret", [None, "", HOOK + "x", HOOK[:-1], HOOK.upper(), "é", "\ud800", "x" * 100_000, "\x00"])
async def test_without_the_secret_nothing_is_heard(hooked: Phone, secret: str | None) -> None:
    for body in (pressed_update(9, "a.1.1..mac", 5, GROUP, 101), b"\xff{"):
        with pytest.raises(Forged) as caught:
            await hooked.post(body, secret)
        assert caught.value.status == 401
        assert HOOK not in str(caught.value)
    assert hooked.ear.asks == []


async def test_who_polls_takes_nothing_at_the_door(polling: Phone) -> None:
    for secret in (None, "", HOOK):
        with pytest.raises(Forged):
            await polling.post(pressed_update(9, "a.1.1..mac", 5, GROUP, 101), secret)


async def test_two_bots_behind_one_address_are_told_apart_by_their_secrets(
        telegram: FakeTelegram, http: httpx.AsyncClient) -> None:
    shared = TelegramGlobal(telegram_bot_token=TOKEN, telegram_webhook_secret=HOOK, telegram_api_url=telegram.url)
    own = TelegramConfig(chat_id=GROUP, bot_token="42:own", api_url=telegram.url)
    common, other = listeners(shared, Hearing((own,), public_url="https://hub"), Wire(http, FakeClock()))
    telegram.token = "42:own"
    await other.listen(Ear().take)
    derived = telegram.webhook["secret_token"]
    assert derived != HOOK
    inbound = Inbound("", {"x-telegram-bot-api-secret-token": derived}, b'{"update_id": 1}', START)
    assert await other.receive(inbound, Ear().take) == Reply()
    with pytest.raises(Forged):
        await common.receive(inbound, Ear().take)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(GROUP) | st.just("/list@x"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["id", "from", "message", "chat", "data", "text", "type", "date", "message_id", "is_bot", "first_name", "entities",
         "reply_markup", "inline_keyboard", "reply_to_message", "username"]), inner, max_size=6), max_leaves=12)
ODD = (st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")) | VALUES.map(json.dumps).map(str.encode)
       | st.builds(lambda kind, inner: json.dumps({"update_id": 1, kind: inner}).encode(),
                   st.sampled_from(["message", "callback_query"]), VALUES))


def offline(ear: Ear) -> TelegramListener:
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(500)))
    shared = TelegramGlobal(telegram_bot_token=TOKEN, telegram_webhook_secret=HOOK)
    return listeners(shared, Hearing((TelegramConfig(chat_id=GROUP),)), Wire(client, FakeClock()))[0]


async def outcome_of(body: bytes, secret: str) -> Reply | str:
    ear = Ear()
    listener = offline(ear)
    try:
        return await listener.receive(Inbound("", {"x-telegram-bot-api-secret-token": secret}, body, START), ear.take)
    except (Forged, Unreadable) as error:
        assert ear.asks == []
        return type(error).__name__
    finally:
        await listener.aclose()


@settings(max_examples=300, deadline=None)
@given(body=ODD, secret=st.sampled_from([HOOK, "wrong"]))
def test_no_bytes_are_more_than_forged_or_unreadable(body: bytes, secret: str) -> None:
    told = asyncio.run(outcome_of(body, secret))
    assert told == "Forged" if secret == "wrong" else told in (Reply(), Reply(503), "Unreadable")


# --- whom and where it hears ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("chat", "shown", "is_heard"), [
    (GROUP, {}, True), (-999, {}, False), (-999, {"username": "alerts_room"}, True), (-999, {"username": "other"}, False),
    (5, {}, True), (6, {}, False), (5, {"type": "group"}, False),
])
async def test_only_the_hubs_chats_and_private_ones_count(
        hooked: Phone, chat: int, shown: dict[str, Any], is_heard: bool) -> None:
    press, words = pressed_update(1, "data", 5, chat, 101), said_update(2, "/list", 5, chat)
    press["callback_query"]["message"]["chat"].update(shown)
    words["message"]["chat"].update(shown)
    await hooked.post(press)
    await hooked.post(words)
    assert [type(ask) for ask in hooked.ear.asks] == ([Press, Typed] if is_heard else [])
    ((text, is_alert),) = hooked.telegram.toasts.values()
    assert ("not one of the hub's" in text) is is_alert is not is_heard
    assert len(hooked.telegram.messages) == is_heard, "strangers' words are passed over in silence"


@pytest.mark.parametrize(("text", "is_heard"), [
    ("/ack@alerthubbot 17", True), ("/ack@AlertHubBot 17", True), ("/ack@OtherBot 17", False), ("/frobnicate@AlertHubBot", True),
])
async def test_a_command_for_another_bot_is_passed_over(hooked: Phone, text: str, is_heard: bool) -> None:
    await hooked.post(said_update(1, text, 5, GROUP))
    await hooked.post(said_update(2, text, 5, GROUP))
    assert len(hooked.ear.asks) == 2 * is_heard
    assert hooked.telegram.calls().count("getMe") == 1


async def test_while_the_own_name_is_unknown_such_a_command_comes_again(hooked: Phone) -> None:
    hooked.telegram.script(502)
    assert (await hooked.post(said_update(1, "/ack@AlertHubBot 17", 5, GROUP))).status == 503
    assert (await hooked.post(said_update(1, "/ack@AlertHubBot 17", 5, GROUP))).status == 200
    assert hooked.ear.asks[0].words == "ack 17"


async def test_a_press_that_a_bot_made_is_not_heard(hooked: Phone) -> None:
    await hooked.post(pressed_update(1, "data", 5, GROUP, 101, user=person(5, is_bot=True)))
    assert hooked.ear.asks == []
