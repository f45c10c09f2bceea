"""The tables. Times are whole microseconds since 1970 (one comparison on both databases); JSON is text, decoded by whoever
needs it. A row with `due_at` is a promise: see leases.py. The migrations build the same (a guard test compares)."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from alerthub.store.columns import EPOCH, MICROSECOND, Instant, RowId, holds, metadata
from alerthub.store.schema_access import access_events, access_links, accounts, login_attempts, sessions, tokens
from alerthub.store.schema_actions import action_runs, freezes, latch_causes, latches, looks, permits, votes
from alerthub.store.schema_people import heard, heartbeats, identities, keys, link_codes, overrides, silences, timers
from alerthub.store.schema_record import anchors, pruned, reports

__all__ = [
    "EPOCH", "MICROSECOND", "Instant", "RowId", "access_events", "access_links", "accounts", "action_runs", "alerts",
    "anchors", "clocks", "deliveries", "destinations", "events", "freezes", "heard", "heartbeats", "holds", "identities",
    "incidents", "keys", "lanes", "latch_causes", "latches", "leaders", "link_codes", "login_attempts", "looks", "metadata",
    "overrides", "permits", "pruned", "quarantine", "reports", "sessions", "silences", "timers", "tokens", "votes",
]

incidents = Table(
    "incidents", metadata,
    Column("number", RowId, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("episode", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("resolved_at", Instant),
    Column("acknowledged_by", Text, nullable=False),
    Column("firing", Integer, nullable=False),
    Column("alerts", Integer, nullable=False),
    Column("incomplete", Integer, nullable=False),
    Column("is_stale", Boolean, nullable=False),
    Column("is_silenced", Boolean, nullable=False),
    Column("seen_at", Instant),
    Column("avoid", Text, nullable=False),
    Column("acknowledged_at", Instant),
    Column("silence_id", Text, nullable=False, server_default=text("''")),
    Column("flaps", Integer, nullable=False, server_default=text("0")),
    sqlite_autoincrement=True,
)
# the database, not a read before a write, keeps it to one open incident per key.
Index("uq_incidents_open_key", incidents.c.key, unique=True,
      sqlite_where=text("status <> 'resolved'"), postgresql_where=text("status <> 'resolved'"))
Index("ix_incidents_key_number", incidents.c.key, incidents.c.number)
Index("ix_incidents_open", incidents.c.number,
      sqlite_where=text("status <> 'resolved'"), postgresql_where=text("status <> 'resolved'"))
Index("ix_incidents_gravest", incidents.c.severity, incidents.c.status, incidents.c.number,
      sqlite_where=text("status <> 'resolved'"), postgresql_where=text("status <> 'resolved'"))
Index("ix_incidents_resolved_at", incidents.c.resolved_at)
Index("ix_incidents_flapping", incidents.c.number, sqlite_where=text("flaps > 0"), postgresql_where=text("flaps > 0"))

alerts = Table(
    "alerts", metadata,
    Column("row", RowId, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("incident_id", Text, ForeignKey("incidents.id", ondelete="CASCADE")),
    Column("is_current", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    Column("changed_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("missing_since", Instant),
)
# The latest state of one alert of one source; older rows are the history of closed incidents.
Index("uq_alerts_current", alerts.c.identity, alerts.c.source, unique=True,
      sqlite_where=text("is_current"), postgresql_where=text("is_current"))
Index("ix_alerts_incident_id", alerts.c.incident_id)
Index("ix_alerts_firing_seen_at", alerts.c.source, alerts.c.seen_at,
      sqlite_where=text("status = 'firing'"), postgresql_where=text("status = 'firing'"))
# Resolves of what nobody had seen firing, for retention.
Index("ix_alerts_stray_seen_at", alerts.c.seen_at,
      sqlite_where=text("incident_id IS NULL"), postgresql_where=text("incident_id IS NULL"))

events = Table(
    "events", metadata,
    Column("position", RowId, primary_key=True, autoincrement=True),
    Column("incident_id", Text, ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor_name", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("hash", Text),
    UniqueConstraint("incident_id", "seq"),
)
# For whoever looks back over many incidents. People acknowledge and targets are latched seldom: no webhook pays for these.
ACKNOWLEDGED, LATCH = text("kind = 'acknowledged'"), text("kind = 'latch'")
Index("ix_events_acknowledged", events.c.incident_id, events.c.at, sqlite_where=ACKNOWLEDGED, postgresql_where=ACKNOWLEDGED)
Index("ix_events_latch", events.c.at, sqlite_where=LATCH, postgresql_where=LATCH)

lanes = Table(
    "lanes", metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("incident_id", Text, ForeignKey("incidents.id", ondelete="CASCADE"), nullable=False),
    Column("destination", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("told_seq", Integer, nullable=False),
    Column("want_seq", Integer, nullable=False),
    Column("told_episode", Integer, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("due_at", Instant),
    Column("not_before", Instant),
    Column("lease_until", Instant),
    Column("owner", Text),
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failing_since", Instant),
    Column("is_degraded", Boolean, nullable=False),
    Column("is_dead", Boolean, nullable=False),
    Column("receipt", Text),
    Column("urgent_at", Instant),
    UniqueConstraint("incident_id", "destination"),
)
Index("ix_lanes_due", lanes.c.destination, lanes.c.due_at,
      sqlite_where=text("due_at IS NOT NULL"), postgresql_where=text("due_at IS NOT NULL"))
Index("ix_lanes_dead", lanes.c.id, sqlite_where=text("is_dead"), postgresql_where=text("is_dead"))

# What a person has just changed is shown at once, whatever the destination's budget: see `lanes.urgent`.
Index("ix_lanes_urgent_at", lanes.c.urgent_at,
      sqlite_where=text("urgent_at IS NOT NULL"), postgresql_where=text("urgent_at IS NOT NULL"))

# One row per destination: its rate budget and its health, shared by all replicas.
destinations = Table(
    "destinations", metadata,
    Column("key", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("free_at", Instant, nullable=False),
    Column("failing_since", Instant),
    Column("last_error", Text, nullable=False),
    Column("last_sent_at", Instant),
    Column("moved_to", Text, nullable=False),
    Column("paused_until", Instant),
)

deliveries = Table(
    "deliveries", metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("lane_id", RowId, ForeignKey("lanes.id", ondelete="CASCADE"), nullable=False),
    Column("incident_id", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("up_to_seq", Integer, nullable=False),
    Column("possible_duplicate", Boolean, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("failure", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("is_dead_letter", Boolean, nullable=False),
    UniqueConstraint("lane_id", "attempt"),
)
Index("ix_deliveries_incident_id", deliveries.c.incident_id)
Index("ix_deliveries_dead_letter", deliveries.c.id,
      sqlite_where=text("is_dead_letter"), postgresql_where=text("is_dead_letter"))
Index("ix_deliveries_not_sent", deliveries.c.state, deliveries.c.id,
      sqlite_where=text("state <> 'sent'"), postgresql_where=text("state <> 'sent'"))

quarantine = Table(
    "quarantine", metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("arrived_at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body_sha256", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Index("ix_quarantine_arrived_at", quarantine.c.arrived_at)

# One holder at a time for what only one replica may do (reconcile, poll): a row with a term.
# The database's own clock, as the replicas that take their time from it saw it last; see hours.py.
clocks = Table(
    "clocks", metadata,
    Column("name", Text, primary_key=True),
    Column("seen_at", Instant, nullable=False),
    Column("moved", BigInteger, nullable=False),        # microseconds by which it has jumped, and the rows with it
)

leaders = Table(
    "leaders", metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("until", Instant, nullable=False),
)
