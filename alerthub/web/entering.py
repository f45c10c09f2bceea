"""How somebody comes in by a page: guesses are counted before they are compared, a right one opens a new session, and what was
in the browser before opens nothing any more."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from alerthub.domain.access import FREE_BY_ADDRESS, FREE_BY_NAME, Kind, person_of, way_back
from alerthub.flow import access
from alerthub.hashing import hashed
from alerthub.store import accounts, logins
from alerthub.store.accounts import Stored
from alerthub.store.tx import Tx
from alerthub.web.base import HubView, hub_of
from alerthub.web.gate import (
    AGENT,
    BEFORE,
    BEFORE_SECONDS,
    DEVICE,
    SESSION,
    address_of,
    cookie_name,
    drop_cookie,
    gate_of,
    network_of,
    person_by,
    same,
    set_cookie,
)
from alerthub.web.pages.render import page
from alerthub.web.refusals import refusals

logger = logging.getLogger("alerthub.access")
UNKNOWN = "(a name that is nobody's)"       # what strangers type is not kept: some type their password there
WRONG = "That name and password do not belong together."
WRONG_TOKEN = "That is not a token of this hub, or not one that opens the pages."  # noqa: S105
TOO_MANY = "Too many wrong guesses. The next one is heard in {} s; nothing was compared."


class Wrong(Exception):
    """Not let in. `status`, and the words for the page; `after` seconds one may try again."""

    def __init__(self, status: int, text: str, after: int = 0) -> None:
        self.status, self.after = status, after
        super().__init__(text)


def shown(request: Request, template: str, status: int, mark: str, before: str, **values: Any) -> Response:
    """A page with a form for somebody who is nobody yet: what proves that the form is ours goes beside it, in a cookie."""
    answer = page(request, template, status, csrf=mark, **values)
    set_cookie(answer, hub_of(request).door, BEFORE, before, BEFORE_SECONDS)
    return answer


async def mark_of(request: Request) -> tuple[str, str]:
    """What the form must bring, and the cookie that it belongs to: the browser's own, or a new one."""
    before = request.cookies.get(cookie_name(hub_of(request).door, BEFORE), "")[:100] or secrets.token_urlsafe(24)
    return await gate_of(request).mark(f"before/{before}"), before


def session_before(request: Request) -> str:
    return request.cookies.get(cookie_name(hub_of(request).door, SESSION), "")


def let_in(request: Request, secret: str, following: str) -> Response:
    """Led to where they wanted to go, with the new session."""
    door = hub_of(request).door
    answer = RedirectResponse(way_back(following), 303, {"cache-control": "no-store"})
    set_cookie(answer, door, SESSION, secret, door.limits.absolute.total_seconds())
    drop_cookie(answer, door, BEFORE)
    return answer


def begin(request: Request, tx: Tx, account: str, via: str, *, proof: str = "") -> str:
    hub = hub_of(request)
    agent = request.headers.get("user-agent", "")[:AGENT].replace("\0", " ")
    return access.enter(tx, account, via, hub.clock.now(), hub.door.limits.absolute, before=session_before(request), proof=proof,
                        agent=agent, address=address_of(request))


# -- by password

async def by_password(request: Request, name: str, password: str) -> tuple[str, str]:
    """A new session, and the cookie of this browser as one that this person uses. Raises Wrong, Busy."""
    hub, gate, name = hub_of(request), gate_of(request), logins.storable(name)     # also what is counted: one name, one count
    known = request.cookies.get(cookie_name(hub.door, DEVICE), "")
    is_known = await gate.is_device_of(name, known)
    own = f"device:{hashed(known)[:32]}" if is_known else f"name:{hashed(name)[:32]}"
    by_address = "" if is_known else f"address:{network_of(address_of(request))}"
    found = await guess(request, {own: FREE_BY_NAME} | ({by_address: FREE_BY_ADDRESS} if by_address else {}), name)
    encoded = found.password if found is not None and is_able(hub, found) else ""
    if not await hub.passwords.matches(encoded, password):
        await refused(request, found.name if found is not None else name if name in hub.rules.people else UNKNOWN)
        raise Wrong(403, WRONG)
    newer = await hub.passwords.hash(password) if hub.passwords.is_outdated(encoded) else ""

    def unit(tx: Tx) -> str:
        again = accounts.find(tx, name)     # meanwhile somebody may have disabled it, or set another password
        if again is None or not is_able(hub, again) or again.password != encoded:
            raise Wrong(403, WRONG)
        logins.succeeded(tx, own, by_address)
        if newer:
            accounts.rehash(tx, name, encoded, newer)
        return begin(request, tx, name, "password")

    return await hub.store.write(unit), known if is_known else await gate.device(name)


def is_able(hub: HubView, found: Stored) -> bool:
    return found.disabled_at is None and person_of(hub.rules.people, found.name, found.role) is not None


async def guess(request: Request, keys: Mapping[str, int], name: str) -> Stored | None:
    """Count it, and the account that it is about. Raises Wrong when it is too early for one more."""
    hub = hub_of(request)
    now = hub.clock.now()

    def unit(tx: Tx) -> tuple[timedelta, Stored | None]:
        return logins.attempt(tx, keys, now), accounts.find(tx, logins.storable(name))

    wait, found = await hub.store.write(unit)
    if wait:
        seconds = math.ceil(wait.total_seconds())
        if refusals(request, "login").is_news("throttled", "", hub.clock.monotonic()):
            about = found.name if found is not None else UNKNOWN
            address = address_of(request)
            logger.warning("too many wrong guesses, the last for %s from %s", about, address, extra={"event": "access.throttled"})
            await hub.store.write(lambda tx: logins.note(tx, Kind.throttled, now, about, "", address))
        raise Wrong(429, TOO_MANY.format(seconds), seconds)
    return found


async def refused(request: Request, name: str, via: str = "password") -> None:
    """Kept each time, which the waiting between guesses bounds; said once a minute."""
    hub, address = hub_of(request), address_of(request)
    now = hub.clock.now()
    if refusals(request, "login").is_news("failed", via, hub.clock.monotonic()):
        logger.warning("a log-in failed: %s as %s from %s", via, name, address, extra={"event": "access.login_failed"})
    await hub.store.write(lambda tx: logins.note(tx, Kind.login_failed, now, name, "", address, via))


# -- by a token of the configuration, in a browser

async def by_token(request: Request, token: str) -> str:
    """A new session of the shared token, or of the person whose own it is; it ends when the token is no longer theirs."""
    hub = hub_of(request)
    by_address = f"address:{network_of(address_of(request))}"
    await guess(request, {by_address: FREE_BY_ADDRESS}, "")
    person = person_by(hub.door, token)
    if not person and not (hub.door.api_token and same(token, hub.door.api_token)):
        await refused(request, UNKNOWN, "token")
        raise Wrong(403, WRONG_TOKEN)

    def unit(tx: Tx) -> str:
        logins.succeeded(tx, "", by_address)
        return begin(request, tx, person, "token", proof=hashed(token))

    return await hub.store.write(unit)
