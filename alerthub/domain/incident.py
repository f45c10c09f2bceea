"""The fold: what the alerts of a webhook make of an incident. Only `alerts[]` counts, never the group's status (R-8)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from alerthub.domain.alert import Alert, AlertStatus, Batch, Labels, Severity, canonical, severity_of
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.message import IncidentStatus
from alerthub.domain.route import Route, group_pairs
from alerthub.domain.wording import clip, one_line

OWN_SOURCE = "alerthub"     # the hub's own alarms are alerts of this source
# No request lives longer, so what seems to have come even earlier is a clock that jumped or a replica's that is off.
LONGEST_REQUEST = timedelta(seconds=30)
NAMES_IN_TEXT = 3      # how many alerts a line of history names before it only counts


@dataclass(slots=True)
class AlertState:
    """The last thing that counts about one alert of one source. `changed_at` is the arrival of the observation that made
    its status: an observation that arrived earlier cannot change it (R-14)."""

    source: str
    identity: str
    incident_id: str | None
    status: AlertStatus
    content: str                       # canonical JSON of labels, annotations, times, links: what people are shown
    starts_at: datetime | None
    ends_at: datetime | None
    changed_at: datetime
    seen_at: datetime
    row: int = 0                       # the store's number of it; 0 when it is new
    is_dirty: bool = False             # its status changed
    missing_since: datetime | None = None
    is_touched: bool = False           # seen again, or shown differently

    @property
    def is_firing(self) -> bool:
        return self.status is AlertStatus.firing


@dataclass(slots=True)
class Incident:
    """Working copy of one incident. `seq` is its last event; the store saves it only if nobody else moved `stored_seq`."""

    id: str
    key: str
    source: str
    title: str
    status: IncidentStatus
    severity: Severity
    opened_at: datetime
    updated_at: datetime
    episode: int = 1
    seq: int = 0
    stored_seq: int = 0                # 0: not stored yet
    number: int = 0                    # for people: #17; given by the database
    resolved_at: datetime | None = None
    acknowledged_by: str = ""
    firing: int = 0
    alerts: int = 0
    incomplete: int = 0
    is_stale: bool = False
    is_silenced: bool = False
    seen_at: datetime | None = None
    avoid: str = ""                    # a destination that must not be told of this: it is what fails
    acknowledged_at: datetime | None = None
    silence_id: str = ""               # the hub's silence that holds it: every alert of it that fires is covered
    flaps: int = 0                     # openings within the window, once they are too many; 0 while it does not flap

    @property
    def is_open(self) -> bool:
        return self.status.is_open

    def happened(self, kind: EventKind, actor: Actor, text: str, now: datetime, data: dict[str, object]) -> Event:
        """Append to the history. The caller stores what is returned."""
        self.seq += 1
        self.updated_at = now
        return Event(self.id, self.seq, now, kind, actor, text, data)


class Verdict(StrEnum):
    """What one observation means for what is known. Also the metric label."""

    fired = "fired"                    # was not known
    refired = "refired"                # was resolved
    cleared = "cleared"                # was firing
    repeated = "repeated"              # nothing new
    late = "late"                      # arrived before the last observation of the alert
    before_start = "before_start"      # ended before this episode began
    stray = "stray"                    # resolved, and never seen firing


def judge(state: AlertState | None, alert: Alert, arrived_at: datetime) -> Verdict:
    """R-12 … R-16. A firing that arrives after a resolve counts even with the same `startsAt`: a page in doubt is sent."""
    if state is None:
        return Verdict.fired if alert.is_firing else Verdict.stray
    if state.status is alert.status:
        return Verdict.repeated
    if timedelta(0) < max(state.changed_at, state.seen_at) - arrived_at <= LONGEST_REQUEST:
        return Verdict.late
    if alert.is_firing:
        return Verdict.refired if state.incident_id else Verdict.fired
    if alert.ends_at and state.starts_at and alert.ends_at < state.starts_at:
        return Verdict.before_start
    return Verdict.cleared


def incident_key(source: str, labels: Labels, group_by: Sequence[str], group_labels: Labels) -> str:
    """SHA-256 over the source and the labels that our route, else the sender, else `alertname` groups by."""
    pairs = group_pairs(group_by, labels) if group_by else tuple(sorted(group_labels.items()))
    if not pairs:
        pairs = (("alertname", labels.get("alertname", "")),)
    is_short = sum(len(value) for _, value in pairs) <= LONGEST_KNOWN
    return known_key(source, pairs) if is_short else hashed(source, pairs)


def hashed(source: str, pairs: tuple[tuple[str, str], ...]) -> str:
    return hashlib.sha256(canonical([source, pairs]).encode()).hexdigest()


LONGEST_KNOWN = 512     # characters of the values together: whoever sends labels must not fill the memory
known_key = lru_cache(4096)(hashed)     # most alerts are of incidents that there have just been others of


def title_of(labels: Labels, group_by: Sequence[str], group_labels: Labels) -> str:
    """`AgentRewardNegative (agent=btc)`: the name, then what the incident is grouped by."""
    pairs = group_pairs(group_by, labels) if group_by and "..." not in group_by else tuple(sorted(group_labels.items()))
    rest = ", ".join(f"{name}={value}" for name, value in pairs if name != "alertname")
    name = labels.get("alertname", "").strip() or "Alert"
    return f"{name} ({rest})" if rest else name


def content_of(alert: Alert) -> str:
    """What people are shown of an alert, as canonical JSON: equal text means nothing to refresh."""
    content: dict[str, object] = {"labels": dict(alert.labels), "annotations": dict(alert.annotations)}
    if alert.generator_url:
        content["generator_url"] = alert.generator_url
    if alert.fingerprint:
        content["fingerprint"] = alert.fingerprint
    if alert.links:
        content["links"] = dict(alert.links)
    return canonical(content)


@dataclass(slots=True)
class Shift:
    """What one webhook changed in one incident, gathered alert by alert, told as one event."""

    fired: list[Alert] = field(default_factory=list)
    cleared: list[Alert] = field(default_factory=list)
    opened: bool = False
    reopened: bool = False
    severity_rose: bool = False
    incomplete: int = 0
    refreshed: bool = False
    flaps: int = 0             # openings within the window, when they are too many

    @property
    def is_nothing(self) -> bool:
        return not (self.fired or self.cleared or self.incomplete or self.refreshed)


def key_of(batch: Batch, alert: Alert, routes: Sequence[Route]) -> str:
    """The key of the incident that an alert of this webhook is folded into; the first of its routes says by what."""
    group_by = ("...",) if batch.source == OWN_SOURCE else routes[0].group_by
    return incident_key(batch.source, alert.labels, group_by, batch.group_labels)


def open_incident(new_id: str, key: str, batch: Batch, alert: Alert, route: Route, now: datetime) -> Incident:
    is_own = batch.source == OWN_SOURCE
    title = alert.annotations.get("summary", alert.name) if is_own else title_of(alert.labels, route.group_by, batch.group_labels)
    return Incident(
        id=new_id, key=key, source=batch.source, title=title,
        status=IncidentStatus.triggered, severity=severity_of(alert.labels), opened_at=now, updated_at=now, seen_at=now,
        avoid=alert.labels.get("destination", "") if is_own else "",
    )


def reopen(incident: Incident, now: datetime) -> None:
    """The next episode. An acknowledgement never carries over (R-17)."""
    incident.status, incident.resolved_at, incident.acknowledged_by = IncidentStatus.triggered, None, ""
    incident.acknowledged_at, incident.silence_id = None, ""
    incident.episode += 1
    incident.severity = Severity.info
    incident.opened_at = now
    incident.is_stale = incident.is_silenced = False


def apply_fired(incident: Incident, state: AlertState, alert: Alert, batch: Batch, shift: Shift) -> None:
    incident.firing += 1
    if state.incident_id != incident.id:
        incident.alerts += 1
    state.incident_id, state.status = incident.id, AlertStatus.firing
    state.starts_at, state.ends_at = alert.starts_at, None      # only the sender's own clock is compared with its ends
    state.changed_at, state.content, state.is_dirty = batch.arrived_at, content_of(alert), True
    state.missing_since = None
    severity = severity_of(alert.labels)
    if severity.rank > incident.severity.rank:
        incident.severity = severity
        shift.severity_rose = True
    shift.fired.append(alert)


def apply_cleared(incident: Incident, state: AlertState, alert: Alert, batch: Batch, shift: Shift) -> None:
    incident.firing -= 1
    state.status, state.ends_at = AlertStatus.resolved, alert.ends_at or batch.arrived_at
    state.changed_at, state.content, state.is_dirty = batch.arrived_at, content_of(alert), True
    state.missing_since = None
    shift.cleared.append(alert)


def conclude(incident: Incident, shift: Shift, batch: Batch, now: datetime) -> Event | None:
    """Close the incident when nothing fires any more, and put the shift into one event; None when nothing happened."""
    if batch.truncated and not incident.incomplete:
        shift.incomplete = batch.truncated
    if incident.incomplete != batch.truncated and (shift.fired or shift.cleared or shift.incomplete):
        incident.incomplete = batch.truncated
    if shift.is_nothing:
        return None
    kind = EventKind.changed
    if shift.opened or shift.reopened:
        kind = EventKind.opened if shift.opened else EventKind.reopened
    if incident.firing <= 0 and incident.is_open:
        incident.firing = 0
        incident.status, incident.resolved_at = IncidentStatus.resolved, now
        incident.is_stale, incident.is_silenced, incident.silence_id = False, False, ""
        kind = EventKind.resolved
    data: dict[str, object] = {
        "fired": [alert.identity for alert in shift.fired], "cleared": [alert.identity for alert in shift.cleared],
        "firing": incident.firing, "body_sha256": batch.body_sha256, "sender": batch.sender,
    }
    if shift.severity_rose:
        data["severity"] = incident.severity.value
    if shift.opened or shift.reopened:
        if shift.flaps and not incident.flaps:
            data["flaps"] = shift.flaps     # told loudly once, quietly from now on
        incident.flaps = shift.flaps
    actor = Actor("source", batch.source) if batch.observer == "webhook" else Actor("hub", batch.observer)
    return incident.happened(kind, actor, shift_text(incident, shift, kind, batch.observer), now, data)


def shift_text(incident: Incident, shift: Shift, kind: EventKind, observer: str) -> str:
    parts: list[str] = []
    if shift.fired:
        parts.append(f"{counted(shift.fired)} {'fired again' if shift.reopened else 'firing'}: {named(shift.fired)}")
    if shift.cleared:
        found = ", as the source itself says when asked" if observer == "reconciler" else ""
        parts.append(f"{counted(shift.cleared)} cleared{found}: {named(shift.cleared)}")
    if shift.severity_rose and not (shift.opened or shift.reopened):
        parts.append(f"severity rose to {incident.severity.value}")
    if shift.incomplete:
        cut = "1 alert" if shift.incomplete == 1 else f"{shift.incomplete} alerts"
        parts.append(f"the sender cut off {cut} (set max_alerts: 0 in Alertmanager to see all)")
    if shift.refreshed:
        parts.append("the source reports it again")
    if incident.flaps and (shift.opened or shift.reopened):
        parts.append(f"flapping, opened {incident.flaps} times lately")
    word = {EventKind.opened: "Opened", EventKind.reopened: "Reopened", EventKind.resolved: "Resolved"}.get(kind, "Changed")
    return f"{word}: {'; '.join(parts)}"


def counted(alerts: Sequence[Alert]) -> str:
    return "1 alert" if len(alerts) == 1 else f"{len(alerts)} alerts"


def named(alerts: Sequence[Alert]) -> str:
    """The first few alerts by what tells them apart, and how many more."""
    shown = [short_name(alert.labels) for alert in alerts[:NAMES_IN_TEXT]]
    if len(alerts) > NAMES_IN_TEXT:
        shown.append(f"and {len(alerts) - NAMES_IN_TEXT} more")
    return ", ".join(shown)


TELLING = ("agent", "host", "pod", "deployment", "model", "flow", "instance", "service", "job")


def short_name(labels: Labels, limit: int = 80) -> str:
    """`DiskFull on db-01`: untrusted text, one line, cut."""
    name = one_line(labels.get("alertname", "")) or "alert"
    where = next(filter(None, (one_line(labels.get(label, "")) for label in TELLING)), "")
    text = f"{name} on {where}" if where else name
    return clip(text, limit)
