"""What every call out shares: an address that can be called, an answer that cannot flood, which errors mean that nothing was
sent, how long to wait, and that no redirect is even looked at. What an answer means is the caller's business.
"""

from __future__ import annotations

import json
import re
import ssl
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import httpx

from alerthub.pools import Pools

# Raised before a byte of the request has left.
NOT_REACHED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
# Raised when it may have left. InvalidURL is no HTTPError: httpx reads the address of a redirect that nobody follows, too.
NO_ANSWER = (httpx.HTTPError, httpx.InvalidURL)
SECONDS = re.compile(r"([0-9]+)(?:\.[0-9]+)?")
MOST_DIGITS = 9             # more seconds than that are no time


def is_address(url: str) -> bool:
    """http or https, with a host, without blanks: a client can call it."""
    try:
        httpx.URL(url)
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        return False
    return usable and not any(sign.isspace() for sign in url)


def client(verify: bool | ssl.SSLContext = True, **options: Any) -> httpx.AsyncClient:
    """What every call out is made with; `options` as httpx takes them. No proxies from the environment; a redirect is an answer
    like others, wherever it leads; and no cookies: one target's session must not be another's at the same host."""
    nowhere = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    options.setdefault("transport", Pools(verify))
    return httpx.AsyncClient(trust_env=False, follow_redirects=False, cookies=nowhere,
                             event_hooks={"response": [forget_location]}, **options)


async def forget_location(response: httpx.Response) -> None:
    """Else httpx builds the request that would follow, and for an address that it cannot call it raises: the answer is lost."""
    response.headers.pop("location", None)


async def read_capped(response: httpx.Response, limit: int, body: bytearray) -> None:
    """Fill `body` with the first `limit` bytes as they come over the wire. What came compressed although plain was asked for
    is left: what is never unpacked cannot be a bomb."""
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        return
    async for chunk in response.aiter_raw():
        body += chunk[:limit - len(body)]
        if len(body) >= limit:
            return


def json_object(body: bytes) -> dict[str, Any]:
    """The body as an object; {} for everything that is not one."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` (number or HTTP date) asks for; infinite for more digits than a time has; None for none
    and for nonsense."""
    word = (value or "").strip()
    if number := SECONDS.fullmatch(word):
        return float("inf") if len(number[1]) > MOST_DIGITS else float(word)
    try:
        moment = parsedate_to_datetime(word)
        return max(0.0, (moment - now).total_seconds()) if moment.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None
