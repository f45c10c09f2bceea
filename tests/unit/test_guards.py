"""The guards, purely: whether a run may start now, which reason wins, and that nothing holds a tighten."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.domain.action import REASON_TEXT, Reason, RunState
from alerthub.domain.approval import Tally
from alerthub.domain.guard import START_WITHIN, Decision, Facts, may_go_on, may_start, mode_of
from alerthub.domain.latch import LatchState
from alerthub.domain.rules import ActionRule, Approval, Blast, Circuit, Direction, Guards, RunMode
from tests.kit.clock import START

NOW = START
MINUTE, MOMENT, HOUR = timedelta(minutes=1), timedelta(microseconds=1), timedelta(hours=1)
TWO = Approval("risk", 2, 15 * MINUTE)
NEUTRAL, RELAX, TIGHTEN = Direction.neutral, Direction.relax, Direction.tighten
S, R, M = RunState, Reason, RunMode
FIVE = tuple(f"t{number}" for number in range(5))
AGREED = {"latch": LatchState.releasing, "latch_seq": 7, "round": 7}


def rule(**fields: Any) -> ActionRule:
    return ActionRule("retrain", "http", NEUTRAL, **{"targets": ("queue",), "version": "1", **fields})


def facts(direction: Direction = NEUTRAL, **fields: Any) -> Facts:
    usual: dict[str, Any] = {"is_open": True, "rule_version": "1", "proposed_version": "1", "proposed_at": NOW, "target": "queue"}
    return Facts(direction, **{**usual, **fields})


def said(approved: int = 0, *, denied: tuple[str, ...] = (), count: int = 2) -> dict[str, Tally]:
    return {"tally": Tally(tuple("abcdef"[:approved]), denied, max(0, count - approved))}


def failed(times: int, ago: timedelta, **fields: Any) -> dict[str, Any]:
    return {"failures": times, "last_failed": NOW - ago, **fields}


def touched(*names: str) -> dict[str, Any]:
    return {"touched": frozenset(names)}


THREE = {"circuit": Circuit(3, HOUR)}
GUARDS: list[tuple[str, dict[str, Any], dict[str, Any], RunState, Reason]] = [
    ("nothing speaks against it", {}, {}, S.approved, R.allowed),
    # the rule
    ("the action was changed", {}, {"rule_version": "2"}, S.refused, R.rule_changed),
    ("the action is no longer there", {}, {"rule_version": ""}, S.refused, R.rule_changed),
    # the incident
    ("the incident is over", {}, {"is_open": False}, S.refused, R.incident_closed),
    # freeze
    ("frozen", {}, {"frozen": "ayse froze all actions"}, S.refused, R.frozen),
    # circuit
    ("one failure less than opens it", THREE, failed(2, MOMENT), S.approved, R.allowed),
    ("as many failures as open it", THREE, failed(3, MOMENT), S.refused, R.circuit_open),
    ("one more", THREE, failed(4, MOMENT), S.refused, R.circuit_open),
    ("open until the last moment", THREE, failed(3, HOUR - MOMENT), S.refused, R.circuit_open),
    ("tried again after the reset", THREE, failed(3, HOUR), S.approved, R.allowed),
    ("by one run at a time", THREE, failed(3, HOUR, is_under_way=True), S.refused, R.circuit_open),
    ("closed, and another run is under way", THREE, failed(2, MOMENT, is_under_way=True), S.approved, R.allowed),
    ("failed, by another clock, in the future", THREE, failed(3, -HOUR), S.refused, R.circuit_open),
    ("has no circuit", {"circuit": Circuit(0, HOUR)}, failed(99, MOMENT), S.approved, R.allowed),
    # cooldown
    ("ran a moment ago", {"cooldown": MINUTE}, {"last_started": NOW - MOMENT}, S.refused, R.cooling_down),
    ("ran just within the cooldown", {"cooldown": MINUTE}, {"last_started": NOW - MINUTE + MOMENT}, S.refused, R.cooling_down),
    ("ran a cooldown ago", {"cooldown": MINUTE}, {"last_started": NOW - MINUTE}, S.approved, R.allowed),
    ("ran, by another clock, in the future", {"cooldown": MINUTE}, {"last_started": NOW + MINUTE}, S.refused, R.cooling_down),
    ("ran now, and has no cooldown", {}, {"last_started": NOW}, S.approved, R.allowed),
    # cap
    ("below the cap", {"max_per_hour": 2}, {"started_last_hour": 1}, S.approved, R.allowed),
    ("at the cap", {"max_per_hour": 2}, {"started_last_hour": 2}, S.refused, R.over_hourly_limit),
    ("over the cap", {"max_per_hour": 2}, {"started_last_hour": 3}, S.refused, R.over_hourly_limit),
    ("has no cap", {}, {"started_last_hour": 10_000}, S.approved, R.allowed),
    # of all; the usual limit is 60
    ("below the cap of all", {}, {"all_started_last_hour": 59}, S.approved, R.allowed),
    ("at the cap of all", {}, {"all_started_last_hour": 60}, S.refused, R.over_limit_of_all),
    ("over the cap of all", {}, {"all_started_last_hour": 61}, S.refused, R.over_limit_of_all),
    # blast radius, by count
    ("the first target", {"blast": Blast(2)}, touched(), S.approved, R.allowed),
    ("the last target that may be", {"blast": Blast(2)}, touched("a"), S.approved, R.allowed),
    ("one target too many", {"blast": Blast(2)}, touched("a", "b"), S.refused, R.blast_radius),
    ("two too many", {"blast": Blast(2)}, touched("a", "b", "c"), S.refused, R.blast_radius),
    ("a target that was touched already", {"blast": Blast(2)}, touched("a", "queue"), S.approved, R.allowed),
    # blast radius, by per cent
    ("40 % of five, the second", {"blast": Blast(percent=40), "targets": FIVE}, touched("a"), S.approved, R.allowed),
    ("40 % of five, the third", {"blast": Blast(percent=40), "targets": FIVE}, touched("a", "b"), S.refused, R.blast_radius),
    ("59 % of five are two", {"blast": Blast(percent=59), "targets": FIVE}, touched("a", "b"), S.refused, R.blast_radius),
    ("10 % of five are one", {"blast": Blast(percent=10), "targets": FIVE}, touched(), S.approved, R.allowed),
    ("10 % of five are not two", {"blast": Blast(percent=10), "targets": FIVE}, touched("a"), S.refused, R.blast_radius),
    ("the smaller of both limits", {"blast": Blast(3, 40), "targets": FIVE}, touched("a", "b"), S.refused, R.blast_radius),
    ("the other is the smaller", {"blast": Blast(1, 80), "targets": FIVE}, touched("a"), S.refused, R.blast_radius),
    # approval
    ("nobody was asked yet", {"approval": TWO}, {}, S.awaiting_approval, R.needs_approval),
    ("nobody approved yet", {"approval": TWO}, said(0), S.awaiting_approval, R.needs_approval),
    ("one of two approved", {"approval": TWO}, said(1), S.awaiting_approval, R.needs_approval),
    ("both approved", {"approval": TWO}, said(2), S.approved, R.allowed),
    ("more than needed approved", {"approval": TWO}, said(3), S.approved, R.allowed),
    ("one said no", {"approval": TWO}, said(1, denied=("ece",)), S.refused, R.denied),
    ("one said no after two approved", {"approval": TWO}, said(2, denied=("ece",)), S.refused, R.denied),
    ("at the last moment of waiting", {"approval": TWO}, {"proposed_at": NOW - 15 * MINUTE}, S.awaiting_approval,
     R.needs_approval),
    ("waited too long", {"approval": TWO}, {"proposed_at": NOW - 15 * MINUTE - MOMENT}, S.expired, R.not_approved),
    ("approved while the hub was down", {"approval": TWO},
     {**said(2), "proposed_at": NOW - 15 * MINUTE - START_WITHIN}, S.approved, R.allowed),
    ("approved, and then the hub was down for long", {"approval": TWO},
     {**said(2), "proposed_at": NOW - 15 * MINUTE - START_WITHIN - MOMENT}, S.expired, R.too_old),
    # mode
    ("shadow", {"mode": M.shadow}, {}, S.approved, R.shadow),
    ("dry run", {"mode": M.dry_run}, {}, S.approved, R.dry_run),
    ("nobody is asked about a rehearsal", {"mode": M.shadow, "approval": TWO}, {}, S.approved, R.shadow),
    ("a rehearsal obeys the guards", {"mode": M.dry_run}, {"is_open": False}, S.refused, R.incident_closed),
    # age
    ("as old as may be", {}, {"proposed_at": NOW - START_WITHIN}, S.approved, R.allowed),
    ("too old", {}, {"proposed_at": NOW - START_WITHIN - MOMENT}, S.expired, R.too_old),
    # a release needs none of what holds only for releases
    ("latched, and not to be released", {}, {"latch": LatchState.safe, "unproved": "it still fires"}, S.approved, R.allowed),
]


def ids(cases: list[Any]) -> list[str]:
    return [case[0] for case in cases]


@pytest.mark.parametrize(("title", "its", "world", "state", "reason"), GUARDS, ids=ids(GUARDS))
def test_whether_a_run_may_start(title: str, its: dict[str, Any], world: dict[str, Any], state: RunState, reason: Reason) -> None:
    assert may_start(rule(**its), facts(**world), NOW) == Decision(state, reason), title


@pytest.mark.parametrize(("title", "its", "world", "state", "reason"), GUARDS, ids=ids(GUARDS))
def test_no_guard_holds_a_tighten(title: str, its: dict[str, Any], world: dict[str, Any], state: RunState,
                                  reason: Reason) -> None:
    assert may_start(rule(**its), facts(TIGHTEN, **world), NOW, Guards(1, M.shadow)) == Decision(S.approved, R.tighten), title


ORDER: list[tuple[Reason, dict[str, Any], dict[str, Any]]] = [
    (R.rule_changed, {}, {"rule_version": "2"}),
    (R.incident_closed, {}, {"is_open": False}),
    (R.denied, {"approval": TWO}, said(0, denied=("ece",))),
    (R.frozen, {}, {"frozen": "ayse"}),
    (R.circuit_open, {}, failed(3, MOMENT)),
    (R.cooling_down, {"cooldown": MINUTE}, {"last_started": NOW}),
    (R.over_hourly_limit, {"max_per_hour": 1}, {"started_last_hour": 1}),
    (R.over_limit_of_all, {}, {"all_started_last_hour": 60}),
    (R.blast_radius, {"blast": Blast(1)}, touched("a")),
    (R.not_approved, {"approval": TWO}, {"proposed_at": NOW - HOUR}),
    (R.too_old, {}, {"proposed_at": NOW - HOUR}),
]


@pytest.mark.parametrize("winner", range(len(ORDER) - 1), ids=[case[0].value for case in ORDER[:-1]])
def test_which_reason_wins_when_several_speak_against_it(winner: int) -> None:
    its: dict[str, Any] = {}
    world: dict[str, Any] = {}
    for _, more, known in reversed(ORDER[winner:]):
        its, world = {**its, **more}, {**world, **known}
    assert may_start(rule(**its), facts(**world), NOW).reason is ORDER[winner][0]


RELEASES: list[tuple[str, dict[str, Any], Reason]] = [
    ("proved and agreed", {}, R.allowed),
    ("its incident is resolved, as it should be", {"is_open": False}, R.allowed),
    ("the action was changed", {"rule_version": "2"}, R.rule_changed),
    ("made safe again", {"latch": LatchState.safe}, R.latch_moved),
    ("armed already", {"latch": LatchState.armed}, R.latch_moved),
    ("only asked for", {"latch": LatchState.release_requested}, R.latch_moved),
    ("released already", {"latch": LatchState.released}, R.latch_moved),
    ("an earlier release", {"latch_seq": 6}, R.latch_moved),
    ("a later release", {"latch_seq": 8}, R.latch_moved),
    ("it fires again", {"unproved": "#1, which latched it, is still open"}, R.not_proved),
    ("frozen", {"frozen": "ayse froze all actions"}, R.frozen),
    ("below the cap of all", {"all_started_last_hour": 59}, R.allowed),
    ("at the cap of all", {"all_started_last_hour": 60}, R.over_limit_of_all),
    ("the circuit is about what alerts call for", failed(3, MOMENT), R.allowed),
    ("as old as may be", {"proposed_at": NOW - START_WITHIN}, R.allowed),
    ("too old", {"proposed_at": NOW - START_WITHIN - MOMENT}, R.too_old),
]


@pytest.mark.parametrize(("title", "world", "reason"), RELEASES, ids=ids(RELEASES))
def test_a_release_starts_only_by_its_latch(title: str, world: dict[str, Any], reason: Reason) -> None:
    """Of an action that tightens, and whatever the mode of all: nothing but the latch and a freeze says anything to it."""
    decision = may_start(rule(approval=TWO), facts(RELAX, **{**AGREED, **world}), NOW, Guards(mode=M.shadow))
    assert (decision.reason, decision.state is S.approved) == (reason, reason is R.allowed), title


@pytest.mark.parametrize(("own", "of_all", "mode"), [
    (M.live, M.live, M.live), (M.dry_run, M.live, M.dry_run), (M.shadow, M.live, M.shadow), (M.live, M.dry_run, M.dry_run),
    (M.shadow, M.dry_run, M.shadow), (M.dry_run, M.shadow, M.shadow), (M.live, M.shadow, M.shadow),
])
def test_the_weaker_mode_counts_and_only_for_what_neither_tightens_nor_releases(own: RunMode, of_all: RunMode,
                                                                               mode: RunMode) -> None:
    assert mode_of(rule(mode=own), NEUTRAL, Guards(mode=of_all)) is mode
    assert {mode_of(rule(mode=own), direction, Guards(mode=of_all)) for direction in (TIGHTEN, RELAX)} == {M.live}


@pytest.mark.parametrize(("direction", "world", "reason"), [
    (NEUTRAL, {"all_started_last_hour": 99}, None), (NEUTRAL, {"is_open": False}, R.incident_closed),
    (NEUTRAL, {"proposed_at": NOW - 9 * START_WITHIN, "started_at": NOW - START_WITHIN}, None),
    (NEUTRAL, {"started_at": NOW - START_WITHIN - timedelta(seconds=1)}, R.too_old),
    (NEUTRAL, {"frozen": "ayse"}, R.frozen), (NEUTRAL, {"rule_version": "2"}, R.rule_changed),
    (RELAX, AGREED, None), (RELAX, {**AGREED, "frozen": "ayse"}, R.frozen), (RELAX, {**AGREED, "latch_seq": 8}, R.latch_moved),
    (RELAX, {**AGREED, "unproved": "fires"}, R.not_proved), (TIGHTEN, {"frozen": "ayse", "rule_version": "2"}, None),
])
def test_what_a_crash_cut_off_goes_on_only_while_nobody_wants_it_otherwise(direction: Direction, world: dict[str, Any],
                                                                          reason: Reason | None) -> None:
    against = may_go_on(rule(), facts(direction, **world), NOW)
    assert (against.reason if against is not None else None) is reason


@pytest.mark.parametrize(("title", "its", "world", "state", "reason"), [case for case in GUARDS if case[3] is not S.approved],
                         ids=[case[0] for case in GUARDS if case[3] is not S.approved])
def test_every_refusal_says_why(title: str, its: dict[str, Any], world: dict[str, Any], state: RunState, reason: Reason) -> None:
    text = may_start(rule(**its), facts(**world), NOW).text
    assert text
    assert text == REASON_TEXT[reason] or any(sign.isdigit() for sign in text) or "ayse" in text or "ece" in text or (
        "another run" in text), title


def test_the_time_of_an_open_circuit_is_that_of_the_place_where_people_read_it() -> None:
    world = facts(**failed(3, MOMENT))
    until = NOW - MOMENT + HOUR
    for zone, shift, name in (("UTC", 0, "UTC"), ("Europe/Istanbul", 3, "+03")):
        said = may_start(rule(**THREE), world, NOW, Guards(time_zone=zone)).text
        assert said.endswith(f"it is tried again after {until + timedelta(hours=shift):%H:%M} {name}")


# -- whatever the facts

instants = st.integers(-10**6, 10**6).map(lambda seconds: NOW + timedelta(seconds=seconds))
spans = st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds))
names = st.lists(st.sampled_from("abc"), unique=True).map(tuple)
tallies = st.none() | st.builds(Tally, names, names, st.integers(0, 2))
any_facts = st.builds(
    Facts, st.sampled_from(Direction), is_open=st.booleans(), rule_version=st.sampled_from(["", "1", "2"]),
    proposed_version=st.sampled_from(["1", "2"]), proposed_at=instants, target=st.sampled_from("abc"),
    frozen=st.sampled_from(["", "ayse"]), last_started=st.none() | instants, started_last_hour=st.integers(0, 9),
    all_started_last_hour=st.integers(0, 9), touched=st.frozensets(st.sampled_from("abc")), failures=st.integers(0, 5),
    last_failed=st.none() | instants, is_under_way=st.booleans(), tally=tallies, latch=st.sampled_from(LatchState),
    latch_seq=st.integers(0, 2), round=st.integers(0, 2), unproved=st.sampled_from(["", "it fires"]))
any_rules = st.builds(
    ActionRule, st.just("a"), st.just("http"), st.sampled_from(Direction), targets=names, cooldown=spans,
    max_per_hour=st.integers(0, 5), approval=st.none() | st.builds(Approval, st.just("risk"), st.integers(1, 3), spans),
    mode=st.sampled_from(RunMode), blast=st.builds(Blast, st.integers(0, 3), st.integers(0, 100), spans),
    circuit=st.builds(Circuit, st.integers(0, 3), spans))
any_guards = st.builds(Guards, st.integers(0, 9), st.sampled_from(RunMode))


@settings(deadline=None)
@given(any_rules, any_facts, any_guards, instants)
def test_a_tighten_is_approved_whatever_the_facts(its: ActionRule, world: Facts, guards: Guards, now: datetime) -> None:
    tighten = replace(world, direction=TIGHTEN)
    assert may_start(its, tighten, now, guards) == Decision(S.approved, R.tighten)
    assert may_go_on(its, tighten, now) is None
    assert mode_of(its, TIGHTEN, guards) is M.live


@settings(deadline=None)
@given(any_rules, any_facts, any_guards, instants)
def test_nothing_else_starts_past_a_guard(its: ActionRule, world: Facts, guards: Guards, now: datetime) -> None:
    decision = may_start(its, world, now, guards)
    assert (decision.reason is R.tighten) is (world.direction is TIGHTEN)
    assert (decision.reason in (R.tighten, R.allowed, R.shadow, R.dry_run)) is (decision.state is S.approved)
    if decision.state is not S.approved or world.direction is TIGHTEN:
        return
    assert world.rule_version == world.proposed_version
    assert not world.frozen
    assert not guards.max_per_hour or world.all_started_last_hour < guards.max_per_hour
    if world.direction is RELAX:
        assert (world.latch, world.latch_seq, world.unproved) == (LatchState.releasing, world.round, "")
        return
    assert world.is_open
    assert world.last_started is None or now - world.last_started >= its.cooldown
    assert not its.max_per_hour or world.started_last_hour < its.max_per_hour
    assert not its.blast.targets or len(world.touched | {world.target}) <= max(its.blast.targets, len(world.touched))
    assert its.approval is None or decision.reason is not R.allowed or (world.tally is not None and world.tally.is_enough)
    assert world.tally is None or not world.tally.denied
    assert now - world.proposed_at <= START_WITHIN + (its.approval.within if its.approval else timedelta(0))
