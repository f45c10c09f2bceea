"""Whose word counts, when there are enough, and what each is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.domain.answer import Who, Why, permission
from alerthub.domain.approval import (
    REFERENCE,
    Asked,
    Verdict,
    Vote,
    approvers,
    reference,
    said_by,
    tally,
    voting,
    waiting_line,
)
from alerthub.domain.command import GUARDED, Outcome, Token, Verb, read_token
from alerthub.domain.person import Account, Person
from alerthub.domain.rules import Approval
from tests.kit.clock import START
from tests.kit.world import rules_for

RULE = Approval("risk", 2, timedelta(minutes=15))
PEOPLE = {name: Person(name, role, frozenset(grants)) for name, role, grants in (
    ("ayse", "risk", ()), ("bora", "admin", ("risk",)), ("can", "viewer", ("risk",)), ("deniz", "admin", ()),
    ("ece", "approver", ()))}
ASKED = Asked("run:1", "retrain on drl", RULE, START + timedelta(minutes=15), "0123456789ab", "0123456789ab")


def voted(*said: str) -> tuple[Vote, ...]:
    """`ayse`, or `-ayse` against it."""
    return tuple(Vote(name.lstrip("-"), "slack:U", "slack:#a", Verdict.deny if name[0] == "-" else Verdict.approve, START)
                 for name in said)


@pytest.mark.parametrize(("said", "asker", "approved", "is_enough"), [
    ((), "", (), False), (("ayse",), "", ("ayse",), False), (("ayse", "bora"), "", ("ayse", "bora"), True),
    (("ayse", "ayse"), "", ("ayse",), False), (("ayse", "deniz", "ece"), "", ("ayse",), False),
    (("ayse", "gone"), "", ("ayse",), False), (("ayse", "bora"), "bora", ("ayse",), False),
    (("ayse", "bora", "-can"), "", ("ayse", "bora"), False), (("ayse", "bora", "-deniz"), "", ("ayse", "bora"), True),
])
def test_only_those_who_are_here_and_have_the_role_count(said: tuple[str, ...], asker: str, approved: tuple[str, ...],
                                                         is_enough: bool) -> None:
    counted = tally(voted(*said), RULE, PEOPLE, asker)
    assert (counted.approved, counted.is_enough) == (approved, is_enough)


@given(st.lists(st.sampled_from([*PEOPLE, "gone"]), max_size=12), st.sampled_from(["", *PEOPLE]))
def test_enough_means_so_many_different_people_of_the_role_without_the_asker(names: list[str], asker: str) -> None:
    counted = tally(voted(*names), RULE, PEOPLE, asker)
    assert counted.is_enough == (len({name for name in names if name in ("ayse", "bora", "can")} - {asker}) >= RULE.count)


def test_those_who_may_agree_are_asked_and_the_asker_is_not() -> None:
    assert [person.name for person in approvers(PEOPLE, RULE)] == ["ayse", "bora", "can"]
    assert [person.name for person in approvers(PEOPLE, RULE, "bora")] == ["ayse", "can"]


@pytest.mark.parametrize(("who", "verdict", "said", "asker", "minutes", "outcome", "why"), [
    ("ayse", "approve", (), "", 15, Outcome.done, Why.none),
    ("ayse", "approve", (), "", 15.1, Outcome.refused, Why.is_expired),
    ("ayse", "deny", (), "", 15.1, Outcome.refused, Why.is_expired),
    ("deniz", "approve", (), "", 0, Outcome.refused, Why.not_allowed),
    ("ece", "deny", (), "", 0, Outcome.refused, Why.not_allowed),
    ("ayse", "approve", (), "ayse", 0, Outcome.refused, Why.own_request),
    ("ayse", "deny", (), "ayse", 0, Outcome.refused, Why.own_request),
    ("ayse", "approve", ("ayse",), "", 0, Outcome.already, Why.so_already),
    ("ayse", "deny", ("ayse",), "", 0, Outcome.done, Why.none),
    ("ayse", "approve", ("-ayse",), "", 0, Outcome.already, Why.so_already),
    ("ayse", "deny", ("-ayse",), "", 0, Outcome.already, Why.so_already),
    ("can", "approve", ("ayse", "bora"), "", 0, Outcome.done, Why.none),
])
def test_each_word_has_one_end(who: str, verdict: str, said: tuple[str, ...], asker: str, minutes: float, outcome: Outcome,
                               why: Why) -> None:
    asked = replace(ASKED, votes=voted(*said), asked_by=asker)
    decision = voting(asked, PEOPLE[who], Verdict(verdict), START + timedelta(minutes=minutes))
    assert (decision.outcome, decision.why) == (outcome, why)
    assert (decision.text == "") == (outcome is Outcome.done)


def test_what_waits_is_said_in_one_line() -> None:
    assert waiting_line(ASKED, PEOPLE, "UTC", START) == "retrain on drl waits for 2 of risk until 03:15 UTC (code 0123456789ab)."
    some = replace(ASKED, votes=voted("ayse", "deniz"), asked_by="can")
    assert waiting_line(some, PEOPLE, "UTC", START) == (
        "retrain on drl, asked for by can, waits for 1 of risk until 03:15 UTC; agreed: ayse (code 0123456789ab).")
    enough = replace(ASKED, votes=voted("ayse", "bora"))
    assert "has been agreed to; agreed: ayse, bora" in waiting_line(enough, PEOPLE, "UTC", START)
    assert said_by("ayse", Verdict.approve, some, some.tally(PEOPLE)) == "ayse agrees to retrain on drl (1 of 2)"


RIGHTS = {      # approve and deny are anybody's here who is somebody: whose word counts depends on what waits
    "viewer": {"approve", "deny"}, "responder": {"approve", "deny", "release", "freeze"},
    "approver": {"approve", "deny", "release", "freeze", "unfreeze"},
    "admin": {"approve", "deny", "release", "override", "freeze", "unfreeze"},
    "risk": {"approve", "deny", "release", "freeze"}}


@pytest.mark.parametrize("role", RIGHTS)
def test_what_needs_people_is_allowed_by_role(role: str) -> None:
    who = Who(Account("slack", "U1"), Person("x", role))
    rules = replace(rules_for(), people={"x": Person("x", role)})
    assert {verb.value for verb in GUARDED if permission(rules, who, verb).is_done} == RIGHTS[role]
    # Of an account that the configuration does not name no word is counted.
    assert {verb.value for verb in GUARDED if permission(rules_for(), who, verb).is_done} == RIGHTS[role] & {"freeze"}


@pytest.mark.parametrize(("role", "grants", "lifts"), [
    ("risk", set(), False), ("risk", {"ml"}, False), ("risk", {"approver"}, True), ("viewer", {"approver"}, True),
    ("approver", set(), True), ("admin", set(), True), ("responder", set(), False)])
def test_a_freeze_is_lifted_by_approvers_and_admins_only(role: str, grants: set[str], lifts: bool) -> None:
    person = Person("x", role, frozenset(grants))
    rules = replace(rules_for(), people={"x": person})
    assert permission(rules, Who(Account("slack", "U1"), person), Verb.unfreeze).is_done is lifts


@pytest.mark.parametrize(("kind", "allowed", "why"), [
    ("api", {"freeze"}, Why.needs_person), ("cli", {"freeze"}, Why.needs_person), ("pagerduty", {"freeze"}, Why.needs_person),
    ("slack", set(), Why.unknown_account), ("token", set(), Why.unknown_account), ("link", set(), Why.unknown_account)])
def test_who_is_nobody_in_particular_may_only_freeze(kind: str, allowed: set[str], why: Why) -> None:
    decisions = {verb.value: permission(rules_for(), Who(Account(kind, "x", "ayse"), None), verb) for verb in GUARDED}
    assert {verb for verb, decision in decisions.items() if decision.is_done} == allowed
    assert {decision.why for decision in decisions.values() if not decision.is_done} == {why}


@given(st.text(max_size=300), st.integers(1, 2**40), st.integers(1, 10**6),
       st.sampled_from([Verb.approve, Verb.deny, Verb.release]))
def test_a_button_about_anything_fits_into_64_bytes_and_is_read_back(name: str, lane: int, episode: int, verb: Verb) -> None:
    token = Token(verb, lane, episode, reference(name))
    text = token.signed(b"key")
    assert len(text.encode()) <= 64
    assert read_token(text, b"key") == token
    assert (len(token.detail), token.detail[0]) == (REFERENCE, "t")
