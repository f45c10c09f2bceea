"""Who may use the API and the pages until people can log in: this machine, or the bearer of `server.api_token`.

Webhooks have their own credentials; health and metrics are open.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from alerthub.web.base import Door, problem

OPEN = ("/hooks/", "/healthz", "/readyz", "/health", "/metrics", "/replies/", "/static/")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
SECURITY_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
                                 b"frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"), (b"x-frame-options", b"DENY"),
]


class Access:
    """ASGI middleware: refuses what may not enter, and puts the security headers on every answer but a webhook's."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/hooks/"):
            await self.app(scope, receive, send)
            return
        refusal = None if is_open(scope["path"]) else self.refusal(Headers(scope=scope), scope["method"])

        async def with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))  # type: ignore[call-overload]
                message = {**message, "headers": headers + SECURITY_HEADERS}
            await send(message)

        await (refusal or self.app)(scope, receive, with_headers)  # type: ignore[arg-type]

    def refusal(self, headers: Headers, method: str) -> Response | None:
        host = headers.get("host", "").rsplit(":", 1)[0] if not headers.get("host", "").endswith("]") else headers.get("host", "")
        allowed = LOOPBACK | {urlsplit(self.door.public_url).hostname or ""}
        origin = headers.get("origin")
        if method not in ("GET", "HEAD") and origin is not None and (urlsplit(origin).hostname or "") not in allowed:
            return problem(403, "this request was started by another site")
        if self.door.api_token:
            if same(bearer(headers), self.door.api_token):
                return None
            return problem(401, "send the header Authorization: Bearer with server.api_token", {"www-authenticate": "Bearer"})
        if not self.door.is_loopback:
            return problem(403, "set server.api_token (or api_token_file) to use the API and the pages from other machines")
        if host not in allowed:
            return problem(403, "this host name is not the hub's; use 127.0.0.1 or server.public_url")
        return None


def is_open(path: str) -> bool:
    return any(path == prefix or (prefix.endswith("/") and path.startswith(prefix)) for prefix in OPEN)


def bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def same(given: str, expected: str) -> bool:
    """In constant time, whatever the length."""
    digest = [hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in (given, expected)]
    return hmac.compare_digest(*digest)


