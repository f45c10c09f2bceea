"""Reading what a destination shall be told, and deciding whether it is told now: muted, silenced, not wanted, already known."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from alerthub.domain.action import RunState
from alerthub.domain.compose import ALERTS_SHOWN, Telling, alert_line, is_aside, is_called, is_quiet
from alerthub.domain.delivery import Lane, is_wanted
from alerthub.domain.event import Event, EventKind
from alerthub.domain.incident import AlertState, Incident
from alerthub.domain.message import ActionLine, AlertLine, IncidentStatus
from alerthub.domain.route import Route
from alerthub.domain.rules import Destination, Rules
from alerthub.domain.standing import Waiting
from alerthub.domain.story import Fate, fate_of, may_be_done, short, story
from alerthub.flow import asking, stories
from alerthub.store import alerts as alert_store
from alerthub.store import deliveries, lanes, runs, silences, timers
from alerthub.store import events as event_store
from alerthub.store.tx import Tx

logger = logging.getLogger("alerthub.deliver")
AFTER_THE_END = timedelta(seconds=2)
PEOPLE = frozenset({"person", "account"})      # kinds of actors


def read_tellings(tx: Tx, rules: Rules, taken: Sequence[Lane]) -> dict[int, Telling]:
    """By lane: its incident, the incident's first alerts, what waits for people, and the events that the lane has not told."""
    incidents = alert_store.read_incidents(tx, {lane.incident_id for lane in taken})
    states = alert_store.first_of_each(tx, incidents, ALERTS_SHOWN)
    lines = {key: tuple(readable(states.get(key, ()))) for key in incidents}
    spans = {lane.id: (lane.incident_id, lane.told_seq, incidents[lane.incident_id].seq) for lane in taken}
    wanted = sorted(set(spans.values()))        # most lanes of one incident have told the same
    news = dict(zip(wanted, event_store.after_each(tx, wanted), strict=True))
    actions = runs.of_incidents(tx, incidents)
    held_by = {incident.silence_id for incident in incidents.values() if incident.silence_id}
    until = silences.ends(tx, held_by) if held_by else {}
    waiting, calls = standing_of(tx, incidents)
    asked, latched = asking.waiting(tx, rules, incidents, actions)
    acted = acted_for(tx, incidents, actions)
    return {lane.id: Telling(incidents[lane.incident_id], lines[lane.incident_id], news[spans[lane.id]],
                             acted.get(lane.incident_id, ()), until.get(incidents[lane.incident_id].silence_id),
                             tuple(waiting.get(lane.incident_id, ())), tuple(calls.get(lane.incident_id, ())),
                             tuple(asked.get(lane.incident_id, ())), tuple(latched.get(lane.incident_id, ())))
            for lane in taken}


def standing_of(tx: Tx, incidents: Mapping[str, Incident]) -> tuple[dict[str, list[Waiting]], dict[str, list[Event]]]:
    """The timers of these incidents' present episodes, and whom their escalations have called, in earlier ones too."""
    waiting: dict[str, list[Waiting]] = {}
    for timer in timers.of_incidents(tx, [key for key, incident in incidents.items() if incident.is_open]):
        if timer.episode == incidents[timer.incident_id].episode:
            waiting.setdefault(timer.incident_id, []).append(
                Waiting(timer.kind == timers.ACK, timer.state == timers.RAN_OUT, timer.due_at, timer.name, timer.step))
    called: dict[str, list[Event]] = {}
    for event in event_store.of_kind(tx, EventKind.escalated, [
            key for key, incident in incidents.items() if key in waiting or incident.episode > 1]):
        called.setdefault(event.incident_id, []).append(event)
    return waiting, called


def acted_for(tx: Tx, incidents: Mapping[str, Incident], runs_of: Mapping[str, Sequence[runs.Run]]) -> dict[
        str, tuple[ActionLine, ...]]:
    """What became of the actions of these incidents' present episodes."""
    present = {key: [run for run in found if run.episode == incidents[key].episode] for key, found in runs_of.items()}
    runs_now = [run for found in present.values() for run in found]
    views, asked = stories.views(tx, runs_now), stories.requests(tx, runs_now)
    return {key: (*(action_line(views[run.id]) for run in found), *map(action_line, asked.get(key, ())))
            for key, found in present.items()}


def action_line(run: Mapping[str, Any]) -> ActionLine:
    """What became of an action, or of a request to release, as the live message shows it, and as a mail tells it."""
    state = RunState(run["state"])
    is_bad = state in (RunState.failed, RunState.unknown) or (run["direction"] == "tighten" and state is RunState.refused)
    return ActionLine(short(run), is_bad, fate_of(run) is Fate.done, story(run), fate_of(run) is Fate.pending, may_be_done(run))


def readable(states: Iterable[AlertState]) -> Iterator[AlertLine]:
    """What can be shown. One row that cannot must not keep the page, let alone every other page, from being sent."""
    for state in states:
        try:
            yield alert_line(state)
        except (LookupError, TypeError, ValueError):
            logger.error("an alert cannot be shown and is left out", extra={"event": "alert.unreadable", "row": state.row})


def routes_to(rules: Rules, destination: Destination, telling: Telling) -> list[Route]:
    """The routes by which this incident's alerts lead to the destination; none for what was added by other means."""
    found: dict[str, Route] = {}
    for line in telling.lines:
        for route in rules.routes(line.labels):
            if any(told.key == destination.key for told in rules.receivers[route.receiver].destinations):
                found[route.place] = route
    return list(found.values())


def as_told(rules: Rules, destination: Destination, routes: Sequence[Route], telling: Telling) -> Destination:
    """The destination as it is for this incident: a person's own where only an escalation leads to one of a person's addresses,
    also when a receiver has the same address."""
    if destination.is_personal or routes:
        return destination
    is_somebodys = any(destination.key == address.key for addresses in rules.contacts.values() for address in addresses)
    return replace(destination, is_personal=True) if is_somebodys and was_called(destination, telling) else destination


def calls_person(destination: Destination, telling: Telling) -> bool:
    """Whether the person whose own it is is wanted now."""
    return destination.is_personal and telling.incident.is_open and is_called(destination, telling)


def was_called(destination: Destination, telling: Telling) -> bool:
    """At any time."""
    return any(destination.key in event.data.get("told", ()) for event in (*telling.calls, *telling.events))


class Turn(Enum):
    """Whether a lane is told now."""

    tell = "tell"
    edit = "edit"        # only the live message is made true again; nobody is interrupted
    nothing = "nothing"  # settled: later, or not at all


def turn_of(tx: Tx, rules: Rules, destination: Destination, routes: Sequence[Route], lane: Lane, telling: Telling,
            now: datetime) -> Turn:
    """What is to be done for a lane that is due. With `nothing` the lane is settled already."""
    incident, attempt = telling.incident, lane.attempt + 1
    known = {"due_at": None, "told_seq": incident.seq, "failures": 0, "failing_since": None}
    can_edit = destination.edits and not destination.echoes and lane.receipt is not None and lane.told_episode == incident.episode
    if needs_no_telling(destination, routes, lane, telling):
        lanes.settle(tx, lane.id, attempt, **known | {"due_at": reminder_at(tx, rules, routes, lane, telling)})
    elif is_held(destination, lane, telling, now):
        # The end of the silence makes it due; this is for the case that nobody saw that end.
        lanes.settle(tx, lane.id, attempt, due_at=telling.silenced_until + AFTER_THE_END if telling.silenced_until else now)
    elif routes and all(route.is_muted(now) for route in routes):
        # Other news waits, and so does a reminder: they are told when it may speak.
        if can_edit and telling.events and all(event.actor.kind in PEOPLE for event in telling.events):
            return Turn.edit
        if lane.is_first and not incident.is_open:
            lanes.settle(tx, lane.id, attempt, due_at=None, told_seq=incident.seq)
        else:
            lanes.settle(tx, lane.id, attempt, due_at=min(route.speaks_at(now) for route in routes))
    elif not is_wanted(destination, lane, is_open=incident.is_open):
        if can_edit and destination.answers and telling.events:      # or its buttons would stay
            return Turn.edit
        lanes.settle(tx, lane.id, attempt, **known)
    elif not telling.events and (incident.is_silenced or incident.status is not IncidentStatus.triggered):
        lanes.settle(tx, lane.id, attempt, due_at=None)     # a repeat that has lost its reason
    else:
        return Turn.tell
    return Turn.nothing


def repeat_after(rules: Rules, routes: Sequence[Route], incident: Incident) -> timedelta | None:
    """How long after a telling it is told again without news; None: it is not."""
    if incident.status is not IncidentStatus.triggered:
        return None
    return min(route.repeat_interval for route in routes or [rules.route]) or None


def reminder_at(tx: Tx, rules: Rules, routes: Sequence[Route], lane: Lane, telling: Telling) -> datetime | None:
    """When a lane that these events are not told to is told again, as if they had not happened: they have made it due, and so
    the time of its repeat is reckoned anew. None for a repeat that is itself not wanted."""
    every = repeat_after(rules, routes, telling.incident)
    if every is None or not telling.events or lane.told_episode < telling.incident.episode:
        return None
    told_at = deliveries.last_told(tx, lane.id)
    return told_at + every if told_at else None


def needs_no_telling(destination: Destination, routes: Sequence[Route], lane: Lane, telling: Telling) -> bool:
    """A person who is not wanted any more is not called, what opened and closed under a silence is not told at all, and what
    was done at a place that shows it by itself is not told back there."""
    incident = telling.incident
    is_new = lane.told_episode < incident.episode
    was_called_before = lane.told_episode > 0 and not routes and was_called(destination, telling)
    if is_new and (destination.is_personal or was_called_before) and not (
            (incident.is_open or telling.asked) and is_called(destination, telling)):
        return True
    if destination.is_personal and not (destination.edits and lane.receipt) and is_quiet(telling, destination) and not any(
            event.kind is EventKind.acknowledged for event in telling.events):
        return True     # a mail is not worth it; that somebody has taken it is
    if is_new and lane.is_first and not incident.is_open and any("held_by" in event.data for event in telling.events):
        return True
    is_unsaid = is_aside(telling) or (incident.flaps and is_quiet(telling, destination))
    if is_unsaid and (destination.echoes or not (destination.edits and lane.receipt)):
        return True
    return destination.echoes and comes_from(destination, telling)


def comes_from(destination: Destination, telling: Telling) -> bool:
    """All that is new was done there."""
    vias = [str(event.data.get("via", "")) for event in telling.events]
    return bool(vias) and all(via.partition(":")[0] == destination.channel for via in vias)


def is_held(destination: Destination, lane: Lane, telling: Telling, now: datetime) -> bool:
    """Silenced by the hub: nobody hears of it anew, and where a message cannot be edited, of no news either, but for what people
    do and for its end."""
    incident = telling.incident
    if not (incident.silence_id and incident.is_open and telling.silenced_until and telling.silenced_until > now):
        return False
    if is_called(destination, telling):     # by somebody who wants them in spite of the silence
        return False
    if lane.told_episode < incident.episode:
        return True
    return is_quiet(telling, destination) and not (destination.edits and lane.receipt)
