"""Who may use the API and the pages: whoever has logged in, a program with a token, and on this machine anybody as long as
nobody can log in. Who it is says gate.py; here is which address needs whom, and what those hear who may not enter.

Webhooks have their own credentials; health, metrics and runbooks are open.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from alerthub.domain.person import Account, Right
from alerthub.errors import Busy
from alerthub.web.base import Door, HubView, problem
from alerthub.web.denials import Denials
from alerthub.web.forms import is_mark
from alerthub.web.gate import Gate, is_https
from alerthub.web.pages.pressing import may_not
from alerthub.web.pages.render import render
from alerthub.web.styles import DIGESTS
from alerthub.web.visitor import VISITOR, Visitor

OPEN = frozenset({"/healthz", "/readyz", "/health", "/metrics"})
# These have their own proofs, or hold nothing secret.
OPEN_BELOW = ("/hooks/", "/replies/", "/static/", "/respond/", "/heartbeats/", "/runbooks/", "/api/v1/permits/")
DOORS = ("/login", "/setup/", "/invited/")      # by which one comes in: open, and not for other sites
PERSONAL = frozenset({"token", "login", "scoped", "service"})       # accounts that speak for somebody in particular
DECIDED_LATER = ("/api/v1/incidents/", "/api/v1/actions/", "/api/v1/latches/", "/api/v1/freezes", "/api/v1/tokens", "/actions/")
FOR_ADMINS = ("/api/v1/reload", "/api/v1/people/", "/api/v1/accounts", "/people")
OWN = ("/logout", "/account")                   # what everybody may do about themselves
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]+)?")
CONTENT = "default-src 'none'; {}style-src 'self' {}; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
SCRIPTS = "script-src 'self'; connect-src 'self'; "      # of the hub's own, and only where people have come in
SECURITY_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
                    (b"cross-origin-opener-policy", b"same-origin"), (b"x-frame-options", b"DENY")]
ONLY_HTTPS = [(b"strict-transport-security", b"max-age=31536000")]
POLICIES = {may_run: (b"content-security-policy", CONTENT.format(SCRIPTS if may_run else "", DIGESTS).encode())
            for may_run in (True, False)}
ANOTHER_SITE = "this request was started by another site"
NOT_LOGGED_IN = ("log in, or send the header Authorization: Bearer with a token: one of your own (page Account, alerthub token "
                 "add), or server.api_token")


class Access:
    """ASGI middleware: refuses what may not enter, and puts the security headers on every answer but a webhook's."""

    def __init__(self, app: ASGIApp, hub: HubView, gate: Gate | None = None) -> None:
        self.app, self.hub, self.gate = app, hub, gate or Gate(hub)
        self.denials = Denials(hub)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/hooks/"):
            await self.app(scope, receive, send)
            return
        is_inside = not is_open(scope["path"])
        try:
            refused = await self.admit(scope, Headers(scope=scope), is_inside=is_inside)
        except Busy as error:
            refused = problem(503, f"{error}; try again", {"retry-after": "1"})
        more = [*SECURITY_HEADERS, POLICIES[is_inside], *(ONLY_HTTPS if is_https(self.hub.door) else ())]

        status = 0

        async def with_headers(message: dict[str, object]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]  # type: ignore[assignment]
                message = {**message, "headers": [*message.get("headers", []), *more]}  # type: ignore[misc]
            await send(message)

        await (refused or self.app)(scope, receive, with_headers)  # type: ignore[arg-type]
        if is_inside:
            await self.denials.keep(scope, status)

    async def admit(self, scope: Scope, headers: Headers, *, is_inside: bool) -> Response | None:
        """The answer to what may not enter; None for what may: then who it is is in the scope. Raises Busy."""
        method, path = scope["method"], scope["path"]
        if is_inside or path.startswith(DOORS):
            if refused := misdirected(self.hub.door, headers, method):
                return refused
        elif not (path.startswith("/respond/") and is_ours(headers, method)):
            return None
        visitor = await self.gate.visitor(headers, is_marked=not path.startswith("/respond/"))
        if visitor is None and is_inside:
            if await self.gate.is_wanted():
                return locked(self.hub.door, headers, method, scope)
            if refused := rebound(self.hub.door, headers):
                return refused
            visitor = await self.gate.local()
        if visitor is None:
            return None
        if is_inside and (refused := forged(visitor, headers, method, path)):
            return refused
        scope[VISITOR] = visitor
        reason = not_allowed(visitor, method, path) if is_inside else ""
        return may_not(Request(scope), 403, reason) if reason else None


def misdirected(door: Door, headers: Headers, method: str) -> Response | None:
    """What no page and no program of ours sends."""
    host = headers.get("host", "").lower()
    if len(headers.getlist("host")) > 1:
        return problem(400, "more than one Host header")
    public = urlsplit(door.public_url.lower())
    ours = {f"http://{host}", f"https://{host}", f"{public.scheme}://{public.netloc}"}
    return problem(403, ANOTHER_SITE) if method not in ("GET", "HEAD") and is_foreign(headers, ours) else None


def rebound(door: Door, headers: Headers) -> Response | None:
    """DNS rebinding: a foreign name that leads to this machine, where nobody is asked who they are."""
    if name_of(headers.get("host", "").lower()) in LOOPBACK | {urlsplit(door.public_url.lower()).hostname}:
        return None
    return problem(403, "this host name is not the hub's; use 127.0.0.1 or server.public_url")


def is_foreign(headers: Headers, ours: Collection[str]) -> bool:
    """Whether a page of another site started the request. A page without referrer, as ours are, sends the origin `null`; of that
    only the browser's own word counts. No browser at all sends neither."""
    site, origin = headers.get("sec-fetch-site", ""), headers.get("origin")
    if site:
        return site not in ("same-origin", "none")
    return origin is not None and origin.lower() not in ours


def is_ours(headers: Headers, method: str) -> bool:
    """Of a mailed link, which others may have sent: whether the cookie that comes with it may say who presses."""
    return method in ("GET", "HEAD") or headers.get("sec-fetch-site", "") == "same-origin" or "cookie" not in headers


def forged(visitor: Visitor, headers: Headers, method: str, path: str) -> Response | None:
    """A cookie comes with every request that a browser sends, whoever made it do so: over the API it needs a proof that a page
    of ours did. Forms of pages carry theirs as a field (forms.py)."""
    if not visitor.session or method in ("GET", "HEAD") or not path.startswith("/api/"):
        return None
    # What another origin sent with these headers has been refused before.
    if headers.get("sec-fetch-site") == "same-origin" or is_mark(headers.get("x-csrf-token", ""), visitor.csrf):
        return None
    return problem(403, "with a session this needs the header X-CSRF-Token, as the page has it; a program sends a token instead")


def caller(scope: Scope, name: str = "") -> Account:
    """Who asks over the API: a person, a service, or nobody in particular, whatever name they give."""
    visitor: Visitor | None = scope.get(VISITOR)
    return visitor.account if visitor is not None and visitor.account.kind in PERSONAL else Account("api", "api", name)


def needed(method: str, path: str, name: str) -> tuple[Right, ...]:
    """One of these rights. Looking, anybody may; what is asked of an incident or an action is decided in its own room."""
    if method in ("GET", "HEAD") or path.startswith(OWN):
        return (Right.view,)
    if path.startswith(DECIDED_LATER) or path.rstrip("/") == f"/api/v1/people/{name}/link-code":
        return (Right.view, Right.respond, Right.approve, Right.administer)
    # A code makes an account somebody's: whoever could make one for others could speak with their voice.
    if path.startswith(FOR_ADMINS) or path.rstrip("/").endswith("/replay"):
        return (Right.administer,)
    return (Right.respond,) if path.startswith("/api/") else (Right.respond, Right.approve, Right.administer)


def not_allowed(visitor: Visitor, method: str, path: str) -> str:
    """Why they may not do that at all; empty when they may. A service has nobody's rights: it needs the one to respond, wherever
    a room decides later."""
    if visitor.scope is not None and method not in ("GET", "HEAD") and path.startswith(OWN):
        return f"{visitor.name}: an account is changed by who has logged in, not with a token"
    rights = needed(method, path, visitor.person.name if visitor.person is not None else "")   # a service may be called anything
    if visitor.account.kind == "service" and method not in ("GET", "HEAD"):
        rights = tuple(right for right in rights if right is not Right.view)
    if any(visitor.may(right) for right in rights) or visitor.account.kind in ("api", "local"):
        return ""
    nobody = "a service" if visitor.account.kind == "service" else "nobody here"
    what = f"{visitor.person.role} here" if visitor.person is not None else nobody
    only = f", with a token for {' and '.join(sorted(visitor.scope))} only," if visitor.scope is not None else ""
    return f"{visitor.name} is {what}{only} and may not do that; it needs the right to {rights[0].value}"


def name_of(host: str) -> str:
    """Without the port, and an IPv6 address without its brackets; empty for what is no host."""
    match = HOST.fullmatch(host)
    return (match[1] or match[2]) if match else ""


def is_open(path: str) -> bool:
    """What lies below such an address, and not what is at it: `/heartbeats/` is a page, `/heartbeats/NAME` a door of its own."""
    return path.rstrip("/") in OPEN or path.rstrip("/") == "/login" or (
        path.startswith((*OPEN_BELOW, "/login/", *DOORS[1:])) and path not in OPEN_BELOW)


def locked(door: Door, headers: Headers, method: str, scope: Scope) -> Response:
    """A browser that wants a page is led to the log-in; a program is told which header to send. Only a program is asked for a
    user name and a password in HTTP's own way: a browser would go on sending them, with no way to log out."""
    path = scope["path"]
    is_page = not f"{path}/".startswith("/api/")
    fetches = headers.get("sec-fetch-mode", "")
    if is_page and not headers.get("authorization") and (fetches == "navigate" or (
            not fetches and "text/html" in headers.get("accept", ""))):
        query = scope.get("query_string", b"").decode("latin-1")
        to = f"{path}?{query}" if query else path
        following = f"?next={quote(to, safe='/')}" if method in ("GET", "HEAD") and to != "/" else ""
        return RedirectResponse(f"/login{following}", 303, {"cache-control": "no-store"})
    if is_page and method in ("GET", "HEAD") and door.api_token and not fetches:
        page = render("locked.html", 401)
        page.headers["www-authenticate"] = 'Basic realm="AlertHub"'
        return page
    return problem(401, NOT_LOGGED_IN, {"www-authenticate": "Bearer"})
