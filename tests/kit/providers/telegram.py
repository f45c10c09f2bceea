"""Telegram as a test sees it: a Bot API that keeps chats, parses HTML as strictly as the real one, and refuses what it refuses.

Rules are PROTOCOLS 3.1-3.3: only known tags, escaped text, 4096 UTF-16 units after parsing, at most 100 entities.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from typing import Any

from tests.kit.providers.http import Answer, FakeProvider, Request

TAGS = frozenset({"b", "i", "u", "s", "code", "pre", "a", "blockquote", "tg-spoiler"})
ENTITIES = 100
UNITS = 4096


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


@dataclass(slots=True)
class Sent:
    chat: str
    id: int
    text: str
    reply_to: int | None
    topic: str | None
    silent: bool
    edits: int = 0


class FakeTelegram(FakeProvider):
    """`messages` is what the chats show now. `closed_topics`, `migrated` (old chat → new) and `forbidden` make it refuse."""

    def __init__(self, token: str) -> None:
        super().__init__(self.respond)
        self.token = token
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
        chat = form["chat_id"]
        if chat in self.migrated:
            return refusal(400, "Bad Request: group chat was upgraded to a supergroup chat",
                           migrate_to_chat_id=self.migrated[chat])
        if chat in self.forbidden:
            return refusal(403, "Forbidden: bot was kicked from the group chat")
        try:
            sent = self.send(form) if method == "sendMessage" else self.edit(form)
        except Refused as error:
            return refusal(400, str(error))
        number = int(chat) if chat.lstrip("-").isdecimal() else -100123
        kind = "private" if number > 0 else "supergroup"
        return Answer(body={"ok": True, "result": {"message_id": sent.id, "date": 1, "text": sent.text,
                                                   "chat": {"id": number, "type": kind}}})

    def send(self, form: dict[str, str]) -> Sent:
        if form.get("message_thread_id") in self.closed_topics:
            raise Refused("Bad Request: TOPIC_CLOSED")
        reply: dict[str, Any] = json.loads(form.get("reply_parameters", "{}"))
        if reply and not reply.get("allow_sending_without_reply"):
            raise Refused("Bad Request: message to be replied not found")
        sent = Sent(form["chat_id"], next(self._ids), checked(form), reply.get("message_id"), form.get("message_thread_id"),
                    form.get("disable_notification") == "true")
        self.messages[sent.chat, sent.id] = sent
        return sent

    def edit(self, form: dict[str, str]) -> Sent:
        sent = self.messages.get((form["chat_id"], int(form["message_id"])))
        if sent is None:
            raise Refused("Bad Request: message to edit not found")
        text = checked(form)
        if text == sent.text:
            raise Refused("Bad Request: message is not modified: specified new message content and reply markup are exactly "
                          "the same as a current content and reply markup of the message")
        sent.text, sent.edits = text, sent.edits + 1
        return sent


def refusal(status: int, words: str, **parameters: Any) -> Answer:
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": words}
    return Answer(status, body={**body, "parameters": parameters} if parameters else body)
