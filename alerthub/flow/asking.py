"""What waits for people, read from the store: runs that must be approved, and latched targets whose release is asked for. And
that those who may agree are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from alerthub.domain.action import RunState
from alerthub.domain.approval import Asked, Vote, approvers, reference
from alerthub.domain.incident import Incident
from alerthub.domain.latch import Latch, LatchState
from alerthub.domain.rules import Approval, Release, Rules
from alerthub.store import freezes, lanes, latches, votes
from alerthub.store.runs import Run
from alerthub.store.tx import Tx


def question_of(rules: Rules, run: Run, votes_of: Mapping[str, Sequence[Vote]]) -> Asked | None:
    """None where the configuration does not ask for anybody any more, or was changed since."""
    rule = rules.actions.get(run.action)
    if rule is None or rule.approval is None or rule.version != run.rule_version:
        return None
    what = f"{run.action} on {run.target}" if run.target else run.action
    return Asked(run.subject, what, rule.approval, run.created_at + rule.approval.within, run.code, run.code, run.asked_by,
                 tuple(votes_of.get(run.subject, ())))


def release_of(rules: Rules, target: str) -> Release:
    return rules.releases.get(target) or Release()


def request_of(rules: Rules, latch: Latch, votes_of: Mapping[str, Sequence[Vote]]) -> Asked | None:
    """None while nobody asks for its release."""
    if latch.state is not LatchState.release_requested or latch.due_at is None:
        return None
    return Asked(latch.subject, f"the release of {latch.target}", release_of(rules, latch.target).approval, latch.due_at,
                 latch.target, reference(latch.subject), latch.asked_by, tuple(votes_of.get(latch.subject, ())), is_release=True)


def waiting(tx: Tx, rules: Rules, incidents: Mapping[str, Incident], runs_of: Mapping[str, Sequence[Run]]) -> tuple[
        dict[str, list[Asked]], dict[str, list[Latch]]]:
    """By incident: the questions that can still be answered, newest first, and the targets that are latched by it."""
    if not rules.actions:
        return {}, {}
    pending = [run for found in runs_of.values() for run in found if is_pending(run, incidents[run.incident_id])]
    latched = [latch for latch in latches.read(tx).values() if latch.state.is_safe and latch.incident_id in incidents]
    said = votes.of(tx, [*(run.subject for run in pending), *(latch.subject for latch in latched)]) if pending or latched else {}
    asked: dict[str, list[Asked]] = {}
    for run in reversed(pending):
        if question := question_of(rules, run, said):
            asked.setdefault(run.incident_id, []).append(question)
    safe: dict[str, list[Latch]] = {}
    for latch in latched:
        safe.setdefault(latch.incident_id, []).append(latch)
        if request := request_of(rules, latch, said):
            asked.setdefault(latch.incident_id, []).insert(0, request)
    return asked, safe


def too_few(rules: Rules, approval: Approval, asked_by: str) -> str:
    """Why nobody need be asked: fewer may agree, without whoever asks, than must. Empty when there are enough."""
    able = len(approvers(rules.people, approval, asked_by))
    if able >= approval.count:
        return ""
    return (f"{approval.count} of {approval.role} must agree, and without {asked_by} there {'is' if able == 1 else 'are'} only "
            f"{able}; let somebody ask who is not of {approval.role}")


def under_freeze(tx: Tx, rules: Rules, action: str) -> str:
    """What whoever agrees to it has to know besides; empty while nothing holds it."""
    found = next((freeze for freeze in freezes.standing(tx) if freeze.holds(action)), None)
    return f" But actions are frozen ({found.text(rules.answers.time_zone)}): it does not start while they are." if found else ""


def with_vote(asked: Asked, given: Vote) -> Asked:
    """The question after this person has said so."""
    return replace(asked, votes=(*(vote for vote in asked.votes if vote.person != given.person), given))


def is_pending(run: Run, incident: Incident) -> bool:
    return run.state is RunState.awaiting_approval and run.episode == incident.episode and incident.is_open


def call_approvers(tx: Tx, rules: Rules, incident: Incident, approval: Approval, asked_by: str, now: datetime) -> dict[str, Any]:
    """Open a lane to each who may agree, by their first address. What it returns belongs into the data of the event that asks:
    by it their message interrupts. The caller stores the event, which makes the lanes due."""
    found = {}
    for person in approvers(rules.people, approval, asked_by):
        ways = [way for way in rules.contacts.get(person.name, ()) if way.key != incident.avoid]
        if ways:
            found[person.name] = ways[0]
    lanes.ensure(tx, [lanes.Opening(incident.id, way, now) for way in found.values()])
    return {"asked": list(found), "told": [way.key for way in found.values()]} if found else {}
