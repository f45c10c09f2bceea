"""The store of a story: SQLite in a file, and the same story again on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from alerthub.clock import SystemClock
from alerthub.store.database import Store
from tests.kit.clock import FakeClock
from tests.kit.postgres import fresh_database
from tests.kit.world import World, open_store


def migrated(dsn: str) -> None:
    """Make the tables once, in the template that every database of a test is cloned from."""
    open_store(dsn, SystemClock().new_id).close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    sqlite = nullcontext(f"sqlite:///{tmp_path}/hub.db")
    with fresh_database(migrated) if request.param == "postgres" else sqlite as dsn:
        store = open_store(dsn, clock.new_id)
        yield store
        store.close()


@pytest.fixture
def world(store: Store, clock: FakeClock) -> World:
    return World(store, clock=clock)
