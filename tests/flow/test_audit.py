"""The record: whoever edits, removes, moves or puts in a row is found out, on either database; what the hub does is not."""

from __future__ import annotations

import hashlib
import json
import timeit
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text, update

from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.record import Anchor, Finding
from alerthub.domain.rules import Rules
from alerthub.engine.rounds import Rounds
from alerthub.flow import audit, prune
from alerthub.metrics import Metrics
from alerthub.store import audit as record_store
from alerthub.store import events as event_store
from alerthub.store.database import Store
from alerthub.store.schema import events, incidents
from alerthub.store.tx import Tx
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START, FakeClock
from tests.kit.rows import add_incidents
from tests.kit.world import World, rules_for

pytestmark = pytest.mark.anyio


def history(store: Store, count: int = 5, key: str = "a") -> str:
    """An incident with so many events; its id."""
    def write(tx: Tx) -> str:
        (incident_id,) = add_incidents(tx, key=key, seq=count)
        for start in range(1, count + 1, 2):       # some alone, some together
            event_store.append(tx, [event(incident_id, seq) for seq in range(start, min(start + 2, count + 1))])
        return incident_id
    return store.write_now(write)


def event(incident_id: str, seq: int) -> Event:
    return Event(incident_id, seq, START + timedelta(seconds=seq, microseconds=7), EventKind.changed,
                 Actor("source", "alertmanager"), f"line {seq} é\u2028", {"n": seq, "ratio": 0.1})


def found(store: Store, **witnessed: Any) -> list[Finding]:
    return store.read_now(lambda tx: list(audit.verify(tx, **witnessed)))


def anchor(store: Store, minutes: int = 1) -> Anchor | None:
    return store.write_now(lambda tx: audit.anchor(tx, START + timedelta(minutes=minutes)))


def tamper(store: Store, *statements: str, **values: Any) -> None:
    def run(tx: Tx) -> None:
        for statement in statements:
            tx.conn.execute(text(statement), {name: value for name, value in values.items() if f":{name}" in statement})
    store.write_now(run)


def chain(store: Store, incident_id: str) -> None:
    """What somebody does who knows how it is made: hash all rows of a history anew."""
    def run(tx: Tx) -> None:
        previous = ""
        for _, _, rows in record_store.histories(tx):
            for row in [row for row in rows if row.incident_id == incident_id]:
                fields = ["alerthub-event-v1", previous, row.incident_id, row.seq, row.at, row.kind, row.actor_kind,
                          row.actor_name, row.text, row.data]
                previous = hashlib.sha256(
                    json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
                tx.conn.execute(update(events).where(events.c.incident_id == incident_id, events.c.seq == row.seq)
                                .values(hash=previous))
    store.write_now(run)


def places(findings: list[Finding]) -> list[tuple[str, int]]:
    return [(one.incident_id, one.seq) for one in findings]


def test_what_the_hub_wrote_is_as_it_wrote_it(store: Store) -> None:
    history(store, 5), history(store, 1, "b")
    assert found(store) == []
    assert anchor(store) is not None
    history(store, 4, "c")
    assert anchor(store, 2) is not None
    assert anchor(store, 3) is None, "nothing has happened since"
    assert found(store) == []


def test_the_chain_is_what_the_documentation_says(store: Store) -> None:
    """By the book, without the code under test."""
    incident_id = history(store, 4)
    before = found(store)
    hashes = store.read_now(lambda tx: event_store.hashes(tx, [(incident_id, seq) for seq in range(1, 5)]))
    chain(store, incident_id)
    assert store.read_now(lambda tx: event_store.hashes(tx, [(incident_id, seq) for seq in range(1, 5)])) == hashes
    assert (before, found(store)) == ([], [])


@pytest.mark.parametrize(("column", "value"), [
    ("text", "nothing happened"), ("at", 1), ("kind", "comment"), ("actor_kind", "person"), ("actor_name", "mehmet"),
    ("data", "{}"), ("hash", "0" * 64), ("hash", ""), ("hash", None),
])
@pytest.mark.parametrize("seq", [1, 3, 5])
def test_a_row_that_was_edited_is_named(store: Store, column: str, value: Any, seq: int) -> None:
    incident_id = history(store)
    history(store, 3, "b")
    tamper(store, f"update events set {column} = :value where incident_id = :id and seq = :seq", value=value, id=incident_id,
           seq=seq)
    named = places(found(store))
    assert (incident_id, seq) in named or (column == "hash" and (incident_id, seq + 1) in named)
    assert {one for one, _ in named} == {incident_id}
    assert len(named) <= 2
    assert "incident #1, event" in str(found(store)[0])


def test_two_rows_that_were_swapped_are_named(store: Store) -> None:
    incident_id = history(store)
    tamper(store, "update events set seq = 99 where incident_id = :id and seq = 2",
           "update events set seq = 2 where incident_id = :id and seq = 3",
           "update events set seq = 3 where incident_id = :id and seq = 99", id=incident_id)
    assert {(incident_id, 2), (incident_id, 3)} <= set(places(found(store)))


def test_rows_that_were_moved_to_another_incident_are_named(store: Store) -> None:
    incident_id, other = history(store), history(store, 2, "b")
    tamper(store, "update events set incident_id = :other, seq = 3 where incident_id = :id and seq = 5", id=incident_id,
           other=other)
    assert set(places(found(store))) == {(incident_id, 5), (other, 3)}


@pytest.mark.parametrize(("condition", "named"), [("seq = 3", 3), ("seq = 5", 5), ("seq = 1", 1), ("seq > 2", 3), ("seq > 0", 1)])
def test_rows_that_were_deleted_are_named(store: Store, condition: str, named: int) -> None:
    incident_id = history(store)
    tamper(store, f"delete from events where incident_id = :id and {condition}", id=incident_id)
    assert places(found(store)) == [(incident_id, named)]
    assert "deleted" in found(store)[0].text


def test_the_last_rows_are_missed_also_when_the_incident_was_told_to_forget_them(store: Store) -> None:
    incident_id = history(store)
    anchor(store)
    tamper(store, "delete from events where incident_id = :id and seq = 5", "update incidents set seq = 4 where id = :id",
           id=incident_id)
    assert places(found(store)) == [(incident_id, 5)]
    assert found(store)[0].text == "was deleted: anchor 1 knew it"


def test_a_whole_incident_that_was_deleted_is_missed(store: Store) -> None:
    incident_id = history(store)
    kept = history(store, 2, "b")
    anchor(store)
    tamper(store, "delete from events where incident_id = :id", "delete from incidents where id = :id", id=incident_id)
    assert places(found(store)) == [(incident_id, 5)]
    assert kept not in str(found(store))


@pytest.mark.parametrize("value", [None, "0" * 64])
@pytest.mark.parametrize("known", [5, 6])
def test_a_row_that_was_put_in_is_named(store: Store, value: str | None, known: int) -> None:
    incident_id = history(store)

    def forge(tx: Tx) -> None:
        tx.conn.execute(insert(events).values(
            incident_id=incident_id, seq=6, at=START, kind="acknowledged", actor_kind="person", actor_name="ayse",
            text="Acknowledged by ayse", data="{}", hash=value))
        tx.conn.execute(update(incidents).where(incidents.c.id == incident_id).values(seq=known))

    store.write_now(forge)
    assert set(places(found(store))) == {(incident_id, 6)}


def test_a_history_that_was_written_anew_with_right_hashes_is_not_the_anchored_one(store: Store) -> None:
    incident_id = history(store)
    anchor(store)
    tamper(store, "update events set text = 'nothing' where incident_id = :id and seq = 2", id=incident_id)
    chain(store, incident_id)
    assert places(found(store)) == [(incident_id, 5)]
    assert "anchor 1" in found(store)[0].text


@pytest.mark.parametrize(("statement", "word"), [
    ("update anchors set content = '{\"heads\":[],\"pruned\":[]}' where n = 2", "anchor 2 was changed"),
    ("update anchors set content = 'x' where n = 2", "anchor 2 was changed"),
    ("update anchors set content = '[]' where n = 2", "anchor 2 was changed"),
    ("update anchors set at = at + 1 where n = 2", "anchor 2 was changed"),
    ("update anchors set position = 0 where n = 2", "anchor 2 was changed"),
    ("update anchors set hash = 'x' where n = 2", "anchor 2 was changed"),
    ("delete from anchors where n = 2", "anchors 2 to 2 were deleted"),
    ("delete from anchors where n = 1", "anchors 1 to 1 were deleted"),
])
def test_an_anchor_that_was_touched_is_named(store: Store, statement: str, word: str) -> None:
    for minute in range(1, 4):
        history(store, 2, f"key{minute}")
        anchor(store, minute)
    tamper(store, statement)
    assert word in found(store)[0].text


def test_anchors_that_were_logged_are_found_again_or_missed(store: Store) -> None:
    history(store)
    made = anchor(store)
    assert made is not None
    assert found(store, witnessed={1: made.hash}) == []
    assert [one.text for one in found(store, witnessed={1: "0" * 64})] == ["anchor 1 is not the one that was logged"]
    tamper(store, "delete from anchors")
    assert found(store) == [], "whoever can remove all of them is seen by the log only"
    assert [one.text for one in found(store, witnessed={1: made.hash})] == ["anchor 1 was logged and is not there"]


def test_rows_from_before_the_chain_are_no_finding_and_new_ones_are_chained(store: Store) -> None:
    incident_id = history(store, 3)
    tamper(store, "update events set hash = null")
    store.write_now(lambda tx: event_store.append(tx, [event(incident_id, 4), event(incident_id, 5)]))
    tamper(store, "update incidents set seq = 5")
    assert found(store) == []
    assert anchor(store) is not None
    assert found(store) == []
    tamper(store, "update events set text = 'x' where seq = 4")
    assert places(found(store)) == [(incident_id, 4)]


def test_what_is_committed_late_is_in_the_next_anchor(store: Store) -> None:
    """On PostgreSQL an earlier position can be committed after a later one was anchored."""
    late = history(store, 2)
    store.write_now(lambda tx: tx.conn.execute(update(events).where(events.c.incident_id == late, events.c.seq == 2)
                                               .values(position=1_000)))
    first = anchor(store)
    assert first is not None
    history(store, 1, "b")
    tamper(store, "update events set position = 900 where position < 900 and incident_id <> :id", id=late)
    second = anchor(store, 2)
    assert second is not None
    assert len(json.loads(second.content)["heads"]) == 1
    assert anchor(store, 3) is None


async def test_what_is_forgotten_by_age_is_no_finding(world: World) -> None:
    await world.receive(firing(host="a"))
    await world.receive(resolved(host="a"))
    await world.receive(firing(alertname="Other", host="b"))
    await world.drain()
    anchor(world.store)
    world.clock.advance(days=100)
    assert await world.store.write(lambda tx: prune.prune(tx, world.rules, world.clock.now()))
    assert len(await world.incidents()) == 1
    assert found(world.store) == [], "until the next anchor a table says so"
    made = anchor(world.store, 2)
    assert made is not None
    assert len(json.loads(made.content)["pruned"]) == 1
    assert found(world.store) == []
    tamper(world.store, "delete from anchors where n = 2")
    assert [one.text for one in found(world.store)] == ["was deleted: anchor 1 knew it"]


async def test_a_story_with_people_is_chained_from_end_to_end(world: World) -> None:
    await world.receive(firing(host="a"))
    await world.drain()
    await world.say("ack 1")
    await world.receive(firing(host="b"), firing(alertname="Other"))
    await world.receive(resolved(host="a"), resolved(host="b"))
    await world.receive(firing(host="a"))
    assert found(world.store) == []
    rows = await world.store.read(lambda tx: [one for _, _, rows in record_store.histories(tx) for one in rows])
    assert len(rows) >= 5
    assert all(len(row.hash) == 64 for row in rows)


async def test_the_leader_anchors_every_minute_and_logs_it(store: Store, clock: FakeClock,
                                                           caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="alerthub.engine")
    history(store)
    rules: Callable[[], Rules] = rules_for
    leader, other = (Rounds(store, rules, dict, clock, Metrics(), owner, lambda: None) for owner in ("a", "b"))
    await leader.make_due()
    await other.make_due()
    history(store, 2, "b")
    await leader.make_due()
    clock.advance(seconds=61)
    await leader.make_due()
    told = [(record.anchor, record.hash) for record in caplog.records if getattr(record, "event", "") == "record.anchored"]
    made = list(reversed(store.read_now(lambda tx: record_store.last_anchors(tx, 9))))
    assert told == [(one.n, one.hash) for one in made]
    assert [one.n for one in made] == [1, 2]


@pytest.mark.slow
def test_ten_thousand_rows_are_checked_in_seconds(store: Store) -> None:
    def fill(tx: Tx) -> None:
        ids = add_incidents(tx, 1_000, seq=10)
        event_store.append(tx, [event(one, seq) for one in ids for seq in range(1, 11)])

    store.write_now(fill)
    anchor(store)
    began = timeit.default_timer()
    assert found(store) == []
    seconds = timeit.default_timer() - began
    print(f"10,000 rows on {'SQLite' if store.is_sqlite else 'PostgreSQL'}: {seconds:.2f} s")
    assert seconds < 30
