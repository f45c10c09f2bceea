"""The room of latched targets: what is missing for a release, who asks for it, and what becomes of it when people, the time or
the target have spoken. In doubt a target stays safe. How targets are latched is in tighten.py, the proof in proof.py.

Every function locks the latch's incident and then the latch, reads both anew and stores what it changes: the caller must not
save an incident that it read before.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from alerthub.domain.action import RunState
from alerthub.domain.answer import Who
from alerthub.domain.approval import Tally, tally
from alerthub.domain.event import Event, EventKind
from alerthub.domain.incident import Incident
from alerthub.domain.latch import Latch, LatchState
from alerthub.domain.local_time import clock_time
from alerthub.domain.person import Right
from alerthub.domain.rules import Direction, Rules
from alerthub.flow import change
from alerthub.flow.asking import call_approvers, release_of, too_few
from alerthub.flow.latching import (
    again,
    arm,
    confirm,
    held,
    is_told_by_all,
    let_go,
    locked,
    moved,
    releaser,
    stay_safe,
    tell_again,
    told_in_vain,
    untold,
)
from alerthub.flow.proof import causes_of as causes_of
from alerthub.flow.proof import missing as missing
from alerthub.store import events as event_store
from alerthub.store import freezes, latches, runs, votes
from alerthub.store.runs import Run
from alerthub.store.tx import Tx

SAYS_SO_AGAIN = "it stays safe; ask again when that is done"
# How a release ended whose target may have been told to act again.
REACHED = frozenset({RunState.succeeded, RunState.failed, RunState.unknown})


# -- what speaks against a release

def frozen(tx: Tx, rules: Rules, latch: Latch) -> str:
    """Why nothing may be released at all; empty when it may. Without an action there is nothing that could be frozen later."""
    teller = releaser(rules, latch)
    names = {"", latch.action, teller.name if teller is not None else ""}
    found = next((freeze for freeze in freezes.standing(tx) if freeze.scope in names), None)
    return f"actions are frozen by {found.by}: {found.why}" if found is not None else ""


def against(tx: Tx, rules: Rules, latch: Latch, now: datetime) -> str:
    """What speaks against a release now; empty when nothing does."""
    lack = missing(tx, rules, latch.target, now)
    unproved = lack.text if lack is not None else ""
    return frozen(tx, rules, latch) or unproved or tightening(tx, latch) or untold(rules, latch)


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
    if few := too_few(rules, approval, who.name):
        raise change.NotPossible(f"The release of {target} is not asked for: {few}.")
    due_at = now + approval.within
    need = f"{approval.count} of {approval.role} must agree until {clock_time(due_at, rules.answers.time_zone, now)}"
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
    if held_by := frozen(tx, rules, latch) or tightening(tx, latch):
        raise change.NotPossible(f"{target} is not released: {held_by}. Ask again when that is over.")
    lack = missing(tx, rules, target, now)
    although = f" although {lack.text}" if lack is not None else ""
    text = f"{who.name} overrides the latch of {target}{although}{given(why)}"
    let_go(tx, rules, incident, latch, text, now, who, via, {"forced": True}, asked_by=who.name, why=why)
    if why_not := untold(rules, latch):
        return f"You have overridden the latch of {target}{although}. It was NOT told so: {why_not}. Tell it by hand."
    return f"You have overridden the latch of {target}{although}: it is being released."


def denied(tx: Tx, rules: Rules, target: str, who: Who, via: str, now: datetime) -> str:
    """Somebody does not agree, or whoever asked calls it off: it stays safe, and may be asked for again."""
    incident, latch = held(tx, target, now)
    requested(latch)
    said = "calls it off" if who.name == latch.asked_by else "does not agree"
    stay_safe(tx, incident, latch, f"{who.name} {said}: {target} stays safe", now, who, via)
    return f"{target} stays safe."


def agreed(tx: Tx, rules: Rules, target: str, names: Collection[str], now: datetime) -> str:
    """People have agreed, and their votes are stored: prove it once more (R-42), and let it go."""
    incident, latch = held(tx, target, now)
    requested(latch)
    if is_void(rules, latch):
        return void(tx, incident, latch, now).text
    if latch.due_at is not None and latch.due_at < now:
        return expire(tx, rules, incident, latch, now).text
    if not have_agreed(tx, rules, latch.subject, latch):
        raise change.NotPossible(f"Not enough people have agreed to the release of {target} yet.")
    return released_by(tx, rules, incident, latch, " and ".join(names), now)


def released_by(tx: Tx, rules: Rules, incident: Incident, latch: Latch, people: str, now: datetime) -> str:
    target = latch.target
    if lack := against(tx, rules, latch, now):
        text = f"{people} agreed, but {lack}: {target} stays safe"
        stay_safe(tx, incident, latch, text, now)
        return f"{text}."
    let_go(tx, rules, incident, latch, f"{people} agreed to release {target}, as {latch.asked_by} asked{given(latch.why)}", now)
    return f"{target} is being released."


def have_agreed(tx: Tx, rules: Rules, subject: str, latch: Latch) -> bool:
    """Whether enough people who are still here, and still have the role, agree to this request."""
    return counted_for(tx, rules, subject, latch).is_enough


def counted_for(tx: Tx, rules: Rules, subject: str, latch: Latch) -> Tally:
    said = votes.of(tx, [subject]).get(subject, [])
    return tally(said, release_of(rules, latch.target).approval, rules.people, latch.asked_by)


def is_void(rules: Rules, latch: Latch) -> bool:
    """Whoever asked has left, or has another name now: nobody can say any more whether they agree to their own wish."""
    return latch.asked_by not in rules.people


def void(tx: Tx, incident: Incident, latch: Latch, now: datetime) -> Event:
    text = f"{latch.asked_by}, who asked, is not in the configuration any more: {latch.target} stays safe. Ask again."
    return stay_safe(tx, incident, latch, text, now)


def requested(latch: Latch) -> None:
    if latch.state is not LatchState.release_requested:
        raise change.NotPossible(f"Nobody asks for the release of {latch.target} now.")


def given(why: str) -> str:
    line = " ".join(why.split())[:500]
    return f" ({line})" if line else ""


# -- what the time says

def run_due(tx: Tx, rules: Rules, target: str, now: datetime) -> list[Event]:
    """A request for release to which too few people have agreed in time; or a target that has not confirmed to be safe. Nothing,
    where somebody else was faster. Of one target, so that no other waits for its incident."""
    try:
        incident, latch = held(tx, target, now)
    except change.NotPossible:
        return []
    if latch.due_at is None or latch.due_at > now:
        return []
    if latch.state is LatchState.release_requested:
        return over(tx, rules, incident, latch, now)
    if latch.state is LatchState.safe:
        tell_again(tx, rules, incident, latch, now)
    return []


def over(tx: Tx, rules: Rules, incident: Incident, latch: Latch, now: datetime) -> list[Event]:
    """The time of a request is over. Where people have agreed in time to what the configuration now asks for, they have."""
    if is_void(rules, latch):
        return [void(tx, incident, latch, now)]
    if not have_agreed(tx, rules, latch.subject, latch):
        return [expire(tx, rules, incident, latch, now)]
    counted = counted_for(tx, rules, latch.subject, latch)
    released_by(tx, rules, incident, latch, " and ".join(counted.approved), now)
    return []


def expire(tx: Tx, rules: Rules, incident: Incident, latch: Latch, now: datetime) -> Event:
    approval = release_of(rules, latch.target).approval
    count = len(counted_for(tx, rules, latch.subject, latch).approved)
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
    if is_void(rules, latch):
        return f"{latch.asked_by}, who asked, is not in the configuration any more"
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


def told_alike(tx: Tx, rules: Rules, run: Run) -> set[str]:
    """The actions whose failure to make this target safe is over with this success: all, once it has confirmed to all."""
    is_whole = run.direction == Direction.tighten.value and is_told_by_all(tx, rules, run.target, run.round)
    return latches.told_by(tx, run.target) if is_whole else set()


def came_late(tx: Tx, rules: Rules, run: Run, state: RunState, now: datetime) -> None:
    """What became of a run that others had ended or taken over before, when its holder stood still: where it was a release, the
    target may have been told to act all the same. Whoever has taken it over tells how it ends."""
    found = runs.find(tx, run.id)
    if run.direction == Direction.relax.value and found is not None and found.state.is_final:
        ended(tx, rules, run, state, now)


def ended(tx: Tx, rules: Rules, run: Run, state: RunState, now: datetime) -> None:
    """A run on a latched target has ended, and was settled. Only a confirmed release opens the latch; after any other end the
    target is told once more to be safe, and so it is when a release that was called off may have reached it all the same."""
    known = latches.find(tx, run.target)
    if known is None:
        return
    if run.direction == Direction.tighten.value:
        if known.state.is_safe and known.generation == run.round:
            confirm(tx, rules, run.target, now) if state is RunState.succeeded else told_in_vain(tx, run.target, now)
        return
    incident, latch = locked(tx, known, now)
    stands = latch.state is LatchState.releasing and latch.seq == run.round
    if stands and state is RunState.succeeded:
        arm(tx, rules, incident, latch, now)
    elif stands:
        again(tx, rules, incident, latch, f"The release of {run.target} was not confirmed", now)
    elif state in REACHED and latch.state in (LatchState.safe, LatchState.release_requested):
        again(tx, rules, incident, latch, f"A release that was called off may have reached {run.target}", now)
