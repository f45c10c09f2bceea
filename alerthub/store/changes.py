"""SQL for whoever looks on: which incidents have changed since the last look. Two short ranges of the newest rows, whatever the
size of the history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import func, select

from alerthub.store.schema import deliveries, events
from alerthub.store.tx import Tx

# A number is given before the commit: a smaller one may become visible after a larger one. And a delivery ends later than it
# begins.
LATE = 200
MOST = 1_000        # rows of one look; more than that is simply "much"


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest rows, as they were at the last look: events by position, deliveries by id with their state."""

    events: Mapping[int, str] = field(default_factory=dict)
    deliveries: Mapping[int, tuple[str, str]] = field(default_factory=dict)


def look(tx: Tx, before: Seen | None) -> tuple[Seen, frozenset[str] | None]:
    """What is seen now, and the ids of the incidents that have changed since `before`; None when there are too many to name.
    The first look finds nothing changed."""
    newest = tx.conn.execute(select(func.max(events.c.position))).scalar() or 0
    last = tx.conn.execute(select(func.max(deliveries.c.id))).scalar() or 0
    first_event = min(max(before.events, default=0) if before else newest, newest) - LATE
    first_delivery = min(max(before.deliveries, default=0) if before else last, last) - LATE
    recent = tx.conn.execute(select(events.c.position, events.c.incident_id).where(events.c.position > first_event)
                             .order_by(events.c.position.desc()).limit(MOST)).all()
    sent = tx.conn.execute(select(deliveries.c.id, deliveries.c.incident_id, deliveries.c.state)
                           .where(deliveries.c.id > first_delivery).order_by(deliveries.c.id.desc()).limit(MOST)).all()
    seen = Seen({row.position: row.incident_id for row in recent},
                {number: (incident_id, state) for number, incident_id, state in sent})
    if before is None:
        return seen, frozenset()
    if len(recent) == MOST or len(sent) == MOST:
        return seen, None
    # After a failover the newest may be gone, and their numbers given to others.
    changed = {incident_id for position, incident_id in seen.events.items() if before.events.get(position) != incident_id}
    changed |= {what[0] for number, what in seen.deliveries.items() if before.deliveries.get(number) != what}
    return seen, frozenset(changed)
