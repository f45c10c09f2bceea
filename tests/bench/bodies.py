"""Webhook bodies as Alertmanager sends them: a mix of repeats, new and resolved alerts, each body valid when it is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random

FIRING_END = "0001-01-01T00:00:00Z"


class Fleet:
    """Alerts that fire, repeat and resolve. The same seed gives the same bodies. With `shards` each alert names its shard, and
    its instance is a mark that the provider reads."""

    def __init__(self, seed: int, repeats: float, new: float, shards: int = 0) -> None:
        self.random = Random(seed)
        self.shards = shards
        self.repeats, self.new = repeats, new
        self.seed = seed
        self.firing: list[int] = []
        self.made = 0

    def alert(self) -> dict[str, object]:
        draw = self.random.random()
        if not self.firing or draw < self.new:
            self.made += 1
            self.firing.append(self.made)
            return self.rendered(self.made, "firing")
        position = self.random.randrange(len(self.firing))
        if draw < self.new + self.repeats:
            return self.rendered(self.firing[position], "firing")
        self.firing[position], self.firing[-1] = self.firing[-1], self.firing[position]
        return self.rendered(self.firing.pop(), "resolved")

    def rendered(self, number: int, status: str) -> dict[str, object]:
        labels = {"alertname": "HostDown", "cluster": f"c{number % 50}", "instance": f"host-{self.seed}-{number}:9100",
                  "job": "node", "severity": "warning", "team": "platform"}
        if self.shards:
            labels |= {"shard": str(number % self.shards), "instance": f"mark-{number - 1}-"}
        return {"status": status, "labels": labels,
                "annotations": {"summary": f"host {number} is down", "description": "It has not been scraped for 5 minutes."},
                "startsAt": "2026-11-21T03:00:00.000Z",
                "endsAt": FIRING_END if status == "firing" else "2026-11-21T04:00:00.000Z",
                "generatorURL": "http://prometheus:9090/graph?g0.expr=up+%3D%3D+0", "fingerprint": f"{number:016x}"}

    def bodies(self, count: int, alerts: int) -> Iterator[bytes]:
        for _ in range(count):
            yield body([self.alert() for _ in range(alerts)])


def body(alerts: list[dict[str, object]]) -> bytes:
    firing = any(alert["status"] == "firing" for alert in alerts)
    return json.dumps({
        "receiver": "hub", "status": "firing" if firing else "resolved", "alerts": alerts,
        "groupLabels": {"alertname": "HostDown"},
        "commonLabels": {"alertname": "HostDown"}, "commonAnnotations": {}, "externalURL": "http://am:9093", "version": "4",
        "groupKey": '{}:{alertname="HostDown"}', "truncatedAlerts": 0}, separators=(",", ":")).encode() + b"\n"
