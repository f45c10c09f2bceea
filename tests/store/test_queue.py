"""What waits, what was given up and how destinations fare, as people are shown it: on both databases, in pages, without a read of
a growing table from end to end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.rules import Destination
from alerthub.store import deliveries, destinations, lanes, queue
from alerthub.store.database import Store
from alerthub.store.queue import Wanted
from alerthub.store.schema import lanes as lane_table
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.plans import explained
from tests.kit.rows import SLACK, add_incidents

MAIL = Destination("email:risk", "email", "risk", "risk")
ODD = Destination("e%ail:risk", "e%ail", "risk", "risk")
LATER = START + timedelta(minutes=5)


def told(tx: Tx, count: int, place: Destination = SLACK, state: str = "sent", **fate: Any) -> list[int]:
    """So many incidents that were told there once, with this state; their lanes."""
    ids = add_incidents(tx, count, key=f"{place.key}-{state}-{tx.new_id()}")
    lanes.ensure(tx, [lanes.Opening(one, place, START) for one in ids])
    rows = tx.conn.execute(lane_table.select().where(lane_table.c.incident_id.in_(ids)).order_by(lane_table.c.id)).all()
    deliveries.insert(tx, [{"lane_id": row.id, "incident_id": row.incident_id, "destination": place.key, "attempt": 1,
                            "state": state, "why": "new", "up_to_seq": 1, "possible_duplicate": False, "started_at": START,
                            "failure": "", "detail": state, "is_dead_letter": bool(fate.get("is_dead"))} for row in rows])
    usual = {"attempt": 1, "told_seq": 1, "want_seq": 1, "due_at": None}
    tx.conn.execute(lane_table.update().where(lane_table.c.incident_id.in_(ids)).values({**usual, **fate}))
    return [row.id for row in rows]


def test_what_is_due_or_fails_waits_and_what_is_only_repeated_later_does_not(store: Store) -> None:
    def unit(tx: Tx) -> None:
        told(tx, 3)
        repeated = told(tx, 1, due_at=LATER)
        failing = told(tx, 1, MAIL, "failed", due_at=LATER, failures=2, failing_since=START)
        due = told(tx, 2, MAIL, due_at=START)
        assert [row["id"] for row in queue.waiting(tx, START, 10)] == [*due, *failing]
        assert [row["id"] for row in queue.waiting(tx, START, 1)] == due[:1]
        assert [row["id"] for row in queue.waiting(tx, LATER, 10, SLACK.key)] == repeated
        assert queue.waiting_at(tx, START) == {MAIL.key: 3}
        assert queue.waiting_at(tx, LATER) == {MAIL.key: 3, SLACK.key: 1}
        (row,) = (row for row in queue.waiting(tx, START, 10) if row["id"] == failing[0])
        assert (row["detail"], row["failing_since"], row["title"][:8]) == ("failed", START.isoformat(), "Incident")

    store.write_now(unit)


def test_dead_letters_come_in_pages_the_newest_first(store: Store) -> None:
    def unit(tx: Tx) -> None:
        dead = told(tx, 5, state="failed", is_dead=True)
        other = told(tx, 1, MAIL, "failed", is_dead=True)
        first = queue.dead(tx, 4, None)
        assert [row["id"] for row in first["items"]] == [*other, *dead[:1:-1]]
        second = queue.dead(tx, 4, first["next"])
        assert ([row["id"] for row in second["items"]], second["next"]) == (dead[1::-1], None)
        assert [row["id"] for row in queue.dead(tx, 4, None, MAIL.key)["items"]] == other
        assert queue.dead_at(tx) == {SLACK.key: 5, MAIL.key: 1}

    store.write_now(unit)


def test_replay_takes_one_or_those_of_a_destination_or_all(store: Store) -> None:
    def unit(tx: Tx) -> None:
        dead = told(tx, 3, state="failed", is_dead=True)
        told(tx, 2, MAIL, "failed", is_dead=True)
        assert lanes.replay(tx, START, dead[0]) == 1
        assert (lanes.replay(tx, START, dead[0]), queue.dead_at(tx)) == (0, {SLACK.key: 2, MAIL.key: 2})
        assert queue.log(tx, Wanted(only_dead=True), 10, None)["items"][-1]["lane_id"] == dead[1]
        assert lanes.replay(tx, START, place="nowhere") == 0
        assert lanes.replay(tx, LATER, place=MAIL.key) == 2
        assert {one["destination"] for one in queue.log(tx, Wanted(only_dead=True), 10, None)["items"]} == {SLACK.key}
        assert lanes.replay(tx, LATER) == 2
        assert (queue.dead_at(tx), queue.log(tx, Wanted(only_dead=True), 10, None)["items"]) == ({}, [])

    store.write_now(unit)


def test_destinations_that_fail_come_first_and_the_others_in_pages(store: Store) -> None:
    def unit(tx: Tx) -> None:
        for number in range(5):
            told(tx, 1, Destination(f"email:{number}", "email", str(number), "risk"))
        destinations.failed(tx, "email:3", START, "refused", LATER)
        first = queue.places(tx, 2)
        assert [row["key"] for row in first["items"]] == ["email:3", "email:0", "email:1"]
        assert first["items"][0]["paused_until"] == LATER.isoformat()
        second = queue.places(tx, 2, first["next"])
        assert ([row["key"] for row in second["items"]], second["next"]) == (["email:2", "email:4"], None)

    store.write_now(unit)


@pytest.mark.parametrize(("wanted", "count"), [
    (Wanted(), 7), (Wanted(state="failed"), 2), (Wanted(state="sent"), 5), (Wanted(place=MAIL.key), 2),
    (Wanted(channel="email"), 2),
    (Wanted(channel="e%ail"), 1), (Wanted(channel="e_ail"), 0), (Wanted(incident=1), 1), (Wanted(incident=99), 0),
    (Wanted(only_dead=True), 2), (Wanted(state="failed", place=SLACK.key), 0), (Wanted(state="sent", channel="slack"), 4),
])
def test_the_log_knows_each_filter(store: Store, wanted: Wanted, count: int) -> None:
    def unit(tx: Tx) -> list[dict[str, Any]]:
        told(tx, 4)
        told(tx, 2, MAIL, "failed", is_dead=True)
        told(tx, 1, ODD)
        return list(queue.log(tx, wanted, 10, None)["items"])

    found = store.write_now(unit)
    assert [one["id"] for one in found] == sorted((one["id"] for one in found), reverse=True)
    assert len(found) == count


def test_a_search_for_a_destination_looks_through_so_many_and_says_where_to_go_on(store: Store,
                                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "SPAN", 10)

    def unit(tx: Tx) -> None:
        told(tx, 2, MAIL)
        told(tx, 25)
        before, looks, found = None, 0, []
        while looks == 0 or before:
            answer = queue.log(tx, Wanted(place=MAIL.key), 5, before)
            found += answer["items"]
            before, looks = answer["next"], looks + 1
            assert answer["is_short"] is (before is not None)
        assert (len(found), looks) == (2, 3)

    store.write_now(unit)


def test_one_delivery_comes_with_its_lane_and_the_other_attempts(store: Store) -> None:
    def unit(tx: Tx) -> None:
        (lane,) = told(tx, 1, MAIL, "failed", is_dead=True)
        (found,) = queue.log(tx, Wanted(), 1, None)["items"]
        one = queue.one(tx, found["id"], 10)
        assert one is not None
        assert (one["lane"]["id"], one["lane"]["is_dead"]) == (lane, True)
        assert [other["id"] for other in one["attempts"]] == [one["id"]]
        assert queue.one(tx, 99, 10) is None

    store.write_now(unit)


def test_nothing_of_it_reads_a_growing_table_from_end_to_end(sqlite: Store) -> None:
    sqlite.write_now(lambda tx: told(tx, 300))

    def read(tx: Tx) -> None:
        queue.waiting(tx, START, 10)
        queue.waiting(tx, START, 10, MAIL.key)
        queue.dead(tx, 10, 5, MAIL.key)
        queue.waiting_at(tx, START)
        queue.dead_at(tx)
        queue.places(tx, 10)
        queue.one(tx, 7, 10)
        for wanted in (Wanted(state="failed"), Wanted(place=MAIL.key), Wanted(channel="email"), Wanted(incident=1),
                       Wanted(only_dead=True), Wanted(state="sent", place=SLACK.key)):
            queue.log(tx, wanted, 10, 200)

    with explained(sqlite) as plans:
        sqlite.read_now(read)
    newest = "FROM deliveries ORDER BY deliveries.id DESC"       # it stops at its limit
    assert [one for one in plans.reading_all() if newest not in one] == []
