"""Versions of a report, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerthub.clock import SystemClock
from alerthub.flow import report as room
from alerthub.store import reports
from alerthub.store.database import Store
from alerthub.store.reports import Report
from alerthub.store.schema import incidents
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.rows import add_incidents, at_once
from tests.kit.stores import EACH_DATABASE, database
from tests.kit.world import rules_for


def report(version: int, text: str = "text") -> Report:
    return Report(version, START, "ayse", "edited", text)


def test_the_newest_counts_and_the_others_stay(store: Store) -> None:
    def unit(tx: Tx) -> None:
        one, other = add_incidents(tx, 2)
        assert reports.newest(tx, one) is None
        for version in (1, 2, 3):
            reports.add(tx, one, report(version, f"text {version}"))
        reports.add(tx, other, report(1, "another"))
        assert reports.newest(tx, one) == report(3, "text 3")
        assert reports.find(tx, one, 2) == report(2, "text 2")
        assert reports.find(tx, one, 4) is None
        assert reports.versions(tx, one, 2) == [report(3, ""), report(2, "")]
        assert (reports.count(tx, one), reports.count(tx, other)) == (3, 1)

    store.write_now(unit)


@pytest.mark.parametrize("kind", EACH_DATABASE)
def test_of_many_who_save_at_once_one_is_first_and_the_others_are_told(kind: str, tmp_path: Path) -> None:
    with database(kind, tmp_path) as url:
        store = Store(url, SystemClock().new_id)
        (incident_id,) = store.write_now(add_incidents)

        def saving(name: str) -> room.Fate:
            kept = store.write_now(lambda tx: room.save(tx, rules_for(), incident_id, f"by {name}", 0, name, START))
            assert kept is not None
            return kept.fate

        fates = at_once([lambda name=name: saving(name) for name in ("ayse", "deniz", "mehmet")])      # type: ignore[misc]
        assert sorted(fates) == [room.Fate.conflict, room.Fate.conflict, room.Fate.saved]
        assert store.read_now(lambda tx: reports.count(tx, incident_id)) == 1
        store.close()


def test_a_report_goes_with_its_incident_and_no_other(store: Store) -> None:
    def unit(tx: Tx) -> None:
        one, other = add_incidents(tx, 2)
        for incident_id in (one, other):
            reports.add(tx, incident_id, report(1))
        tx.conn.execute(incidents.delete().where(incidents.c.id == one))
        assert (reports.count(tx, one), reports.count(tx, other)) == (0, 1)

    store.write_now(unit)
