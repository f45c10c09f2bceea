"""Where labels lead, told to people: each node once, with what it was chosen by and what keeps its actions from being run."""

from __future__ import annotations

import pytest

from alerthub.domain.leads import leads, unknown_targets
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction
from tests.kit.clock import START
from tests.kit.world import rules_for

RETRAIN = ActionRule("retrain", "http", Direction.neutral, targets=("drl", "etl"), target_label="job", version="1")
RISK = Route("alerts", parse_matchers('team="risk"'), continues=True, escalation_policy="night", place="route.routes[0]")
JOBS = Route("alerts", parse_matchers('job=~".+",env!="dev"'), actions=("retrain",), place="route.routes[1]")
RULES = rules_for(Route("alerts", routes=(RISK, JOBS)), actions=[RETRAIN], targets=["drl", "etl"])


@pytest.mark.parametrize(("some", "places"), [
    ([], []), ([{}], ["route"]), ([{"team": "risk"}], ["route.routes[0]"]), ([{"job": "etl"}], ["route.routes[1]"]),
    ([{"team": "risk", "job": "etl"}], ["route.routes[0]", "route.routes[1]"]), ([{"job": "etl", "env": "dev"}], ["route"]),
    ([{"team": "risk"}, {"team": "risk"}, {"job": "x"}, {}], ["route.routes[0]", "route.routes[1]", "route"]),
])
def test_each_node_is_named_once(some: list[dict[str, str]], places: list[str]) -> None:
    assert [lead.place for lead in leads(RULES, some, START)] == places


def test_a_node_says_why_and_to_whom() -> None:
    (risk,) = leads(RULES, [{"team": "risk"}], START)
    assert (risk.matchers, risk.receiver, risk.policy, risk.is_muted) == (('team="risk"',), "alerts", "night", False)
    assert risk.destinations == tuple(one.key for one in RULES.receivers["alerts"].destinations)


@pytest.mark.parametrize(("labels", "problems"), [
    ({"job": "etl"}, []), ({"job": "x"}, ['retrain: job="x" names no target; known are drl, etl']),
    ({}, ['retrain: job="" names no target; known are drl, etl']),
])
def test_a_label_that_names_no_target_is_a_problem(labels: dict[str, str], problems: list[str]) -> None:
    assert unknown_targets(RULES, JOBS, labels) == problems
