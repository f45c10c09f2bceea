"""Who may agree to what waits for people, and when there are enough of them. Pure. Votes are of persons: two accounts of one
human are one vote (R-43)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alerthub.domain.answer import DONE, Decision, Why, refused
from alerthub.domain.command import Outcome
from alerthub.domain.local_time import clock_time
from alerthub.domain.person import Person, Right
from alerthub.domain.rules import Approval

REFERENCE = 13      # characters: `t` and half a word of a hash; a run's code has no `t` in it
SHOWN = 3           # questions with buttons in one message; the others are named


class Verdict(StrEnum):
    approve = "approve"
    deny = "deny"


@dataclass(frozen=True, slots=True)
class Vote:
    """`account` is how they proved who they are, `via` the door."""

    person: str
    account: str
    via: str
    verdict: Verdict
    at: datetime


@dataclass(frozen=True, slots=True)
class Tally:
    """Of the votes that still count: their people are still here and still have the role (R-42)."""

    approved: tuple[str, ...]
    denied: tuple[str, ...]
    missing: int

    @property
    def is_enough(self) -> bool:
        return not self.denied and self.missing == 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to people: whether to run an action (`what`: "retrain on drl"), or "the release of agent-btc". `code` is what
    people write to name it, `reference` what a button holds: exactly this request, whatever comes later."""

    subject: str
    what: str
    approval: Approval
    until: datetime
    code: str
    reference: str
    asked_by: str = ""
    votes: tuple[Vote, ...] = ()
    is_release: bool = False

    def tally(self, people: Mapping[str, Person]) -> Tally:
        return tally(self.votes, self.approval, people, self.asked_by)


def reference(text: str) -> str:
    """A short name for a target, or for a request to release one, that fits into a button whatever the name."""
    return "t" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:REFERENCE - 1]


def tally(votes: Sequence[Vote], approval: Approval, people: Mapping[str, Person], asked_by: str) -> Tally:
    counted = [vote for vote in votes if vote.person != asked_by
               and (person := people.get(vote.person)) is not None and person.may_approve(approval.role)]
    approved = tuple(dict.fromkeys(vote.person for vote in counted if vote.verdict is Verdict.approve))
    denied = tuple(dict.fromkeys(vote.person for vote in counted if vote.verdict is Verdict.deny))
    return Tally(approved, denied, max(0, approval.count - len(approved)))


def approvers(people: Mapping[str, Person], approval: Approval, asked_by: str = "") -> list[Person]:
    """Who may be asked, in the order of the configuration."""
    return [person for name, person in people.items() if name != asked_by and person.may_approve(approval.role)]


def voting(asked: Asked, person: Person, verdict: Verdict, now: datetime) -> Decision:
    """What becomes of a word of this person. Who has agreed may still deny; nothing else is said twice. That a target stays safe
    may be said by anybody who may respond or approve, and by whoever asked."""
    if asked.is_release and verdict is Verdict.deny and (
            person.name == asked.asked_by or person.may(Right.respond) or person.may(Right.approve)):
        return DONE
    if not person.may_approve(asked.approval.role):
        return refused(Why.not_allowed, f"About {asked.what} people with the role {asked.approval.role} decide; {person.name} is "
                       f"{person.role} here. Nothing was done.")
    if person.name == asked.asked_by:
        return refused(Why.own_request, f"You asked for it yourself: others must agree to {asked.what} (two-person rule).")
    if now > asked.until:
        return refused(Why.is_expired, f"Too late: {asked.what} could be approved until {asked.until:%H:%M} UTC. Nothing was "
                       "done.")
    before = next((vote.verdict for vote in asked.votes if vote.person == person.name), None)
    if before is not None and (before is verdict or before is Verdict.deny):
        said = "agreed to" if before is Verdict.approve else "denied"
        return Decision(Outcome.already, f"You have {said} {asked.what} already.", Why.so_already)
    return DONE


def said_by(person: str, verdict: Verdict, asked: Asked, counted: Tally) -> str:
    """The line of history about one vote."""
    if verdict is Verdict.deny and person == asked.asked_by:
        return f"{person} calls off {asked.what}"
    if verdict is Verdict.deny:
        return f"{person} denies {asked.what}"
    return f"{person} agrees to {asked.what} ({len(counted.approved)} of {asked.approval.count})"


def waiting_line(asked: Asked, people: Mapping[str, Person], zone: str, now: datetime) -> str:
    """`retrain on drl waits for 1 of ml until 14:05 UTC …`"""
    counted = asked.tally(people)
    who = f", asked for by {asked.asked_by}," if asked.asked_by else ""
    agreed = f"; agreed: {', '.join(counted.approved)}" if counted.approved else ""
    state = (f"waits for {counted.missing} of {asked.approval.role} until {clock_time(asked.until, zone, now)}" if counted.missing
             else "has been agreed to")
    return f"{asked.what}{who} {state}{agreed} (code {asked.code})."
