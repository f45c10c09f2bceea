"""How long a run may still take, whatever happens to the clock on the wall: people and NTP set it, also while an action runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerthub.actions.base import ActionSettings, Call
from alerthub.clock import Clock
from alerthub.domain.rules import Direction

TOO_LATE = "the deadline had passed before it could be asked"


@dataclass(frozen=True, slots=True)
class Deadline:
    """`ends` is counted from the start of the run by a clock that nobody sets. What does not tighten is over at `at` as well,
    whichever comes first: by the wall clock its lease ends, and others call it lost. A tighten has no `at`: a clock that is set
    neither stops nor pauses it, and to be told twice to be safe does no harm."""

    clock: Clock
    ends: float             # as clock.monotonic() counts
    at: datetime | None

    @classmethod
    def of(cls, call: Call, settings: ActionSettings, clock: Clock) -> Deadline:
        """Made once, when the run starts. Never later than its settings say: the clock may have been set since the call was
        made."""
        seconds = min(call.deadline - clock.now(), settings.deadline).total_seconds()
        tightens = settings.direction is Direction.tighten and not call.release
        return cls(clock, clock.monotonic() + seconds, None if tightens else call.deadline)

    def left(self) -> float:
        """Seconds, to the microsecond; 0 or less when it has passed."""
        rest = self.ends - self.clock.monotonic()
        return round(rest if self.at is None else min(rest, (self.at - self.clock.now()).total_seconds()), 6)

    def pause(self, asked: float | None, otherwise: float) -> float:
        """Seconds to wait before it is asked again: as the target wishes, except that no wish delays a tighten."""
        return otherwise if asked is None or self.at is None else asked

    def within(self, span: timedelta) -> Deadline:
        """The same, but at most so long from now."""
        return replace(self, ends=min(self.ends, self.clock.monotonic() + span.total_seconds()))
