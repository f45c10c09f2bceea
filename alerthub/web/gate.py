"""Who comes: by a session of a browser, a token of a program, or from this machine. One look into the database for each request
that brings a session or a token of the database; nothing of that is kept. Which address needs whom is in access.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import replace
from ipaddress import ip_address, ip_network
from math import inf

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import Response

from alerthub.domain.access import person_of, scope_of
from alerthub.domain.person import Account, Person
from alerthub.errors import Busy
from alerthub.flow import access
from alerthub.hashing import hashed
from alerthub.store import accounts, people, sessions
from alerthub.store.tx import Tx
from alerthub.web.base import Door, HubView
from alerthub.web.visitor import Visitor

SESSION, BEFORE, DEVICE = "alerthub_session", "alerthub_before", "alerthub_device"
KEY = "pages"                   # of the keys of the hub: what forms and cookies are signed with
WANTED_SECONDS = 2.0            # how late another replica's first account closes the open door of this one
AGENT = 200
DEVICE_SECONDS = 180 * 24 * 3600
BEFORE_SECONDS = 3600


class Gate:
    """What the door knows while the hub runs: its key, and whether anybody can log in."""

    def __init__(self, hub: HubView) -> None:
        self.hub = hub
        self.key = b""
        self.asked_at = -inf
        self.is_closed = False

    async def visitor(self, headers: Headers, *, is_marked: bool, is_use: bool = True) -> Visitor | None:
        """Who it is; None for nobody that the hub knows. A token that is sent counts, whatever cookie comes with it. `is_marked`:
        it may be about a page with forms; `is_use`: it keeps a session from ending unused. Raises Busy."""
        token = bearer(headers) or password(headers)
        cookie = cookies_of(headers).get(cookie_name(self.hub.door, SESSION), "")
        found = await (self.by_token(token, is_use) if token else self.by_session(cookie, is_use)) if token or cookie else None
        if found is None or not is_marked:
            return found
        return replace(found, csrf=await self.mark(found.session or hashed(token)))

    async def is_still(self, visitor: Visitor, headers: Headers) -> bool:
        """Whether what they came in by is still theirs: of who is on this machine without asking the database. As long as that is
        away nobody has lost anything."""
        if visitor.is_local:
            return not self.is_asked_for and not self.is_closed
        try:
            found = await self.visitor(headers, is_marked=False, is_use=False)
        except Busy:
            return True
        return found is not None and found.account == visitor.account

    async def by_token(self, token: str, is_use: bool) -> Visitor | None:
        """The shared one, a person's of the configuration, or one of the database."""
        door, rules = self.hub.door, self.hub.rules
        if person := person_by(door, token):
            return Visitor(Account("token", person, person), rules.people.get(person))
        if door.api_token and same(token, door.api_token):
            return Visitor(Account("api", "api", "API"))
        return await self.by_stored(token, is_use) if token.startswith(sessions.TOKEN) else None

    async def by_stored(self, token: str, is_use: bool) -> Visitor | None:
        now = self.hub.clock.now()
        found = await self.hub.store.read(lambda tx: sessions.find_token(tx, token, now))
        if found is None:
            return None
        person = access.owner_of(self.hub.rules, found)
        if found.owner and person is None:
            return None
        if is_use and sessions.is_to_be_seen(found.used_at, now):
            await self.hub.store.write(lambda tx: sessions.used(tx, found.id, now))
        account = Account("scoped" if found.owner else "service", str(found.id), found.owner or found.name)
        return Visitor(account, person, scope=scope_of(found.scope))

    async def by_session(self, cookie: str, is_use: bool) -> Visitor | None:
        now, limits = self.hub.clock.now(), self.hub.door.limits
        found = await self.hub.store.read(lambda tx: sessions.find(tx, cookie, now, limits.idle, limits.absolute))
        visitor = self.known(found) if found is not None else None
        if found is None or visitor is None:
            return None
        if is_use and sessions.is_to_be_seen(found.seen_at, now):
            await self.hub.store.write(lambda tx: sessions.seen(tx, found.key, now))
        account, person = visitor
        return Visitor(account, person, session=found.key)

    def known(self, found: sessions.Session) -> tuple[Account, Person | None] | None:
        """Who a session is now: nobody once they left the configuration, were disabled, or the token that opened it has
        changed.
        """
        door, rules, name = self.hub.door, self.hub.rules, found.account
        if found.via == "token":
            if not name:
                is_still = bool(door.api_token) and same(found.proof, hashed(door.api_token))
                return (Account("api", "api", "API"), None) if is_still else None
            return (Account("token", name, name), rules.people.get(name)) if door.people.get(found.proof) == name else None
        person = None if found.role is None or found.is_disabled else person_of(rules.people, name, found.role)
        return (Account("login", name, name), person) if person is not None else None

    async def local(self) -> Visitor:
        """Whoever is on this machine, while nobody can log in."""
        return Visitor(Account("local", "local", "local"), csrf=await self.mark("local"))

    @property
    def is_asked_for(self) -> bool:
        """Whether the configuration has one log in, whoever can."""
        return not self.hub.door.is_loopback or bool(self.hub.door.api_token) or self.hub.provider is not None

    async def is_wanted(self) -> bool:
        """Whether one has to log in, also on this machine: there is, or was, a way to do so. A door that was closed does not open
        when the last who could has gone: then the console has a link. Known for a moment."""
        if self.is_asked_for:
            return True
        now = self.hub.clock.monotonic()
        if now - self.asked_at >= WANTED_SECONDS:
            self.is_closed = await self.hub.store.read(accounts.is_any_known)
            self.asked_at = now
        return self.is_closed

    def forget(self) -> None:
        """Somebody was given a way in, or lost it: ask again."""
        self.asked_at = -inf

    # -- marks: what only a page of ours can know

    async def mark(self, of: str) -> str:
        """What a form must bring: made of a key that nobody else has, and of what this visitor came in by. Raises Busy."""
        return hmac.digest(await self.signing_key(), f"csrf/{of}".encode(), hashlib.sha256).hex()

    async def device(self, name: str, noise: str = "") -> str:
        """What a browser keeps that has logged in as this name once: it is not held back by what others guess."""
        noise = noise or secrets.token_urlsafe(12)
        return f"{noise}.{hmac.digest(await self.signing_key(), f'device/{name}/{noise}'.encode(), hashlib.sha256).hex()}"

    async def is_device_of(self, name: str, cookie: str) -> bool:
        noise, dot, _ = cookie.partition(".")
        return bool(dot) and hmac.compare_digest(cookie.encode(), (await self.device(name, noise)).encode())

    async def signing_key(self) -> bytes:
        if not self.key:    # a database that is full, or that others keep busy, can still be read
            self.key = await self.hub.store.read(lambda tx: people.made_key(tx, KEY)) or await self.hub.store.write(key_of)
        return self.key


def key_of(tx: Tx) -> bytes:
    return people.signing_key(tx, KEY)


def gate_of(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


def asker_of(request: Request, visitor: Visitor) -> access.Asker:
    return access.Asker(visitor.name, visitor.person, visitor.is_local, address_of(request),
                        visitor.scope is not None)


def address_of(request: Request) -> str:
    """Of whoever is at the other end, which may be a proxy: headers that say otherwise are not believed."""
    return request.client.host if request.client is not None else ""


def network_of(address: str) -> str:
    """What guesses are counted by: of IPv6 the 64 bits that are a network's, since whoever has one address there has them all."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip_network((found, 64), strict=False)) if found.version == 6 and found.ipv4_mapped is None else address


def person_by(door: Door, token: str) -> str:
    """Whose own token of the configuration it is; empty for any other. What is looked up is its hash, so that the time taken
    tells nothing of it."""
    return door.people.get(hashed(token), "") if token else ""


# -- cookies

def is_https(door: Door) -> bool:
    return door.public_url.lower().startswith("https://")


def cookie_name(door: Door, name: str) -> str:
    """`__Host-`: no other host, and no page over http, can have set it."""
    return f"__Host-{name}" if is_https(door) else name


def cookies_of(headers: Headers) -> dict[str, str]:
    return cookie_parser(headers.get("cookie", ""))


def set_cookie(response: Response, door: Door, name: str, value: str, seconds: float) -> None:
    response.set_cookie(cookie_name(door, name), value, int(seconds), path="/", secure=is_https(door), httponly=True,
                        samesite="lax")


def drop_cookie(response: Response, door: Door, name: str) -> None:
    response.delete_cookie(cookie_name(door, name), path="/", secure=is_https(door), httponly=True, samesite="lax")


# -- what a request brings

def bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def password(headers: Headers) -> str:
    """Of whatever user name (RFC 7617); empty for anything else."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    try:
        pair = base64.b64decode(given.strip(), validate=True) if scheme.lower() == "basic" else b""
    except ValueError:
        return ""
    return pair.decode("utf-8", "surrogateescape").partition(":")[2]


def same(given: str, expected: str) -> bool:
    """In constant time, whatever the length."""
    return hmac.compare_digest(hashed(given), hashed(expected))
