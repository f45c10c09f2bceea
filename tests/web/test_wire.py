"""Senders that begin a request and never finish it, against a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from alerthub.web.wire import PatientProtocol

pytestmark = pytest.mark.anyio
WHOLE = b"GET / HTTP/1.1\r\nhost: hub\r\n\r\n"


class ShortOfTime(PatientProtocol):
    head_seconds = 0.3


async def begun_and_closed(port: int, first: bytes) -> bool:
    """Whether the hub closes a connection on which this came and nothing more. So long a head may take, when it returns."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer == b""


@asynccontextmanager
async def served() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """The port, and what an answer waits for."""
    ready = asyncio.Event()

    async def answer(_: Request) -> PlainTextResponse:
        await ready.wait()
        return PlainTextResponse("done")

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        app = Starlette(routes=[Route("/", answer)])
        server = uvicorn.Server(uvicorn.Config(app, http=ShortOfTime, ws="none", lifespan="off", log_config=None,
                                               timeout_keep_alive=30))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield int(listening.getsockname()[1]), ready
        finally:
            server.should_exit = True
            await serving


@pytest.mark.parametrize("first", [b"", b"G", b"GET / HTTP/1.1\r\nhost: hu", WHOLE[:-2]])
async def test_half_a_head_is_closed(first: bytes) -> None:
    async with served() as (port, _):
        assert await begun_and_closed(port, first)


async def test_so_is_half_a_head_after_whole_requests_and_never_one_that_is_answered_or_awaited() -> None:
    async with served() as (port, ready):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(WHOLE)
            assert await begun_and_closed(port, b"G")       # so long this one is being answered
            ready.set()
            assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"done"), 10)
            ready.clear()
            assert await begun_and_closed(port, b"")        # and so long it is idle
        writer.write(WHOLE[:20])
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
