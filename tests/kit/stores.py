"""The store of a test: SQLite in a file, and the same test again on PostgreSQL. Migrations run once per process and
database; every test gets a copy. A conftest that imports `clock` and `store` has them as fixtures."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from alerthub.clock import SystemClock
from alerthub.store.database import Store
from alerthub.store.migrate import migrate
from tests.kit.clock import FakeClock
from tests.kit.postgres import fresh_database

EACH_DATABASE = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


def open_store(url: str, new_id: Callable[[], str]) -> Store:
    store = Store(url, new_id)
    migrate(store)
    return store


def migrated(url: str) -> None:
    """Make the tables once, in the template that every database of a test is cloned from."""
    open_store(url, SystemClock().new_id).close()


@functools.cache
def sqlite_template() -> Path:
    """A migrated file of this test process, to be copied."""
    folder = Path(tempfile.mkdtemp(prefix="ah-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    migrated(f"sqlite:///{folder}/template.db")
    return folder / "template.db"


@contextmanager
def sqlite_database(folder: Path) -> Iterator[str]:
    """The URL of a migrated file in the folder."""
    shutil.copyfile(sqlite_template(), folder / "hub.db")
    yield f"sqlite:///{folder}/hub.db"


def database(kind: str, folder: Path) -> AbstractContextManager[str]:
    """The URL of a migrated database that nobody else has; `kind` is sqlite or postgres."""
    return fresh_database(migrated) if kind == "postgres" else sqlite_database(folder)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=EACH_DATABASE)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    with database(request.param, tmp_path) as url:
        store = Store(url, clock.new_id)
        yield store
        store.close()


@contextmanager
def locked(store: Store, query: str) -> Iterator[None]:
    """Another replica, in the midst of a transaction that holds what the query locks."""
    with store.engine.connect() as conn, conn.begin() as held:
        conn.execute(text(query))
        yield
        held.rollback()
