"""Who was refused because they may not do that, in the record of the door. One row a minute for the same person, method and
address, of each replica, so that nobody fills the record with it."""

from __future__ import annotations

import logging
from urllib.parse import quote

from starlette.routing import Match
from starlette.types import Scope

from alerthub.domain.access import Kind
from alerthub.domain.command import Answer
from alerthub.errors import Busy
from alerthub.log import redact
from alerthub.store import logins
from alerthub.web.base import HubView
from alerthub.web.refusals import Refusals
from alerthub.web.visitor import VISITOR, Visitor

logger = logging.getLogger("alerthub.access")
REFUSED = 403
ABOUT = "alerthub.refused_for"      # in the scope of a request: whether it was refused for what they may not do, if not by status
MAY_NOT = frozenset({"unknown_account", "not_allowed", "needs_person", "own_request"})      # of `Why`
LONGEST = 200
NOWHERE = "(an address that is not there)"


def heard(scope: Scope, told: Answer) -> None:
    """A page says it with another status than 403."""
    if told.why in MAY_NOT:
        scope[ABOUT] = True


def unproved(scope: Scope) -> None:
    """It was refused for how it was asked: an old form, a password that is not theirs."""
    scope[ABOUT] = False


class Denials:
    """Called after the answer was sent: a refusal waits for no database, and stands whatever becomes of its row."""

    def __init__(self, hub: HubView) -> None:
        self.hub, self.refusals = hub, Refusals()

    async def keep(self, scope: Scope, status: int) -> None:
        visitor: Visitor | None = scope.get(VISITOR)
        if visitor is None or visitor.is_local or not scope.get(ABOUT, status == REFUSED):
            return
        known = known_address(scope)
        if not self.refusals.is_news(visitor.name, known, self.hub.clock.monotonic()):
            return
        what, address = detail(scope, known), client_of(scope)
        logger.warning("%s may not do that: %s, from %s", visitor.name, what, address, extra={"event": "access.denied"})
        now, name = self.hub.clock.now(), visitor.name
        try:
            await self.hub.store.write(lambda tx: logins.note(tx, Kind.denied, now, name, "", address, what))
        except Busy as error:
            logger.warning("that is not in the record of the door: %s", error, extra={"event": "access.denied_not_kept"})


def known_address(scope: Scope) -> str:
    """The method and the route, of which there are few; empty for what anybody can make up."""
    routes = scope["app"].routes if "app" in scope else ()
    found = next((one for one in routes if one.matches(scope)[0] is Match.FULL), None)
    return f"{scope['method']} {found.path.rstrip('/')}" if found is not None else ""


def detail(scope: Scope, known: str) -> str:
    """What was asked; of an address that is not there nothing is kept, since some paste there what is secret."""
    if not known:
        return NOWHERE
    return redact(f"{scope['method']} {quote(scope['path'][:LONGEST], errors='replace')[:LONGEST]}")


def client_of(scope: Scope) -> str:
    return scope["client"][0] if scope.get("client") else ""
