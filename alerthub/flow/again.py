"""Trying again while the database cannot take what must be written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from alerthub.clock import Clock
from alerthub.errors import Busy

T = TypeVar("T")


async def while_busy(work: Callable[[], Awaitable[T]], waits: Sequence[float], clock: Clock) -> T:
    """Do it, after each of these seconds once more. Raises Busy when it is still so after the last."""
    for wait in waits:
        try:
            return await work()
        except Busy:
            await clock.sleep(wait)
    return await work()
