"""The latch of a target: armed → safe → release requested → releasing → released, which is armed again. Pure.

In at once and free; out only with proof that what latched it is over, and with people. Whatever is in doubt stays safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from alerthub.domain.event import Event
from alerthub.domain.incident import OWN_SOURCE
from alerthub.domain.rules import Release

BLIND_AFTER = timedelta(minutes=5)      # without a look at the source, what it said is no proof any more


class LatchState(StrEnum):
    armed = "armed"                             # never latched
    safe = "safe"
    release_requested = "release_requested"     # proved and asked for; people have not agreed yet
    releasing = "releasing"                     # agreed; the target is being told and has not confirmed yet
    released = "released"

    @property
    def is_safe(self) -> bool:
        """Whether the target must be safe: until its release is confirmed."""
        return self not in (LatchState.armed, LatchState.released)


@dataclass(frozen=True, slots=True)
class Latch:
    """`seq` counts the changes of state, `generation` how often it was latched anew. `incident_id` is where its story is told:
    the incident that latched it last. `asked_by` asks for the release, or overrode. `due_at`: when the request is over; while
    it is safe, when it is looked at whether it must be told so once more."""

    target: str
    state: LatchState = LatchState.armed
    seq: int = 0
    generation: int = 0
    since: datetime | None = None
    action: str = ""
    incident_id: str = ""
    asked_by: str = ""
    why: str = ""
    due_at: datetime | None = None
    verified_at: datetime | None = None

    @property
    def subject(self) -> str:
        """What people vote on: this very request, not the next one."""
        return f"latch:{self.target}:{self.seq}"

    def data(self) -> dict[str, Any]:
        """What the history keeps of a change; `replayed` reads it."""
        return {"latch": self.target, "state": self.state.value, "latch_seq": self.seq, "generation": self.generation}


def tightened(latch: Latch, action: str, incident_id: str, now: datetime) -> Latch:
    """A tighten came. The same latch when it is safe already: to repeat it is nothing. While a release is on its way to the
    target, or was confirmed, it is a new generation: the target must be told again."""
    if latch.state is LatchState.safe:
        return latch
    is_anew = latch.state is not LatchState.release_requested
    verified_at = None if is_anew else latch.verified_at
    return replace(latch, state=LatchState.safe, seq=latch.seq + 1, generation=latch.generation + is_anew, since=now,
                   action=action, incident_id=incident_id, asked_by="", why="", verified_at=verified_at,
                   due_at=now if not is_anew and verified_at is None else None)


def changed(latch: Latch, state: LatchState, now: datetime, **fields: Any) -> Latch:
    return replace(latch, **{"state": state, "seq": latch.seq + 1, "since": now, "due_at": None, **fields})


class Lack(StrEnum):
    """Why a release is refused. Also the metric label."""

    not_latched = "not_latched"
    still_fires = "still_fires"
    not_looked = "not_looked"            # the source's own list has not been seen since
    not_long_enough = "not_long_enough"
    cannot_be_asked = "cannot_be_asked"  # a source without `reconcile` proves nothing
    blind = "blind"                      # the last look is too old
    already_requested = "already_requested"
    not_requested = "not_requested"


@dataclass(frozen=True, slots=True)
class Cause:
    """One incident that latched the target since it was last armed. `clear_since`: since when the source's own list shows none
    of its alerts, or its heartbeat comes again; `looked_at`: when that was last seen. `witness`: who must say that it is over. A
    cause whose incident is not kept any more (`number` 0) is never proved to be over."""

    incident_id: str
    number: int
    source: str
    action: str
    is_open: bool
    clear_since: datetime | None
    looked_at: datetime | None
    can_be_asked: bool = True
    witness: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    lack: Lack
    text: str


def lacking(causes: Iterable[Cause], release: Release, now: datetime) -> Refusal | None:
    """What is missing in the proof that all that latched it is over; None when it is proved."""
    for cause in sorted(causes, key=lambda cause: cause.number):
        name, witness = f"#{cause.number}", cause.witness or cause.source
        if not cause.number:
            return Refusal(Lack.cannot_be_asked, "an incident that latched it is not kept any more, so that nothing can "
                                                 "prove that it is over")
        if cause.is_open:
            return Refusal(Lack.still_fires, f"{name}, which latched it, is still open")
        if not cause.can_be_asked:
            return Refusal(Lack.cannot_be_asked, f"{witness} cannot be asked whether {name} is over ({unasked(cause)})")
        if cause.clear_since is None or cause.looked_at is None:
            return Refusal(Lack.not_looked, f"{witness} has not yet confirmed that {name} is over")
        if now - cause.looked_at > BLIND_AFTER:
            return Refusal(Lack.blind, f"{witness} has not been asked for {minutes(now - cause.looked_at)}")
        if cause.looked_at - now > BLIND_AFTER:
            return Refusal(Lack.blind, f"{witness} has not been asked since the clock was set back")
        clear = cause.looked_at - cause.clear_since
        if clear < release.clear_for:
            return Refusal(Lack.not_long_enough, f"{name} has been clear for {minutes(clear)} of {minutes(release.clear_for)}")
    return None


def unasked(cause: Cause) -> str:
    return "no reconcile" if cause.source != OWN_SOURCE else "it is not in the configuration any more"


def minutes(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"


def replayed(events: Iterable[Event]) -> Mapping[str, Latch]:
    """The latches as the history tells them: target, state, seq and generation are what was lived through."""
    found: dict[str, Latch] = {}
    for event in events:
        data = event.data
        if "latch" in data and data["latch_seq"] > (known.seq if (known := found.get(data["latch"])) else 0):
            found[data["latch"]] = Latch(data["latch"], LatchState(data["state"]), data["latch_seq"], data["generation"],
                                         event.at, incident_id=event.incident_id)
    return found
