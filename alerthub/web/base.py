"""What the web rooms see of the hub, and how they answer: JSON, `application/problem+json`, never a redirect."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from alerthub.channels.base import Listener
from alerthub.clock import Clock
from alerthub.domain.alert import Alert, Batch
from alerthub.domain.command import Answer, Ask, LinkView
from alerthub.domain.permit import Signer
from alerthub.domain.rules import Rules
from alerthub.log import redact
from alerthub.metrics import Metrics
from alerthub.sources.base import Source
from alerthub.store.database import Store
from alerthub.telemetry import Tracer


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a session lasts: unused, and at all."""

    idle: timedelta = timedelta(hours=12)
    absolute: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who somebody is, as the provider of OpenID Connect has signed it. `role` is what their groups give them; empty for none."""

    subject: str
    name: str
    email: str = ""         # only one that the provider says is verified
    role: str = ""
    person: str = ""        # whom of `people` the claim names that the configuration chose for it


class Provider(Protocol):
    """A provider of OpenID Connect (oidc.py). Both raise NotProved, with words for the person."""

    name: str

    async def address(self, state: str, nonce: str, challenge: str) -> str: ...
    async def prove(self, code: str, verifier: str, nonce: str, now: datetime) -> Claimed: ...


class PasswordCheck(Protocol):
    """See passwords.py."""

    async def hash(self, password: str) -> str: ...
    async def matches(self, encoded: str, password: str) -> bool: ...
    def is_outdated(self, encoded: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Door:
    """How the hub may be entered."""

    public_url: str
    is_loopback: bool               # it listens on this machine only
    api_token: str = ""             # bearer of the API and the pages; empty: only loopback may enter
    body_limit: int = 32 * 1024 * 1024
    body_seconds: float = 15.0      # a body that drips is cut off
    commit_seconds: float = 1.8     # the sender knows within 2 s
    people: Mapping[str, str] = field(default_factory=dict, repr=False)     # by the SHA-256 of their own token
    permit_keys: Mapping[str, bytes | Signer] = field(default_factory=dict, repr=False)     # by target
    limits: Limits = Limits()


class Watcher(Protocol):
    """What one open page hears: `changed` with the ids of incidents, none for too many to name; `away`, while the database is;
    `over`, after which nothing more comes."""

    async def next(self) -> tuple[str, tuple[str, ...]]: ...


class Watch(Protocol):
    """Who looks on, while they do."""

    @property
    def is_full(self) -> bool: ...
    def listening(self) -> AbstractContextManager[Watcher]: ...


class HubView(Protocol):
    """The running hub, as the web rooms use it."""

    store: Store
    clock: Clock
    metrics: Metrics
    tracer: Tracer
    passwords: PasswordCheck
    loaded_at: datetime         # the configuration that it goes by
    problems: list[str]         # of the last reload

    @property
    def live(self) -> Watch: ...
    @property
    def rules(self) -> Rules: ...
    @property
    def door(self) -> Door: ...
    @property
    def provider(self) -> Provider | None: ...
    @property
    def sources(self) -> Mapping[str, Source]: ...
    @property
    def listeners(self) -> Sequence[Listener]: ...
    async def hear(self, ask: Ask) -> Answer: ...
    async def link(self, token: str) -> LinkView: ...
    async def take(self, batch: Batch) -> None: ...
    async def raise_own(self, alerts: list[Alert]) -> None: ...
    def nudge(self) -> None: ...
    def reload(self) -> list[str]: ...
    def components(self) -> Mapping[str, str]: ...


def hub_of(request: Request) -> HubView:
    hub: HubView = request.app.state.hub
    return hub


def answer(status: int, body: Mapping[str, Any] | list[Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=str), status,
                    {**(headers or {}), "cache-control": "no-store"}, "application/json")


class Refused(Exception):
    """What was asked cannot be done as it was asked. The text says what would be right; it becomes a problem with this status and
    these headers (`guarded` in app.py), unless whoever asks has something better to show."""

    status = 400
    headers: Mapping[str, str] | None = None


TITLES = {400: "bad request", 401: "not authorised", 403: "forbidden", 404: "not found", 405: "method not allowed",
          408: "too slow", 409: "conflict", 412: "changed meanwhile", 413: "body too large", 422: "not possible",
          428: "precondition required", 429: "too many", 500: "internal error", 501: "not here", 503: "not now"}
# The path of the question that is being answered, where it is the API's; cut, since a stranger chooses it.
INSTANCE: ContextVar[str] = ContextVar("instance", default="")
LONGEST_INSTANCE = 100


def problem(status: int, reason: str, headers: Mapping[str, str] | None = None, **more: str) -> Response:
    """RFC 9457. `detail` says what happened and what to do, without secrets; `reason` is the same, as senders' logs show it.
    `more`: further members."""
    reason = redact(reason)
    body: dict[str, Any] = {"type": "about:blank", "title": TITLES.get(status, "error"), "status": status, "detail": reason,
                            "reason": reason}
    if instance := INSTANCE.get():
        body["instance"] = instance
    return Response(json.dumps({**body, **more}, ensure_ascii=False), status, {**(headers or {}), "cache-control": "no-store"},
                    "application/problem+json")


def refusal(error: Refused) -> Response:
    return problem(error.status, str(error), error.headers)
