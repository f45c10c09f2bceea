"""What actions have done and used, as people are shown it: the same numbers as the guards count, on both databases, in pages."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from alerthub.domain.rules import ActionRule, Direction, RunMode
from alerthub.store import overrides, permits, usage
from alerthub.store.database import Store
from alerthub.store.schema import action_runs
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.plans import explained
from tests.kit.rows import add_incidents

RETRAIN = ActionRule("retrain", "http", Direction.neutral)


def ran(tx: Tx, count: int = 1, **fields: Any) -> list[str]:
    """So many runs, each of an incident of its own, oldest first."""
    found = []
    for incident in add_incidents(tx, count, key=tx.new_id()):
        row = {"id": tx.new_id(), "incident_id": incident, "episode": 1, "action": "retrain", "target": "drl",
               "direction": "neutral", "state": "succeeded", "reason": "allowed", "why": "", "rule_version": "1",
               "body_sha256": "", "labels": "{}", "created_at": START, "started_at": START, "finished_at": START,
               "attempt": 1, "report": "", **fields}
        tx.conn.execute(action_runs.insert().values(row))
        found.append(row["id"])
    return found


def test_runs_come_in_pages_the_newest_first(store: Store) -> None:
    def unit(tx: Tx) -> None:
        ids = ran(tx, 5)
        failed = ran(tx, 1, state="failed")
        first = usage.page(tx, 4)
        assert [run.id for run in first.runs] == [*failed, *ids[:1:-1]]
        second = usage.page(tx, 4, first.next)
        assert ([run.id for run in second.runs], second.next) == (ids[1::-1], "")
        assert [run.id for run in usage.page(tx, 4, state="failed").runs] == failed
        assert usage.page(tx, 5, state="succeeded").next == ""

    store.write_now(unit)


def test_only_what_began_in_this_hour_and_does_not_tighten_is_counted_by_mode(store: Store) -> None:
    def unit(tx: Tx) -> None:
        ran(tx, 2)
        ran(tx, 3, mode="shadow")
        ran(tx, 1, direction="tighten")
        ran(tx, 1, started_at=START - timedelta(hours=1))
        ran(tx, 1, started_at=None)
        ran(tx, 1, action="scale")
        ran(tx, 1, action="gone")
        assert usage.started(tx, ["retrain", "scale"], START) == {("retrain", "live"): 2, ("retrain", "shadow"): 3,
                                                                  ("scale", "live"): 1}
        assert usage.started(tx, [], START) == {}

    store.write_now(unit)


def test_failures_in_a_row_are_those_of_the_same_mode(store: Store) -> None:
    def unit(tx: Tx) -> None:
        ran(tx, 1, started_at=START - timedelta(minutes=3))
        ran(tx, 2, state="failed", finished_at=START + timedelta(seconds=5))
        ran(tx, 1, state="succeeded", mode="shadow", started_at=START + timedelta(minutes=1))
        assert usage.failures(tx, RETRAIN, RunMode.live) == (2, START + timedelta(seconds=5))
        assert usage.failures(tx, RETRAIN, RunMode.shadow) == (0, None)

    store.write_now(unit)


def test_incidents_are_known_by_number_title_and_what_fires(store: Store) -> None:
    def unit(tx: Tx) -> None:
        first, second = add_incidents(tx, 2)
        assert usage.numbers(tx, [first, second, "gone"]) == {first: (1, "Incident key-0", 1), second: (2, "Incident key-1", 1)}
        assert usage.numbers(tx, []) == {}

    store.write_now(unit)


def test_a_run_is_found_by_its_id_alone(store: Store) -> None:
    def unit(tx: Tx) -> None:
        (one,) = ran(tx)
        found = usage.find(tx, one)
        assert found is not None
        assert found.id == one
        assert usage.find(tx, one[-12:]) is None

    store.write_now(unit)


def test_a_permit_says_when_it_was_asked_for_last_and_an_override_is_found(store: Store) -> None:
    def unit(tx: Tx) -> None:
        assert permits.asked(tx) == {}
        permits.next_sequence(tx, "agent-btc", START)
        permits.next_sequence(tx, "agent-btc", START + timedelta(seconds=5))
        assert permits.asked(tx) == {"agent-btc": (2, START + timedelta(seconds=5))}
        assert overrides.find(tx, 1) is None

    store.write_now(unit)


def test_nothing_of_it_reads_a_growing_table_from_end_to_end(sqlite: Store) -> None:
    sqlite.write_now(lambda tx: ran(tx, 300))

    def read(tx: Tx) -> None:
        usage.page(tx, 10, "f", "failed")
        usage.page(tx, 10, "f")
        usage.started(tx, ["retrain"], START)
        usage.failures(tx, RETRAIN, RunMode.live)
        usage.numbers(tx, ["a", "b"])
        usage.find(tx, "a")
        permits.asked(tx)

    with explained(sqlite) as plans:
        sqlite.read_now(read)
    assert plans.reading_all() == []
