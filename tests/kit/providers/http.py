"""A provider's HTTP side for tests: a real server on the loopback that records every request and answers as scripted.

Nothing here knows a provider. A test sets `answer` (what a healthy provider says) and queues odd answers with `script`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.client import responses
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl

PATIENCE = 5.0      # seconds that `expect` waits at most
RESET = struct.pack("ii", 1, 0)     # SO_LINGER of zero: closing sends RST, not FIN


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived. `path` is with the query; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `body` that is not bytes or str becomes JSON.

    `drop`: the request is read, then the connection is reset. `hang`: it is read, then silence. `drip`: half of the body,
    then silence. `chunks`: a body sent piece by piece without a length (for bodies too big to hold).
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = b""
    drop: bool = False
    hang: bool = False
    drip: bool = False
    chunks: Iterable[bytes] | None = None

    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()

    def content_type(self) -> str:
        return "text/plain; charset=utf-8" if isinstance(self.body, bytes | str) else "application/json"


class FakeProvider:
    """`async with FakeProvider() as provider`: then `provider.url`, `provider.requests`, `provider.script(...)`.

    Answers come from the script first (in order), then from `answer(request)`. `sent` counts the body bytes that the
    client took, to show that a reader stopped early. `answers` are what was answered, in the order of `requests`; `witness` is
    told each with its request, before it is sent.
    """

    def __init__(self, answer: Callable[[Request], Answer] | None = None) -> None:
        self.answer = answer or (lambda request: Answer(body={"ok": True}))
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.sent = 0
        self.witness: Callable[[Request, Answer], None] | None = None
        self._script: deque[Answer] = deque()
        self._arrived = asyncio.Condition()
        self._connections: set[asyncio.Task[None]] = set()
        self._readers: dict[asyncio.StreamWriter, asyncio.StreamReader] = {}
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Request:
        return self.requests[-1]

    def script(self, status: int = 200, *, times: int = 1, **rest: Any) -> None:
        """Queue an answer (fields of `Answer`) for the next `times` requests."""
        self._script.extend([Answer(status, **rest)] * times)

    async def expect(self, n: int = 1) -> Request:
        """The n-th request, waiting for it (bounded)."""
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= n)
        return self.requests[n - 1]

    async def __aenter__(self) -> FakeProvider:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Nobody listens any more: the next connection is refused. Entering again listens on the same port."""
        if self._server is None:
            return
        self._server.close()
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    def is_gone(self, writer: asyncio.StreamWriter) -> bool:
        """Whether the client has closed its end, or died."""
        return writer.is_closing() or self._readers[writer].at_eof()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._readers[writer] = reader
        try:
            while (request := await read_request(reader)) is not None:
                async with self._arrived:
                    self.requests.append(request)
                    self._arrived.notify_all()
                answer = self._script.popleft() if self._script else self.answer(request)
                self.answers.append(answer)
                if self.witness is not None:
                    self.witness(request, answer)
                await self._reply(writer, answer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass        # the client went away: that is what some tests want
        finally:
            del self._readers[writer]
            writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        if answer.drop:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
            raise ConnectionResetError
        if answer.hang:
            await asyncio.Event().wait()
        if answer.chunks is not None:
            await self._stream(writer, answer, answer.chunks)
            return
        content = answer.content()
        writer.write(head(answer, {"content-length": str(len(content))}))
        await self._write(writer, content[: len(content) // 2] if answer.drip else content)
        if answer.drip:
            await asyncio.Event().wait()

    async def _stream(self, writer: asyncio.StreamWriter, answer: Answer, chunks: Iterable[bytes]) -> None:
        writer.write(head(answer, {"transfer-encoding": "chunked"}))
        for chunk in chunks:
            await self._write(writer, b"%x\r\n%s\r\n" % (len(chunk), chunk))
        await self._write(writer, b"0\r\n\r\n")

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.sent += len(data)


def head(answer: Answer, extra: Mapping[str, str]) -> bytes:
    headers = {"content-type": answer.content_type(), **extra, **answer.headers}
    phrase = responses.get(answer.status, "Odd")
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection, or None at its end."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Request(method, path, headers, await read_chunks(reader))
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return b"".join(parts)
