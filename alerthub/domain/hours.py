"""Whether the clock that all replicas take their time from has jumped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

NOTHING = timedelta(0)
JUMP = timedelta(seconds=5)     # less is drift: it is followed, and nothing else is moved


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the clock. `expected`: what this replica thought it was, by its monotonic clock; None at its first look.
    `explained`: jumps that others have seen since its last look. `last_seen`: what the last of all replicas to look saw.
    `error`: how far `expected` may be from the time at which the clock was read, because the answer took long."""

    moment: datetime
    expected: datetime | None
    explained: timedelta
    last_seen: datetime | None
    error: timedelta = NOTHING


def jump_of(look: Look) -> timedelta:
    """By how much it has jumped since anybody looked. Not when only this replica's machine stood still meanwhile: then others
    have seen it go on as ever. Nor when it had jumped before this replica's last look, and others have seen that since."""
    if look.expected is None:
        return NOTHING
    own = look.moment - look.expected
    off, least = own - look.explained, JUMP + look.error
    if abs(off) <= least:
        return NOTHING
    if off > NOTHING and look.last_seen is not None and look.moment - look.last_seen < off:
        return NOTHING
    if off < NOTHING and look.last_seen is not None and look.moment >= look.last_seen and abs(own) <= least:
        return NOTHING
    return off
