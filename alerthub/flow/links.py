"""What a mailed link would do, for the page that asks before it does: the same decisions as of the press, and nothing written."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alerthub.domain.answer import Why, decide
from alerthub.domain.buttons import SILENCES as LABELS
from alerthub.domain.command import GUARDED, BadToken, LinkView, Outcome, Verb, press_of_link, read_token
from alerthub.domain.local_time import day_and_time
from alerthub.domain.rules import Rules
from alerthub.flow import approve, showing
from alerthub.flow.respond import NEED_PROOF, USED, command_of, ends_by_hand, mailed_to, misplaced
from alerthub.store import alerts as alert_store
from alerthub.store import lanes, people
from alerthub.store.tx import Tx

OVER = "This does not wait any more: it was decided, or its time is over. Open the incident to see."


def view(tx: Tx, rules: Rules, token_text: str, now: datetime) -> LinkView:
    """What a mailed link would do, for the page that asks first: what the press would refuse, or find to be so, is a problem
    here. Changes nothing (R-52)."""
    press = press_of_link(token_text)
    try:
        token = read_token(token_text, people.signing_key(tx))
    except BadToken:
        return LinkView(problem="This link is not complete. Open it again from the mail, as a whole.")
    place = lanes.place_of(tx, token.lane)
    incident = alert_store.find_incident(tx, place.incident_id) if place else None
    if place is None or incident is None:
        return LinkView(problem="This incident is not kept any more.")
    wrong = misplaced(press, token, place, now)
    if wrong is not None:
        return LinkView(problem=wrong.text, number=incident.number if wrong.why is Why.expired_link else 0)
    if people.was_heard(tx, press.key):
        return LinkView(problem=USED, number=incident.number)
    who, command = mailed_to(tx, rules, place), command_of(tx, press, token, place, rules, now)
    shown = LinkView(token.verb.value, incident.number, incident.title, incident.status.value, incident.severity.value, who.name)
    if token.verb in GUARDED:
        effect = showing.effect_of(tx, rules, token.verb, approve.subject_of(tx, incident.id, token))
        return replace(shown, problem="" if effect else OVER, effect=effect, needs_proof=token.verb in NEED_PROOF)
    decision = decide(incident, command, who, rules, ends_by_hand=ends_by_hand(tx, incident))
    if decision.outcome not in (Outcome.done, Outcome.held):
        return LinkView(problem=decision.text, number=incident.number)
    if token.verb is Verb.silence and command.until:
        return replace(shown, verb=dict(LABELS)[token.detail], until=day_and_time(command.until, rules.answers.time_zone))
    return shown
