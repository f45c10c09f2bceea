"""Single sign-on: to the provider, and back. What belongs to one try (state, nonce, verifier) is made of a secret that only this
browser has, in a cookie: another browser's answer fits nothing here, and no replica has to remember anything.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from hmac import compare_digest

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from alerthub.domain.access import Kind, way_back, wrong_name
from alerthub.domain.person import Person
from alerthub.domain.rules import Rules
from alerthub.errors import NotProved
from alerthub.flow import access
from alerthub.store import accounts, logins
from alerthub.store.tx import Tx
from alerthub.web.base import Claimed, hub_of, problem
from alerthub.web.entering import begin, let_in
from alerthub.web.gate import address_of, cookie_name, drop_cookie, gate_of, set_cookie
from alerthub.web.pages.render import page
from alerthub.web.refusals import refusals
from alerthub.web.routing import route

TRY, TRY_SECONDS = "alerthub_oidc", 600
OTHER_BROWSER = "This answer belongs to another log-in, or to one that took too long. Log in again."
NOBODY = ("You are known at {}, but not here: you are in none of the groups that may enter, and no person of this hub has your "
          "address. Ask an admin.")
TAKEN = "There is an account {} here already that is not yours. Ask an admin."
OFF = "Your account here is disabled. Ask an admin."


def part(key: bytes, what: str, secret: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, f"oidc/{what}/{secret}".encode(), hashlib.sha256)).decode().rstrip("=")


async def go(request: Request) -> Response:
    """To the provider. Nothing is kept but in the browser."""
    hub = hub_of(request)
    if hub.provider is None:
        return problem(404, "there is nothing at this address")
    key, secret = await gate_of(request).signing_key(), secrets.token_urlsafe(32)
    until = int(hub.clock.now().timestamp()) + TRY_SECONDS
    verifier = part(key, "verifier", secret)
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    try:
        to = await hub.provider.address(part(key, "state", secret), part(key, "nonce", secret), challenge)
    except NotProved as error:
        return page(request, "denied.html", 503, error=str(error))
    answer = RedirectResponse(to, 303, {"cache-control": "no-store"})
    following = urlsafe_b64encode(way_back(request.query_params.get("next", "/")).encode()).decode()
    value = f"{secret}.{until}.{following}"
    set_cookie(answer, hub.door, TRY, f"{value}.{part(key, 'try', value)}", TRY_SECONDS)
    return answer


def try_of(key: bytes, cookie: str, now: datetime) -> tuple[str, str] | None:
    """The secret of the try and where to go then; None for one that is not ours, or too old."""
    value, _, given = cookie.rpartition(".")
    if not compare_digest(part(key, "try", value).encode(), given.encode()):
        return None
    secret, until, following = value.split(".")
    return (secret, following) if int(until) > now.timestamp() else None


async def come_back(request: Request) -> Response:
    """With a code from the provider. Whoever it proves is in, when the hub knows them."""
    hub, key = hub_of(request), await gate_of(request).signing_key()
    if hub.provider is None:
        return problem(404, "there is nothing at this address")
    query, found = request.query_params, try_of(key, request.cookies.get(cookie_name(hub.door, TRY), ""), hub.clock.now())
    if found is None or not compare_digest(query.get("state", "").encode(), part(key, "state", found[0]).encode()):
        return await denied(request, OTHER_BROWSER)
    secret = found[0]
    if not query.get("code"):
        return await denied(request, "The single sign-on has not let you in. Log in again, or ask whoever runs it.")
    try:
        verifier, nonce = part(key, "verifier", secret), part(key, "nonce", secret)
        claimed = await hub.provider.prove(query["code"], verifier, nonce, hub.clock.now())
        session = await hub.store.write(lambda tx: entered(tx, request, claimed))
    except (NotProved, access.NotGranted) as error:
        return await denied(request, str(error))
    answer = let_in(request, session, urlsafe_b64decode(found[1]).decode())
    drop_cookie(answer, hub.door, TRY)
    return answer


def entered(tx: Tx, request: Request, claimed: Claimed) -> str:
    """A session of whom the provider has named. Raises NotGranted for who has no place here."""
    hub = hub_of(request)
    rules, now = hub.rules, hub.clock.now()
    name, role = place_of(rules, claimed, hub.provider.name if hub.provider else "")
    stored = accounts.find(tx, name)
    if stored is None:
        accounts.add(tx, name, role, now, "oidc")
    elif stored.subject != claimed.subject and not (name in rules.people and not stored.subject):
        raise access.NotGranted(TAKEN.format(name))
    elif stored.disabled_at is not None:
        raise access.NotGranted(OFF)
    accounts.set_subject(tx, name, claimed.subject)
    accounts.set_role(tx, name, role)       # as their groups are now
    return begin(request, tx, name, "oidc")


def place_of(rules: Rules, claimed: Claimed, provider: str) -> tuple[str, str]:
    """The name of the account, and its role; empty for a person of the configuration, whose role is there. By default none."""
    person = matched(rules, claimed)
    if person is not None:
        return person.name, ""
    if not claimed.role or claimed.name in rules.people or wrong_name(claimed.name):
        raise access.NotGranted(NOBODY.format(provider))
    return claimed.name, claimed.role


def matched(rules: Rules, claimed: Claimed) -> Person | None:
    """By the claim that the configuration names, else by a verified address; never by a name that its owner may choose."""
    if claimed.person:
        return rules.people.get(claimed.person)
    if not claimed.email:
        return None
    return next((person for person in rules.people.values() if ("email", claimed.email) in person.accounts), None)


async def denied(request: Request, words: str) -> Response:
    hub = hub_of(request)
    if refusals(request, "login").is_news("failed", "oidc", hub.clock.monotonic()):
        await hub.store.write(lambda tx: logins.note(tx, Kind.login_failed, hub.clock.now(), "", "", address_of(request), "oidc"))
    answer = page(request, "denied.html", 403, error=words)
    drop_cookie(answer, hub.door, TRY)
    return answer


ROUTES = [*route("/login/oidc", go), *route("/login/oidc/callback", come_back)]
