"""The tables of what people do: answers, timers, silences, heartbeats, shifts that were swapped. Part of schema.py."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, UniqueConstraint, text

from alerthub.store.columns import Instant, RowId, metadata

# What happens to an incident at a time unless somebody is first: the next step of an escalation, the end of an acknowledgement.
timers = Table(
    "timers", metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("incident_id", Text, ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("episode", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("due_at", Instant),
    UniqueConstraint("incident_id", "kind", "name"),
)
Index("ix_timers_due_at", timers.c.due_at,
      sqlite_where=text("due_at IS NOT NULL"), postgresql_where=text("due_at IS NOT NULL"))

# What people and providers have said, by the provider's own id of it: said twice, it is done once.
heard = Table(
    "heard", metadata,
    Column("key", Text, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("answer", Text, nullable=False),
)
Index("ix_heard_at", heard.c.at)

# Chat accounts that were proved to be a person's by a one-time code; and the codes, as hashes.
identities = Table(
    "identities", metadata,
    Column("account", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("linked_at", Instant, nullable=False),
)
link_codes = Table(
    "link_codes", metadata,
    Column("code_sha256", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

# Random keys that all replicas share, made once: what buttons and links are signed with.
keys = Table(
    "keys", metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

silences = Table(
    "silences", metadata,
    Column("number", RowId, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("remote_id", Text, nullable=False),
    Column("matchers", Text, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("mirrored", Text, nullable=False),
    Column("due_at", Instant),
    sqlite_autoincrement=True,
)
Index("ix_silences_ends_at", silences.c.ends_at)
Index("uq_silences_remote", silences.c.source, silences.c.remote_id, unique=True,
      sqlite_where=text("remote_id <> ''"), postgresql_where=text("remote_id <> ''"))
Index("ix_silences_due_at", silences.c.due_at,
      sqlite_where=text("due_at IS NOT NULL"), postgresql_where=text("due_at IS NOT NULL"))

heartbeats = Table(
    "heartbeats", metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("seen_at", Instant),
    Column("due_at", Instant),
    Column("since", Instant, nullable=False),
)
Index("ix_heartbeats_due_at", heartbeats.c.due_at,
      sqlite_where=text("due_at IS NOT NULL"), postgresql_where=text("due_at IS NOT NULL"))

overrides = Table(
    "overrides", metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("schedule", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("replaces", Text, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("uid", Text, nullable=False),
)
Index("ix_overrides_schedule_ends_at", overrides.c.schedule, overrides.c.ends_at)
