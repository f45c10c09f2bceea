"""The toy agent on a loopback port, for whoever reaches it over HTTP: actions, and the real Prometheus."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from alerthub.clock import SystemClock
from alerthub.toy_agent import ToyAgent, app


@dataclass(frozen=True, slots=True)
class RunningAgent:
    url: str
    agent: ToyAgent

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def running_agent(agent: ToyAgent | None = None, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[RunningAgent]:
    """The socket listens before this returns, so there is nothing to wait for. With `tls`, it speaks https."""
    agent = agent or ToyAgent()
    listener = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(app(agent, SystemClock()), log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    config.load()
    config.ssl = tls
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="toy-agent", daemon=True)
    thread.start()
    try:
        yield RunningAgent(f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}", agent)
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
