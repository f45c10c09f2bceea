"""The first room: webhooks become incidents, lanes that are due, and proposed actions, in one transaction.

`take_in` takes a list of batches: webhooks that arrive together share a commit. Nothing is sent from here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter

from alerthub.domain.action import Proposal, proposals
from alerthub.domain.alert import Alert, Batch
from alerthub.domain.event import Event, EventKind
from alerthub.domain.incident import (
    OWN_SOURCE,
    AlertState,
    Incident,
    Shift,
    Verdict,
    apply_cleared,
    apply_fired,
    conclude,
    content_of,
    judge,
    key_of,
    open_incident,
    reopen,
)
from alerthub.domain.own import own_batch
from alerthub.domain.route import Route
from alerthub.domain.rules import Rules
from alerthub.errors import Conflict
from alerthub.flow import flapping, late, silencing
from alerthub.flow.propose import run_rows, say_refused
from alerthub.store import alerts as alert_store
from alerthub.store import events as event_store
from alerthub.store import lanes, runs, silences, timers
from alerthub.store.tx import Tx

# A repeat within this time of the last one writes nothing: `seen_at` is exact to it.
SEEN_RESOLUTION = timedelta(seconds=10)


@dataclass(slots=True)
class Taken:
    """What became of the batches: for metrics and logs."""

    verdicts: dict[Verdict, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    alarms: list[Alert] = field(default_factory=list)

    @property
    def is_news(self) -> bool:
        return bool(self.events)


class Folding:
    """One call of `take_in`: what was loaded, what is changed, what is to be saved. Lives for one transaction."""

    def __init__(self, tx: Tx, rules: Rules, now: datetime) -> None:
        self.tx, self.rules, self.now = tx, rules, now
        self.states: dict[tuple[str, str], AlertState] = {}
        self.incidents: dict[str, Incident] = {}
        self.by_key: dict[str, str] = {}
        self.retired: list[int] = []
        self.openings: dict[tuple[str, str], lanes.Opening] = {}
        self.proposed: list[tuple[str, Proposal, Batch]] = []
        self.policies: set[tuple[str, str]] = set()
        self.worse: set[str] = set()
        self.repeated: list[tuple[str, str, Alert]] | None = [] if late.tightens(rules) else None
        self.taken = Taken()

    def load_states(self, batches: Sequence[Batch]) -> None:
        self.load_known({(batch.source, alert.identity) for batch in batches for alert in batch.alerts})

    def load_known(self, alerts: Collection[tuple[str, str]]) -> None:
        for source, those in groupby(sorted(alerts), key=itemgetter(0)):
            for identity, state in alert_store.current(self.tx, source, [identity for _, identity in those]).items():
                self.states[source, identity] = state

    def load_incidents(self, batches: Sequence[Batch]) -> None:
        """Those that may change, locked. Pure repeats, most of all webhooks, need none of them."""
        ids, keys, changing = self.wanted(batches)
        if beginning := self.beginning(batches) if self.tx.is_postgres else set():
            alert_store.keep_apart(self.tx, [*map("/".join, beginning), *keys])
            self.load_known(beginning)
            ids, keys, changing = self.wanted(batches)
        self.by_key = alert_store.latest_by_key(self.tx, keys, self.now - self.rules.reopens_within)
        self.incidents = alert_store.incidents_for_change(self.tx, ids | set(self.by_key.values()))
        self.by_key.update((incident.key, incident.id) for incident in self.incidents.values() if incident.is_open)
        # Another replica may have changed these alerts before the locks were ours; but for those that nobody knew when they were
        # kept apart. Of a repeat its row must still say what was judged.
        if self.tx.is_postgres and (doubted := changing & self.states.keys()):
            self.load_known(doubted)
            if not self.wanted(batches)[0] <= self.incidents.keys():
                raise Conflict("an alert went to another incident meanwhile")

    def beginning(self, batches: Sequence[Batch]) -> set[tuple[str, str]]:
        """The alerts of which nothing is known, and those that fire anew."""
        return {which for batch in batches for alert in batch.alerts
                if (state := self.states.get(which := (batch.source, alert.identity))) is None
                or (alert.is_firing and not state.is_firing)}

    def wanted(self, batches: Sequence[Batch]) -> tuple[set[str], set[str], set[tuple[str, str]]]:
        """The ids and the keys of the incidents that these webhooks may change, as far as the alerts' states tell; and the alerts
        because of which they may."""
        ids: set[str] = set()
        keys: set[str] = set()
        changing: set[tuple[str, str]] = set()
        # An alert that fires now may have been resolved by a webhook of the same call.
        ending = {(batch.source, alert.identity) for batch in batches for alert in batch.alerts if not alert.is_firing}
        for batch in batches:
            for alert in batch.alerts:
                which = (batch.source, alert.identity)
                state = self.states.get(which)
                if state is not None and state.incident_id and (which in ending or self.touches_incident(state, alert, batch)):
                    ids.add(state.incident_id)
                    changing.add(which)
                if alert.is_firing and (state is None or not state.is_firing or which in ending):
                    keys.add(key_of(batch, alert, self.routes_of(alert)))
                    changing.add(which)
        return ids, keys, changing

    def touches_incident(self, state: AlertState, alert: Alert, batch: Batch) -> bool:
        if state.status is not alert.status or batch.truncated:
            return True
        source = self.rules.sources.get(batch.source)
        return bool(source and source.stale_after and batch.arrived_at - state.seen_at >= source.stale_after)

    def routes_of(self, alert: Alert) -> tuple[Route, ...]:
        return self.rules.routes(alert.labels)

    def fold(self, batch: Batch) -> None:
        """Fold one webhook; every incident that it changes gets one event."""
        shifts: dict[str, Shift] = {}
        for alert in batch.alerts:
            state = self.states.get((batch.source, alert.identity))
            verdict = judge(state, alert, batch.arrived_at)
            self.taken.verdicts[verdict] = self.taken.verdicts.get(verdict, 0) + 1
            if verdict in (Verdict.fired, Verdict.refired):
                self.fire(batch, alert, state, shifts)
            elif verdict is Verdict.cleared and state is not None:
                self.clear(batch, alert, state, shifts)
            elif verdict is Verdict.stray:
                self.remember(batch, alert)
            elif verdict is Verdict.repeated and state is not None:
                self.repeat(batch, alert, state, shifts)
        for incident_id, shift in shifts.items():
            incident = self.incidents[incident_id]
            if shift.opened or shift.reopened:
                shift.flaps = flapping.openings(self.tx, self.rules, incident, self.now)
            if shift.severity_rose and not shift.opened:
                self.worse.add(incident_id)
            event = conclude(incident, shift, batch, self.now)
            if event is not None:
                self.taken.events.append(event)

    def fire(self, batch: Batch, alert: Alert, state: AlertState | None, shifts: dict[str, Shift]) -> None:
        routes = self.routes_of(alert)
        incident, shift = self.incident_for(batch, alert, state, routes, shifts)
        if state is None or state.incident_id != incident.id:
            state = self.next_state(batch, alert, state)
        apply_fired(incident, state, alert, batch, shift)
        state.seen_at = batch.arrived_at
        self.plan(incident, alert, routes, batch)

    def next_state(self, batch: Batch, alert: Alert, old: AlertState | None) -> AlertState:
        """A row for the alert's time in another incident; the old row stays as that incident's history."""
        if old is not None and old.row:
            self.retired.append(old.row)
        state = AlertState(batch.source, alert.identity, None, alert.status, "", alert.starts_at, alert.ends_at,
                           batch.arrived_at, batch.arrived_at)
        self.states[batch.source, alert.identity] = state
        return state

    def incident_for(self, batch: Batch, alert: Alert, state: AlertState | None, routes: tuple[Route, ...],
                     shifts: dict[str, Shift]) -> tuple[Incident, Shift]:
        """The incident that the alert belongs to: the open one it was in, else its key's open or reopened one, or a new one."""
        key = key_of(batch, alert, routes)
        known = state.incident_id if state is not None else None
        incident = self.incidents.get(known) if known else None
        if incident is None or not incident.is_open:
            incident = self.incidents.get(self.by_key.get(key, ""))
        if incident is None:
            incident = open_incident(self.tx.new_id(), key, batch, alert, routes[0], self.now)
            self.incidents[incident.id] = incident
            self.by_key[key] = incident.id
            return incident, shifts.setdefault(incident.id, Shift(opened=True))
        shift = shifts.setdefault(incident.id, Shift())
        if not incident.is_open:
            reopen(incident, self.now)
            shift.reopened = True
        return incident, shift

    def clear(self, batch: Batch, alert: Alert, state: AlertState, shifts: dict[str, Shift]) -> None:
        incident = self.incidents.get(state.incident_id or "")
        if incident is None:
            return
        apply_cleared(incident, state, alert, batch, shifts.setdefault(incident.id, Shift()))
        state.seen_at = batch.arrived_at

    def remember(self, batch: Batch, alert: Alert) -> None:
        """A resolve of what was never seen firing: kept, so that an older firing that comes late opens nothing (R-13, R-14)."""
        state = self.next_state(batch, alert, None)
        state.content, state.is_dirty = content_of(alert), True
        state.ends_at = alert.ends_at or batch.arrived_at

    def repeat(self, batch: Batch, alert: Alert, state: AlertState, shifts: dict[str, Shift]) -> None:
        if self.repeated is not None and alert.is_firing and batch.source != OWN_SOURCE:
            self.repeated.append((state.incident_id or "", batch.source, alert))
        incident = self.incidents.get(state.incident_id or "")
        if incident is not None and incident.is_open:
            shift = shifts.setdefault(incident.id, Shift())
            if incident.is_stale and alert.is_firing:
                incident.is_stale, shift.refreshed = False, True
        content = content_of(alert)
        # With replicas the row must say itself that the alert still has this status: another may have resolved it meanwhile.
        is_fresh = batch.arrived_at - state.seen_at < SEEN_RESOLUTION and state.missing_since is None and not self.tx.is_postgres
        if is_fresh and content == state.content:
            return
        if batch.arrived_at >= state.seen_at:
            state.content, state.seen_at, state.missing_since = content, batch.arrived_at, None
            state.is_touched = True

    def plan(self, incident: Incident, alert: Alert, routes: tuple[Route, ...], batch: Batch) -> None:
        """Who is to be told, and what is to be done, because this alert fires."""
        for route in routes:
            if route.escalation_policy:
                self.policies.add((incident.id, route.escalation_policy))
            for destination in self.rules.told(route, avoid=incident.avoid if batch.source == OWN_SOURCE else ""):
                self.openings.setdefault((incident.id, destination.key),
                                         lanes.Opening(incident.id, destination, self.now + route.group_wait))
        if batch.source != OWN_SOURCE:      # the alarm that an action failed must never run that action again
            self.proposed.extend((incident.id, proposal, batch) for proposal in proposals(routes, alert, self.rules))

    def obey_silences(self) -> None:
        """Hold what the hub's silences cover, and let go what they do not cover any more."""
        active = silences.active(self.tx, self.now) if self.taken.events else []
        told = {event.incident_id for event in self.taken.events}
        if not active and not any(self.incidents[incident_id].silence_id for incident_id in told):
            return
        states: dict[str, list[AlertState]] = {}
        for state in self.states.values():
            states.setdefault(state.incident_id or "", []).append(state)
        judged = [silencing.judge(self.tx, self.incidents[incident_id], active, self.now, states.get(incident_id, ()),
                                  zone=self.rules.answers.time_zone)
                  for incident_id in sorted(told)]
        self.taken.events = [held(event, self.incidents[event.incident_id]) for event in self.taken.events]
        self.taken.events += [event for event in judged if event is not None]

    def save(self) -> None:
        self.obey_silences()
        rows, latched = run_rows(self.tx, self.rules, self.proposed, self.incidents, self.now)
        events, self.taken.alarms = say_refused(rows, self.proposed, self.incidents, self.now)
        self.taken.events += [*latched, *events]
        changed = [self.incidents[key] for key in sorted({event.incident_id for event in self.taken.events})]
        alert_store.save_incidents(self.tx, changed)
        alert_store.save_alerts(self.tx, [self.states[which] for which in sorted(self.states)], sorted(self.retired))
        self.taken.runs = runs.propose(self.tx, rows)
        event_store.append(self.tx, self.taken.events)
        begun = {event.incident_id: self.incidents[event.incident_id].seq for event in self.taken.events if event.seq == 1}
        lanes.ensure(self.tx, [replace(opening, seq=begun.get(opening.incident_id, 0)) for opening in self.openings.values()])
        lanes.mark(self.tx, [(incident.id, incident.seq) for incident in changed if incident.id not in begun], self.now)
        timers.arm(self.tx, [
            {"incident_id": incident_id, "kind": timers.ESCALATION, "name": policy, "due_at": self.now,
             "episode": self.incidents[incident_id].episode} for incident_id, policy in sorted(self.policies)])
        for incident_id in sorted(self.worse) if self.rules.policies else ():    # who did not answer before is asked again
            incident = self.incidents[incident_id]
            timers.restart(self.tx, incident_id, timers.ESCALATION, incident.episode, self.now, only=timers.RAN_OUT)


def held(event: Event, incident: Incident) -> Event:
    """An opening under a silence says so: who was not told of it need not be told of its end."""
    if incident.silence_id and event.kind in (EventKind.opened, EventKind.reopened):
        return replace(event, data={**event.data, "held_by": incident.silence_id})
    return event


def take_in(tx: Tx, rules: Rules, batches: Sequence[Batch], now: datetime) -> Taken:
    """Store what these webhooks say, in the order in which they arrived. Deliveries and actions become due with it.

    The same batch again changes nothing and makes nothing due.
    """
    folding = Folding(tx, rules, now)
    folding.load_states(batches)
    folding.load_incidents(batches)
    for batch in sorted(batches, key=lambda batch: batch.arrived_at):
        folding.fold(batch)
    folding.save()
    if folding.repeated:
        events, new = late.catch_up(tx, rules, folding.repeated, now)
        folding.taken.events += events
        folding.taken.runs += new
    if folding.taken.alarms and batches[0].source != OWN_SOURCE:
        take_in(tx, rules, [own_batch(folding.taken.alarms, now)], now)
    return folding.taken
