"""Events: what a telling is called when several of them are told at once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.domain.event import ORDER, WHY, Actor, Event, EventKind, why_of
from alerthub.domain.message import Why
from tests.kit.clock import START

K = EventKind


def events(*kinds: EventKind) -> tuple[Event, ...]:
    return tuple(Event("i", number, START, kind, Actor("source", "am"), "text") for number, kind in enumerate(kinds, 1))


CASES = [
    # one event; a destination that knows the incident
    ((K.opened,), False, Why.opened), ((K.reopened,), False, Why.reopened), ((K.changed,), False, Why.changed),
    ((K.resolved,), False, Why.resolved), ((K.stale,), False, Why.stale), ((K.refreshed,), False, Why.changed),
    ((K.silenced,), False, Why.changed), ((K.action,), False, Why.action),
    # nothing new: only the repeat interval has passed
    ((), False, Why.repeat), ((), True, Why.repeat),
    # several: the most important names them
    ((K.opened, K.changed, K.action), False, Why.opened),
    ((K.changed, K.action), False, Why.action),
    ((K.stale, K.changed), False, Why.stale),
    ((K.resolved, K.reopened), False, Why.resolved),
    ((K.silenced, K.refreshed, K.changed), False, Why.changed),
    # a destination that hears of it for the first time: it opens there, whatever happened meanwhile …
    ((K.changed,), True, Why.opened), ((K.action,), True, Why.opened), ((K.opened, K.stale), True, Why.opened),
    ((K.reopened,), True, Why.opened),
    # … unless it is over
    ((K.opened, K.resolved), True, Why.resolved), ((K.resolved,), True, Why.resolved),
]


@pytest.mark.parametrize(("kinds", "first", "why"), CASES)
def test_why_a_destination_is_told(kinds: tuple[EventKind, ...], first: bool, why: Why) -> None:
    assert why_of(events(*kinds), first=first) is why


@settings(deadline=None)
@given(st.lists(st.sampled_from(EventKind)), st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_what_happened_does_not_change_why(kinds: list[EventKind], first: bool, dice: object) -> None:
    shuffled = list(kinds)
    dice.shuffle(shuffled)
    assert why_of(events(*kinds), first=first) is why_of(events(*shuffled), first=first)


@settings(deadline=None)
@given(st.lists(st.sampled_from(EventKind), min_size=1), st.booleans())
def test_news_is_never_called_a_repeat(kinds: list[EventKind], first: bool) -> None:
    assert why_of(events(*kinds), first=first) is not Why.repeat


def test_every_kind_has_a_rank_and_a_word() -> None:
    assert sorted(ORDER) == sorted(EventKind)
    assert set(WHY) == set(EventKind)
