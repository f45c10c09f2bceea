"""Who was heard, in the database: a click is taken once and a code is used once, however many replicas are asked at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerthub.domain.command import Answer, Outcome
from alerthub.store import people
from alerthub.store.database import Store
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.rows import at_once

SHORTLY = timedelta(seconds=3)
MOMENT = timedelta(microseconds=1)


def pressed(store: Store, after: timedelta = timedelta(0), key: str = "click") -> bool:
    return store.write_now(lambda tx: people.pressed_lately(tx, key, START + after, SHORTLY))


def test_what_was_pressed_is_pressed_lately_until_its_time_is_over(store: Store) -> None:
    assert [pressed(store), pressed(store, key="another")] == [False, False]
    assert [pressed(store, after) for after in (timedelta(0), SHORTLY - MOMENT, SHORTLY)] == [True, True, False]


def test_what_was_pressed_by_a_clock_that_jumped_back_since_does_not_count(store: Store) -> None:
    assert pressed(store, timedelta(hours=1)) is False
    assert [pressed(store), pressed(store)] == [False, True]


def test_what_was_pressed_at_a_replica_whose_clock_is_a_little_ahead_counts(store: Store) -> None:
    assert pressed(store, timedelta(minutes=4)) is False
    assert pressed(store) is True


@pytest.mark.parametrize(("key", "answer"), [("click", None), ("pagerduty:0123", Answer(Outcome.held, "1 alert still fires"))])
def test_only_a_webhook_is_known_again_when_its_answer_was_held(store: Store, key: str, answer: Answer | None) -> None:
    def held(tx: Tx) -> None:
        assert people.first_heard(tx, key, START) is None
        people.answered(tx, key, Answer(Outcome.held, "1 alert still fires"))

    store.write_now(held)
    assert store.write_now(lambda tx: people.first_heard(tx, key, START)) == answer


def test_what_was_pressed_and_refused_may_be_pressed_again(store: Store) -> None:
    assert pressed(store) is False
    store.write_now(lambda tx: people.answered(tx, "click", Answer(Outcome.refused, "no")))
    assert pressed(store) is False


def test_a_code_is_used_up_also_when_it_is_too_old(store: Store) -> None:
    codes = [store.write_now(lambda tx, name=name: people.new_code(tx, name, START + SHORTLY)) for name in ("ayse", "mehmet")]
    used = [store.write_now(lambda tx, code=code, after=after: people.use_code(tx, code, START + after))
            for code, after in ((codes[0], SHORTLY - MOMENT), (codes[0], MOMENT), (codes[1], SHORTLY), (codes[1], MOMENT))]
    assert used == ["ayse", "", "", ""]


@pytest.mark.postgres
def test_of_replicas_that_are_pressed_at_once_one_is_the_first(replicas: list[Store]) -> None:
    for number in range(20):
        lately = at_once([lambda store=store, key=f"click-{number}": pressed(store, key=key) for store in replicas])
        assert sorted(lately) == [False, True, True]


@pytest.mark.postgres
def test_of_replicas_that_are_given_a_code_at_once_one_takes_it(replicas: list[Store]) -> None:
    for _ in range(20):
        code = replicas[0].write_now(lambda tx: people.new_code(tx, "ayse", START + SHORTLY))
        found = at_once([lambda store=store, code=code: store.write_now(lambda tx: people.use_code(tx, code, START))
                         for store in replicas])
        assert sorted(found) == ["", "", "ayse"]
