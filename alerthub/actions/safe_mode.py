"""Put an agent into safe mode, and believe only what it then says of itself. Out of it leads only a release that people agreed
to, which is pushed once, in the same words (R-44).

    POST {url}/mode  {"mode": "safe", "reason": …}         GET {url}/mode  →  {"mode": "safe"}
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from alerthub.actions.base import ActionSettings, ActionWire, Call, Outcome, ReleaseSettings, Report, Span
from alerthub.actions.deadline import TOO_LATE, Deadline
from alerthub.actions.exchange import Answer, Exchange, SigningSecret, Token, WebTarget, check_url
from alerthub.domain.permit import Signer
from alerthub.domain.rules import Direction
from alerthub.errors import ActionFailed, ActionUnknown
from alerthub.settings import Settings
from alerthub.signing import read_key
from alerthub.signing_ed25519 import read_private

SAFE = "safe"
FIRST_POLL, LONGEST_POLL = 0.2, 1.0          # seconds between looks at the mode
PUSH_SECONDS, LOOK_SECONDS = 5.0, 2.0        # of one attempt; a silent agent must leave time for the next
PUSH_AGAIN = 5.0                             # seconds that an accepted push has to show; a restart may have lost it
SHORTEST_TTL, LONGEST_TTL = timedelta(seconds=1), timedelta(minutes=5)      # what alerthub.permit takes
TOKEN_CHARACTERS = 16
LAST_LOOK = 0.3                              # seconds before the deadline that are kept for one
# The agent says that it did not do it. Any other refusal leaves that open.
NOT_DONE = (*range(300, 500), 503)


def check_base(url: str) -> str:
    if "?" in check_url(url):
        raise ValueError("the address of an agent has no query: /mode is added to it")
    return url.rstrip("/")


def check_strength(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < TOKEN_CHARACTERS:
        raise ValueError(f"too short; use at least {TOKEN_CHARACTERS} random characters")
    return secret


def check_ttl(span: timedelta) -> timedelta:
    if not SHORTEST_TTL <= span <= LONGEST_TTL:
        raise ValueError("from 1s to 5m: an agent takes no longer lease, and must have the time to renew it")
    return span


def check_private(secret: SecretStr) -> SecretStr:
    read_private(secret.get_secret_value())
    return secret


def check_mode(mode: str) -> str:
    if mode == SAFE:
        raise ValueError("a release leads out of safe; name the mode in which the agent acts")
    return mode


class PermitSettings(Settings):
    """How long a permit is good for; what signs it: a private key for Ed25519, or a shared secret (the target's own, if none is
    given here); the token that the agent shows. Without a fresh one the agent goes safe by itself."""

    ttl: Annotated[Span, AfterValidator(check_ttl)] = timedelta(seconds=15)
    secret: SigningSecret | None = None
    secret_file: str | None = None
    key: Annotated[SecretStr, AfterValidator(check_private)] | None = None
    key_file: str | None = None
    token: Annotated[Token, AfterValidator(check_strength)] | None = None
    token_file: str | None = None

    @model_validator(mode="after")
    def check_one(self) -> Self:
        if self.key is not None and self.secret is not None:
            raise ValueError("a permit is signed by one of them: give secret_file or key_file, not both")
        return self


class AgentReleaseSettings(ReleaseSettings):
    """`mode`: what the agent is told when it is released, and must then report."""

    mode: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,40}$"), AfterValidator(check_mode)] = "armed"


class AgentTarget(WebTarget):
    type: Literal["agent"] = "agent"
    url: Annotated[str, AfterValidator(check_base)]
    permit: PermitSettings | None = None
    release: AgentReleaseSettings = Field(default_factory=AgentReleaseSettings)

    @property
    def permit_key(self) -> bytes | Signer | None:
        """What signs its permits."""
        if self.permit is not None and self.permit.key is not None:
            return read_private(self.permit.key.get_secret_value())
        secret = (self.permit.secret if self.permit is not None else None) or self.secret
        return read_key(secret.get_secret_value()) if secret is not None else None


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
    obstacle: str = TOO_LATE
    mode: str = ""
    is_reached: bool = False


class SafeMode:
    kind: ClassVar[str] = "safe_mode"
    Config: ClassVar[type[BaseModel]] = SafeModeSettings
    Target: ClassVar[type[BaseModel] | None] = AgentTarget
    resumable: ClassVar[bool] = True     # to be safe twice is to be safe
    releases: ClassVar[bool] = True

    def __init__(self, config: SafeModeSettings, target: AgentTarget | None, wire: ActionWire) -> None:
        """Raises ValueError for a target of another type."""
        if not isinstance(target, AgentTarget):
            raise ValueError(f"the action {config.name} acts on targets of type agent only")
        self._config, self._clock = config, wire.clock
        self._url = f"{target.url}/mode"
        self._exchange = Exchange(target, wire)
        self._signed, self._bearer = target.secret is not None, target.token is not None

    async def run(self, call: Call) -> Report:
        end = Deadline.of(call, self._config, self._clock)
        return await (self._release(call, end) if call.release else self._tighten(call, end))

    async def _tighten(self, call: Call, end: Deadline) -> Report:
        """Push, look, and push again until the agent says that it is safe, or the deadline passes. A run that was broken
        off looks first."""
        seen = Evidence(may_have_worked=call.resumed)
        if call.resumed and end.left() > 0 and await self._is_reached(call, seen, end):
            return self._report(call, seen)
        wait, push_at = FIRST_POLL, self._clock.monotonic()
        while end.left() > 0:
            if self._clock.monotonic() >= push_at:
                await self._push(call, seen, end)
                push_at = self._clock.monotonic() + (PUSH_AGAIN if seen.was_accepted else 0.0)
            if end.left() > 0 and await self._is_reached(call, seen, end):
                return self._report(call, seen)
            if (rest := end.left() - LAST_LOOK) <= 0:
                break
            await self._clock.sleep(min(wait, rest))      # never what a Retry-After asks for: nothing delays a tightening
            wait = min(LONGEST_POLL, wait * 1.5)
        return self._report(call, seen)

    async def _release(self, call: Call, end: Deadline) -> Report:
        """Push once, and look until the agent says that it acts again. Never a second push, nor one after a crash: it could undo
        a tightening that has come meanwhile."""
        seen = Evidence(may_have_worked=call.resumed)
        if not call.resumed and end.left() > 0:
            await self._push(call, seen, end)
        wait = FIRST_POLL
        while seen.may_have_worked and end.left() > 0 and not await self._is_reached(call, seen, end):
            if (rest := end.left() - LAST_LOOK) <= 0:
                break
            await self._clock.sleep(min(wait, rest))
            wait = min(LONGEST_POLL, wait * 1.5)
        return self._report(call, seen)

    async def _push(self, call: Call, seen: Evidence, end: Deadline) -> None:
        seen.pushes += 1
        seen.was_accepted = False
        try:
            answer = await self._exchange.ask("POST", self._url, body_of(call), call.id, min(PUSH_SECONDS, end.left()),
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

    async def _is_reached(self, call: Call, seen: Evidence, end: Deadline) -> bool:
        seen.looks += 1
        try:
            answer = await self._exchange.ask("GET", self._url, b"", call.id, min(LOOK_SECONDS, end.left()))
        except (ActionFailed, ActionUnknown) as error:
            seen.mode, seen.look_answer = "", {"error": error.detail}
            return False
        seen.look_answer = self._recorded(answer)
        mode = answer.json().get("mode") if answer.status == 200 else None
        seen.mode = self._exchange.excerpt(mode.encode("utf-8", "replace")) if isinstance(mode, str) else ""
        seen.is_reached = mode == (call.release or SAFE)
        return seen.is_reached

    def _recorded(self, answer: Answer) -> dict[str, Any]:
        return {"status": answer.status, "body": self._exchange.excerpt(answer.body)}

    def _report(self, call: Call, seen: Evidence) -> Report:
        outcome, detail = self._judged(seen, call.release)
        request = {
            "method": "POST", "url": self._exchange.redact(self._url), "body": self._exchange.recorded(json.loads(body_of(call))),
            "headers": {"webhook-id": call.id, "Idempotency-Key": call.id}, "signed": self._signed, "bearer": self._bearer,
            "pushes": seen.pushes, "looks": seen.looks,
        }
        return Report(outcome, detail, request, {"push": seen.push_answer, "look": seen.look_answer}, seen.mode)

    def _judged(self, seen: Evidence, release: str) -> tuple[Outcome, str]:
        wanted = f'in mode "{release}"' if release else "in safe mode"
        if seen.is_reached:
            return Outcome.succeeded, f"the agent {'says that it is' if seen.pushes else 'was already'} {wanted}"
        if not seen.may_have_worked:
            times = "1 attempt" if seen.pushes == 1 else f"{seen.pushes} attempts"
            return Outcome.failed, f"not {wanted}, {times}: {seen.obstacle}"
        said = f'says that its mode is "{seen.mode}"' if seen.mode else "does not say what its mode is"
        return Outcome.unknown, f"not verified before the deadline: the agent {said} ({seen.obstacle})"


def body_of(call: Call) -> bytes:
    return json.dumps({"mode": call.release or SAFE, "reason": call.reason}, separators=(",", ":")).encode()
