"""Alembic's entry: runs on the connection that alerthub.store.migrate gives, in its transaction."""

from __future__ import annotations

from alembic import context

from alerthub.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=connection.dialect.name == "sqlite")
context.run_migrations()
