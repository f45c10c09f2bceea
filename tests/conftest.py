"""What every test gets: the asyncio back end, a scrubbed environment, and no way out of the machine."""

from __future__ import annotations

import ipaddress
import os
import socket

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ("ALERTHUB_CONFIG", "OTEL_", "SLACK_", "TELEGRAM_", "PAGERDUTY_", "SMTP_")
    for name in list(os.environ):
        if name.startswith(ours) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> None:
    """A test that reaches for the network fails by name."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not ipaddress.ip_address(address[0]).is_loopback:
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)

    socket.socket.connect = guarded
