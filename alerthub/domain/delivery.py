"""When a lane is told again, and when the hub gives up. Pure; the clock and the dice come in as arguments."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from alerthub.domain.message import Receipt
from alerthub.domain.rules import Destination
from alerthub.errors import Failure, SendFailed

BASE = timedelta(seconds=1)
CAP = timedelta(minutes=5)
CONTENT_TRIES = 2           # once rich, once plain (PROTOCOLS 7.4)
FEWEST_TRIES = 2
BREATH = timedelta(seconds=5)
BUG_TRIES = 5               # an unknown exception is retried, but one poison row must never stay for ever
UNLIMITED = 1_000_000
EDITED = "only edited"      # the detail of a delivery that interrupted nobody
LEASE = timedelta(seconds=30)   # an attempt is cut off at 15 s, so a lease never ends under a living sender


class DeliveryState(StrEnum):
    sending = "sending"
    sent = "sent"
    failed = "failed"
    unknown = "unknown"      # the sender died, or the answer was lost: it may have been delivered


@dataclass(slots=True)
class Lane:
    """One incident × one destination. Due when `want_seq` > `told_seq`, or when a repeat is. `attempt` is the fence: a
    result counts only for the attempt it belongs to. A lease that is set and over means that its holder died."""

    id: int
    incident_id: str
    destination: str
    channel: str
    told_seq: int
    want_seq: int
    told_episode: int
    repeats: int
    attempt: int
    failures: int
    failing_since: datetime | None
    is_degraded: bool
    is_dead: bool
    receipt: Receipt | None
    due_at: datetime | None = None
    was_leased: bool = False
    is_in_doubt: bool = False       # an attempt's answer was lost, and no later one succeeded

    @property
    def may_double(self) -> bool:
        """What is told next may have been told already."""
        return self.was_leased or self.is_in_doubt

    @property
    def is_first(self) -> bool:
        return self.told_seq == 0

    def delivery_id(self, up_to: int, at: datetime, *, repeat: bool = False) -> str:
        """The same over all attempts to tell the same thing, another one for every repeat: what receivers deduplicate by. `at`:
        when `up_to` happened; after a failover something else may happen by that number, and must not be dropped."""
        told = f"{self.incident_id}/{self.destination}/{up_to}/{at.isoformat()}/{self.repeats + repeat}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]


class Next(StrEnum):
    """What becomes of a lane after a failed attempt."""

    retry = "retry"
    degrade = "degrade"          # once more as minimal plain text
    repost = "repost"            # forget the live message, post a new one
    move = "move"                # the address changed
    dead = "dead"                # a dead letter: alarm through another channel


@dataclass(frozen=True, slots=True)
class Verdict:
    next: Next
    due_at: datetime | None
    pause_destination_until: datetime | None = None


def backoff(failures: int, dice: float) -> timedelta:
    """Full jitter: uniform up to 1 s, 2 s, 4 s … capped at 5 min (PROTOCOLS 7.4). Never less than a tenth of that."""
    ceiling = min(CAP, BASE * 2 ** min(failures - 1, 20)) if failures > 0 else BASE
    return ceiling * max(0.1, dice)


def after_failure(lane: Lane, error: SendFailed, now: datetime, dice: float, give_up: timedelta) -> Verdict:
    """Decide for a lane whose `failures` already counts this one. Gives up by age, never by a count of three; only what
    cannot get better by waiting is given up at once."""
    reason = error.reason
    if reason is Failure.content:
        return Verdict(Next.dead, None) if lane.is_degraded else Verdict(Next.degrade, now)
    if reason is Failure.configuration:
        return Verdict(Next.dead, None)
    if reason is Failure.stale_handle and lane.receipt is not None:
        return Verdict(Next.repost, now)
    if reason is Failure.moved and error.moved_to and lane.failures <= CONTENT_TRIES:
        return Verdict(Next.move, now)
    if reason is Failure.bug and lane.failures >= BUG_TRIES:
        return Verdict(Next.dead, None)
    # Age alone could be a clock that jumped.
    if lane.failing_since is not None and now - lane.failing_since >= give_up and lane.failures >= FEWEST_TRIES:
        return Verdict(Next.dead, None)
    wait = backoff(lane.failures, dice)
    if error.after is not None:
        wait = max(timedelta(seconds=error.after), BASE * 0.1)
    pause = now + wait if reason is Failure.rate_limited else None
    if reason in (Failure.unavailable, Failure.timeout):    # its other lanes would fare no better just now
        pause = now + min(wait, BREATH)
    return Verdict(Next.retry, now + wait, pause)


def is_wanted(destination: Destination, lane: Lane, *, is_open: bool) -> bool:
    """Whether a resolved incident is told here: not where `send_resolved` is off, and not to a provider that never heard of
    it and would be puzzled by its end (PagerDuty). After any attempt it may have heard, whatever became of the answer."""
    if is_open:
        return True
    if not destination.send_resolved:
        return False
    return destination.tells_untold_resolved or lane.attempt > 0


def tokens(free_at: datetime, every: timedelta, burst: int, now: datetime) -> int:
    """How many messages the budget allows now: a bucket of `burst`, refilled by one per `every`. `free_at` is when the
    first of them is (was) free."""
    if now < free_at:
        return 0
    if every <= timedelta(0):
        return UNLIMITED
    return min(burst, 1 + int((now - free_at) / every))


def spend(free_at: datetime, every: timedelta, burst: int, now: datetime, count: int) -> datetime:
    """The new `free_at` after `count` messages."""
    return max(free_at, now - every * (burst - 1)) + every * count
