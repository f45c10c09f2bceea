"""A strict Alertmanager for tests: of its API v2 the silences, taken and refused as the real one does (PROTOCOLS 1.8).

`provider.answer = AlertmanagerServer(now)`. It begins with one silence that somebody made by hand.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from alerthub.domain.matcher import EQUAL, MATCHES, NOT_EQUAL, NOT_MATCHES, Matcher, all_match, parse_matcher
from tests.kit.providers.http import Answer, Request

NAMES = {"matchers", "startsAt", "endsAt", "createdBy", "comment", "id"}
OPERATORS = {(False, True): EQUAL, (False, False): NOT_EQUAL, (True, True): MATCHES, (True, False): NOT_MATCHES}


class AlertmanagerServer:
    """`silences` by id, and may be changed by a test. `made` are the bodies that it took, `ended` the ids."""

    def __init__(self, now: Callable[[], datetime], username: str = "", password: str = "") -> None:
        self.now = now
        self.login = f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}" if username else ""
        self.silences: dict[str, dict[str, Any]] = {}
        self.made: list[dict[str, Any]] = []
        self.ended: list[str] = []
        by_hand = {"matchers": [{"name": "alertname", "value": "Slow", "isRegex": False}], "createdBy": "ayse"}
        self.put({**by_hand, "comment": "made by hand", "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2036-01-01T00:00:00Z"})

    def __call__(self, request: Request) -> Answer:
        if self.login and request.headers.get("authorization") != self.login:
            return Answer(401, body="Unauthorized")
        parts = urlsplit(request.path)
        path, _, last = parts.path.rpartition("/")
        if (request.method, parts.path) == ("GET", "/api/v2/silences"):
            wanted = [parse_matcher(value) for name, value in parse_qsl(parts.query) if name == "filter"]
            return Answer(body=[self.shown(one) for one in self.silences.values() if all_match(wanted, patterns(one))])
        if (request.method, request.path) == ("POST", "/api/v2/silences"):
            return self.take(request)
        if (request.method, path) == ("DELETE", "/api/v2/silence"):
            if last not in self.silences:
                return Answer(404)
            self.ended.append(last)
            self.silences[last]["endsAt"] = self.now().isoformat()
            return Answer()
        return Answer(404, body={"code": 404, "message": f"path {request.path} was not found"})

    def take(self, request: Request) -> Answer:
        if request.headers.get("content-type") != "application/json":
            return Answer(415, body={"code": 415, "message": "unsupported media type"})
        given = request.json()
        if wrong := self.objection(given):
            return Answer(400, body=wrong)
        self.made.append(given)
        return Answer(body={"silenceID": self.put(given)})

    def objection(self, given: dict[str, Any]) -> Any:
        """What the real one would say against it; none for what it takes."""
        if set(given) - NAMES or {"matchers", "startsAt", "endsAt", "createdBy", "comment"} - set(given):
            return {"code": 602, "message": "comment in body is required"}
        starts, ends = datetime.fromisoformat(given["startsAt"]), datetime.fromisoformat(given["endsAt"])
        if ends <= starts:
            return "Failed to create silence: start time must be before end time"
        if ends <= self.now():
            return "Failed to create silence: end time can't be in the past"
        matchers = [matcher_of(one) for one in given["matchers"]]
        if not matchers or all(matcher.matches({}) for matcher in matchers):
            return "invalid silence: at least one matcher must not match the empty string"
        return None

    def put(self, given: dict[str, Any]) -> str:
        remote_id = str(UUID(int=len(self.silences) + 1))
        self.silences[remote_id] = {**given, "id": remote_id}
        return remote_id

    def shown(self, one: dict[str, Any]) -> dict[str, Any]:
        starts, ends = datetime.fromisoformat(one["startsAt"]), datetime.fromisoformat(one["endsAt"])
        state = "expired" if ends <= self.now() else "pending" if starts > self.now() else "active"
        return {**one, "matchers": [{"isEqual": True, **matcher} for matcher in one["matchers"]], "status": {"state": state},
                "updatedAt": one["startsAt"]}


def patterns(one: dict[str, Any]) -> dict[str, str]:
    """What a filter is held against: of each name one pattern, whatever its kind."""
    return {matcher["name"]: matcher["value"] for matcher in one["matchers"]}


def matcher_of(one: dict[str, Any]) -> Matcher:
    return Matcher(one["name"], OPERATORS[one["isRegex"], one.get("isEqual", True)], one["value"])
