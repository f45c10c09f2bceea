"""What a story gets: a store, on either database, and the world over it."""

from __future__ import annotations

import pytest

from alerthub.store.database import Store
from tests.kit.clock import FakeClock
from tests.kit.stores import clock, store
from tests.kit.world import World

__all__ = ["clock", "store", "world"]


@pytest.fixture
def world(store: Store, clock: FakeClock) -> World:
    return World(store, clock=clock)
