"""The room that calls the next person. A timer that is due is done and moved on in one transaction: a restart loses none and
calls nobody twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from alerthub.domain import own
from alerthub.domain.escalation import Call, Place, after, call_for
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import Incident
from alerthub.domain.local_time import dated
from alerthub.domain.message import IncidentStatus
from alerthub.domain.rules import EscalationPolicy, Rules
from alerthub.domain.schedule import on_call
from alerthub.domain.standing import step_at
from alerthub.flow.intake import take_in
from alerthub.flow.keep import keep
from alerthub.flow.labels import routes_of
from alerthub.store import alerts as alert_store
from alerthub.store import lanes, overrides, timers
from alerthub.store.timers import ACK, ESCALATION, LOST, RAN_OUT, RUNNING, STOPPED, Timer
from alerthub.store.tx import Tx

TOGETHER = 50                            # incidents looked after in one transaction
LOOK_AGAIN = timedelta(minutes=1)        # at an incident that is silenced now
STUCK_AFTER = timedelta(minutes=5)       # a step that is due is taken within milliseconds; this late something is broken
ACTOR = Actor("hub", "escalation")


def run_due(tx: Tx, rules: Rules, now: datetime) -> list[Event]:
    """Do what the timers that are due ask for; the events of it. More may be due afterwards."""
    incidents = alert_store.incidents_for_change(tx, timers.due_incidents(tx, now, TOGETHER))
    happened: list[Event] = []
    for timer in timers.of_incidents(tx, incidents):
        if timer.due_at is None or timer.due_at > now:      # another replica was first
            continue
        incident = incidents[timer.incident_id]
        step = expire if timer.kind == ACK else go_on
        happened += step(tx, rules, timer, incident, now)
    keep(tx, [incidents[incident_id] for incident_id in sorted({event.incident_id for event in happened})], happened, now)
    return happened


def expire(tx: Tx, rules: Rules, timer: Timer, incident: Incident, now: datetime) -> list[Event]:
    """An acknowledgement whose time is over: ask again while the source still fires."""
    timers.move(tx, timer, due_at=None, state=STOPPED)
    if incident.status is not IncidentStatus.acknowledged or timer.episode != incident.episode or incident.firing <= 0:
        return []
    if incident.silence_id or incident.is_silenced:     # nobody is wanted now
        timers.move(tx, timer, due_at=now + LOOK_AGAIN, state=RUNNING)
        return []
    text = f"The acknowledgement of {incident.acknowledged_by} has expired and it still fires: nobody has it"
    incident.status, incident.acknowledged_by, incident.acknowledged_at = IncidentStatus.triggered, "", None
    timers.restart(tx, incident.id, ESCALATION, incident.episode, now)
    return [incident.happened(EventKind.unacknowledged, ACTOR, text, now, {})]


def go_on(tx: Tx, rules: Rules, timer: Timer, incident: Incident, now: datetime) -> list[Event]:
    """The next step of an escalation, unless somebody has it by now, or it must wait."""
    policy = rules.policies.get(timer.name)
    if incident.status is not IncidentStatus.triggered or timer.episode != incident.episode:
        timers.move(tx, timer, due_at=None, state=STOPPED)
        return []
    if policy is None:      # it left the configuration: what the routes name now begins, and it may come back
        arm(tx, incident, sorted(policies_of(tx, rules, incident)), now)
        timers.move(tx, timer, due_at=now + LOOK_AGAIN, state=LOST)
        text = f"Escalation policy {timer.name} is not in the configuration any more: it calls nobody else"
        return [] if timer.state == LOST else [aside(incident, text, now)]
    if incident.silence_id or incident.is_silenced:     # it ends by an event, which may be any time
        timers.move(tx, timer, due_at=now + LOOK_AGAIN, state=RUNNING)
        return []
    speaks_at = step_at(incident, policy.name, routes_of(tx, rules, incident), now)
    if speaks_at > now:
        timers.move(tx, timer, due_at=speaks_at, state=RUNNING)
        text = f"Escalation {policy.name} waits until {dated(speaks_at, rules.answers.time_zone)}: a mute time, or it flaps"
        return [aside(incident, text, now)] if timer.step or timer.round else []    # where messages have said another time
    return take_step(tx, rules, policy, timer, incident, now)


def aside(incident: Incident, text: str, now: datetime) -> Event:
    """For the history, and to make live messages true that show when the next step is; nobody is interrupted by it."""
    return incident.happened(EventKind.changed, ACTOR, text, now, {"aside": True})


def take_step(tx: Tx, rules: Rules, policy: EscalationPolicy, timer: Timer, incident: Incident, now: datetime) -> list[Event]:
    """Call whom the step names. A step that reaches nobody goes on at once, and says so."""
    events: list[Event] = []
    place: Place | None = Place(timer.step, timer.round)
    if timer.step >= len(policy.steps) or timer.state == RAN_OUT:       # the last wait is over, or the policy became shorter
        place = None
    for _ in policy.steps:
        if place is None:
            break
        step = policy.steps[place.step]
        call = call_for(step, rules, partial(who_has, tx, rules, now)).without(incident.avoid)
        events.append(told(incident, policy, place, call, now))
        following = after(policy, place)
        if call.told:
            lanes.ensure(tx, [lanes.Opening(incident.id, destination, now + pause) for destination, pause in call.told])
            put_off(tx, rules, incident, call, now)
            ahead = following or Place(len(policy.steps), place.round)
            timers.move(tx, timer, step=ahead.step, round=ahead.round, state=RUNNING, due_at=now + step.wait)
            return events
        place = following
    return [*events, *run_out(tx, rules, policy, timer, incident, now)]


def put_off(tx: Tx, rules: Rules, incident: Incident, call: Call, now: datetime) -> None:
    """The later addresses of who is called wait for their minute; but not what the routes tell: its first page is due."""
    later = {told.key: now + pause for told, pause in call.told if pause}
    for route in routes_of(tx, rules, incident) if later else ():
        for told in rules.receivers[route.receiver].destinations:
            later.pop(told.key, None)
    lanes.put_off(tx, incident.id, later)


def who_has(tx: Tx, rules: Rules, now: datetime, schedule: str) -> str:
    return on_call(rules.schedules[schedule], overrides.covering(tx, schedule, now, now + timedelta(microseconds=1)), now)


def told(incident: Incident, policy: EscalationPolicy, place: Place, call: Call, now: datetime) -> Event:
    where = f"step {place.step + 1} of {len(policy.steps)} of {policy.name}"
    again = f", round {place.round + 1}" if place.round else ""
    parts = [f"called {', '.join(call.names)}"] if call.names else []
    parts += call.nobody if call.names else [*call.nobody, "going on to the next step"]
    data: dict[str, object] = {"policy": policy.name, "step": place.step, "round": place.round,
                               "names": list(call.names), "told": [destination.key for destination, _ in call.told]}
    return incident.happened(EventKind.escalated, ACTOR, f"Escalation, {where}{again}: {'; '.join(parts)}", now, data)


def run_out(tx: Tx, rules: Rules, policy: EscalationPolicy, timer: Timer, incident: Incident, now: datetime) -> list[Event]:
    """Nobody is left to be called: the catch-all is paged, and everybody is told so."""
    timers.move(tx, timer, due_at=None, state=RAN_OUT)
    catch_all = rules.receivers[rules.route.receiver]
    lanes.ensure(tx, [lanes.Opening(incident.id, destination, now) for destination in catch_all.destinations
                      if destination.key != incident.avoid])
    has = "nobody acknowledged" if incident.status is IncidentStatus.triggered else f"{incident.acknowledged_by} has it"
    text = f"Escalation {policy.name} has run out: {has}. Nobody else is called; telling receiver {catch_all.name}"
    return [incident.happened(EventKind.escalated, ACTOR, text, now, {
        "policy": policy.name, "ran_out": True, "told": [destination.key for destination in catch_all.destinations]})]


def next_now(tx: Tx, rules: Rules, incident: Incident, now: datetime) -> list[Event]:
    """The next step of every policy at once, because a person asks; also when somebody has it. One that is over begins
    again; in its last wait it is over at once, which pages the catch-all. The caller stores the events."""
    events: list[Event] = []
    for timer in timers.of_incidents(tx, [incident.id]):
        policy = rules.policies.get(timer.name)
        if timer.kind == ESCALATION and timer.episode == incident.episode and policy is not None:
            is_over = timer.state == RAN_OUT or (timer.state == STOPPED and timer.step >= len(policy.steps))
            asked = replace(timer, step=0, round=0, state=RUNNING) if is_over else timer
            events += take_step(tx, rules, policy, asked, incident, now)
            if incident.status is not IncidentStatus.triggered:
                timers.stop(tx, incident.id, ESCALATION)
    return events


def audit(tx: Tx, rules: Rules, now: datetime) -> list[Event]:
    """Find critical incidents that nobody has and that no escalation works on, although their routes name one: begin it, and
    page about it. One alarm for each, which ends with the incident or when it is taken."""
    if not rules.policies:
        return []
    stuck: list[Incident] = []
    found = timers.triggered_without(tx, "critical", now - STUCK_AFTER)
    for incident in alert_store.incidents_for_change(tx, found).values():
        policies = policies_of(tx, rules, incident)
        if incident.status is IncidentStatus.triggered and policies:
            arm(tx, incident, sorted(policies), now)
            timers.restart(tx, incident.id, ESCALATION, incident.episode, now, only=STOPPED)
            stuck.append(incident)
    alarms = [own.escalation_stuck(incident.number, incident.id, incident.title) for incident in stuck]
    return take_in(tx, rules, [own.own_batch(alarms, now)], now).events if alarms else []


def policies_of(tx: Tx, rules: Rules, incident: Incident) -> set[str]:
    """Those that the routes name now."""
    return {route.escalation_policy for route in routes_of(tx, rules, incident)} & rules.policies.keys()


def arm(tx: Tx, incident: Incident, policies: Sequence[str], now: datetime) -> None:
    """Those that do not run in this episode yet."""
    timers.arm(tx, [{"incident_id": incident.id, "kind": ESCALATION, "name": policy, "episode": incident.episode, "due_at": now}
                    for policy in policies])
