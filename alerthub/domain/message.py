"""What is to be said, neutral of any channel: the state of one incident now, and what is new since the last telling."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from alerthub.domain.alert import AlertStatus, Labels, Severity


class IncidentStatus(StrEnum):
    triggered = "triggered"
    acknowledged = "acknowledged"
    resolved = "resolved"

    @property
    def is_open(self) -> bool:
        return self is not IncidentStatus.resolved


class Why(StrEnum):
    """Why a destination is told now. The same word in delivery, log, metric and message."""

    opened = "opened"
    reopened = "reopened"
    changed = "changed"              # alerts joined or left, severity rose
    acknowledged = "acknowledged"
    unacknowledged = "unacknowledged"    # given back, or its time is over: somebody is wanted again
    resolved = "resolved"
    stale = "stale"                  # the source has been silent for too long
    repeat = "repeat"                # still open after repeat_interval
    escalated = "escalated"
    action = "action"                # an automatic action reported
    comment = "comment"
    digest = "digest"                # a storm: many incidents in one message
    test = "test"                    # `alerthub send-test`


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert as people see it. All text is untrusted: the channel escapes it."""

    status: AlertStatus
    labels: Labels
    annotations: Labels
    starts_at: datetime | None
    ends_at: datetime | None
    generator_url: str = ""

    @property
    def summary(self) -> str:
        return self.annotations.get("summary") or self.annotations.get("message") or self.annotations.get("title") or ""


@dataclass(frozen=True, slots=True)
class Link:
    """`url` is http(s), checked. `label` is ours, or a runbook's title."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class ActionLine:
    """How one automatic action ended, for people. Its text is untrusted too: an agent's answer may be in it. `facts` is the same
    at length, for a letter: what became of it, why, and the rest, line by line. `is_pending`: it is not decided or not finished
    yet; `in_doubt`: it may have been done."""

    text: str
    is_bad: bool
    is_done: bool = True
    facts: tuple[str, ...] = ()
    is_pending: bool = False
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class Button:
    """What a person can press. `token` is opaque and signed; a channel that mails links uses `url` instead. `verb` tells the
    kinds apart: acknowledge, resolve, silence (several, side by side), escalate, approve, deny, release. `confirm`: what is asked
    once more before it is done, where the channel can ask."""

    verb: str
    label: str
    token: str
    url: str = ""
    confirm: str = ""


@dataclass(frozen=True, slots=True)
class DigestLine:
    """One incident in a storm's summary."""

    number: int
    title: str
    status: IncidentStatus
    severity: Severity
    firing: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """Everything a channel needs. One live message per (incident, destination) shows this state.

    `delivery_id` differs per delivery and stays the same over its attempts; `incident_id` is the thread. `episode`
    counts reopenings: PagerDuty's dedup_key is per (incident, episode). `alerts` holds the first of them,
    firing first; `firing` and `resolved` count all. `news` are the lines that this destination has not seen yet;
    `actions` are part of the state, oldest first.
    """

    delivery_id: str
    incident_id: str
    number: int
    episode: int
    why: Why
    status: IncidentStatus
    severity: Severity
    title: str
    at: datetime
    opened_at: datetime
    resolved_at: datetime | None = None
    acknowledged_by: str = ""
    alerts: tuple[AlertLine, ...] = ()
    firing: int = 0
    resolved: int = 0
    common_labels: Labels = field(default_factory=dict)
    common_annotations: Labels = field(default_factory=dict)
    source: str = ""
    news: tuple[str, ...] = ()
    actions: tuple[ActionLine, ...] = ()
    links: tuple[Link, ...] = ()
    incomplete: int = 0              # how many alerts the sender cut off (`max_alerts`)
    is_stale: bool = False
    is_silenced: bool = False
    is_worse: bool = False           # its severity rose since the last telling: whoever is mentioned, is mentioned again
    is_degraded: bool = False        # send as minimal plain text: the rich form was refused
    possible_duplicate: bool = False
    digest: tuple[DigestLine, ...] = ()
    buttons: tuple[Button, ...] = ()     # only where answers are heard
    acknowledged_at: datetime | None = None
    calls: bool = False              # an escalation calls whoever is reached here, and nobody has taken it since
    taken: bool = False              # somebody has acknowledged or silenced it since this place was told
    asks_again: bool = False         # somebody had it, or had silenced it, and is wanted again
    standing: tuple[str, ...] = ()   # who has it, who was called, what comes next
    flaps: int = 0                   # how often it has opened lately, when that is too often
    silenced_until: datetime | None = None   # by a silence of the hub
    only_edit: bool = False          # change the live message and say nothing new: the news come in the lane's own turn
    time_zone: str = "UTC"           # in which people read its times

    @property
    def thread(self) -> str:
        return f"{self.incident_id}/{self.episode}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider's handle of the live message, as it gave it: strings, never numbers (PROTOCOLS 2.1)."""

    handle: dict[str, str] = field(default_factory=dict)
