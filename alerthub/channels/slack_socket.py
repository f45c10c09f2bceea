"""Socket Mode: a web socket to Slack kept open, every envelope acknowledged. What an envelope asks is in slack_answers.py.

Our own loop over aiohttp, because slack_sdk's client can stay deaf until a restart: it keeps knocking with the ticket it got
once, and never asks for a new one (python-slack-sdk #1379, #1446, #1922).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from alerthub.channels.answers import not_reached
from alerthub.channels.base import RESPONSE_BYTES
from alerthub.channels.slack_client import new_session, refusal
from alerthub.clock import Clock
from alerthub.errors import Failure, SendFailed

log = logging.getLogger(__name__)

HEARTBEAT = 10.0            # seconds between our pings; a socket without pong is dead
LASTED = 60.0               # a connection that lived so long was a good one: the next is opened at once
LONGEST_WAIT = 60.0
DRAIN = 10.0                # after its `disconnect` Slack may still send for a moment (PROTOCOLS 2.6)
CLOSING = aiohttp.ClientWSTimeout(ws_close=1.0)

Answering = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any] | None]]      # type, payload → what the ack carries


class Sockets:
    """The connections to one workspace: one, and for a moment two while Slack replaces it. `run` lasts until cancelled."""

    def __init__(self, base_url: str, app_token: str, clock: Clock, answer: Answering) -> None:
        self._base_url, self._token, self._clock, self._answer = base_url, app_token, clock, answer
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return "Sockets()"

    async def run(self) -> None:
        async with new_session() as session:
            try:
                await self._keep_open(session)
            finally:
                tasks = tuple(self._tasks)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_open(self, session: ClientSession) -> None:
        """One after the other. What fails, or does not last, is tried again later and later."""
        short, client = 0, self._client(session)
        while True:
            started, wait = self._clock.monotonic(), 0.0
            try:
                await self._hear(await self._opened(client, session))
            except SendFailed as error:
                wait = error.after or 0.0
                log.warning("Slack's Socket Mode is not connected.", extra={"event": "slack.deaf", "reason": str(error)})
            short = 0 if self._clock.monotonic() - started >= LASTED else short + 1
            if short:
                await self._clock.sleep(max(wait, min(LONGEST_WAIT, 2.0 ** min(short, 10)) * (0.5 + self._clock.random()) / 2))

    def _client(self, session: ClientSession) -> AsyncWebClient:
        # Its own logger: the client's would print whole answers at DEBUG, and in them the ticket.
        client = AsyncWebClient(self._token, self._base_url, session=session, retry_handlers=[],
                                logger=logging.Logger("slack", logging.WARNING))
        client.proxy = None         # it takes HTTPS_PROXY from the environment even with trust_env off
        return client

    async def _opened(self, client: AsyncWebClient, session: ClientSession) -> ClientWebSocketResponse:
        """A new connection, with a new ticket. Raises SendFailed; foreign texts hold the ticket, so none is passed on."""
        try:
            url = (await client.api_call("apps.connections.open")).get("url")
            return await session.ws_connect(
                self._checked(url), heartbeat=HEARTBEAT, max_msg_size=RESPONSE_BYTES, timeout=CLOSING)
        except SlackApiError as error:
            answer = error.response
            raise refusal(answer.status_code, answer.headers, answer.data, self._clock.now(), has_handle=False) from None
        except aiohttp.WSServerHandshakeError as error:
            raise SendFailed(Failure.unavailable, f"the web socket was refused (HTTP {error.status})") from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise SendFailed(Failure.unavailable, not_reached(error)) from None

    def _checked(self, url: object) -> str:
        """The web socket's address: encrypted wherever the API is."""
        schemes = ("wss://",) if self._base_url.startswith("https:") else ("wss://", "ws://")
        if not isinstance(url, str) or not url.startswith(schemes):
            raise SendFailed(Failure.bug, "Slack names no address of a web socket")
        return url

    async def _hear(self, socket: ClientWebSocketResponse) -> None:
        """Returns when the connection ends, or is about to: the next is opened while the last answers go through this one."""
        leaving = asyncio.Event()
        self._start(self._read(socket, leaving))
        await leaving.wait()

    async def _read(self, socket: ClientWebSocketResponse, leaving: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(None) as ending:
                async for message in socket:
                    envelope = read_envelope(message.data) if message.type is WSMsgType.TEXT else {}
                    if envelope.get("type") == "disconnect":
                        ending.reschedule(asyncio.get_running_loop().time() + DRAIN)
                        leaving.set()
                    elif isinstance(envelope.get("envelope_id"), str):
                        self._start(self._acknowledge(socket, envelope))
        except TimeoutError:
            pass        # Slack left it to us to close
        finally:
            leaving.set()
            await socket.close()

    async def _acknowledge(self, socket: ClientWebSocketResponse, envelope: dict[str, Any]) -> None:
        """Each envelope in its own task: one that takes long keeps no other waiting."""
        payload = envelope.get("payload")
        said = await self._answer(str(envelope.get("type")), payload if isinstance(payload, dict) else {})
        ack: dict[str, Any] = {"envelope_id": envelope["envelope_id"]}
        if said is not None and envelope.get("accepts_response_payload") is not False:
            ack["payload"] = said
        try:
            await socket.send_str(json.dumps(ack))
        except (ConnectionError, aiohttp.ClientError):
            log.warning("An answer to Slack came after the connection had gone.", extra={"event": "slack.ack_lost"})

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def read_envelope(data: str) -> dict[str, Any]:
    """{} for what is not one."""
    try:
        envelope = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return envelope if isinstance(envelope, dict) else {}
