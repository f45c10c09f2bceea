"""The room of heartbeats: one came, one did not come, and what is done then. Timers are rows: they survive every restart, and
the time in which nobody could listen is never held against a heartbeat (PROTOCOLS 1.10).

The promise: what comes as often as its rule asks for, and is refused or lost while the hub is away for more than some seconds
(a restart, a database that does not answer), is not missing when the next one comes in time. After a hole of up to a minute
that is one gap more, after a longer one a full gap from the return, and in both cases a minute at least. What is refused in a
shorter stumble must be sent again by the sender (README). Price: after a hole what really is missing is told so much later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from alerthub.domain import heartbeat as domain
from alerthub.domain.alert import Alert, AlertStatus, Batch
from alerthub.domain.event import Event
from alerthub.domain.heartbeat import TICK, Heartbeat, State
from alerthub.domain.incident import OWN_SOURCE, AlertState, Incident
from alerthub.domain.own import cleared, own_batch
from alerthub.domain.rules import ActionRule, HeartbeatRule, Rules
from alerthub.flow.intake import Taken, take_in
from alerthub.flow.keep import keep as write
from alerthub.flow.proof import heartbeats_said
from alerthub.flow.propose import Row, called_by, run_row
from alerthub.flow.tighten import is_latching, tighten
from alerthub.store import alerts as alert_store
from alerthub.store import heartbeats as store
from alerthub.store import lanes, latches, runs
from alerthub.store.tx import Tx

Pair = tuple[ActionRule, str]       # with its target


def seen(tx: Tx, rules: Rules, name: str, at: datetime, now: datetime) -> Taken | None:
    """One came. What it changed, when it was missing. A name that is not configured is left alone."""
    rule = rules.heartbeats.get(name)
    if rule is None:
        return None
    at, known = min(at, now), locked(tx, rule, now)
    if domain.is_late(known, at, now):
        return None
    store.save(tx, [domain.beaten(rule, known, at)])
    if known.state is State.alive:
        return None
    again = f"It came again at {domain.moment(at, rules.answers.time_zone)}."
    ended = end(tx, rules, name, again, now) if known.state is State.missing else None
    heartbeats_said(tx, [name], now)
    return ended


def match(tx: Tx, rules: Rules, batch: Batch, now: datetime) -> Taken | None:
    """Alerts that fire are the beats of those whose matchers match them; one that is resolved is an alarm at once."""
    if batch.source == OWN_SOURCE:
        return None
    heard = domain.heard(rules.heartbeats.values(), batch.alerts)
    return joined(seen(tx, rules, name, batch.arrived_at, now) if is_firing else
                  over(tx, rules, rules.heartbeats[name], batch.arrived_at, now) for name, is_firing in sorted(heard.items()))


def over(tx: Tx, rules: Rules, rule: HeartbeatRule, at: datetime, now: datetime) -> Taken | None:
    """The source itself says that the alert which must always fire does not."""
    at, known = min(at, now), locked(tx, rule, now)
    if known.state is State.missing or domain.is_late(known, at, now):
        return None
    store.save(tx, [domain.lost(known, at)])
    heartbeats_said(tx, [rule.name], None)
    return alarm(tx, rules, rule, domain.missing(rule, known, now, was_resolved=True, zone=rules.answers.time_zone), now)


def locked(tx: Tx, rule: HeartbeatRule, now: datetime) -> Heartbeat:
    found = store.lock(tx, [rule.name])
    if not found:       # another replica, which does not know it yet, has just begun with its configuration
        store.add(tx, [domain.born(rule, now)])
        found = store.lock(tx, [rule.name])
    return found[rule.name]


def run_due(tx: Tx, rules: Rules, now: datetime) -> Taken | None:
    """Alarm for those whose time is over. To be called when `next_due` says so; with replicas only one of them does it."""
    if not rules.heartbeats:
        return None
    last = store.last_tick(tx, wait=False)
    if last is None:
        if store.begin(tx, now):
            give_time(tx, rules, now)
        return None
    if now - last >= TICK or domain.is_ahead(last, now):
        store.tick(tx, now)
        watch_again(tx, rules, last, now)
    lost = store.due(tx, rules.heartbeats, now)
    store.save(tx, [domain.lost(one) for one in lost])
    heartbeats_said(tx, [one.name for one in lost], None)
    return joined(alarm(tx, rules, rule, domain.missing(rule, one, now, zone=rules.answers.time_zone), now)
                  for one in lost for rule in [rules.heartbeats[one.name]])


def watch_again(tx: Tx, rules: Rules, last: datetime, now: datetime) -> None:
    """At each tick: after a while in which nobody watched they all get time; after a clock that jumped back none waits for
    the time it showed; and one that another replica's older configuration has removed is watched again."""
    if domain.unwatched(last, now) or domain.is_ahead(last, now):      # nobody knows that they have come all the while
        latches.begin_anew(tx, OWN_SOURCE, now)
    if domain.unwatched(last, now):
        give_time(tx, rules, now)
    elif domain.unwatched(last, now, domain.HOLE):
        keep(tx, [(one, domain.spared(rule, one, now)) for rule, one in watched(tx, rules)])
    elif domain.is_ahead(last, now):
        keep(tx, [(one, domain.fitted(rule, one, now)) for rule, one in watched(tx, rules)])
    known = store.read(tx)
    store.add(tx, [domain.born(rule, now) for name, rule in rules.heartbeats.items() if name not in known])


def start(tx: Tx, rules: Rules, now: datetime) -> Taken | None:
    """At the start of the hub and after a reload: watch what is configured, and nothing else. When no replica has watched
    meanwhile, nothing is missing before one full gap has passed."""
    last = store.last_tick(tx, wait=True)
    known = store.lock(tx)
    gone = sorted(known.keys() - rules.heartbeats.keys())
    store.forget(tx, [*gone, *([] if rules.heartbeats else [store.WATCH])])
    heartbeats_said(tx, gone, None)
    if domain.unwatched(last, now, TICK * 2):
        latches.begin_anew(tx, OWN_SOURCE, now)
    if rules.heartbeats:
        store.add(tx, [domain.born(rule, now) for rule in rules.heartbeats.values()])
        # Two ticks without a word: there is no other replica. What fell due in a shorter pause was nobody's to see either.
        was_down, hole = domain.unwatched(last, now, TICK * 2), domain.unwatched(last, now, domain.HOLE)
        keep(tx, [(one, fresh(rule, one, now, was_down=was_down, hole=hole)) for rule, one in watched(tx, rules)])
        if not store.begin(tx, now) and hole:
            store.tick(tx, now)
    ended = [end(tx, rules, name, "It is not in the configuration any more.", now)
             for name in gone if known[name].state is State.missing]
    return joined([*ended, *(late(tx, rules, rule, now) for rule, one in watched(tx, rules) if one.state is State.missing)])


def late(tx: Tx, rules: Rules, rule: HeartbeatRule, now: datetime) -> Taken | None:
    """Latch what it calls for since this configuration, and did not when its alarm was raised. What is known as a cause is left
    alone: an admin may have overridden it."""
    pairs = [(action, target) for action, target in called_for(rules, rule) if is_latching(rules, action, target)]
    known = latches.known_causes(tx, {target for _, target in pairs}) if pairs else set()
    taken = Taken()
    for state, alert in alarms(tx, rule.name) if pairs else ():
        new = [(action, target) for action, target in pairs if (target, state.incident_id) not in known]
        for incident in alert_store.incidents_for_change(tx, [state.incident_id or ""]).values() if new else ():
            rows, events = run_rows(tx, rules, new, incident, alert, now)
            write(tx, [incident] if events else [], events, now)
            taken.events += events
            taken.runs += runs.propose(tx, rows)
    return taken if taken.runs or taken.events else None


def fresh(rule: HeartbeatRule, heartbeat: Heartbeat, now: datetime, *, was_down: bool, hole: bool) -> Heartbeat:
    fitting = domain.fitted(rule, heartbeat, now)
    is_overdue = fitting.due_at is not None and fitting.due_at <= now
    if was_down or is_overdue:
        return domain.given_time(rule, fitting, now)
    return domain.spared(rule, fitting, now) if hole else fitting


def give_time(tx: Tx, rules: Rules, now: datetime) -> None:
    keep(tx, [(one, domain.given_time(rule, one, now)) for rule, one in watched(tx, rules)])


def watched(tx: Tx, rules: Rules) -> list[tuple[HeartbeatRule, Heartbeat]]:
    return [(rules.heartbeats[name], one) for name, one in store.lock(tx).items() if name in rules.heartbeats]


def keep(tx: Tx, pairs: Iterable[tuple[Heartbeat, Heartbeat]]) -> None:
    store.save(tx, [new for old, new in pairs if new != old])


def alarm(tx: Tx, rules: Rules, rule: HeartbeatRule, alert: Alert, now: datetime) -> Taken:
    """An incident of its own, for whom the routes name and for the heartbeat's receiver; and the heartbeat's actions."""
    taken = say(tx, rules, [alert], now)
    state = alert_store.current(tx, OWN_SOURCE, [alert.identity])[alert.identity]
    for incident in alert_store.incidents_for_change(tx, [state.incident_id] if state.incident_id else []).values():
        told = rules.receivers[rule.receiver].destinations
        lanes.ensure(tx, [lanes.Opening(incident.id, destination, now) for destination in told])
        rows, events = run_rows(tx, rules, called_for(rules, rule), incident, alert, now)
        write(tx, [incident], events, now)
        taken.events += events
        taken.runs += runs.propose(tx, rows)
    return taken


def called_for(rules: Rules, rule: HeartbeatRule) -> list[Pair]:
    """What the heartbeat's own configuration asks for. Without targets: on all that the action may act on."""
    return [(action, target) for name, targets in rule.actions if (action := rules.actions.get(name)) is not None
            for target in targets or action.targets or ("",)]


def run_rows(tx: Tx, rules: Rules, pairs: Sequence[Pair], incident: Incident, alert: Alert, now: datetime,
             ) -> tuple[list[Row], list[Event]]:
    """To be blind is not safe: what a tighten names is latched."""
    latching = [(incident, action.name, target) for action, target in pairs if is_latching(rules, action, target)]
    rounds, events = tighten(tx, rules, latching, now)
    rows = [run_row(tx.new_id(), rules, incident, action, target, now, round=rounds[target] if is_latching(
        rules, action, target) else 0, **called_by(alert)) for action, target in pairs]
    return rows, events


def end(tx: Tx, rules: Rules, name: str, text: str, now: datetime) -> Taken | None:
    """Resolve the alarm, whatever its severity was when it was raised."""
    over = [alert for _, alert in alarms(tx, name)]
    return say(tx, rules, [cleared(alert, now, text) for alert in over], now) if over else None


def alarms(tx: Tx, name: str) -> list[tuple[AlertState, Alert]]:
    """Those that stand and say that it is missing."""
    firing = [(state, json.loads(state.content)) for state in alert_store.firing_of_source(tx, OWN_SOURCE)]
    return [(state, Alert(content["labels"], AlertStatus.firing, content["annotations"])) for state, content in firing
            if domain.is_about(content["labels"], name)]


def say(tx: Tx, rules: Rules, alerts: list[Alert], now: datetime) -> Taken:
    """Take it in as the last word: another replica whose clock is ahead must not have said a later one."""
    known = alert_store.current(tx, OWN_SOURCE, [alert.identity for alert in alerts]).values()
    at = max([now, *(max(state.changed_at, state.seen_at) for state in known)])
    return take_in(tx, rules, [own_batch(alerts, at)], now)


def joined(parts: Iterable[Taken | None]) -> Taken | None:
    """All of them as one; None when nothing happened."""
    happened = [part for part in parts if part is not None]
    if not happened:
        return None
    whole = Taken()
    for part in happened:
        for verdict, count in part.verdicts.items():
            whole.verdicts[verdict] = whole.verdicts.get(verdict, 0) + count
        whole.events += part.events
        whole.runs += part.runs
    return whole


def next_due(tx: Tx, rules: Rules) -> datetime | None:
    """When to call `run_due` next: something is due, or it is time to write down that somebody watches."""
    return store.next_due(tx, rules.heartbeats) if rules.heartbeats else None
