"""Who may agree to what waits for people, and when there are enough of them. Pure. Votes are of persons: two accounts of one
human are one vote (R-43)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alerthub.domain.person import Person
from alerthub.domain.rules import Approval


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


def tally(votes: Sequence[Vote], approval: Approval, people: Mapping[str, Person], asked_by: str) -> Tally:
    counted = [vote for vote in votes if vote.person != asked_by
               and (person := people.get(vote.person)) is not None and person.may_approve(approval.role)]
    approved = tuple(dict.fromkeys(vote.person for vote in counted if vote.verdict is Verdict.approve))
    denied = tuple(dict.fromkeys(vote.person for vote in counted if vote.verdict is Verdict.deny))
    return Tally(approved, denied, max(0, approval.count - len(approved)))


def approvers(people: Mapping[str, Person], approval: Approval, asked_by: str = "") -> list[Person]:
    """Who may be asked, in the order of the configuration."""
    return [person for name, person in people.items() if name != asked_by and person.may_approve(approval.role)]
