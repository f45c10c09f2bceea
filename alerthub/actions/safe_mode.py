"""Put an agent into safe mode, and believe only what it then says of itself. One way: nothing here leads out (R-44).

    POST {url}/mode  {"mode": "safe", "reason": …}         GET {url}/mode  →  {"mode": "safe"}
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel

from alerthub.actions.base import ActionSettings, ActionWire, Call, Outcome, Report, Span
from alerthub.actions.exchange import Answer, Exchange, WebTarget, check_url
from alerthub.domain.rules import Direction
from alerthub.errors import ActionFailed, ActionUnknown
from alerthub.settings import Settings

SAFE = "safe"
FIRST_POLL, LONGEST_POLL = 0.2, 1.0          # seconds between looks at the mode
PUSH_SECONDS, LOOK_SECONDS = 5.0, 2.0        # of one attempt; a silent agent must leave time for the next
PUSH_AGAIN = 5.0                             # seconds that an accepted push has to show; a restart may have lost it
LAST_LOOK = 0.3                              # seconds before the deadline that are kept for one
# The agent says that it did not do it. Any other refusal leaves that open.
NOT_DONE = (*range(300, 500), 503)


def check_base(url: str) -> str:
    if "?" in check_url(url):
        raise ValueError("the address of an agent has no query: /mode is added to it")
    return url.rstrip("/")


class PermitSettings(Settings):
    """How long a permit is good for. Without a fresh one the agent goes safe by itself."""

    ttl: Span = timedelta(seconds=15)


class AgentTarget(WebTarget):
    type: Literal["agent"] = "agent"
    url: Annotated[str, AfterValidator(check_base)]
    permit: PermitSettings | None = None


class SafeModeSettings(ActionSettings):
    type: Literal["safe_mode"] = "safe_mode"
    direction: Literal[Direction.tighten] = Direction.tighten


@dataclass(slots=True)
class Evidence:
    """What one run has seen so far."""

    pushes: int = 0
    looks: int = 0
    was_accepted: bool = False       # by the last push
    may_have_worked: bool = False    # by any
    push_answer: dict[str, Any] = field(default_factory=dict)
    look_answer: dict[str, Any] = field(default_factory=dict)
    obstacle: str = "the deadline had passed before it could be asked"
    mode: str = ""
    is_safe: bool = False


class SafeMode:
    kind: ClassVar[str] = "safe_mode"
    Config: ClassVar[type[BaseModel]] = SafeModeSettings
    Target: ClassVar[type[BaseModel] | None] = AgentTarget
    resumable: ClassVar[bool] = True     # to be safe twice is to be safe

    def __init__(self, config: SafeModeSettings, target: AgentTarget | None, wire: ActionWire) -> None:
        """Raises ValueError for a target of another type."""
        if not isinstance(target, AgentTarget):
            raise ValueError(f"the action {config.name} acts on targets of type agent only")
        self._clock = wire.clock
        self._url = f"{target.url}/mode"
        self._exchange = Exchange(target, wire)
        self._signed, self._bearer = target.secret is not None, target.token is not None

    async def run(self, call: Call) -> Report:
        """Push, look, and push again until the agent says that it is safe, or the deadline passes. A run that was broken
        off looks first."""
        seen = Evidence(may_have_worked=call.resumed)
        if call.resumed and self._left(call) > 0 and await self._is_safe(call, seen):
            return self._report(call, seen)
        wait, push_at = FIRST_POLL, self._clock.now()
        while self._left(call) > 0:
            if self._clock.now() >= push_at:
                await self._push(call, seen)
                push_at = self._clock.now() + timedelta(seconds=PUSH_AGAIN if seen.was_accepted else 0)
            if self._left(call) > 0 and await self._is_safe(call, seen):
                return self._report(call, seen)
            if (rest := self._left(call) - LAST_LOOK) <= 0:
                break
            await self._clock.sleep(min(wait, rest))      # never what a Retry-After asks for: nothing delays a tightening
            wait = min(LONGEST_POLL, wait * 1.5)
        return self._report(call, seen)

    def _left(self, call: Call) -> float:
        return (call.deadline - self._clock.now()).total_seconds()

    async def _push(self, call: Call, seen: Evidence) -> None:
        seen.pushes += 1
        seen.was_accepted = False
        try:
            answer = await self._exchange.ask("POST", self._url, body_of(call), call.id, min(PUSH_SECONDS, self._left(call)),
                                              {"webhook-id": call.id, "Idempotency-Key": call.id})
        except ActionFailed as error:
            seen.obstacle = error.detail
        except ActionUnknown as error:
            seen.obstacle, seen.may_have_worked = error.detail, True
        else:
            seen.was_accepted = 200 <= answer.status < 300
            seen.may_have_worked |= answer.status not in NOT_DONE
            seen.push_answer = self._recorded(answer)
            seen.obstacle = f"it answered {answer.status}: {seen.push_answer['body']}".rstrip(": ")

    async def _is_safe(self, call: Call, seen: Evidence) -> bool:
        seen.looks += 1
        try:
            answer = await self._exchange.ask("GET", self._url, b"", call.id, min(LOOK_SECONDS, self._left(call)))
        except (ActionFailed, ActionUnknown) as error:
            seen.mode, seen.look_answer = "", {"error": error.detail}
            return False
        seen.look_answer = self._recorded(answer)
        mode = answer.json().get("mode") if answer.status == 200 else None
        seen.mode = self._exchange.excerpt(mode.encode("utf-8", "replace")) if isinstance(mode, str) else ""
        seen.is_safe = mode == SAFE
        return seen.is_safe

    def _recorded(self, answer: Answer) -> dict[str, Any]:
        return {"status": answer.status, "body": self._exchange.excerpt(answer.body)}

    def _report(self, call: Call, seen: Evidence) -> Report:
        outcome, detail = self._judged(seen)
        request = {
            "method": "POST", "url": self._exchange.redact(self._url), "body": self._exchange.recorded(json.loads(body_of(call))),
            "headers": {"webhook-id": call.id, "Idempotency-Key": call.id}, "signed": self._signed, "bearer": self._bearer,
            "pushes": seen.pushes, "looks": seen.looks,
        }
        return Report(outcome, detail, request, {"push": seen.push_answer, "look": seen.look_answer}, seen.mode)

    def _judged(self, seen: Evidence) -> tuple[Outcome, str]:
        if seen.is_safe:
            return Outcome.succeeded, f"the agent {'says that it is' if seen.pushes else 'was already'} in safe mode"
        if not seen.may_have_worked:
            return Outcome.failed, f"not in safe mode, {seen.pushes} attempts: {seen.obstacle}"
        said = f'says that its mode is "{seen.mode}"' if seen.mode else "does not say what its mode is"
        return Outcome.unknown, f"not verified before the deadline: the agent {said} ({seen.obstacle})"


def body_of(call: Call) -> bytes:
    return json.dumps({"mode": SAFE, "reason": call.reason}, separators=(",", ":")).encode()
