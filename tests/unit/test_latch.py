"""The latch, purely: in at once, out only with proof; each lack by name, at its limit; the history tells it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.latch import (
    BLIND_AFTER,
    Cause,
    Lack,
    Latch,
    LatchState,
    changed,
    lacking,
    minutes,
    replayed,
    tightened,
)
from alerthub.domain.rules import Release
from tests.kit.clock import START

NEVER = Latch("agent-btc")
LATCHED = tightened(NEVER, "safe-mode", "one", START)
RELEASE = Release(clear_for=timedelta(minutes=10))
SECOND = timedelta(seconds=1)
OVER = Cause("one", 17, "alertmanager", "safe-mode", is_open=False, clear_since=START, looked_at=START + RELEASE.clear_for)


def test_the_first_tighten_latches() -> None:
    assert (LATCHED.state, LATCHED.seq, LATCHED.generation) == (LatchState.safe, 1, 1)
    assert (LATCHED.action, LATCHED.incident_id, LATCHED.since) == ("safe-mode", "one", START)


def test_to_repeat_it_is_nothing() -> None:
    assert tightened(LATCHED, "other", "two", START + SECOND) is LATCHED


@pytest.mark.parametrize(("state", "generation"), [
    (LatchState.armed, 2), (LatchState.release_requested, 1), (LatchState.releasing, 2), (LatchState.released, 2),
])
def test_a_tighten_wins_in_every_state_and_the_target_is_told_again_where_it_may_act(state: LatchState, generation: int) -> None:
    before = changed(LATCHED, state, START, asked_by="ayse", why="done", due_at=START, verified_at=START)
    after = tightened(before, "other", "two", START + SECOND)
    assert (after.state, after.seq, after.generation) == (LatchState.safe, before.seq + 1, generation)
    is_told = state is LatchState.release_requested       # it has been safe all the time, and has said so
    assert (after.asked_by, after.why, after.due_at, after.verified_at) == ("", "", None, START if is_told else None)
    assert (after.action, after.incident_id) == ("other", "two")


@pytest.mark.parametrize("state", list(LatchState))
def test_only_a_confirmed_release_is_not_safe(state: LatchState) -> None:
    assert state.is_safe is (state not in (LatchState.armed, LatchState.released))


def test_people_vote_on_one_request_and_not_on_the_next() -> None:
    first = changed(LATCHED, LatchState.release_requested, START)
    again = changed(changed(first, LatchState.safe, START), LatchState.release_requested, START)
    assert first.subject != again.subject


LACKS = [
    (OVER, None),
    (replace(OVER, is_open=True), Lack.still_fires),
    (replace(OVER, can_be_asked=False), Lack.cannot_be_asked),
    (replace(OVER, clear_since=None), Lack.not_looked),
    (replace(OVER, looked_at=None), Lack.not_looked),
    (replace(OVER, clear_since=START + SECOND), Lack.not_long_enough),
    (replace(OVER, clear_since=START - SECOND), None),
    (replace(OVER, is_open=True, can_be_asked=False, clear_since=None), Lack.still_fires),
]


@pytest.mark.parametrize(("cause", "lack"), LACKS)
def test_each_lack_has_a_name(cause: Cause, lack: Lack | None) -> None:
    refusal = lacking([cause], RELEASE, START + RELEASE.clear_for)
    assert (refusal.lack if refusal else None) is lack
    assert refusal is None or "#17" in refusal.text


@pytest.mark.parametrize(("after", "lack"), [(-SECOND, None), (timedelta(0), None), (SECOND, Lack.blind)])
def test_an_old_look_is_no_proof(after: timedelta, lack: Lack | None) -> None:
    refusal = lacking([OVER], RELEASE, START + RELEASE.clear_for + BLIND_AFTER + after)
    assert (refusal.lack if refusal else None) is lack


def test_time_in_which_nobody_looked_does_not_count() -> None:
    """Nine minutes were seen to be clear, and one more has passed since."""
    seen = replace(OVER, looked_at=START + timedelta(minutes=9))
    refusal = lacking([seen], RELEASE, START + timedelta(minutes=11))
    assert refusal is not None
    assert refusal.text == "#17 has been clear for 9 min of 10 min"


def test_every_cause_must_be_over_and_the_first_one_is_named() -> None:
    refusal = lacking([replace(OVER, number=19, is_open=True), OVER, replace(OVER, number=18, is_open=True)], RELEASE,
                      START + RELEASE.clear_for)
    assert refusal is not None
    assert refusal.text.startswith("#18")
    assert lacking([], RELEASE, START) is None


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min")])
def test_a_span_is_told_in_few_words(seconds: float, text: str) -> None:
    assert minutes(timedelta(seconds=seconds)) == text


def test_the_history_tells_the_latches_again_in_any_order() -> None:
    requested = changed(LATCHED, LatchState.release_requested, START)
    other = tightened(Latch("agent-eth"), "safe-mode", "two", START)
    told = [Event("one", n, START, EventKind.latch, Actor("hub", "latch"), "", latch.data())
            for n, latch in enumerate([requested, LATCHED, other])]
    told.append(Event("one", 9, START, EventKind.comment, Actor("person", "ayse"), "", {}))
    found = replayed(told)
    assert {name: (one.state, one.seq, one.generation) for name, one in found.items()} == {
        "agent-btc": (LatchState.release_requested, 2, 1), "agent-eth": (LatchState.safe, 1, 1)}
