"""The one room for what people ask, whatever door it came by: recognise who asks, decide, and write it down in one transaction
that makes every live message due.

The same click twice is one effect (R-31): the provider's id of it is stored with what was answered.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from alerthub.domain.answer import Decision, Who, Why, decide, is_automatic, permission, recognised, refused
from alerthub.domain.command import (
    GUARDED,
    SILENCES,
    Answer,
    Ask,
    BadToken,
    Command,
    Outcome,
    Press,
    Token,
    Typed,
    Verb,
    mark_of,
    read_token,
)
from alerthub.domain.incident import OWN_SOURCE, Incident
from alerthub.domain.own import BY_HAND
from alerthub.domain.person import Account
from alerthub.domain.rules import Rules
from alerthub.domain.silence import end_of
from alerthub.domain.words import NotUnderstood, Said, named, parse
from alerthub.flow import access, approve, change, seen, tell
from alerthub.flow.labels import common_labels
from alerthub.store import alerts as alert_store
from alerthub.store import closings, lanes, latches, people
from alerthub.store.lanes import Place
from alerthub.store.tx import Tx

logger = logging.getLogger("alerthub.respond")
DOUBLE_CLICK = timedelta(seconds=3)
FORCED_WITHIN = timedelta(minutes=10)      # how long the question "resolve anyway?" may be answered
TOO_OLD = "This link is too old. Use a newer mail, or open the incident."
USED = "This link was used already and does nothing more. Use a newer mail, or open the incident."
LONGEST_KEY, LONGEST_ID = 200, 100      # characters; what providers give is far shorter
NO_SUCH = "There is no incident {}."
VERBS = {"ack": Verb.acknowledge, "unack": Verb.unacknowledge, "resolve": Verb.resolve, "silence": Verb.silence,
         "escalate": Verb.escalate, "comment": Verb.comment}
WAITING = {verb.value: verb for verb in (Verb.approve, Verb.deny, Verb.release, Verb.override, Verb.freeze, Verb.unfreeze)}
# By a mail nobody has proved who reads it (PROTOCOLS 5). To deny keeps things as they are.
NEED_PROOF = frozenset({Verb.approve, Verb.release, Verb.override})
UNPROVED = ("A mail is no proof of who reads it. Give {}'s own token (people[].api_token) on the page, or answer in chat. "
            "Nothing was done.")


def hear(tx: Tx, rules: Rules, ask: Ask, now: datetime) -> Answer:
    """Do what was asked, once, and say how it ended. Refusals change nothing but are remembered and logged."""
    if len(ask.by.id) > LONGEST_ID or len(ask.key) > LONGEST_KEY:
        return Answer(Outcome.refused, "That is not an account that the hub can know.")
    known = people.first_heard(tx, ask.key, now)
    if known is not None:
        return used(tx, ask, known) if isinstance(ask, Press) and is_link(ask) else known
    if isinstance(ask, Press):
        answer = pressed(tx, rules, ask, now)
    elif isinstance(ask, Typed):
        answer = typed(tx, rules, ask, now)
    else:
        answer = respond(tx, rules, ask, now)
    people.answered(tx, ask.key, answer)
    return answer


def is_link(press: Press) -> bool:
    """The same link pressed later is not the same click: what it did may have changed since."""
    return press.by.kind == "link"


def used(tx: Tx, press: Press, known: Answer) -> Answer:
    """What it did, for whoever has clicked twice and sees only this answer; and where to look."""
    place = lanes.place_of(tx, read_token(press.token, people.signing_key(tx)).lane)
    incident = alert_store.find_incident(tx, place.incident_id) if place else None
    text = f"Done before: {known.text} {USED}" if known.text else USED
    return Answer(Outcome.already, text, incident.number if incident else 0)


def who_is(tx: Tx, rules: Rules, account: Account) -> Who:
    """As of now: who was disabled or has left the configuration since they came in is nobody."""
    if account.kind in access.KINDS:
        return Who(account, access.person_behind(tx, rules, account))
    return recognised(rules, account, people.linked(tx, account.key))


def told(decision: Decision, who: Who, verb: str, number: int = 0, force: str = "") -> Answer:
    """The decision for the person who asked; a refusal also for the log."""
    if decision.outcome is Outcome.refused:
        # Anybody in the world can make up a token: that must not write the log.
        level = logging.DEBUG if decision.why is Why.bad_button else logging.WARNING
        what = f"{verb} of #{number}" if number else verb
        logger.log(level, "%s by %s refused: %s", what, who.name, decision.why.value, extra={
            "event": "answer.refused", "verb": verb, "who": who.name, "account": who.account.key, "reason": decision.why.value,
            "incident": number})
    return Answer(decision.outcome, decision.text, number, force,
                  decision.why.value if decision.outcome is Outcome.refused else "")


# -- buttons, and links: what one would do says links.py

def pressed(tx: Tx, rules: Rules, press: Press, now: datetime) -> Answer:
    key = people.signing_key(tx)
    who = who_is(tx, rules, press.by)
    try:
        token = read_token(press.token, key)
    except BadToken:
        return told(refused(Why.bad_button, "That button is not from this hub, or is too old to be read."), who, "press")
    place = lanes.place_of(tx, token.lane)
    if place is None:
        return told(refused(Why.no_incident, "That incident is not kept any more."), who, token.verb.value)
    who = mailed_to(tx, rules, place) if press.by.kind == "link" and is_mailed(place) else who
    wrong = misplaced(press, token, place, now)
    if wrong is None and press.by.kind == "link" and token.verb in NEED_PROOF and not is_proved(tx, rules, press, who):
        wrong = refused(Why.needs_proof, UNPROVED.format(who.name))
    if wrong is not None:
        incident = alert_store.find_incident(tx, place.incident_id)
        return told(wrong, who, token.verb.value, incident.number if incident else 0)
    # A double click is two clicks for the provider; these two do not end in "already" by themselves.
    twice = f"press:{press.by.key}:{press.token}"
    if token.verb in (Verb.silence, Verb.escalate) and people.pressed_lately(tx, twice, now, DOUBLE_CLICK):
        return Answer(Outcome.already, "Done already: you pressed it twice.")
    answer = respond_as(tx, rules, command_of(tx, press, token, place, rules, now), who, now, key)
    people.answered(tx, twice, answer)      # forgotten when nothing was done
    return answer


def is_proved(tx: Tx, rules: Rules, press: Press, who: Who) -> bool:
    """Whether the one to whom the link was mailed has also shown on the page who they are."""
    return press.proved is not None and who.person is not None and who_is(tx, rules, press.proved).person == who.person


def is_mailed(place: Place) -> bool:
    return place.destination.startswith("email:")


def mailed_to(tx: Tx, rules: Rules, place: Place) -> Who:
    return who_is(tx, rules, Account("email", place.destination.partition(":")[2]))


def misplaced(press: Press, token: Token, place: Place, now: datetime) -> Decision | None:
    """Why it must not act from where it is pressed, or any more: a mail's token is a link, a chat's is a button of that chat."""
    is_link = press.by.kind == "link"
    if token.mark and token.mark != mark_of(place.incident_id):
        return refused(Why.no_incident, "That incident is not kept any more.")
    if is_link and (token.expires is None or not is_mailed(place)):
        return refused(Why.other_place, "That is a button of a chat, not a link.")
    if is_mailed(place) and not is_link:
        return refused(Why.other_place, "That is a link of a mail, not a button.")
    if token.expires is not None and token.expires <= now:
        return refused(Why.expired_link, TOO_OLD if is_link else "That is too old. Use a newer message.")
    if not is_link and not place.holds(press.place):
        return refused(Why.other_place, "That button belongs to a message of another chat.")
    return None


def command_of(tx: Tx, press: Press, token: Token, place: Place, rules: Rules, now: datetime) -> Command:
    until = end_of(SILENCES[token.detail], now, rules.answers.time_zone) if token.verb is Verb.silence else None
    subject = approve.subject_of(tx, place.incident_id, token) if token.verb in GUARDED else ""
    return Command(token.verb, place.incident_id, press.by, press.key, place.destination, token.episode, until=until,
                   forced=token.detail == "f", subject=subject)


# -- words

def typed(tx: Tx, rules: Rules, line: Typed, now: datetime) -> Answer:
    who = who_is(tx, rules, line.by)
    try:
        said = parse(line.words)
    except NotUnderstood as error:
        return Answer(Outcome.told, str(error))
    if said.what == "link":
        return link(tx, rules, line.by, said.rest, now)
    if said.what in VERBS:
        return spoken(tx, rules, line, said, who, now)
    if said.what in WAITING:
        return spoken_of_what_waits(tx, rules, line, said, who, now)
    if who.person is None and said.what != "help" and not (said.what == "who" and not said.number):
        return told(permission(rules, who, Verb.comment), who, said.what)
    return Answer(Outcome.told, tell.words_for(tx, rules, said, who, now))


def spoken(tx: Tx, rules: Rules, line: Typed, said: Said, who: Who, now: datetime) -> Answer:
    verb = VERBS[said.what]
    allowed = permission(rules if is_seen(line) else nobody_else(rules), who, verb)
    if not allowed.is_done:
        return told(allowed, who, said.what, said.number)
    until, text = None, said.rest
    if verb is Verb.silence:
        word, _, text = said.rest.partition(" ")
        try:
            until = end_of(word or "1h", now, rules.answers.time_zone)
        except ValueError as error:
            return Answer(Outcome.told, str(error))
    command = Command(verb, str(said.number), line.by, line.key, text=text.strip(), until=until, forced=said.forced)
    answer = respond_as(tx, rules, command, who, now)
    if answer.outcome is Outcome.held:
        return replace(answer, text=f"{answer.text} To do so, write: resolve {said.number} force")
    return answer


def spoken_of_what_waits(tx: Tx, rules: Rules, line: Typed, said: Said, who: Who, now: datetime) -> Answer:
    """The names may hold spaces: what is known by the longest name counts."""
    verb = WAITING[said.what]
    known = rules.actions if verb in (Verb.freeze, Verb.unfreeze) else {*rules.targets, *latches.read(tx)}
    subject, text = named(said.rest, known)
    if verb is Verb.freeze and subject not in rules.actions:
        subject, text = "", said.rest
    return respond_as(tx, rules, Command(verb, "", line.by, line.key, text=text, subject=subject), who, now)


def is_seen(line: Typed) -> bool:
    """Whether others see it: in a private chat with the bot anybody in the world may write."""
    return not (line.by.kind == "telegram" and line.place == line.by.id)


def nobody_else(rules: Rules) -> Rules:
    return replace(rules, answers=replace(rules.answers, unknown_may_acknowledge=False))


def link(tx: Tx, rules: Rules, account: Account, code: str, now: datetime) -> Answer:
    """This account is from now on the person's for whom the code was made, once."""
    person = people.use_code(tx, code, now)
    if person not in rules.people:
        return told(refused(Why.bad_code, "That code is wrong, used, or too old. Ask for a new one: alerthub link NAME"),
                    Who(account, None), "link")
    people.link(tx, account.key, person, now)
    logger.info("%s is %s now", account.key, person, extra={"event": "account.linked", "account": account.key, "person": person})
    return Answer(Outcome.done, f"Done: this account is {person}'s.")


# -- commands

def respond(tx: Tx, rules: Rules, command: Command, now: datetime) -> Answer:
    return respond_as(tx, rules, command, who_is(tx, rules, command.by), now)


def respond_as(tx: Tx, rules: Rules, command: Command, who: Who, now: datetime, key: bytes = b"") -> Answer:
    """Decide about the incident as it is now, locked, and change it. `key`: to sign the button that insists."""
    if command.verb in GUARDED:
        decision, number = approve.guarded(tx, rules, command, who, now)
        return told(decision, who, command.verb.value, number)
    # A silence locks all that it covers, in one order for all; this one must not be held before them.
    # With what they say they saw it must not change any more; then the database may have to make one of two wait anew.
    incident = (found if command.verb is Verb.silence and not command.expected else locked)(tx, command.incident)
    if incident is None:
        allowed = permission(rules, who, command.verb)
        missing = refused(Why.no_incident, NO_SUCH.format(f"#{command.incident}"[:20])) if allowed.is_done else allowed
        return told(missing, who, command.verb.value)
    if outdated := seen.changed_incident(command, incident):
        return told(outdated, who, command.verb.value, incident.number)
    closed_at = closings.closed_at(tx, incident.id, command.by.kind, now) if is_automatic(command) else None
    decision = decide(incident, command, who, rules, ends_by_hand=ends_by_hand(tx, incident), closed_by_hub_at=closed_at)
    if decision.outcome is Outcome.held and command.by.kind == "pagerduty":
        change.kept_open(tx, incident, command, who, decision.text, now)
    if decision.outcome is Outcome.held and key:
        lane = lanes.find_lane(tx, incident.id, command.via)
        force = Token(Verb.resolve, lane, incident.episode, "f", now + FORCED_WITHIN, mark_of(incident.id))
        return told(decision, who, command.verb.value, incident.number, force.signed(key) if lane else "")
    if not decision.is_done:
        return told(decision, who, command.verb.value, incident.number)
    try:
        text = change.CHANGES[command.verb](tx, rules, incident, command, who, now)
    except change.DoneAlready as error:
        return Answer(Outcome.already, str(error), incident.number)
    except change.NotPossible as error:
        return told(refused(Why.not_possible, str(error)), who, command.verb.value, incident.number)
    return Answer(Outcome.done, text, incident.number)


def ends_by_hand(tx: Tx, incident: Incident) -> bool:
    return incident.source == OWN_SOURCE and common_labels(tx, incident).get("alertname") in BY_HAND


def found(tx: Tx, reference: str) -> Incident | None:
    return alert_store.find_incident(tx, alert_store.id_of(tx, reference))


def locked(tx: Tx, reference: str) -> Incident | None:
    """By id or by number, against other replicas, until the end of the transaction."""
    incident_id = alert_store.id_of(tx, reference)
    return alert_store.incidents_for_change(tx, [incident_id]).get(incident_id) if incident_id else None

