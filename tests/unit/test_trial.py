"""What would become of an alert: the words for each node agree with where alerts really go, whatever tree and labels."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.domain.matcher import parse_matchers
from alerthub.domain.route import Route, resolve
from alerthub.domain.silence import Silence
from alerthub.domain.trial import in_full, read_labels, verdicts
from tests.kit.clock import START
from tests.kit.world import rules_for

MATCHERS = ['a="1"', 'a!="1"', 'b=~"1|2"', 'b!~"2"', 'c=""', ""]


def tree(shape: object, place: str = "route") -> Route:
    """Of (matchers, continues, children)."""
    text, continues, children = shape       # type: ignore[misc]
    found = parse_matchers(text) if text else ()
    return Route("alerts", matchers=tuple(found), continues=continues, place=place,
                 routes=tuple(tree(child, f"{place}.routes[{number}]") for number, child in enumerate(children)))


leaf = st.tuples(st.sampled_from(MATCHERS), st.booleans(), st.just([]))
shapes = st.recursive(leaf, lambda deeper: st.tuples(st.sampled_from(MATCHERS), st.booleans(), st.lists(deeper, max_size=3)),
                      max_leaves=12)


def nodes(route: Route) -> Iterator[Route]:
    yield route
    for child in route.routes:
        yield from nodes(child)


@given(st.lists(shapes, max_size=4), st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3))
def test_what_is_said_of_each_node_is_where_alerts_go(children: list[object], labels: dict[str, str]) -> None:
    root = tree(("", False, children))
    found = verdicts(rules_for(root), labels)
    assert [one.route for one in found] == list(nodes(root))
    assert [one.route for one in found if one.is_chosen] == sorted(resolve(root, labels), key=list(nodes(root)).index)
    for one in found:
        assert one.is_chosen == (one.why == "the alert goes here")
        assert all(not matcher.matches(labels) for matcher, _ in one.failing)


def test_why_not_is_said_in_words() -> None:
    root = tree(("", False, [('team="db"', False, [('a="1"', False, [])]), ('severity="critical"', False, []),
                             ('severity=~".+"', False, [])]))
    found = {one.route.place: one.why for one in verdicts(rules_for(root), {"severity": "critical", "team": ""})}
    assert found == {
        "route": "matches, and a route below it takes the alert",
        "route.routes[0]": 'does not match: team="db" fails, the alert has no team',
        "route.routes[0].routes[0]": "the route above it does not match",
        "route.routes[1]": "the alert goes here",
        "route.routes[2]": "route.routes[1] matches before it and does not continue"}


def test_a_silence_that_covers_it_is_named() -> None:
    def silence(number: int, text: str, hours: int) -> Silence:
        return Silence("", number, tuple(parse_matchers(text)), START, START + timedelta(hours=hours), "ayse", "why")

    told = in_full(rules_for(Route("alerts", group_by=("alertname", "x"))), {"alertname": "X"},
                   [silence(1, 'alertname="X"', 1), silence(2, 'alertname="Y"', 1)], START)
    assert [one["number"] for one in told["silences"]] == [1]
    assert told["routes"][0]["grouped_by"] == {"alertname": "X"}


@pytest.mark.parametrize(("text", "expected"), [
    ("a=b, c=d", {"a": "b", "c": "d"}), ("a=b\nc=d", {"a": "b", "c": "d"}), ('a="b, c", d=e', {"a": "b, c", "d": "e"}),
    (" a = b ,, \r\n c=d=e", {"a": "b", "c": "d=e"}), ("a=", {"a": ""}), ('a="', {"a": ""}),
])
def test_labels_are_read_as_people_write_them(text: str, expected: dict[str, str]) -> None:
    assert read_labels(text) == expected


@pytest.mark.parametrize("text", ["", "  \n ,", "a", "=b", "a=b, c", ", ".join(f"a{number}=b" for number in range(51)),
                                  "a=" + "b" * 2001])
def test_what_is_no_label_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match=r"example alertname=DiskFull|at most 50"):
        read_labels(text)
