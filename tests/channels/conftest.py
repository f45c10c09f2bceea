"""What the files about one provider share: the client that a channel sends with, and Telegram."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.kit.providers.telegram import TOKEN, FakeTelegram


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """Believes the certificate of any stand-in."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram(TOKEN) as provider:
        yield provider
