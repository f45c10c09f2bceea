"""Bodies as Alertmanager posts them: of one alert, or of many."""

from __future__ import annotations

from typing import Any

NEVER = "0001-01-01T00:00:00Z"
STARTED, ENDED = "2026-11-21T03:00:00.123456789Z", "2026-11-21T04:00:00.123456789Z"


def alert(name: str, status: str = "firing", **labels: str) -> dict[str, Any]:
    return {"status": status, "labels": {"alertname": name, **labels}, "annotations": {"summary": f"{name} is {status}"},
            "startsAt": STARTED, "endsAt": NEVER if status == "firing" else ENDED, "generatorURL": "", "fingerprint": ""}


def webhook(*alerts: dict[str, Any]) -> dict[str, Any]:
    """One group with these alerts, whatever their labels."""
    status = "firing" if any(one["status"] == "firing" for one in alerts) else "resolved"
    return {"version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "status": status, "receiver": "hub", "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am:9093", "alerts": list(alerts)}
