"""A whole hub for tests: as it runs, on a database of its own, driven in-process without a network; or as a process.

Its store can be held back, broken or released: `hub.store` is a seam over the real one.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from starlette.datastructures import Headers

from alerthub.app import Hub
from alerthub.clock import Clock, SystemClock
from alerthub.config import load
from alerthub.store.database import Store
from tests.kit import documented
from tests.kit.binaries import Program
from tests.kit.stores import sqlite_database

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)    # trusts nobody; httpx would load all authorities anew for each hub
HERE = "http://127.0.0.1:8095"
TURNS = 50          # of the loop: more than any request takes that waits for nothing
PLAIN = """
sources:
  - {name: alertmanager, type: alertmanager}
  - {name: grafana, type: grafana}
  - {name: generic, type: generic}
receivers:
  - {name: console, console_configs: [{}]}
route: {receiver: console, group_by: [alertname]}
"""


class StoreSeam:
    """The real store, whose writes wait while `gate` is closed, and fail with `error` while there is one."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.began = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def hold(self) -> asyncio.Event:
        """From now on writes wait until the event is set."""
        self.gate = asyncio.Event()
        return self.gate

    def mend(self) -> None:
        """Everything works again; what is held back goes on."""
        self.error = None
        if self.gate is not None:
            self.gate.set()

    async def write(self, unit: Callable[..., Any]) -> Any:
        self.began += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return await self.store.write(unit)

    async def read(self, unit: Callable[..., Any]) -> Any:
        if self.error is not None:
            raise self.error
        return await self.store.read(unit)


@dataclass
class RunningHub:
    """What a test has in its hands: the hub, its configuration file, its store's seam, and a client at its door."""

    hub: Hub
    path: Path
    store: StoreSeam
    client: httpx.AsyncClient

    async def post(self, body: bytes, source: str = "alertmanager", **more: Any) -> httpx.Response:
        return await self.client.post(f"/hooks/{source}", content=body, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.client.get(path, **more)

    async def fill(self, path: str, fields: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None,
                   **more: Any) -> httpx.Response:
        """A form of a page, filled in by whoever these headers say: what proves that it comes from a page is in it."""
        gate = self.client._transport.app.routed.state.gate     # type: ignore[attr-defined]
        visitor = await gate.visitor(Headers(headers or {}), is_marked=True) or await gate.local()
        return await self.client.post(path, data={"csrf": visitor.csrf, **(fields or {})}, headers=headers, **more)

    async def json(self, path: str, **more: Any) -> Any:
        answer = await self.get(path, **more)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def incidents(self, **query: Any) -> list[dict[str, Any]]:
        """Newest first, all pages."""
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {"next": ""}
        while page["next"] is not None:
            before = {"before": page["next"]} if page["next"] else {}
            page = await self.json("/api/v1/incidents", params={"limit": 200, **query, **before})
            found += page["items"]
        return found

    async def titles(self, **query: Any) -> list[str]:
        return [incident["title"] for incident in await self.incidents(**query)]

    def open_door(self, **changes: Any) -> None:
        """Change how it may be entered: limits of size and time, who may come in."""
        self.hub.equipment = replace(self.hub.equipment, door=replace(self.hub.door, **changes))

    async def drain(self) -> None:
        """Do all work that is due now, without the loops."""
        while await self.hub.worker.run_once():
            await asyncio.gather(*self.hub.worker.under_way)

    async def turns(self) -> None:
        """Let everything run that waits for nothing."""
        for _ in range(TURNS):
            await asyncio.sleep(0)


@asynccontextmanager
async def running_hub(config: str = PLAIN, *, clock: Clock | None = None, database: str = "", loops: bool = False,
                      environ: Mapping[str, str] | None = None, hub_type: type[Hub] = Hub) -> AsyncIterator[RunningHub]:
    """A hub over this configuration. `database` is the URL of a migrated one; else it is SQLite in a folder that goes
    away. Without `loops` nothing happens by itself: `drain` does what is due."""
    with tempfile.TemporaryDirectory(prefix="ah-") as folder, sqlite_database(Path(folder)) as url:
        path = Path(folder) / "alerthub.yml"
        path.write_text(f"database: {{url: '{database or url}'}}\n{config}")
        http = httpx.AsyncClient(verify=NO_TLS, trust_env=False)
        hub = hub_type(load(path, environ or os.environ), clock or SystemClock(), http)
        real, seam = hub.store, StoreSeam(hub.store)
        hub.store = hub.doorway.store = hub.worker.store = hub.rounds.store = seam  # type: ignore[assignment]
        if loops:
            await hub.start()
        try:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(hub.web()), base_url=HERE,
                                         event_hooks={"response": [documented.check]}) as client:
                yield RunningHub(hub, path, seam, client)
        finally:
            seam.mend()
            hub.store = hub.doorway.store = hub.worker.store = hub.rounds.store = real
            await hub.stop()


async def asgi(app: Any, method: str, path: str, headers: list[tuple[bytes, bytes]], messages: list[dict[str, Any]]) -> int:
    """One request as a server would hand it over, byte for byte: the status of its answer. After the last of the messages
    the sender is silent for ever."""
    waiting, sent = list(messages), []
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
             "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
             "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 8095), "state": {}}

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])


class ServedHub(Program):
    """`alerthub serve` as a process of its own, in a folder of its own. `config` is the text of its file; none for none."""

    def __init__(self, config: str | None = PLAIN, environ: Mapping[str, str] | None = None) -> None:
        super().__init__("alerthub")
        self.environ = dict(environ or {})
        self.configure(config)

    def configure(self, config: str | None) -> None:
        """Write the file. It listens on `self.port`."""
        if config is not None:
            (self.folder / "alerthub.yml").write_text(f"server: {{listen: '127.0.0.1:{self.port}'}}\n{config}")

    def command(self) -> list[str]:
        return ["env", *(f"{name}={value}" for name, value in self.environ.items()), sys.executable, "-m", "alerthub", "serve"]

    def is_ready(self) -> bool:
        return self.answers("/readyz")
