"""A provider that answers at once and notes when each request came: CLOCK_MONOTONIC is one clock for all processes."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from contextlib import suppress

NUMBER = re.compile(rb'mark-(\d+)-')


class Provider:
    """Counts requests; `arrivals` holds, by the mark in the body, when its first request had been read."""

    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nok"

    def __init__(self) -> None:
        self.requests = 0
        self.arrivals: dict[int, float] = {}
        self.changed = asyncio.Event()
        self.writers: set[asyncio.StreamWriter] = set()
        self.serving: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> Provider:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*self.serving, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def all_read(self, count: int, seconds: float) -> None:
        """Until the marks 0 to count - 1 have come, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(self.arrivals) < count:
                    self.changed.clear()
                    await self.changed.wait()

    def note(self, head: bytes, body: bytes, now: float) -> None:
        if mark := NUMBER.search(body):
            self.arrivals.setdefault(int(mark[1]), now)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        self.serving.add(asyncio.current_task())
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(length)
                now = time.monotonic()
                self.requests += 1
                self.note(head, body, now)
                self.changed.set()
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()


EDITED = re.compile(rb'"ts": ?"1763726400\.(\d{6})"')
POSTED = b'{"ok": true, "channel": "C012AB3CD", "ts": "1763726400.999999"}'


class SlackProvider(Provider):
    """Slack's API. A mark is the number of the live message that chat.update changes."""

    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: application/json\r\n\r\n%s" % (len(POSTED), POSTED)

    def note(self, head: bytes, body: bytes, now: float) -> None:
        if head.startswith(b"post /chat.update") and (edited := EDITED.search(body)):
            self.arrivals.setdefault(int(edited[1]), now)


class Answering(asyncio.Protocol):
    """One connection to a Sink: answers each request, counts it by the first part of its path."""

    def __init__(self, sink: Sink) -> None:
        self.sink, self.buffer = sink, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.sink.transports.add(transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length:]
            self.sink.count[head.split(b"/", 2)[1].decode()] += 1
            self.transport.write(Provider.answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.sink.transports.discard(self.transport)


class Sink:
    """A provider as cheap as it can be: it shares the machine with the hub that it measures."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.transports: set[asyncio.BaseTransport] = set()

    async def __aenter__(self) -> Sink:
        self.server = await asyncio.get_running_loop().create_server(lambda: Answering(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for transport in list(self.transports):
            transport.close()
