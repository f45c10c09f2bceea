"""The room of latched targets: what is missing for a release, who asks for it, and what becomes of it when people, the time or
the target have spoken. In doubt a target stays safe. How targets are latched is in tighten.py.

Every function locks the latch's incident and then the latch, reads both anew and stores what it changes: the caller must not
save an incident that it read before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from alerthub.domain.action import Reason, RunState
from alerthub.domain.answer import Who
from alerthub.domain.approval import tally
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import OWN_SOURCE, Incident
from alerthub.domain.latch import Cause, Latch, LatchState, Refusal, changed, lacking
from alerthub.domain.person import Right
from alerthub.domain.rules import Direction, Rules
from alerthub.errors import Conflict
from alerthub.flow import change
from alerthub.flow.asking import call_approvers, release_of
from alerthub.flow.propose import run_row
from alerthub.flow.tighten import ACTOR
from alerthub.store import alerts as alert_store
from alerthub.store import events as event_store
from alerthub.store import freezes, latches, runs, votes
from alerthub.store.runs import Run
from alerthub.store.tx import Tx

SAYS_SO_AGAIN = "it stays safe; ask again when that is done"
# How a release ended whose target may have been told to act again.
REACHED = frozenset({RunState.succeeded, RunState.failed, RunState.unknown})


# -- the proof

def causes_of(tx: Tx, rules: Rules, target: str, now: datetime) -> list[Cause]:
    """What latched it since it was last armed, and whether that is over."""
    return [judged(tx, rules, cause, now) for cause in latches.causes(tx, [target]).get(target, ())]


def judged(tx: Tx, rules: Rules, cause: Cause, now: datetime) -> Cause:
    """Of its own alarms the hub knows by itself whether they are over; a person's word that they are is no proof."""
    if cause.source != OWN_SOURCE:
        source = rules.sources.get(cause.source)
        return replace(cause, can_be_asked=source is not None and bool(source.reconcile_urls))
    ends = event_store.of_kind(tx, EventKind.resolved, [cause.incident_id])
    is_over = not cause.is_open and bool(ends) and ends[-1].actor.kind == "hub"
    return replace(cause, clear_since=ends[-1].at if is_over else None, looked_at=now)


def missing(tx: Tx, rules: Rules, target: str, now: datetime) -> Refusal | None:
    """What is missing in the proof that all that latched it is over; None when nothing is."""
    return lacking(causes_of(tx, rules, target, now), release_of(rules, target), now)


def frozen(tx: Tx, latch: Latch) -> str:
    """Why nothing may be released at all; empty when it may. Without an action there is nothing that could be frozen later."""
    found = next((freeze for freeze in freezes.standing(tx) if freeze.scope in ("", latch.action)), None)
    return f"actions are frozen by {found.by}: {found.why}" if found is not None else ""


def against(tx: Tx, rules: Rules, latch: Latch, now: datetime) -> str:
    """What speaks against a release now; empty when nothing does."""
    lack = missing(tx, rules, latch.target, now)
    return frozen(tx, latch) or (lack.text if lack is not None else "") or tightening(tx, latch)


def tightening(tx: Tx, latch: Latch) -> str:
    """A push to be safe that is under way, or that a crash left behind, would undo the release."""
    return f"{latch.target} is still being told to be safe" if runs.is_tightening(tx, latch.target) else ""


# -- what people say

def ask(tx: Tx, rules: Rules, target: str, who: Who, why: str, via: str, now: datetime) -> str:
    """Ask for its release, once it is proved that what latched it is over, and call those who must agree."""
    incident, latch = held(tx, target, now)
    if who.person is None or not (who.person.may(Right.respond) or who.person.may(Right.approve)):
        raise change.NotPossible(f"Only a person who may respond or approve can ask for the release of {target}.")
    if latch.state is not LatchState.safe:
        raise change.NotPossible(f"{latch.asked_by} has asked for the release of {target} already.")
    if lack := against(tx, rules, latch, now):
        raise change.NotPossible(f"{target} is not released: {lack}; {SAYS_SO_AGAIN}.")
    approval = release_of(rules, target).approval
    due_at = now + approval.within
    need = f"{approval.count} of {approval.role} must agree until {due_at:%H:%M} UTC"
    called = call_approvers(tx, rules, incident, approval, who.name, now)
    text = f"{who.name} asks to release {target}{given(why)}: {need}"
    waiting, event = moved(incident, latch, LatchState.release_requested, text, now, who, via, called, asked_by=who.name, why=why,
                           due_at=due_at)
    latches.save(tx, waiting)
    change.show(tx, incident, [event], now)
    return f"You have asked to release {target}: {need}."


def override(tx: Tx, rules: Rules, target: str, who: Who, why: str, via: str, now: datetime) -> str:
    """Release it without proof and without other people: by a named admin, with a reason, for all to read."""
    incident, latch = held(tx, target, now)
    if who.person is None or not who.person.may(Right.administer):
        raise change.NotPossible(f"Only an admin, as a person whom the hub knows, can override the latch of {target}.")
    if not why.strip():
        raise change.NotPossible("An override needs a reason, for the record; write why.")
    if latch.state is LatchState.releasing:
        raise change.NotPossible(f"{target} is being released already.")
    if held_by := frozen(tx, latch) or tightening(tx, latch):
        raise change.NotPossible(f"{target} is not released: {held_by}. Ask again when that is over.")
    lack = missing(tx, rules, target, now)
    although = f" although {lack.text}" if lack is not None else ""
    text = f"{who.name} overrides the latch of {target}{although}{given(why)}"
    let_go(tx, rules, incident, latch, text, now, who, via, {"forced": True}, asked_by=who.name, why=why)
    return f"You have overridden the latch of {target}{although}: it is being released."


def denied(tx: Tx, rules: Rules, target: str, who: Who, via: str, now: datetime) -> str:
    """Who must agree does not: it stays safe, and whoever asked may ask again."""
    incident, latch = held(tx, target, now)
    requested(latch)
    stay_safe(tx, incident, latch, f"{who.name} does not agree: {target} stays safe", now, who, via)
    return f"{target} stays safe."


def agreed(tx: Tx, rules: Rules, target: str, names: Collection[str], now: datetime) -> str:
    """People have agreed, and their votes are stored: prove it once more (R-42), and let it go."""
    incident, latch = held(tx, target, now)
    requested(latch)
    if latch.due_at is not None and latch.due_at < now:
        return expire(tx, rules, incident, latch, now).text
    if not have_agreed(tx, rules, latch.subject, latch):
        raise change.NotPossible(f"Not enough people have agreed to the release of {target} yet.")
    people = " and ".join(names)
    if lack := against(tx, rules, latch, now):
        text = f"{people} agreed, but {lack}: {target} stays safe"
        stay_safe(tx, incident, latch, text, now)
        return f"{text}."
    let_go(tx, rules, incident, latch, f"{people} agreed to release {target}, as {latch.asked_by} asked", now)
    return f"{target} is being released."


def have_agreed(tx: Tx, rules: Rules, subject: str, latch: Latch) -> bool:
    """Whether enough people who are still here, and still have the role, agree to this request."""
    said = votes.of(tx, [subject]).get(subject, [])
    return tally(said, release_of(rules, latch.target).approval, rules.people, latch.asked_by).is_enough


def requested(latch: Latch) -> None:
    if latch.state is not LatchState.release_requested:
        raise change.NotPossible(f"Nobody asks for the release of {latch.target} now.")


def given(why: str) -> str:
    line = " ".join(why.split())[:500]
    return f" ({line})" if line else ""


# -- what the time says

def run_due(tx: Tx, rules: Rules, now: datetime) -> list[Event]:
    """Requests for release to which too few people have agreed in time."""
    events = []
    for target in latches.due(tx, now):
        incident, latch = held(tx, target, now)
        if latch.state is LatchState.release_requested and latch.due_at is not None and latch.due_at <= now:
            events.append(expire(tx, rules, incident, latch, now))
    return events


def expire(tx: Tx, rules: Rules, incident: Incident, latch: Latch, now: datetime) -> Event:
    approval = release_of(rules, latch.target).approval
    said = votes.of(tx, [latch.subject]).get(latch.subject, [])
    count = len(tally(said, approval, rules.people, latch.asked_by).approved)
    text = f"Too few agreed in time ({count} of {approval.count}): {latch.target} stays safe. Ask again."
    return stay_safe(tx, incident, latch, text, now)


# -- what the target says

def release_stands(tx: Tx, rules: Rules, run: Run, now: datetime) -> str:
    """Why the release that this run would tell the target of stands no longer; empty when it does (R-42)."""
    known = latches.find(tx, run.target)
    latch = locked(tx, known, now)[1] if known is not None else Latch(run.target)
    if latch.state is not LatchState.releasing or latch.seq != run.round:
        return f"{run.target} was made safe again after people agreed"
    if is_forced(tx, latch):
        return ""
    request = replace(latch, seq=latch.seq - 1).subject
    if not have_agreed(tx, rules, request, latch):
        return "who agreed may not do so any more"
    lack = missing(tx, rules, run.target, now)
    return lack.text if lack is not None else ""


def is_forced(tx: Tx, latch: Latch) -> bool:
    """Whether an admin overrode: the history says so."""
    said = event_store.of_kind(tx, EventKind.latch, [latch.incident_id])
    return any(event.data.get("forced") for event in said
               if (event.data.get("latch"), event.data.get("latch_seq")) == (latch.target, latch.seq))


def ended(tx: Tx, rules: Rules, run: Run, state: RunState, now: datetime) -> None:
    """A run on a latched target has ended, and was settled. Only a confirmed release opens the latch; after any other end the
    target is told once more to be safe, and so it is when a release that was called off may have reached it all the same."""
    known = latches.find(tx, run.target)
    if known is None:
        return
    if run.direction == Direction.tighten.value:
        if state is RunState.succeeded and known.state.is_safe and known.generation == run.round:
            confirm(tx, run, now)
        return
    incident, latch = locked(tx, known, now)
    stands = latch.state is LatchState.releasing and latch.seq == run.round
    if stands and state is RunState.succeeded:
        arm(tx, incident, latch, now)
    elif stands:
        again(tx, rules, incident, latch, f"The release of {run.target} was not confirmed", now)
    elif state in REACHED and latch.state in (LatchState.safe, LatchState.release_requested):
        again(tx, rules, incident, latch, f"A release that was called off may have reached {run.target}", now)


def confirm(tx: Tx, run: Run, now: datetime) -> None:
    """The target says itself that it is safe."""
    latch = latches.lock(tx, [run.target], now)[run.target]
    if latch.state.is_safe and latch.generation == run.round:
        latches.save(tx, replace(latch, verified_at=now))


def arm(tx: Tx, incident: Incident, latch: Latch, now: datetime) -> None:
    released, event = moved(incident, latch, LatchState.released, f"{latch.target} is released: it may act again", now,
                            asked_by=latch.asked_by, verified_at=now)
    latches.save(tx, released)
    latches.forget_causes(tx, latch.target)
    change.show(tx, incident, [event], now)


def again(tx: Tx, rules: Rules, incident: Incident, latch: Latch, text: str, now: datetime) -> None:
    """Latch it anew and tell it to be safe once more."""
    safe, event = moved(incident, latch, LatchState.safe, f"{text}: it is told again to be safe", now,
                        generation=latch.generation + 1, asked_by="", why="", verified_at=None)
    latches.save(tx, safe)
    if (rule := rules.actions.get(latch.action)) is not None and rule.direction is Direction.tighten:
        runs.propose(tx, [run_row(tx.new_id(), rules, incident, rule, latch.target, now, round=safe.generation)])
    change.show(tx, incident, [event], now)


# -- how a latch moves

def held(tx: Tx, target: str, now: datetime) -> tuple[Incident, Latch]:
    """A latched target and the incident that tells its story. NotPossible for one that is not latched."""
    known = latches.find(tx, target)
    if known is None or not known.state.is_safe:
        raise change.NotPossible(f"{target} is not latched: there is nothing to release.")
    incident, latch = locked(tx, known, now)
    if not latch.state.is_safe:
        raise change.NotPossible(f"{target} has just been released.")
    return incident, latch


def locked(tx: Tx, known: Latch, now: datetime) -> tuple[Incident, Latch]:
    incidents = alert_store.incidents_for_change(tx, [known.incident_id])
    latch = latches.lock(tx, [known.target], now)[known.target]
    if latch.incident_id not in incidents:
        raise Conflict(f"{known.target} was latched by another incident meanwhile")
    return incidents[latch.incident_id], latch


def moved(incident: Incident, latch: Latch, state: LatchState, text: str, now: datetime, who: Who | None = None, via: str = "",
          more: Mapping[str, Any] | None = None, **fields: Any) -> tuple[Latch, Event]:
    """The latch after the change, and the event that says so: who, by which account, through which door."""
    new = changed(latch, state, now, **fields)
    actor = ACTOR if who is None else Actor("person" if who.person else "account", who.name)
    by = {"account": who.account.key, "via": via} if who is not None else {}
    return new, incident.happened(EventKind.latch, actor, text, now, {**new.data(), **by, **(more or {})})


def stay_safe(tx: Tx, incident: Incident, latch: Latch, text: str, now: datetime, *said: Any) -> Event:
    """Its request is over. It has been safe all the time, so that nobody need tell it."""
    safe, event = moved(incident, latch, LatchState.safe, text, now, *said, asked_by="", why="")
    latches.save(tx, safe)
    change.show(tx, incident, [event], now)
    return event


def let_go(tx: Tx, rules: Rules, incident: Incident, latch: Latch, text: str, now: datetime, *said: Any, **fields: Any) -> None:
    """Tell the target that it may act again, where its action can; it counts as safe until it confirms that."""
    releasing, event = moved(incident, latch, LatchState.releasing, text, now, *said, **fields)
    latches.save(tx, releasing)
    change.show(tx, incident, [event], now)
    rule = rules.actions.get(latch.action)
    if rule is None or not rule.releases or not release_of(rules, latch.target).mode:
        arm(tx, *locked(tx, releasing, now), now)
        return
    runs.propose(tx, [run_row(
        tx.new_id(), rules, incident, rule, latch.target, now, direction=Direction.relax.value, reason=Reason.allowed.value,
        round=releasing.seq, why=text, asked_by=releasing.asked_by)])
