"""The tables that make the history tamper-evident, and reports about it. Part of schema.py; what the
hashes are of says domain/record.py."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, Table, Text

from alerthub.store.columns import Instant, metadata

anchors = Table(
    "anchors", metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("content", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

# Histories that were forgotten by age since the last anchor, which will name them.
pruned = Table(
    "pruned", metadata,
    Column("incident_id", Text, primary_key=True),
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)

# What people write about an incident afterwards: every version is kept, and goes with the incident.
reports = Table(
    "reports", metadata,
    Column("incident_id", Text, ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("by", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("text", Text, nullable=False),
)
