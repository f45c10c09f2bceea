"""The room that looks for what did not come: resolves that got lost, sources that went silent, own alarms that are over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from alerthub.domain import own
from alerthub.domain.alert import Alert, Batch
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import OWN_SOURCE, AlertState
from alerthub.domain.reconcile import Finding, Peer, compare, resolution
from alerthub.domain.rules import Rules
from alerthub.domain.wording import spoken
from alerthub.flow.intake import Taken, take_in
from alerthub.flow.keep import keep
from alerthub.store import alerts as alert_store
from alerthub.store import silences
from alerthub.store.tx import Tx

OWN_EXPIRY = timedelta(hours=1)


def reconcile(tx: Tx, rules: Rules, source: str, peers: Sequence[Peer], asked_at: datetime, now: datetime) -> Taken:
    """Compare with what the source's peers answered to a question asked at `asked_at`."""
    ours = alert_store.firing_of_source(tx, source)
    finding = compare(ours, peers, asked_at, silences.mirrored_ids(tx, source, now))
    mark_seen(tx, finding, asked_at)
    mark_silenced(tx, ours, finding, now)
    resolved = tuple(resolution_of(state, asked_at) for state in finding.resolved)
    batches = [Batch(source=source, arrived_at=asked_at, alerts=resolved, observer="reconciler")] if resolved else []
    batches.append(own.own_batch([own.cleared(own.source_unreachable(source, ""), now)], now))
    return take_in(tx, rules, batches, now)


def unreachable(tx: Tx, rules: Rules, source: str, detail: str, now: datetime) -> Taken:
    """The source does not answer: nothing is concluded from that, but people are told."""
    return take_in(tx, rules, [own.own_batch([own.source_unreachable(source, detail)], now)], now)


def resolution_of(state: AlertState, asked_at: datetime) -> Alert:
    content = json.loads(state.content)
    return resolution(state, content["labels"], content["annotations"], asked_at)


def mark_seen(tx: Tx, finding: Finding, asked_at: datetime) -> None:
    for state in finding.missing:
        state.missing_since, state.is_touched = asked_at, True
    for state in finding.present:
        state.missing_since, state.seen_at, state.is_touched = None, max(state.seen_at, asked_at), True
    alert_store.save_alerts(tx, [*finding.missing, *finding.present], [])


def mark_silenced(tx: Tx, ours: Sequence[AlertState], finding: Finding, now: datetime) -> None:
    """An incident is silenced when every alert of it that fires is suppressed at the source. What the source does not list
    is left as it was: that it is gone does not mean that its silence has ended. What the hub's own silence holds is not told
    once more; what its mirror there holds is not silenced at the source, also while that has not ended yet."""
    firing: dict[str, list[bool]] = {}
    for state in ours:
        if state.incident_id and state.identity in finding.listed:
            firing.setdefault(state.incident_id, []).append(state.identity in finding.suppressed)
    known = alert_store.read_incidents(tx, firing)
    wrong = [key for key, held in firing.items() if key in known and known[key].is_silenced != all(held)
             and not (all(held) and known[key].silence_id)]
    events: list[Event] = []
    changed = alert_store.incidents_for_change(tx, wrong)
    for incident in changed.values():
        incident.is_silenced = not incident.is_silenced
        text = "Silenced or inhibited at the source" if incident.is_silenced else "No longer silenced at the source"
        events.append(incident.happened(EventKind.silenced, Actor("hub", "reconciler"), text, now, {}))
    keep(tx, list(changed.values()), events, now)


def mark_stale(tx: Tx, rules: Rules, now: datetime) -> list[Event]:
    """Incidents whose source has said nothing of them for `stale_after`. Never silently resolved (R-18)."""
    events: list[Event] = []
    for source in rules.sources.values():
        if not source.stale_after:
            continue
        quiet = alert_store.quiet_incidents(tx, source.name, now - source.stale_after)
        changed = alert_store.incidents_for_change(tx, quiet)
        for incident in changed.values():
            incident.is_stale = True
            text = (f"Stale: {source.name} has not reported it for {spoken(source.stale_after)}; it may be over, or the source "
                    "is down")
            events.append(incident.happened(EventKind.stale, Actor("hub", "watch"), text, now, {}))
        keep(tx, list(changed.values()), events[-len(changed):] if changed else [], now)
    return events


def expire_own(tx: Tx, rules: Rules, now: datetime) -> Taken:
    """End the hub's own alarms that no event ends: about bad bodies, when none has come for an hour; about an action without a
    target, with the incident that asked for it."""
    over = []
    for state in alert_store.firing_of_source(tx, OWN_SOURCE):
        content = json.loads(state.content)
        labels = content["labels"]
        asked_by = alert_store.find_incident(tx, own.waits_for_incident(labels))
        is_old = labels.get("alertname") in own.EXPIRING and now - state.seen_at > OWN_EXPIRY
        is_taken = asked_by is not None and (not asked_by.is_open or own.ends_when_taken(labels, asked_by))
        if is_old or is_taken:
            over.append(own.cleared(Alert(labels, state.status, content["annotations"]), now))
    return take_in(tx, rules, [own.own_batch(over, now)] if over else [], now)
