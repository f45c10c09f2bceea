"""Asking Alertmanager's API v2 which alerts fire and what is suppressed (PROTOCOLS 1.8). What follows from the answer is
decided in domain/reconcile.py; its silences are in alertmanager_silences.py."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from alerthub.domain.alert import identity_of
from alerthub.domain.reconcile import Listed, Peer
from alerthub.errors import BadPayload, Unreachable
from alerthub.outbound import NO_ANSWER
from alerthub.settings import revealed
from alerthub.sources.alertmanager import Reconcile
from alerthub.sources.body import read_json, read_labels, read_time

ANSWER_BYTES = 128 * 1024 * 1024      # a list of 100,000 alerts is about 100 MB
ACTIVE = {"active": "true", "silenced": "true", "inhibited": "true", "unprocessed": "true"}


class AlertmanagerApi:
    """The peers of one cluster, as `reconcile:` names them, and how they are called."""

    def __init__(self, settings: Reconcile, http: httpx.AsyncClient) -> None:
        self.settings, self.http = settings, http
        token, password = revealed(settings.token), revealed(settings.password)
        self.headers = {"authorization": f"Bearer {token}"} if token else {}
        self.auth = httpx.BasicAuth(settings.username, password) if settings.username and password else None

    async def get(self, url: str, path: str, query: Mapping[str, str]) -> Any:
        """The JSON that it answers. Raises Unreachable for everything else."""
        status, body = await self.call("GET", url, path, query=query)
        if status != 200:
            raise Unreachable(f"{url}{path} answered {status}")
        return await answered(url, path, body)

    async def call(self, method: str, url: str, path: str, *, query: Mapping[str, str] | None = None,
                   body: object = None) -> tuple[int, bytes]:
        """The status and what came with it. Raises Unreachable when no answer came, or too much."""
        try:
            request = self.http.stream(method, url + path, params=query, json=body, headers=self.headers, auth=self.auth,
                                       follow_redirects=False)
            async with request as response:
                return response.status_code, await read_bounded(response, url)
        except NO_ANSWER as error:
            raise Unreachable(f"{url}{path} does not answer ({type(error).__name__})") from None


async def answered(url: str, path: str, body: bytes) -> Any:
    try:
        return await asyncio.to_thread(read_json, body)
    except BadPayload:
        raise Unreachable(f"{url}{path} did not answer with JSON") from None


class AlertmanagerAsker(AlertmanagerApi):
    """Which alerts fire, as all peers know them."""

    async def ask(self) -> list[Peer]:
        """Every peer's answer. Raises Unreachable when even one does not answer: half an answer proves nothing."""
        return [await self.ask_one(url) for url in self.settings.urls]

    async def ask_one(self, url: str) -> Peer:
        status = await self.get(url, "/api/v2/status", {})
        query = {**ACTIVE, **({"receiver": self.settings.receiver} if self.settings.receiver else {})}
        listed = await self.get(url, "/api/v2/alerts", query)
        try:
            started_at = read_time(status.get("uptime"), "uptime") if isinstance(status, dict) else None
            return Peer(started_at, await asyncio.to_thread(listed_alerts, listed))
        except BadPayload as error:
            raise Unreachable(f"{url} answered what is not a list of alerts: {error.reason}") from None


async def read_bounded(response: httpx.Response, url: str) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise Unreachable(f"{url} answered more than {ANSWER_BYTES // 1024 // 1024} MiB")
    return bytes(body)


def listed_alerts(answer: Any) -> dict[str, Listed]:
    """By identity. An alert whose `endsAt` is over is not in the list at all: Alertmanager filters it."""
    if not isinstance(answer, list):
        raise BadPayload("the body: must be a list")
    found: dict[str, Listed] = {}
    for position, item in enumerate(answer):
        if not isinstance(item, dict):
            raise BadPayload(f"alerts[{position}]: must be an object")
        labels = read_labels(item.get("labels"), f"alerts[{position}].labels")
        status = item.get("status")
        is_suppressed = isinstance(status, dict) and status.get("state") == "suppressed"
        found[identity_of(labels)] = Listed(labels, is_suppressed, silenced_by(status))
    return found


def silenced_by(status: object) -> frozenset[str]:
    """The ids of the silences that hold it; none where something else does too, or what is said cannot be read."""
    if not isinstance(status, dict) or status.get("inhibitedBy") or status.get("mutedBy"):
        return frozenset()
    ids = status.get("silencedBy")
    return frozenset(ids) if isinstance(ids, list) and all(type(one) is str for one in ids) else frozenset()
