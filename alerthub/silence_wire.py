"""A silence as Alertmanager's API v2 writes it (PROTOCOLS 1.8). Who asks for it, and when, is the caller's business."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from alerthub.domain.matcher import EQUAL, MATCHES, NOT_EQUAL, NOT_MATCHES, Matcher
from alerthub.domain.silence import MATCHER_TEXT, Silence, marked_comment

REMOTE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")       # it becomes part of an address
OPERATORS = {(False, True): EQUAL, (False, False): NOT_EQUAL, (True, True): MATCHES, (True, False): NOT_MATCHES}


def written(silence: Silence) -> dict[str, Any]:
    """As Alertmanager takes it. `isEqual` only where it is not the default: releases before 0.22 do not know it."""
    return {
        "matchers": [written_matcher(matcher) for matcher in silence.matchers], "startsAt": rfc3339(silence.starts_at),
        "endsAt": rfc3339(silence.ends_at), "createdBy": silence.created_by or "alerthub", "comment": marked_comment(silence),
    }


def written_matcher(matcher: Matcher) -> dict[str, Any]:
    is_negative = {"isEqual": False} if matcher.op in (NOT_EQUAL, NOT_MATCHES) else {}
    return {"name": matcher.name, "value": matcher.value, "isRegex": matcher.op in (MATCHES, NOT_MATCHES), **is_negative}


def rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def read_matcher(item: Any) -> Matcher:
    """Raises ValueError for what is none."""
    if not isinstance(item, dict) or type(item.get("name")) is not str or type(item.get("value")) is not str:
        raise ValueError("not a matcher")
    if len(item["name"]) + len(item["value"]) > MATCHER_TEXT:
        raise ValueError("a matcher is too long")
    return Matcher(item["name"], OPERATORS[item.get("isRegex") is True, item.get("isEqual") is not False], item["value"])
