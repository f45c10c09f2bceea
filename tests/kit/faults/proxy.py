"""What lies between a hub and its PostgreSQL: a wire that can be slow, silent, cut, or lose exactly the answer to COMMIT."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

from tests.kit.providers.http import RESET

CHUNK = 65536
COMMIT = b"COMMIT\x00"      # a simple query's text, as libpq sends it


class Wire:
    """`async with Wire(url)`: then `url` leads through it. Its ways may be changed from any thread.

    `slow(seconds)`: every chunk from the hub waits so long. `pause()`: nothing passes either way, connections stay and new ones
    are taken; `go_on()` lets pass what was held. `cut()`: all connections are reset and new ones refused until `mend()`.
    `lose_commits`: "before" resets a connection instead of passing its next COMMIT on; "after" passes it on, waits for the
    database's answer, and resets without giving it to the hub. `lost` counts them.
    """

    def __init__(self, url: str) -> None:
        self.parts = urlsplit(url)
        self.port = 0
        self.delay = 0.0
        self.fast = asyncio.Event()
        self.lose_commits = ""
        self.losing = 0         # how many more
        self.lost = 0
        self.is_cut = False
        self.writers: set[asyncio.StreamWriter] = set()
        self.losing_answer: set[asyncio.StreamWriter] = set()
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        place = f"{self.parts.username}@127.0.0.1:{self.port}"
        return urlunsplit(self.parts._replace(netloc=place))

    def slow(self, seconds: float) -> None:
        """From now on; 0 ends it, also for what waits already."""
        self.delay = seconds
        self.loop.call_soon_threadsafe(self.fast.clear if seconds else self.fast.set)

    def pause(self) -> None:
        self.loop.call_soon_threadsafe(self.open.clear)

    def go_on(self) -> None:
        self.loop.call_soon_threadsafe(self.open.set)

    def cut(self) -> None:
        self.is_cut = True
        self.loop.call_soon_threadsafe(self._reset_all)

    def mend(self) -> None:
        self.is_cut = False

    def lose(self, when: str, times: int = 1) -> None:
        self.lose_commits, self.losing = when, times

    async def __aenter__(self) -> Wire:
        self.loop, self.open = asyncio.get_running_loop(), asyncio.Event()
        self.open.set()
        self.server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self.server.close()
        self._reset_all()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def _reset_all(self) -> None:
        for writer in list(self.writers):
            reset(writer)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            reset(writer)
            return
        try:
            there, back = await asyncio.open_connection(self.parts.hostname, self.parts.port)
        except OSError:
            reset(writer)
            return
        both = {writer, back}
        self.writers |= both
        ways = [asyncio.ensure_future(self._up(reader, back, writer)), asyncio.ensure_future(self._down(there, writer, back))]
        self.tasks.update(ways)
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.tasks.difference_update(ways)
            self.writers -= both
            self.losing_answer.discard(writer)
            for end in both:
                end.close()

    async def _up(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, hub: asyncio.StreamWriter) -> None:
        """From the hub to the database."""
        while data := await reader.read(CHUNK):
            if self.delay:
                await nap(self.delay, self.fast)
            await self.open.wait()
            if self.losing and COMMIT in data:
                self.losing, self.lost = self.losing - 1, self.lost + 1
                if self.lose_commits == "before":
                    reset(hub)
                    return
                self.losing_answer.add(hub)
            back.write(data)
            await back.drain()

    async def _down(self, there: asyncio.StreamReader, hub: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        while data := await there.read(CHUNK):
            await self.open.wait()
            if hub in self.losing_answer:
                reset(hub)
                return
            hub.write(data)
            await hub.drain()


async def nap(seconds: float, until: asyncio.Event | None = None) -> None:
    """So long, or until the event."""
    try:
        async with asyncio.timeout(seconds):
            await (until or asyncio.Event()).wait()
    except TimeoutError:
        pass


def reset(writer: asyncio.StreamWriter) -> None:
    """With RST, as a machine that is gone answers."""
    if (found := writer.get_extra_info("socket")) is not None and found.fileno() >= 0:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
