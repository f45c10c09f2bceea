"""What an accepted command changes: the incident, its history, its timers; and that every live message shows it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from alerthub.domain.alert import AlertStatus
from alerthub.domain.answer import ECHO_SPAN, Who, is_automatic
from alerthub.domain.command import Command, Verb
from alerthub.domain.event import Event, EventKind
from alerthub.domain.incident import OWN_SOURCE, Incident
from alerthub.domain.local_time import clock_time, dated
from alerthub.domain.message import IncidentStatus
from alerthub.domain.rules import Rules
from alerthub.domain.silence import Silence, matchers_for
from alerthub.flow import escalate, silencing
from alerthub.flow.keep import keep
from alerthub.flow.labels import common_labels, routes_of
from alerthub.store import alerts as alert_store
from alerthub.store import events as event_store
from alerthub.store import lanes, timers
from alerthub.store.tx import Tx

LOOKED_BACK = 100       # events
AT_ONCE = timedelta(seconds=5)      # so long it may take until a second person has seen what the first did
BY_ITSELF = "PagerDuty closed it there by itself, after its auto-resolve time or by a rule."
LEFT_CLOSED = ("PagerDuty closed it there again at once, by itself, so there it is left closed: look for a rule that ends "
               "incidents of this service.")


class NotPossible(ValueError):
    """It was allowed, and cannot be done; its text says why and what would be right."""


class DoneAlready(Exception):
    """Another has just done the same; its text says what."""


Change = Callable[[Tx, Rules, Incident, Command, Who, datetime], str]


def show(tx: Tx, incident: Incident, events: Sequence[Event], now: datetime) -> None:
    """Store it, and make every lane due: those whose live message can be edited at once, whatever their budget."""
    keep(tx, [incident], events, now)
    lanes.hurry(tx, incident.id, now)


def happened(incident: Incident, kind: EventKind, text: str, command: Command, who: Who, now: datetime,
             **more: object) -> Event:
    """Named: who, by which account, through which door."""
    data: dict[str, object] = {"account": who.account.key, "via": command.via, **more}
    if command.forced:
        data["forced"] = True
    return incident.happened(kind, who.actor, text, now, data)


def acknowledge(tx: Tx, rules: Rules, incident: Incident, command: Command, who: Who, now: datetime) -> str:
    incident.status, incident.acknowledged_by, incident.acknowledged_at = IncidentStatus.acknowledged, who.name, now
    span = ack_timeout(tx, rules, incident)
    timers.stop(tx, incident.id, timers.ESCALATION)
    timers.set_ack(tx, incident.id, incident.episode, now + span if span else None)
    until = f", until {clock_time(now + span, rules.answers.time_zone, now)}" if span else ""
    show(tx, incident, [happened(incident, EventKind.acknowledged, f"Acknowledged by {who.name}{until}", command, who, now)], now)
    return f"You have #{incident.number} now{until}."


def ack_timeout(tx: Tx, rules: Rules, incident: Incident) -> timedelta:
    """The shortest of the routes that led here; zero when none asks again."""
    spans = [route.ack_timeout for route in routes_of(tx, rules, incident) if route.ack_timeout]
    return min(spans, default=timedelta(0))


def given_back(incident: Incident, who: Who) -> str:
    if incident.acknowledged_by in ("", who.name):
        return f"Given back by {who.name}: nobody has it"
    return f"{who.name} gave back what {incident.acknowledged_by} had: nobody has it"


def unacknowledge(tx: Tx, rules: Rules, incident: Incident, command: Command, who: Who, now: datetime) -> str:
    text = given_back(incident, who)
    give_back(tx, incident)
    timers.restart(tx, incident.id, timers.ESCALATION, incident.episode, now)
    show(tx, incident, [happened(incident, EventKind.unacknowledged, text, command, who, now)], now)
    return f"#{incident.number} is nobody's again."


def give_back(tx: Tx, incident: Incident) -> None:
    incident.status, incident.acknowledged_by, incident.acknowledged_at = IncidentStatus.triggered, "", None
    timers.set_ack(tx, incident.id, incident.episode, None)


def resolve_incident(tx: Tx, rules: Rules, incident: Incident, command: Command, who: Who, now: datetime) -> str:
    """Insisted on while the source fires: its alerts count as resolved from now, so that the next word of the source that they
    fire opens it again. A page in doubt is sent."""
    still = incident.firing
    if still:
        states = [state for state in alert_store.of_incident(tx, incident.id) if state.is_firing]
        for state in states:
            state.status, state.ends_at, state.changed_at, state.is_dirty = AlertStatus.resolved, now, now, True
        alert_store.save_alerts(tx, states, [])
    incident.status, incident.resolved_at, incident.firing = IncidentStatus.resolved, now, 0
    incident.is_stale, incident.is_silenced, incident.silence_id = False, False, ""
    timers.stop(tx, incident.id, timers.ESCALATION)
    timers.set_ack(tx, incident.id, incident.episode, None)
    fired = "" if not still else f", although {'1 alert still fires' if still == 1 else f'{still} alerts still fire'}"
    show(tx, incident, [happened(incident, EventKind.resolved, f"Resolved by {who.name}{fired}", command, who, now)], now)
    return f"#{incident.number} is resolved{fired}."


def kept_open(tx: Tx, incident: Incident, command: Command, who: Who, why: str, now: datetime) -> None:
    """Closed at a provider that cannot be asked a question: everybody is told that it is open here and nobody's, and that
    provider opens it again. Not where a rule of its own closes it at once: the two would go on for ever."""
    fires = why.partition(" Resolve it anyway")[0]
    lately = kept_open_lately(tx, incident, command, now) if is_automatic(command) else []
    if lately:
        if not any(text.startswith(LEFT_CLOSED) for text in lately):
            there = replace(command, via=command.by.kind)       # not told there, or that would open it
            left = happened(incident, EventKind.changed, f"{LEFT_CLOSED} {fires}", there, who, now, service=command.service)
            show(tx, incident, [left], now)
        return
    if incident.status is IncidentStatus.acknowledged:
        give_back(tx, incident)
        timers.restart(tx, incident.id, timers.ESCALATION, incident.episode, now)
    text = f"{BY_ITSELF if is_automatic(command) else f'{who.name} resolved it there.'} {fires}"
    event = happened(incident, EventKind.changed, text, replace(command, via=""), who, now, service=command.service)
    show(tx, incident, [event], now)


def kept_open_lately(tx: Tx, incident: Incident, command: Command, now: datetime) -> list[str]:
    """What was said of it; of several services each has rules of its own."""
    return [event.text for event in event_store.after(tx, incident.id, incident.seq - LOOKED_BACK)
            if event.kind is EventKind.changed and event.data.get("account") == command.by.key
            and event.data.get("service", "") == command.service and event.at > now - ECHO_SPAN]


def silence(tx: Tx, rules: Rules, incident: Incident, command: Command, who: Who, now: datetime) -> str:
    """A silence of what all alerts of the incident share, so that what comes to it later is covered, and little else."""
    until = command.until or now + timedelta(hours=1)
    routes = routes_of(tx, rules, incident)
    try:
        shared = common_labels(tx, incident)
        group_by = routes[0].group_by if routes and incident.source != OWN_SOURCE else ()
        for names in dict.fromkeys((group_by, ())):     # what the route grouped by may have changed since: then all they share
            matchers = matchers_for(shared, names)
            silencing.create(tx, rules, Silence("", 0, matchers, now, until, who.name, command.text), who.actor, now)
            if is_held(tx, incident):
                break
    except ValueError as error:
        raise NotPossible(f"Not silenced: {error}") from None
    lanes.hurry(tx, incident.id, now)
    if not is_held(tx, incident):
        raise NotPossible(f"#{incident.number} is not silenced: some of its alerts share no label with the others. Make one with "
                          "matchers of your own: alerthub silence add")
    return f"#{incident.number} is silenced until {dated(until, rules.answers.time_zone)}."


def is_held(tx: Tx, incident: Incident) -> bool:
    now_is = alert_store.find_incident(tx, incident.id)
    return now_is is not None and bool(now_is.silence_id)


def escalate_now(tx: Tx, rules: Rules, incident: Incident, command: Command, who: Who, now: datetime) -> str:
    """The next step; one for two people who press at once, before either could see what the other has done."""
    lately = [event for event in event_store.after(tx, incident.id, incident.seq - LOOKED_BACK)
              if event.kind is EventKind.escalated and abs(now - event.at) < AT_ONCE]      # replicas' clocks differ
    asked = next((event for event in lately if "account" in event.data), None)
    if asked is not None and asked.data["account"] != command.by.key:
        raise DoneAlready(f"Done already, {asked.text} a moment ago. {lately[-1].text}")
    event = happened(incident, EventKind.escalated, f"{who.name} asks for the next person", command, who, now)
    events = [event, *escalate.next_now(tx, rules, incident, now)]
    if len(events) == 1:
        raise NotPossible(f"No escalation policy leads to anybody for #{incident.number}.")
    show(tx, incident, events, now)
    return events[-1].text


def comment(tx: Tx, rules: Rules, incident: Incident, command: Command, who: Who, now: datetime) -> str:
    text = " ".join(command.text.split())[:2_000]
    show(tx, incident, [happened(incident, EventKind.comment, f"{who.name}: {text}", command, who, now)], now)
    return f"Noted on #{incident.number}."


CHANGES: dict[Verb, Change] = {
    Verb.acknowledge: acknowledge, Verb.unacknowledge: unacknowledge, Verb.resolve: resolve_incident, Verb.silence: silence,
    Verb.escalate: escalate_now, Verb.comment: comment,
}
