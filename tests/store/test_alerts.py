"""Alerts and incidents as stored: one open incident per key whoever races, nothing lost, and the same text everywhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from alerthub.clock import SystemClock
from alerthub.domain.alert import Alert, AlertStatus, Batch
from alerthub.domain.incident import AlertState, Verdict
from alerthub.domain.message import IncidentStatus
from alerthub.errors import Busy, Conflict
from alerthub.flow.intake import Taken, take_in
from alerthub.store import alerts as alert_store
from alerthub.store import reading
from alerthub.store.database import Store
from alerthub.store.schema import alerts, events, incidents, lanes
from alerthub.store.tx import CHUNK, Tx
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import START, FakeClock
from tests.kit.messages import HOSTILE
from tests.kit.rows import add_incidents, at_once, count, incident
from tests.kit.stores import database
from tests.kit.world import rules_for

SECOND = timedelta(seconds=1)
RULES = rules_for()
THREADS = 20


def taking(store: Store, *batches: Batch, after: float = 0) -> Callable[[], Taken]:
    return lambda: store.write_now(lambda tx: take_in(tx, RULES, batches, START + after * SECOND))


def verdicts(taken: list[Taken]) -> dict[Verdict, int]:
    total: dict[Verdict, int] = {}
    for one in taken:
        for verdict, number in one.verdicts.items():
            total[verdict] = total.get(verdict, 0) + number
    return total


def one_incident(store: Store, number: int = 1) -> dict[str, Any]:
    found = store.read_now(lambda tx: reading.one_incident(tx, str(number)))
    assert found is not None
    return found


# -- races

@pytest.fixture
def shared(postgres: str) -> Iterator[Store]:
    opened = Store(postgres, SystemClock().new_id)
    yield opened
    opened.close()


@pytest.mark.postgres
def test_twenty_webhooks_of_one_group_at_once_are_one_incident_and_none_is_lost(shared: Store) -> None:
    """R-11."""
    taken = at_once([taking(shared, batch(firing(host=f"h{number}"))) for number in range(THREADS)])
    assert verdicts(taken) == {Verdict.fired: THREADS}
    found = one_incident(shared)
    assert (found["firing"], found["alerts"], found["status"]) == (THREADS, THREADS, "triggered")
    assert [event["seq"] for event in found["events"]] == list(range(1, THREADS + 1))
    assert [event["kind"] for event in found["events"]] == ["opened"] + ["changed"] * (THREADS - 1)
    assert {alert["labels"]["host"] for alert in found["alert_list"]} == {f"h{number}" for number in range(THREADS)}
    assert shared.read_now(lambda tx: [count(tx, table) for table in (incidents, alerts, events, lanes)]) == [1, 20, 20, 1]


@pytest.mark.postgres
def test_twenty_times_the_same_webhook_at_once_is_told_once(shared: Store) -> None:
    taken = at_once([taking(shared, batch(firing(host="a")))] * THREADS)
    assert verdicts(taken) == {Verdict.fired: 1, Verdict.repeated: THREADS - 1}
    assert shared.read_now(lambda tx: [count(tx, table) for table in (incidents, alerts, events, lanes)]) == [1, 1, 1, 1]


@pytest.mark.postgres
def test_twenty_groups_at_once_are_twenty_incidents(shared: Store) -> None:
    at_once([taking(shared, batch(firing(f"Name{number}"), firing(f"Name{number}", host="b"))) for number in range(THREADS)])
    assert shared.read_now(lambda tx: [count(tx, table) for table in (incidents, alerts, events, lanes)]) == [20, 40, 20, 20]


@pytest.mark.postgres
def test_webhooks_that_hold_the_same_groups_in_another_order_do_not_block_each_other(shared: Store) -> None:
    names = [f"Name{number}" for number in range(6)]

    def mixed(number: int) -> Batch:
        shuffled = random.Random(number).sample(names, len(names))
        return batch(*[firing(name, host=f"h{number}") for name in shuffled], at=START + number * SECOND)

    taken = at_once([taking(shared, mixed(number)) for number in range(6)])      # as many as there are connections
    assert verdicts(taken) == {Verdict.fired: 36}
    found = shared.read_now(lambda tx: reading.list_incidents(tx, 50, None, "open"))["items"]
    assert sorted((one["title"], one["firing"]) for one in found) == [(name, 6) for name in names]


@pytest.mark.postgres
def test_while_alerts_come_and_go_at_once_the_counts_stay_true(shared: Store) -> None:
    def come_and_go(number: int) -> None:
        dice = random.Random(number)
        for turn in range(8):
            make = dice.choice([firing, resolved])
            alert = make(host=f"h{dice.randrange(4)}")
            taking(shared, batch(alert, at=START + (turn * 10 + number) * SECOND), after=turn * 10 + number)()

    at_once([lambda number=number: come_and_go(number) for number in range(6)])

    def look(tx: Tx) -> None:
        for row in tx.conn.execute(select(incidents)).all():
            mine = alerts.c.incident_id == row.id
            assert row.firing == count(tx, alerts, mine, alerts.c.status == "firing")
            assert row.alerts == count(tx, alerts, mine)
            assert (row.status == "resolved") is (row.firing == 0)
            assert row.seq == count(tx, events, events.c.incident_id == row.id)
        assert count(tx, incidents, incidents.c.status != "resolved") <= 1

    shared.read_now(look)


@pytest.mark.postgres
def test_the_last_resolve_and_a_new_alert_at_once_never_lose_the_new_one(shared: Store) -> None:
    for turn in range(10):
        name, at = f"Turn{turn}", START + SECOND
        taking(shared, batch(firing(name, host="old")))()
        at_once([taking(shared, batch(resolved(name, host="old"), at=at), after=1),
                 taking(shared, batch(firing(name, host="new"), at=at), after=1)])
        named = select(incidents).where(incidents.c.title == name)
        (found,) = shared.read_now(lambda tx, named=named: tx.conn.execute(named).all())
        assert (found.status, found.firing, found.alerts) == ("triggered", 1, 2)


# -- the same on both databases

TEXTS = [*HOSTILE, "", " ", "'; drop table incidents; --", "%s %(x)s :name ? $1 {}", "\\x00 \\u0000 \\", "\x01\x1b[31m\x7f",
         "\r\n\t", "e\u0301 é", "\uffff\U0010ffff", "👩‍👩‍👧‍👦" * 20, "null", '{"a": 1}', "ı İ ß ς", "\ufeffbom",
         "z\u0335\u0322" * 500]


@pytest.mark.postgres
def test_hostile_text_is_stored_and_judged_alike_on_both_databases(tmp_path: Path) -> None:
    """PROTOCOLS 7.2: what one database takes and the other refuses would be a poison row after a move."""
    with ExitStack() as stack:
        stores = [Store(stack.enter_context(database(kind, tmp_path)), FakeClock().new_id) for kind in ("sqlite", "postgres")]
        for store in stores:
            stack.callback(store.close)
        batches = [batch(Alert({"alertname": f"Text{number}", "label": value, value or "empty": "name"}, AlertStatus.firing,
                               {"summary": value}, START, generator_url=value, fingerprint=value, links={"panel": value}),
                         sender=value, group_labels={"alertname": f"Text{number}", "label": value})
                   for number, value in enumerate(TEXTS)]
        ends = [replace(one, alerts=tuple(replace_status(alert) for alert in one.alerts), arrived_at=START + SECOND)
                for one in batches[::2]]
        told = [[(taken.verdicts, taken.events) for taken in (
            taking(store, *batches)(), taking(store, *batches)(), taking(store, *ends, after=1)())] for store in stores]
        assert told[0] == told[1]
        for number in range(1, len(TEXTS) + 1):
            left, right = (one_incident(store, number) for store in stores)
            assert left == right
            assert left["alert_list"][0]["labels"]["label"] == TEXTS[number - 1]
            assert left["alert_list"][0]["annotations"]["summary"] == TEXTS[number - 1]


def replace_status(alert: Alert) -> Alert:
    return Alert(alert.labels, AlertStatus.resolved, alert.annotations, alert.starts_at, None, alert.generator_url,
                 alert.fingerprint, alert.links)


# -- what the database itself holds together

def test_a_second_open_incident_of_one_key_cannot_be_stored(store: Store) -> None:
    """R-11: by an index, not by a look before."""
    def unit(tx: Tx) -> None:
        alert_store.save_incidents(tx, [incident(tx, status=IncidentStatus.resolved, resolved_at=START) for _ in range(3)])
        alert_store.save_incidents(tx, [incident(tx, status=IncidentStatus.acknowledged)])

    store.write_now(unit)
    with pytest.raises(IntegrityError):
        store.write_now(lambda tx: alert_store.save_incidents(tx, [incident(tx)]))
    store.write_now(lambda tx: alert_store.save_incidents(tx, [incident(tx, "other")]))
    assert store.read_now(lambda tx: count(tx, incidents)) == 5


def test_an_incident_that_moved_meanwhile_is_a_conflict_and_nothing_is_kept(store: Store) -> None:
    ids = store.write_now(lambda tx: add_incidents(tx, 3))
    known = store.read_now(lambda tx: alert_store.read_incidents(tx, ids))

    def move(tx: Tx, which: list[str], title: int) -> None:
        changed = [replace(known[one], seq=2, firing=title) for one in which]
        alert_store.save_incidents(tx, changed)

    store.write_now(lambda tx: move(tx, ids[1:2], 7))
    with pytest.raises(Conflict):
        store.read_now(lambda tx: move(tx, ids, 9))
    assert [one.firing for one in store.read_now(lambda tx: alert_store.read_incidents(tx, ids)).values()] == [1, 7, 1]


def test_an_incident_comes_back_as_it_was_saved(store: Store) -> None:
    saved = store.write_now(lambda tx: save_full(tx))
    found = store.read_now(lambda tx: alert_store.find_incident(tx, saved.id))
    assert found == replace(saved, number=1, stored_seq=saved.seq)
    assert store.read_now(lambda tx: alert_store.find_incident(tx, "gone")) is None
    changed = replace(found, seq=9, status=IncidentStatus.resolved, resolved_at=START + SECOND, is_stale=False, firing=0)
    store.write_now(lambda tx: alert_store.save_incidents(tx, [changed]))
    assert store.read_now(lambda tx: alert_store.find_incident(tx, saved.id)) == replace(changed, stored_seq=9)


def save_full(tx: Tx) -> Any:
    full = incident(tx, status=IncidentStatus.acknowledged, acknowledged_by="ayşe", incomplete=3, is_stale=True, is_silenced=True,
                    seen_at=START + SECOND, avoid="slack:#alerts", episode=4, seq=8, opened_at=START - timedelta(days=20_000),
                    updated_at=START + timedelta(microseconds=1))
    alert_store.save_incidents(tx, [full])
    return full


def test_which_incident_a_key_leads_to(store: Store) -> None:
    hour = timedelta(hours=1)

    def unit(tx: Tx) -> dict[str, str]:
        closed = {"status": IncidentStatus.resolved, "resolved_at": START}
        for key, fields in [("open", closed), ("open", {}), ("closed", {**closed, "resolved_at": START - hour}),
                            ("closed", closed), ("long closed", {**closed, "resolved_at": START - hour - SECOND}), ("other", {})]:
            made = replace(incident(tx, key), **fields)
            made.title = f"{key} {made.status} {made.resolved_at}"
            alert_store.save_incidents(tx, [made])
        found = alert_store.latest_by_key(tx, ["open", "closed", "long closed", "unknown"], START - hour)
        return {key: one.title for key, which in found.items() if (one := alert_store.find_incident(tx, which))}

    assert store.write_now(unit) == {"open": "open triggered None", "closed": f"closed resolved {START}"}


def state(identity: str, incident_id: str | None, **fields: Any) -> AlertState:
    usual: dict[str, Any] = {"content": "{}", "starts_at": START, "ends_at": None, "changed_at": START, "seen_at": START,
                             "is_dirty": True}
    return AlertState("am", identity, incident_id, AlertStatus.firing, **{**usual, **fields})


def test_more_alerts_than_one_statement_takes_are_loaded_all(store: Store) -> None:
    names = [f"a{number}" for number in range(CHUNK * 2 + 5)]

    def unit(tx: Tx) -> None:
        (incident_id,) = add_incidents(tx)
        alert_store.save_alerts(tx, [state(name, incident_id) for name in names], [])

    store.write_now(unit)
    found = store.read_now(lambda tx: alert_store.current(tx, "am", [*names, "unknown"]))
    assert sorted(found) == sorted(names)
    assert store.read_now(lambda tx: alert_store.current(tx, "other", names)) == {}


def test_a_repeat_of_what_another_replica_resolved_is_judged_anew(store: Store) -> None:
    """Another replica may have resolved it between our look and our write."""
    def begin(tx: Tx) -> AlertState:
        (incident_id,) = add_incidents(tx)
        alert_store.save_alerts(tx, [state("a", incident_id)], [])
        return alert_store.current(tx, "am", ["a"])["a"]

    seen_by_us = store.write_now(begin)
    ended = replace(seen_by_us, status=AlertStatus.resolved, ends_at=START + SECOND, changed_at=START + SECOND, is_dirty=True)
    store.write_now(lambda tx: alert_store.save_alerts(tx, [ended], []))
    repeated = replace(seen_by_us, content='{"new":1}', seen_at=START + 2 * SECOND, is_touched=True)
    with pytest.raises(Busy):       # a Conflict: the whole unit would judge anew
        store.write_now(lambda tx: alert_store.save_alerts(tx, [repeated], []))
    now = store.read_now(lambda tx: alert_store.current(tx, "am", ["a"]))["a"]
    assert (now.status, now.ends_at, now.content) == (AlertStatus.resolved, START + SECOND, ended.content)


def test_an_unchanged_state_is_not_written(store: Store) -> None:
    assert store.write_now(lambda tx: alert_store.save_alerts(tx, [state("a", None, is_dirty=False)], [])) is None
    assert store.read_now(lambda tx: count(tx, alerts)) == 0


def test_an_alert_that_joins_another_incident_stays_in_the_history_of_the_first(store: Store) -> None:
    def unit(tx: Tx) -> list[list[str]]:
        first, second = add_incidents(tx, 2)
        alert_store.save_alerts(tx, [state("a", first, content="1")], [])
        old = alert_store.current(tx, "am", ["a"])["a"]
        alert_store.save_alerts(tx, [state("a", second, content="2")], [old.row])
        now = alert_store.current(tx, "am", ["a"])["a"]
        assert (now.incident_id, now.content) == (second, "2")
        return [[one.content for one in alert_store.of_incident(tx, which)] for which in (first, second)]

    assert store.write_now(unit) == [["1"], ["2"]]


def test_an_incidents_alerts_are_shown_firing_first_then_by_their_beginning(store: Store) -> None:
    def unit(tx: Tx) -> list[str]:
        (incident_id,) = add_incidents(tx)
        alert_store.save_alerts(tx, [
            state("late", incident_id, starts_at=START + SECOND), state("over", incident_id, starts_at=START - SECOND),
            state("early", incident_id)], [])
        over = alert_store.current(tx, "am", ["over"])["over"]
        alert_store.save_alerts(tx, [replace(over, status=AlertStatus.resolved, is_dirty=True)], [])
        assert len(alert_store.of_incident(tx, incident_id, limit=2)) == 2
        return [one.identity for one in alert_store.of_incident(tx, incident_id)]

    assert store.write_now(unit) == ["early", "late", "over"]


def test_what_hangs_on_an_incident_goes_with_it(store: Store) -> None:
    taking(store, batch(firing(host="a")))()
    store.write_now(lambda tx: tx.conn.execute(incidents.delete()))
    assert store.read_now(lambda tx: [count(tx, table) for table in (incidents, alerts, events, lanes)]) == [0, 0, 0, 0]


def test_an_events_number_can_be_taken_once(store: Store) -> None:
    taking(store, batch(firing(host="a")))()
    twice = events.insert().from_select(
        [column for column in events.c if column.name != "position"],
        select(*[column for column in events.c if column.name != "position"]))
    with pytest.raises(IntegrityError):
        store.write_now(lambda tx: tx.conn.execute(twice))


