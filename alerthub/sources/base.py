"""What a source is: bytes of one sender's wire format become a `Batch`, purely. It does no I/O.

Here is also what all sources share: settings, and the check of a bearer token or of a user name and password.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Protocol, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from alerthub.domain.alert import Batch
from alerthub.settings import Duration, Settings, revealed

SECRET_CHARACTERS = 8      # fewer are refused; R-51 asks for 16


def check_strength(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value()) < SECRET_CHARACTERS:
        raise ValueError(f"too short; use at least {SECRET_CHARACTERS} characters, better 16 random ones")
    return secret


def check_token(secret: SecretStr) -> SecretStr:
    """What cannot be written into a header would be refused at every request: say so at the start."""
    text = secret.get_secret_value()
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("a token has letters, digits and ASCII signs only; no spaces or line breaks")
    return secret


def check_positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than 0; for example 1m")
    return value


StrongSecret = Annotated[SecretStr, AfterValidator(check_strength)]
Token = Annotated[StrongSecret, AfterValidator(check_token)]
Span = Annotated[Duration, AfterValidator(check_positive)]


class Access(Settings):
    """One way of proving who one is: a bearer token, or a user name with a password, or nothing."""

    token: Token | None = None
    token_file: str | None = None
    username: str | None = Field(default=None, pattern=r"^[^:]+$")      # basic auth splits at the first colon
    password: StrongSecret | None = None
    password_file: str | None = None

    @model_validator(mode="after")
    def check_one_way(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together; give both, or a token instead")
        if self.token is not None and self.username is not None:
            raise ValueError("give a token, or a username and a password, not both")
        return self


class SourceSettings(Access):
    """Base of one entry of `sources:`. During a rotation both tokens are right (PROTOCOLS 1.7)."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    token_previous: Token | None = None
    token_previous_file: str | None = None
    stale_after: Span = timedelta(hours=12)      # firing, and not heard of for so long: shown as stale

    @model_validator(mode="after")
    def check_rotation(self) -> Self:
        if self.token_previous is not None and self.token is None:
            raise ValueError("token_previous is the old one of two; give the new one as token")
        return self


class Source(Protocol):
    """One entry of `sources:`. Built as `Kind(config)` from its settings; safe to call from any thread."""

    kind: ClassVar[str]
    Config: ClassVar[type[SourceSettings]]
    name: str

    def __init__(self, config: Any) -> None: ...

    @property
    def is_open(self) -> bool:
        """True when it asks for no credentials at all. Who builds it decides whether that is allowed."""

    @property
    def signs_body(self) -> bool:
        """True when the credentials are a signature over the body (Grafana's HMAC)."""

    def admits(self, headers: Mapping[str, str], body: bytes | None, now: datetime) -> bool:
        """Whether the credentials are right, in constant time. Header names are lower case.

        Called first with `body=None` (before the body is read) and, when `signs_body`, again with the body.
        """

    def parse(self, body: bytes, arrived_at: datetime) -> Batch:
        """The batch, normalised (R-5). Raises BadPayload, and nothing else, for what can never be valid."""


class Credentials:
    """The check of an `Authorization` header. It compares SHA-256 of both sides, so that neither length nor
    content shows in the time that it takes (PROTOCOLS 8)."""

    def __init__(self, settings: SourceSettings) -> None:
        tokens = map(revealed, (settings.token, settings.token_previous))
        proofs = [f"bearer {token}" for token in tokens if token]
        if settings.username is not None:
            proofs.append(f"basic {settings.username}:{revealed(settings.password)}")
        self._digests = tuple(hashlib.sha256(proof.encode()).digest() for proof in proofs)

    @property
    def is_open(self) -> bool:
        return not self._digests

    def admit(self, authorization: str | None) -> bool:
        """Whether the header proves one of the configured credentials. A malformed one is just wrong."""
        if self.is_open:
            return True
        given = hashlib.sha256(proof_of(authorization or "")).digest()
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0     # never stops early


def proof_of(authorization: str) -> bytes:
    """`Bearer x` as `bearer x`, `Basic eDp5` as `basic x:y`, anything else as nothing."""
    scheme, _, rest = authorization.strip().partition(" ")
    if not authorization.isascii():
        return b""
    if scheme.lower() == "bearer":
        return b"bearer " + rest.strip().encode()
    if scheme.lower() == "basic":
        try:
            return b"basic " + b64decode(rest.strip(), validate=True)
        except binascii.Error:
            return b""
    return b""


class HeaderSource:
    """A source whose credentials are in the `Authorization` header alone."""

    def __init__(self, config: SourceSettings) -> None:
        self.name = config.name
        self._credentials = Credentials(config)

    @property
    def is_open(self) -> bool:
        return self._credentials.is_open

    @property
    def signs_body(self) -> bool:
        return False

    def admits(self, headers: Mapping[str, str], body: bytes | None, now: datetime) -> bool:
        return self._credentials.admit(headers.get("authorization"))
