"""Rows for tests of the store, and threads that meet at one moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import func, select

from alerthub.domain.alert import Severity
from alerthub.domain.incident import Incident
from alerthub.domain.message import IncidentStatus
from alerthub.domain.rules import Destination
from alerthub.store import alerts as alert_store
from alerthub.store import events, lanes
from alerthub.store.schema import quarantine
from alerthub.store.tx import Tx
from tests.kit.clock import START

T = TypeVar("T")
SLACK = Destination("slack:#alerts", "slack", "#alerts", "alerts")


def incident(tx: Tx, key: str = "key", **fields: Any) -> Incident:
    """An open incident that is not stored yet."""
    usual: dict[str, Any] = {"status": IncidentStatus.triggered, "severity": Severity.warning, "opened_at": START,
                             "updated_at": START, "seq": 1, "firing": 1, "alerts": 1}
    return Incident(tx.new_id(), key, "alertmanager", f"Incident {key}", **{**usual, **fields})


def add_incidents(tx: Tx, count: int = 1, key: str = "key", **fields: Any) -> list[str]:
    """Stored, each with its own key; their ids in the order of their numbers."""
    found = [incident(tx, f"{key}-{number}", **fields) for number in range(count)]
    alert_store.save_incidents(tx, found)
    return [one.id for one in found]


def add_lanes(tx: Tx, count: int = 1, due_at: datetime = START, destination: Destination = SLACK) -> list[str]:
    """One due lane for each of so many new incidents; the incidents' ids."""
    ids = add_incidents(tx, count)
    lanes.ensure(tx, [lanes.Opening(one, destination, due_at - timedelta(days=1)) for one in ids])
    lanes.mark(tx, [(one, 1) for one in ids], due_at)
    return ids


def note(tx: Tx, text: str, size: int = 0) -> str:
    """The smallest write that can be counted afterwards."""
    events.set_aside(tx, "test", START, text, b"x" * size, "")
    return text


def notes(tx: Tx) -> list[str]:
    return [reason for reason, in tx.conn.execute(select(quarantine.c.reason).order_by(quarantine.c.id))]


def count(tx: Tx, table: Any, *where: Any) -> int:
    return int(tx.conn.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Every call in a thread of its own, begun at the same moment; their results in order. The first error is raised."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))
