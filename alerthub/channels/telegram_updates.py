"""What a person did in Telegram: one update, read into an Ask and where its answer goes. Pure; listening is in
telegram_answers.py.

`from.id` is the only proof of who spoke, and `chat.id` of where (PROTOCOLS 3.6); names are only shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from telegram import CallbackQuery, Chat, InlineKeyboardMarkup, MaybeInaccessibleMessage, Message, Update, User

from alerthub.channels.telegram_client import NONSENSE
from alerthub.channels.telegram_html import encodable
from alerthub.channels.text import NAME_LIMIT
from alerthub.domain.command import Press, Typed
from alerthub.domain.person import Account
from alerthub.domain.wording import one_line

ALLOWED = ["message", "callback_query"]
COMMAND = re.compile(r"/([A-Za-z0-9_-]+)(?:@([A-Za-z0-9_]+))?(?:\s+(.*))?", re.DOTALL)
FORCE_LABEL = "Resolve anyway"      # the one button of a question
COMMANDS = frozenset({
    "list", "ack", "unack", "resolve", "silence", "escalate", "comment", "who", "oncall", "link", "help", "start",
    "runs", "approve", "deny", "latches", "release", "override", "freeze", "unfreeze",
})


class NotAnUpdate(ValueError):
    """What Telegram does not send: not an object with an update_id."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was asked, and where. `message` is what an answer replies to; `query` is to be answered, empty for typed words.
    `addressed`: the bot that a command names. `is_question`: the pressed button is the one that asks whether to force."""

    ask: Press | Typed
    chat: int
    chat_name: str
    is_private: bool
    message: int | None
    topic: int | None
    query: str = ""
    addressed: str = ""
    is_question: bool = False


@dataclass(frozen=True, slots=True)
class Chats:
    """The chats of the configuration. Anybody can take a bot into a chat of their own; what is said there does not count."""

    ids: frozenset[int]
    names: frozenset[str]

    @classmethod
    def of(cls, configured: Iterable[int | str]) -> Chats:
        words = frozenset(str(chat) for chat in configured)
        names = frozenset(word for word in words if word.startswith("@"))
        return cls(frozenset(int(word) for word in words - names), frozenset(name.lower() for name in names))

    def know(self, heard: Heard) -> bool:
        """Whether it is one of them, or the private chat of whoever speaks."""
        return (heard.chat in self.ids or f"@{heard.chat_name}".lower() in self.names
                or (heard.is_private and str(heard.chat) == heard.ask.by.id))


def raw_update(body: bytes) -> dict[str, Any]:
    """The object in the body. Raises NotAnUpdate."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAnUpdate from None
    if not isinstance(raw, dict) or type(raw.get("update_id")) is not int:
        raise NotAnUpdate
    return raw


def heard_in(raw: dict[str, Any], bot: str) -> Heard | None:
    """What is for the hub in an update of this bot; None for everything else, also for what cannot be read: an update that is
    refused comes again for ever, before all others."""
    try:
        update = Update.de_json(raw)
        key = f"telegram:{bot}:{update.update_id}"
        if update.callback_query is not None:
            return pressed(update.callback_query, key)
        return typed(update.message, key) if update.message is not None else None
    except NONSENSE:
        return None


def pressed(query: CallbackQuery, key: str) -> Heard | None:
    """A button. Of a message that is too old to be shown, or inline, Telegram says less; the token says the rest."""
    if not is_person(query.from_user):
        return None
    message, shown = query.message, query.message if isinstance(query.message, Message) else None
    is_question = shown is not None and asks_to_force(shown.reply_markup)
    about = shown.reply_to_message if shown is not None and is_question else message
    chat, number = place_of(message)
    ask = Press(token=clean(query.data or ""), by=account(query.from_user), key=key,
                place=str(chat.id) if chat is not None else "", message=str(about.message_id) if about is not None else "")
    return Heard(ask, chat.id if chat is not None else 0, name_of(chat), is_private(chat), number, topic_of(shown),
                 query=clean(query.id), is_question=is_question)


def typed(message: Message, key: str) -> Heard | None:
    """A command. What a chat says in its own name, or what was forwarded, no person has said here."""
    user, chat = message.from_user, message.chat
    if user is None or not is_person(user) or message.sender_chat is not None or message.forward_origin is not None:
        return None
    match = COMMAND.fullmatch(message.text.strip()) if isinstance(message.text, str) else None
    if match is None:
        return None
    command, addressed, rest = match[1], match[2] or "", match[3] or ""
    if command.lower() not in COMMANDS and not addressed and not is_private(chat):
        return None         # in a group it may be for another bot
    _, number = place_of(message)
    ask = Typed(words=clean(f"{command} {rest}"), by=account(user), key=key, place=str(chat.id))
    return Heard(ask, chat.id, name_of(chat), is_private(chat), number, topic_of(message), addressed=addressed.lower())


def is_person(user: User) -> bool:
    return type(user.id) is int and user.is_bot is False


def account(user: User) -> Account:
    shown = user.full_name or user.username or ""
    return Account("telegram", str(user.id), one_line(encodable(shown), NAME_LIMIT))


def place_of(message: MaybeInaccessibleMessage | None) -> tuple[Chat | None, int | None]:
    """Chat and number of a message. Raises TypeError for ids that are none."""
    if message is None:
        return None, None
    if type(message.chat.id) is not int or type(message.message_id) is not int:
        raise TypeError("an id is a number")
    return message.chat, message.message_id


def name_of(chat: Chat | None) -> str:
    return chat.username if chat is not None and isinstance(chat.username, str) else ""


def is_private(chat: Chat | None) -> bool:
    return chat is not None and chat.type == Chat.PRIVATE


def topic_of(message: Message | None) -> int | None:
    """Only of a forum: elsewhere the number of a thread cannot be answered to."""
    in_topic = message is not None and message.is_topic_message is True and type(message.message_thread_id) is int
    return message.message_thread_id if message is not None and in_topic else None


def asks_to_force(markup: InlineKeyboardMarkup | None) -> bool:
    return markup is not None and [button.text for row in markup.inline_keyboard for button in row] == [FORCE_LABEL]


def clean(text: str) -> str:
    """One line that both databases can hold."""
    return one_line(encodable(text))
