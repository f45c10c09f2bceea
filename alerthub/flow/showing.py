"""What exactly somebody is asked to agree to, line by line: what they see is what they sign (OWASP Transaction Authorization)."""

from __future__ import annotations

from collections.abc import Mapping

from alerthub.domain.action import RunState
from alerthub.domain.approval import Asked
from alerthub.domain.command import Verb
from alerthub.domain.rules import Rules
from alerthub.flow import asking
from alerthub.store import alerts as alert_store
from alerthub.store import latches, runs, votes
from alerthub.store.tx import Tx

LABELS = 12         # of the alert, shown
VALUE = 200         # characters of one


def effect_of(tx: Tx, rules: Rules, verb: Verb, subject: str) -> tuple[str, ...]:
    """Nothing when it does not wait any more."""
    if verb is Verb.release:
        return asks_for_release(tx, rules, subject)
    prefix, _, rest = subject.partition(":")
    return of_release(tx, rules, subject, rest.rpartition(":")[0]) if prefix == "latch" else of_run(tx, rules, subject)


def of_run(tx: Tx, rules: Rules, run_id: str) -> tuple[str, ...]:
    run = runs.find(tx, run_id) if run_id else None
    asked = asking.question_of(rules, run, votes.of(tx, [run.subject])) if run else None
    if run is None or asked is None or run.state is not RunState.awaiting_approval:
        return ()
    return lines_of_run(rules, run, asked)


def lines_of_run(rules: Rules, run: runs.Run, asked: Asked) -> tuple[str, ...]:
    """What is done when enough people agree to it. `asked` is the question about this very run."""
    rule = rules.actions[run.action]
    return (f"Action: {run.action} (type {rule.type}, {run.direction})", f"Target: {run.target or 'none'}", *rule.does,
            f"Because of: {run.why}", *labels(run.labels), f"Asked for by: {run.asked_by or 'the alert'}",
            f"Must agree: {asked.approval.count} of {asked.approval.role}, until {asked.until:%Y-%m-%d %H:%M} UTC",
            *agreed(asked.tally(rules.people).approved), f"Code: {run.code}; settings {run.rule_version}")


def of_release(tx: Tx, rules: Rules, subject: str, target: str) -> tuple[str, ...]:
    latch = latches.find(tx, target)
    asked = asking.request_of(rules, latch, votes.of(tx, [subject])) if latch and latch.subject == subject else None
    if latch is None or asked is None:
        return ()
    why = [f"Why: {latch.why}"] if latch.why else []
    return (*release_lines(tx, rules, target), f"Asked for by: {asked.asked_by}", *why,
            f"Must agree: {asked.approval.count} of {asked.approval.role}, until {asked.until:%Y-%m-%d %H:%M} UTC",
            *agreed(asked.tally(rules.people).approved))


def asks_for_release(tx: Tx, rules: Rules, target: str) -> tuple[str, ...]:
    latch = latches.find(tx, target) if target else None
    if latch is None or not latch.state.is_safe:
        return ()
    needed = asking.release_of(rules, target).approval
    return (*release_lines(tx, rules, target), f"Then must agree: {needed.count} of {needed.role}, none of them you")


def release_lines(tx: Tx, rules: Rules, target: str) -> tuple[str, ...]:
    latch, rule = latches.find(tx, target), asking.release_of(rules, target)
    incident = alert_store.find_incident(tx, latch.incident_id) if latch and latch.incident_id else None
    because = [f"Made safe by: {latch.action}, because of #{incident.number} {incident.title}"] if latch and incident else []
    told = f"; it is told the mode {rule.mode!r}" if rule.mode else ""
    return (f"Target: {target} leaves its safe state{told}", *because)


def labels(found: Mapping[str, str]) -> list[str]:
    shown = [f"{name}={value[:VALUE]}" for name, value in sorted(found.items())]
    more = f" and {len(shown) - LABELS} more" if len(shown) > LABELS else ""
    return [f"The alert: {', '.join(shown[:LABELS])}{more}"] if shown else []


def agreed(names: tuple[str, ...]) -> list[str]:
    return [f"Agreed already: {', '.join(names)}"] if names else []
