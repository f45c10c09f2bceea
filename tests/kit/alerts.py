"""Builders: alerts and batches as a source would hand them over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from alerthub.domain.alert import Alert, AlertStatus, Batch
from tests.kit.clock import START


def firing(name: str = "DiskFull", *, annotations: Mapping[str, str] | None = None, starts_at: datetime | None = START,
           **labels: str) -> Alert:
    return Alert({"alertname": name, **labels}, AlertStatus.firing, annotations or {}, starts_at)


def resolved(name: str = "DiskFull", *, annotations: Mapping[str, str] | None = None, starts_at: datetime | None = START,
             ends_at: datetime | None = None, **labels: str) -> Alert:
    return Alert({"alertname": name, **labels}, AlertStatus.resolved, annotations or {}, starts_at, ends_at)


def batch(*alerts: Alert, at: datetime = START, source: str = "alertmanager", **fields: Any) -> Batch:
    return Batch(source=source, arrived_at=at, alerts=alerts, **fields)
