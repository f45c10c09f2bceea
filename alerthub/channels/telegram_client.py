"""Telegram's wire: python-telegram-bot over the hub's own client, and what its errors mean in our words (PROTOCOLS 3.3)."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
from alerthub.channels.base import ATTEMPT_SECONDS
from alerthub.channels.http import Answer, post, read_capped
from alerthub.clock import Clock
from alerthub.domain.wording import clip, one_line
from alerthub.errors import Failure, SendFailed
from alerthub.outbound import NO_ANSWER

CHAT = re.compile(r"-?\d{1,20}|@[A-Za-z0-9_]{4,64}")
TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]+")
DETAIL = 200
POLL_SECONDS = 50       # how long Telegram holds a getUpdates that has nothing to tell (PROTOCOLS 3.6)
# What python-telegram-bot stumbles over in JSON that is not what it should be (200 with ok:false is a KeyError, PROTOCOLS 3.3;
# a date may be beyond the calendar).
NONSENSE = (LookupError, TypeError, AttributeError, ValueError, RecursionError, OverflowError, OSError)

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

    async def raw_updates(self, offset: int | None, limit: int, allowed: list[str]) -> list[dict[str, Any]]:
        """A long poll, unread: python-telegram-bot's own reads all or nothing, so that one odd update would stop the rest."""
        asked = {"offset": offset, "limit": limit, "timeout": POLL_SECONDS, "allowed_updates": allowed}
        found = await self._post("getUpdates", asked, read_timeout=POLL_SECONDS + ATTEMPT_SECONDS)
        updates = [raw for raw in found if isinstance(raw, dict) and type(raw.get("update_id")) is int]
        if not isinstance(found, list) or (found and not updates):
            raise TypeError("not a list of updates")
        return updates


class Keyboard(telegram.InlineKeyboardMarkup):
    """python-telegram-bot leaves empty lists out; Telegram takes buttons away for one that is written."""

    __slots__ = ()

    def to_dict(self, recursive: bool = True) -> dict[str, Any]:
        return {"inline_keyboard": [], **super().to_dict(recursive)}

    @classmethod
    def of(cls, rows: Iterable[Iterable[tuple[str, str]]]) -> Keyboard:
        """Rows of (label, data)."""
        return cls([[telegram.InlineKeyboardButton(label, callback_data=data) for label, data in row] for row in rows])


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
                         read_timeout: object = None, *timeouts: object, **named_timeouts: object) -> tuple[int, bytes]:
        content = urlencode(request_data.json_parameters if request_data else {}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": self.USER_AGENT}
        if isinstance(read_timeout, float):
            answer = await patient_post(self._client, url, content, headers, read_timeout)
        else:
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


async def patient_post(client: httpx.AsyncClient, url: str, content: bytes, headers: dict[str, str], seconds: float) -> Answer:
    """As `post`, for a request that may wait longer than the client does. Nothing is in doubt after a failure: it only asks."""
    patience = httpx.Timeout(ATTEMPT_SECONDS, read=seconds)
    asked = {**headers, "Accept-Encoding": "identity"}
    try:
        request = client.stream("POST", url, content=content, headers=asked, follow_redirects=False, timeout=patience)
        async with request as response:
            return Answer(response.status_code, response.headers, await read_capped(response))
    except NO_ANSWER as error:
        raise SendFailed(Failure.unavailable, f"no complete answer ({type(error).__name__})") from None


@contextmanager
def boundary(token: str) -> Iterator[None]:
    """The one boundary to python-telegram-bot: what it raises comes out as SendFailed, without the token in it."""
    try:
        yield
    except TelegramError as error:
        failure = failure_of(error)
        detail = without_secret(failure.detail, token)
        raise SendFailed(failure.reason, detail, after=failure.after, moved_to=failure.moved_to) from None
    except NONSENSE as error:
        raise SendFailed(Failure.bug, f"the answer makes no sense ({type(error).__name__})") from None


def checked_token(token: str) -> str:
    """The token, if it can be one. ValueError, which does not repeat it, if not."""
    if not TOKEN.fullmatch(token):
        raise ValueError("the bot token does not look like one; @BotFather gives 123456789:AA…")
    return token


def checked_url(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        raise ValueError("telegram_api_url must be an address that begins with https://")
    return url.rstrip("/")


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
