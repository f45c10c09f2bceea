"""A clock that stands still until the test moves it. Waiting takes no time: it moves the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from alerthub.clock import uuid7

START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


class FakeClock:
    def __init__(self, now: datetime = START) -> None:
        self.moment = now
        self.elapsed = 0.0
        self.dice = 0.5
        self.ids = 0

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.elapsed

    def random(self) -> float:
        return self.dice

    def new_id(self) -> str:
        self.ids += 1
        return uuid7(int(self.moment.timestamp() * 1000), self.ids.to_bytes(10, "big"))

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds=seconds)

    def advance(self, **span: float) -> datetime:
        step = timedelta(**span)
        self.moment += step
        self.elapsed += step.total_seconds()
        return self.moment
