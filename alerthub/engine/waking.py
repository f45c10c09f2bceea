"""Waiting for a nudge, and no longer than one may wait without it."""

from __future__ import annotations

import asyncio


async def woken(wake: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, after so many seconds at the latest."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass
