"""Claims: every due row in one pair of hands, for one attempt; and one leader for what only one replica may do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select, update

from alerthub.clock import SystemClock
from alerthub.domain.message import Receipt
from alerthub.store import destinations, lanes, leases, runs
from alerthub.store.database import Store
from alerthub.store.schema import action_runs, leaders
from alerthub.store.schema import destinations as destination_table
from alerthub.store.schema import lanes as lane_table
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.grown import grow
from tests.kit.rows import SLACK, add_incidents, add_lanes, at_once
from tests.kit.stores import database

SECOND = timedelta(seconds=1)
LEASE = 30 * SECOND
Step = Callable[[Tx], Any]
MAIL = replace(SLACK, key="email:risk@example.com", channel="email")


def claim(tx: Tx, owner: str, now: datetime = START, limit: int = 1000) -> list[lanes.DueLane]:
    """As the flow does it: look at the destinations that are ready, take their due lanes, lease them."""
    found = [due for ready in lanes.ready(tx, [], now, 10) for due in lanes.due(tx, ready, now, limit)]
    leases.lease(tx, lane_table, "id", [due.row for due in found], owner, now + LEASE)
    return found


def after(seconds: float | None) -> datetime | None:
    return None if seconds is None else START + timedelta(seconds=seconds)


def ids(found: list[lanes.DueLane]) -> list[int]:
    return [due.lane.id for due in found]


def row(tx: Tx, lane_id: int = 1) -> Any:
    return tx.conn.execute(select(lane_table).where(lane_table.c.id == lane_id)).one()


# -- each row once

def test_eight_threads_claim_five_hundred_lanes_each_exactly_once(store: Store) -> None:
    store.new_id = SystemClock().new_id
    store.write_now(lambda tx: add_lanes(tx, 500))

    def work(owner: str) -> list[int]:
        mine: list[int] = []
        while taken := store.write_now(lambda tx: ids(claim(tx, owner, limit=7))):
            mine += taken
        return mine

    hands = at_once([lambda number=number: work(f"replica-{number}") for number in range(8)])
    claimed = Counter(lane_id for mine in hands for lane_id in mine)
    assert len(claimed) == 500
    assert set(claimed.values()) == {1}
    rows = store.read_now(lambda tx: tx.conn.execute(select(lane_table)).all())
    owner_of = {lane_id: f"replica-{number}" for number, mine in enumerate(hands) for lane_id in mine}
    assert all((found.attempt, found.owner) == (1, owner_of[found.id]) for found in rows)


def test_the_oldest_is_claimed_first(store: Store) -> None:
    def unit(tx: Tx) -> list[int]:
        add_lanes(tx, 3)
        for lane_id, minutes in ((1, 2), (2, 3), (3, 1)):
            tx.conn.execute(update(lane_table).where(lane_table.c.id == lane_id).values(due_at=START - minutes * 60 * SECOND))
        return ids(claim(tx, "a"))

    assert store.write_now(unit) == [2, 1, 3]


def test_only_what_is_due_is_claimed(store: Store) -> None:
    for due_at, claimed in ((START - SECOND, 1), (START, 1), (START + timedelta(microseconds=1), 0), (None, 0)):
        def unit(tx: Tx, due_at: datetime | None = due_at) -> int:
            add_lanes(tx)
            tx.conn.execute(update(lane_table).values(due_at=due_at))
            return len(claim(tx, "a"))

        assert (due_at, store.read_now(unit)) == (due_at, claimed)      # a look keeps nothing


def test_what_is_in_somebodys_hands_is_not_claimed_until_the_lease_ends(store: Store) -> None:
    store.write_now(lambda tx: add_lanes(tx))
    (first,) = store.write_now(lambda tx: claim(tx, "a"))
    assert (first.lane.attempt, first.lane.was_leased) == (0, False)
    assert store.write_now(lambda tx: claim(tx, "b", START + LEASE - timedelta(microseconds=1))) == []
    (second,) = store.write_now(lambda tx: claim(tx, "b", START + LEASE))
    assert (second.lane.attempt, second.lane.was_leased) == (1, True), "its holder died: perhaps it was delivered"
    now = store.read_now(row)
    assert (now.owner, now.attempt, now.lease_until) == ("b", 2, START + 2 * LEASE)


def test_news_does_not_take_a_lane_out_of_living_hands(store: Store) -> None:
    (incident_id,) = store.write_now(lambda tx: add_lanes(tx))
    store.write_now(lambda tx: claim(tx, "a"))
    store.write_now(lambda tx: lanes.mark(tx, [(incident_id, 2)], START + SECOND))
    assert store.write_now(lambda tx: claim(tx, "b", START + 2 * SECOND)) == []
    assert ids(store.write_now(lambda tx: claim(tx, "b", START + LEASE))) == [1]


# -- the fence

def test_a_late_result_of_a_lost_lease_changes_nothing(store: Store) -> None:
    store.write_now(lambda tx: add_lanes(tx))
    store.write_now(lambda tx: claim(tx, "a"))
    store.write_now(lambda tx: claim(tx, "b", START + LEASE))
    before = store.read_now(row)
    assert store.write_now(lambda tx: lanes.settle(tx, 1, 1, told_seq=1, due_at=None, receipt="{}")) is False
    assert store.read_now(row) == before
    assert store.write_now(lambda tx: lanes.settle(tx, 1, 2, told_seq=1, due_at=None, receipt='{"ts":"1"}')) is True
    after = store.read_now(row)
    assert (after.told_seq, after.due_at, after.lease_until, after.owner, after.attempt) == (1, None, None, None, 2)
    assert lanes.lane_of(after).receipt == Receipt({"ts": "1"})


def test_a_result_counts_once(store: Store) -> None:
    """After it is settled and claimed again, the old attempt is over."""
    store.write_now(lambda tx: add_lanes(tx))
    store.write_now(lambda tx: claim(tx, "a"))
    assert store.write_now(lambda tx: lanes.settle(tx, 1, 1, due_at=START)) is True
    store.write_now(lambda tx: claim(tx, "a"))
    assert store.write_now(lambda tx: lanes.settle(tx, 1, 1, due_at=None, is_dead=True)) is False
    assert not store.read_now(row).is_dead


AGAIN = [
    ("told all", 1, None, None), ("told all, repeats", 1, 60, 60),
    ("something happened meanwhile", 2, None, 1), ("something happened meanwhile, repeats", 2, 60, 1),
]


def test_when_a_lane_is_due_again(store: Store) -> None:
    def unit(tx: Tx, want: int, repeat: float | None) -> datetime | None:
        (incident_id,) = add_lanes(tx)
        (found,) = claim(tx, "a")
        lanes.mark(tx, [(incident_id, want)], START)
        lanes.settle(tx, found.lane.id, 1, told_seq=1, due_at=lanes.due_again(1, START + SECOND, after(repeat)))
        return row(tx, found.lane.id).due_at

    for title, want, repeat, due in AGAIN:
        assert (title, store.read_now(lambda tx, want=want, repeat=repeat: unit(tx, want, repeat))) == (title, after(due))


# -- when to look again

def add_runs(tx: Tx, count: int, due_at: datetime | None = START) -> list[str]:
    (incident_id,) = add_incidents(tx, key="run")
    return runs.propose(tx, [
        {"id": tx.new_id(), "incident_id": incident_id, "episode": 1, "action": "safe-mode", "target": f"agent-{number}",
         "direction": ("tighten", "neutral", "relax")[number % 3], "state": "proposed", "reason": "tighten", "why": "DiskFull",
         "rule_version": "1", "body_sha256": "", "labels": {"agent": "btc"}, "created_at": START, "started_at": None,
         "finished_at": None, "due_at": due_at, "lease_until": None, "owner": None} for number in range(count)])


def claim_runs(tx: Tx, owner: str, now: datetime = START, limit: int = 1000) -> list[runs.Run]:
    found: list[runs.Run] = []
    for tighten in (True, False):
        more, rows = runs.due(tx, now, limit - len(found), tighten=tighten)
        leases.lease(tx, action_runs, "id", rows, owner, now + LEASE)
        found += more
    return found


def spend_budget(tx: Tx, seconds: float) -> None:
    destinations.set_free(tx, {SLACK.key: START + timedelta(seconds=seconds)})


def hasten_one(tx: Tx) -> None:
    newest = select(func.max(lane_table.c.id)).scalar_subquery()
    tx.conn.execute(update(lane_table).where(lane_table.c.id == newest).values(due_at=START + 4 * SECOND))


def take_all(tx: Tx) -> None:
    claim(tx, "a")
    claim_runs(tx, "a")


def settle_all(tx: Tx) -> None:
    for found in tx.conn.execute(select(lane_table)).all():
        assert lanes.settle(tx, found.id, found.attempt, due_at=None)


def lanes_at(seconds: float, count: int = 1) -> Step:
    return lambda tx: add_lanes(tx, count, START + timedelta(seconds=seconds))


def run_at(seconds: float | None) -> Step:
    return lambda tx: add_runs(tx, 1, after(seconds))


def budget_at(seconds: float) -> Step:
    return lambda tx: spend_budget(tx, seconds)


NEXT: list[tuple[str, list[Step], float | None]] = [
    ("nothing at all", [], None),
    ("a lane", [lanes_at(5)], 5),
    ("the earliest of several", [lanes_at(9, count=3), hasten_one], 4),
    ("a lane without a budget now", [lanes_at(0), budget_at(7)], 7),
    ("a budget that is free before the lane is due", [lanes_at(5), budget_at(2)], 5),
    ("a lane in somebody's hands", [lanes_at(0), take_all], 30),
    ("a lane in hands, and no budget", [lanes_at(0), take_all, budget_at(99)], 99),
    ("a settled lane", [lanes_at(0), take_all, settle_all], None),
    ("a run", [run_at(3)], 3),
    ("a run in hands", [run_at(0), take_all], 30),
    ("a run before a lane", [lanes_at(5), run_at(3)], 3),
    ("a lane before a run", [lanes_at(5), run_at(9)], 5),
    ("a run that is refused", [run_at(None)], None),
]


def test_when_something_is_due_next(store: Store) -> None:
    def unit(tx: Tx, steps: list[Step]) -> datetime | None:
        for step in steps:
            step(tx)
        return leases.next_due(tx).first

    for title, steps, seconds in NEXT:
        assert (title, store.read_now(lambda tx, steps=steps: unit(tx, steps))) == (title, after(seconds))


def test_of_two_destinations_the_one_that_is_ready_first_counts(store: Store) -> None:
    def unit(tx: Tx) -> None:
        (incident_id,) = add_lanes(tx)
        lanes.ensure(tx, [lanes.Opening(incident_id, MAIL, START)])
        lanes.mark(tx, [(incident_id, 1)], START + 8 * SECOND)
        spend_budget(tx, 60)

    store.write_now(unit)
    assert store.read_now(leases.next_due).first == START + 8 * SECOND


def test_a_destination_without_a_budget_is_not_ready(store: Store) -> None:
    store.write_now(lambda tx: add_lanes(tx))
    store.write_now(lambda tx: spend_budget(tx, 5))
    assert store.write_now(lambda tx: claim(tx, "a", START + 4 * SECOND)) == []
    assert ids(store.write_now(lambda tx: claim(tx, "a", START + 5 * SECOND))) == [1]


def test_a_busy_channel_is_left_alone(store: Store) -> None:
    def unit(tx: Tx) -> list[str]:
        (incident_id,) = add_lanes(tx)
        lanes.ensure(tx, [lanes.Opening(incident_id, MAIL, START)])
        lanes.mark(tx, [(incident_id, 1)], START)
        return [found.key for found in lanes.ready(tx, ["slack"], START, 10)]

    assert store.write_now(unit) == [MAIL.key]


# -- runs are claimed by the same means

def test_eight_threads_claim_a_hundred_runs_each_exactly_once(store: Store) -> None:
    store.new_id = SystemClock().new_id
    store.write_now(lambda tx: add_runs(tx, 100))

    def work(owner: str) -> list[str]:
        mine: list[str] = []
        while taken := store.write_now(lambda tx: [run.id for run in claim_runs(tx, owner, limit=3)]):
            mine += taken
        return mine

    hands = at_once([lambda number=number: work(f"replica-{number}") for number in range(8)])
    claimed = Counter(run_id for mine in hands for run_id in mine)
    assert (len(claimed), set(claimed.values())) == (100, {1})


@pytest.mark.parametrize(("tighten", "found"), [(True, {"tighten"}), (False, {"neutral", "relax"})])
def test_what_tightens_is_found_apart_from_everything_else(store: Store, tighten: bool, found: set[str]) -> None:
    """So that nothing else, however much and however long it waits, stands before it."""
    def unit(tx: Tx) -> set[str]:
        add_runs(tx, 6)
        return {run.direction for run in runs.due(tx, START, 100, tighten=tighten)[0]}

    assert store.write_now(unit) == found


def test_a_run_is_proposed_once_for_its_incident_episode_action_and_target(store: Store) -> None:
    def unit(tx: Tx) -> tuple[int, int]:
        made = add_runs(tx, 3)
        again = [{**found._mapping, "id": tx.new_id(), "labels": {}} for found in tx.conn.execute(select(action_runs))]
        for one in again:
            del one["report"], one["attempt"]
        return len(made), len(runs.propose(tx, again))

    assert store.write_now(unit) == (3, 0)


def test_a_late_result_of_a_run_changes_nothing(store: Store) -> None:
    (run_id,) = store.write_now(lambda tx: add_runs(tx, 1))
    store.write_now(lambda tx: claim_runs(tx, "a"))
    (again,) = store.write_now(lambda tx: claim_runs(tx, "b", START + LEASE))
    assert again.was_leased
    assert store.write_now(lambda tx: runs.settle(tx, run_id, 1, state="succeeded", due_at=None)) is False
    assert store.write_now(lambda tx: runs.settle(tx, run_id, 2, state="unknown", due_at=None)) is True
    (found,) = store.read_now(lambda tx: runs.recent(tx, 5))
    assert (found.state, found.attempt, found.was_leased, found.labels) == ("unknown", 2, False, {"agent": "btc"})


# -- one leader

TERM = 30 * SECOND


def leads(store: Store, owner: str, now: datetime = START) -> bool:
    return store.write_now(lambda tx: leases.lead(tx, "watch", owner, now, TERM))


def holder(store: Store) -> list[str]:
    return store.read_now(lambda tx: [owner for owner, in tx.conn.execute(select(leaders.c.owner))])


def test_a_leader_stays_until_its_term_is_over_or_it_resigns(store: Store) -> None:
    assert [leads(store, "a"), leads(store, "b"), leads(store, "a", START + 20 * SECOND)] == [True, False, True]
    assert not leads(store, "b", START + TERM), "it was renewed since"
    assert leads(store, "b", START + 50 * SECOND)
    assert not leads(store, "a", START + 51 * SECOND)
    store.write_now(lambda tx: leases.resign(tx, "a"))
    assert holder(store) == ["b"]
    store.write_now(lambda tx: leases.resign(tx, "b"))
    assert leads(store, "a", START + 51 * SECOND)


def test_each_duty_has_its_own_leader_and_resigning_gives_up_all(store: Store) -> None:
    def unit(tx: Tx) -> list[bool]:
        return [leases.lead(tx, name, owner, START, TERM) for name, owner in (("watch", "a"), ("prune", "b"), ("poll", "a"))]

    assert store.write_now(unit) == [True, True, True]
    store.write_now(lambda tx: leases.resign(tx, "a"))
    assert holder(store) == ["b"]


@pytest.fixture
def shared(postgres: str) -> Iterator[Store]:
    opened = Store(postgres, SystemClock().new_id)
    yield opened
    opened.close()


@pytest.mark.postgres
@pytest.mark.parametrize("before", ["nobody", "somebody whose term is over"])
def test_of_all_who_reach_for_it_exactly_one_leads(shared: Store, before: str) -> None:
    for turn in range(10):
        now = START + turn * 60 * SECOND
        if before == "nobody":
            shared.write_now(lambda tx: tx.conn.execute(leaders.delete()))
        won = at_once([lambda number=number, now=now: leads(shared, f"replica-{number}", now) for number in range(6)])
        assert won.count(True) == 1
        assert holder(shared) == [f"replica-{won.index(True)}"]


@pytest.mark.postgres
def test_while_the_leader_resigns_at_most_one_other_follows(shared: Store) -> None:
    for turn in range(10):
        shared.write_now(lambda tx: tx.conn.execute(leaders.delete()))
        assert leads(shared, "old")
        reach = [lambda number=number: leads(shared, f"replica-{number}") for number in range(5)]
        resign: Callable[[], bool] = lambda: bool(shared.write_now(lambda tx: leases.resign(tx, "old")))    # noqa: E731
        won = at_once([*reach[:2], resign, *reach[2:]])
        assert won.count(True) <= 1, turn
        assert len(holder(shared)) == won.count(True)
        assert leads(shared, "next") is not any(won)


@pytest.mark.postgres
def test_a_leader_that_renews_is_never_overtaken(shared: Store) -> None:
    assert leads(shared, "old")
    for turn in range(1, 6):
        now = START + turn * 20 * SECOND
        won = at_once([lambda now=now: leads(shared, "old", now)] + [
            lambda number=number, now=now: leads(shared, f"replica-{number}", now) for number in range(4)])
        assert won == [True, False, False, False, False]


# -- how a destination fares

def test_a_destination_fails_since_its_first_failure_until_a_success(store: Store) -> None:
    store.write_now(lambda tx: add_lanes(tx))
    for seconds in (1, 2, 3):
        pause = START + 60 * SECOND if seconds == 2 else None
        store.write_now(lambda tx, seconds=seconds, pause=pause: destinations.failed(
            tx, SLACK.key, START + seconds * SECOND, f"error {seconds}", pause))
    assert store.read_now(destinations.failing) == [(SLACK.key, START + SECOND, "error 3")]
    assert store.read_now(lambda tx: tx.conn.execute(select(destination_table.c.free_at)).scalar_one()) == START + 60 * SECOND
    assert store.write_now(lambda tx: destinations.work(tx, [SLACK.key], START)) == [SLACK.key]
    assert store.write_now(lambda tx: destinations.work(tx, [SLACK.key], START)) == []
    assert store.read_now(destinations.failing) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_jump_touches_no_row_that_waits_for_nothing(kind: str, tmp_path: Path) -> None:
    """With a million closed incidents it would hold up everything for as long as it takes to write them anew."""
    touched: Counter[str] = Counter()

    def count(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE "):
            touched[statement.split()[1]] += cursor.rowcount

    with database(kind, tmp_path) as url:
        grow(url, 3, 3)
        with closing(Store(url, SystemClock().new_id)) as grown:
            event.listen(grown.engine, "after_cursor_execute", count)
            grown.write_now(lambda tx: leases.shift(tx, timedelta(hours=1), START + timedelta(days=100)))
    assert {"lanes", "timers", "action_runs", "alerts"} <= touched.keys()
    assert sum(touched.values()) == 0
