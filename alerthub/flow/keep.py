"""How a room writes down what it has changed in incidents: the state, the history, and that everybody is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alerthub.domain.event import Event
from alerthub.domain.incident import Incident
from alerthub.store import alerts as alert_store
from alerthub.store import events as event_store
from alerthub.store import lanes
from alerthub.store.tx import Tx


def keep(tx: Tx, incidents: Sequence[Incident], events: Sequence[Event], now: datetime) -> None:
    """Store them in this transaction, and make every lane of these incidents due."""
    alert_store.save_incidents(tx, incidents)
    event_store.append(tx, events)
    lanes.mark(tx, [(incident.id, incident.seq) for incident in incidents], now)
