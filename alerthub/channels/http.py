"""One POST as every HTTP channel makes it: no redirect, no retry, a bounded answer, httpx's errors in our words.

What a status or a body means is the channel's business. Nothing here prints an address: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from alerthub import outbound
from alerthub.channels.answers import not_reached
from alerthub.channels.base import RESPONSE_BYTES
from alerthub.errors import Failure, SendFailed
from alerthub.outbound import NO_ANSWER, NOT_REACHED, is_address, json_object


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is cut at RESPONSE_BYTES, and empty when it came compressed although we asked for plain."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object; {} for everything that is not one."""
        return json_object(self.body)


def checked_url(url: str, setting: str) -> str:
    """The address, if a client can call it. ValueError, which does not repeat it, if not."""
    if not is_address(url):
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
    except NO_ANSWER as error:
        raise SendFailed(Failure.timeout, f"no complete answer ({type(error).__name__})") from None


async def read_capped(response: httpx.Response) -> bytes:
    """The first RESPONSE_BYTES as they came over the wire."""
    body = bytearray()
    await outbound.read_capped(response, RESPONSE_BYTES, body)
    return bytes(body)
