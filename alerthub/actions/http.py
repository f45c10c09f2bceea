"""A signed request to a configured address, once: what every system with a webhook understands (PROTOCOLS 6.4)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, model_validator

from alerthub.actions.base import ActionSettings, ActionWire, Call, Outcome, Report
from alerthub.actions.deadline import TOO_LATE, Deadline
from alerthub.actions.exchange import Answer, Exchange, WebTarget, backoff, shown_url
from alerthub.errors import ActionFailed, ActionUnknown

# The receiver says that it has not begun; it may be asked again with the same id.
REFUSED_BEFORE_WORK = (408, 425, 429, 503)
# A gateway's word: whether the target behind it has done the work, it does not know.
IN_DOUBT = (502, 504)
OURS = {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept", "accept-encoding", "expect",
        "upgrade", "idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature"}
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")      # RFC 9110


def check_header(name: str) -> str:
    if not TOKEN.fullmatch(name):
        raise ValueError("a header's name has letters, digits and - only")
    if name.lower() in OURS:
        raise ValueError("this header is set by the hub; remove it")
    return name


def check_header_value(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable()) or text != text.strip():
        raise ValueError("a header's value is one line of ASCII without spaces at its ends")
    return value


class HttpTarget(WebTarget):
    type: Literal["http"] = "http"
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: dict[Annotated[str, AfterValidator(check_header)], Annotated[SecretStr, AfterValidator(check_header_value)]] = (
        Field(default_factory=dict))

    @model_validator(mode="after")
    def check_authorization(self) -> Self:
        if self.token is not None and any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("give token, or the header Authorization, not both")
        return self

    def secrets(self) -> list[str]:
        return [*super().secrets(), *(value.get_secret_value() for value in self.headers.values())]


class HttpSettings(ActionSettings):
    type: Literal["http"] = "http"


class Http:
    kind: ClassVar[str] = "http"
    Config: ClassVar[type[BaseModel]] = HttpSettings
    Target: ClassVar[type[BaseModel] | None] = HttpTarget
    resumable: ClassVar[bool] = False

    def __init__(self, config: HttpSettings, target: HttpTarget | None, wire: ActionWire) -> None:
        """Raises ValueError for a target of another type."""
        if not isinstance(target, HttpTarget):
            raise ValueError(f"the action {config.name} acts on targets of type http only")
        self._config, self._target, self._clock = config, target, wire.clock
        self._exchange = Exchange(target, wire)
        self._headers = {name: value.get_secret_value() for name, value in target.headers.items()}

    async def run(self, call: Call) -> Report:
        """Ask until it is taken or refused, or nothing more can be hoped for before the deadline. It is asked again only
        when it certainly was not begun."""
        content = body_of(call)
        request = self._recorded(call, content)
        if call.resumed:
            return Report(Outcome.unknown, "the hub stopped while it ran; the target may have done it", request)
        end = Deadline.of(call, self._config, self._clock)
        attempts, obstacle = 0, TOO_LATE
        while (left := end.left()) > 0:
            attempts += 1
            pause = backoff(attempts, self._clock.random())
            try:
                answer = await self._exchange.ask(
                    self._target.method, self._target.url, content, call.id, left,
                    {**self._headers, "webhook-id": call.id, "Idempotency-Key": call.id})
            except ActionUnknown as error:
                return Report(Outcome.unknown, f"{error.detail}; the target may have done it", {**request, "attempts": attempts})
            except ActionFailed as error:
                obstacle = error.detail
            else:
                if answer.status not in REFUSED_BEFORE_WORK:
                    return self._judged(answer, {**request, "attempts": attempts})
                obstacle = f"the target answered {answer.status}: {self._exchange.excerpt(answer.body)}".rstrip(": ")
                pause = end.pause(answer.pause(self._clock.now()), pause)
            if pause >= end.left():
                break
            await self._clock.sleep(pause)
        return Report(Outcome.failed, f"not done, {attempts} attempts: {obstacle}", {**request, "attempts": attempts})

    async def rehearse(self, call: Call, *, ask: bool) -> Report:
        """There is no question that every such target understands, so none is asked."""
        request = self._recorded(call, body_of(call))
        return Report(Outcome.succeeded, f"{request['method']} {request['url']}", request)

    def _judged(self, answer: Answer, request: Mapping[str, Any]) -> Report:
        """What a final status means. No other than 2xx is a success; redirects are not followed."""
        said = self._exchange.excerpt(answer.body)
        if 200 <= answer.status < 300:
            outcome = Outcome.succeeded
        else:
            outcome = Outcome.unknown if answer.status in IN_DOUBT else Outcome.failed
        detail = f"the target answered {answer.status}" + (f": {said}" if said else "")
        return Report(outcome, detail, request, {"status": answer.status, "body": said})

    def _recorded(self, call: Call, content: bytes) -> dict[str, Any]:
        """Of headers that may authenticate, the names only."""
        return {
            "method": self._target.method, "url": self._exchange.redact(shown_url(self._target.url)),
            "headers": {"webhook-id": call.id, "Idempotency-Key": call.id, "Content-Type": "application/json"},
            "more_headers": sorted(self._headers), "signed": self._target.secret is not None,
            "bearer": self._target.token is not None, "body": self._exchange.recorded(json.loads(content)),
        }


def body_of(call: Call) -> bytes:
    """The same bytes at every attempt. ASCII only, so no text can make it invalid."""
    return json.dumps({
        "action": call.action, "run_id": call.id, "incident": call.incident_id, "number": call.number,
        "reason": call.reason, "parameters": dict(call.parameters), "created_at": call.created_at.isoformat(),
    }, separators=(",", ":")).encode()
