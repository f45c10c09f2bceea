"""The two databases that the hub is measured on. PostgreSQL as in production: fsync on, memory of a small server."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kit.postgres import Postgres, Server, find_binaries

SQLITE, POSTGRES = "SQLite", "PostgreSQL"
KINDS = (SQLITE, POSTGRES)
PRODUCTION = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min", "max_connections": "100"}


@functools.cache
def server() -> Server:
    """Of this process, gone with it."""
    return Postgres(find_binaries(), durable=True, settings=PRODUCTION).start().server


@contextmanager
def database(kind: str) -> Iterator[str]:
    """The address of an empty database, for one hub or for several replicas; SQLite's is a file in the hub's folder."""
    if kind == SQLITE:
        yield "sqlite:///hub.db"
        return
    name = server().create("template0")
    try:
        yield server().dsn(name)
    finally:
        server().drop(name)
