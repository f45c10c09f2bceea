"""The deadline of a run, while the clock on the wall is set back or forward."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alerthub.actions.base import ActionSettings
from alerthub.actions.deadline import Deadline
from tests.actions.contract import call
from tests.kit.clock import FakeClock
from tests.kit.messages import NOW


def made(direction: str = "neutral", deadline: str = "30s", **overrides: Any) -> tuple[FakeClock, Deadline]:
    clock = FakeClock(NOW)
    settings = ActionSettings.model_validate(
        {"name": "a", "type": "http", "target": "t", "direction": direction, "deadline": deadline})
    return clock, Deadline.of(call(**overrides), settings, clock)


@pytest.mark.parametrize("direction", ["neutral", "tighten"])
def test_it_passes_with_the_time(direction: str) -> None:
    clock, end = made(direction)
    assert end.left() == 30
    for _ in range(299):
        clock.advance(seconds=0.1)
    assert end.left() == 0.1
    clock.advance(seconds=0.1)
    assert end.left() == 0, "to the microsecond: no last request in what floats leave over"


@pytest.mark.parametrize("direction", ["neutral", "tighten"])
def test_a_clock_that_is_set_back_prolongs_nothing(direction: str) -> None:
    clock, end = made(direction)
    clock.advance(seconds=20)
    clock.moment -= timedelta(hours=1)
    assert end.left() == 10


@pytest.mark.parametrize(("direction", "release", "left"), [
    ("neutral", "", -3590), ("tighten", "", 10), ("tighten", "armed", -3590)], ids=["neutral", "tighten", "release"])
def test_a_clock_that_is_set_forward_cuts_no_tighten_short(direction: str, release: str, left: float) -> None:
    clock, end = made(direction, release=release)
    clock.advance(seconds=20)
    clock.moment += timedelta(hours=1)
    assert end.left() == left


def test_it_is_never_later_than_the_action_may_take() -> None:
    _, end = made(deadline="20s")
    assert end.left() == 20


def test_a_part_of_it_is_never_longer_than_the_whole() -> None:
    clock, end = made()
    assert end.within(timedelta(seconds=10)).left() == 10
    clock.advance(seconds=25)
    assert end.within(timedelta(seconds=10)).left() == 5
    clock.moment += timedelta(seconds=5)
    assert end.within(timedelta(seconds=10)).left() == 0


@pytest.mark.parametrize(("direction", "asked", "pause"), [
    ("neutral", 7.0, 7.0), ("neutral", None, 0.2), ("tighten", 7.0, 0.2), ("tighten", 3600.0, 0.2), ("tighten", None, 0.2)])
def test_what_a_target_asks_for_delays_no_tighten(direction: str, asked: float | None, pause: float) -> None:
    assert made(direction)[1].pause(asked, 0.2) == pause
