"""The only place that reads the clock, draws chance, or waits. Everyone else is given `now`, jitter and ids."""

from __future__ import annotations

import asyncio
import os
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The instant, aware, in UTC, to the microsecond."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""

    def random(self) -> float:
        """Uniform in [0, 1), for jitter; never for secrets."""

    def new_id(self) -> str:
        """A UUIDv7 (RFC 9562): sorts by creation time."""

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        return random.random()

    def new_id(self) -> str:
        return uuid7(time.time_ns() // 1_000_000, os.urandom(10))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SteeredClock:
    """Another clock's time, carried on by this machine's monotonic one between two looks at it. All replicas on one PostgreSQL
    so have one time, whatever their machines' clocks say (R-62). Before the first look it is this machine's own time."""

    def __init__(self, own: Clock) -> None:
        self.own = own
        self.known: tuple[datetime, float] | None = None

    def steer(self, moment: datetime, at: float) -> None:
        """It was `moment` when `monotonic()` said `at`."""
        self.known = moment, at

    def told(self, at: float) -> datetime | None:
        """What it is when `monotonic()` says `at`; None before the first look."""
        return None if self.known is None else self.known[0] + timedelta(seconds=at - self.known[1])

    def now(self) -> datetime:
        return self.told(self.own.monotonic()) or self.own.now()

    def monotonic(self) -> float:
        return self.own.monotonic()

    def random(self) -> float:
        return self.own.random()

    def new_id(self) -> str:
        return self.own.new_id()

    async def sleep(self, seconds: float) -> None:
        await self.own.sleep(seconds)


def uuid7(milliseconds: int, noise: bytes) -> str:
    """UUIDv7 from Unix milliseconds and ten random bytes."""
    digits = f"{milliseconds & 0xFFFFFFFFFFFF:012x}{noise[:10].hex()}"
    variant = "89ab"[noise[2] >> 4 & 0x3]
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
