"""A system that takes Standard Webhooks, as a test sees it: it believes only what is signed, and does each id once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

from tests.kit.providers.http import Answer, FakeProvider, Request

TOLERANCE = 300     # seconds


class FakeReceiver(FakeProvider):
    """`effects` are the bodies that it acted on, by path and id; `requests` all that came, doubles too. `refused` says why
    a request was not believed."""

    def __init__(self, secret: str) -> None:
        super().__init__(self._take)
        self.key = base64.b64decode(secret.removeprefix("whsec_"))
        self.effects: dict[tuple[str, str], Any] = {}
        self.refused: list[str] = []

    def at(self, path: str) -> list[Any]:
        """What was done at this path, in order."""
        return [body for (where, _), body in self.effects.items() if where == path]

    def ids(self, path: str = "") -> list[str]:
        """The ids of all requests to this path, doubles too."""
        return [request.headers["webhook-id"] for request in self.requests if path in ("", request.path)]

    def _take(self, request: Request) -> Answer:
        if problem := self.problem(request):
            self.refused.append(problem)
            return Answer(401, body={"error": problem})
        self.effects.setdefault((request.path, request.headers["webhook-id"]), request.json())
        return Answer(202, body={"status": "accepted"})

    def problem(self, request: Request) -> str:
        """Why it is not believed; empty when it is (PROTOCOLS 6.4)."""
        message_id, stamp = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
        if not message_id or "." in message_id:
            return "no webhook-id"
        if not stamp.isdigit() or abs(int(stamp) - time.time()) > TOLERANCE:
            return "webhook-timestamp is not of now"
        wanted = base64.b64encode(hmac.new(self.key, f"{message_id}.{stamp}.".encode() + request.body, hashlib.sha256).digest())
        signatures = request.headers.get("webhook-signature", "").split(" ")
        return "" if f"v1,{wanted.decode()}" in signatures else "webhook-signature is wrong"
