"""SQL of silences: the hub's own, which hold incidents, and those that a source says it has, which are only shown."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sqlalchemy import bindparam, delete, select, text, update

from alerthub.domain.alert import Labels, canonical
from alerthub.domain.matcher import EQUAL, Matcher
from alerthub.domain.silence import Mirror, Silence
from alerthub.store.leases import is_due, pick
from alerthub.store.schema import Instant, alerts, holds, incidents, silences
from alerthub.store.tx import AnyRow, Tx, chunks

JUST_ENDED = timedelta(days=1)      # so long after its end it is looked at whether the source has ended it too
LIKE_TEXT = 1_000                   # characters; SQLite refuses patterns over 50,000 bytes
NOW = bindparam("now", type_=Instant())
# `due_at` is set while one of the hub is not over: its index is empty most of the time.
# Sorted by us: to have them in order SQLite would read the whole table.
ACTIVE = select(silences).where(silences.c.due_at.is_not(None), silences.c.starts_at <= NOW, silences.c.ends_at > NOW)
FIRING = (select(alerts.c.incident_id, alerts.c.content).join(incidents, incidents.c.id == alerts.c.incident_id)
          .where(alerts.c.status == "firing", holds(alerts.c.is_current), incidents.c.status != "resolved"))
FIRING_OF = (select(alerts.c.source, alerts.c.identity, alerts.c.content)
             .where(alerts.c.incident_id == bindparam("incident"), alerts.c.status == "firing", holds(alerts.c.is_current)))


@lru_cache(maxsize=2_000)
def read_matchers(written: str) -> tuple[Matcher, ...]:
    return tuple(Matcher(name, op, value) for name, op, value in json.loads(written))


def written_matchers(matchers: Iterable[Matcher]) -> str:
    return canonical([[matcher.name, matcher.op, matcher.value] for matcher in matchers])


def silence_of(row: AnyRow) -> Silence:
    return Silence(row.id, row.number, read_matchers(row.matchers), row.starts_at, row.ends_at, row.created_by, row.comment,
                   row.source, row.remote_id)


def active(tx: Tx, now: datetime) -> list[Silence]:
    """The hub's own that hold now. Cheap: asked for every webhook that brings news."""
    return sorted((silence_of(row) for row in tx.conn.execute(ACTIVE, {"now": now})), key=attrgetter("number"))


def add(tx: Tx, silence: Silence, now: datetime) -> Silence:
    """Store it; the answer has its number."""
    due_at = None if silence.source else silence.ends_at
    new = silences.insert().values(**columns(silence), created_at=now, mirrored="{}", due_at=due_at)
    found = tx.conn.execute(new.returning(silences)).one()
    return silence_of(found)


def columns(silence: Silence) -> dict[str, Any]:
    return {"id": silence.id, "source": silence.source, "remote_id": silence.remote_id,
            "matchers": written_matchers(silence.matchers), "starts_at": silence.starts_at, "ends_at": silence.ends_at,
            "created_by": silence.created_by, "comment": silence.comment}


def find(tx: Tx, number: int) -> Silence | None:
    row = tx.conn.execute(select(silences).where(silences.c.number == number).with_for_update()).first()
    return silence_of(row) if row else None


def ends(tx: Tx, ids: Collection[str]) -> dict[str, datetime]:
    """Until when each of these lasts; unknown ones are absent."""
    found: dict[str, datetime] = {}
    for chunk in chunks(sorted(ids)):
        rows = tx.conn.execute(select(silences.c.id, silences.c.ends_at).where(silences.c.id.in_(chunk)))
        found.update((silence_id, ends_at) for silence_id, ends_at in rows)
    return found


def end_now(tx: Tx, silence_id: str, now: datetime) -> None:
    """Over now, by somebody's word."""
    tx.conn.execute(update(silences).where(silences.c.id == silence_id).values(ends_at=now, due_at=None))


def take_due(tx: Tx, now: datetime) -> list[Silence]:
    """The hub's own whose end has come; each is given once."""
    query = select(silences).where(silences.c.due_at.is_not(None), is_due(silences, now)).order_by(silences.c.number)
    rows = pick(tx, query, silences)
    tx.many(update(silences).where(silences.c.number == bindparam("the_number")).values(due_at=None),
            [{"the_number": row.number} for row in rows])
    return [silence_of(row) for row in rows]


# What they hold.

def held_by(tx: Tx, ids: Collection[str]) -> list[str]:
    """Open incidents that these silences hold."""
    found: list[str] = []
    for chunk in chunks(sorted(ids)):
        query = select(incidents.c.id).where(incidents.c.status != "resolved", incidents.c.silence_id.in_(chunk))
        found += tx.conn.execute(query).scalars()
    return found


def held_by_none(tx: Tx, now: datetime) -> list[str]:
    """Open incidents that name a silence which does not hold any more."""
    holding = select(silences.c.id).where(silences.c.due_at.is_not(None), silences.c.ends_at > now)
    query = select(incidents.c.id).where(incidents.c.status != "resolved", incidents.c.silence_id != "",
                                         incidents.c.silence_id.not_in(holding))
    return list(tx.conn.execute(query).scalars())


def candidates(tx: Tx, silence: Silence) -> dict[str, list[Labels]]:
    """The labels of the firing alerts of open incidents, by incident, among which are all alerts that it covers."""
    query = FIRING
    if telling := next(filter(None, map(pair_text, silence.matchers)), ""):
        query = query.where(alerts.c.content.contains(telling, autoescape=True))
    found: dict[str, list[Labels]] = {}
    for incident_id, content in tx.conn.execute(query):
        found.setdefault(incident_id, []).append(json.loads(content)["labels"])
    return found


def pair_text(matcher: Matcher) -> str:
    """How an alert's content has the label that an equality asks for; empty when that tells nothing."""
    pair = canonical({matcher.name: matcher.value})[1:-1]
    return pair if matcher.op == EQUAL and matcher.value and len(pair) <= LIKE_TEXT else ""


def firing_of(tx: Tx, incident_id: str) -> dict[tuple[str, str], str]:
    """The content of an incident's firing alerts, by source and identity."""
    rows = tx.conn.execute(FIRING_OF, {"incident": incident_id})
    return {(source, identity): content for source, identity, content in rows}


# What sources have.

def mirrors(tx: Tx, marked: Collection[str], now: datetime) -> list[Mirror]:
    """The hub's own that a source is compared with: those not over, just over, and those that it names itself."""
    own = select(silences).where(silences.c.source == "")
    rows = list(tx.conn.execute(own.where(silences.c.ends_at > now - JUST_ENDED)))
    for chunk in chunks(sorted(set(marked) - {row.id for row in rows})):
        rows += tx.conn.execute(own.where(silences.c.id.in_(chunk)))
    return [Mirror(silence_of(row), json.loads(row.mirrored)) for row in sorted(rows, key=lambda row: row.number)]


def mirrored_ids(tx: Tx, source: str, now: datetime) -> frozenset[str]:
    """The ids that the hub's own silences have at the source, also those that it may not have ended yet."""
    known = (mirror.states.get(source, {}).get("remote_id", "") for mirror in mirrors(tx, (), now))
    return frozenset(remote_id for remote_id in known if remote_id)


def note_mirrored(tx: Tx, silence_id: str, source: str, state: str, remote_id: str = "", detail: str = "") -> None:
    """How far a source has it. What stands is not written again."""
    query = select(silences.c.mirrored).where(silences.c.id == silence_id).with_for_update()
    row = tx.conn.execute(query).first()
    known = json.loads(row.mirrored) if row else {}
    new = {"state": state, "remote_id": remote_id or known.get(source, {}).get("remote_id", ""), "detail": detail}
    if row is not None and known.get(source) != new:
        tx.conn.execute(update(silences).where(silences.c.id == silence_id).values(mirrored=canonical({**known, source: new})))


def of_source(tx: Tx, source: str, now: datetime) -> list[Silence]:
    """What is shown of a source and not over."""
    query = select(silences).where(silences.c.source == source, silences.c.ends_at > now).order_by(silences.c.number)
    return [silence_of(row) for row in tx.conn.execute(query)]


def keep_foreign(tx: Tx, found: Sequence[Silence], now: datetime) -> None:
    """Store what a source has: new ones, and what changed in those known by their remote id."""
    rows = [{**columns(silence), "created_at": now, "mirrored": "{}"} for silence in found]
    new = tx.insert(silences)
    changed = {name: new.excluded[name] for name in ("matchers", "starts_at", "ends_at", "created_by", "comment")}
    tx.many(new.on_conflict_do_update(index_elements=["source", "remote_id"], index_where=text("remote_id <> ''"),
                                      set_=changed), rows)


def end_foreign(tx: Tx, gone: Sequence[Silence], now: datetime) -> None:
    tx.many(update(silences).where(silences.c.id == bindparam("the_id")).values(ends_at=now),
            [{"the_id": silence.id} for silence in gone])


# For people.

def page(tx: Tx, state: str, now: datetime, limit: int, before: int | None) -> dict[str, Any]:
    """Newest first. `state`: active (also those yet to begin), expired, all. `next` is the cursor of the following page."""
    query = select(silences).order_by(silences.c.number.desc()).limit(limit + 1)
    if state != "all":
        query = query.where(silences.c.ends_at > now if state == "active" else silences.c.ends_at <= now)
    if before is not None:
        query = query.where(silences.c.number < before)
    rows = tx.conn.execute(query).all()
    items = [view(row, now) for row in rows[:limit]]
    return {"items": items, "next": items[-1]["number"] if len(rows) > limit else None}


def view(row: AnyRow, now: datetime) -> dict[str, Any]:
    silence = silence_of(row)
    state = "expired" if silence.ends_at <= now else "active" if silence.is_active(now) else "pending"
    return {"number": row.number, "id": row.id, "state": state, "matchers": [str(matcher) for matcher in silence.matchers],
            "starts_at": row.starts_at.isoformat(), "ends_at": row.ends_at.isoformat(), "created_by": row.created_by,
            "comment": row.comment, "created_at": row.created_at.isoformat(), "source": row.source, "remote_id": row.remote_id,
            "mirrored": json.loads(row.mirrored)}


def view_of(tx: Tx, number: int, now: datetime) -> dict[str, Any] | None:
    row = tx.conn.execute(select(silences).where(silences.c.number == number)).first()
    return view(row, now) if row else None


def forget(tx: Tx, before: datetime, limit: int) -> int:
    """Delete some of those that ended before then; how many. One that still names an open incident stays."""
    in_use = select(incidents.c.silence_id).where(incidents.c.status != "resolved")
    old = (select(silences.c.number).where(silences.c.ends_at < before, silences.c.due_at.is_(None),
                                           silences.c.id.not_in(in_use)).limit(limit))
    return tx.conn.execute(delete(silences).where(silences.c.number.in_(old))).rowcount
