"""The room that looks for what did not come: resolves that got lost, sources that went silent, own alarms that are over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from alerthub.domain import own
from alerthub.domain.alert import Alert, Batch
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import OWN_SOURCE, AlertState
from alerthub.domain.latch import BLIND_AFTER
from alerthub.domain.reconcile import Finding, Peer, compare, may_have_lost, resolution
from alerthub.domain.rules import Rules
from alerthub.domain.wording import spoken
from alerthub.flow.intake import Taken, take_in
from alerthub.flow.keep import keep
from alerthub.store import alerts as alert_store
from alerthub.store import latches, silences
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
    taken = take_in(tx, rules, batches, now)
    look_at_latches(tx, source, peers, asked_at)
    return taken


def look_at_latches(tx: Tx, source: str, peers: Sequence[Peer], asked_at: datetime) -> None:
    """What the whole list says of the incidents that hold a target in its safe state: the proof that a release needs. Their
    alerts count as firing while any peer lists one, suppressed or not. After a time without looks all begins anew, and a peer
    that has just started proves nothing."""
    listed = {identity for peer in peers for identity in peer.alerts}
    is_whole = not any(may_have_lost(peer, asked_at) for peer in peers)
    last = latches.last_look(tx, source)
    is_unbroken = last is not None and timedelta(0) <= asked_at - last <= BLIND_AFTER
    for hold in latches.holds_of_source(tx, source):
        if any(state.identity in listed or is_newer(state, asked_at) for state in alert_store.of_incident(tx, hold.incident_id)):
            latches.set_clear(tx, hold, None)
        elif is_whole and hold.at < asked_at and not (hold.clear_since and is_unbroken):
            latches.set_clear(tx, hold, asked_at)
    if is_whole:
        latches.looked(tx, source, asked_at)


def is_newer(state: AlertState, asked_at: datetime) -> bool:
    """It fires, by a word that came after the question."""
    return state.is_firing and max(state.changed_at, state.seen_at) >= asked_at


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
