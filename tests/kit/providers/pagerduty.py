"""PagerDuty as a test sees it: Events API v2, one incident per dedup_key at a time (PROTOCOLS 4.1), and its V3 webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.kit.providers.http import Answer, FakeProvider, Request

ACTIONS = ("trigger", "acknowledge", "resolve")
REQUIRED = {"summary", "source", "severity"}


@dataclass(slots=True)
class Paged:
    """What one dedup_key stands for there. `opened` counts how often people were paged for it."""

    status: str
    opened: int = 1
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def summary(self) -> str:
        return str(self.events[0]["payload"]["summary"])


class FakePagerDuty(FakeProvider):
    """`incidents` by dedup_key. A trigger of an open one adds a line; after a resolve it pages again. What names no open
    incident is dropped without a word, and counted in `dropped`."""

    def __init__(self, routing_key: str) -> None:
        super().__init__(self._enqueue)
        self.routing_key = routing_key
        self.incidents: dict[str, Paged] = {}
        self.dropped: Counter[str] = Counter()

    @property
    def enqueue_url(self) -> str:
        return f"{self.url}/v2/enqueue"

    def _enqueue(self, request: Request) -> Answer:
        event = request.json()
        if request.path != "/v2/enqueue" or event.get("routing_key") != self.routing_key:
            return invalid("Invalid routing key")
        action, key = event.get("event_action"), event.get("dedup_key", "")
        payload = event.get("payload", {})
        if action not in ACTIONS or not 0 < len(key) <= 255 or (action == "trigger" and not payload.keys() >= REQUIRED):
            return invalid("Event object is invalid")
        if payload and (payload["severity"] not in ("critical", "error", "warning", "info") or len(payload["summary"]) > 1_024):
            return invalid("'payload' is invalid")
        self._apply(action, key, event)
        return Answer(202, body={"status": "success", "message": "Event processed", "dedup_key": key})

    def _apply(self, action: str, key: str, event: dict[str, Any]) -> None:
        known = self.incidents.get(key)
        if action == "trigger" and known is None:
            known = self.incidents[key] = Paged("triggered")
        elif known is None or (action != "trigger" and known.status == "resolved"):
            self.dropped[action] += 1
            return
        elif action == "trigger" and known.status == "resolved":
            known.status, known.opened = "triggered", known.opened + 1
        elif action != "trigger":
            known.status = f"{action}d" if action.endswith("e") else action
        known.events.append(event)


def invalid(words: str) -> Answer:
    return Answer(400, body={"status": "invalid event", "message": "Event object is invalid", "errors": [words]})


# --- what PagerDuty posts to the hub (PROTOCOLS 4.2) -----------------------------------------------------------------------

WEBHOOK_SECRET = "the-secret-of-the-subscription"
AYSE = {"id": "PLH1HKV", "type": "user_reference", "summary": "Ayse", "html_url": "https://acme.pagerduty.com/users/PLH1HKV"}
OUR_INTEGRATION = {"id": "PINT001", "type": "events_api_v2_inbound_integration_reference", "summary": "AlertHub"}


def webhook(kind: str, incident_key: str | None, *, agent: Any = AYSE, event_id: str = "01EVENT", **data: Any) -> bytes:
    """The body of a V3 webhook, with the fields of the vendor's example. `kind`: `incident.acknowledged` and so on."""
    incident = {"id": "PGR0VU2", "type": "incident", "number": 2, "status": "triggered", "incident_key": incident_key,
                "title": "A little bump in the road", "service": {"id": "PF9KMXH", "type": "service_reference"}, **data}
    return json.dumps({"event": {
        "id": event_id, "event_type": kind, "resource_type": "incident", "occurred_at": "2026-11-21T12:00:01.169Z",
        "agent": agent, "client": {"name": "PagerDuty"}, "data": incident}}).encode()


def note(content: Any, *, on: str = "PGR0VU2", event_id: str = "01NOTE") -> bytes:
    """The body for a note. It names PagerDuty's incident, and no incident_key."""
    return json.dumps({"event": {
        "id": event_id, "event_type": "incident.annotated", "resource_type": "incident", "agent": AYSE, "client": None,
        "occurred_at": "2026-11-21T12:00:02.000Z",
        "data": {"id": "P2LA89X", "type": "incident_note", "content": content, "trimmed": False,
                 "incident": {"id": on, "type": "incident_reference", "summary": "A little bump in the road"}}}}).encode()


def signed(body: bytes, *secrets: str, webhook_id: str = "whid-1") -> dict[str, str]:
    """The headers; several secrets while one is exchanged for another."""
    found = [hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in secrets or (WEBHOOK_SECRET,)]
    return {"content-type": "application/json", "x-webhook-id": webhook_id, "user-agent": "PagerDuty-Webhook/V3.0",
            "x-pagerduty-signature": ",".join(f"v1={one}" for one in found)}
