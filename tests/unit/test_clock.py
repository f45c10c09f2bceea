"""Ids and the two clocks: UUIDv7 by its RFC, and a system clock that is what the rest of the hub relies on."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.clock import SystemClock, uuid7
from tests.kit.clock import START, FakeClock

milliseconds = st.integers(0, 2**48 - 1)
noise = st.binary(min_size=10, max_size=10)


@settings(deadline=None)
@given(milliseconds, noise)
def test_an_id_is_a_uuid_of_version_7_and_the_rfc_variant(at: int, dice: bytes) -> None:
    """RFC 9562, 5.7."""
    found = uuid.UUID(uuid7(at, dice))
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == at
    assert str(found) == uuid7(at, dice)


@settings(deadline=None)
@given(milliseconds, noise, milliseconds, noise)
def test_ids_sort_by_time_as_text(at: int, dice: bytes, later: int, other: bytes) -> None:
    if at != later:
        assert (uuid7(at, dice) < uuid7(later, other)) is (at < later)


@settings(deadline=None)
@given(milliseconds, st.sets(noise, min_size=2, max_size=2))
def test_the_last_seven_bytes_of_noise_tell_ids_of_one_millisecond_apart(at: int, dice: set[bytes]) -> None:
    left, right = dice
    if left[3:] != right[3:]:
        assert uuid7(at, left) != uuid7(at, right)


def test_the_example_of_the_rfc() -> None:
    """RFC 9562, appendix A.6, at its instant."""
    assert uuid7(0x017F22E279B0, bytes(10)).startswith("017f22e2-79b0-7")


@pytest.mark.parametrize("at", [0, 2**48 - 1, 2**48, 2**60])
def test_a_time_out_of_range_still_gives_a_uuid(at: int) -> None:
    assert uuid.UUID(uuid7(at, b"\xff" * 10)).version == 7


def test_the_system_clock_is_aware_goes_on_and_draws_below_one() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.monotonic() <= clock.monotonic()
    assert all(0 <= clock.random() < 1 for _ in range(100))
    assert len({clock.new_id() for _ in range(1000)}) == 1000
    now, made = clock.now().timestamp() * 1000, uuid.UUID(clock.new_id()).int >> 80
    assert abs(made - now) < 60_000


@pytest.mark.anyio
async def test_the_fake_clock_waits_by_moving() -> None:
    clock = FakeClock()
    first = clock.new_id()
    await clock.sleep(90)
    assert (clock.now() - START, clock.monotonic()) == (timedelta(seconds=90), 90)
    assert first < clock.new_id()
