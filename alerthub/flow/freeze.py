"""The room of freezes: while one stands, nothing but tightening starts, whichever replica looks. Anybody who may respond can
freeze; only people whom the hub knows lift it."""

from __future__ import annotations

from datetime import datetime

from alerthub.domain.alert import Alert
from alerthub.domain.answer import TRUSTED, Who, lifts_freezes
from alerthub.domain.event import Actor, EventKind
from alerthub.domain.incident import OWN_SOURCE
from alerthub.domain.own import actions_frozen, cleared, own_batch
from alerthub.domain.person import Right
from alerthub.domain.rules import Direction, Rules
from alerthub.flow.change import NotPossible
from alerthub.flow.intake import take_in
from alerthub.flow.keep import keep
from alerthub.store import alerts as alert_store
from alerthub.store import freezes
from alerthub.store.freezes import Freeze
from alerthub.store.tx import Tx

LONGEST = 500       # characters of a reason


def freeze(tx: Tx, rules: Rules, scope: str, who: Who, why: str, now: datetime) -> str:
    """Freeze an action, or all of them (`scope` empty), from now on. Raises NotPossible."""
    if not may_freeze(who):
        raise NotPossible(f"{who.name} may not freeze actions; somebody who may respond can.")
    rule = rules.actions.get(scope)
    if scope and rule is None:
        known = ", ".join(sorted(rules.actions)) or "none"
        raise NotPossible(f"There is no action {scope[:LONGEST]}; there are {known}.")
    if rule is not None and rule.direction is Direction.tighten and not rule.releases:
        raise NotPossible(f"{scope} tightens, and nothing may hold that back.")
    new = Freeze(scope, who.name, who.account.key, " ".join(why.split())[:LONGEST], now)
    if not freezes.add(tx, new):
        raise NotPossible(f"{named(rules, scope)} frozen already.")
    say(tx, rules, alarm_of(rules, new), who, new.text(rules.answers.time_zone), now)
    only = "No target that it made safe is released; it goes on making safe" if is_tighten(rules, scope) else (
        "It does not start" if scope else "Nothing but tightening starts")
    return f"{named(rules, scope)} frozen. {only}, until a person lifts it. What is refused meanwhile is not made up for."


def lift(tx: Tx, rules: Rules, scope: str, who: Who, now: datetime) -> str:
    """End a freeze. Raises NotPossible, also for whoever is nobody in particular."""
    if who.person is None or not lifts_freezes(who.person):
        raise NotPossible("Only a person whom the hub knows, with the role admin or approver, lifts a freeze.")
    standing = {found.scope: found for found in freezes.standing(tx)}
    if scope not in standing or not freezes.lift(tx, scope, who.name, now):
        also = ", ".join(found or "all actions" for found in standing) or "none"
        raise NotPossible(f"{named(rules, scope[:LONGEST])} not frozen by itself; what is frozen: {also}.")
    found = standing.pop(scope)
    alarm = cleared(alarm_of(rules, found), now, f"{who.name} lifted the freeze")
    say(tx, rules, alarm, who, f"{who.name} lifted the freeze of {scope or 'all actions'}", now)
    left = ", ".join(other or "all actions" for other in standing)
    return f"{named(rules, scope)} not frozen any more.{f' Still frozen: {left}.' if left else ''}"


def may_freeze(who: Who) -> bool:
    """It only makes things safer, so the doors that let somebody in by themselves suffice."""
    if who.person is None:
        return who.account.kind in TRUSTED
    return who.person.may(Right.respond) or who.person.may(Right.approve)


def is_tighten(rules: Rules, scope: str) -> bool:
    """Whether a freeze of it holds its releases only."""
    rule = rules.actions.get(scope)
    return rule is not None and rule.direction is Direction.tighten


def alarm_of(rules: Rules, found: Freeze) -> Alert:
    return actions_frozen(found.scope, found.by, found.why, only_releases=is_tighten(rules, found.scope))


def named(rules: Rules, scope: str) -> str:
    if is_tighten(rules, scope):
        return f"The releases of {scope} are"
    return f"{scope} is" if scope else "All actions are"


def say(tx: Tx, rules: Rules, alarm: Alert, who: Who, text: str, now: datetime) -> None:
    """The hub's own alarm, and in its history who did it, by which account."""
    known = alert_store.current(tx, OWN_SOURCE, [alarm.identity]).values()
    at = max([now, *(max(state.changed_at, state.seen_at) for state in known)])     # another replica's clock may be ahead
    take_in(tx, rules, [own_batch([alarm], at)], now)
    state = alert_store.current(tx, OWN_SOURCE, [alarm.identity]).get(alarm.identity)
    found = alert_store.incidents_for_change(tx, [state.incident_id] if state is not None and state.incident_id else [])
    for incident in found.values():
        actor = Actor("person" if who.person is not None else "account", who.name)
        event = incident.happened(EventKind.comment, actor, text, now, {"account": who.account.key, "via": who.account.kind})
        keep(tx, [incident], [event], now)
