"""Who asks over the web, as the door has let them in: a person, or somebody in particular to nobody."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from alerthub.domain.answer import TRUSTED
from alerthub.domain.person import Account, Person, Right

VISITOR = "alerthub.visitor"        # in the scope of a request; absent where nobody was asked who they are


@dataclass(frozen=True, slots=True)
class Visitor:
    """`account` is how they came in, and with what they speak in commands; `person` None for whoever is nobody in particular:
    this machine, the shared token, a service. `csrf` goes into every form. `session` names the one of a browser, without opening
    it; `scope` is all that a token of the database leaves them."""

    account: Account
    person: Person | None = None
    csrf: str = ""
    session: str = ""
    scope: frozenset[Right] | None = None

    @property
    def name(self) -> str:
        """As it is shown and written down. A service is called as whoever made it likes: never like a person."""
        if self.person is not None:
            return self.person.name
        name = self.account.name or self.account.id
        return f"{name} (service)" if self.account.kind == "service" else name

    @property
    def is_local(self) -> bool:
        """Let in because they are on this machine, and nothing asks who they are."""
        return self.account.kind == "local"

    def may(self, right: Right) -> bool:
        """As a page shows it. The room that does it decides again."""
        if self.person is not None:
            return self.person.may(right)
        return self.account.kind in TRUSTED and right is not Right.approve and (self.scope is None or right in self.scope)


def known(request: Request) -> Visitor:
    """Whoever asks at an address that is not open: the door lets nobody in without one."""
    visitor = visitor_of(request)
    assert visitor is not None, request.url.path
    return visitor


def visitor_of(request: Request) -> Visitor | None:
    found: Visitor | None = request.scope.get(VISITOR)
    return found
