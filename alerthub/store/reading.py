"""SQL for people: lists for the API and the pages. Only reads, in cursor pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, literal, literal_column, select, union_all

from alerthub.domain.alert import Severity
from alerthub.domain.delivery import DeliveryState
from alerthub.domain.latch import LatchState
from alerthub.store import alerts as alert_store
from alerthub.store import events as event_store
from alerthub.store import timers
from alerthub.store.schema import deliveries, holds, incidents, lanes, latches, quarantine, silences
from alerthub.store.tx import AnyRow, AnySelect, Tx

INCIDENT_FIELDS = ("number", "id", "source", "title", "status", "severity", "episode", "opened_at", "updated_at", "resolved_at",
                   "acknowledged_by", "acknowledged_at", "firing", "alerts", "incomplete", "is_stale", "is_silenced",
                   "silence_id", "flaps")
RANKS = {severity.value: severity.rank for severity in Severity}
NOT_SENT = deliveries.c.state != literal_column("'sent'")     # in the words of its index
SHOWN = 500     # alerts, events and deliveries of one incident
DELIVERY_FIELDS = ("id", "lane_id", "incident_id", "destination", "attempt", "state", "why", "up_to_seq", "possible_duplicate",
                   "started_at", "finished_at", "failure", "detail", "is_dead_letter")


def plain(row: AnyRow, fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: text(row._mapping[name]) for name in fields}


def text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def page(tx: Tx, query: AnySelect, column: Any, fields: tuple[str, ...], limit: int, before: int | None) -> dict[str, Any]:
    """Rows newest first; `next` is the cursor of the following page, or None."""
    if before is not None:
        query = query.where(column < before)
    rows = tx.conn.execute(query.order_by(column.desc()).limit(limit + 1)).all()
    items = [plain(row, fields) for row in rows[:limit]]
    return {"items": items, "next": items[-1][column.name] if len(rows) > limit else None}


def list_incidents(tx: Tx, limit: int, before: int | None, status: str) -> dict[str, Any]:
    """`status`: open, or one of the three states, or empty for all."""
    query = select(incidents)
    if status == "open":
        query = query.where(incidents.c.status != "resolved")
    elif status:
        query = query.where(incidents.c.status == status)
        if status != "resolved":        # said so that the index of what is open serves: few of all are
            query = query.where(incidents.c.status != "resolved")
    return page(tx, query, incidents.c.number, INCIDENT_FIELDS, limit, before)


def one_incident(tx: Tx, reference: str) -> dict[str, Any] | None:
    """By number or by id: the incident, its first alerts, its newest events and deliveries, and the silence that holds it.
    `events_left_out` are older: details.events_of has them all."""
    which = incidents.c.number == int(reference) if reference.isdigit() and len(reference) < 16 else incidents.c.id == reference
    row = tx.conn.execute(select(incidents).where(which)).first()
    if row is None:
        return None
    found = plain(row, INCIDENT_FIELDS)
    found["silence"] = silence_of(tx, row.silence_id)
    found["alert_list"] = [
        {**json.loads(state.content), "status": state.status.value, "starts_at": text(state.starts_at),
         "ends_at": text(state.ends_at), "seen_at": text(state.seen_at)}
        for state in alert_store.of_incident(tx, row.id, SHOWN)]
    found["events"] = [
        {"seq": event.seq, "at": text(event.at), "kind": event.kind.value, "actor": f"{event.actor.kind}:{event.actor.name}",
         "text": event.text, "data": dict(event.data)} for event in event_store.newest(tx, row.id, SHOWN)]
    found["events_left_out"] = found["events"][0]["seq"] - 1 if found["events"] else 0
    found["timers"] = [
        {"kind": timer.kind, "policy": timer.name, "step": timer.step + 1, "round": timer.round + 1, "state": timer.state,
         "due_at": text(timer.due_at)} for timer in timers.of_incidents(tx, [row.id]) if timer.episode == row.episode]
    sent = select(deliveries).where(deliveries.c.incident_id == row.id).order_by(deliveries.c.id.desc()).limit(SHOWN)
    found["deliveries"] = [plain(delivery, DELIVERY_FIELDS) for delivery in tx.conn.execute(sent)][::-1]
    return found


LANE_FIELDS = ("id", "destination", "channel", "told_seq", "want_seq", "due_at", "failures", "failing_since", "is_degraded",
               "is_dead", "receipt")


def lanes_of(tx: Tx, incident_id: str) -> list[dict[str, Any]]:
    """How far each destination of an incident is told, and what the provider calls its live message there."""
    query = select(lanes).where(lanes.c.incident_id == incident_id).order_by(lanes.c.destination).limit(SHOWN)
    return [{**plain(row, LANE_FIELDS), "receipt": json.loads(row.receipt) if row.receipt else None}
            for row in tx.conn.execute(query)]


def open_counts(tx: Tx) -> dict[tuple[str, str], int]:
    """How many incidents are open, by state and severity."""
    query = (select(incidents.c.status, incidents.c.severity, func.count()).where(incidents.c.status != "resolved")
             .group_by(incidents.c.status, incidents.c.severity))
    return {(status, severity): number for status, severity, number in tx.conn.execute(query)}


def silence_of(tx: Tx, silence_id: str) -> dict[str, Any] | None:
    row = tx.conn.execute(select(silences).where(silences.c.id == silence_id)).first() if silence_id else None
    return plain(row, ("number", "created_by", "ends_at", "comment")) if row else None


def list_deliveries(tx: Tx, limit: int, before: int | None, state: str, *, only_dead: bool) -> dict[str, Any]:
    query = select(deliveries)
    if state:
        query = query.where(deliveries.c.state == state)
        if state != DeliveryState.sent.value:       # said so that the index of the few others serves
            query = query.where(NOT_SENT)
    if only_dead:
        query = query.where(holds(deliveries.c.is_dead_letter))
    return page(tx, query, deliveries.c.id, DELIVERY_FIELDS, limit, before)


def list_quarantine(tx: Tx, limit: int, before: int | None) -> dict[str, Any]:
    fields = ("id", "source", "arrived_at", "reason", "body_sha256")
    return page(tx, select(quarantine), quarantine.c.id, fields, limit, before)


def counts(tx: Tx) -> Mapping[str, Any]:
    """For metrics and health, in one question: open incidents by severity, dead lanes, and the targets that must be safe by
    whether they have confirmed that they are."""
    found: dict[str, Any] = {"severity": {}, "dead": 0, "latched": {}}
    for what, name, number in tx.conn.execute(COUNTS):
        if what == "dead":
            found["dead"] = number
        else:
            found[what][name] = number
    return found


MUST_BE_SAFE = latches.c.state.in_([state.value for state in LatchState if state.is_safe])
COUNTS = union_all(
    select(literal("severity"), incidents.c.severity, func.count()).where(incidents.c.status != "resolved")
    .group_by(incidents.c.severity),
    select(literal("dead"), literal(""), func.count()).select_from(lanes).where(holds(lanes.c.is_dead)),
    select(literal("latched"), literal("yes"), func.count()).where(MUST_BE_SAFE, latches.c.verified_at.is_not(None)),
    select(literal("latched"), literal("no"), func.count()).where(MUST_BE_SAFE, latches.c.verified_at.is_(None)))
