"""Waiting: for a nudge, and no longer than one may wait without it; and telling those who wait, if they still do."""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def woken(wake: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, after so many seconds at the latest."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass


def tell(waiting: asyncio.Future[T], result: T) -> None:
    if not waiting.done():
        waiting.set_result(result)


def fail(waiting: asyncio.Future[T], error: BaseException) -> None:
    if not waiting.done():
        waiting.set_exception(error)
