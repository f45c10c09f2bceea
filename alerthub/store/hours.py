"""SQL of the one clock: what PostgreSQL's own says, and what moves with it when it jumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text

from alerthub.domain.hours import NOTHING, Look, jump_of
from alerthub.store import calls, leases
from alerthub.store.schema import MICROSECOND, clocks
from alerthub.store.tx import AnyRow, Tx

THIS = "database"
HISTORY = timedelta(days=1)     # what ended longer ago keeps its times when the clock jumps
ASK = text("SELECT clock_timestamp()")
ROW = select(clocks).where(clocks.c.name == THIS)


@dataclass(frozen=True, slots=True)
class Reading:
    """It was `moment` when the monotonic clock said `at`, give or take `error` seconds. `moved`: all jumps so far; `jump`: the
    one that this look has seen first, and has moved the rows by."""

    moment: datetime
    at: float
    error: float
    moved: timedelta
    jump: timedelta


def first_look(tx: Tx, monotonic: Callable[[], float]) -> Reading:
    """What time it is, for a replica that did not know. It waits for nobody."""
    row = tx.conn.execute(ROW).first()
    return Reading(*ask(tx, monotonic), known(row), NOTHING)


def look(tx: Tx, monotonic: Callable[[], float], expected: Callable[[float], datetime | None], moved: timedelta) -> Reading:
    """What time it is. The first to see that the clock has jumped moves everything that waits with it, once for all replicas:
    one at a time looks. `moved`: what the last look of this replica said."""
    row = tx.conn.execute(ROW.with_for_update()).first()
    moment, at, error = ask(tx, monotonic)
    thought = expected(at)
    last_seen = row.seen_at if row else None
    jump = jump_of(Look(moment, thought, known(row) - moved, last_seen, timedelta(seconds=error)))
    if jump and thought is not None:
        leases.shift(tx, jump, thought - HISTORY)
        calls.call(tx, calls.CLOCK)
    total = known(row) + jump
    seen = {"seen_at": moment, "moved": total // MICROSECOND}
    tx.conn.execute(tx.insert(clocks).values(name=THIS, **seen).on_conflict_do_update(index_elements=["name"], set_=seen))
    return Reading(moment, at, error, total, jump)


def ask(tx: Tx, monotonic: Callable[[], float]) -> tuple[datetime, float, float]:
    asked = monotonic()
    moment: datetime = tx.conn.execute(ASK).scalar_one()
    answered = monotonic()
    return moment.astimezone(UTC), (asked + answered) / 2, (answered - asked) / 2


def known(row: AnyRow | None) -> timedelta:
    return row.moved * MICROSECOND if row is not None else NOTHING
