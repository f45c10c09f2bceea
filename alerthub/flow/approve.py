"""The room for what needs people: their word about a run that waits, or about a latch that shall be released; asking for a
release, overriding, freezing. Every word is in the incident's history with who said it, by which account, through which door.

That it is the right person is decided here and again when the run starts: approving only makes it due (R-42).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from alerthub.domain.action import REASON_TEXT, Reason, RunState
from alerthub.domain.answer import NEEDS_PERSON, Decision, Who, Why, permission, refused
from alerthub.domain.approval import Asked, Verdict, Vote, reference, said_by, voting
from alerthub.domain.command import Command, Outcome, Token, Verb
from alerthub.domain.event import EventKind
from alerthub.domain.incident import Incident
from alerthub.domain.latch import Latch
from alerthub.domain.person import Person
from alerthub.domain.rules import Rules
from alerthub.errors import Conflict
from alerthub.flow import asking, change, freeze, seen
from alerthub.flow import latch as latch_room
from alerthub.flow.change import NotPossible
from alerthub.flow.finish import described, finish
from alerthub.store import alerts as alert_store
from alerthub.store import lanes, latches, runs, votes
from alerthub.store.tx import Tx

LATEST = 200        # runs among which a code is looked for that waits no more
A_SECOND = timedelta(seconds=1)
SHOWN = 80          # characters of what somebody wrote
LONGEST, LONGEST_WHY = 300, 2_000
Ending = tuple[Decision, int]       # and the incident's number, 0 where none is known
NOTHING_WAITS = ("Nothing waits under {!r}. What does is said by runs and latches, in a terminal by "
                 "alerthub actions and alerthub latches.")


def guarded(tx: Tx, rules: Rules, command: Command, who: Who, now: datetime) -> Ending:
    """Do what was asked about something that needs people; what became of it."""
    allowed = permission(rules, who, command.verb)
    if not allowed.is_done:
        return allowed, 0
    asked = replace(command, subject=storable(command.subject, LONGEST), text=storable(command.text, LONGEST_WHY))
    if outdated := seen.changed(tx, asked, now):
        return outdated, 0
    try:
        return ROOMS[command.verb](tx, rules, asked, who, now)
    except NotPossible as error:
        return refused(Why.not_possible, str(error)), 0


def storable(text: str, limit: int) -> str:
    """One line that both databases can hold."""
    return " ".join(text.replace("\0", " ").encode("utf-8", "replace").decode().split())[:limit]


def done(text: str) -> Decision:
    return Decision(Outcome.done, text)


def nothing_waits(subject: str) -> Ending:
    return refused(Why.nothing_waits, NOTHING_WAITS.format(subject[:SHOWN])), 0


# -- votes

def vote(tx: Tx, rules: Rules, command: Command, who: Who, now: datetime) -> Ending:
    """A person's word about what waits. The subject is a target, exactly a request for its release, or a run."""
    if who.person is None:
        return refused(Why.needs_person, NEEDS_PERSON), 0
    subject = command.subject
    prefix, _, rest = subject.partition(":")
    target = rest.rpartition(":")[0] if prefix == "latch" else subject
    if latches.find(tx, target) is not None:
        return vote_on_release(tx, rules, target, command, who, who.person, now)
    return vote_on_run(tx, rules, subject.removeprefix("run:"), command, who, who.person, now)


def vote_on_run(tx: Tx, rules: Rules, subject: str, command: Command, who: Who, person: Person, now: datetime) -> Ending:
    run = runs.find(tx, subject) or decided(tx, subject)
    if run is None:
        return nothing_waits(subject)
    incident = lock_incident(tx, run.incident_id)
    said = votes.of(tx, [run.subject])
    refusal, asked = why_not(rules, run, incident), asking.question_of(rules, run, said)
    if refusal or asked is None or incident is None:
        return refusal or refused(Why.rule_changed, changed(run)), incident.number if incident else 0
    verdict = Verdict(command.verb.value)
    decision = voting(asked, person, verdict, now)
    if not decision.is_done:
        return decision, incident.number
    after = cast(tx, rules, incident, EventKind.action, asked, command, who, now)
    if verdict is Verdict.deny:
        finish(tx, rules, run, RunState.refused, Reason.denied, None, now, text=f"{who.name} said no")
        lanes.hurry(tx, incident.id, now)
        return done(f"Denied: {asked.what} will not be run."), incident.number
    if after.tally(rules.people).is_enough:
        runs.decide(tx, run.id, due_at=now)
    return done(agreed_text(after, rules) + asking.under_freeze(tx, rules, run.action)), incident.number


def decided(tx: Tx, code: str) -> runs.Run | None:
    """A run that waited under that code, so that people are told what became of it."""
    return next((run for run in runs.recent(tx, LATEST) if len(code) == runs.CODE and run.code == code), None)


def why_not(rules: Rules, run: runs.Run, incident: Incident | None) -> Decision | None:
    """What about the run itself keeps anybody from voting."""
    what = described(run)
    if incident is None:
        return refused(Why.no_incident, f"The incident of {what} is not kept any more.")
    if run.state is not RunState.awaiting_approval:
        state, why = run.state.value.replace("_", " "), REASON_TEXT.get(Reason(run.reason), "")
        return refused(Why.is_decided, f"{what} does not wait any more: {state}{f' ({why})' if why else ''}.")
    if not incident.is_open:
        return refused(Why.is_resolved, f"#{incident.number} is resolved already: {what} is not run any more.")
    if run.episode != incident.episode:
        return refused(Why.earlier_episode, f"{what} was asked for at an earlier time; #{incident.number} has fired again since. "
                       "Use the newest message.")
    return None


def changed(run: runs.Run) -> str:
    return f"{run.action} was changed in the configuration since it was asked for: {described(run)} is not run any more."


def vote_on_release(tx: Tx, rules: Rules, target: str, command: Command, who: Who, person: Person, now: datetime) -> Ending:
    """The latch is locked after its incident, as when an alert comes in."""
    found = latches.find(tx, target)
    incident = lock_incident(tx, found.incident_id) if found else None
    latch = latches.lock(tx, [target], now)[target]
    if found is None or found.incident_id != latch.incident_id:
        raise Conflict(f"{target} was latched by another incident meanwhile")
    asked = asking.request_of(rules, latch, votes.of(tx, [latch.subject]))
    number = incident.number if incident else 0
    is_other = command.subject.startswith("latch:") and command.subject != latch.subject
    if asked is None or is_other:
        return refused(Why.is_decided, f"Nobody asks for the release of {target} now: it is {state_of(latch)}." if asked is None
                       else f"That request to release {target} is over. Use the newest message."), number
    if incident is not None and latch_room.is_void(rules, latch):
        return refused(Why.is_decided, latch_room.void(tx, incident, latch, now).text), number
    verdict = Verdict(command.verb.value)
    decision = too_early(latch, verdict, command) or voting(asked, person, verdict, now)
    if not decision.is_done:
        return decision, number
    after = cast(tx, rules, incident, EventKind.latch, asked, command, who, now, **latch.data())
    if verdict is Verdict.deny:
        return ended(tx, latch, latch_room.denied(tx, rules, target, who, command.via, now), now), number
    counted = after.tally(rules.people)
    if counted.is_enough:
        return agreed(tx, rules, latch, list(counted.approved), now), number
    return done(agreed_text(after, rules) + asking.under_freeze(tx, rules, latch.action)), number


def too_early(latch: Latch, verdict: Verdict, command: Command) -> Decision | None:
    """Words are about what was asked when they were said, not about what was asked while they were on their way. Providers tell
    whole seconds."""
    if verdict is Verdict.deny or command.said_at is None or latch.since is None or command.said_at + A_SECOND > latch.since:
        return None
    return refused(Why.is_decided, f"You wrote that before this request to release {latch.target} was made. Look at it, and "
                                   "write it again.")


def agreed(tx: Tx, rules: Rules, latch: Latch, names: list[str], now: datetime) -> Decision:
    """Enough people agree; whether it is still proved is seen again, and a word that came too late is kept all the same."""
    try:
        text = latch_room.agreed(tx, rules, latch.target, names, now)
    except NotPossible as error:
        text = f"You agree, but {latch.target} is not released: {error}"
    return ended(tx, latch, text, now)


def ended(tx: Tx, latch: Latch, text: str, now: datetime) -> Decision:
    lanes.hurry(tx, latch.incident_id, now)
    return done(text)


def cast(tx: Tx, rules: Rules, incident: Incident | None, kind: EventKind, asked: Asked, command: Command, who: Who,
         now: datetime, **more: object) -> Asked:
    """Keep the vote and tell of it; the question with it."""
    verdict = Verdict(command.verb.value)
    given = Vote(who.name, who.account.key, command.via, verdict, now)
    votes.add(tx, asked.subject, given)
    after = asking.with_vote(asked, given)
    if incident is not None:
        text = said_by(who.name, verdict, after, after.tally(rules.people))
        event = change.happened(incident, kind, text, command, who, now, vote=asked.subject, verdict=verdict.value, **more)
        change.show(tx, incident, [event], now)
    return after


def agreed_text(asked: Asked, rules: Rules) -> str:
    missing = asked.tally(rules.people).missing
    more = f"{missing} more of {asked.approval.role} must agree" if missing else "it starts now, if nothing else keeps it"
    return f"You agree to {asked.what}: {more}."


def lock_incident(tx: Tx, incident_id: str) -> Incident | None:
    return alert_store.incidents_for_change(tx, [incident_id]).get(incident_id) if incident_id else None


def state_of(latch: Latch) -> str:
    return latch.state.value.replace("_", " ")


# -- latches and freezes

def release(tx: Tx, rules: Rules, command: Command, who: Who, now: datetime) -> Ending:
    target = known_target(tx, rules, command.subject)
    text = latch_room.ask(tx, rules, target, who, command.text, command.via, now)
    return shown(tx, target, text, now)


def override(tx: Tx, rules: Rules, command: Command, who: Who, now: datetime) -> Ending:
    target = known_target(tx, rules, command.subject)
    if not command.text:
        raise NotPossible(f"An override needs a reason. Write: override {target} why")
    text = latch_room.override(tx, rules, target, who, command.text, command.via, now)
    return shown(tx, target, text, now)


def known_target(tx: Tx, rules: Rules, subject: str) -> str:
    """Raises NotPossible for what was never latched."""
    target = subject
    if latches.find(tx, target) is None:
        known = ", ".join(sorted(rules.targets)) or "none"
        raise NotPossible(f"{target[:SHOWN]!r} is not latched" if target in rules.targets else
                          f"There is no target {target[:SHOWN]!r}; there are: {known}")
    return target


def shown(tx: Tx, target: str, text: str, now: datetime) -> Ending:
    """At once in every live message of the incident that latched it."""
    latch = latches.find(tx, target)
    incident = alert_store.find_incident(tx, latch.incident_id) if latch and latch.incident_id else None
    if incident is not None:
        lanes.hurry(tx, incident.id, now)
    return done(text), incident.number if incident else 0


def put_freeze(tx: Tx, rules: Rules, command: Command, who: Who, now: datetime) -> Ending:
    scope = known_scope(rules, command.subject)
    if not command.text:
        raise NotPossible("A freeze needs a reason. Write: freeze [ACTION] why")
    return done(freeze.freeze(tx, rules, scope, who, command.text, now)), 0


def lift_freeze(tx: Tx, rules: Rules, command: Command, who: Who, now: datetime) -> Ending:
    return done(freeze.lift(tx, rules, command.subject, who, now)), 0


def known_scope(rules: Rules, scope: str) -> str:
    if scope and scope not in rules.actions:
        raise NotPossible(f"There is no action {scope[:SHOWN]!r}; there are: {', '.join(sorted(rules.actions)) or 'none'}")
    return scope


Room = Callable[[Tx, Rules, Command, Who, datetime], Ending]
ROOMS: dict[Verb, Room] = {Verb.approve: vote, Verb.deny: vote, Verb.release: release, Verb.override: override,
                           Verb.freeze: put_freeze, Verb.unfreeze: lift_freeze}


# -- buttons and links

def subject_of(tx: Tx, incident_id: str, token: Token) -> str:
    """What a button is about: a run of its incident, exactly one request to release, or a target. Empty: not kept any more."""
    if token.verb is Verb.release:
        return next((target for target in latches.read(tx) if reference(target) == token.detail), "")
    if token.detail[:1] == "t":
        return next((latch.subject for latch in latches.read(tx).values() if reference(latch.subject) == token.detail), "")
    return next((run.id for run in runs.of_incident(tx, incident_id) if run.code == token.detail), "")
