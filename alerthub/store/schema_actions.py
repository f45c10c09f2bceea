"""The tables of guarded actions: runs, latches, who agreed, freezes, permits. Part of schema.py."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint, text

from alerthub.store.columns import Instant, RowId, metadata

action_runs = Table(
    "action_runs", metadata,
    Column("id", Text, primary_key=True),
    Column("incident_id", Text, ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False),
    Column("episode", Integer, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("rule_version", Text, nullable=False),
    Column("body_sha256", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("due_at", Instant),
    Column("lease_until", Instant),
    Column("owner", Text),
    Column("attempt", Integer, nullable=False),
    Column("report", Text, nullable=False),
    # Of a tighten: how often its target had been latched, this time included; of a relax: the latch's seq when people agreed.
    Column("round", Integer, nullable=False, server_default=text("0")),
    Column("mode", Text, nullable=False, server_default=text("'live'")),
    Column("rules_version", Text, nullable=False, server_default=text("''")),
    Column("alert", Text, nullable=False, server_default=text("''")),        # as received: JSON
    Column("asked_by", Text, nullable=False, server_default=text("''")),     # empty: an alert did
    UniqueConstraint("incident_id", "episode", "action", "target", "direction", "round", name="uq_action_runs_once_a_round"),
)
Index("ix_action_runs_due", action_runs.c.due_at,
      sqlite_where=text("due_at IS NOT NULL"), postgresql_where=text("due_at IS NOT NULL"))
Index("ix_action_runs_action_started_at", action_runs.c.action, action_runs.c.started_at)
Index("ix_action_runs_state", action_runs.c.state, action_runs.c.id)
Index("ix_action_runs_reason", action_runs.c.reason, action_runs.c.id)

# A target that was made safe stays so until people release it. No row: never latched.
latches = Table(
    "latches", metadata,
    Column("target", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("seq", Integer, nullable=False),              # of state changes; guards every change
    Column("generation", Integer, nullable=False),       # how often it was latched
    Column("since", Instant, nullable=False),            # of the state
    Column("action", Text, nullable=False),              # the tighten that latched it last
    Column("incident_id", Text, nullable=False),         # where that happened, and where its story goes on
    Column("asked_by", Text, nullable=False),            # the person who asks for release, or who overrode
    Column("why", Text, nullable=False),
    Column("due_at", Instant),                           # when a request for release is over
    Column("verified_at", Instant),                      # when the target last said what it should
)

# What latched it since it was last armed. All of it must be clear before it is released.
latch_causes = Table(
    "latch_causes", metadata,
    Column("target", Text, primary_key=True),
    Column("incident_id", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("clear_since", Instant),      # since when the source's own list shows none of its alerts; null while it does
)

# When a source's own list of alerts was last seen, whole.
looks = Table(
    "looks", metadata,
    Column("source", Text, primary_key=True),
    Column("at", Instant, nullable=False),
)

# Who agreed or not. `subject`: `run:ID`, or `latch:TARGET:SEQ`. One vote per person.
votes = Table(
    "votes", metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("subject", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("at", Instant, nullable=False),
    UniqueConstraint("subject", "person"),
)

# While one stands, no neutral and no relaxing action starts. `scope`: an action's name; empty: all of them.
freezes = Table(
    "freezes", metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("scope", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("lifted_at", Instant),
    Column("lifted_by", Text, nullable=False),
)
Index("uq_freezes_standing", freezes.c.scope, unique=True,
      sqlite_where=text("lifted_at IS NULL"), postgresql_where=text("lifted_at IS NULL"))

# The number of the last lease of each target, whichever replica gave it.
permits = Table(
    "permits", metadata,
    Column("target", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("asked_at", Instant, nullable=False),
)
