"""How a latch moves, and how its target is told. In doubt it is safe, and is told so again until it confirms that.

Every function stores what it changes; `held` and `locked` lock the latch's incident and then the latch, and read both anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from alerthub.domain.action import Reason
from alerthub.domain.answer import Who
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import Incident
from alerthub.domain.latch import Latch, LatchState, changed
from alerthub.domain.rules import ActionRule, Direction, Rules
from alerthub.errors import Conflict
from alerthub.flow import change, proof
from alerthub.flow.asking import release_of
from alerthub.flow.propose import run_row
from alerthub.flow.tighten import ACTOR, is_latching
from alerthub.store import alerts as alert_store
from alerthub.store import latches, runs
from alerthub.store.tx import Tx

TOLD_AGAIN = timedelta(minutes=1)       # what has not confirmed that it is safe is told so once more


# -- which action tells a target

def tellers(rules: Rules, latch: Latch) -> list[ActionRule]:
    """The actions that make it safe as it is configured now: first the one that did, then others with the same target."""
    own = rules.actions.get(latch.action)
    others = [rule for rule in rules.actions.values() if rule.name != latch.action and acts_on(rule, latch.target)]
    first = [own] if own is not None and acts_on(own, latch.target) else []
    return [rule for rule in first + others if is_latching(rules, rule, latch.target)]


def acts_on(rule: ActionRule, target: str) -> bool:
    return target in rule.targets if rule.targets else bool(rule.target_label)


def releaser(rules: Rules, latch: Latch) -> ActionRule | None:
    """The action that can tell it that it may act again; None where none can, or where it need not be told."""
    if not release_of(rules, latch.target).mode:
        return None
    return next((rule for rule in tellers(rules, latch) if rule.releases), None)


def untold(rules: Rules, latch: Latch) -> str:
    """Why nobody could tell it of its release although it must be told; empty when it is told, or never is."""
    is_gone = latch.action not in [rule.name for rule in tellers(rules, latch)]
    if not is_gone or not release_of(rules, latch.target).mode or releaser(rules, latch) is not None:
        return ""
    return f"{latch.action}, which made it safe, is not in the configuration any more, and nothing else can tell it"


# -- its state

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
    """Its request is over. It has been safe all the time, so that nobody need tell it, unless it has not confirmed that yet."""
    due_at = now if latch.verified_at is None else None
    safe, event = moved(incident, latch, LatchState.safe, text, now, *said, asked_by="", why="", due_at=due_at)
    latches.save(tx, safe)
    change.show(tx, incident, [event], now)
    return event


def let_go(tx: Tx, rules: Rules, incident: Incident, latch: Latch, text: str, now: datetime, *said: Any, **fields: Any) -> None:
    """Tell the target that it may act again, where an action can; it counts as safe until it confirms that."""
    releasing, event = moved(incident, latch, LatchState.releasing, text, now, *said, **fields)
    latches.save(tx, releasing)
    change.show(tx, incident, [event], now)
    rule = releaser(rules, latch)
    if rule is None:
        arm(tx, rules, *locked(tx, releasing, now), now, untold(rules, latch))
        return
    runs.propose(tx, [run_row(
        tx.new_id(), rules, incident, rule, latch.target, now, direction=Direction.relax.value, reason=Reason.allowed.value,
        round=releasing.seq, why=text, asked_by=releasing.asked_by)])


def arm(tx: Tx, rules: Rules, incident: Incident, latch: Latch, now: datetime, although: str = "") -> None:
    """What latched it and is not over, which an admin has overridden, stays known: it latches nothing by itself, and the next
    release must prove that it is over."""
    text = f"{latch.target} is released: it may act again" + (f"; it was not told: {although}" if although else "")
    released, event = moved(incident, latch, LatchState.released, text, now, asked_by=latch.asked_by, verified_at=now)
    latches.save(tx, released)
    latches.forget_causes(tx, latch.target, proof.settled(tx, rules, latch.target, now))
    change.show(tx, incident, [event], now)


def again(tx: Tx, rules: Rules, incident: Incident, latch: Latch, text: str, now: datetime) -> None:
    """Latch it anew and tell it to be safe once more, by the action that did and by the one that told of the release."""
    told = {rule.name: rule for rule in [*tellers(rules, latch)[:1], releaser(rules, latch)] if rule is not None}
    follows = "it is told again to be safe" if told else "nothing in the configuration can tell it to be safe: do it by hand"
    safe, event = moved(incident, latch, LatchState.safe, f"{text}: {follows}", now,
                        generation=latch.generation + 1, asked_by="", why="", verified_at=None,
                        due_at=None if told else now + TOLD_AGAIN)
    latches.save(tx, safe)
    runs.propose(tx, [run_row(tx.new_id(), rules, incident, rule, latch.target, now, round=safe.generation)
                      for rule in told.values()])
    change.show(tx, incident, [event], now)


# -- whether it has confirmed that it is safe

def confirm(tx: Tx, rules: Rules, target: str, now: datetime) -> None:
    """It says itself that it is safe: it is, when every action has succeeded that is configured and was to tell it."""
    latch = latches.lock(tx, [target], now)[target]
    if latch.state.is_safe and not in_vain(tx, rules, latch):
        due_at = None if latch.state is LatchState.safe else latch.due_at
        latches.save(tx, replace(latch, verified_at=now, due_at=due_at))


def is_told_by_all(tx: Tx, rules: Rules, target: str, generation: int) -> bool:
    """Whether it has confirmed to all that tell it, since it was latched last. Nothing is locked."""
    latch = latches.find(tx, target)
    return latch is not None and latch.generation == generation and not in_vain(tx, rules, latch)


def told_in_vain(tx: Tx, target: str, now: datetime) -> None:
    """Whoever told it last has not reached it, or it does not say any more that it is safe: it is told again in a minute, and so
    on."""
    latch = latches.lock(tx, [target], now)[target]
    if latch.state is LatchState.safe and latch.due_at is None:
        latches.save(tx, replace(latch, verified_at=None, due_at=now + TOLD_AGAIN))


def in_vain(tx: Tx, rules: Rules, latch: Latch) -> dict[str, str]:
    names = {rule.name for rule in tellers(rules, latch)}
    found = latches.telling(tx, latch.target, latch.generation).in_vain
    return {name: run_id for name, run_id in found.items() if name in names}


def tell_again(tx: Tx, rules: Rules, incident: Incident, latch: Latch, now: datetime) -> None:
    """Make the same runs due once more. Where an action has gone from the configuration, another with that target tells it. As
    often as it takes, and with no other page than the first."""
    failed = in_vain(tx, rules, latch)
    is_confirmed = bool(latches.telling(tx, latch.target, latch.generation).confirmed) and not failed
    latches.tell_again(tx, failed.values(), now)
    if not failed and not is_confirmed:
        runs.propose(tx, [run_row(tx.new_id(), rules, incident, rule, latch.target, now, round=latch.generation)
                          for rule in tellers(rules, latch)[:1]])
    latches.save(tx, replace(latch, verified_at=latch.verified_at or now if is_confirmed else None,
                             due_at=None if is_confirmed else now + TOLD_AGAIN))
