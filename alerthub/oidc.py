"""OpenID Connect: the code flow with PKCE, at one provider. Who somebody is counts only as the provider has signed it for this
hub, just now, in answer to this question (PROTOCOLS 8). Claims are checked by Authlib, signatures by joserfc; calls go out by
the hub's own client.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from alerthub.config.access import OidcSettings
from alerthub.errors import NotProved
from alerthub.log import redact
from alerthub.outbound import NO_ANSWER, json_object, read_capped
from alerthub.settings import revealed
from alerthub.web.base import Claimed

logger = logging.getLogger("alerthub.access")
# Never `none`, and no secret that both sides have: then whoever knows the client secret could sign.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
SECONDS, LIMIT = 10.0, 256 * 1024
KEPT = timedelta(minutes=10)        # of what the provider says about itself
LEEWAY = 60                         # seconds that clocks may differ
NOT_NOW = "The single sign-on does not answer. Try again in a minute, or log in with a password."
NOT_PROVED = "The single sign-on has not proved who you are. Log in again; if it stays so, the hub's log says why."
challenge_of = create_s256_code_challenge


class Oidc:
    """One provider, and what it has said about itself lately."""

    def __init__(self, settings: OidcSettings, http: httpx.AsyncClient, public_url: str) -> None:
        self.settings, self.http = settings, http
        self.name = settings.name
        self.redirect_uri = f"{public_url}/login/oidc/callback"     # never from the request
        self.found: dict[str, Any] = {}
        self.keys: KeySet | None = None
        self.read_at: datetime | None = None

    async def address(self, state: str, nonce: str, challenge: str) -> str:
        """Where the browser is sent. Raises NotProved when the provider does not answer."""
        about = await self.about()
        asked = {"response_type": "code", "client_id": self.settings.client_id, "redirect_uri": self.redirect_uri,
                 "scope": " ".join(self.settings.scopes), "state": state, "nonce": nonce, "code_challenge": challenge,
                 "code_challenge_method": "S256"}
        to = about["authorization_endpoint"]
        return f"{to}{'&' if '?' in to else '?'}{urlencode(asked)}"

    async def prove(self, code: str, verifier: str, nonce: str, now: datetime) -> Claimed:
        """Who came back with that code. Raises NotProved for anything that is not exactly right."""
        about = await self.about()
        secret = revealed(self.settings.client_secret)
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri, "code_verifier": verifier,
                "client_id": self.settings.client_id, **({"client_secret": secret} if secret else {})}
        given = await self.call("POST", about["token_endpoint"], data=form)
        token = given.get("id_token")
        if not isinstance(token, str):
            raise self.doubt(f"no id_token was given for the code ({redact(str(given.get('error', 'none named')))[:60]})")
        return self.claimed(await self.checked(token, nonce, now))

    async def checked(self, token: str, nonce: str, now: datetime) -> CodeIDToken:
        """The claims of a token that is what it must be."""
        keys = await self.key_set(now)
        try:
            read = jwt.decode(token, keys, algorithms=ALGORITHMS)
            audience = read.claims.get("aud")
            claims = CodeIDToken(read.claims, read.header, {
                "iss": {"essential": True, "value": self.settings.issuer.rstrip("/")}, "aud": {"essential": True}},
                {"nonce": nonce, "client_id": self.settings.client_id})
            claims["iss"] = str(claims.get("iss", "")).rstrip("/")
            claims.validate(int(now.timestamp()), LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            self.keys = None        # perhaps the provider has new ones
            raise self.doubt(f"its id_token is not right: {type(error).__name__} {redact(str(error))[:100]}") from None
        if self.settings.client_id not in (audience if isinstance(audience, list) else [audience]):
            raise self.doubt("its id_token is for another program (aud)")
        return claims

    def claimed(self, claims: CodeIDToken) -> Claimed:
        email = claims.get("email") if claims.get("email_verified") is True else ""
        groups = claims.get(self.settings.groups_claim, [])
        groups = {groups} if isinstance(groups, str) else {one for one in groups if isinstance(one, str)} if isinstance(
            groups, list) else set()
        ranks = {"viewer": 0, "responder": 1, "admin": 2}
        role = max((given for group, given in self.settings.roles.items() if group in groups), key=ranks.__getitem__, default="")
        person = claims.get(self.settings.person_claim) if self.settings.person_claim else ""
        name = next((claims[key] for key in ("preferred_username", "email", "sub") if isinstance(claims.get(key), str)), "")
        return Claimed(subject=f"{claims['iss']} {claims['sub']}", name=name,
                       email=email.lower() if isinstance(email, str) else "", role=role,
                       person=person if isinstance(person, str) else "")

    # -- what the provider says about itself

    async def about(self) -> dict[str, Any]:
        """Its addresses, all of them https (or of this machine), and of the issuer that the configuration names."""
        if not self.found:
            told = await self.call("GET", f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
            if str(told.get("issuer", "")).rstrip("/") != self.settings.issuer.rstrip("/"):
                raise self.doubt("it calls itself another issuer than the configuration does")
            wrong = [name for name in ("authorization_endpoint", "token_endpoint", "jwks_uri") if not is_safe(told.get(name))]
            if wrong:
                raise self.doubt(f"its {wrong[0]} is no https address")
            self.found = told
        return self.found

    async def key_set(self, now: datetime) -> KeySet:
        if self.keys is None or self.read_at is None or not timedelta(0) <= now - self.read_at < KEPT:
            told = await self.call("GET", (await self.about())["jwks_uri"])
            try:
                self.keys = KeySet.import_key_set(told)  # type: ignore[arg-type]
            except (JoseError, ValueError, TypeError, KeyError):
                raise self.doubt("its keys cannot be read") from None
            self.read_at = now
        return self.keys

    async def call(self, method: str, url: str, **more: Any) -> dict[str, Any]:
        body = bytearray()
        try:
            async with asyncio.timeout(SECONDS), self.http.stream(
                    method, url, headers={"accept": "application/json", "accept-encoding": "identity"}, **more) as answer:
                await read_capped(answer, LIMIT, body)
                status = answer.status_code
        except (*NO_ANSWER, TimeoutError) as error:
            logger.warning("single sign-on: %s does not answer (%s)", urlsplit(url).netloc, type(error).__name__,
                           extra={"event": "oidc.unreachable"})
            raise NotProved(NOT_NOW) from None
        if status >= 500:
            logger.warning("single sign-on: %s answers %d", urlsplit(url).netloc, status, extra={"event": "oidc.unreachable"})
            raise NotProved(NOT_NOW)
        return json_object(bytes(body))

    def doubt(self, why: str) -> NotProved:
        logger.warning("single sign-on refused: %s", why, extra={"event": "oidc.refused"})
        return NotProved(NOT_PROVED)


def is_safe(url: object) -> bool:
    parts = urlsplit(url) if isinstance(url, str) else None
    return parts is not None and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in (
        "127.0.0.1", "localhost", "::1")))
