"""Bringing the tables to what this program needs. Safe to call from several replicas at once, and after a kill -9."""

from __future__ import annotations

import logging

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from alerthub.errors import AlerthubError
from alerthub.resources import folder
from alerthub.store.database import Store, busy_or

logger = logging.getLogger("alerthub.store")
LOCK = 0x616C657274687562 & 0x7FFFFFFFFFFFFFFF    # "alerthub": one migration at a time on PostgreSQL


class TooNew(AlerthubError):
    """The database was made by a newer alerthub."""


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


def current(conn: Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()


def known_head(scripts: Config, revision: str | None) -> str:
    directory = ScriptDirectory.from_config(scripts)
    if revision is not None and revision not in {script.revision for script in directory.walk_revisions()}:
        raise TooNew(f"the database is at revision {revision}, which this alerthub does not know; run a newer one")
    head = directory.get_current_head()
    if head is None:
        raise AlerthubError("the migrations are missing from this installation")
    return head


def script_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder("migrations")).replace("%", "%%"))
    return config
