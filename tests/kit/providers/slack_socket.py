"""Socket Mode as a test sees it: a real web socket server that greets, sends envelopes, and collects what is acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

PATIENCE = 5.0


class FakeSocketMode:
    """`async with FakeSocketMode() as sockets`: `url` goes into FakeSlack.socket_url. `connections` are all that were opened,
    in order; an envelope goes to the newest. `acks` are what came back, with the connection's index."""

    def __init__(self) -> None:
        self.connections: list[web.WebSocketResponse] = []
        self.acks: list[tuple[int, dict[str, Any]]] = []
        self.refuse = 0                 # so many handshakes are answered 503
        self.handshakes = 0
        self.url = ""
        self._changed = asyncio.Condition()
        self._ids = itertools.count(1)

    async def __aenter__(self) -> FakeSocketMode:
        application = web.Application()
        application.router.add_get("/link/", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"ws://127.0.0.1:{self._runner.addresses[0][1]}/link/?ticket=ticket-secret"
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self.connections:
            await connection.close()
        await self._runner.cleanup()

    async def send(self, kind: str, payload: Any, **more: Any) -> str:
        """One envelope; its id."""
        envelope_id = f"envelope-{next(self._ids)}"
        envelope = {"type": kind, "envelope_id": envelope_id, "payload": payload, "accepts_response_payload": False, **more}
        await self.connections[-1].send_str(json.dumps(envelope))
        return envelope_id

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Slack's warning that this connection will end."""
        await self.connections[-1].send_str(json.dumps({"type": "disconnect", "reason": reason}))

    async def send_raw(self, text: str) -> None:
        await self.connections[-1].send_str(text)

    async def acked(self, envelope_id: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next((ack for _, ack in self.acks if ack["envelope_id"] == envelope_id), None)

        return await self._wait(found)

    async def connected(self, count: int) -> None:
        await self._wait(lambda: len(self.connections) >= count)

    async def _wait(self, found: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE), self._changed:
            return await self._changed.wait_for(found)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.handshakes += 1
        if self.handshakes <= self.refuse:
            return web.Response(status=503)
        connection = web.WebSocketResponse()
        await connection.prepare(request)
        await connection.send_str(json.dumps({"type": "hello", "num_connections": 1}))
        async with self._changed:
            self.connections.append(connection)
            index = len(self.connections) - 1
            self._changed.notify_all()
        async for message in connection:
            if message.type is WSMsgType.TEXT:
                async with self._changed:
                    self.acks.append((index, json.loads(message.data)))
                    self._changed.notify_all()
        return connection
