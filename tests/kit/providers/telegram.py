"""Telegram as a test sees it: a Bot API that keeps chats, parses HTML as strictly as the real one, and refuses what it refuses.

Rules are PROTOCOLS 3.1-3.3 and 3.6: only known tags, escaped text, 4096 UTF-16 units after parsing, at most 100 entities;
buttons carry 1 to 64 bytes; one poller, and none beside a webhook; an update stays until a later one is asked for.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from typing import Any

from tests.kit.providers.http import Answer, FakeProvider, Request

TAGS = frozenset({"b", "i", "u", "s", "code", "pre", "a", "blockquote", "tg-spoiler"})
ENTITIES = 100
UNITS = 4096
SECRET = "AAF-canary_7f3a9d51c2e8"      # of the bot that tests configure
TOKEN = f"123456789:{SECRET}"
DATA_BYTES = 64
TOAST = 200
CHATLESS = frozenset({"getUpdates", "answerCallbackQuery", "setWebhook", "deleteWebhook", "getWebhookInfo", "getMe"})
Keyboard = tuple[tuple[tuple[str, str], ...], ...]      # rows of (text, data)


class Refused(Exception):
    """What Telegram would answer with a 400."""


class Strict(HTMLParser):
    """The text of Telegram's HTML, and how many entities it has."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.text, self.entities, self.open, self.links = "", 0, [], []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS or [name for name, _ in attrs] != (["href"] if tag == "a" else []):
            raise Refused(f'Bad Request: can\'t parse entities: Unsupported start tag "{tag}"')
        self.entities += 1
        self.open.append(tag)
        self.links += [value for _, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            raise Refused("Bad Request: can't parse entities: unmatched end tag")

    def handle_data(self, data: str) -> None:
        if "<" in data or "&" in data:
            raise Refused("Bad Request: can't parse entities: unescaped character")
        self.text += data

    def handle_entityref(self, name: str) -> None:
        self.text += unescape(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.text += unescape(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        raise Refused("Bad Request: can't parse entities: comment")


def parsed(text: str) -> Strict:
    parser = Strict()
    parser.feed(text)
    parser.close()
    if parser.open:
        raise Refused("Bad Request: can't parse entities: can't find end tag")
    return parser


def shown(form: dict[str, str]) -> str:
    """What a person reads of one call."""
    return parsed(form["text"]).text if form.get("parse_mode") == "HTML" else form["text"]


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def checked(form: dict[str, str]) -> str:
    """The shown text. Raises Refused for what Telegram would refuse."""
    text = shown(form)
    if not text.strip():
        raise Refused("Bad Request: message text is empty")
    if units(text) > UNITS:
        raise Refused("Bad Request: message is too long")
    if form.get("parse_mode") == "HTML" and parsed(form["text"]).entities > ENTITIES:
        raise Refused("Bad Request: too many entities")
    return text


def keyboard_of(form: dict[str, str]) -> Keyboard:
    """Raises Refused for a button that Telegram would refuse."""
    rows = json.loads(form.get("reply_markup", '{"inline_keyboard": []}'))["inline_keyboard"]
    for button in itertools.chain(*rows):
        if not button["text"].strip() or not 1 <= len(button["callback_data"].encode()) <= DATA_BYTES:
            raise Refused("Bad Request: BUTTON_DATA_INVALID")
    return tuple(tuple((button["text"], button["callback_data"]) for button in row) for row in rows)


@dataclass(frozen=True, slots=True)
class Waiting(Answer):
    """An answer to getUpdates that may have to wait for something to tell."""

    offset: int = 0
    limit: int = 100
    turn: int = 0


@dataclass(slots=True)
class Sent:
    chat: str
    id: int
    text: str
    reply_to: int | None
    topic: str | None
    silent: bool
    edits: int = 0
    keyboard: Keyboard = ()


class FakeTelegram(FakeProvider):
    """`messages` is what the chats show now. `closed_topics`, `migrated` (old chat → new) and `forbidden` make it refuse.

    `press` and `say` are what people do: an update that waits in `updates` until it is confirmed. `toasts` is what they were
    told at once, by query: (text, whether as an alert). `conflicts`: how often somebody polled while another one did."""

    def __init__(self, token: str, username: str = "AlertHubBot") -> None:
        super().__init__(self.respond)
        self.token, self.username = token, username
        self.updates: list[dict[str, Any]] = []
        self.toasts: dict[str, tuple[str, bool]] = {}
        self.webhook: dict[str, str] = {}
        self.polls = self.conflicts = 0
        self._update_ids = itertools.count(7001)
        self._news = asyncio.Condition()
        self.messages: dict[tuple[str, int], Sent] = {}
        self.closed_topics: set[str] = set()
        self.migrated: dict[str, int] = {}
        self.forbidden: set[str] = set()
        self._ids = itertools.count(101)

    @property
    def roots(self) -> list[Sent]:
        return [sent for sent in self.messages.values() if sent.reply_to is None]

    @property
    def replies(self) -> list[Sent]:
        return [sent for sent in self.messages.values() if sent.reply_to is not None]

    def calls(self) -> list[str]:
        return [request.path.rpartition("/")[2] for request in self.requests]

    def respond(self, request: Request) -> Answer:
        token, _, method = request.path.removeprefix("/bot").rpartition("/")
        if token != self.token:
            return refusal(401, "Unauthorized")
        form = request.form()
        if method in CHATLESS:
            return self.chatless(method, form)
        chat = form["chat_id"]
        if chat in self.migrated:
            return refusal(400, "Bad Request: group chat was upgraded to a supergroup chat",
                           migrate_to_chat_id=self.migrated[chat])
        if chat in self.forbidden:
            return refusal(403, "Forbidden: bot was kicked from the group chat")
        try:
            sent = self.send(form) if method == "sendMessage" else self.edit(form, with_text=method == "editMessageText")
        except Refused as error:
            return refusal(400, str(error))
        number = int(chat) if chat.lstrip("-").isdecimal() else -100123
        kind = "private" if number > 0 else "supergroup"
        return Answer(body={"ok": True, "result": {"message_id": sent.id, "date": 1, "text": sent.text,
                                                   "chat": {"id": number, "type": kind}}})

    def chatless(self, method: str, form: dict[str, str]) -> Answer:
        if method == "getUpdates":
            return self.poll(form)
        if method == "getMe":
            me = {"id": int(self.token.partition(":")[0]), "is_bot": True, "first_name": "Hub", "username": self.username}
            return Answer(body={"ok": True, "result": me})
        if method == "answerCallbackQuery":
            return self.toast(form)
        if method == "getWebhookInfo":
            return Answer(body={"ok": True, "result": {"url": self.webhook.get("url", ""), "has_custom_certificate": False,
                                                       "pending_update_count": len(self.updates)}})
        self.webhook = form if method == "setWebhook" and form.get("url") else {}
        return Answer(body={"ok": True, "result": True})

    def poll(self, form: dict[str, str]) -> Answer:
        """A new poll ends the one that waits."""
        if self.webhook:
            return refusal(409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete "
                                "the webhook first")
        self.polls += 1
        offset = int(form.get("offset", 0))
        self.updates = [update for update in self.updates if update["update_id"] >= offset]
        assert json.loads(form["allowed_updates"]) == ["message", "callback_query"]
        assert 1 <= int(form["timeout"]) <= 50
        return Waiting(offset=offset, limit=int(form["limit"]), turn=self.polls)

    async def _reply(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        if isinstance(answer, Waiting):
            async with self._news:
                self._news.notify_all()
                await self._news.wait_for(lambda: self.updates or answer.turn != self.polls)
            if answer.turn != self.polls:
                self.conflicts += not self.is_gone(writer)
                answer = refusal(409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance "
                                      "is running")
            else:
                answer = Answer(body={"ok": True, "result": self.updates[:answer.limit]})
        await super()._reply(writer, answer)

    def toast(self, form: dict[str, str]) -> Answer:
        query = form["callback_query_id"]
        if query in self.toasts:
            return refusal(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        if units(form.get("text", "")) > TOAST:
            return refusal(400, "Bad Request: MESSAGE_TOO_LONG")
        self.toasts[query] = form.get("text", ""), form.get("show_alert") == "true"
        return Answer(body={"ok": True, "result": True})

    async def push(self, update: dict[str, Any]) -> dict[str, Any]:
        """An update as Telegram would send it, waiting to be got."""
        async with self._news:
            self.updates.append(update)
            self._news.notify_all()
        return update

    async def press(self, data: str, by: int = 5, chat: int = -1001234567890, message: int = 101, **rest: Any) -> dict[str, Any]:
        return await self.push(pressed_update(next(self._update_ids), data, by, chat, message, **rest))

    async def say(self, text: str, by: int = 5, chat: int = -1001234567890, **rest: Any) -> dict[str, Any]:
        return await self.push(said_update(next(self._update_ids), text, by, chat, **rest))

    def send(self, form: dict[str, str]) -> Sent:
        if form.get("message_thread_id") in self.closed_topics:
            raise Refused("Bad Request: TOPIC_CLOSED")
        reply: dict[str, Any] = json.loads(form.get("reply_parameters", "{}"))
        if reply and not reply.get("allow_sending_without_reply"):
            raise Refused("Bad Request: message to be replied not found")
        sent = Sent(form["chat_id"], next(self._ids), checked(form), reply.get("message_id"), form.get("message_thread_id"),
                    form.get("disable_notification") == "true", keyboard=keyboard_of(form))
        self.messages[sent.chat, sent.id] = sent
        return sent

    def edit(self, form: dict[str, str], *, with_text: bool) -> Sent:
        sent = self.messages.get((form["chat_id"], int(form["message_id"])))
        if sent is None:
            raise Refused("Bad Request: message to edit not found")
        text, keyboard = checked(form) if with_text else sent.text, keyboard_of(form)
        if (text, keyboard) == (sent.text, sent.keyboard):
            raise Refused("Bad Request: message is not modified: specified new message content and reply markup are exactly "
                          "the same as a current content and reply markup of the message")
        sent.text, sent.keyboard, sent.edits = text, keyboard, sent.edits + 1
        return sent


def person(number: int, **rest: Any) -> dict[str, Any]:
    return {"id": number, "is_bot": False, "first_name": "Ayse", "last_name": "Yilmaz", "username": "ayse", **rest}


def place(chat: int, **rest: Any) -> dict[str, Any]:
    return {"id": chat, "type": "private" if chat > 0 else "supergroup", **rest}


def pressed_update(number: int, data: str, by: int, chat: int, message: int, *, query: str = "", user: Any = None,
                   **rest: Any) -> dict[str, Any]:
    """A press; `rest` are further fields of the message that held the button."""
    held = {"message_id": message, "date": 1_790_000_000, "chat": place(chat), "text": "FIRING", **rest}
    return {"update_id": number, "callback_query": {
        "id": query or f"q{number}", "from": user or person(by), "message": held, "chat_instance": "x", "data": data}}


def said_update(number: int, text: str, by: int, chat: int, *, user: Any = None, **rest: Any) -> dict[str, Any]:
    entities = [{"type": "bot_command", "offset": 0, "length": len(re.split(r"\s", text)[0])}] if text.startswith("/") else []
    return {"update_id": number, "message": {
        "message_id": number - 6000, "date": 1_790_000_000, "chat": place(chat), "from": user or person(by), "text": text,
        "entities": entities, **rest}}


def refusal(status: int, words: str, **parameters: Any) -> Answer:
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": words}
    return Answer(status, body={**body, "parameters": parameters} if parameters else body)
