"""Who can log in, tokens, and what happened at the door."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from alerthub.domain.access import Kind
from alerthub.web.shapes.base import Moment, Page, Shape


class AccountShape(Shape):
    """`role` is what they are now; None for who has left the configuration."""

    name: str
    role: str | None
    is_configured: bool
    has_password: bool
    is_disabled: bool
    created_at: Moment
    created_by: str
    entered_at: Moment | None


class InviteBody(Shape):
    name: str = ""
    role: str = Field("", description="of who is not in `people` of the configuration")


class Invited(Shape):
    """The link is told this once."""

    name: str
    link: str
    expires_at: Moment


class InvitedBefore(Shape):
    """With the same key, before; the link is not told again."""

    name: str
    link: None
    expires_at: Moment


class Changed(Shape):
    name: str
    outcome: Literal["done"]


class TokenShape(Shape):
    """Without an owner it is a service's. The token itself is nowhere."""

    id: int
    owner: str
    name: str
    scope: str = Field(examples=["view respond"])
    created_at: Moment
    created_by: str
    expires_at: Moment
    used_at: Moment | None
    revoked_at: Moment | None


class TokenBody(Shape):
    """`service` names what it is for when it is nobody's own."""

    name: str = ""
    service: str = ""
    scope: str = Field("view", examples=["view respond"])
    lasts: str = Field("90d", description="from a minute to a year")


class MadeToken(Shape):
    """The token is told this once."""

    id: int
    token: str


class MadeBefore(Shape):
    """With the same key, before; the token is not told again. Whoever has lost it revokes it and makes another."""

    id: int
    token: None


class Revoked(Shape):
    id: int
    outcome: Literal["done"]


class DoorEvent(Shape):
    id: int
    at: Moment
    kind: Kind
    account: str
    by: str
    address: str
    detail: str


class EmptyBody(Shape):
    """Nothing is asked for."""


Accounts, Tokens, DoorEvents = Page[AccountShape], Page[TokenShape], Page[DoorEvent]
