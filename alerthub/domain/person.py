"""Who may do what. A chat account is a person's by configuration, or because it was proved by a one-time code."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Right(StrEnum):
    """What a role allows. `approve` is a grant of its own: no role but `approver` has it, not even admin."""

    view = "view"
    respond = "respond"            # acknowledge, resolve, silence, comment, escalate
    approve = "approve"
    administer = "administer"      # override a refusal, replay, reload


RIGHTS = {
    "viewer": frozenset({Right.view}),
    "responder": frozenset({Right.view, Right.respond}),
    "approver": frozenset({Right.view, Right.approve}),
    "admin": frozenset({Right.view, Right.respond, Right.administer}),
}


@dataclass(frozen=True, slots=True)
class Account:
    """Who spoke, as the provider proves it, never by a name that its owner can choose. `id`: Slack `U012AB3CD`, Telegram's
    numeric id, an address that a signed link was mailed to. `name` is only shown."""

    # slack, telegram, email, pagerduty, api, cli; login: who has logged in, token: a person's own of the configuration, both with
    # the name as id; scoped, service: a token of the database by its number, a person's or nobody's
    kind: str
    id: str
    name: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class Person:
    """`accounts` are (kind, id) pairs from the configuration; `contact` the kinds to reach them by, in order. A role that is
    none of the four is a responder who may approve what asks for that role. `scope`: all that the token leaves them by which they
    speak now; None where it is they themselves."""

    name: str
    role: str = "responder"
    grants: frozenset[str] = frozenset()
    accounts: frozenset[tuple[str, str]] = frozenset()
    contact: tuple[str, ...] = ()
    scope: frozenset[Right] | None = None

    def may(self, right: Right) -> bool:
        if self.scope is not None and right not in self.scope:
            return False
        own = RIGHTS.get(self.role, RIGHTS["responder"])
        return right in own or (right is Right.approve and ("approver" in self.grants or self.role not in RIGHTS))

    def may_approve(self, role: str) -> bool:
        """Whether their word counts where `role` is asked for: theirs by role or by grant."""
        return (role == self.role or role in self.grants) and (self.scope is None or Right.approve in self.scope)

    def votes(self, asked: Collection[str]) -> bool:
        """Whether their word counts for anything, where these roles are asked to approve."""
        return bool(self.grants) or self.may(Right.approve) or any(self.may_approve(role) for role in asked)

    def decides(self, asked: Collection[str]) -> bool:
        """Whether their word lets anything happen, where these roles are asked to approve: who could speak with their voice
        could let it happen too."""
        return self.votes(asked) or self.may(Right.administer)


def emails_of(people: Iterable[Person]) -> dict[str, str]:
    """All of them by name, with the address or ""."""
    return {person.name: next((address for kind, address in person.accounts if kind == "email"), "") for person in people}
