"""SQL of alerts and incidents: load what a webhook speaks of, save what the fold made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
    update,
)

from alerthub.domain.alert import AlertStatus, Severity
from alerthub.domain.incident import AlertState, Incident
from alerthub.domain.message import IncidentStatus
from alerthub.errors import Conflict
from alerthub.store.batch import among, array, listed, several
from alerthub.store.schema import Instant, alerts, holds, incidents
from alerthub.store.tx import AnyRow, Tx, chunks

ALERT_COLUMNS = (
    alerts.c.row, alerts.c.source, alerts.c.identity, alerts.c.incident_id, alerts.c.status, alerts.c.content,
    alerts.c.starts_at, alerts.c.ends_at, alerts.c.changed_at, alerts.c.seen_at, alerts.c.missing_since,
)
BY_SOURCE = {is_postgres: select(*ALERT_COLUMNS).where(
    alerts.c.source == bindparam("the_source"), among(alerts.c.identity, "identities", is_postgres),
    holds(alerts.c.is_current)) for is_postgres in (False, True)}
BY_INCIDENT = select(*ALERT_COLUMNS).where(alerts.c.incident_id == bindparam("incident"))
INCIDENTS_BY_ID = {is_postgres: select(incidents).where(among(incidents.c.id, "ids", is_postgres))
                   for is_postgres in (False, True)}
FIRST_FIRST = alerts.c.status, alerts.c.starts_at, alerts.c.row     # firing before resolved, then by when they began
WANTED = listed(column("ids", Text()))
FOUND = (select(*ALERT_COLUMNS).where(alerts.c.incident_id == WANTED.c.ids).order_by(*FIRST_FIRST)
         .limit(bindparam("most", type_=Integer())).lateral("found"))
LISTED = func.json_each(bindparam("ids", type_=Text())).table_valued("value", name="wanted")      # SQLite joins no lateral rows
ONE = alerts.alias("one")
ROWS = (select(ONE.c.row).where(ONE.c.incident_id == LISTED.c.value).order_by(ONE.c.status, ONE.c.starts_at, ONE.c.row)
        .limit(bindparam("most", type_=Integer())).correlate(LISTED))
FIRST_OF_EACH = {
    True: select(*FOUND.c).select_from(WANTED.join(FOUND, true())).order_by(FOUND.c.status, FOUND.c.starts_at, FOUND.c.row),
    False: select(*ALERT_COLUMNS).select_from(LISTED.join(alerts, alerts.c.row.in_(ROWS))).order_by(*FIRST_FIRST)}
NEW_ALERT, NEW_INCIDENT = alerts.insert(), incidents.insert()
UPDATE_ALERT = update(alerts).where(alerts.c.row == bindparam("the_row"))
# Not FOR UPDATE: whoever only refers to an incident (its lanes, its runs) need not wait for whoever changes it.
LOCKED_BY_ID = {is_postgres: query.order_by(incidents.c.id).with_for_update(key_share=True)
                for is_postgres, query in INCIDENTS_BY_ID.items()}
TOUCH_ALERT = update(alerts).where(alerts.c.row == bindparam("the_row"), alerts.c.status == bindparam("judged"),
                                   holds(alerts.c.is_current))
RETIRE_ALERT = update(alerts).where(alerts.c.row == bindparam("the_row")).values(is_current=False)


def alert_state(row: AnyRow) -> AlertState:
    number, source, identity, incident_id, status, content, starts_at, ends_at, changed_at, seen_at, missing = row
    return AlertState(source, identity, incident_id, STATUSES[status], content, starts_at, ends_at, changed_at, seen_at,
                      number, False, missing)


STATUSES = {status.value: status for status in AlertStatus}


def current(tx: Tx, source: str, identities: Iterable[str]) -> dict[str, AlertState]:
    """The latest state of these alerts of a source, by identity; unknown ones are absent."""
    found: dict[str, AlertState] = {}
    for chunk in chunks(identities):
        named = {"the_source": source, "identities": several(chunk, tx.is_postgres)}
        for row in tx.conn.execute(BY_SOURCE[tx.is_postgres], named):
            found[row[2]] = alert_state(row)
    return found


def of_incident(tx: Tx, incident_id: str, limit: int | None = None) -> list[AlertState]:
    """An incident's alerts, firing first, then by when they began."""
    query = BY_INCIDENT.order_by(*FIRST_FIRST).limit(limit)
    return [alert_state(row) for row in tx.conn.execute(query, {"incident": incident_id})]


def first_of_each(tx: Tx, incident_ids: Iterable[str], limit: int) -> dict[str, list[AlertState]]:
    """The first so many alerts of each of these incidents, in the same order; incidents without alerts are absent."""
    found: dict[str, list[AlertState]] = {}
    for chunk in chunks(incident_ids):
        ids = array(chunk) if tx.is_postgres else json.dumps(chunk)
        for state in map(alert_state, tx.conn.execute(FIRST_OF_EACH[tx.is_postgres], {"ids": ids, "most": limit})):
            found.setdefault(state.incident_id or "", []).append(state)
    return found


def firing_of_source(tx: Tx, source: str) -> list[AlertState]:
    query = select(*ALERT_COLUMNS).where(alerts.c.source == source, alerts.c.status == "firing", holds(alerts.c.is_current))
    return [alert_state(row) for row in tx.conn.execute(query)]


def firing_elsewhere(tx: Tx, source: str, after: int, limit: int) -> list[AlertState]:
    """Of all other sources, in open incidents: the next so many after this row."""
    query = (select(*ALERT_COLUMNS).join(incidents, incidents.c.id == alerts.c.incident_id)
             .where(alerts.c.row > after, alerts.c.source != source, alerts.c.status == "firing", holds(alerts.c.is_current),
                    incidents.c.status != "resolved").order_by(alerts.c.row).limit(limit))
    return [alert_state(row) for row in tx.conn.execute(query)]


def save_alerts(tx: Tx, states: Sequence[AlertState], retired: Sequence[int]) -> None:
    """Insert the new, update the changed; `retired` are rows that are no longer the latest state of their alert.

    A repeat never writes the status: another replica may have changed it meanwhile.
    """
    lock_in_order(tx, [*retired, *(state.row for state in states if state.row and (state.is_dirty or state.is_touched))])
    tx.batch(RETIRE_ALERT, [{"the_row": row} for row in retired])
    tx.batch(NEW_ALERT, [
        {**alert_columns(state), "source": state.source, "identity": state.identity, "incident_id": state.incident_id,
         "is_current": True} for state in states if state.is_dirty and not state.row])
    tx.batch(UPDATE_ALERT, [{**alert_columns(state), "the_row": state.row} for state in states if state.is_dirty and state.row])
    touched = [state for state in states if state.is_touched and not state.is_dirty and state.row]
    done = tx.batch(TOUCH_ALERT, [
        {"the_row": state.row, "judged": state.status.value, "content": state.content, "seen_at": state.seen_at,
         "missing_since": state.missing_since} for state in touched])
    if done != len(touched):
        raise Conflict("an alert changed its status meanwhile")


LOCK_ALERTS = select(alerts.c.row).where(among(alerts.c.row, "rows", True)).order_by(alerts.c.row).with_for_update(key_share=True)


def lock_in_order(tx: Tx, rows: Sequence[int]) -> None:
    """A statement over many rows locks them in an order of its own; replicas would wait for each other in a circle."""
    if tx.is_postgres and len(rows) > 1:
        tx.conn.execute(LOCK_ALERTS, {"rows": several(rows, True)})


KEEP_APART = select(func.pg_advisory_xact_lock(func.unnest(cast(bindparam("names", type_=Text()), ARRAY(BigInteger)))))
MOST_KEPT_APART = 256       # of one transaction: all replicas share one table of locks, and by default it has room for 6,400


def keep_apart(tx: Tx, newcomers: Sequence[str]) -> None:
    """What is not in the database yet cannot be locked there: of two replicas that would both insert it, the second waits here
    and then finds it. Without that it fails at the unique index, and all that it had done is done again. A mere help: the
    index decides, so with too many at once nobody waits."""
    if tx.is_postgres and 0 < len(newcomers) <= MOST_KEPT_APART:
        names = sorted(int.from_bytes(sha256(name.encode("utf-8", "replace")).digest()[:8], "big", signed=True)
                       for name in newcomers)      # in one order for all
        tx.conn.execute(KEEP_APART, {"names": array(names)})


def alert_columns(state: AlertState) -> dict[str, Any]:
    return {"status": state.status.value, "content": state.content, "starts_at": state.starts_at, "ends_at": state.ends_at,
            "changed_at": state.changed_at, "seen_at": state.seen_at, "missing_since": state.missing_since}


def incident_of(row: AnyRow) -> Incident:
    values = row._mapping
    return Incident(
        id=values["id"], key=values["key"], source=values["source"], title=values["title"],
        status=IncidentStatus(values["status"]), severity=Severity(values["severity"]), opened_at=values["opened_at"],
        updated_at=values["updated_at"], episode=values["episode"], seq=values["seq"], stored_seq=values["seq"],
        number=values["number"], resolved_at=values["resolved_at"], acknowledged_by=values["acknowledged_by"],
        firing=values["firing"], alerts=values["alerts"], incomplete=values["incomplete"], is_stale=values["is_stale"],
        is_silenced=values["is_silenced"], seen_at=values["seen_at"], avoid=values["avoid"],
        acknowledged_at=values["acknowledged_at"], silence_id=values["silence_id"], flaps=values["flaps"],
    )


def incidents_for_change(tx: Tx, ids: Iterable[str]) -> dict[str, Incident]:
    """These incidents by id, locked against other replicas until the end of the transaction, in one order for all."""
    return by_id(tx, LOCKED_BY_ID, ids)


def latest(is_postgres: bool) -> Select[Any]:
    newest = (select(incidents.c.key, func.max(incidents.c.number).label("number"))
              .where(among(incidents.c.key, "keys", is_postgres)).group_by(incidents.c.key).subquery())
    return (select(incidents.c.key, incidents.c.id)
            .join(newest, and_(newest.c.key == incidents.c.key, newest.c.number == incidents.c.number))
            .where((incidents.c.status != "resolved") | (incidents.c.resolved_at >= bindparam("since", type_=Instant()))))


LATEST = {is_postgres: latest(is_postgres) for is_postgres in (False, True)}


def latest_by_key(tx: Tx, keys: Iterable[str], resolved_since: datetime) -> dict[str, str]:
    """For each key the id of its open incident, else of the newest one resolved since then; keys without are absent."""
    found: dict[str, str] = {}
    for chunk in chunks(keys):
        rows = tx.conn.execute(LATEST[tx.is_postgres], {"keys": several(chunk, tx.is_postgres), "since": resolved_since})
        found.update((key, incident_id) for key, incident_id in rows)
    return found


WORST_FIRST = case({severity.value: severity.rank for severity in Severity}, value=incidents.c.severity).desc()


def open_incidents(tx: Tx, limit: int) -> tuple[list[Incident], int]:
    """The gravest first, then the newest; and how many there are."""
    is_open = incidents.c.status != "resolved"
    rows = tx.conn.execute(select(incidents).where(is_open).order_by(WORST_FIRST, incidents.c.number.desc()).limit(limit))
    total = tx.conn.execute(select(func.count()).select_from(incidents).where(is_open)).scalar_one()
    return [incident_of(row) for row in rows], total


def id_of(tx: Tx, reference: str) -> str:
    """The id of the incident that people call by this number, or that has this id; empty when there is none."""
    is_number = reference.isascii() and reference.isdigit()
    which = incidents.c.number == int(reference) if is_number and len(reference) < 16 else incidents.c.id == reference
    return tx.conn.execute(select(incidents.c.id).where(which)).scalar() or ""


def find_incident(tx: Tx, incident_id: str) -> Incident | None:
    row = tx.conn.execute(select(incidents).where(incidents.c.id == incident_id)).first()
    return incident_of(row) if row else None


INCIDENT_NAMES = ("status", "severity", "episode", "seq", "opened_at", "updated_at", "resolved_at", "acknowledged_by",
                  "firing", "alerts", "incomplete", "is_stale", "is_silenced", "seen_at", "acknowledged_at", "silence_id",
                  "flaps")
UPDATE_INCIDENT = update(incidents).where(incidents.c.id == bindparam("the_id"), incidents.c.seq == bindparam("stored"))


def incident_columns(incident: Incident) -> dict[str, Any]:
    columns = {name: getattr(incident, name) for name in INCIDENT_NAMES}
    columns["status"], columns["severity"] = incident.status.value, incident.severity.value
    return columns


def save_incidents(tx: Tx, changed: Sequence[Incident]) -> None:
    """Insert the new, update the changed. Conflict when another replica opened the same key or moved the same one."""
    new = [incident for incident in changed if not incident.stored_seq]
    rows = [{**incident_columns(incident), "id": incident.id, "key": incident.key, "source": incident.source,
             "title": incident.title, "avoid": incident.avoid} for incident in new]
    if rows:
        tx.batch(NEW_INCIDENT, rows)
    old = [{**incident_columns(incident), "the_id": incident.id, "stored": incident.stored_seq}
           for incident in changed if incident.stored_seq]
    if tx.batch(UPDATE_INCIDENT, old) != len(old):
        raise Conflict("an incident changed meanwhile")


def read_incidents(tx: Tx, ids: Iterable[str]) -> dict[str, Incident]:
    """These incidents by id, as they are now, without locks."""
    return by_id(tx, INCIDENTS_BY_ID, ids)


def by_id(tx: Tx, statements: Mapping[bool, Select[Any]], ids: Iterable[str]) -> dict[str, Incident]:
    incidents_of = (map(incident_of, tx.conn.execute(statements[tx.is_postgres], {"ids": several(chunk, tx.is_postgres)}))
                    for chunk in chunks(sorted(ids)))
    return {incident.id: incident for found in incidents_of for incident in found}


FLAPPING = incidents.c.flaps > literal_column("0")     # in the words of its index


def flapping_until(tx: Tx, since: datetime, limit: int = 500) -> list[str]:
    """Incidents that flap and have neither opened nor closed since then."""
    changed_at = func.coalesce(incidents.c.resolved_at, incidents.c.opened_at)
    return list(tx.conn.execute(select(incidents.c.id).where(FLAPPING, changed_at < since).limit(limit)).scalars())


def quiet_incidents(tx: Tx, source: str, since: datetime, limit: int = 500) -> list[str]:
    """Open, not yet stale incidents of a source none of whose firing alerts has been seen since then."""
    firing = alerts.alias("firing")
    query = (select(alerts.c.incident_id).distinct().join(incidents, incidents.c.id == alerts.c.incident_id)
             .where(alerts.c.source == source, alerts.c.status == "firing", alerts.c.seen_at < since, holds(alerts.c.is_current),
                    incidents.c.status != "resolved", incidents.c.is_stale.is_(False),
                    ~select(firing.c.row).where(firing.c.incident_id == incidents.c.id, firing.c.status == "firing",
                                                firing.c.seen_at >= since).exists())
             .limit(limit))
    return [incident_id for incident_id, in tx.conn.execute(query)]
