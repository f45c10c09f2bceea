"""Which buttons a live message has, for the incident as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from alerthub.domain.approval import SHOWN, Asked, reference
from alerthub.domain.command import Token, Verb, mark_of
from alerthub.domain.delivery import Lane
from alerthub.domain.incident import Incident
from alerthub.domain.latch import Latch, LatchState
from alerthub.domain.message import Button, IncidentStatus
from alerthub.domain.rules import Destination, Rules

LINK_LIVES = timedelta(hours=24)     # a mailed link; a button lives as long as its episode
# 09:00 is where the people live: answers.time_zone.
SILENCES = (("1", "Silence 1 h"), ("4", "Silence 4 h"), ("t", "Silence until 09:00"))


def buttons_for(incident: Incident, lane: Lane, destination: Destination, rules: Rules, key: bytes,
                now: datetime, *, has_policy: bool, asked: Sequence[Asked] = (),
                latched: Sequence[Latch] = ()) -> tuple[Button, ...]:
    """None where nobody is heard, and none once it is resolved but those about a latch. `key` signs them."""
    if not destination.answers:
        return ()
    is_link, may_all = destination.answers in ("links", "link"), destination.answers != "link"

    def button(verb: Verb, label: str, detail: str = "", confirm: str = "") -> Button:
        until = now + LINK_LIVES if is_link else None
        token = Token(verb, lane.id, incident.episode, detail, until, mark_of(incident.id)).signed(key)
        return Button(verb.value, label, token, f"{rules.public_url}/respond/{token}" if is_link else "", confirm)

    waits = [button(verb, label, detail, confirm) for verb, label, detail, confirm in about_what_waits(asked, latched)]
    if not incident.is_open:
        return tuple(waits if may_all else ())
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
    return (*found, *waits)


def about_what_waits(asked: Sequence[Asked], latched: Sequence[Latch]) -> list[tuple[Verb, str, str, str]]:
    """Verb, label, what the token holds, and what is asked once more where the channel can. The newest; the others have text."""
    found = []
    for one in asked[:SHOWN]:
        says = one.what[4:] if one.is_release else one.what      # without "the"
        found += [(Verb.approve, f"Approve {says}", one.reference, f"You agree to {one.what}: {one.approval.count} of "
                   f"{one.approval.role} must. It is done as soon as enough have agreed."),
                  (Verb.deny, f"Deny {says}", one.reference, "")]
    return found + [(Verb.release, f"Request release of {latch.target}", reference(latch.target), "")
                    for latch in latched[:SHOWN] if latch.state is LatchState.safe]
