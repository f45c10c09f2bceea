"""What an event of PagerDuty's Events API says of a message: pure. Sending is in pagerduty.py."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from alerthub.channels.text import action_lines, alert_text, facts, remarks, status_word, unremarked
from alerthub.domain.alert import Labels
from alerthub.domain.message import IncidentStatus, Message, Receipt, Why
from alerthub.domain.wording import clip, one_line

DEDUP_KEY = 255             # PROTOCOLS 4.1
WORD = 255                  # source, client, component, group, class, text of a link: ours, nothing is documented
ALERTS, NEWS, LABELS, VALUE = 50, 10, 64, 1_000
CALLED = "called"           # it rings there for what somebody else has, or has silenced
CLOSED_AT = "closed_at"     # in the receipt: when it was last closed there to ring anew, for store/closings.py
TRIGGER, ACKNOWLEDGE = "trigger", "acknowledge"
ACTIONS = {IncidentStatus.triggered: TRIGGER, IncidentStatus.acknowledged: ACKNOWLEDGE, IncidentStatus.resolved: "resolve"}


def dedup_key(message: Message) -> str:
    """Per episode: after a resolve the same key would open a new incident there for an old trigger that is sent late."""
    key = f"alerthub/{message.incident_id}/{message.episode}"
    return key if len(key) <= DEDUP_KEY else f"alerthub/{hashlib.sha256(key.encode()).hexdigest()}"


def summary(message: Message, limit: int) -> str:
    """The title and, where it says more, the summary that all alerts share."""
    title = one_line(message.title) or f"Incident #{message.number}"
    said = one_line(message.common_annotations.get("summary", ""))
    test = "[TEST] " if message.why is Why.test else ""
    return clip(test + (f"{title}: {said}" if said and said not in title else title), limit)


def source(message: Message) -> str:
    return one_line(message.source, WORD) or "alerthub"


def custom_details(message: Message) -> dict[str, Any]:
    lines = [alert_text(alert, message.common_labels) for alert in message.alerts[:ALERTS]]
    return {
        "status": status_word(message), "incident": facts(message), "remarks": remarks(message),
        "actions": action_lines(message), "alerts": lines,
        "alerts_left_out": max(0, message.firing + message.resolved - len(lines)),
        "news": [clip(line, VALUE) for line in unremarked(message)[-NEWS:]],
        "labels": pairs(message.common_labels), "annotations": pairs(message.common_annotations),
    }


def pairs(labels: Labels) -> dict[str, str]:
    return {clip(name, VALUE): clip(value, VALUE) for name, value in sorted(labels.items())[:LABELS]}


def encoded(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def action_for(message: Message) -> str:
    """What PagerDuty is told: quiet while a person has silenced it, and ringing where somebody there is called for what another
    has, or for what is silenced."""
    if message.status.is_open and message.calls:
        return TRIGGER
    if message.status is IncidentStatus.triggered and message.silenced_until is not None:
        return ACKNOWLEDGE
    return ACTIONS[message.status]


def is_for_others(message: Message) -> bool:
    """Whether somebody there is called for what another has, or has silenced: it rings until that is taken too."""
    return message.calls and (message.status is IncidentStatus.acknowledged or message.silenced_until is not None)


def rings_anew(message: Message, said: str, previous: Receipt | None) -> bool:
    """Whether it must ring there again although PagerDuty may have it acknowledged: an acknowledgement there cannot be taken
    back, only a new incident rings (PROTOCOLS 4.1)."""
    if said != TRIGGER or previous is None or previous.handle.get("dedup_key") != dedup_key(message):
        return False
    return previous.handle.get("action") == ACKNOWLEDGE or message.asks_again or is_for_others(message)


def closed_before(receipt: Receipt, previous: Receipt | None) -> dict[str, str]:
    """What the receipt before says of the same incident there, and this one must not forget."""
    if previous is None or not is_same(previous, receipt) or CLOSED_AT not in previous.handle:
        return {}
    return {CLOSED_AT: previous.handle[CLOSED_AT]}


def is_same(previous: Receipt | None, receipt: Receipt) -> bool:
    return previous is not None and previous.handle.get("dedup_key") == receipt.handle["dedup_key"]
