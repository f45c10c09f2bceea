"""Overrides as rows: kept, found by time, taken back, and imported twice with the effect of once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from alerthub.domain.schedule import Override
from alerthub.store import overrides
from alerthub.store.database import Store
from tests.kit.clock import START

HOUR = timedelta(hours=1)


def made(person: str = "ayse", start: float = 1, hours: float = 1, *, schedule: str = "primary", replaces: str = "",
         uid: str = "") -> Override:
    """It begins so many hours after START."""
    begin = START + start * HOUR
    return Override(schedule, person, begin, begin + hours * HOUR, replaces, uid=uid)


def kept(store: Store, *several: Override) -> list[Override]:
    return [store.write_now(lambda tx, one=one: overrides.add(tx, one, "api", START)) for one in several]


def found(store: Store, start: datetime = START, end: datetime | None = None, schedule: str = "primary") -> list[Override]:
    return store.read_now(lambda tx: overrides.covering(tx, schedule, start, end))


def imported(store: Store, items: Iterable[Override], *uids: str, now: datetime = START) -> tuple[int, int]:
    return store.write_now(lambda tx: overrides.replace_imported(tx, "primary", items, uids, "cli", now))


def people(store: Store) -> list[str]:
    return [override.person for override in found(store)]


def test_what_is_kept_is_what_was_made_with_a_number_and_a_maker(store: Store) -> None:
    (one,) = kept(store, replace(made("zeynep", replaces="ayse", uid="u@x"), starts_at=START + timedelta(microseconds=3)))
    assert (one.person, one.replaces, one.uid, one.created_by) == ("zeynep", "ayse", "u@x", "api")
    assert one.starts_at == START + timedelta(microseconds=3)
    assert one.starts_at.tzinfo is UTC
    assert one.id > 0
    assert found(store) == [one]


def test_those_that_touch_the_time_are_found_in_the_order_of_their_making(store: Store) -> None:
    kept(store, made("late", 5), made("before", -2, 2), made("over", -3, 20), made("early", 0), made("other", schedule="other"))
    assert people(store) == ["late", "over", "early"]
    assert [one.person for one in found(store, START, START + 5 * HOUR)] == ["over", "early"]
    assert [one.person for one in found(store, START + HOUR, START + 5 * HOUR + timedelta(microseconds=1))] == ["late", "over"]
    assert [one.person for one in found(store, schedule="other")] == ["other"]


def test_the_last_one_made_is_the_last_also_after_others_went(store: Store) -> None:
    one, two = kept(store, made("one"), made("two"))
    store.write_now(lambda tx: overrides.remove(tx, two.id))
    (three,) = kept(store, made("three"))
    assert three.id > one.id
    assert people(store) == ["one", "three"]


def test_one_is_taken_back_once(store: Store) -> None:
    one, _ = kept(store, made("one"), made("two"))
    assert store.write_now(lambda tx: overrides.remove(tx, one.id)) is True
    assert store.write_now(lambda tx: overrides.remove(tx, one.id)) is False
    assert people(store) == ["two"]


def test_an_import_twice_is_an_import_once(store: Store) -> None:
    items = [made("ayse", 1, uid="a"), made("ayse", 25, uid="a"), made("mehmet", 49, uid="b")]
    assert imported(store, items, "a", "b") == (3, 0)
    before = found(store)
    assert imported(store, items, "a", "b") == (0, 0)
    assert imported(store, [*items, *items], "a", "b") == (0, 0)
    assert found(store) == before


def test_what_has_moved_in_the_calendar_moves(store: Store) -> None:
    imported(store, [made("ayse", 1, uid="a"), made("ayse", 25, uid="a")], "a")
    assert imported(store, [made("ayse", 1, uid="a"), made("mehmet", 26, uid="a")], "a") == (1, 1)
    assert people(store) == ["ayse", "mehmet"]


def test_what_was_cancelled_in_the_calendar_goes(store: Store) -> None:
    imported(store, [made("ayse", uid="a"), made("mehmet", uid="b")], "a", "b")
    assert imported(store, [made("ayse", uid="a")], "a", "b") == (0, 1)
    assert people(store) == ["ayse"]


def test_an_import_leaves_alone_what_is_not_of_its_calendar(store: Store) -> None:
    kept(store, made("by hand"), made("elsewhere", uid="a", schedule="other"))
    imported(store, [made("of another file", uid="z")], "z")
    assert imported(store, [], "a", "") == (0, 0)
    assert people(store) == ["by hand", "of another file"]
    assert len(found(store, schedule="other")) == 1


def test_what_has_ended_is_history_and_stays(store: Store) -> None:
    imported(store, [made("ayse", -5, uid="a"), made("ayse", 5, uid="a")], "a", now=START - 9 * HOUR)
    assert imported(store, [], "a") == (0, 1)
    assert [one.starts_at for one in found(store, START - 9 * HOUR)] == [START - 5 * HOUR]


def test_an_import_of_many_is_one(store: Store) -> None:
    items = [made("ayse", hour, uid=f"u{hour}") for hour in range(1, 1200)]
    assert imported(store, items, *(item.uid for item in items)) == (1199, 0)
    assert imported(store, [], *(item.uid for item in items)) == (0, 1199)


def test_a_new_database_has_the_table(store: Store) -> None:
    assert store.read_now(overrides.is_ready)
