"""Bodies of requests, within limits of bytes and of time (R-4); what they mean is not here."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from types import MappingProxyType

from starlette.requests import ClientDisconnect, Request

from alerthub.web.base import Refused

LENGTH = re.compile("[0-9]{1,19}")      # what else is announced is not believed: the bytes are counted


class NoBody(Refused):
    """It was not read. Its text says why; `status` is for whoever has nothing better to answer. The rest of that body would be
    taken for the next request: nothing more is heard on this connection."""

    headers: Mapping[str, str] = MappingProxyType({"connection": "close"})

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


class TooLarge(NoBody):
    """The body is over the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, f"the body is larger than {limit} bytes")


async def read_body(request: Request, limit: int, seconds: float, *, late: int = 408) -> bytes:
    """The whole body. Raises TooLarge, or NoBody when it drips or the sender goes away. `late` is the status of one that did
    not arrive in time: 503 where the sender shall send it again."""
    try:
        async with asyncio.timeout(seconds):
            return await counted(request, limit)
    except TimeoutError:
        raise NoBody(late, f"the body did not arrive within {seconds:.0f} s") from None
    except ClientDisconnect:
        raise NoBody(400, "the sender went away before the body was complete") from None


async def counted(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "")
    if LENGTH.fullmatch(announced) and int(announced) > limit:
        raise TooLarge(limit)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(limit)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
