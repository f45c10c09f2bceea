"""The REST API of a Prefect 3 server, asked for one run: credentials, CSRF, and asking again while that is safe (PROTOCOLS 6.1).

What is asked for, and what an answer means for the run, is prefect.py's business.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote
from uuid import UUID

from pydantic import AfterValidator, SecretStr, model_validator

from alerthub.actions.base import ActionWire, Call
from alerthub.actions.deadline import TOO_LATE, Deadline
from alerthub.actions.exchange import ANSWER_BYTES, Answer, Exchange, WebTarget, backoff, check_url
from alerthub.errors import ActionFailed, ActionUnknown
from alerthub.settings import revealed

# The server says that it has not begun; 503 is its word for a locked database, whose transaction was rolled back.
REFUSED_BEFORE_WORK = (408, 425, 429, 503)
# A gateway's word: whether the server behind it has acted, or still will, it does not know.
GATEWAYS = (502, 504)
ASK_SECONDS = 10.0      # of one request; a silent server must leave time to look whether it acted
FIRST_ID = re.compile(rb'\{"id":"([0-9a-f-]{36})",')
ENDED_BADLY = ("FAILED", "CRASHED", "CANCELLED", "CANCELLING")
RETRIED = ("FAILED", "CRASHED")      # a person cancelled the others; a completed one would run anew (TESTBEDS)
WAITING = ("SCHEDULED", "PENDING", "PAUSED")


def check_api(url: str) -> str:
    if "?" in check_url(url):
        raise ValueError("the address of the API has no query; write http://host:4200/api")
    return url.rstrip("/")


def check_username(name: str) -> str:
    if not name or ":" in name or not name.isprintable():
        raise ValueError("a username for Basic authentication is one line without a colon")
    return name


def check_password(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text or not text.isprintable():
        raise ValueError("a password is one line of text")
    return secret


class PrefectTarget(WebTarget):
    """A server's API. `username` and `password` are the two halves of its PREFECT_SERVER_API_AUTH_STRING; `token` is an API
    key of Prefect Cloud."""

    type: Literal["prefect"] = "prefect"
    url: Annotated[str, AfterValidator(check_api)]
    username: Annotated[str, AfterValidator(check_username)] | None = None
    password: Annotated[SecretStr, AfterValidator(check_password)] | None = None
    password_file: str | None = None

    @model_validator(mode="after")
    def check_credentials(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together; give both, or neither")
        if self.username is not None and self.token is not None:
            raise ValueError("give token, or username and password, not both")
        return self

    def basic(self) -> str | None:
        """What follows the word Basic."""
        password = revealed(self.password)
        return None if password is None else base64.b64encode(f"{self.username}:{password}".encode()).decode()

    def secrets(self) -> list[str]:
        return [*super().secrets(), *(text for text in (revealed(self.password), self.basic()) if text)]


class Api:
    """The way to one server. A conversation is one run's."""

    def __init__(self, target: PrefectTarget, wire: ActionWire) -> None:
        self.url, self.clock, self.exchange = target.url, wire.clock, Exchange(target, wire)
        self.credentials = {"basic": target.basic() is not None, "bearer": target.token is not None}
        self.headers = {"Authorization": f"Basic {basic}"} if (basic := target.basic()) is not None else {}

    def shown(self, path: str) -> str:
        return self.exchange.redact(self.url + path)


class Verdict(StrEnum):
    """What became of a request that changes something."""

    taken = "taken"
    refused = "refused"            # for good, and nothing was done
    not_begun = "not_begun"        # it may be asked again
    in_doubt = "in_doubt"


@dataclass(frozen=True, slots=True)
class Tried:
    verdict: Verdict
    obstacle: str
    answer: Answer | None = None
    pause: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether the server itself has finished with it: what it then says is not there will not come later."""
        return self.answer is not None and self.answer.status not in GATEWAYS


@dataclass(slots=True)
class Conversation:
    """The requests of one run, all before its deadline. What it raises and keeps holds no secret."""

    api: Api
    call: Call
    deadline: Deadline
    asked: int = 0
    waited: int = 0
    csrf: Mapping[str, str] = field(default_factory=dict)

    @property
    def left(self) -> float:
        return self.deadline.left()

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Once. Raises ActionFailed when nothing was sent, ActionUnknown when the answer was lost. A server that protects
        itself against forged requests refuses before it acts; it is asked for a token, and then again."""
        answer = await self._send(method, path, body)
        if answer.status == 403 and b"csrf" in answer.body.lower():
            await self._fetch_csrf()
            answer = await self._send(method, path, body)
        return answer

    async def attempt(self, path: str, body: Mapping[str, Any]) -> Tried:
        """POST once what changes something, and say what became of it."""
        try:
            answer = await self.ask("POST", path, body)
        except ActionFailed as error:
            return Tried(Verdict.not_begun, error.detail)
        except ActionUnknown as error:
            return Tried(Verdict.in_doubt, error.detail)
        return Tried(verdict_of(answer.status), self.refusal(answer), answer, answer.pause(self.api.clock.now()))

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        if self.left <= 0:
            raise ActionFailed(TOO_LATE)
        self.asked += 1
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        # Prefect reads neither of the two; the log of a gateway in front of it may.
        headers = {"webhook-id": self.call.id, "Idempotency-Key": self.call.id, **self.api.headers, **self.csrf}
        return await self.api.exchange.ask(
            method, self.api.url + path, content, self.call.id, min(ASK_SECONDS, self.left), headers)

    async def _fetch_csrf(self) -> None:
        """The server keeps one token per client, so each run is a client of its own."""
        client = self.call.id
        try:
            token = (await self._send("GET", f"/csrf-token?client={quote(client, safe='')}")).json().get("token")
        except ActionUnknown as error:      # of a question: nothing is in doubt
            raise ActionFailed(f"the server wants a CSRF token and gave none: {error.detail}") from None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise ActionFailed("the server wants a CSRF token, and gave none that can be used")
        self.csrf = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}

    async def read(self, path: str) -> dict[str, Any]:
        """What the API says of one thing, asked for until it says something. Raises ActionFailed, because nothing was done."""
        while True:
            try:
                answer = await self.ask("GET", path)
            except (ActionFailed, ActionUnknown) as error:
                obstacle, pause = error.detail, None
            else:
                if 200 <= answer.status < 300:
                    return answer.json() or beginning(answer)
                obstacle, pause = self.refusal(answer), answer.pause(self.api.clock.now())
                if verdict_of(answer.status) is Verdict.refused:
                    raise ActionFailed(obstacle)
            if not await self.rest(pause):
                raise ActionFailed(f"not done, {self.asked} requests: {obstacle}")

    async def rest(self, pause: float | None = None) -> bool:
        """Wait before asking again: `pause` when the server gave one. False when no time would be left."""
        self.waited += 1
        wait = self.deadline.pause(pause, backoff(self.waited, self.api.clock.random()))
        if wait >= self.left:
            return False
        await self.api.clock.sleep(wait)
        return True

    def refusal(self, answer: Answer) -> str:
        return f"the server answered {answer.status}: {self.excerpt(answer)}".rstrip(": ")

    def excerpt(self, answer: Answer) -> str:
        return self.api.exchange.excerpt(answer.body)

    def said(self, value: Any) -> str:
        """A word of the server's, fit for the record; empty for what is no text."""
        return self.api.exchange.excerpt(value.encode("utf-8", "replace")) if isinstance(value, str) else ""


def verdict_of(status: int) -> Verdict:
    if 200 <= status < 300:
        return Verdict.taken
    if status in REFUSED_BEFORE_WORK:
        return Verdict.not_begun
    return Verdict.refused if status < 500 else Verdict.in_doubt


def rows(answer: Answer) -> list[dict[str, Any]] | None:
    """The list that was asked for; None when the answer is none."""
    try:
        found = json.loads(answer.body) if answer.status == 200 else None
    except (ValueError, RecursionError):
        return None
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else None


def beginning(answer: Answer) -> dict[str, Any]:
    """The id of a thing that is too long to be read whole, such as a deployment with a big schema: it comes first."""
    found = FIRST_ID.match(answer.body) if len(answer.body) == ANSWER_BYTES else None
    return {"id": found[1].decode()} if found else {}


def identity(value: Any) -> str | None:
    """The id of a thing of Prefect's, in its one form; None for what is no UUID."""
    try:
        return str(UUID(value)) if isinstance(value, str) and len(value) == 36 else None
    except ValueError:
        return None


def state_of(flow_run: Mapping[str, Any]) -> tuple[str, str]:
    """Type and name of its state; empty for a type that no state has."""
    state = flow_run.get("state")
    found = state if isinstance(state, dict) else {}
    kind, name = found.get("type"), found.get("name")
    known = isinstance(kind, str) and kind in (*ENDED_BADLY, *WAITING, "RUNNING", "COMPLETED")
    return (str(kind), name if isinstance(name, str) else "") if known else ("", "")


def check_retriable(flow_run: Mapping[str, Any], wanted: str) -> None:
    """Raises ActionFailed for a flow run that is not to be retried, or that nobody would run."""
    state, _ = state_of(flow_run)
    if identity(flow_run.get("id")) != wanted or not state:
        raise ActionFailed("the server did not tell the state of the flow run; does the url of the target end in /api?")
    if state not in RETRIED:
        raise ActionFailed(f"refused: the flow run is {state}; only one that is {' or '.join(RETRIED)} is retried")
    if identity(flow_run.get("deployment_id")) is None:
        raise ActionFailed("refused: the flow run belongs to no deployment, so nobody would run it")
