"""How requests come over the wire: uvicorn's own protocol, and a sender has only so long for the head of a request. Against
senders that begin and never finish (PROTOCOLS 9.1, F18): uvicorn waits for a head for ever. A body has a limit of its own."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class PatientProtocol(HttpToolsProtocol):
    """Closes a connection whose head is not whole `head_seconds` after it began, or after the connection was made."""

    head_seconds = 15.0
    head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.expect_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.expect_head()

    def on_headers_complete(self) -> None:
        self.forget_head()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self.forget_head()
        super().connection_lost(exc)

    def expect_head(self) -> None:
        self.forget_head()
        self.head = self.loop.call_later(self.head_seconds, self.give_up)

    def forget_head(self) -> None:
        if self.head is not None:
            self.head.cancel()
            self.head = None

    def give_up(self) -> None:
        self.transport.close()
