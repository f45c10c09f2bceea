"""SQL of lanes and deliveries: what is due to whom, what was sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Integer, Text, and_, bindparam, case, column, func, select, true, update

from alerthub.domain.delivery import Lane
from alerthub.domain.message import Receipt
from alerthub.domain.rules import Destination
from alerthub.store.batch import among, array, listed, several
from alerthub.store.leases import first_due
from alerthub.store.schema import EPOCH, Instant, deliveries, destinations, holds, lanes
from alerthub.store.tx import AnyRow, Tx, chunks, inserting

GONE = "(gone)"     # the channel of a lane whose destination left the configuration; it comes back with it


@dataclass(frozen=True, slots=True)
class Opening:
    """A destination that an incident shall be told at, from `not_before` on: what happened up to `seq`; of one that was there
    before `mark` says it."""

    incident_id: str
    destination: Destination
    not_before: datetime
    seq: int = 0


@cache
def new_lane(is_postgres: bool) -> Any:
    new = inserting(lanes, is_postgres)
    return new.on_conflict_do_update(index_elements=["incident_id", "destination"], set_={"channel": new.excluded.channel},
                                     where=lanes.c.channel == GONE)


@cache
def new_destination(is_postgres: bool) -> Any:
    return inserting(destinations, is_postgres).on_conflict_do_nothing(index_elements=["key"])


def ensure(tx: Tx, openings: Sequence[Opening]) -> None:
    """One lane per (incident, destination); those that exist stay as they are."""
    tx.has_work = tx.has_work or any(opening.seq for opening in openings)
    tx.batch(new_lane(tx.is_postgres), [
        {"incident_id": opening.incident_id, "destination": opening.destination.key, "channel": opening.destination.channel,
         "told_seq": 0, "want_seq": opening.seq, "told_episode": 0, "repeats": 0, "not_before": opening.not_before,
         "due_at": opening.not_before if opening.seq else None, "attempt": 0, "failures": 0, "is_degraded": False,
         "is_dead": False}
        for opening in openings])
    known = {opening.destination.key: opening.destination.channel for opening in openings}
    tx.batch(new_destination(tx.is_postgres), [
        {"key": key, "channel": channel, "free_at": EPOCH, "last_error": "", "moved_to": ""}
        for key, channel in sorted(known.items())])


def put_off(tx: Tx, incident_id: str, until: dict[str, datetime]) -> None:
    """Destinations that are called later: none of them earlier, also where a lane was there from before."""
    tx.many(update(lanes).where(lanes.c.incident_id == incident_id, lanes.c.destination == bindparam("place"),
                                lanes.c.lease_until.is_(None)),
            [{"place": key, "not_before": moment, "due_at": moment} for key, moment in sorted(until.items())])


MOMENT = bindparam("moment", type_=Instant())
MARK = (update(lanes).where(lanes.c.incident_id == bindparam("incident"), lanes.c.want_seq < bindparam("seq"),
                            lanes.c.channel != GONE)
        .values(want_seq=bindparam("seq"), is_dead=False,
                due_at=case((lanes.c.lease_until.is_not(None), lanes.c.due_at),     # who holds it will see it, or its lease ends
                            (lanes.c.not_before > MOMENT, lanes.c.not_before), else_=MOMENT)))


def mark(tx: Tx, wanted: Iterable[tuple[str, int]], now: datetime) -> None:
    """Make every lane of these incidents due for what happened up to `seq`; none earlier than its `not_before`. A dead
    lane gets another chance: there is something new to tell."""
    rows = [{"incident": incident, "seq": seq, "moment": now} for incident, seq in wanted]
    tx.has_work = tx.has_work or bool(rows)
    tx.batch(MARK, rows)


HURRY = (update(lanes).where(lanes.c.incident_id == bindparam("incident"), lanes.c.receipt.is_not(None), lanes.c.channel != GONE)
         .values(urgent_at=MOMENT))


def hurry(tx: Tx, incident_id: str, now: datetime) -> None:
    """A person changed it: its live messages show that at once, also where the budget of the destination is used up."""
    tx.has_work = True
    tx.conn.execute(HURRY, {"incident": incident_id, "moment": now})


UNHURRY = update(lanes).where(lanes.c.id == bindparam("lane")).values(urgent_at=None)


def unhurry(tx: Tx, claimed: Sequence[AnyRow]) -> None:
    """These are being told now; whoever changes something meanwhile hurries them again."""
    tx.many(UNHURRY, [{"lane": row.id} for row in claimed if row.urgent_at is not None])


@dataclass(frozen=True, slots=True)
class Place:
    """What a button's lane says of where it hangs."""

    lane: int
    incident_id: str
    destination: str
    receipt: dict[str, str]

    def holds(self, place: str) -> bool:
        """Whether the live message is in that chat (Slack `channel`, Telegram `chat_id`)."""
        known = {self.receipt[name] for name in ("channel", "chat_id") if name in self.receipt}
        return not known or place in known      # none known: pressed before the sender had written down where it is


def place_of(tx: Tx, lane_id: int) -> Place | None:
    row = tx.conn.execute(select(lanes.c.id, lanes.c.incident_id, lanes.c.destination, lanes.c.receipt)
                          .where(lanes.c.id == lane_id)).first()
    return Place(row.id, row.incident_id, row.destination, json.loads(row.receipt) if row.receipt else {}) if row else None


def find_lane(tx: Tx, incident_id: str, destination: str) -> int:
    """The number of the lane; 0 when there is none."""
    return tx.conn.execute(select(lanes.c.id).where(lanes.c.incident_id == incident_id, lanes.c.destination == destination)
                           ).scalar() or 0


@dataclass(frozen=True, slots=True)
class DueLane:
    lane: Lane
    free_at: datetime
    moved_to: str
    row: AnyRow


NOW, LIMIT = bindparam("now", type_=Instant()), bindparam("most", type_=Integer())
FIRST_DUE = first_due(destinations.c.key)
READY = {is_failing: (
    select(destinations.c.key, destinations.c.free_at, destinations.c.moved_to, destinations.c.last_sent_at)
    .where(destinations.c.free_at <= NOW, destinations.c.channel.not_in(bindparam("busy", expanding=True)), FIRST_DUE <= NOW,
           destinations.c.failing_since.is_not(None) if is_failing else destinations.c.failing_since.is_(None))
    .order_by(FIRST_DUE).limit(LIMIT).with_for_update(skip_locked=True, key_share=True, of=destinations))
    for is_failing in (False, True)}       # whoever only refers to one of them, as a new lane does, hides it from nobody
DUE = (select(lanes).where(lanes.c.destination == bindparam("place"), lanes.c.due_at <= NOW)
       .order_by(lanes.c.due_at, lanes.c.id).limit(LIMIT).with_for_update(skip_locked=True, key_share=True))


def ready(tx: Tx, busy: Iterable[str], now: datetime, limit: int, *, is_failing: bool = False) -> list[AnyRow]:
    """Destinations that have budget and a due lane, those that work or those that fail, none of the channels that are busy;
    whoever waits longest first. Those that the configuration does not know any more are found too: their lanes must be closed."""
    return list(tx.conn.execute(READY[is_failing], {"now": now, "busy": list(busy), "most": limit}))


def due(tx: Tx, destination: AnyRow, now: datetime, limit: int) -> list[DueLane]:
    """A destination's due lanes, oldest first, locked until the end of the transaction."""
    rows = tx.conn.execute(DUE, {"place": destination.key, "now": now, "most": limit})
    return [DueLane(lane_of(row), destination.free_at, destination.moved_to, row) for row in rows]


WANTED = listed(column("places", Text()), column("limits", Integer()))
FIRST_OF_PLACE = (select(lanes).where(lanes.c.destination == WANTED.c.places, lanes.c.due_at <= NOW)
                  .order_by(lanes.c.due_at, lanes.c.id).limit(WANTED.c.limits)
                  .with_for_update(skip_locked=True, key_share=True).lateral("found"))
DUE_EACH = (select(*FIRST_OF_PLACE.c).select_from(WANTED.join(FIRST_OF_PLACE, true()))
            .order_by(WANTED.c.place, FIRST_OF_PLACE.c.due_at, FIRST_OF_PLACE.c.id))


def due_each(tx: Tx, places: Sequence[tuple[AnyRow, int]], now: datetime) -> dict[str, list[DueLane]]:
    """The same for each of these destinations, by key; at most so many of each."""
    found: dict[str, list[DueLane]] = {place.key: [] for place, _ in places}
    if not tx.is_postgres:
        return {place.key: due(tx, place, now, limit) for place, limit in places}
    known = {place.key: place for place, _ in places}
    named = {"places": array(known), "limits": array(limit for _, limit in places), "now": now}
    for row in tx.conn.execute(DUE_EACH, named) if places else ():      # one round trip
        place = known[row.destination]
        found[place.key].append(DueLane(lane_of(row), place.free_at, place.moved_to, row))
    return found


URGENT = (select(lanes, destinations.c.free_at, destinations.c.moved_to)
          .join(destinations, destinations.c.key == lanes.c.destination)
          .where(lanes.c.urgent_at <= NOW, lanes.c.lease_until.is_(None), lanes.c.want_seq > lanes.c.told_seq,
                 lanes.c.is_degraded.is_(False), lanes.c.destination.in_(bindparam("places", expanding=True)),
                 destinations.c.paused_until.is_(None) | (destinations.c.paused_until <= NOW))
          .order_by(lanes.c.urgent_at).limit(LIMIT).with_for_update(skip_locked=True, key_share=True, of=lanes))


def hurried(tx: Tx, places: Iterable[str], now: datetime, limit: int) -> list[DueLane]:
    """Lanes whose live message a person has just made untrue, and that nobody is telling; see `hurry`."""
    rows = tx.conn.execute(URGENT, {"now": now, "places": list(places), "most": limit}).all()
    return [DueLane(lane_of(row), row.free_at, row.moved_to, row) for row in rows]


def lane_of(row: AnyRow) -> Lane:
    return Lane(
        id=row.id, incident_id=row.incident_id, destination=row.destination, channel=row.channel, told_seq=row.told_seq,
        want_seq=row.want_seq, told_episode=row.told_episode, repeats=row.repeats, attempt=row.attempt,
        failures=row.failures, failing_since=row.failing_since, is_degraded=row.is_degraded, is_dead=row.is_dead,
        receipt=Receipt(json.loads(row.receipt)) if row.receipt else None, due_at=row.due_at,
        was_leased=row.lease_until is not None,
    )


THIS_ATTEMPT = (deliveries.c.lane_id == lanes.c.id) & (deliveries.c.attempt == lanes.c.attempt)
HOLD = {(is_postgres, waits): select(lanes.c.id, lanes.c.attempt, deliveries.c.started_at)
        .select_from(lanes.outerjoin(deliveries, THIS_ATTEMPT)).where(among(lanes.c.id, "ids", is_postgres))
        .order_by(lanes.c.id).with_for_update(skip_locked=not waits, key_share=True, of=lanes)
        for is_postgres in (False, True) for waits in (False, True)}

Mark = tuple[int, datetime | None]      # attempt, and when it began


def hold(tx: Tx, ids: Sequence[int], *, waits: bool = False) -> dict[int, Mark]:
    """The present attempts of these lanes, locked until the end of the transaction. Those that another one holds are waited for,
    or absent. When it began tells one from another of that number: after a failover numbers are given again, of lanes too."""
    return {row.id: (row.attempt, row.started_at) for chunk in chunks(sorted(ids))
            for row in tx.conn.execute(HOLD[tx.is_postgres, waits], {"ids": several(chunk, tx.is_postgres)})}


def settle(tx: Tx, lane_id: int, attempt: int, **columns: Any) -> bool:
    """Write the outcome, if this attempt is still the one that counts. False: somebody else has taken the lane over."""
    statement = update(lanes).where(lanes.c.id == lane_id, lanes.c.attempt == attempt)
    done = tx.conn.execute(statement.values(lease_until=None, owner=None, **columns))
    return done.rowcount == 1


TOLD = bindparam("told", type_=Integer())
SETTLE_TOLD = update(lanes).where(lanes.c.id == bindparam("lane"), lanes.c.attempt == bindparam("ours")).values(
    lease_until=None, owner=None, failures=0, failing_since=None, not_before=None, is_degraded=False, told_seq=TOLD,
    due_at=case((lanes.c.want_seq > TOLD, MOMENT), else_=bindparam("repeat_at", type_=Instant())))


def settle_told(tx: Tx, rows: Sequence[dict[str, Any]]) -> None:
    """The same for those that have been told, given as lane, ours (the attempt), told (up to which seq), moment, repeat_at and
    further columns; due again as `due_again` says."""
    tx.batch(SETTLE_TOLD, rows)


def due_again(told: int, now: datetime, repeat_at: datetime | None) -> Any:
    """Due at once if something happened while it was being told, else at the repeat. Decided by the row itself, so a
    webhook that commits at the same moment is never missed."""
    instant = lanes.c.due_at.type
    return case((lanes.c.want_seq > told, bindparam(None, now, type_=instant)), else_=bindparam(None, repeat_at, type_=instant))


def knows_all(told: int) -> Any:
    """Whether nothing has happened since; decided by the row itself, as `due_again`."""
    return case((lanes.c.want_seq > told, False), else_=True)


def oldest_due(tx: Tx, now: datetime) -> dict[str, datetime]:
    """Per channel, since when the longest waiting lane is due: what `alerthub_oldest_pending_seconds` shows."""
    due_at = first_due(destinations.c.key)
    query = select(destinations.c.channel, func.min(due_at, type_=Instant()).label("at")).where(due_at <= now)
    return {row.channel: row.at for row in tx.conn.execute(query.group_by(destinations.c.channel))}


def replay(tx: Tx, now: datetime, lane_id: int | None = None, place: str = "") -> int:
    """Make dead lanes due again: one, those of a destination, or all. How many there were."""
    chosen = [*([] if lane_id is None else [lanes.c.id == lane_id]), *([lanes.c.destination == place] if place else [])]
    which = [holds(lanes.c.is_dead), *chosen]
    done = tx.conn.execute(update(lanes).where(and_(*which)).values(
        is_dead=False, failures=0, failing_since=None, not_before=None, due_at=now))
    if done.rowcount:
        tx.has_work = True
        keys = select(lanes.c.destination).where(lanes.c.due_at == now)
        held = destinations.c.key.in_(keys), destinations.c.free_at > now
        tx.conn.execute(update(destinations).where(*held).values(free_at=now))
        letters = select(lanes.c.id).where(lanes.c.due_at == now, *chosen)
        tx.conn.execute(update(deliveries).where(deliveries.c.lane_id.in_(letters)).values(is_dead_letter=False))
    return done.rowcount
