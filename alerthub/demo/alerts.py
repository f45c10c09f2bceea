"""The alerts of the story, as Alertmanager posts them (PROTOCOLS 1.1): what deploy/prometheus/rules/drl.yml says of agent-btc.

The demo plays Prometheus and Alertmanager; how the hub reads this is in sources/alertmanager.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

AGENT = "agent-btc"
NEVER = "0001-01-01T00:00:00Z"      # what Alertmanager writes for an end that has not come


@dataclass(frozen=True, slots=True)
class StoryAlert:
    """One alert. `ill` and `well` are what the agent's metrics are set to; `samples` are
    how the lines of its /metrics begin that show it."""

    name: str
    severity: str
    team: str
    service: str
    summary: str
    description: str
    samples: tuple[str, ...]
    ill: Mapping[str, Any]
    well: Mapping[str, Any]
    feature: str = ""

    @property
    def labels(self) -> dict[str, str]:
        labels = {"alertname": self.name, "agent": AGENT, "severity": self.severity, "team": self.team, "service": self.service}
        return {**labels, "feature": self.feature} if self.feature else labels


REWARD = StoryAlert(
    "AgentRewardNegative", "critical", "trading", "agent",
    f"The reward of {AGENT} is -0.42 over 24 hours",
    f"The mean of rolling_reward over the last 24 hours is below 0: {AGENT} is losing. It is to go to safe mode.",
    ("rolling_reward{",), {"rolling_reward": -0.42}, {"rolling_reward": 0.17})
LATENCY = StoryAlert(
    "InferenceLatencyHigh", "critical", "platform", "inference",
    f"95 % of the inferences of {AGENT} take up to 840ms",
    f"The p95 of the last 5 minutes is above 500 ms. {AGENT} acts on prices that are older than it believes.",
    (f'inference_latency_seconds_bucket{{agent="{AGENT}",le="0.5"}}', "inference_latency_seconds_count{"),
    {"inference_latency_seconds": [0.3] * 4 + [0.8] * 16}, {"inference_latency_seconds": [0.04] * 400})
ETL = StoryAlert(
    "EtlFailureRatioHigh", "warning", "data", "etl",
    f"8% of the ETL flow runs of {AGENT} failed in the last hour",
    f"More than 5 % of the flow runs of the last hour failed. The features that {AGENT} trades on may be old or have gaps.",
    ("etl_flow_failure_total{", "etl_flow_success_total{"), {"etl_flow_failure_total": 4, "etl_flow_success_total": 46},
    {"etl_flow_failure_total": 4, "etl_flow_success_total": 146})
DRIFT = StoryAlert(
    "FeatureDriftDetected", "warning", "ml", "features",
    f"The feature spread of {AGENT} has drifted",
    "The Kolmogorov-Smirnov test against the training data gives p = 0.002, below 0.01.",
    ("feature_drift_ks_pvalue{",), {"feature_drift_ks_pvalue": {"spread": 0.002}}, {"feature_drift_ks_pvalue": {"spread": 0.4}},
    feature="spread")


def webhook(alert: StoryAlert, starts_at: datetime, ends_at: datetime | None = None) -> bytes:
    """The body for one alert, firing until `ends_at` is given. There is no generatorURL: no Prometheus could be opened."""
    status = "firing" if ends_at is None else "resolved"
    group = {"alertname": alert.name, "agent": AGENT}
    annotations = {"summary": alert.summary, "description": alert.description}
    one = {
        "status": status, "labels": alert.labels, "annotations": annotations, "startsAt": moment(starts_at),
        "endsAt": moment(ends_at) if ends_at else NEVER, "generatorURL": "", "fingerprint": fingerprint(alert.labels),
    }
    return json.dumps({
        "receiver": "alerthub", "status": status, "alerts": [one], "groupLabels": group, "commonLabels": alert.labels,
        "commonAnnotations": annotations, "externalURL": "http://127.0.0.1:9093", "version": "4",
        "groupKey": f'{{}}:{{agent="{AGENT}", alertname="{alert.name}"}}', "truncatedAlerts": 0,
    }).encode()


def moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fingerprint(labels: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits of the labels. (Alertmanager's own hash is another; nobody compares them.)"""
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16]
