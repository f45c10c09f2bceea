"""Slack: one live message per incident, edited in place, news in its thread (bot token); or posts only (incoming webhook).

How a message looks is in slack_blocks.py. Answers from Slack (buttons, commands) are heard in slack_answers.py.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import aiohttp
from pydantic import Field, field_validator
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from alerthub.channels.answers import not_reached
from alerthub.channels.base import Budget, ChannelSettings, Wire
from alerthub.channels.http import checked_url, post
from alerthub.channels.slack_blocks import (
    BROADCAST,
    TEXT,
    Block,
    blocks_of,
    escaped,
    fallback_text,
    mention_block,
    mention_text,
    news_line,
    section,
)
from alerthub.channels.slack_client import new_session, refusal
from alerthub.channels.template import Template
from alerthub.domain.alert import Severity
from alerthub.domain.message import Message, Receipt, Why
from alerthub.errors import Failure, SendFailed
from alerthub.settings import Secret, Settings, revealed

MENTION = re.compile(r"[UWS][A-Z0-9]{4,30}|here|channel|everyone")


class SlackGlobal(Settings):
    slack_bot_token: Secret | None = None
    slack_bot_token_file: str | None = None
    slack_signing_secret: Secret | None = None
    slack_signing_secret_file: str | None = None
    slack_app_token: Secret | None = None
    slack_app_token_file: str | None = None
    slack_api_url: Secret | None = None         # incoming webhook
    slack_api_url_file: str | None = None
    slack_base_url: str = "https://slack.com/api/"
    slack_team_id: str | None = None            # T…: only members of this workspace may answer


class SlackConfig(ChannelSettings):
    """One entry of `slack_configs`. `title` and `text` are templates; `mention` is who is called when it is critical."""

    channel: str = ""
    api_url: Secret | None = None
    api_url_file: str | None = None
    title: str | None = None
    text: str | None = None
    username: str | None = None
    icon_emoji: str | None = None
    icon_url: str | None = None
    mention: tuple[str, ...] = Field(default=(), max_length=10)

    @field_validator("mention")
    @classmethod
    def known_mentions(cls, mentions: tuple[str, ...]) -> tuple[str, ...]:
        for mention in mentions:
            if not MENTION.fullmatch(mention):
                raise ValueError("mention: write Slack ids (U012AB3CD, S012AB3CD) or here, channel, everyone")
        return mentions


class Slack:
    """One channel of one workspace. With an incoming webhook there is no handle, so `edits` is False there."""

    kind: ClassVar[str] = "slack"
    Config = SlackConfig
    Global = SlackGlobal
    digests: ClassVar[bool] = True
    tells_untold_resolved: ClassVar[bool] = True
    edits: bool = True

    def __init__(self, config: SlackConfig, shared: SlackGlobal, wire: Wire) -> None:
        self.config, self._wire = config, wire
        self._title = Template(config.title) if config.title else None
        self._text = Template(config.text) if config.text else None
        self._session: aiohttp.ClientSession | None = None
        self._client: AsyncWebClient | None = None
        self._token, self._hook = credentials(config, shared)
        self._base_url = checked_url(shared.slack_base_url, "slack_base_url").rstrip("/") + "/"
        if self._hook:
            self.edits = False

    def __repr__(self) -> str:
        return f"Slack({self.address!r})"

    @property
    def address(self) -> str:
        if not self._hook:
            return self.config.channel
        mark = hashlib.sha256(self._hook.encode()).hexdigest()[:8]
        return "/".join(part for part in ("incoming-webhook", self.config.channel, mark) if part)

    @property
    def budget(self) -> Budget:
        """One message a second per channel (PROTOCOLS 2.7)."""
        return Budget(1.0)

    async def send(self, message: Message, previous: Receipt | None) -> Receipt:
        """Post, or edit and thread. The edit comes first because it may be repeated: when the thread's line fails
        after it, the next attempt edits again (no harm) and posts the line. The line is told at least once, and
        doubled only when its answer was lost.
        """
        if self._hook:
            await self._post_to_hook(self._hook, message)
            return Receipt()
        handle = live_handle(previous)
        if handle is None:
            return await self._post_root(message)
        await self._call("chat.update", {**handle, **self._content(message, ())}, has_handle=True)
        if not message.only_edit and (line := news_line(message)):
            await self._call("chat.postMessage", self._thread_post(message, line, handle), has_handle=True)
        return Receipt(handle)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = self._client = None

    def _content(self, message: Message, mentions: tuple[str, ...]) -> dict[str, Any]:
        """`text` and `blocks`. Degraded: the text alone, which also takes the blocks away from an edited message."""
        text = fallback_text(message, mentions)
        if message.is_degraded:
            return {"text": text}
        title = self._title.render(message) if self._title else None
        body = self._text.render(message) if self._text else None
        return {"text": text, "blocks": blocks_of(message, title, body, mentions)}

    def _mentions(self, message: Message) -> tuple[str, ...]:
        """Who is called: only for what is open and critical. An edit calls nobody, so it is asked for posts only."""
        if message.status.is_open and message.severity is Severity.critical and message.why is not Why.test:
            return self.config.mention
        return ()

    def _dress(self) -> dict[str, Any]:
        """What every post (never an edit) has."""
        looks = self.config.model_dump(include={"username", "icon_emoji", "icon_url"}, exclude_none=True)
        return {"unfurl_links": False, "unfurl_media": False, **looks}

    def _thread_post(self, message: Message, line: str, handle: Mapping[str, str]) -> dict[str, Any]:
        failed = message.why is Why.action and any(action.is_bad for action in message.actions)
        broadcast = failed or message.why in BROADCAST or message.is_worse
        mentions = self._mentions(message) if broadcast else ()
        called = mention_text(mentions)
        text = f"{called} {escaped(line, TEXT - len(called) - 1)}".lstrip()
        reply = {"channel": handle["channel"], "thread_ts": handle["ts"], "reply_broadcast": broadcast, "text": text}
        if message.is_degraded:
            return {**reply, **self._dress()}
        blocks: list[Block] = [section(line), *([mention_block(mentions)] if mentions else [])]
        return {**reply, **self._dress(), "blocks": blocks, "metadata": metadata(message)}

    async def _post_root(self, message: Message) -> Receipt:
        mentions = self._mentions(message)
        post = {"channel": self.config.channel, **self._content(message, mentions), **self._dress()}
        if not message.is_degraded:
            post["metadata"] = metadata(message)
        elif not mentions:      # literal text, also where escaping does not reach (`*_~`); it could mute a mention
            post["mrkdwn"] = False
        answer = await self._call("chat.postMessage", post, has_handle=False)
        channel, ts = answer.get("channel"), answer.get("ts")
        if not (isinstance(channel, str) and isinstance(ts, str) and channel and ts):
            raise SendFailed(Failure.bug, "Slack says ok without channel and ts")
        return Receipt({"channel": channel, "ts": ts})

    async def _call(self, method: str, arguments: dict[str, Any], *, has_handle: bool) -> Mapping[str, Any]:
        """The one boundary to slack_sdk and aiohttp. Their texts hold answers and addresses, so none is passed on."""
        try:
            response = await self._connected().api_call(method, json=arguments)
        except SlackApiError as error:
            raise self._refused(error, has_handle) from None
        except aiohttp.ClientConnectorError as error:
            raise SendFailed(Failure.unavailable, f"{method}: {not_reached(error)}") from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise SendFailed(Failure.timeout, f"{method}: no complete answer ({type(error).__name__})") from None
        return response.data if isinstance(response.data, dict) else {}

    def _connected(self) -> AsyncWebClient:
        """Made at the first call, because a session needs the running loop."""
        if self._client is None:
            self._session = new_session()
            # Its own logger: the client's would print whole answers at DEBUG.
            self._client = AsyncWebClient(
                self._token, self._base_url, session=self._session, retry_handlers=[],
                logger=logging.Logger("slack", logging.WARNING))
            self._client.proxy = None       # it takes HTTPS_PROXY from the environment even with trust_env off
        return self._client

    def _refused(self, error: SlackApiError, has_handle: bool) -> SendFailed:
        answer, now = error.response, self._wire.clock.now()
        return refusal(answer.status_code, answer.headers, answer.data, now, has_handle=has_handle)

    async def _post_to_hook(self, url: str, message: Message) -> None:
        """Answers `ok` as text; errors are a word as text (PROTOCOLS 2.8)."""
        content = {**self._content(message, self._mentions(message)), **self._dress()}
        headers = {"Content-Type": "application/json"}
        answer = await post(self._wire.http, url, json.dumps(content).encode(), headers)
        said = answer.body[:100].decode("ascii", "replace").strip()
        if answer.status != 200 or said != "ok":
            now = self._wire.clock.now()
            raise refusal(answer.status, answer.headers, {"error": said}, now, has_handle=False)


def credentials(config: SlackConfig, shared: SlackGlobal) -> tuple[str | None, str | None]:
    """The bot token or the incoming webhook, never both: what is nearest to the destination wins."""
    hook, token = revealed(config.api_url), revealed(shared.slack_bot_token)
    if hook is None and token is None:
        hook = revealed(shared.slack_api_url)
    if hook is not None:
        return None, checked_url(hook, "api_url")
    if token is None:
        raise ValueError("give global.slack_bot_token_file, or an api_url (incoming webhook)")
    if not config.channel:
        raise ValueError("with a bot token a channel is needed, for example \"#alerts\"")
    return token, None


def live_handle(previous: Receipt | None) -> dict[str, str] | None:
    handle = previous.handle if previous else {}
    return {"channel": handle["channel"], "ts": handle["ts"]} if "channel" in handle and "ts" in handle else None


def metadata(message: Message) -> dict[str, Any]:
    """What finds the message again after an answer was lost (PROTOCOLS 2.1)."""
    return {"event_type": "alerthub_delivery", "event_payload": {"delivery_id": message.delivery_id}}
