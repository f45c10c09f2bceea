"""Which buttons a live message has, for the incident as it is now."""

from __future__ import annotations

from datetime import datetime, timedelta

from alerthub.domain.command import Token, Verb
from alerthub.domain.delivery import Lane
from alerthub.domain.incident import Incident
from alerthub.domain.message import Button, IncidentStatus
from alerthub.domain.rules import Destination, Rules

LINK_LIVES = timedelta(hours=24)     # a mailed link; a button lives as long as its episode
# 09:00 is where the people live: answers.time_zone.
SILENCES = (("1", "Silence 1 h"), ("4", "Silence 4 h"), ("t", "Silence until 09:00"))


def buttons_for(incident: Incident, lane: Lane, destination: Destination, rules: Rules, key: bytes,
                now: datetime, *, has_policy: bool) -> tuple[Button, ...]:
    """None where nobody is heard, and none once it is resolved. `key` signs them."""
    if not destination.answers or not incident.is_open:
        return ()
    is_link, may_all = destination.answers in ("links", "link"), destination.answers != "link"

    def button(verb: Verb, label: str, detail: str = "") -> Button:
        token = Token(verb, lane.id, incident.episode, detail, now + LINK_LIVES if is_link else None).signed(key)
        return Button(verb.value, label, token, f"{rules.public_url}/respond/{token}" if is_link else "")

    found = [button(Verb.acknowledge, "Acknowledge")] if incident.status is IncidentStatus.triggered else []
    if not may_all:     # nobody's address: see `Answers.unknown_may_acknowledge`
        return tuple(found)
    if incident.status is IncidentStatus.acknowledged:
        found.append(button(Verb.unacknowledge, "Give back"))
    found.append(button(Verb.resolve, "Resolve"))
    if not incident.silence_id:
        found += [button(Verb.silence, label, detail) for detail, label in SILENCES]
    if has_policy:
        found.append(button(Verb.escalate, "Escalate now"))
    return tuple(found)
