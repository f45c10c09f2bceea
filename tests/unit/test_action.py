"""Which actions an alert calls for, and on which targets; reasons and states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerthub.domain.action import (
    REASON_TEXT,
    Proposal,
    Reason,
    RunState,
    after_crash,
    on_targets,
    proposals,
)
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction
from tests.kit.alerts import firing
from tests.kit.world import rules_for, safe_mode

S, R = RunState, Reason


def rule(direction: Direction = Direction.neutral, **fields: Any) -> ActionRule:
    return ActionRule("retrain", "http", direction, **{"targets": ("queue",), "version": "1", **fields})


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
