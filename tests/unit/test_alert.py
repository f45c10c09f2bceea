"""Alerts: which word of severity means what, and that the label set alone is an alert's identity."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.domain.alert import SYNONYMS, Alert, AlertStatus, Severity, canonical, identity_of, severity_of
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START

WORDS = [
    ("critical", Severity.critical), ("CRITICAL", Severity.critical), (" critical\n", Severity.critical),
    ("page", Severity.critical), ("P1", Severity.critical), ("p0", Severity.critical), ("fatal", Severity.critical),
    ("error", Severity.error), ("high", Severity.error), ("p2", Severity.error), ("major", Severity.error),
    ("warning", Severity.warning), ("Warn", Severity.warning), ("minor", Severity.warning), ("p3", Severity.warning),
    ("info", Severity.info), ("none", Severity.info), ("notice", Severity.info), ("p5", Severity.info),
    # no word, or one that nobody knows: never taken lightly, never a page at night
    ("", Severity.warning), ("   ", Severity.warning), ("sev-1", Severity.warning), ("criticality", Severity.warning),
    ("критично", Severity.warning), ("x" * 10_000, Severity.warning),
]


@pytest.mark.parametrize(("word", "severity"), WORDS, ids=[repr(word[:12]) for word, _ in WORDS])
def test_a_word_of_severity_has_one_of_four_ranks(word: str, severity: Severity) -> None:
    assert severity_of({"severity": word}) is severity


def test_an_alert_without_a_severity_is_a_warning() -> None:
    assert severity_of({"alertname": "DiskFull"}) is Severity.warning


def test_only_the_label_named_severity_counts() -> None:
    assert severity_of({"Severity": "critical", "priority": "p1"}) is Severity.warning


def test_every_rank_is_its_own_word_and_worse_ranks_are_higher() -> None:
    assert [SYNONYMS[severity.value] for severity in Severity] == list(Severity)
    assert sorted(Severity, key=lambda severity: severity.rank) == [
        Severity.info, Severity.warning, Severity.error, Severity.critical]
    assert len({severity.rank for severity in Severity}) == len(Severity)


# -- identity

labels = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=5)


@settings(deadline=None)
@given(labels, st.randoms(use_true_random=False))
def test_the_order_of_labels_is_irrelevant(pairs: dict[str, str], dice: object) -> None:
    shuffled = list(pairs.items())
    dice.shuffle(shuffled)
    assert identity_of(dict(shuffled)) == identity_of(pairs)


@settings(deadline=None)
@given(labels, labels)
def test_only_equal_label_sets_share_an_identity(left: dict[str, str], right: dict[str, str]) -> None:
    assert (identity_of(left) == identity_of(right)) is (left == right)


def test_the_identity_is_the_first_half_of_a_sha256_over_canonical_json() -> None:
    text = '{"alertname":"DiskFull","host":"böb"}'
    assert identity_of({"host": "böb", "alertname": "DiskFull"}) == hashlib.sha256(text.encode()).hexdigest()[:32]


SAME = [
    ("it is resolved", resolved(host="a")),
    ("annotations", firing(annotations={"summary": "x"}, host="a")),
    ("when it began", firing(starts_at=None, host="a")),
    ("the sender's fingerprint", Alert(firing(host="a").labels, AlertStatus.firing, fingerprint="00ff")),
    ("where it comes from", Alert(firing(host="a").labels, AlertStatus.firing, generator_url="http://prometheus-2")),
]


@pytest.mark.parametrize("other", [other for _, other in SAME], ids=[why for why, _ in SAME])
def test_nothing_but_labels_makes_the_identity(other: Alert) -> None:
    assert other.identity == firing(host="a").identity


TRICKS = [
    ({"a": "b", "c": "d"}, {"a": 'b","c":"d'}), ({"a": ""}, {}), ({"a": "1"}, {"a": "1 "}), ({"a": "é"}, {"a": "e\u0301"}),
    ({"a,b": "c"}, {"a": "b,c"}), ({"A": "x"}, {"a": "x"}),
]


@pytest.mark.parametrize(("left", "right"), TRICKS)
def test_label_sets_that_look_alike_are_told_apart(left: dict[str, str], right: dict[str, str]) -> None:
    assert identity_of(left) != identity_of(right)


def test_canonical_text_is_sorted_dense_and_keeps_every_script() -> None:
    assert canonical({"b": [1, None], "a": "日本 🔥"}) == '{"a":"日本 🔥","b":[1,null]}'


def test_an_alert_is_a_value_that_nobody_changes() -> None:
    alert = firing(host="a")
    with pytest.raises(AttributeError):
        alert.status = AlertStatus.resolved
    assert alert == firing(host="a")
    assert (alert.name, alert.is_firing, resolved().is_firing) == ("DiskFull", True, False)
    assert Alert({}, AlertStatus.firing).name == ""
    assert (alert.starts_at, alert.ends_at, dict(alert.annotations), dict(alert.links)) == (START, None, {}, {})
