"""What a source's own list proves: absence counts only twice, everywhere, and where nobody can have forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.domain.alert import AlertStatus
from alerthub.domain.incident import AlertState
from alerthub.domain.reconcile import FORGETFUL, HEARD, Finding, Listed, Peer, compare, may_have_forgotten, resolution
from tests.kit.clock import START

MINUTE, MOMENT = timedelta(minutes=1), timedelta(microseconds=1)
ASKED = START + 60 * MINUTE
SEEN = ASKED - 10 * MINUTE
LONG_AGO = START - timedelta(days=30)


def state(identity: str = "a", **fields: Any) -> AlertState:
    usual: dict[str, Any] = {"content": "{}", "starts_at": START, "ends_at": None, "changed_at": START, "seen_at": SEEN}
    return AlertState("am", identity, "i", AlertStatus.firing, **{**usual, **fields})


def peer(*identities: str, started_at: datetime | None = LONG_AGO, suppressed: str = "") -> Peer:
    return Peer(started_at, {identity: Listed({"id": identity}, identity in suppressed) for identity in identities})


MISSING_SINCE = ASKED - MINUTE
FINDINGS: list[tuple[str, dict[str, Any], list[Peer], str]] = [
    # title, how we know the alert, what the peers answered, what it is now
    ("listed", {}, [peer("a")], "as it was"),
    ("listed by one of two", {}, [peer(), peer("a")], "as it was"),
    ("listed, and not written down for long", {"seen_at": ASKED - HEARD - MOMENT}, [peer("a")], "present"),
    ("listed after it was missing", {"missing_since": MISSING_SINCE}, [peer("a")], "present"),
    ("listed by one after it was missing", {"missing_since": MISSING_SINCE}, [peer(), peer("a")], "present"),
    ("absent for the first time", {}, [peer()], "missing"),
    ("absent from both", {}, [peer(), peer("b")], "missing"),
    ("absent again", {"missing_since": MISSING_SINCE}, [peer()], "resolved"),
    ("absent again from both", {"missing_since": MISSING_SINCE}, [peer(), peer()], "resolved"),
    ("the same look told twice", {"missing_since": ASKED}, [peer()], "missing"),
    ("fired since the question", {"changed_at": ASKED, "seen_at": ASKED, "missing_since": MISSING_SINCE}, [peer()], "as it was"),
    ("heard of since the question", {"seen_at": ASKED + MOMENT}, [peer()], "as it was"),
    ("heard of since, and missing before", {"seen_at": ASKED, "missing_since": MISSING_SINCE}, [peer()], "as it was"),
    ("a peer has just started", {"missing_since": MISSING_SINCE}, [peer(started_at=ASKED - MINUTE)], "as it was"),
    ("one of two has just started", {"missing_since": MISSING_SINCE}, [peer(), peer(started_at=ASKED - MINUTE)], "as it was"),
    ("a peer started almost five minutes ago", {"missing_since": MISSING_SINCE}, [peer(started_at=ASKED - FORGETFUL + MOMENT)],
     "as it was"),
    ("a peer started five minutes ago", {"missing_since": MISSING_SINCE}, [peer(started_at=ASKED - FORGETFUL)], "resolved"),
    ("a peer started before the alert was last heard of", {"missing_since": MISSING_SINCE, "seen_at": ASKED - MINUTE},
     [peer(started_at=ASKED - 2 * MINUTE)], "resolved"),
    ("listed by a peer that has just started", {}, [peer("a", started_at=ASKED - MINUTE)], "as it was"),
    ("nobody says when it started", {"missing_since": MISSING_SINCE}, [peer(started_at=None)], "as it was"),
]


def called(finding: Finding, one: AlertState) -> str:
    places = {"resolved": finding.resolved, "missing": finding.missing, "present": finding.present}
    return next((name for name, states in places.items() if one in states), "as it was")


@pytest.mark.parametrize(("known", "peers", "is_now"), [case[1:] for case in FINDINGS], ids=[case[0] for case in FINDINGS])
def test_what_a_list_says_of_an_alert(known: dict[str, Any], peers: list[Peer], is_now: str) -> None:
    one = state(**known)
    assert called(compare([one], peers, ASKED), one) == is_now


@pytest.mark.parametrize(("peers", "suppressed"), [
    ([peer("a", "b", suppressed="a")], {"a"}), ([peer("a", suppressed="a"), peer("a", suppressed="a")], {"a"}),
    ([peer("a", suppressed="a"), peer("a")], set()), ([peer("a"), peer("a", suppressed="a")], set()),
    ([peer("a", suppressed="a"), peer()], {"a"}), ([peer()], set()),
], ids=["one peer", "both", "only the first", "only the second", "the other does not know it", "nothing listed"])
def test_an_alert_is_silenced_when_all_who_list_it_say_so(peers: list[Peer], suppressed: set[str]) -> None:
    assert compare([state()], peers, ASKED).suppressed == suppressed


def test_alerts_that_only_the_source_knows_are_not_ours_to_change() -> None:
    assert compare([], [peer("x", "y")], ASKED) == Finding()


# -- whatever the peers say

around = st.integers(-20, 20).map(lambda minutes: ASKED + minutes * MINUTE)
identities = st.sampled_from("abc")
states = st.lists(st.builds(state, identities, changed_at=around, seen_at=around, missing_since=st.none() | around), max_size=6)
listings = st.dictionaries(identities, st.builds(Listed, st.just({}), st.booleans()), max_size=3)
peers_strategy = st.lists(st.builds(Peer, st.none() | around, listings), min_size=1, max_size=3)


@settings(deadline=None)
@given(states, peers_strategy)
def test_an_end_is_never_concluded_in_doubt(ours: list[AlertState], peers: list[Peer]) -> None:
    finding = compare(ours, peers, ASKED)
    for one in finding.resolved:
        assert not any(one.identity in asked.alerts for asked in peers)
        assert one.missing_since is not None
        assert one.missing_since < ASKED, "never in one look"
        assert max(one.changed_at, one.seen_at) < ASKED
        for asked in peers:
            if asked.started_at is not None and asked.started_at > one.seen_at:
                assert ASKED - asked.started_at >= FORGETFUL
    for one in finding.missing:
        assert not any(one.identity in asked.alerts for asked in peers)
    for one in finding.present:
        assert any(one.identity in asked.alerts for asked in peers)


@settings(deadline=None)
@given(states, peers_strategy)
def test_every_alert_is_in_one_place_and_the_order_of_peers_is_irrelevant(ours: list[AlertState], peers: list[Peer]) -> None:
    finding = compare(ours, peers, ASKED)
    placed = [id(one) for one in (*finding.resolved, *finding.missing, *finding.present)]
    assert len(placed) == len(set(placed))
    assert set(placed) <= {id(one) for one in ours}
    assert compare(ours, peers[::-1], ASKED) == finding


@settings(deadline=None)
@given(around, around)
def test_a_peer_forgets_only_by_starting_again(started_at: datetime, seen_at: datetime) -> None:
    forgets = may_have_forgotten(peer(started_at=started_at), state(seen_at=seen_at), ASKED)
    assert forgets is (seen_at < started_at and started_at > ASKED - FORGETFUL)


def test_the_end_that_was_found_counts_from_the_question() -> None:
    """R-14: a webhook that came since wins."""
    found = resolution(state(), {"alertname": "A"}, {"summary": "s"}, ASKED)
    assert (found.status, found.ends_at, found.starts_at) == (AlertStatus.resolved, ASKED, START)
    assert (found.labels, found.annotations) == ({"alertname": "A"}, {"summary": "s"})
