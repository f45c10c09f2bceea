"""Builders of messages and their parts, with defaults that read like a real incident, and the texts an attacker would send."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alerthub.domain.alert import AlertStatus, Severity
from alerthub.domain.message import ActionLine, AlertLine, DigestLine, IncidentStatus, Link, Message, Why

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)

# Whoever controls a label controls these. They must reach a reader literally, in every channel. A tuple: an order that
# differs between processes would break parallel test runs.
HOSTILE = (
    "<!channel>", "<@U123>", "</b>", "<a href=javascript:alert(1)>", "newline\nvalue", "{{ 7*7 }}", "&amp;", "`ticks`",
    "*bold* _it_", "x" * 10_000, "\u202e rtl", "日本語 🔥", "|pipe>",
)


def alert_line(status: AlertStatus = AlertStatus.firing, **overrides: Any) -> AlertLine:
    line = AlertLine(
        status=status,
        labels={"alertname": "AgentRewardNegative", "agent": "btc", "severity": "critical"},
        annotations={"summary": "The rolling reward of btc is -12.5"},
        starts_at=NOW - timedelta(minutes=5),
        ends_at=None if status is AlertStatus.firing else NOW,
        generator_url="http://prometheus:9090/graph?g0.expr=rolling_reward",
    )
    return replace(line, **overrides)


def firing_line(**overrides: Any) -> AlertLine:
    return alert_line(AlertStatus.firing, **overrides)


def resolved_line(**overrides: Any) -> AlertLine:
    return alert_line(AlertStatus.resolved, **overrides)


def message(**overrides: Any) -> Message:
    """A first telling of a critical incident with one firing alert; every field may be overridden."""
    base = Message(
        delivery_id="01936b5e-0000-7000-8000-00000000d001",
        incident_id="01936b5e-0000-7000-8000-00000000a001",
        number=17,
        episode=1,
        why=Why.opened,
        status=IncidentStatus.triggered,
        severity=Severity.critical,
        title="AgentRewardNegative (agent=btc)",
        at=NOW,
        opened_at=NOW - timedelta(minutes=5),
        alerts=(firing_line(),),
        firing=1,
        common_labels={"alertname": "AgentRewardNegative", "agent": "btc", "severity": "critical"},
        common_annotations={"summary": "The rolling reward of btc is -12.5"},
        source="alertmanager",
        news=("Opened: 1 alert firing: AgentRewardNegative on btc",),
        links=(Link("Incident", "https://hub.example.com/incidents/17"),
               Link("Runbook", "https://hub.example.com/runbooks/agent-reward")),
    )
    return replace(base, **overrides)


def resolved_message(**overrides: Any) -> Message:
    settings: dict[str, Any] = {
        "why": Why.resolved, "status": IncidentStatus.resolved, "resolved_at": NOW, "firing": 0, "resolved": 1,
        "alerts": (resolved_line(),), "news": ("Resolved: 1 alert cleared: AgentRewardNegative on btc",),
    }
    return message(**{**settings, **overrides})


def acknowledged_message(by: str = "ayse", **overrides: Any) -> Message:
    settings: dict[str, Any] = {
        "why": Why.acknowledged, "status": IncidentStatus.acknowledged, "acknowledged_by": by,
        "news": (f"Acknowledged by {by}",),
    }
    return message(**{**settings, **overrides})


def digest_line(number: int, **overrides: Any) -> DigestLine:
    line = DigestLine(number, f"Storm{number} (agent=a{number})", IncidentStatus.triggered, Severity.warning, 1,
                      f"https://hub.example.com/incidents/{number}")
    return replace(line, **overrides)


def digest_message(count: int = 12, **overrides: Any) -> Message:
    lines = tuple(digest_line(number) for number in range(101, 101 + count))
    settings: dict[str, Any] = {
        "why": Why.digest, "title": f"{count} new incidents", "digest": lines, "alerts": (), "firing": count, "news": (),
    }
    return message(**{**settings, **overrides})


def hostile_message(value: str, **overrides: Any) -> Message:
    """The value wherever an attacker can put it: title, label, annotation, news, an action's answer."""
    line = firing_line(labels={"alertname": value, "agent": value}, annotations={"summary": value, "description": value})
    settings: dict[str, Any] = {
        "title": value, "alerts": (line,), "common_labels": {"agent": value},
        "common_annotations": {"summary": value, "description": value},
        "actions": (ActionLine(value, is_bad=True),), "news": (f"Opened: 1 alert firing: {value}",),
    }
    return message(**{**settings, **overrides})


def giant_message(**overrides: Any) -> Message:
    """A thousand alerts, every text ten thousand characters."""
    big = "🔥<&>" * 2_500
    line = firing_line(labels={"alertname": "Big", "value": big}, annotations={"summary": big, "description": big})
    settings: dict[str, Any] = {
        "title": big, "alerts": (line,) * 1_000, "firing": 1_000, "common_labels": {f"l{n}": big for n in range(100)},
        "common_annotations": {"summary": big, "description": big}, "news": (big,) * 200,
        "actions": (ActionLine(big, is_bad=False),) * 50, "acknowledged_by": big,
        "links": (Link("Incident", "https://hub.example.com/incidents/17"), Link(big, "https://example.com/" + "a" * 9_000)),
    }
    return message(**{**settings, **overrides})
