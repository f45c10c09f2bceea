"""What a test of the store gets: a store on either database, on SQLite alone, or a PostgreSQL URL to open several times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alerthub.clock import SystemClock
from alerthub.store.database import Store
from tests.kit.clock import FakeClock
from tests.kit.stores import clock, database, store

__all__ = ["clock", "postgres", "replicas", "sqlite", "store"]


@pytest.fixture
def sqlite(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    with database("sqlite", tmp_path) as url:
        opened = Store(url, clock.new_id)
        yield opened
        opened.close()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database of this test. Mark the test with `postgres`."""
    with database("postgres", tmp_path) as url:
        yield url


@pytest.fixture
def replicas(postgres: str) -> Iterator[list[Store]]:
    """Three on one PostgreSQL."""
    opened = [Store(postgres, SystemClock().new_id) for _ in range(3)]
    yield opened
    for one in opened:
        one.close()
