"""The guards: which actions an alert calls for, on which targets, and whether each may start now, with a named reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerthub.domain.action import (
    REASON_TEXT,
    START_WITHIN,
    Decision,
    Facts,
    Proposal,
    Reason,
    RunState,
    after_crash,
    may_start,
    on_targets,
    proposals,
)
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Approval, Direction
from tests.kit.alerts import firing
from tests.kit.clock import START
from tests.kit.world import rules_for, safe_mode

NOW = START
MINUTE, MOMENT = timedelta(minutes=1), timedelta(microseconds=1)
TWO_PEOPLE = Approval("risk", 2, 15 * MINUTE)
S, R = RunState, Reason


def rule(direction: Direction = Direction.neutral, **fields: Any) -> ActionRule:
    return ActionRule("retrain", "http", direction, **{"targets": ("queue",), "version": "1", **fields})


def facts(**fields: Any) -> Facts:
    usual: dict[str, Any] = {"is_open": True, "rule_version": "1", "proposed_version": "1", "proposed_at": NOW}
    return Facts(**{**usual, **fields})


# -- may_start: (title, rule, facts, state, reason)

GUARDS: list[tuple[str, dict[str, Any], dict[str, Any], RunState, Reason]] = [
    ("nothing speaks against it", {}, {}, S.approved, R.allowed),
    # the rule
    ("the action was changed", {}, {"rule_version": "2"}, S.refused, R.rule_changed),
    ("the action is no longer there", {}, {"rule_version": ""}, S.refused, R.rule_changed),
    # the incident
    ("the incident is over", {}, {"is_open": False}, S.refused, R.incident_closed),
    # cooldown
    ("ran a moment ago", {"cooldown": MINUTE}, {"last_started": NOW - MOMENT}, S.refused, R.cooling_down),
    ("ran just within the cooldown", {"cooldown": MINUTE}, {"last_started": NOW - MINUTE + MOMENT}, S.refused, R.cooling_down),
    ("ran a cooldown ago", {"cooldown": MINUTE}, {"last_started": NOW - MINUTE}, S.approved, R.allowed),
    ("ran, by another clock, in the future", {"cooldown": MINUTE}, {"last_started": NOW + MINUTE}, S.refused, R.cooling_down),
    ("ran now, and has no cooldown", {}, {"last_started": NOW}, S.approved, R.allowed),
    # cap
    ("below the cap", {"max_per_hour": 2}, {"started_last_hour": 1}, S.approved, R.allowed),
    ("at the cap", {"max_per_hour": 2}, {"started_last_hour": 2}, S.refused, R.over_hourly_limit),
    ("over the cap", {"max_per_hour": 2}, {"started_last_hour": 9}, S.refused, R.over_hourly_limit),
    ("has no cap", {}, {"started_last_hour": 10_000}, S.approved, R.allowed),
    # approval
    ("nobody approved yet", {"approval": TWO_PEOPLE}, {}, S.awaiting_approval, R.needs_approval),
    ("one of two approved", {"approval": TWO_PEOPLE}, {"approvals": 1}, S.awaiting_approval, R.needs_approval),
    ("both approved", {"approval": TWO_PEOPLE}, {"approvals": 2}, S.approved, R.allowed),
    ("at the last moment of waiting", {"approval": TWO_PEOPLE}, {"proposed_at": NOW - 15 * MINUTE}, S.awaiting_approval,
     R.needs_approval),
    ("waited too long", {"approval": TWO_PEOPLE}, {"proposed_at": NOW - 15 * MINUTE - MOMENT}, S.expired, R.needs_approval),
    ("approved while the hub was down", {"approval": TWO_PEOPLE},
     {"approvals": 2, "proposed_at": NOW - 15 * MINUTE - START_WITHIN}, S.approved, R.allowed),
    ("approved, and then the hub was down for long", {"approval": TWO_PEOPLE},
     {"approvals": 2, "proposed_at": NOW - 15 * MINUTE - START_WITHIN - MOMENT}, S.expired, R.too_old),
    # age
    ("as old as may be", {}, {"proposed_at": NOW - START_WITHIN}, S.approved, R.allowed),
    ("too old", {}, {"proposed_at": NOW - START_WITHIN - MOMENT}, S.expired, R.too_old),
    # what speaks first, when several do
    ("changed, closed, cooling", {"cooldown": MINUTE}, {"rule_version": "2", "is_open": False, "last_started": NOW}, S.refused,
     R.rule_changed),
    ("closed, cooling", {"cooldown": MINUTE}, {"is_open": False, "last_started": NOW}, S.refused, R.incident_closed),
    ("cooling, over the cap", {"cooldown": MINUTE, "max_per_hour": 1}, {"last_started": NOW, "started_last_hour": 1}, S.refused,
     R.cooling_down),
    ("over the cap, not approved", {"approval": TWO_PEOPLE, "max_per_hour": 1}, {"started_last_hour": 1}, S.refused,
     R.over_hourly_limit),
]


@pytest.mark.parametrize(("settings", "world", "state", "reason"), [case[1:] for case in GUARDS],
                         ids=[case[0] for case in GUARDS])
@pytest.mark.parametrize("direction", [Direction.neutral, Direction.relax])
def test_whether_a_run_may_start(direction: Direction, settings: dict[str, Any], world: dict[str, Any], state: RunState,
                                 reason: Reason) -> None:
    assert may_start(rule(direction, **settings), facts(**world), NOW) == Decision(state, reason)


@pytest.mark.parametrize(("settings", "world"), [case[1:3] for case in GUARDS], ids=[case[0] for case in GUARDS])
def test_no_guard_holds_a_tighten(settings: dict[str, Any], world: dict[str, Any]) -> None:
    assert may_start(rule(Direction.tighten, **settings), facts(**world), NOW) == Decision(S.approved, R.tighten)


instants = st.integers(-10**6, 10**6).map(lambda seconds: NOW + timedelta(seconds=seconds))
spans = st.integers(0, 10**6).map(lambda seconds: timedelta(seconds=seconds))
any_facts = st.builds(Facts, is_open=st.booleans(), rule_version=st.sampled_from(["", "1", "2"]),
                      proposed_version=st.sampled_from(["1", "2"]), proposed_at=instants,
                      last_started=st.none() | instants, started_last_hour=st.integers(0, 100), approvals=st.integers(0, 5))
approvals = st.none() | st.builds(Approval, st.just("risk"), st.integers(1, 3), spans)
any_rules = st.builds(ActionRule, st.just("a"), st.just("http"), st.sampled_from(Direction), cooldown=spans,
                      max_per_hour=st.integers(0, 5), approval=approvals)


@settings(deadline=None)
@given(any_rules, any_facts, instants)
def test_a_tighten_is_approved_whatever_the_facts(any_rule: ActionRule, world: Facts, now: datetime) -> None:
    tighten = replace(any_rule, direction=Direction.tighten)
    assert may_start(tighten, world, now) == Decision(S.approved, R.tighten)


@settings(deadline=None)
@given(any_rules, any_facts, instants)
def test_nothing_else_starts_past_a_guard(any_rule: ActionRule, world: Facts, now: datetime) -> None:
    decision = may_start(any_rule, world, now)
    assert (decision.reason is R.tighten) is (any_rule.direction is Direction.tighten)
    assert (decision.reason in (R.tighten, R.allowed)) is (decision.state is S.approved)
    assert decision.state in (S.approved, S.awaiting_approval, S.refused, S.expired)
    if decision.reason is not R.allowed:
        return
    waits = any_rule.approval.within if any_rule.approval else timedelta(0)
    assert world.is_open
    assert world.rule_version == world.proposed_version
    assert world.last_started is None or now - world.last_started >= any_rule.cooldown
    assert not any_rule.max_per_hour or world.started_last_hour < any_rule.max_per_hour
    assert any_rule.approval is None or world.approvals >= any_rule.approval.count
    assert now - world.proposed_at <= START_WITHIN + waits


def test_every_reason_has_a_text_for_people() -> None:
    assert set(REASON_TEXT) == set(Reason)
    assert all(REASON_TEXT.values())


@pytest.mark.parametrize(("found", "becomes"), [
    (safe_mode(), S.started), (rule(resumable=False), S.unknown), (None, S.unknown),
    (replace(safe_mode(), resumable=False), S.unknown),
])
def test_only_set_semantics_go_on_after_a_crash(found: ActionRule | None, becomes: RunState) -> None:
    assert after_crash(found) is becomes


def test_a_run_ends_in_five_ways() -> None:
    assert [state for state in RunState if state.is_final] == [S.succeeded, S.failed, S.unknown, S.refused, S.expired]


# -- targets: chosen among the configured ones, never built from a label

AGENTS = ("agent-btc", "agent-eth")


def chosen(found: ActionRule, **labels: str) -> list[tuple[str, Reason | None]]:
    made = on_targets(found, firing(**labels), rules_for(actions=[found], targets=[*AGENTS, "queue"]))
    return [(proposal.target, proposal.reason) for proposal in made]


@pytest.mark.parametrize(("found", "labels", "targets"), [
    (rule(), {"agent": "agent-btc"}, [("queue", None)]),
    (rule(targets=AGENTS), {}, [("agent-btc", None), ("agent-eth", None)]),
    (rule(targets=()), {"agent": "agent-btc"}, [("", None)]),
    (safe_mode(), {"agent": "agent-btc"}, [("agent-btc", None)]),
    (safe_mode(), {"agent": "agent-sol"}, [("?agent-sol", R.unknown_target)]),
    (safe_mode(), {}, [("?", R.unknown_target)]),
    (safe_mode(), {"agent": ""}, [("?", R.unknown_target)]),
    (safe_mode(targets=("agent-btc",)), {"agent": "agent-btc"}, [("agent-btc", None)]),
    (safe_mode(targets=("agent-btc",)), {"agent": "agent-eth"}, [("?agent-eth", R.unknown_target)]),
    (safe_mode(targets=("agent-gone",)), {"agent": "agent-gone"}, [("?agent-gone", R.unknown_target)]),
], ids=["fixed", "several fixed", "none needed", "by label", "a label that names none", "no label", "an empty label",
        "by label among some", "configured, but not for this action", "for this action, but not configured"])
def test_on_what_an_action_acts(found: ActionRule, labels: dict[str, str], targets: list[tuple[str, Reason | None]]) -> None:
    assert chosen(found, **labels) == targets


near = st.sampled_from(AGENTS).flatmap(lambda name: st.sampled_from([
    name, name.upper(), f" {name}", f"{name} ", f"{name}\n", f"{name}\x00", f"../{name}", f"{name}/..", f"{name},agent-eth",
    name[:-1], f"{name}é", "agent\u2010btc", f"{{{name}}}", f"http://evil/{name}", "*", ".*", "..."]))
values = near | st.text(max_size=20)
narrowed = st.lists(st.sampled_from([*AGENTS, "agent-gone"]), unique=True).map(tuple)


@settings(deadline=None)
@given(values, narrowed, st.dictionaries(st.text(max_size=5), values, max_size=3))
@example("agent-btc", (), {})
def test_a_hostile_label_never_yields_a_target_that_is_not_configured(value: str, narrow: tuple[str, ...],
                                                                      others: dict[str, str]) -> None:
    found = safe_mode(targets=narrow)
    alert = firing(**{**others, "agent": value})
    for proposal in proposals([Route("alerts", actions=("safe-mode",))], alert, rules_for(actions=[found], targets=AGENTS)):
        if proposal.reason is None:
            assert proposal.target == value
            assert proposal.target in AGENTS
            assert not narrow or proposal.target in narrow
        else:
            assert proposal.target.startswith("?")
            assert proposal.reason is R.unknown_target


def test_an_action_that_several_routes_ask_for_is_proposed_once_per_target() -> None:
    retrain = rule(targets=("queue", "agent-btc"))
    known = rules_for(actions=[safe_mode(), retrain], targets=[*AGENTS, "queue"])
    routes = [Route("alerts", actions=("safe-mode", "retrain")), Route("mail", actions=("retrain", "safe-mode")), Route("alerts")]
    alert = firing(agent="agent-btc")
    assert proposals(routes, alert, known) == [
        Proposal(known.actions["safe-mode"], "agent-btc", alert), Proposal(retrain, "queue", alert),
        Proposal(retrain, "agent-btc", alert)]


def test_a_route_without_actions_calls_for_nothing() -> None:
    assert proposals([Route("alerts")], firing(), rules_for(actions=[safe_mode()])) == []
