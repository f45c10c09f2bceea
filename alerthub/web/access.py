"""Who may use the API and the pages until people can log in: this machine, whoever has `server.api_token`, or a person with a
token of their own, who is that person. Programs send it as a bearer; a browser asks for it, as the password of any user name.

Webhooks have their own credentials; health, metrics and runbooks are open.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from alerthub.domain.person import Account, Person, Right
from alerthub.web.base import Door, HubView, problem
from alerthub.web.pages.render import render
from alerthub.web.visitor import VISITOR, Visitor

OPEN = frozenset({"/healthz", "/readyz", "/health", "/metrics"})
# These have their own proofs, or hold nothing secret.
OPEN_BELOW = ("/hooks/", "/replies/", "/static/", "/respond/", "/heartbeats/", "/runbooks/", "/api/v1/permits/")
PERSON = "alerthub.person"      # in the scope of a request: whose own token came with it
DECIDED_LATER = ("/api/v1/incidents/", "/api/v1/actions/", "/api/v1/latches/", "/api/v1/freezes", "/actions/")
FOR_ADMINS = ("/api/v1/reload", "/api/v1/people/")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]+)?")
CONTENT = "default-src 'none'; {}style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
SCRIPTS = "script-src 'self'; connect-src 'self'; "      # of the hub's own, and only where people have come in
SECURITY_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
                    (b"cross-origin-opener-policy", b"same-origin"), (b"x-frame-options", b"DENY")]
POLICIES = {may_run: (b"content-security-policy", CONTENT.format(SCRIPTS if may_run else "").encode())
            for may_run in (True, False)}


class Access:
    """ASGI middleware: refuses what may not enter, and puts the security headers on every answer but a webhook's."""

    def __init__(self, app: ASGIApp, hub: HubView) -> None:
        self.app, self.hub = app, hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/hooks/"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope[PERSON] = person = person_by(self.hub.door, bearer(headers) or password(headers))
        refused, is_inside = None, not is_open(scope["path"])
        if is_inside:
            scope[VISITOR] = visitor(self.hub, person)
            refused = refusal(self.hub.door, headers, scope["method"], scope["path"], person) or (
                person_refusal(self.hub.rules.people.get(person), person, scope["method"], scope["path"]) if person else None)

        async def with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))  # type: ignore[call-overload]
                message = {**message, "headers": [*headers, *SECURITY_HEADERS, POLICIES[is_inside]]}
            await send(message)

        await (refused or self.app)(scope, receive, with_headers)  # type: ignore[arg-type]


def refusal(door: Door, headers: Headers, method: str, path: str, person: str = "") -> Response | None:
    """The answer to what may not enter; None for what may."""
    host = headers.get("host", "").lower()
    if len(headers.getlist("host")) > 1:
        return problem(400, "more than one Host header")
    public = urlsplit(door.public_url.lower())
    ours = {f"http://{host}", f"https://{host}", f"{public.scheme}://{public.netloc}"}
    if method not in ("GET", "HEAD") and is_foreign(headers, ours):
        return problem(403, "this request was started by another site")
    if person:
        return None
    if door.api_token:
        return None if same(bearer(headers) or password(headers), door.api_token) else locked(method, path)
    if not door.is_loopback:
        return problem(403, "set server.api_token (or api_token_file) to use the API and the pages from other machines")
    if name_of(host) not in LOOPBACK | {public.hostname}:       # DNS rebinding: a foreign name that leads to this machine
        return problem(403, "this host name is not the hub's; use 127.0.0.1 or server.public_url")
    return None


def is_foreign(headers: Headers, ours: Collection[str]) -> bool:
    """Whether a page of another site started the request. A page without referrer, as ours are, sends the origin `null`; of that
    only the browser's own word counts. No browser at all sends neither."""
    site, origin = headers.get("sec-fetch-site", ""), headers.get("origin")
    if site:
        return site not in ("same-origin", "none")
    return origin is not None and origin.lower() not in ours


def person_by(door: Door, token: str) -> str:
    """Whose own token it is; empty for the shared one, and for none. What is looked up is its hash, so that the time taken tells
    nothing of it."""
    return door.people.get(hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest(), "") if token else ""


def visitor(hub: HubView, person: str) -> Visitor:
    if person:
        return Visitor(Account("token", person, person), hub.rules.people.get(person))
    return Visitor(Account("api", "api", "API") if hub.door.api_token else Account("local", "local", "local"))


def caller(scope: Scope, name: str = "") -> Account:
    """Who asks over the API: a person, or nobody in particular, whatever name they give."""
    person = scope.get(PERSON, "")
    return Account("token", person, person) if person else Account("api", "api", name)


def person_refusal(known: Person | None, person: str, method: str, path: str) -> Response | None:
    """What a person may not do over the API. Looking, anybody may; what people ask is decided in its own room."""
    if method in ("GET", "HEAD") or path.startswith(DECIDED_LATER):
        return None
    if path.rstrip("/") == f"/api/v1/people/{person}/link-code":
        return None
    # A code makes an account somebody's: whoever could make one for others could speak with their voice.
    right = Right.administer if path.startswith(FOR_ADMINS) or path.rstrip("/").endswith("/replay") else Right.respond
    if known is not None and known.may(right):
        return None
    return problem(403, f"{person} is {known.role if known else 'nobody'} here and may not do that; it needs the right to "
                        f"{right.value}")


def name_of(host: str) -> str:
    """Without the port, and an IPv6 address without its brackets; empty for what is no host."""
    match = HOST.fullmatch(host)
    return (match[1] or match[2]) if match else ""


def is_open(path: str) -> bool:
    """What lies below such an address, and not what is at it: `/heartbeats/` is a page, `/heartbeats/NAME` a door of its own."""
    return path.rstrip("/") in OPEN or (path.startswith(OPEN_BELOW) and path not in OPEN_BELOW)


def locked(method: str, path: str) -> Response:
    """A program is told which header to send. A browser that wants a page asks its person; the words are for who cancels."""
    if method in ("GET", "HEAD") and not f"{path}/".startswith("/api/"):
        page = render("locked.html", 401)
        page.headers["www-authenticate"] = 'Basic realm="AlertHub"'
        return page
    return problem(401, "send the header Authorization: Bearer with server.api_token", {"www-authenticate": "Bearer"})


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
    digest = [hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, expected)]
    return hmac.compare_digest(*digest)
