"""A provider of OpenID Connect on a port of its own: the code flow with PKCE, and tokens that are really signed (RS256).
Everybody who comes is logged in at once as `claims` says. `fault` makes it lie in one way."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.kit.binaries import free_port

CLIENT, SECRET = "alerthub", "secret-of-the-client-01"
FAULTS = ("state", "nonce", "no nonce", "audience", "audience of several", "azp", "expired", "from the future", "issuer", "key",
          "none", "hs256", "changed", "no token", "no sub", "no exp")


class FakeOidc:
    """`asked` are the queries of the browsers that were sent here, `exchanged` the forms by which codes were redeemed."""

    def __init__(self) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}/realms/main"
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.stranger = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.claims: dict[str, Any] = {"sub": "1234", "email": "ayse@example.com", "email_verified": True,
                                       "preferred_username": "ayse.y", "groups": []}
        self.fault, self.is_away = "", False
        self.asked: list[dict[str, str]] = []
        self.exchanged: list[dict[str, str]] = []
        self.codes: dict[str, dict[str, str]] = {}

    def config(self, more: str = "") -> str:
        """The block of the hub's configuration."""
        return (f"access: {{oidc: {{issuer: '{self.issuer}', client_id: {CLIENT}, client_secret: {SECRET}, "
                f"name: the company{more}}}}}\n")

    def app(self) -> Starlette:
        below = "/realms/main"
        return Starlette(routes=[
            Route(f"{below}/.well-known/openid-configuration", self.about), Route(f"{below}/authorize", self.authorize),
            Route(f"{below}/token", self.token, methods=["POST"]), Route(f"{below}/keys", self.keys)])

    async def about(self, request: Request) -> Response:
        if self.is_away:
            return Response("no", 503)
        return JSONResponse({"issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize",
                             "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys"})

    async def keys(self, request: Request) -> Response:
        return JSONResponse({"keys": [self.key.as_dict(private=False)]})

    async def authorize(self, request: Request) -> Response:
        """The person agrees at once, and is sent back."""
        query = dict(request.query_params)
        self.asked.append(query)
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        state = "another state" if self.fault == "state" else query["state"]
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': state})}", 302)

    async def token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.exchanged.append(form)
        query = self.codes.pop(form.get("code", ""), None)
        challenge = urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode().rstrip("=")
        if query is None or challenge != query["code_challenge"] or form["redirect_uri"] != query["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        if self.fault == "no token":
            return JSONResponse({"access_token": "x", "token_type": "Bearer"})
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": self.signed(query["nonce"])})

    def signed(self, nonce: str) -> str:
        """The id_token, with what `fault` makes wrong about it."""
        now, fault = int(time.time()), self.fault
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.claims}
        claims |= {"nonce": {"nonce": "another nonce"}, "audience": {"aud": "another"},
                   "expired": {"iat": now - 7200, "exp": now - 3600},
                   "audience of several": {"aud": [CLIENT, "another"]}, "azp": {"aud": [CLIENT], "azp": "another"},
                   "issuer": {"iss": "https://evil.example"},
                   "from the future": {"iat": now + 3600, "nbf": now + 3600}}.get(fault, {})
        for gone in {"no nonce": ["nonce"], "no sub": ["sub"], "no exp": ["exp"]}.get(fault, []):
            del claims[gone]
        if fault == "none":
            parts = [urlsafe_b64encode(text.encode()).decode().rstrip("=") for text in ('{"alg":"none"}', json.dumps(claims))]
            return f"{parts[0]}.{parts[1]}."
        if fault == "hs256":        # signed with what everybody can read: the public key as a secret
            return jwt.encode({"alg": "HS256", "kid": "one"}, claims, OctKey.import_key(SECRET.encode() * 2))
        made = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.stranger if fault == "key" else self.key)
        if fault == "changed":
            head, _, sign = made.split(".")
            return f"{head}.{urlsafe_b64encode(json.dumps({**claims, 'sub': 'root'}).encode()).decode().rstrip('=')}.{sign}"
        return made

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeOidc]:
        server = uvicorn.Server(uvicorn.Config(self.app(), port=self.port, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0)
        try:
            yield self
        finally:
            server.should_exit = True
            await serving

