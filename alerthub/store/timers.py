"""SQL of timers: the next step of an escalation, the end of an acknowledgement. What is done when one is due happens in the
transaction that moves it on, so a restart loses none and none happens twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import bindparam, select, update

from alerthub.store.schema import Instant, incidents, timers
from alerthub.store.tx import Tx, chunks, inserting

ESCALATION, ACK = "escalation", "ack"
RUNNING, STOPPED, RAN_OUT = "running", "stopped", "ran_out"
LOST = "lost"       # its policy is not in the configuration; looked at again, since it may come back


@dataclass(frozen=True, slots=True)
class Timer:
    """`name`: the escalation's policy, else empty. `step` and `round`: what is next."""

    id: int
    incident_id: str
    kind: str
    name: str
    episode: int
    step: int
    round: int
    state: str
    due_at: datetime | None


COLUMNS = tuple(timers.c[name] for name in Timer.__dataclass_fields__)


@cache
def new_timer(is_postgres: bool) -> Any:
    new = inserting(timers, is_postgres)
    fresh = {name: new.excluded[name] for name in ("episode", "step", "round", "state", "due_at")}
    return new.on_conflict_do_update(index_elements=["incident_id", "kind", "name"], set_=fresh,
                                     where=timers.c.episode < new.excluded.episode)


def arm(tx: Tx, rows: Sequence[dict[str, Any]]) -> None:
    """Begin these, given as incident_id, kind, name, episode, due_at. One that runs in this episode already is left alone."""
    tx.many(new_timer(tx.is_postgres), [{"step": 0, "round": 0, "state": RUNNING, **row} for row in rows])


def restart(tx: Tx, incident_id: str, kind: str, episode: int, now: datetime, *, only: str = "") -> None:
    """From the first step again: all of this episode, or only those in one state."""
    which = [timers.c.incident_id == incident_id, timers.c.kind == kind, timers.c.episode == episode]
    which += [timers.c.state == only] if only else []
    tx.conn.execute(update(timers).where(*which).values(step=0, round=0, state=RUNNING, due_at=now))
    tx.has_work = True


def set_ack(tx: Tx, incident_id: str, episode: int, due_at: datetime | None) -> None:
    """When the present acknowledgement ends; None: it does not."""
    new = tx.insert(timers)
    row = {"incident_id": incident_id, "kind": ACK, "name": "", "episode": episode, "step": 0, "round": 0,
           "state": RUNNING if due_at else STOPPED, "due_at": due_at}
    tx.conn.execute(new.values(row).on_conflict_do_update(
        index_elements=["incident_id", "kind", "name"],
        set_={name: new.excluded[name] for name in ("episode", "state", "due_at")}))


def stop(tx: Tx, incident_id: str, kind: str) -> None:
    tx.conn.execute(update(timers).where(timers.c.incident_id == incident_id, timers.c.kind == kind,
                                         timers.c.state.in_((RUNNING, LOST)))
                    .values(state=STOPPED, due_at=None))


def move(tx: Tx, timer: Timer, **columns: Any) -> None:
    tx.conn.execute(update(timers).where(timers.c.id == timer.id).values(columns))


NOW = bindparam("now", type_=Instant())


def due_incidents(tx: Tx, now: datetime, limit: int) -> list[str]:
    """Incidents with a timer that is due, longest waiting first. To be locked before their timers are read."""
    query = select(timers.c.incident_id).where(timers.c.due_at <= NOW).order_by(timers.c.due_at, timers.c.id).limit(limit)
    return list(dict.fromkeys(tx.conn.execute(query, {"now": now}).scalars()))


def of_incidents(tx: Tx, ids: Iterable[str]) -> list[Timer]:
    found: list[Timer] = []
    for chunk in chunks(sorted(ids)):
        found += [Timer(*row) for row in tx.conn.execute(select(*COLUMNS).where(timers.c.incident_id.in_(chunk))
                                                         .order_by(timers.c.id))]
    return found



def triggered_without(tx: Tx, severity: str, before: datetime, limit: int = 5_000) -> list[str]:
    """Open, not acknowledged incidents of a severity that were opened before then and have no escalation that is under way
    or has run out. Whether they should have one is the domain's question."""
    running = select(timers.c.id).where(
        timers.c.incident_id == incidents.c.id, timers.c.kind == ESCALATION, timers.c.episode == incidents.c.episode,
        (timers.c.state == RAN_OUT) | (timers.c.due_at >= before))
    query = select(incidents.c.id).where(
        incidents.c.status == "triggered", incidents.c.status != "resolved",    # both: the second one names the index
        incidents.c.severity == severity, incidents.c.opened_at < before,
        incidents.c.silence_id == "", incidents.c.is_silenced.is_(False), ~running.exists())
    return [incident_id for incident_id, in tx.conn.execute(query.order_by(incidents.c.number).limit(limit))]
