"""An incident that has lived for long: what people look at is bounded, what is evidence is whole."""

from __future__ import annotations

from typing import Any

import pytest

from alerthub.domain.event import Actor, Event, EventKind
from alerthub.flow import evidence, report
from alerthub.flow.intake import take_in
from alerthub.store import details, reading
from alerthub.store import events as event_store
from alerthub.store.database import Store
from tests.kit.alerts import batch, firing
from tests.kit.clock import START
from tests.store.test_alerts import RULES


def lived(store: Store, number: int) -> dict[str, Any]:
    """An incident with so many events, as people look at it."""
    store.write_now(lambda tx: take_in(tx, RULES, [batch(firing("DiskFull"))], START))
    first = found(store)
    said = [Event(first["id"], seq, START, EventKind.comment, Actor("person", "ayse"), f"line {seq}")
            for seq in range(len(first["events"]) + 1, number + 1)]
    store.write_now(lambda tx: event_store.append(tx, said))
    return found(store)


def found(store: Store) -> dict[str, Any]:
    incident = store.read_now(lambda tx: reading.one_incident(tx, "1"))
    assert incident is not None
    return incident


@pytest.mark.parametrize(("number", "first", "left_out"), [(499, 1, 0), (500, 1, 0), (501, 2, 1), (1_203, 704, 703)])
def test_the_newest_of_a_long_history_are_shown_and_the_others_counted(store: Store, number: int, first: int,
                                                                       left_out: int) -> None:
    incident = lived(store, number)
    assert [one["seq"] for one in incident["events"]] == list(range(first, number + 1))
    assert incident["events_left_out"] == left_out


def test_what_is_left_out_is_read_from_the_beginning(store: Store) -> None:
    incident, seen, after = lived(store, 1_203), [], 0
    while after is not None:
        page = store.read_now(lambda tx, after=after: details.events_of(tx, incident["id"], 200, after))
        seen += page["items"]
        after = page["next"]
    assert [one["seq"] for one in seen] == list(range(1, 1_204))
    assert seen[incident["events_left_out"]:] == incident["events"]


def test_report_and_evidence_have_all_of_it(store: Store) -> None:
    incident = lived(store, 703)
    gathered = store.read_now(lambda tx: report.gathered(tx, incident))
    pack = store.read_now(lambda tx: evidence.pack(tx, "1", START))
    assert pack is not None
    assert [len(gathered["events"]), len(pack["record"]["events"]), pack["incident"]["seq"]] == [703] * 3
    shown = store.read_now(lambda tx: report.show(tx, RULES, "1", START))
    assert shown is not None
    assert "line 4" in shown.newest.text
