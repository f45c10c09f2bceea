"""Silences in the database: which hold now, which are over, what a source has, what people are shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from alerthub.domain.alert import Alert
from alerthub.domain.incident import AlertState, Incident, content_of
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.message import IncidentStatus
from alerthub.domain.silence import Silence
from alerthub.store import alerts as alert_store
from alerthub.store import silences
from alerthub.store.database import Store
from alerthub.store.schema import silences as table
from alerthub.store.tx import Tx
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START
from tests.kit.rows import at_once, count, incident

HOUR, MOMENT = timedelta(hours=1), timedelta(microseconds=1)


def silence(tx: Tx, text: str = 'alertname="DiskFull"', hours: float = 1, **fields: Any) -> Silence:
    usual: dict[str, Any] = {"id": tx.new_id(), "number": 0, "starts_at": START, "ends_at": START + hours * HOUR,
                             "created_by": "ayse", "comment": "swap"}
    return Silence(matchers=parse_matchers(text), **{**usual, **fields})


def add(store: Store, text: str = 'alertname="DiskFull"', **fields: Any) -> Silence:
    return store.write_now(lambda tx: silences.add(tx, silence(tx, text, **fields), START))


def add_incident(store: Store, *alerts: Alert, **fields: Any) -> Incident:
    """A stored incident with these alerts."""

    def unit(tx: Tx) -> Incident:
        one = incident(tx, key=tx.new_id(), **fields)
        alert_store.save_incidents(tx, [one])
        alert_store.save_alerts(tx, [
            AlertState(one.source, alert.identity, one.id, alert.status, content_of(alert), START, None, START, START,
                       is_dirty=True) for alert in alerts], [])
        return one

    return store.write_now(unit)


def active(store: Store, now: datetime = START) -> list[int]:
    return [one.number for one in store.read_now(lambda tx: silences.active(tx, now))]


def test_what_is_stored_comes_back_with_a_number(store: Store) -> None:
    odd = 'alertname=~"Disk|\\"Ünî\\\\w+\\"",host!~"a b",agent="",my_label!="{x=\'1\'}"'
    made = add(store, odd, comment="why? 🔥")
    assert made.number == 1
    assert made.matchers == parse_matchers(odd)
    assert store.read_now(lambda tx: silences.active(tx, START)) == [made]
    assert store.write_now(lambda tx: silences.find(tx, 1)) == made
    assert store.write_now(lambda tx: silences.find(tx, 2)) is None
    assert add(store).number == 2


def test_only_the_hubs_own_that_hold_now_are_active(store: Store) -> None:
    made = add(store)
    add(store, starts_at=START + HOUR, hours=2)
    add(store, source="am", remote_id="r1")
    assert active(store) == active(store, START + HOUR - MOMENT) == [made.number]
    assert active(store, START - MOMENT) == []
    assert active(store, START + HOUR) == [2]


def test_one_that_is_over_is_taken_once(store: Store) -> None:
    made, later = add(store), add(store, hours=2)
    take = lambda now: store.write_now(lambda tx: [one.id for one in silences.take_due(tx, now)])  # noqa: E731
    assert take(START + HOUR - MOMENT) == []
    assert take(START + HOUR) == [made.id]
    assert take(START + HOUR) == []
    assert take(START + 9 * HOUR) == [later.id]


@pytest.mark.postgres
def test_two_replicas_take_one_that_is_over_once(postgres: str, clock: Any) -> None:
    stores = [Store(postgres, clock.new_id) for _ in range(2)]
    add(stores[0])
    took = at_once([lambda one=one: one.write_now(  # type: ignore[misc]
        lambda tx: len(silences.take_due(tx, START + HOUR))) for one in stores])
    assert sorted(took) == [0, 1]
    for one in stores:
        one.close()


def test_one_that_was_ended_holds_nothing_and_is_not_due(store: Store) -> None:
    made = add(store)
    store.write_now(lambda tx: silences.end_now(tx, made.id, START))
    assert active(store) == []
    assert store.write_now(lambda tx: silences.take_due(tx, START + 9 * HOUR)) == []
    assert store.read_now(lambda tx: silences.ends(tx, {made.id, "unknown"})) == {made.id: START}


# -- what they may hold

@pytest.mark.parametrize(("text", "is_found"), [
    ('alertname="DiskFull"', True), ('alertname="Else"', False), ('alertname=~"Disk.*"', True),
    ('host="50%_\\\\ \\"x\\""', True), ('host="50%_\\\\ \\"y\\""', False), ('alertname="DISKFULL"', False),
])
def test_candidates_hold_at_least_what_is_covered(store: Store, text: str, is_found: bool) -> None:
    labels = {"host": '50%_\\ "x"'}
    one = add_incident(store, firing(**labels), firing("Other"))
    made = add(store, text)
    found = store.read_now(lambda tx: silences.candidates(tx, made))
    shown = [labels for labels in found.get(one.id, []) if all(matcher.matches(labels) for matcher in made.matchers)]
    assert bool(shown) is is_found


def test_candidates_fire_in_open_incidents(store: Store) -> None:
    add_incident(store, firing("Closed", host="a"), status=IncidentStatus.resolved, resolved_at=START)
    still = add_incident(store, firing(host="b"), resolved(host="c"))
    made = add(store, 'host=~".+"')
    assert store.read_now(lambda tx: silences.candidates(tx, made)) == {still.id: [{"alertname": "DiskFull", "host": "b"}]}


def test_a_value_that_no_pattern_can_hold_is_looked_for_all_the_same(store: Store) -> None:
    long = "%" * 1_900
    one = add_incident(store, firing(host=long))
    made = add(store, f'host="{long}"')
    assert list(store.read_now(lambda tx: silences.candidates(tx, made))) == [one.id]


def test_what_is_held_is_found_while_it_is_open(store: Store) -> None:
    held = add_incident(store, firing(host="a"), silence_id="s1")
    add_incident(store, firing(host="b"), silence_id="s2")
    add_incident(store, firing(host="c"), silence_id="s1", status=IncidentStatus.resolved, resolved_at=START)
    assert store.read_now(lambda tx: silences.held_by(tx, ["s1"])) == [held.id]
    assert store.read_now(lambda tx: silences.held_by(tx, [])) == []


# -- what sources have

def test_how_far_a_source_has_it_is_kept_by_source(store: Store) -> None:
    made = add(store)

    def states() -> Any:
        (mirror,) = store.read_now(lambda tx: silences.mirrors(tx, set(), START))
        return mirror.states

    assert states() == {}
    store.write_now(lambda tx: silences.note_mirrored(tx, made.id, "a", "failed", detail="no answer"))
    store.write_now(lambda tx: silences.note_mirrored(tx, made.id, "b", "made", "r1"))
    assert states() == {"a": {"state": "failed", "remote_id": "", "detail": "no answer"},
                        "b": {"state": "made", "remote_id": "r1", "detail": ""}}
    store.write_now(lambda tx: silences.note_mirrored(tx, made.id, "b", "ended"))
    assert states()["b"] == {"state": "ended", "remote_id": "r1", "detail": ""}
    store.write_now(lambda tx: silences.note_mirrored(tx, "unknown", "b", "ended"))


def test_those_long_over_are_compared_only_when_a_source_names_them(store: Store) -> None:
    old, now = add(store), START + timedelta(days=3)
    fresh = add(store, hours=100)
    add(store, source="am", remote_id="r1", hours=100)

    def compared(marked: set[str]) -> list[str]:
        return [one.silence.id for one in store.read_now(lambda tx: silences.mirrors(tx, marked, now))]

    assert compared(set()) == [fresh.id]
    assert compared({old.id, "unknown", *(str(number) for number in range(1_000))}) == [old.id, fresh.id]


def test_what_a_source_has_is_one_row_for_one_remote_id(store: Store) -> None:
    made = add(store)

    def keep(*found: Silence) -> None:
        store.write_now(lambda tx: silences.keep_foreign(tx, found, START))

    first = replace(made, id="x1", source="am", remote_id="r1")
    keep(first, replace(first, id="x2", source="other"))
    keep(replace(first, id="x3", comment="longer", ends_at=START + 9 * HOUR))
    (shown,) = store.read_now(lambda tx: silences.of_source(tx, "am", START + 2 * HOUR))
    assert (shown.id, shown.comment, shown.remote_id) == ("x1", "longer", "r1")
    store.write_now(lambda tx: silences.end_foreign(tx, [shown], START + 2 * HOUR))
    assert store.read_now(lambda tx: silences.of_source(tx, "am", START + 2 * HOUR)) == []
    assert store.read_now(lambda tx: count(tx, table)) == 3
    assert active(store) == [made.number]


# -- for people

def test_pages_by_state_newest_first(store: Store) -> None:
    for _ in range(5):
        add(store)
    for _ in range(3):
        add(store, hours=9)
    now = START + 2 * HOUR

    def numbers(state: str, limit: int = 50, before: int | None = None) -> tuple[list[int], int | None]:
        page = store.read_now(lambda tx: silences.page(tx, state, now, limit, before))
        return [item["number"] for item in page["items"]], page["next"]

    assert numbers("active") == ([8, 7, 6], None)
    assert numbers("expired") == ([5, 4, 3, 2, 1], None)
    assert numbers("all", 3) == ([8, 7, 6], 6)
    assert numbers("all", 3, 6) == ([5, 4, 3], 3)
    assert numbers("all", 3, 3) == ([2, 1], None)


def test_what_people_are_shown_of_one(store: Store) -> None:
    made = add(store)
    shown = store.read_now(lambda tx: silences.view_of(tx, made.number, START))
    assert shown == {
        "number": 1, "id": made.id, "state": "active", "matchers": ['alertname="DiskFull"'], "starts_at": START.isoformat(),
        "ends_at": (START + HOUR).isoformat(), "created_by": "ayse", "comment": "swap", "created_at": START.isoformat(),
        "source": "", "remote_id": "", "mirrored": {}}
    for now, state in ((START - MOMENT, "pending"), (START + HOUR, "expired")):
        shown = store.read_now(lambda tx, now=now: silences.view_of(tx, made.number, now))  # type: ignore[misc]
        assert shown is not None
        assert shown["state"] == state
    assert store.read_now(lambda tx: silences.view_of(tx, 9, START)) is None


def test_old_ones_are_forgotten_but_none_that_is_due_or_holds(store: Store) -> None:
    over, holds, _lasts = add(store), add(store), add(store, hours=100)
    add_incident(store, firing(), silence_id=holds.id)
    later = START + 10 * HOUR
    forget = lambda limit: store.write_now(lambda tx: silences.forget(tx, later, limit))  # noqa: E731
    assert forget(10) == 0, "nobody has let go yet what they hold"
    store.write_now(lambda tx: silences.take_due(tx, later))
    assert (forget(10), forget(10)) == (1, 0)
    assert store.write_now(lambda tx: silences.find(tx, over.number)) is None
