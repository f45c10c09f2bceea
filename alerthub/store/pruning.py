"""SQL of forgetting. An open incident, one that somebody must still be told of, or one that holds a target in its safe state or
did so until an admin overrode that, is never forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import delete, func, or_, select

from alerthub.domain.latch import LatchState
from alerthub.store.schema import action_runs, alerts, events, incidents, lanes, latch_causes, latches, pruned, quarantine
from alerthub.store.tx import AnyRow, Tx

ROWS_OF_ONE = 3         # the incident itself, a lane, and what stands for the others
OPEN_LATCHES = [state.value for state in LatchState if not state.is_safe]


def forget_incidents(tx: Tx, before: datetime, limit: int, rows: int) -> int:
    """Delete up to `limit` incidents that closed before then, and all that hangs on them; how many. The longest closed first, and
    no more than have about so many rows together, but at least one."""
    waiting = select(lanes.c.id).where(lanes.c.incident_id == incidents.c.id, or_(lanes.c.due_at.is_not(None), lanes.c.is_dead))
    running = select(action_runs.c.id).where(action_runs.c.incident_id == incidents.c.id, action_runs.c.due_at.is_not(None))
    latching = select(latches.c.target).where(latches.c.incident_id == incidents.c.id, latches.c.state.not_in(OPEN_LATCHES))
    # Also what an admin has overridden: the next release must prove that it is over, and an incident that is gone proves nothing.
    causing = select(latch_causes.c.target).where(latch_causes.c.incident_id == incidents.c.id)
    old = (select(incidents.c.number, incidents.c.seq, incidents.c.alerts)
           .where(incidents.c.resolved_at < before, incidents.c.status == "resolved",
                  ~waiting.exists(), ~running.exists(), ~latching.exists(), ~causing.exists())
           # What somebody changes now, and so may open again, is left for a later bite; nobody waits for anybody.
           .order_by(incidents.c.resolved_at).limit(limit).with_for_update(skip_locked=True, of=incidents))
    numbers = list(bitten(tx.conn.execute(old).all(), rows))
    if numbers:
        last = (events.c.incident_id == incidents.c.id) & (events.c.seq == incidents.c.seq)
        heads = (select(incidents.c.id, incidents.c.seq, func.coalesce(events.c.hash, ""))
                 .select_from(incidents.outerjoin(events, last)).where(incidents.c.number.in_(numbers)))
        # The next anchor says that they were forgotten, so that nobody takes it for a deletion.
        tx.conn.execute(pruned.insert().from_select(["incident_id", "seq", "hash"], heads))
        tx.conn.execute(delete(incidents).where(incidents.c.number.in_(numbers)))
    return len(numbers)


def bitten(found: Sequence[AnyRow], rows: int) -> Iterator[int]:
    """The numbers of the first ones, as far as `rows` reach."""
    for place, (number, events_of, alerts_of) in enumerate(found):
        rows -= ROWS_OF_ONE + 2 * events_of + alerts_of      # for most events there was also a delivery
        if rows < 0 and place:
            return
        yield number


def forget_strays(tx: Tx, before: datetime, limit: int) -> int:
    """Delete what was kept of resolves that nobody had seen firing."""
    is_old = alerts.c.incident_id.is_(None) & (alerts.c.seen_at < before)
    rows = [row for row, in tx.conn.execute(select(alerts.c.row).where(is_old).limit(limit))]
    if rows:        # what was heard again meanwhile stays
        tx.conn.execute(delete(alerts).where(alerts.c.row.in_(rows), is_old))
    return len(rows)


def forget_quarantine(tx: Tx, before: datetime) -> None:
    tx.conn.execute(delete(quarantine).where(quarantine.c.arrived_at < before))
