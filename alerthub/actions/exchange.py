"""One HTTP request to a configured target and its bounded answer; nothing sent, and answer lost, are kept apart.

What an answer means is the action's business, and so is trying again.
"""

from __future__ import annotations

import asyncio
import base64
import math
import ssl
import unicodedata
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

import httpx
from pydantic import AfterValidator, Field, SecretStr, model_validator

from alerthub.actions.base import ActionWire, TargetSettings
from alerthub.domain.wording import clip
from alerthub.errors import ActionFailed, ActionUnknown
from alerthub.log import Redactor, redact
from alerthub.outbound import NO_ANSWER, NOT_REACHED, client, is_address, json_object, read_capped, retry_after
from alerthub.settings import revealed
from alerthub.signing import read_key, signed_headers

ANSWER_BYTES = 64 * 1024        # more of an answer is never read, unless an action must
EXCERPT = 200                   # characters of an answer that the record keeps
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0       # seconds between attempts at a target that cannot be reached
NO_ADDRESS = "not an address; write http://host:port/path or https://…"


def check_url(url: str) -> str:
    """An address that means the same to every reader: no credentials, no backslash, no blanks (PROTOCOLS 8)."""
    if any(sign.isspace() or sign == "\\" or not sign.isprintable() for sign in url):
        raise ValueError("an address has no spaces, backslashes or control characters")
    parts = urlsplit(url) if is_address(url) else None
    if parts is None or httpx.URL(url).host != parts.hostname:
        raise ValueError(NO_ADDRESS)
    if "@" in parts.netloc:
        raise ValueError("an address holds no user or password: they show up in logs; give token, or headers")
    if parts.fragment:
        raise ValueError("an address for requests has no part after #")
    return url


def check_token(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not (text and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("a token has letters, digits and ASCII signs only; no spaces, no line breaks, no accents")
    return secret


def check_key(secret: SecretStr) -> SecretStr:
    read_key(secret.get_secret_value())
    return secret


WebAddress = Annotated[str, AfterValidator(check_url)]
Token = Annotated[SecretStr, AfterValidator(check_token)]
SigningSecret = Annotated[SecretStr, AfterValidator(check_key)]


class WebTarget(TargetSettings):
    """A target that is asked over HTTP. `token` is sent as bearer, `secret` (whsec_…) signs, `tls_ca_file` is trusted
    instead of the system's authorities."""

    url: WebAddress
    token: Token | None = None
    token_file: str | None = None
    secret: SigningSecret | None = None
    secret_file: str | None = None
    tls_ca_file: str | None = None

    @model_validator(mode="after")
    def check_authority(self) -> Self:
        if self.tls_ca_file is not None:
            if not self.url.startswith("https://"):
                raise ValueError("tls_ca_file needs an address with https://")
            trust(self.tls_ca_file)
        return self

    def secrets(self) -> list[str]:
        """All that must not show up in a report."""
        return [text for text in (revealed(self.token), revealed(self.secret)) if text]


def check_password(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().isprintable():
        raise ValueError("a password is one line without control characters")
    return secret


class LoginTarget(WebTarget):
    """One that has accounts: with `username` and `password`, or with a `token`, or open."""

    username: str | None = Field(default=None, pattern=r"^[^:\x00-\x1f\x7f]+$")
    password: Annotated[SecretStr, AfterValidator(check_password)] | None = None
    password_file: str | None = None

    @model_validator(mode="after")
    def check_credentials(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password (or password_file) belong together")
        if self.username is not None and self.token is not None:
            raise ValueError("give token, or username and password, not both")
        return self

    @property
    def basic(self) -> str | None:
        """What follows the word Basic."""
        password = revealed(self.password)
        return None if password is None else base64.b64encode(f"{self.username}:{password}".encode()).decode()

    def secrets(self) -> list[str]:
        return [*super().secrets(), *(text for text in (revealed(self.password), self.basic) if text)]


def trust(path: str) -> ssl.SSLContext:
    """Raises ValueError when the file cannot be read or holds no certificate."""
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:        # ssl.SSLError is one
        raise ValueError(f"tls_ca_file: cannot use {path}: {error.strerror or 'it holds no certificate'}") from None


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is cut at ANSWER_BYTES; empty when it came compressed although plain was asked for; what had come when the
    time was over."""

    status: int
    body: bytes
    retry_after: str | None = None

    def json(self) -> dict[str, Any]:
        """The body as an object; {} for everything that is not one."""
        return json_object(self.body)

    def pause(self, now: datetime) -> float | None:
        """Seconds that Retry-After (number or HTTP date) asks for; None for none and for nonsense."""
        asked = retry_after(self.retry_after, now)
        return None if asked is None or math.isinf(asked) else asked


class Progress:
    """How far a request came, as httpcore tells it: a timeout alone does not say whether anything was sent."""

    def __init__(self) -> None:
        self.is_connecting = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        self.is_connecting = event.startswith("connection.") and not event.startswith("connection.close")


class Exchange:
    """The way to one target. What it returns or raises holds no secret of the target's."""

    def __init__(self, target: WebTarget, wire: ActionWire, *, secrets: tuple[str, ...] = (),
                 answer_bytes: int = ANSWER_BYTES) -> None:
        self._wire, self._answer_bytes = wire, answer_bytes
        self._token = revealed(target.token)
        self._key = read_key(revealed(target.secret) or "") if target.secret is not None else None
        self._context = trust(target.tls_ca_file) if target.tls_ca_file is not None else None
        self._redactor = Redactor([*target.secrets(), *secrets])

    async def ask(self, method: str, url: str, content: bytes, message_id: str, seconds: float,
                  headers: Mapping[str, str] | None = None) -> Answer:
        """Send once, in `seconds` altogether. Raises ActionFailed when nothing was sent, ActionUnknown when it was and no
        status came back. Redirects are answers like others: an address comes from the configuration only."""
        progress, answer = Progress(), Partial(self._answer_bytes)
        try:
            async with asyncio.timeout(seconds), self._client() as http, http.stream(
                method, url, content=content, headers={**self._headers(message_id, content), **(headers or {})},
                timeout=httpx.Timeout(seconds), follow_redirects=False, extensions={"trace": progress},
            ) as response:
                await answer.read(response)
        except (*NOT_REACHED, httpx.LocalProtocolError) as error:
            raise ActionFailed(f"no connection ({type(error).__name__})") from None
        except (*NO_ANSWER, TimeoutError) as error:
            if answer.status:
                return answer.finished()
            if progress.is_connecting:
                raise ActionFailed(f"no connection in time ({type(error).__name__})") from None
            raise ActionUnknown(f"no answer came back ({type(error).__name__})") from None
        return answer.finished()

    def _headers(self, message_id: str, content: bytes) -> dict[str, str]:
        # A connection of its own for each request: on a kept one, "closed" does not say whether the request was read.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
        if content:
            headers["Content-Type"] = "application/json"
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        if self._key is not None:
            headers |= signed_headers(self._key, message_id, self._wire.clock.now(), content)
        return headers

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        if self._context is None:
            yield self._wire.http
            return
        async with client(verify=self._context) as http:
            yield http

    def excerpt(self, body: bytes) -> str:
        """The beginning of an answer, on one line and without secrets, for the record."""
        return clip(self.clean(body[: 20 * EXCERPT].decode("utf-8", "replace")), EXCERPT)

    def clean(self, text: str) -> str:
        """Redacted twice: a secret may be whole before, or only after, the control characters are gone."""
        line = "".join(" " if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") else sign
                       for sign in self.redact(text))
        return self.redact(" ".join(line.split()))

    def redact(self, text: str) -> str:
        return redact(self._redactor.redact(text))

    def recorded(self, value: Any) -> Any:
        """What was sent, for the record."""
        if isinstance(value, Mapping):
            return {self.redact(name): self.recorded(item) for name, item in value.items()}
        return self.redact(value) if isinstance(value, str) else value


class Partial:
    """An answer as far as it has come."""

    def __init__(self, limit: int) -> None:
        self.status = 0
        self._limit = limit
        self._retry_after: str | None = None
        self._body = bytearray()

    async def read(self, response: httpx.Response) -> None:
        self.status, self._retry_after = response.status_code, response.headers.get("retry-after")
        await read_capped(response, self._limit, self._body)

    def finished(self) -> Answer:
        return Answer(self.status, bytes(self._body), self._retry_after)


def shown_url(url: str) -> str:
    """An address for the record: a query may hold a key."""
    bare, mark, _ = url.partition("?")
    return f"{bare}?…" if mark else bare


def backoff(attempt: int, dice: float) -> float:
    """Seconds before attempt n + 1: 0.2, 0.4 … 2, of which half is chance."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 10)) * (0.5 + dice / 2)
