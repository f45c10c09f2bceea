"""What a test of the web rooms gets: a whole hub on a database of its own, without loops and without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(clock=clock) as running:
        yield running
