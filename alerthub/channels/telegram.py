"""Telegram: one live message per incident, edited in place; what is new is a reply to it, so that it makes a sound.

How a message looks is in telegram_html.py. What people answer (buttons, commands) is heard in telegram_answers.py.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, Self

from pydantic import field_validator, model_validator
from telegram import LinkPreviewOptions, ReplyParameters
from telegram.error import BadRequest

from alerthub.channels.base import Budget, ChannelSettings, Wire
from alerthub.channels.telegram_client import (
    CHAT,
    NOT_MODIFIED,
    TOPIC_GONE,
    Keyboard,
    SilentBot,
    WireRequest,
    boundary,
    checked_token,
    checked_url,
    says,
)
from alerthub.channels.telegram_html import REPLIED, button_rows, degraded, live, reply, templated_html, templated_plain
from alerthub.channels.template import Template
from alerthub.domain.message import Message, Receipt, Why
from alerthub.errors import Failure, SendFailed
from alerthub.settings import Secret, Settings, revealed

MESSAGE_ID = re.compile(r"[0-9]{1,18}")
WEBHOOK_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")       # PROTOCOLS 3.1


class TelegramGlobal(Settings):
    """`telegram_updates`: how answers are heard. Unset: by webhook where there is a secret for it, else by polling."""

    telegram_bot_token: Secret | None = None
    telegram_bot_token_file: str | None = None
    telegram_api_url: str = "https://api.telegram.org"
    telegram_webhook_secret: Secret | None = None
    telegram_webhook_secret_file: str | None = None
    telegram_updates: Literal["polling", "webhook", "off"] | None = None

    @field_validator("telegram_webhook_secret")
    @classmethod
    def sendable_secret(cls, secret: Secret | None) -> Secret | None:
        if secret is not None and not WEBHOOK_SECRET.fullmatch(secret.get_secret_value()):
            raise ValueError("telegram_webhook_secret: 1 to 256 of A-Z, a-z, 0-9, _ and -")
        return secret

    @model_validator(mode="after")
    def webhook_has_a_secret(self) -> Self:
        if self.telegram_updates == "webhook" and self.telegram_webhook_secret is None:
            raise ValueError("telegram_updates: webhook needs telegram_webhook_secret_file: without it anybody may press")
        return self

    @property
    def hears_by(self) -> str:
        """`polling`, `webhook` or `off`."""
        return self.telegram_updates or ("polling" if self.telegram_webhook_secret is None else "webhook")


class TelegramConfig(ChannelSettings):
    """One entry of `telegram_configs`. `message` is a template for plain text; it is escaped, never parsed as HTML."""

    bot_token: Secret | None = None
    bot_token_file: str | None = None
    api_url: str | None = None
    chat_id: int | str
    message_thread_id: int | None = None
    parse_mode: Literal["HTML", ""] = "HTML"
    message: str = ""
    disable_notifications: bool = False

    @field_validator("chat_id")
    @classmethod
    def known_chat(cls, chat: int | str) -> int | str:
        if not CHAT.fullmatch(str(chat)):
            raise ValueError("chat_id: a number (negative for a group) or the name of a channel, for example @alerts")
        return chat


class Telegram:
    """One chat, or one topic of it. The bot is never initialised: that would call getMe, and an outage at start must not
    stop the hub (PROTOCOLS 3.7)."""

    kind: ClassVar[str] = "telegram"
    Config = TelegramConfig
    Global = TelegramGlobal
    edits: ClassVar[bool] = True
    digests: ClassVar[bool] = True
    tells_untold_resolved: ClassVar[bool] = True

    def __init__(self, config: TelegramConfig, shared: TelegramGlobal, wire: Wire) -> None:
        self.config = config
        token = revealed(config.bot_token) or revealed(shared.telegram_bot_token)
        if not token:
            raise ValueError("no bot token; set telegram_bot_token_file under global, or bot_token_file here")
        self._token = checked_token(token)
        url = checked_url(config.api_url or shared.telegram_api_url)
        self._template = Template(config.message) if config.message else None
        self._bot = SilentBot.over(WireRequest(wire.http, wire.clock), token, url)

    def __repr__(self) -> str:
        return f"Telegram({self.address!r})"

    @property
    def address(self) -> str:
        topic = self.config.message_thread_id
        return str(self.config.chat_id) if topic is None else f"{self.config.chat_id}/{topic}"

    @property
    def budget(self) -> Budget:
        """Half of 1/s in a private chat and of 20/min in a group or channel (PROTOCOLS 3.1, R-24): a telling is up to two
        calls, an edit and a reply, and edits count."""
        is_private = not str(self.config.chat_id).startswith(("-", "@"))
        return Budget(2.0) if is_private else Budget(6.0)

    async def send(self, message: Message, previous: Receipt | None) -> Receipt:
        """Post, or edit and reply. The edit comes first because it may be repeated: when the reply fails after it, the
        next attempt edits again ("not modified" is a success) and replies. A group that became a supergroup is told as
        `moved`; a handle with `moved_to` and no message is posted there.
        """
        handle = dict(previous.handle) if previous is not None else {}
        chat = handle.get("moved_to") or handle.get("chat_id") or str(self.config.chat_id)
        root = handle.get("message_id")
        if root is None or message.why is Why.digest:
            first, pressed = self._live(message, first=True), keyboard(message)
            with boundary(self._token):
                return await self._post(chat, {**first, "reply_markup": pressed if pressed.inline_keyboard else None})
        if not MESSAGE_ID.fullmatch(root):
            raise SendFailed(Failure.stale_handle, "the receipt names no message of Telegram's")
        shown = {**self._live(message, first=False), "reply_markup": keyboard(message)}
        news = self._reply(message) if message.why in REPLIED and not message.only_edit else None
        with boundary(self._token):
            await self._edit(chat, int(root), shown)
            if news is not None:
                await self._post(chat, news, reply_to=int(root))
        return Receipt(handle)

    async def aclose(self) -> None:
        """Nothing is held open: the connections are the hub's."""

    def _live(self, message: Message, *, first: bool) -> dict[str, Any]:
        if message.is_degraded:
            return {"text": degraded(message)}
        told = self._templated(message)
        if not self.config.parse_mode:
            return {"text": templated_plain(told) or live(message, first=first, html=False)}
        return {"text": templated_html(told) or live(message, first=first), "parse_mode": "HTML"}

    def _templated(self, message: Message) -> str:
        """The configured text; empty for the built-in one, which also stands in for a template that fails."""
        if self._template is None or message.why is Why.digest:
            return ""
        return self._template.render(message) or ""

    def _reply(self, message: Message) -> dict[str, Any]:
        if message.is_degraded or not self.config.parse_mode:
            return {"text": reply(message, html=False)}
        return {"text": reply(message), "parse_mode": "HTML"}

    async def _post(self, chat: str, content: dict[str, Any], reply_to: int | None = None) -> Receipt:
        """A new message; when the topic is closed or gone, in the main chat (PROTOCOLS 3.6)."""
        asked = {"chat_id": chat, **content, "disable_notification": self.config.disable_notifications,
                 "link_preview_options": LinkPreviewOptions(is_disabled=True)}
        if reply_to is not None:
            asked["reply_parameters"] = ReplyParameters(reply_to, allow_sending_without_reply=True)
        try:
            sent = await self._bot.send_message(**asked, message_thread_id=self.config.message_thread_id)
        except BadRequest as error:
            if self.config.message_thread_id is None or not says(error, TOPIC_GONE):
                raise
            sent = await self._bot.send_message(**asked)
        return Receipt({"chat_id": str(sent.chat_id), "message_id": str(sent.message_id)})

    async def _edit(self, chat: str, message_id: int, content: dict[str, Any]) -> None:
        preview = LinkPreviewOptions(is_disabled=True)
        try:
            await self._bot.edit_message_text(chat_id=chat, message_id=message_id, link_preview_options=preview, **content)
        except BadRequest as error:
            if not says(error, NOT_MODIFIED):
                raise


def keyboard(message: Message) -> Keyboard:
    """What can be pressed under the live message; empty, it takes away what was there. Only text may fail in the minimal form,
    so that has none."""
    rows = () if message.is_degraded else button_rows(message.buttons)
    return Keyboard.of([(button.label, button.token) for button in row] for row in rows)
