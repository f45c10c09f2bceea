"""What a destination reads: the incident as it is now, and what is new there. Nothing here knows a channel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

from alerthub.domain.alert import Labels
from alerthub.domain.approval import Asked
from alerthub.domain.buttons import buttons_for
from alerthub.domain.delivery import Lane
from alerthub.domain.event import Event, EventKind, why_of
from alerthub.domain.incident import AlertState, Incident
from alerthub.domain.latch import Latch
from alerthub.domain.message import ActionLine, AlertLine, DigestLine, Link, Message, Why
from alerthub.domain.route import Route
from alerthub.domain.rules import Destination, Rules
from alerthub.domain.runbook import choose
from alerthub.domain.standing import Waiting, can_escalate, of_people, standing
from alerthub.domain.wording import one_line

ALERTS_SHOWN = 50       # loaded and handed to a channel, which shows fewer; all of them are counted
NEWS_SHOWN = 10
DIGEST_LINES = 40       # incidents named in one summary: fits Telegram's 4,096 and Slack's 12,000 characters
NAMES_IN_TITLE, NAME_IN_TITLE = 3, 50      # of incidents, and characters of each, in the title of a summary that calls


@dataclass(frozen=True, slots=True)
class Telling:
    """All that a message is made of, read in one transaction."""

    incident: Incident
    lines: tuple[AlertLine, ...]
    events: tuple[Event, ...]
    actions: tuple[ActionLine, ...] = ()
    silenced_until: datetime | None = None
    waiting: tuple[Waiting, ...] = ()
    calls: tuple[Event, ...] = ()      # escalations, also those that the lane knows
    asked: tuple[Asked, ...] = ()      # what waits for people, the newest first
    latched: tuple[Latch, ...] = ()    # the targets that this incident keeps safe


def alert_line(state: AlertState) -> AlertLine:
    content: dict[str, Any] = json.loads(state.content)
    return AlertLine(state.status, content["labels"], content["annotations"], state.starts_at, state.ends_at,
                     content.get("generator_url", ""))


def shared(maps: Sequence[Labels]) -> Labels:
    """The pairs that all of them have."""
    if not maps:
        return {}
    return dict(reduce(lambda left, right: left & right.items(), maps[1:], dict(maps[0]).items() & maps[0].items()))


def compose(telling: Telling, lane: Lane, destination: Destination, rules: Rules, key: bytes, now: datetime) -> Message:
    """The message for one lane. `why` names the most important thing that is new there; `key` signs its buttons."""
    incident = telling.incident
    lines = telling.lines
    common = shared([line.labels for line in lines])
    common = {name: common[name] for name in sorted(common)}
    why = why_of(telling.events, first=lane.is_first)
    return Message(
        delivery_id=lane.delivery_id(incident.seq, incident.updated_at, repeat=why is Why.repeat), incident_id=incident.id,
        number=incident.number,
        episode=incident.episode, why=why, status=incident.status, severity=incident.severity, title=incident.title, at=now,
        opened_at=incident.opened_at, resolved_at=incident.resolved_at, acknowledged_by=incident.acknowledged_by,
        alerts=lines, firing=incident.firing, resolved=incident.alerts - incident.firing, common_labels=common,
        common_annotations=shared([line.annotations for line in lines]), source=incident.source,
        news=news(telling.events), actions=telling.actions, links=links(incident, lines, rules), incomplete=incident.incomplete,
        is_stale=incident.is_stale, is_silenced=incident.is_silenced, is_degraded=lane.is_degraded,
        is_worse=not lane.is_first and any("severity" in event.data for event in telling.events),
        possible_duplicate=lane.may_double, acknowledged_at=incident.acknowledged_at, silenced_until=telling.silenced_until,
        flaps=incident.flaps, time_zone=rules.answers.time_zone,
        standing=(*standing(incident, telling.waiting, telling.calls, destination, rules, routes_of(telling, rules), now),
                  *of_people(telling.asked, telling.latched, rules, now, is_asked=is_asked(destination.key, telling))),
        buttons=buttons_for(incident, lane, destination, rules, key, now,
                            has_policy=can_escalate(telling.waiting, rules),
                            asked=telling.asked, latched=telling.latched),
        only_edit=is_quiet(telling, destination), calls=is_called(destination, telling), taken=any(map(takes, telling.events)),
        asks_again=any(event.kind in (EventKind.unacknowledged, EventKind.unsilenced) for event in telling.events),
    )


def routes_of(telling: Telling, rules: Rules) -> list[Route]:
    """Those by which the alerts that are shown lead anywhere, each once."""
    return list({route.place: route for line in telling.lines for route in rules.routes(line.labels)}.values())


def is_aside(telling: Telling) -> bool:
    """Its events only make live messages true again: nobody is told of them."""
    return bool(telling.events) and all("aside" in event.data for event in telling.events)


def is_quiet(telling: Telling, destination: Destination) -> bool:
    """Nothing in it that may interrupt anybody: what happens under a silence, or comes and goes too often, but for its end and
    what people do. The live message is changed all the same."""
    if is_aside(telling):
        return True
    incident = telling.incident
    is_own = destination.is_personal and bool(telling.events)
    if not is_own and not (incident.silence_id and incident.is_open) and not incident.flaps:
        return False
    return not any(is_loud(event, destination, flaps=incident.flaps > 0) for event in telling.events)


def is_loud(event: Event, destination: Destination, *, flaps: bool) -> bool:
    """What people and the hub do is; what the source does only where it begins to flap or becomes graver. While it flaps, a call
    interrupts whom it calls."""
    if destination.is_personal and not flaps:      # a person was woken for this: only what is for them rings again
        return event.kind in FOR_THE_CALLED or "severity" in event.data or destination.key in event.data.get("told", ())
    if event.actor.kind == "source":
        return "flaps" in event.data or (event.kind is EventKind.changed and "severity" in event.data)     # it became graver
    return not (flaps and event.kind is EventKind.escalated) or destination.key in event.data.get("told", ())


def is_called(destination: Destination, telling: Telling) -> bool:
    """Whether an escalation has called this destination since, and nobody has taken it after that; or it is asked to approve
    something, and that still waits."""
    called = False
    for event in telling.events:
        if event.kind is EventKind.escalated:
            called = called or destination.key in event.data.get("told", ())
        elif takes(event) or event.kind in (EventKind.resolved, EventKind.reopened):
            called = False
    return called or is_asked(destination.key, telling)


def is_asked(place: str, telling: Telling) -> bool:
    """Whether it is new there that somebody must agree, and asked of whoever is reached there. `place`: a destination's key."""
    return bool(telling.asked) and any(event.kind in QUESTIONS and place in event.data.get("told", ())
                                       for event in telling.events)


def takes(event: Event) -> bool:
    """Whoever was called before that need not come any more."""
    return event.kind is EventKind.acknowledged or bool(event.data.get("silence"))


QUESTIONS = frozenset({EventKind.action, EventKind.latch})
FOR_THE_CALLED = frozenset({EventKind.resolved})


def news(events: Sequence[Event]) -> tuple[str, ...]:
    """What happened, oldest first; of many only the newest, and how many came before."""
    shown = [event.text for event in events[-NEWS_SHOWN:]]
    if len(events) > NEWS_SHOWN:
        shown.insert(0, f"{len(events) - NEWS_SHOWN} earlier changes")
    return tuple(shown)


def links(incident: Incident, lines: Sequence[AlertLine], rules: Rules) -> tuple[Link, ...]:
    found = [Link(f"Incident #{incident.number}", incident_url(rules, incident))]
    for line in lines:
        if runbook := choose(rules.runbooks, line.labels):
            found.append(Link(f"Runbook: {runbook.title}", f"{rules.public_url}/runbooks/{runbook.name}"))
            break
    own = next((line.annotations["runbook_url"] for line in lines if is_web(line.annotations.get("runbook_url", ""))), None)
    if own:
        found.append(Link("Runbook (from the alert)", own))
    source = next((line.generator_url for line in lines if is_web(line.generator_url)), None)
    if source:
        found.append(Link("Graph" if "/graph" in source else "Source", source))
    return tuple(found)


def is_web(url: str) -> bool:
    """http(s) and nothing that could break out of a link (PROTOCOLS 8)."""
    return url.startswith(("http://", "https://")) and not any(character.isspace() or ord(character) < 32 for character in url)


def incident_url(rules: Rules, incident: Incident) -> str:
    return f"{rules.public_url}/incidents/{incident.number}"


def digest(tellings: Iterable[Telling], lanes: Sequence[Lane], rules: Rules, now: datetime,
           calls: Collection[str] = ()) -> Message:
    """A storm in one message: every incident by name. It has no live message of its own and is never edited. `calls`: the
    incidents that its reader is called for, or asked about; they come first, the gravest and newest of them before the others."""
    told = list(tellings)
    asked = {telling.incident.id for telling, lane in zip(told, lanes, strict=True) if is_asked(lane.destination, telling)}
    incidents = [telling.incident for telling in told]
    first = incidents[0]
    still_open = sum(1 for incident in incidents if incident.is_open)
    worst = max((incident.severity for incident in incidents), key=lambda severity: severity.rank)
    return Message(
        delivery_id=digest_id(lanes, incidents), incident_id=first.id, number=first.number, episode=first.episode,
        why=Why.digest, status=next((incident.status for incident in incidents if incident.is_open), first.status),
        severity=worst, title=call_title(told, calls, asked) or (
            f"{len(incidents)} incidents: {still_open} open, {len(incidents) - still_open} resolved"),
        at=now, opened_at=min(incident.opened_at for incident in incidents),
        firing=sum(incident.firing for incident in incidents), source=first.source,
        links=(Link("All incidents", f"{rules.public_url}/"),), is_degraded=any(lane.is_degraded for lane in lanes),
        possible_duplicate=any(lane.may_double for lane in lanes),
        time_zone=rules.answers.time_zone,
        digest=tuple(DigestLine(incident.number, digest_title(telling, asked), incident.status, incident.severity,
                                incident.firing, incident_url(rules, incident))
                     for telling in by_call(told, {*calls, *asked}) for incident in (telling.incident,)),
    )


def by_call(told: Iterable[Telling], calls: Collection[str]) -> list[Telling]:
    """Those that the reader is called for first, gravest and newest before the others; the rest as they come."""
    def rank(telling: Telling) -> tuple[bool, int, float]:
        incident = telling.incident
        is_call = incident.id in calls
        return not is_call, -incident.severity.rank * is_call, -incident.opened_at.timestamp() * is_call

    return sorted(told, key=rank)


def call_title(told: Sequence[Telling], calls: Collection[str], asked: Collection[str] = ()) -> str:
    """`YOU ARE CALLED for 30 incidents: TradingHalted, DiskFull (host=a), DiskFull (host=b) …`; before it where the
    reader is asked to agree to something, which waits for their word. Empty without both."""
    parts = [headed("YOU ARE ASKED to approve or deny in", told, asked),
             headed("YOU ARE CALLED for", told, [key for key in calls if key not in asked])]
    return ". ".join(part for part in parts if part)


def headed(what: str, told: Sequence[Telling], which: Collection[str]) -> str:
    names = [one_line(telling.incident.title, NAME_IN_TITLE) for telling in by_call(told, which) if telling.incident.id in which]
    rest = " …" if len(names) > NAMES_IN_TITLE else ""
    incidents = "1 incident" if len(names) == 1 else f"{len(names)} incidents"
    return f"{what} {incidents}: {', '.join(names[:NAMES_IN_TITLE])}{rest}" if names else ""


def digest_title(telling: Telling, asked: Collection[str] = ()) -> str:
    """What nobody may miss is said in a summary too."""
    if telling.incident.id in asked:
        return f"WAITS FOR YOUR APPROVAL: {telling.incident.title}"
    ran_out = telling.incident.is_open and any("ran_out" in event.data for event in telling.events)
    return f"NOBODY ANSWERED: {telling.incident.title}" if ran_out else telling.incident.title


def digest_id(lanes: Sequence[Lane], incidents: Sequence[Incident]) -> str:
    """Another name for every other set of incidents: a receiver that drops doubles must not drop one that is new in it."""
    parts = "/".join(lane.delivery_id(incident.seq, incident.updated_at) for lane, incident in zip(lanes, incidents, strict=True))
    return hashlib.sha256(parts.encode()).hexdigest()[:32]
