"""The block of who may enter: how long a session lasts, and the provider of OpenID Connect."""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from alerthub.config.people import Text
from alerthub.settings import Duration, Secret, Settings, base_address

NEEDS = "issuer needs one more library; install alerthub[oidc]"
SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=400)


class SessionSettings(Settings):
    """A session of a browser ends `idle` after it was used last, and `absolute` after it began."""

    idle: Duration = timedelta(hours=12)
    absolute: Duration = timedelta(days=7)

    @model_validator(mode="after")
    def check_times(self) -> Self:
        if not SHORTEST <= self.idle <= self.absolute <= LONGEST:
            raise ValueError("idle must be at least 1m and no longer than absolute, which is at most 400d; write for example "
                             "idle: 12h, absolute: 7d")
        return self


def check_issuer(url: str) -> str:
    parts = base_address(url, "write it like https://login.example.com/realms/main")
    if parts.scheme == "http" and (parts.hostname or "") not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("http is for this machine only; write https://")
    if find_spec("authlib") is None or find_spec("joserfc") is None:
        raise ValueError(NEEDS)
    return url


class OidcSettings(Settings):
    """`roles` gives a role to whoever is in a group; who is in none, and not in `people`, does not get in. Somebody is a person
    of `people` by a verified address, or by the name in `person_claim`."""

    issuer: Annotated[str, AfterValidator(check_issuer)]
    client_id: Text
    client_secret: Secret | None = None
    client_secret_file: str | None = None
    name: Text = "single sign-on"
    scopes: tuple[Text, ...] = ("openid", "profile", "email")
    groups_claim: Text = "groups"
    person_claim: Text | None = None
    roles: dict[Text, Literal["viewer", "responder", "admin"]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def check_scopes(self) -> Self:
        if "openid" not in self.scopes:
            raise ValueError("scopes must hold openid; write for example scopes: [openid, profile, email, groups]")
        return self


class AccessSettings(Settings):
    """Who may enter, beside `people` and the tokens."""

    session: SessionSettings = Field(default_factory=SessionSettings)
    oidc: OidcSettings | None = None
