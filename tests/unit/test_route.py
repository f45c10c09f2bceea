"""The routing tree: which nodes an alert's labels lead to, when a route may speak, and what makes a group."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.domain.interval import Period, TimeInterval
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.route import Route, group_pairs, resolve

NOON = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)      # a Thursday
NIGHT = TimeInterval("night", (Period(times=((1320, 1440), (0, 360))),))
DAY = TimeInterval("day", (Period(times=((360, 1320),)),))
WEEKEND = TimeInterval("weekend", (Period(weekdays=((6, 6),)), Period(weekdays=((0, 0),))))


def node(name: str, matchers: str = "", *routes: Route, continues: bool = False) -> Route:
    return Route(receiver=name, matchers=parse_matchers(matchers), routes=routes, continues=continues, place=name)


# The tree of Alertmanager's documentation, with a `continue` in it.
TREE = node(
    "root", "",
    node("a", 'owner="team-A"',
         node("a-test", 'env="testing"'),
         node("a-prod", 'env="production"', continues=True),
         node("a-all", "")),
    node("b", 'owner=~"team-(B|C)"',
         node("b-prod", 'env="production"', continues=True),
         node("b-more", 'env=~"produ.*|staging"')),
    node("audit", 'audit="yes"', continues=True),
    node("late", 'audit="yes",owner=""'),
)
CASES = [
    ({}, ["root"]),
    ({"owner": "team-A"}, ["a-all"]),
    ({"owner": "team-A", "env": "testing"}, ["a-test"]),
    ({"owner": "team-A", "env": "production"}, ["a-prod", "a-all"]),
    ({"owner": "team-B"}, ["b"]),
    ({"owner": "team-C", "env": "production"}, ["b-prod", "b-more"]),
    ({"owner": "team-C", "env": "staging"}, ["b-more"]),
    ({"owner": "team-D"}, ["root"]),
    ({"owner": "team-A", "audit": "yes"}, ["a-all"]),           # the first match ends the search
    ({"owner": "team-D", "audit": "yes"}, ["audit"]),
    ({"audit": "yes"}, ["audit", "late"]),
]


@pytest.mark.parametrize(("labels", "receivers"), CASES)
def test_labels_lead_to_the_deepest_matches(labels: dict[str, str], receivers: list[str]) -> None:
    assert [route.receiver for route in resolve(TREE, labels)] == receivers


def test_a_node_that_does_not_match_leads_nowhere() -> None:
    assert resolve(node("x", "a=b", node("y")), {"a": "c"}) == ()


def obviously_resolved(route: Route, labels: dict[str, str]) -> list[Route]:
    """Alertmanager's own words: depth first, left to right; itself when no child matched."""
    if any(not matcher.matches(labels) for matcher in route.matchers):
        return []
    found: list[Route] = []
    stop = False
    for child in route.routes:
        if not stop:
            inside = obviously_resolved(child, labels)
            found += inside
            stop = inside != [] and not child.continues
    return found or [route]


labels = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))
trees = st.recursive(
    st.builds(node, st.text("abc", min_size=1, max_size=3), st.sampled_from(["", "a=x", "a!=x", "b=~x|y", "b=y"]),
              continues=st.booleans()),
    lambda inner: st.builds(lambda route, children: replace(route, routes=tuple(children)), inner,
                            st.lists(inner, min_size=1, max_size=3)), max_leaves=12)


@given(trees, labels)
@settings(max_examples=200, deadline=None)
def test_every_tree_agrees_with_the_obvious_reading(tree: Route, labels: dict[str, str]) -> None:
    root = replace(tree, matchers=())
    assert list(resolve(root, labels)) == obviously_resolved(root, labels)
    assert resolve(root, labels)


# -- when it may speak

SPEAKS = [
    # mute, active, when it next may speak
    ((), (), NOON),
    ((NIGHT,), (), NOON),
    ((DAY,), (), datetime(2026, 1, 1, 22, 0, tzinfo=UTC)),
    ((), (DAY,), NOON),
    ((), (NIGHT,), datetime(2026, 1, 1, 22, 0, tzinfo=UTC)),
    ((NIGHT,), (WEEKEND,), datetime(2026, 1, 3, 6, 0, tzinfo=UTC)),
    ((DAY, NIGHT), (), NOON + timedelta(days=400)),
    ((DAY,), (DAY,), NOON + timedelta(days=400)),
]


@pytest.mark.parametrize(("mute", "active", "expected"), SPEAKS)
def test_a_muted_route_speaks_at_the_first_minute_that_it_may(
        mute: tuple[TimeInterval, ...], active: tuple[TimeInterval, ...], expected: datetime) -> None:
    route = Route("x", mute=mute, active=active)
    assert route.speaks_at(NOON) == expected
    assert route.is_muted(NOON) is (expected != NOON)


# -- what makes a group

GROUPS = [
    (("alertname",), {"alertname": "Lag", "pod": "1"}, (("alertname", "Lag"),)),
    (("pod", "alertname"), {"alertname": "Lag", "pod": "1"}, (("alertname", "Lag"), ("pod", "1"))),
    (("gone",), {"alertname": "Lag"}, ()),
    (("empty",), {"empty": ""}, ()),
    (("...",), {"b": "2", "a": "1", "empty": ""}, (("a", "1"), ("b", "2"))),
    ((), {"a": "1"}, ()),
]


@pytest.mark.parametrize(("names", "labels", "pairs"), GROUPS)
def test_a_group_is_the_labels_that_are_named(
        names: tuple[str, ...], labels: dict[str, str], pairs: tuple[tuple[str, str], ...]) -> None:
    assert group_pairs(names, labels) == pairs
