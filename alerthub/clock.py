"""The only place that reads the clock, draws chance, or waits. Everyone else is given `now`, jitter and ids."""

from __future__ import annotations

import asyncio
import os
import random
import time
from datetime import UTC, datetime
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


def uuid7(milliseconds: int, noise: bytes) -> str:
    """UUIDv7 from Unix milliseconds and ten random bytes."""
    digits = f"{milliseconds & 0xFFFFFFFFFFFF:012x}{noise[:10].hex()}"
    variant = "89ab"[noise[2] >> 4 & 0x3]
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
