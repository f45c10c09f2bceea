"""The connections of calls out, kept in small pools: httpx's own pool looks at each of its connections several times for each
request, and with 28 under way one costs three times as much as with 4.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

SMALL = 4               # requests under way in one pool
ORIGINS = 64            # whose connections are kept
KEPT_SECONDS = 5.0      # an idle connection, as httpx has it
Origin = tuple[bytes, bytes, int | None]


@dataclass(slots=True)
class Pool:
    transport: httpx.AsyncHTTPTransport
    under_way: int = 0
    used: float = 0.0       # when the last request began, by the loop's time


@dataclass(slots=True)
class Stream(httpx.AsyncByteStream):
    """An answer's body, which tells when it is done with."""

    answer: httpx.AsyncByteStream
    pool: Pool
    is_open: bool = field(default=True)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.answer:
            yield chunk

    async def aclose(self) -> None:
        if self.is_open:
            self.is_open = False
            self.pool.under_way -= 1
        await self.answer.aclose()


class Pools(httpx.AsyncBaseTransport):
    """httpx's transport, once for every few requests to one origin."""

    def __init__(self, verify: bool | ssl.SSLContext = True) -> None:
        # It is large: one for all.
        self.verify = httpx.create_ssl_context(verify, trust_env=False) if isinstance(verify, bool) else verify
        self.origins: OrderedDict[Origin, list[Pool]] = OrderedDict()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        origin = (request.url.raw_scheme, request.url.raw_host, request.url.port)
        pool = self.pool_for(origin)
        pool.under_way += 1
        pool.used = asyncio.get_running_loop().time()
        response = None
        try:
            await self.close_spare(self.origins[origin], pool.used - KEPT_SECONDS)
            await self.close_oldest()       # before anything is sent: what it meets must not stand for the answer
            response = await pool.transport.handle_async_request(request)
        finally:
            if response is None:
                pool.under_way -= 1
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = Stream(response.stream, pool)
        return response

    def pool_for(self, origin: Origin) -> Pool:
        """The first that has room: connections that were used a moment ago are used again."""
        pools = self.origins.setdefault(origin, [])
        self.origins.move_to_end(origin)
        free = next((pool for pool in pools if pool.under_way < SMALL), None)
        if free is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=SMALL, keepalive_expiry=KEPT_SECONDS)
            pools.append(free := Pool(httpx.AsyncHTTPTransport(verify=self.verify, trust_env=False, limits=limits)))
        return free

    async def close_spare(self, pools: list[Pool], before: float) -> None:
        """Those that a storm has needed, and that nothing was sent by since then: who sends nothing sees no connection end."""
        while not pools[-1].under_way and pools[-1].used < before:
            await close(pools.pop())

    async def close_oldest(self) -> None:
        """Of many origins, those that were called longest ago and are not being called."""
        while len(self.origins) > ORIGINS:
            origin = next((key for key, pools in self.origins.items() if not any(pool.under_way for pool in pools)), None)
            if origin is None:
                return
            for pool in self.origins.pop(origin):
                await close(pool)

    async def aclose(self) -> None:
        for pools in self.origins.values():
            for pool in pools:
                await pool.transport.aclose()
        self.origins.clear()


async def close(pool: Pool) -> None:
    with suppress(OSError, RuntimeError):       # it concerns nobody any more
        await pool.transport.aclose()
