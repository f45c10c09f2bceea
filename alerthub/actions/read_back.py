"""Set one value at a target that can be asked what it is: read it, set it, and clear up every doubt by reading it again.

Only for values that mean the same when they are set twice (PROTOCOLS 7.3). What is read and how it is set, the action says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from alerthub.actions.deadline import TOO_LATE, Deadline
from alerthub.actions.exchange import Answer, backoff
from alerthub.clock import Clock
from alerthub.errors import ActionFailed, ActionUnknown

ONE_REQUEST = 10.0                      # seconds of one request; a silent target must leave time to read it back
TIME_TO_LOOK = 1.0                      # seconds; later than this before the end, nothing is tried that may leave a doubt
ASK_FOR = timedelta(seconds=30)         # what cannot be begun by then is told; the rest of the deadline is for the effect
CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Found:
    """What the target says that the value is; `version` proves to it that nobody changed it since, where it knows such."""

    value: Any
    version: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)


class Setting(Protocol):
    """One value of one target, and what it shall be."""

    @property
    def wanted(self) -> Any: ...

    async def look(self, until: Deadline) -> Found:
        """Raises ActionFailed when it cannot be known."""

    async def send(self, found: Found, seconds: float) -> Answer:
        """Set it, with one request. Raises as `Exchange.ask`."""

    def meaning(self, answer: Answer) -> str:
        """What a refusal means, in words for people."""


def is_passing(status: int) -> bool:
    """Asking again may help."""
    return status in (408, 425, 429) or status >= 500


async def persist(ask: Callable[[float], Awaitable[Answer]], clock: Clock, until: Deadline) -> Answer:
    """Repeat a request that changes nothing until it has a final answer. Raises ActionFailed when `until` comes first."""
    attempts, obstacle = 0, TOO_LATE
    while (rest := until.left()) > 0:
        attempts += 1
        pause = backoff(attempts, clock.random())
        try:
            answer = await ask(min(ONE_REQUEST, rest))
        except (ActionFailed, ActionUnknown) as error:
            obstacle = error.detail
        else:
            if not is_passing(answer.status):
                return answer
            obstacle, pause = f"it answered {answer.status}", until.pause(answer.pause(clock.now()), pause)
        if pause >= until.left():
            break
        await clock.sleep(pause)
    raise ActionFailed(f"not done, {attempts} attempts: {obstacle}" if attempts else f"not done: {obstacle}")


@dataclass(slots=True)
class Attempts:
    """How setting it went so far."""

    sent: int = 0
    conflicts: int = 0
    may_have_worked: bool = False       # an answer was lost, or was a server's confusion
    is_stale: bool = False              # what was read is no longer so
    obstacle: str = TOO_LATE
    pause: float = 0.0


async def set_value(setting: Setting, found: Found, clock: Clock, until: Deadline, deadline: Deadline, seen: Attempts) -> None:
    """Set it, beginning before `until`; returns when it was taken, or when a look shows that it is so.

    Raises ActionFailed when it certainly is not, and ActionUnknown when it may be and nobody can tell."""
    before = found.value
    while until.left() > 0:
        if await is_taken(setting, found, clock, until, seen):
            return
        if seen.may_have_worked or seen.is_stale:
            found = await look_again(setting, seen, deadline)
            if seen.may_have_worked and found.value == setting.wanted:
                return
            if found.value != before:
                raise changed_by_another(seen, found)
        if max(seen.pause, TIME_TO_LOOK if seen.may_have_worked else 0.0) >= until.left():
            break
        await clock.sleep(seen.pause)
    raise ActionFailed(f"not done, {seen.sent} attempts: {seen.obstacle}")


async def is_taken(setting: Setting, found: Found, clock: Clock, until: Deadline, seen: Attempts) -> bool:
    """One attempt. Raises ActionFailed for a refusal that stays one."""
    seen.sent, seen.is_stale = seen.sent + 1, False
    seen.pause = backoff(seen.sent, clock.random())
    try:
        answer = await setting.send(found, min(ONE_REQUEST, until.left() / 2))
    except ActionFailed as error:
        seen.obstacle = error.detail
        return False
    except ActionUnknown as error:
        seen.obstacle, seen.may_have_worked = error.detail, True
        return False
    if 200 <= answer.status < 300:
        return True
    seen.obstacle = setting.meaning(answer)
    seen.is_stale = answer.status == CONFLICT
    seen.conflicts += seen.is_stale
    if seen.conflicts > 1 or not (seen.is_stale or is_passing(answer.status)):
        raise ActionFailed(f"not done: {seen.obstacle}")
    seen.may_have_worked |= answer.status >= 500
    seen.pause = 0.0 if seen.is_stale else until.pause(answer.pause(clock.now()), seen.pause)
    return False


async def look_again(setting: Setting, seen: Attempts, deadline: Deadline) -> Found:
    try:
        return await setting.look(deadline)
    except ActionFailed as error:
        if not seen.may_have_worked:
            raise
        raise ActionUnknown(f"{seen.obstacle}; it may be done, and it cannot be read back ({error.detail})") from None


def changed_by_another(seen: Attempts, found: Found) -> ActionFailed | ActionUnknown:
    text = f"somebody else changes it at the same time; it is {found.value} now"
    return ActionUnknown(f"{seen.obstacle}; {text}") if seen.may_have_worked else ActionFailed(f"not done: {text}")
