"""PagerDuty as a test sees it: Events API v2, one incident per dedup_key at a time (PROTOCOLS 4.1)."""

from __future__ import annotations

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
