"""What a test of the store gets: a store on either database, or a PostgreSQL database to open as often as it likes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.stores import clock, database, store

__all__ = ["clock", "postgres", "store"]


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database of this test. Mark the test with `postgres`."""
    with database("postgres", tmp_path) as url:
        yield url
