"""What /metrics and /health ask the database for, in one question, on both databases."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import update

from alerthub.domain.alert import Severity
from alerthub.domain.latch import LatchState, changed, tightened
from alerthub.domain.message import IncidentStatus
from alerthub.store import lanes as lane_store
from alerthub.store import latches, reading
from alerthub.store.database import Store
from alerthub.store.schema import lanes
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.rows import SLACK, add_incidents


def counted(store: Store) -> object:
    return store.read_now(reading.counts)


def test_an_empty_database_counts_nothing(store: Store) -> None:
    assert counted(store) == {"severity": {}, "dead": 0, "latched": {"yes": 0, "no": 0}}


def test_open_incidents_count_by_severity_and_closed_ones_do_not(store: Store) -> None:
    def unit(tx: Tx) -> None:
        add_incidents(tx, 2, "grave", severity=Severity.critical)
        add_incidents(tx, 1, "mild")
        add_incidents(tx, 3, "over", status=IncidentStatus.resolved)

    store.write_now(unit)
    assert counted(store)["severity"] == {"critical": 2, "warning": 1}  # type: ignore[index]


def test_a_dead_letter_counts_once_per_lane(store: Store) -> None:
    def unit(tx: Tx) -> None:
        ids = add_incidents(tx, 3)
        lane_store.ensure(tx, [lane_store.Opening(one, SLACK, START) for one in ids])
        tx.conn.execute(update(lanes).where(lanes.c.incident_id.in_(ids[:2])).values(is_dead=True))

    store.write_now(unit)
    assert counted(store)["dead"] == 2  # type: ignore[index]


def test_a_target_counts_as_not_confirmed_until_it_says_that_it_is_safe(store: Store) -> None:
    """On the way out as well; armed and released ones need not be safe."""
    def unit(tx: Tx) -> None:
        told = ("silent", "confirmed", "on-the-way", "released", "armed")
        (incident_id,) = add_incidents(tx)
        found = latches.lock(tx, told, START)
        for name in told[:4]:
            latch = tightened(found[name], "safe-mode", incident_id, START)
            latches.save(tx, latch if name == "silent" else replace(latch, verified_at=START))
        found = latches.of_targets(tx, told)
        latches.save(tx, changed(found["on-the-way"], LatchState.releasing, START, verified_at=None))
        latches.save(tx, changed(found["released"], LatchState.released, START, verified_at=None))

    store.write_now(unit)
    assert counted(store)["latched"] == {"yes": 1, "no": 2}  # type: ignore[index]
