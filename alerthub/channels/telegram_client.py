"""Telegram's wire: python-telegram-bot over the hub's own client, and what its errors mean in our words (PROTOCOLS 3.3)."""

from __future__ import annotations

import json
import logging
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import telegram
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
from telegram.request import BaseRequest, RequestData

from alerthub.channels.answers import RETRY_AFTER_CAP, failure_for_status, retry_after
from alerthub.channels.http import Answer, post
from alerthub.channels.text import clip, one_line
from alerthub.clock import Clock
from alerthub.errors import Failure, SendFailed

CHAT = re.compile(r"-?\d{1,20}|@[A-Za-z0-9_]{4,64}")
DETAIL = 200

# At DEBUG the library prints its base address, which holds the token (PROTOCOLS 3.4).
_library = logging.getLogger("telegram")
_library.setLevel(max(_library.level, logging.INFO))

# What Telegram calls a bad request, by a part of its words. Without a match the text itself is to blame (PROTOCOLS 3.3).
NOT_MODIFIED = ("message is not modified",)
TOPIC_GONE = ("message thread not found", "topic_closed", "topic_deleted", "topic_id_invalid")      # PROTOCOLS 3.6
MESSAGE_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid", "message identifier is not")
CHAT_UNUSABLE = ("chat not found", "chat_id is empty", "peer_id_invalid", "not enough rights", "have no rights",
                 "need administrator rights", "chat_write_forbidden", "chat_admin_required", "chat_restricted",
                 "user is deactivated", "group chat was deactivated", "user not found", "channel_private")


class SilentBot(telegram.Bot):
    """python-telegram-bot's Bot, whose `repr` would show the token (PROTOCOLS 3.4)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "SilentBot()"

    @classmethod
    def over(cls, request: BaseRequest, token: str, url: str) -> SilentBot:
        return cls(token, base_url=lambda secret: f"{url}/bot{secret}", request=request, get_updates_request=request)


class WireRequest(BaseRequest):
    """Requests over the hub's own client: one pool, no proxy from the environment, no redirect, a bounded answer (R-21).

    What python-telegram-bot's errors cannot tell (a status of its own, `Retry-After` without parameters, whether the message
    may have arrived) is raised as SendFailed; it comes out as the cause of a NetworkError.
    """

    __slots__ = ("_client", "_clock")
    SPOKEN = frozenset({400, 401, 403, 404, 409})      # the statuses that the library has words for (PROTOCOLS 3.3)

    def __init__(self, client: httpx.AsyncClient, clock: Clock) -> None:
        self._client, self._clock = client, clock

    @property
    def read_timeout(self) -> float | None:
        return None         # the caller bounds the whole attempt

    async def initialize(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def do_request(self, url: str, method: str, request_data: RequestData | None = None,
                         *timeouts: object, **named_timeouts: object) -> tuple[int, bytes]:
        content = urlencode(request_data.json_parameters if request_data else {}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": self.USER_AGENT}
        answer = await post(self._client, url, content, headers)
        if 200 <= answer.status <= 299 or answer.status in self.SPOKEN:
            return answer.status, answer.body
        reason = failure_for_status(answer.status)
        after = self._wait(answer) if reason is Failure.rate_limited else None
        raise SendFailed(reason, f"Telegram answered {answer.status}", after=after)

    def _wait(self, answer: Answer) -> float | None:
        parameters = answer.json().get("parameters")
        asked = parameters.get("retry_after") if isinstance(parameters, dict) else None
        return retry_after(str(asked) if asked is not None else answer.headers.get("retry-after"), self._clock.now())

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """As the library does it, but quiet: its own logs the whole answer, which may echo the address with the token."""
        try:
            value = json.loads(payload.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


def says(error: TelegramError, words: tuple[str, ...]) -> bool:
    return any(word in error.message.lower() for word in words)


def failure_of(error: TelegramError) -> SendFailed:
    """What python-telegram-bot raises, in our words (PROTOCOLS 3.3). BadRequest comes before NetworkError, whose subclass
    it is: a text that can never pass must not be retried for ever."""
    detail = one_line(error.message)
    match error:
        case RetryAfter():
            wait = error.retry_after
            seconds = wait.total_seconds() if isinstance(wait, timedelta) else float(wait)
            return SendFailed(Failure.rate_limited, detail, after=min(max(seconds, 0.0), RETRY_AFTER_CAP))
        case ChatMigrated() if CHAT.fullmatch(str(error.new_chat_id)):
            return SendFailed(Failure.moved, detail, moved_to=str(error.new_chat_id))
        case BadRequest():
            return SendFailed(bad_request(error), detail)
        case InvalidToken() | Forbidden() | Conflict():
            return SendFailed(Failure.configuration, detail)
        case TimedOut():
            return SendFailed(Failure.timeout, detail)
        case NetworkError():
            cause = error.__cause__
            return cause if isinstance(cause, SendFailed) else SendFailed(Failure.unavailable, detail)
        case _:
            return SendFailed(Failure.bug, detail)


def bad_request(error: BadRequest) -> Failure:
    if says(error, MESSAGE_GONE):
        return Failure.stale_handle
    return Failure.configuration if says(error, CHAT_UNUSABLE + TOPIC_GONE) else Failure.content


def without_secret(text: str, token: str) -> str:
    """The text, cut, with the token and its secret half taken out, also where an address has it escaped."""
    secret = token.partition(":")[2]
    for part in (token, token.replace(":", "%3A"), token.replace(":", "%3a"), secret):
        text = text.replace(part, "***")
    return clip(text, DETAIL)
