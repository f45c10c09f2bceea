"""Bringing the tables to what this program needs. Safe to call from several replicas at once, and after a kill -9."""

from __future__ import annotations

import logging
from functools import cache

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from alerthub.errors import AlerthubError
from alerthub.resources import folder
from alerthub.store.database import Store, busy_or
from alerthub.store.tx import Tx

logger = logging.getLogger("alerthub.store")
LOCK = 0x616C657274687562 & 0x7FFFFFFFFFFFFFFF    # "alerthub": one migration at a time on PostgreSQL
# Asked with every page of health. Alembic would make a table anew each time, whose compiled statement no other one can use:
# they pushed out each other, and what is pushed out is a cycle that has lived long, which the collector comes to last.
REVISION = text("SELECT version_num FROM alembic_version")


class TooNew(AlerthubError):
    """The database was made by a newer alerthub."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        super().__init__(f"the database is at revision {revision}, which this alerthub does not know; run a newer one"
                         " (a database is never taken back to an older version)")


def migrate(store: Store) -> str:
    """Upgrade to the newest revision, all or nothing, and return it. Raises TooNew rather than touch what it does not know."""
    scripts = script_config()
    try:
        with store.engine.begin() as conn:
            if conn.dialect.name == "postgresql":
                # A long migration, or one that waits for another replica's, is not a statement that hangs.
                conn.execute(text("SET LOCAL statement_timeout = 0"))
                conn.execute(text("SET LOCAL lock_timeout = 0"))
                conn.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            before = current(conn)
            head = known_head(scripts, before)
            if before != head:
                scripts.attributes["connection"] = conn
                command.upgrade(scripts, "head")
                logger.info("database migrated from %s to %s", before or "nothing", head, extra={"event": "database.migrated"})
            return head
    except SQLAlchemyError as error:
        raise busy_or(error) from error


def ready(store: Store) -> str:
    """Migrate; but a hub on PostgreSQL whose database a newer replica has migrated already goes on: each migration leaves what
    the version before needs (migrations/README.md). The revision."""
    try:
        return migrate(store)
    except TooNew as error:
        if store.is_sqlite:
            raise
        logger.warning("%s; this replica goes on until it is replaced", error, extra={"event": "database.newer"})
        return error.revision


def newer(tx: Tx) -> str:
    """The revision of the database when this program does not know it, because a newer one has migrated it; else empty."""
    revision = tx.conn.execute(REVISION).scalar()
    return revision if revision is not None and revision not in known_revisions() else ""


@cache
def known_revisions() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(script_config()).walk_revisions())


def current(conn: Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()


def known_head(scripts: Config, revision: str | None) -> str:
    directory = ScriptDirectory.from_config(scripts)
    if revision is not None and revision not in known_revisions():
        raise TooNew(revision)
    head = directory.get_current_head()
    if head is None:
        raise AlerthubError("the migrations are missing from this installation")
    return head


def script_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder("migrations")).replace("%", "%%"))
    return config
