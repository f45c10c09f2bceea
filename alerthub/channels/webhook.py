"""The signed outgoing webhook: the neutral message as JSON, signed as Standard Webhooks say (PROTOCOLS 6.4).

The body is documented at `payload`; version 1 only ever gains fields. Inbound webhooks are sources, not here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, SecretStr

from alerthub.channels.answers import failure_for_status, retry_after
from alerthub.channels.base import ATTEMPT_SECONDS, Budget, ChannelSettings, Wire
from alerthub.channels.http import checked_url, post
from alerthub.channels.text import is_quiet, plain_text
from alerthub.domain.alert import Labels
from alerthub.domain.message import AlertLine, DigestLine, Message, Receipt, Why
from alerthub.domain.wording import clip
from alerthub.errors import Failure, SendFailed
from alerthub.settings import Duration, Secret, Settings
from alerthub.signing import read_key, signed_headers

VERSION = 1
BODY_BYTES = 512 * 1024     # ours: receivers commonly refuse more than a megabyte
TEXT_LIMITS = (2_000, 400, 30)      # code points of one value; the first with which the body without alerts fits
URL_LIMIT = 2_000
LABELS = 64                 # of one thing
LINKS = 10
NEWS = 10
ACTIONS = 10
DIGEST = 1_000              # incidents of one storm


def checked_secret(secret: SecretStr) -> SecretStr:
    read_key(secret.get_secret_value())
    return secret


def checked_address(url: SecretStr) -> SecretStr:
    checked_url(url.get_secret_value(), "url")
    return url


class WebhookGlobal(Settings):
    """Nothing is shared."""


class WebhookConfig(ChannelSettings):
    """One entry of `webhook_configs`. The address may hold a key in its path, so it is kept like a secret."""

    url: Annotated[Secret, AfterValidator(checked_address)] | None = None
    url_file: str | None = None
    secret: Annotated[Secret, AfterValidator(checked_secret)] | None = None
    secret_file: str | None = None
    timeout: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(seconds=ATTEMPT_SECONDS))] = timedelta(seconds=10)


class Webhook:
    """One receiver. Every delivery stands alone; `webhook-id` stays over its attempts, so a receiver can drop doubles."""

    kind: ClassVar[str] = "webhook"
    Config: ClassVar[type[ChannelSettings]] = WebhookConfig
    Global: ClassVar[type[BaseModel]] = WebhookGlobal
    edits: ClassVar[bool] = False
    digests: ClassVar[bool] = False     # a program wants every incident, not a summary
    tells_untold_resolved: ClassVar[bool] = True

    def __init__(self, config: WebhookConfig, shared: BaseModel, wire: Wire) -> None:
        if config.url is None:
            raise ValueError("a webhook needs url or url_file")
        if config.secret is None:
            raise ValueError("a webhook needs secret or secret_file: without it nobody can trust what arrives")
        self.config, self._wire = config, wire
        self._url, self._key = config.url.get_secret_value(), read_key(config.secret.get_secret_value())

    def __repr__(self) -> str:
        return f"Webhook({self.address!r})"

    @property
    def address(self) -> str:
        """Host and port, and a mark that tells two paths apart without showing them."""
        parts = urlsplit(self._url)
        place = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
        return f"{place}/{hashlib.sha256(self._url.encode()).hexdigest()[:8]}"

    @property
    def budget(self) -> Budget:
        return Budget(0.02, burst=100)

    async def send(self, message: Message, previous: Receipt | None) -> Receipt:
        """Only 2xx is success; a redirect is not followed; 410 means that the receiver does not want it any more."""
        body = body_of(message)
        now = self._wire.clock.now()
        try:
            async with asyncio.timeout(self.config.timeout.total_seconds()):
                headers = headers_of(self._key, message.delivery_id, now, body)
                answer = await post(self._wire.http, self._url, body, headers)
        except TimeoutError:
            raise SendFailed(Failure.timeout, f"no answer within {self.config.timeout.total_seconds():g} s") from None
        if 200 <= answer.status < 300:
            return Receipt()
        after = retry_after(answer.headers.get("retry-after"), now)
        raise SendFailed(failure_for_status(answer.status), f"HTTP {answer.status}", after=after)

    async def aclose(self) -> None:
        """Holds nothing of its own."""


def headers_of(key: bytes, delivery_id: str, now: datetime, body: bytes) -> dict[str, str]:
    return {"Content-Type": "application/json", "User-Agent": "alerthub", **signed_headers(key, delivery_id, now, body)}


def body_of(message: Message) -> bytes:
    """The payload as bytes, at most BODY_BYTES: long values are cut, then alerts are left out from the end."""
    for limit in TEXT_LIMITS:
        room = BODY_BYTES - len(encoded(payload(message, [], limit)))
        if room >= 0:
            break
    entries: list[dict[str, Any]] = []
    for alert in () if message.is_degraded else message.alerts:
        entry = alert_entry(alert, limit)
        room -= len(encoded(entry)) + 1
        if room < 0:
            break
        entries.append(entry)
    return encoded(payload(message, entries, limit))


def encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def payload(message: Message, alerts: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """Version 1: `type` is `incident.` and why it is told (`opened`, `resolved` …), `digest` for a storm, or `test`;
    `timestamp` is when it was rendered; `data.incident` is the whole state then, never a difference."""
    kind = message.why.value if message.why in (Why.digest, Why.test) else f"incident.{message.why.value}"
    data: dict[str, Any] = {
        "delivery_id": message.delivery_id,
        "possible_duplicate": message.possible_duplicate,
        "text": plain_text(message, 2_000),
        "news": [clip(line, limit) for line in message.news[-NEWS:]],
        "incident": incident(message, alerts, limit),
    }
    if message.digest:
        data["digest"] = [digest_entry(line, limit) for line in message.digest[:DIGEST]]
        data["digest_left_out"] = max(0, len(message.digest) - DIGEST)
    return {"version": VERSION, "type": kind, "timestamp": stamp(message.at), "data": data}


def incident(message: Message, alerts: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    links = [link for link in message.links if len(link.url) <= URL_LIMIT][:LINKS]
    return {
        "id": message.incident_id,
        "number": message.number,
        "episode": message.episode,
        "status": message.status.value,
        "severity": message.severity.value,
        "title": clip(message.title, limit),
        "source": message.source,
        "opened_at": stamp(message.opened_at),
        "resolved_at": stamp(message.resolved_at),
        "acknowledged_by": clip(message.acknowledged_by, limit),
        "acknowledged_at": stamp(message.acknowledged_at),
        "firing": message.firing,
        "resolved": message.resolved,
        "stale": message.is_stale,
        "silenced": is_quiet(message),
        "silenced_until": stamp(message.silenced_until),
        "flaps": message.flaps,
        "incomplete": message.incomplete,
        "common_labels": pairs(message.common_labels, limit),
        "common_annotations": pairs(message.common_annotations, limit),
        "actions": [{"text": clip(action.text, limit), "bad": action.is_bad} for action in message.actions[-ACTIONS:]],
        "links": [{"label": clip(link.label, limit), "url": link.url} for link in links],
        "alerts": alerts,
        "alerts_left_out": max(0, message.firing + message.resolved - len(alerts)),
    }


def alert_entry(alert: AlertLine, limit: int) -> dict[str, Any]:
    return {
        "status": alert.status.value,
        "labels": pairs(alert.labels, limit),
        "annotations": pairs(alert.annotations, limit),
        "starts_at": stamp(alert.starts_at),
        "ends_at": stamp(alert.ends_at),
        "generator_url": alert.generator_url if len(alert.generator_url) <= URL_LIMIT else "",
    }


def digest_entry(line: DigestLine, limit: int) -> dict[str, Any]:
    return {"number": line.number, "title": clip(line.title, limit), "status": line.status.value,
            "severity": line.severity.value, "firing": line.firing}


def pairs(labels: Labels, limit: int) -> dict[str, str]:
    return {clip(name, limit): clip(value, limit) for name, value in sorted(labels.items())[:LABELS]}


def stamp(moment: datetime | None) -> str | None:
    """RFC 3339 in UTC with microseconds."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
