"""One alert as its source reports it, and one webhook full of them. Identity is the label set and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

Labels = Mapping[str, str]


class AlertStatus(StrEnum):
    firing = "firing"
    resolved = "resolved"


class Severity(StrEnum):
    """The label `severity`, folded to four ranks. Other words: see `severity_of`."""

    info = "info"
    warning = "warning"
    error = "error"
    critical = "critical"

    @property
    def rank(self) -> int:
        return RANKS[self]


RANKS = {Severity.info: 0, Severity.warning: 1, Severity.error: 2, Severity.critical: 3}
SYNONYMS = {
    "info": Severity.info, "informational": Severity.info, "none": Severity.info, "low": Severity.info,
    "debug": Severity.info, "p4": Severity.info, "p5": Severity.info, "notice": Severity.info,
    "warning": Severity.warning, "warn": Severity.warning, "moderate": Severity.warning, "medium": Severity.warning,
    "minor": Severity.warning, "p3": Severity.warning,
    "error": Severity.error, "high": Severity.error, "major": Severity.error, "p2": Severity.error,
    "critical": Severity.critical, "crit": Severity.critical, "page": Severity.critical, "fatal": Severity.critical,
    "emergency": Severity.critical, "disaster": Severity.critical, "p1": Severity.critical, "p0": Severity.critical,
}


def severity_of(labels: Labels) -> Severity:
    """The rank of an alert. Without a `severity` label, or with a word nobody knows, it is a warning."""
    return SYNONYMS.get(labels.get("severity", "").strip().lower(), Severity.warning)


encode_text: Callable[[str], str] = json.encoder.encode_basestring


def encoder() -> Callable[[object], str]:
    """JSON with sorted keys and no spaces. `JSONEncoder.encode` builds its C encoder anew for each value, which takes longer than
    the encoding; where there is none, it is used as it is."""
    plain = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    parts = make(None, plain.default, encode_text, None, ":", ",", True, False, True)
    return lambda value: encode_text(value) if type(value) is str else "".join(parts(value, 0))


encode = encoder()


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return encode(value)


def identity_of(labels: Labels) -> str:
    """SHA-256 of the canonical label set, 32 hex digits of it. Not the sender's fingerprint: that is 64 bits and can be
    collided on purpose by whoever controls labels (PROTOCOLS 1.3)."""
    return hashlib.sha256(encode(dict(labels)).encode()).hexdigest()[:32]


@dataclass(frozen=True, init=False)
class Alert:
    """What the source says of one alert. `ends_at` is None while it fires; times are aware UTC."""

    labels: Labels
    status: AlertStatus
    annotations: Labels = field(default_factory=dict)
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    generator_url: str = ""
    fingerprint: str = ""
    links: Labels = field(default_factory=dict)    # label → http(s) address: dashboard, panel, silence …

    # By hand: what a frozen dataclass is given takes three times as long, and storms are made of these.
    def __init__(
        self, labels: Labels, status: AlertStatus, annotations: Labels | None = None,
        starts_at: datetime | None = None, ends_at: datetime | None = None,
        generator_url: str = "", fingerprint: str = "", links: Labels | None = None,
    ) -> None:
        own = self.__dict__
        own["labels"], own["status"] = labels, status
        own["annotations"] = {} if annotations is None else annotations
        own["starts_at"], own["ends_at"] = starts_at, ends_at
        own["generator_url"], own["fingerprint"] = generator_url, fingerprint
        own["links"] = {} if links is None else links

    @cached_property
    def identity(self) -> str:
        return identity_of(self.labels)

    @property
    def is_firing(self) -> bool:
        return self.status is AlertStatus.firing

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")


@dataclass(frozen=True)
class Batch:
    """One webhook. `arrived_at` is when its request began: the order in which observations count (R-14)."""

    source: str
    arrived_at: datetime
    alerts: tuple[Alert, ...]
    group_labels: Labels = field(default_factory=dict)
    receiver: str = ""              # un-escaped
    sender: str = ""                # externalURL: differs between HA peers
    truncated: int = 0              # how many alerts the sender cut off (`max_alerts`)
    body_sha256: str = ""
    observer: str = "webhook"       # webhook, reconciler, hub, person: who says so
