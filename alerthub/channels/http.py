"""One POST as every HTTP channel makes it: no redirect, no retry, a bounded answer, httpx's errors in our words.

What a status or a body means is the channel's business. Nothing here prints an address: it may be a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from alerthub.channels.answers import not_reached
from alerthub.channels.base import RESPONSE_BYTES
from alerthub.errors import Failure, SendFailed

# Raised before a byte of the message has left.
NOT_REACHED = (
    httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is cut at RESPONSE_BYTES, and empty when it came compressed although we asked for plain."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; {} for everything that is not one."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


def checked_url(url: str, setting: str) -> str:
    """The address, if a client can call it. ValueError, which does not repeat it, if not."""
    try:
        httpx.URL(url)
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and not any(character.isspace() for character in url)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        raise ValueError(f"{setting} must be an address that begins with https:// or http://")
    return url


async def post(client: httpx.AsyncClient, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
    """Send once. Raises SendFailed: `unavailable` when nothing was delivered, `timeout` when that is in doubt.

    The caller bounds the total time (R-21).
    """
    asked = {**headers, "Accept-Encoding": "identity"}
    try:
        request = client.stream("POST", url, content=content, headers=asked, follow_redirects=False)
        async with request as response:
            return Answer(response.status_code, response.headers, await read_capped(response))
    except NOT_REACHED as error:
        raise SendFailed(Failure.unavailable, not_reached(error)) from None
    except httpx.HTTPError as error:
        raise SendFailed(Failure.timeout, f"no complete answer ({type(error).__name__})") from None


async def read_capped(response: httpx.Response) -> bytes:
    """The first RESPONSE_BYTES as they came over the wire: what is never unpacked cannot be a bomb."""
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        return b""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= RESPONSE_BYTES:
            break
    return bytes(body[:RESPONSE_BYTES])
