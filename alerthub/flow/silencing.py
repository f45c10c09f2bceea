"""The room of silences: they hold incidents, let them go, and are kept the same here and at the source.

`judge` is for whoever has an incident in hands; everything else is a transaction of its own. Asking the source is not here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from alerthub.domain.alert import Labels
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import AlertState, Incident, short_name
from alerthub.domain.message import IncidentStatus
from alerthub.domain.rules import Rules
from alerthub.domain.silence import (
    COMMENT,
    NAME,
    Plan,
    Silence,
    check_matchers,
    check_span,
    covering,
    covers,
    foreign,
    holding,
    marker_of,
    plan,
)
from alerthub.domain.wording import typed_line
from alerthub.flow.keep import keep
from alerthub.store import alerts as alert_store
from alerthub.store import events as event_store
from alerthub.store import silences, timers
from alerthub.store.tx import Tx

HUB = Actor("hub", "silences")
LOOKED_BACK = 100   # events
A_MOMENT = timedelta(minutes=1)
DETAIL = 300        # characters that are kept of why a source did not take one


def judge(tx: Tx, incident: Incident, active: Sequence[Silence], now: datetime, states: Iterable[AlertState] = (), *,
          by: Actor = HUB, over: str = "", zone: str = "UTC") -> Event | None:
    """Hold the incident, or let it go, by what fires in it. `active` are the hub's silences that hold now; `states` are alerts
    that the caller has changed and not stored yet. Sets `silence_id`; the caller stores the incident and the event. What is let
    go and nobody has is escalated from the first step again, as when an acknowledgement has expired; but where the silence
    goes on beside an alert that it does not cover, or was there for a moment, only an escalation that has run out is: what comes
    and goes would else ring the first for ever, and never the second.

    `over` says what ended when it is let go; else the alert is named that nothing covers. `zone`: of the times in the text.
    """
    if not incident.is_open:
        incident.silence_id = ""
        return None
    if not active and not incident.silence_id:
        return None
    unsaved = {(state.source, state.identity): state for state in states if state.incident_id == incident.id}
    firing = firing_labels(tx, incident, active, unsaved, now)
    found = holding(active, firing, now)
    if (found.id if found else "") == incident.silence_id:
        return None
    before, incident.silence_id = incident.silence_id, found.id if found else ""
    if found is None:
        text = over or uncovered_text(active, firing, now)
        if incident.status is IncidentStatus.triggered:     # whoever was called before it may have left it at that
            is_over = bool(over) or before not in {silence.id for silence in active}
            only = "" if is_over and not is_moment(tx, incident, now) else timers.RAN_OUT
            timers.restart(tx, incident.id, timers.ESCALATION, incident.episode, now, only=only)
        return incident.happened(EventKind.unsilenced, by, text, now, {"silence": "", "was": before})
    data: dict[str, object] = {"silence": found.id, "until": found.ends_at.isoformat()}
    text = f"{'Still silenced' if before else 'Silenced'} {found.about(zone)}"
    return incident.happened(EventKind.silenced, by, text, now, data)


def is_moment(tx: Tx, incident: Incident, now: datetime) -> bool:
    """Whether it was held so shortly, by whatever silences, that nobody can have relied on it."""
    since = None
    for event in event_store.after(tx, incident.id, incident.stored_seq - LOOKED_BACK):
        if event.kind is EventKind.silenced:
            since = since or event.at
        elif event.kind in (EventKind.unsilenced, EventKind.reopened):
            since = None
    return since is not None and now - since < A_MOMENT


def firing_labels(tx: Tx, incident: Incident, active: Sequence[Silence], unsaved: dict[tuple[str, str], AlertState],
                  now: datetime) -> list[Labels]:
    """Of what fires in the incident; only the first that nothing covers, when the caller's own show one."""
    known: list[Labels] = []
    for state in unsaved.values():
        if state.is_firing:
            known.append(json.loads(state.content)["labels"])
            if covering(active, known[-1], now) is None:
                return known[-1:]
    stored = silences.firing_of(tx, incident.id) if incident.stored_seq else {}
    return known + [json.loads(content)["labels"] for which, content in stored.items() if which not in unsaved]


def uncovered_text(active: Sequence[Silence], firing: Iterable[Labels], now: datetime) -> str:
    loud = next((labels for labels in firing if covering(active, labels, now) is None), None)
    return f"No longer silenced: {short_name(loud)} fires, which no silence covers" if loud is not None else "Silence ended"


def create(tx: Tx, rules: Rules, silence: Silence, by: Actor, now: datetime) -> Silence:
    """Store a silence of the hub (its `id` may be empty, its `number` is given) and hold every open incident all of whose
    firing alerts are covered now. ValueError, with what would be right, for what must not be one."""
    check_matchers(silence.matchers)
    check_span(now, silence.ends_at)
    made = silences.add(tx, replace(
        silence, id=silence.id or tx.new_id(), starts_at=now, ends_at=silence.ends_at.astimezone(UTC), source="", remote_id="",
        created_by=typed_line(silence.created_by or by.name, NAME), comment=typed_line(silence.comment, COMMENT)), now)
    covered = [incident_id for incident_id, alerts in silences.candidates(tx, made).items()
               if any(covers(made, labels, now) for labels in alerts)]
    judge_all(tx, covered, now, by=replace(by, name=typed_line(by.name, NAME)), zone=rules.answers.time_zone)
    return made


def expire(tx: Tx, rules: Rules, number: int, by: Actor, now: datetime) -> Silence | None:
    """End a silence of the hub now; what it held is told. One that is over stays as it is. None when the hub has made none
    of that number."""
    silence = silences.find(tx, number)
    if silence is None or silence.source:
        return None
    if silence.ends_at <= now:
        return silence
    silences.end_now(tx, silence.id, now)
    who, held = replace(by, name=typed_line(by.name, NAME)), silences.held_by(tx, [silence.id])
    judge_all(tx, held, now, by=who, over=f"Silence ended by {who.name}: it still fires", zone=rules.answers.time_zone)
    return replace(silence, ends_at=now)


def run_due(tx: Tx, rules: Rules, now: datetime) -> list[Event]:
    """Let go what was held by silences that are over now."""
    over = silences.take_due(tx, now)
    if not over:
        return []
    held = silences.held_by(tx, [silence.id for silence in over])
    return judge_all(tx, held, now, over="Silence ended: it still fires", zone=rules.answers.time_zone)


def free_orphans(tx: Tx, now: datetime, zone: str = "UTC") -> list[Event]:
    """Let go what a silence holds that is over: a webhook may have read it in the moment in which it ended."""
    return judge_all(tx, silences.held_by_none(tx, now), now, over="Silence ended: it still fires", zone=zone)


def judge_all(tx: Tx, ids: Collection[str], now: datetime, *, by: Actor = HUB, over: str = "",
              zone: str = "UTC") -> list[Event]:
    """Lock these incidents, judge and store them; whoever is told of them is told of this now."""
    if not ids:
        return []
    active = silences.active(tx, now)
    changed = alert_store.incidents_for_change(tx, ids)
    judged = [judge(tx, incident, active, now, by=by, over=over, zone=zone) for incident in changed.values()]
    events = [event for event in judged if event is not None]
    keep(tx, [changed[event.incident_id] for event in events], events, now)
    return events


# The same silences here and at the source.

def compare(tx: Tx, source: str, remote: Sequence[Silence], now: datetime, *, writes: bool) -> Plan:
    """Take over what the source says it has, and say what it lacks."""
    ours = silences.mirrors(tx, {marker for other in remote if (marker := marker_of(other.comment))}, now)
    show_foreign(tx, source, foreign(ours, remote, now), now)
    wanted = plan(source, ours, remote, now) if writes else Plan()
    there = [(silence, remote_ids[0]) for silence, remote_ids in wanted.end]    # until it is ended there, it is known as ours
    for silence, remote_id in (*wanted.made, *there):
        silences.note_mirrored(tx, silence.id, source, "made", remote_id)
    for silence in wanted.ended:
        silences.note_mirrored(tx, silence.id, source, "ended")
    return wanted


def show_foreign(tx: Tx, source: str, found: Sequence[Silence], now: datetime) -> None:
    known = {silence.remote_id: silence for silence in silences.of_source(tx, source, now)}
    there = {other.remote_id for other in found}
    named = [replace(other, id=known[other.remote_id].id if other.remote_id in known else tx.new_id(), source=source)
             for other in found]
    silences.keep_foreign(tx, [other for other in named if is_news(other, known.get(other.remote_id))], now)
    silences.end_foreign(tx, [silence for key, silence in known.items() if key not in there], now)


def is_news(other: Silence, known: Silence | None) -> bool:
    return known is None or replace(other, number=known.number) != known


def made(tx: Tx, source: str, silence: Silence, remote_id: str) -> None:
    silences.note_mirrored(tx, silence.id, source, "made", remote_id)


def ended(tx: Tx, source: str, silence: Silence) -> None:
    silences.note_mirrored(tx, silence.id, source, "ended")


def not_taken(tx: Tx, source: str, silence: Silence, detail: str, *, final: bool) -> None:
    """The source did not take it: for good (it says that it never will), or to be tried again."""
    silences.note_mirrored(tx, silence.id, source, "refused" if final else "failed", detail=detail[:DETAIL])
