"""The fold, decision by decision: what an observation means, what a webhook is told as, which incident it belongs to."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from alerthub.domain.alert import Alert, AlertStatus, Severity
from alerthub.domain.event import Event, EventKind
from alerthub.domain.incident import (
    OWN_SOURCE,
    AlertState,
    Incident,
    Shift,
    Verdict,
    apply_cleared,
    apply_fired,
    conclude,
    content_of,
    incident_key,
    judge,
    open_incident,
    reopen,
    short_name,
    title_of,
)
from alerthub.domain.message import IncidentStatus
from alerthub.domain.own import delivery_failed
from alerthub.domain.route import Route
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import START

SECOND = timedelta(seconds=1)
V = Verdict


def state_of(status: AlertStatus = AlertStatus.firing, **fields: Any) -> AlertState:
    usual: dict[str, Any] = {"incident_id": "i", "content": "{}", "starts_at": START, "ends_at": None, "changed_at": START,
                             "seen_at": START}
    return AlertState("alertmanager", "a", status=status, **{**usual, **fields})


def incident_of(**fields: Any) -> Incident:
    usual: dict[str, Any] = {"status": IncidentStatus.triggered, "severity": Severity.warning, "opened_at": START,
                             "updated_at": START, "seq": 3, "stored_seq": 3, "firing": 1, "alerts": 1}
    return Incident("i", "key", "alertmanager", "DiskFull", **{**usual, **fields})


# -- judge: (what is known, what is said, when it arrived) → what it means

KNOWN = {
    "nothing": None,
    "firing": state_of(),
    "resolved": state_of(AlertStatus.resolved),
    "a stray resolve": state_of(AlertStatus.resolved, incident_id=None),
}
SAID = {"firing": firing(starts_at=START), "resolved": resolved()}
ARRIVED = {"earlier": START - SECOND, "at once": START, "later": START + SECOND}
MEANS = {
    ("nothing", "firing"): (V.fired, V.fired, V.fired),
    ("nothing", "resolved"): (V.stray, V.stray, V.stray),                       # R-13
    ("firing", "firing"): (V.repeated, V.repeated, V.repeated),                 # R-12
    ("firing", "resolved"): (V.late, V.cleared, V.cleared),                     # R-14
    ("resolved", "firing"): (V.late, V.refired, V.refired),                     # R-14, R-16
    ("resolved", "resolved"): (V.repeated, V.repeated, V.repeated),
    ("a stray resolve", "firing"): (V.late, V.fired, V.fired),
    ("a stray resolve", "resolved"): (V.repeated, V.repeated, V.repeated),
}


@pytest.mark.parametrize(("known", "said", "when"), list(itertools.product(KNOWN, SAID, ARRIVED)))
def test_what_an_observation_means(known: str, said: str, when: str) -> None:
    expected = MEANS[known, said][list(ARRIVED).index(when)]
    assert judge(KNOWN[known], SAID[said], ARRIVED[when]) is expected


@pytest.mark.parametrize(("starts_at", "ends_at", "expected"), [
    (START, START - SECOND, V.before_start), (START, START, V.cleared), (START, START + SECOND, V.cleared),
    (START, None, V.cleared), (None, START - SECOND, V.cleared), (None, None, V.cleared),
])
def test_an_end_before_the_beginning_is_of_an_older_time(starts_at: Any, ends_at: Any, expected: Verdict) -> None:
    """R-15."""
    assert judge(state_of(starts_at=starts_at), resolved(ends_at=ends_at), START + SECOND) is expected


def test_a_firing_with_the_same_start_after_a_resolve_counts() -> None:
    """R-16: a page in doubt is sent."""
    known = state_of(AlertStatus.resolved, starts_at=START)
    assert judge(known, firing(starts_at=START), START + SECOND) is V.refired


def test_a_late_observation_is_late_whatever_it_says_of_its_end() -> None:
    known = state_of(starts_at=START, changed_at=START + SECOND)
    assert judge(known, resolved(ends_at=START - SECOND), START) is V.late


# -- one alert, observed again and again

def observe(known: AlertState | None, incident: Incident, alert: Alert, after: int) -> tuple[AlertState | None, Event | None]:
    """One webhook about one alert, told as the flow tells it."""
    said = batch(alert, at=START + after * SECOND)
    shift, verdict = Shift(), judge(known, alert, said.arrived_at)
    if verdict in (V.fired, V.refired):
        known = known or state_of(incident_id=None, status=AlertStatus.resolved)
        if not incident.is_open:
            reopen(incident, said.arrived_at)
            shift.reopened = True
        apply_fired(incident, known, alert, said, shift)
    elif verdict is V.cleared and known is not None:
        apply_cleared(incident, known, alert, said, shift)
    return known, conclude(incident, shift, said, said.arrived_at)


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=12), st.booleans())
def test_in_order_the_last_word_counts_and_repeats_say_nothing(words: list[bool], twice: bool) -> None:
    known, incident = None, incident_of(firing=0, alerts=0, seq=0)
    told: list[EventKind] = []
    for after, fires in enumerate(words):
        alert = firing() if fires else resolved()
        for _ in range(2 if twice else 1):
            known, event = observe(known, incident, alert, after)
            told += [event.kind] if event else []
    changes = [fires for fires, _ in itertools.groupby(words)]
    changes = changes if not changes or changes[0] else changes[1:]     # what nobody saw firing cannot end
    assert [kind is not EventKind.resolved for kind in told] == changes
    if changes:
        assert known is not None
        assert (known.is_firing, incident.is_open, incident.firing) == (words[-1], words[-1], int(words[-1]))
        assert (incident.alerts, incident.episode, incident.seq) == (1, max(1, changes.count(True)), len(changes))


@settings(deadline=None)
@given(st.permutations(list(range(6))))
def test_out_of_order_nothing_that_arrived_before_the_last_change_undoes_it(order: list[int]) -> None:
    """R-14, for a row of firing and resolved committed in any order."""
    known, incident = state_of(changed_at=START - SECOND), incident_of()
    newest = -1
    for after in order:
        before = (known.status, known.changed_at)
        known, _ = observe(known, incident, firing() if after % 2 else resolved(), after)
        assert known is not None
        if (known.status, known.changed_at) != before:
            assert after > newest
            newest = after
        assert (incident.firing, incident.is_open) == (int(known.is_firing), known.is_firing)


# -- conclude: what the shift is told as

A, B, C, D = (firing("DiskFull", instance=f"db-{letter}") for letter in "abcd")
FULL = "(set max_alerts: 0 in Alertmanager to see all)"
TOLD: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], EventKind | None, str]] = [
    # title, incident, shift, batch, kind, text
    ("first", {}, {"opened": True, "fired": [A]}, {}, EventKind.opened, "Opened: 1 alert firing: DiskFull on db-a"),
    ("first of many", {"firing": 4}, {"opened": True, "fired": [A, B, C, D]}, {}, EventKind.opened,
     "Opened: 4 alerts firing: DiskFull on db-a, DiskFull on db-b, DiskFull on db-c, and 1 more"),
    ("first, and worse", {}, {"opened": True, "severity_rose": True, "fired": [A]}, {}, EventKind.opened,
     "Opened: 1 alert firing: DiskFull on db-a"),
    ("again", {}, {"reopened": True, "severity_rose": True, "fired": [A]}, {}, EventKind.reopened,
     "Reopened: 1 alert fired again: DiskFull on db-a"),
    ("one more", {"firing": 2}, {"fired": [B]}, {}, EventKind.changed, "Changed: 1 alert firing: DiskFull on db-b"),
    ("one more, worse", {"firing": 2, "severity": Severity.critical}, {"fired": [B], "severity_rose": True}, {},
     EventKind.changed, "Changed: 1 alert firing: DiskFull on db-b; severity rose to critical"),
    ("one of two is over", {"firing": 1}, {"cleared": [A]}, {}, EventKind.changed, "Changed: 1 alert cleared: DiskFull on db-a"),
    ("one goes, one comes", {"firing": 1}, {"fired": [B], "cleared": [A]}, {}, EventKind.changed,
     "Changed: 1 alert firing: DiskFull on db-b; 1 alert cleared: DiskFull on db-a"),
    ("the last is over", {"firing": 0}, {"cleared": [A, B]}, {}, EventKind.resolved,
     "Resolved: 2 alerts cleared: DiskFull on db-a, DiskFull on db-b"),
    ("over, found by asking", {"firing": 0}, {"cleared": [A]}, {"observer": "reconciler"}, EventKind.resolved,
     "Resolved: 1 alert cleared, as the source itself says when asked: DiskFull on db-a"),
    ("came and went in one webhook", {"firing": 0}, {"opened": True, "fired": [A], "cleared": [A]}, {}, EventKind.resolved,
     "Resolved: 1 alert firing: DiskFull on db-a; 1 alert cleared: DiskFull on db-a"),
    ("cut off", {}, {}, {"truncated": 1}, EventKind.changed, f"Changed: the sender cut off 1 alert {FULL}"),
    ("first, and cut off", {}, {"opened": True, "fired": [A]}, {"truncated": 7}, EventKind.opened,
     f"Opened: 1 alert firing: DiskFull on db-a; the sender cut off 7 alerts {FULL}"),
    ("heard of again", {}, {"refreshed": True}, {}, EventKind.changed, "Changed: the source reports it again"),
    ("nothing", {}, {}, {}, None, ""),
    ("cut off as before", {"incomplete": 7}, {}, {"truncated": 7}, None, ""),
    ("nothing, and over already", {"firing": 0, "status": IncidentStatus.resolved}, {}, {}, None, ""),
]


@pytest.mark.parametrize(("known", "changes", "said", "kind", "text"), [case[1:] for case in TOLD],
                         ids=[case[0] for case in TOLD])
def test_what_a_webhook_is_told_as(known: dict[str, Any], changes: dict[str, Any], said: dict[str, Any],
                                   kind: EventKind | None, text: str) -> None:
    incident = incident_of(**known)
    event = conclude(incident, Shift(**changes), batch(A, **said), START)
    assert (event.kind if event else None, event.text if event else "") == (kind, text)
    assert incident.seq == (4 if event else 3)
    assert incident.is_open is (kind is not EventKind.resolved and incident.status is IncidentStatus.triggered)


@pytest.mark.parametrize(("observer", "actor"), [
    ("webhook", ("source", "alertmanager")), ("reconciler", ("hub", "reconciler")), ("hub", ("hub", "hub")),
])
def test_the_history_names_who_said_it_and_with_which_body(observer: str, actor: tuple[str, str]) -> None:
    said = batch(A, observer=observer, body_sha256="ff", sender="http://am-1")
    incident = incident_of(firing=2, severity=Severity.critical)
    event = conclude(incident, Shift(fired=[A], cleared=[B], severity_rose=True), said, START + SECOND)
    assert event is not None
    assert (event.actor.kind, event.actor.name, event.seq, event.at) == (*actor, 4, START + SECOND)
    assert event.data == {"fired": [A.identity], "cleared": [B.identity], "firing": 2, "body_sha256": "ff",
                          "sender": "http://am-1", "severity": "critical"}
    assert incident.updated_at == START + SECOND


def test_an_end_takes_the_marks_of_an_open_incident_away() -> None:
    incident = incident_of(firing=0, is_stale=True, is_silenced=True, acknowledged_by="ayse")
    conclude(incident, Shift(cleared=[A]), batch(A), START + SECOND)
    assert (incident.status, incident.resolved_at) == (IncidentStatus.resolved, START + SECOND)
    assert (incident.is_stale, incident.is_silenced) == (False, False)


def test_more_ends_than_beginnings_never_count_below_zero() -> None:
    incident = incident_of(firing=-1)
    conclude(incident, Shift(cleared=[A]), batch(A), START)
    assert incident.firing == 0


@pytest.mark.parametrize(("known", "said", "moved", "shown"), [
    (0, 3, False, 3), (3, 3, False, 3), (3, 5, False, 3), (3, 0, False, 3), (3, 0, True, 0), (3, 5, True, 5), (0, 0, True, 0),
])
def test_how_many_alerts_are_missing_is_as_old_as_the_last_change(known: int, said: int, moved: bool, shown: int) -> None:
    incident = incident_of(incomplete=known)
    conclude(incident, Shift(fired=[A] if moved else []), batch(A, truncated=said), START)
    assert incident.incomplete == shown


# -- severity, reopening, opening

def test_severity_only_rises_within_an_episode() -> None:
    incident, shift = incident_of(severity=Severity.error, firing=0, alerts=0), Shift()
    for word in ("warning", "critical", "info"):
        alert = firing(severity=word)
        apply_fired(incident, state_of(AlertStatus.resolved, incident_id=None), alert, batch(alert), shift)
    assert (incident.severity, shift.severity_rose, incident.firing, incident.alerts) == (Severity.critical, True, 3, 3)


def test_equal_severity_is_not_a_rise() -> None:
    incident, shift = incident_of(severity=Severity.warning), Shift()
    apply_fired(incident, state_of(incident_id=None), firing(severity="warning"), batch(), shift)
    assert not shift.severity_rose


def test_reopening_forgets_the_acknowledgement_the_severity_and_the_marks() -> None:
    """R-17."""
    incident = incident_of(status=IncidentStatus.resolved, severity=Severity.critical, resolved_at=START, acknowledged_by="ayse",
                           is_stale=True, is_silenced=True, episode=2)
    reopen(incident, START + SECOND)
    assert incident == incident_of(status=IncidentStatus.triggered, severity=Severity.info, episode=3, opened_at=START + SECOND)


def test_an_alert_that_comes_back_is_counted_once_among_all() -> None:
    incident, known = incident_of(firing=1, alerts=2), state_of(AlertStatus.resolved, missing_since=START, ends_at=START)
    apply_fired(incident, known, firing(starts_at=None), batch(at=START + SECOND), Shift())
    assert (incident.firing, incident.alerts) == (2, 2)
    assert (known.status, known.starts_at, known.ends_at, known.missing_since, known.changed_at, known.is_dirty) == (
        AlertStatus.firing, None, None, None, START + SECOND, True)


@pytest.mark.parametrize(("ends_at", "shown"), [(START, START), (None, START + SECOND)])
def test_an_end_without_a_time_ends_when_it_arrived(ends_at: Any, shown: Any) -> None:
    known = state_of(missing_since=START)
    apply_cleared(incident_of(), known, resolved(ends_at=ends_at), batch(at=START + SECOND), Shift())
    assert (known.status, known.ends_at, known.missing_since) == (AlertStatus.resolved, shown, None)


def test_an_own_alarm_is_titled_by_its_summary_and_avoids_what_is_broken() -> None:
    alarm = delivery_failed("slack:#alerts", "slack", "invalid_auth")
    opened = open_incident("i", "key", batch(alarm, source=OWN_SOURCE), alarm, Route("alerts"), START)
    assert (opened.title, opened.avoid, opened.severity) == ("slack:#alerts does not take messages", "slack:#alerts",
                                                             Severity.critical)


def test_a_foreign_alert_cannot_name_a_destination_to_avoid() -> None:
    alert = firing(annotations={"summary": "not the title"}, destination="slack:#alerts", severity="page")
    opened = open_incident("i", "key", batch(alert), alert, Route("alerts", group_by=("alertname",)), START)
    assert (opened.title, opened.avoid, opened.severity, opened.is_open) == ("DiskFull", "", Severity.critical, True)
    assert (opened.seq, opened.stored_seq, opened.episode, opened.firing) == (0, 0, 1, 0)


# -- which incident an alert belongs to

names = st.text(max_size=4)
labels = st.dictionaries(names, st.text(max_size=4), max_size=5)
groupings = st.lists(names, max_size=4, unique=True)


def shuffled(pairs: dict[str, str], seed: int) -> dict[str, str]:
    items = list(pairs.items())
    random.Random(seed).shuffle(items)
    return dict(items)


@settings(deadline=None)
@given(labels, groupings, labels, st.integers())
def test_the_order_of_labels_and_of_groups_is_irrelevant(found: dict[str, str], group_by: list[str], sent: dict[str, str],
                                                         seed: int) -> None:
    other = incident_key("am", shuffled(found, seed), sorted(group_by), shuffled(sent, seed))
    assert other == incident_key("am", found, group_by, sent)


@settings(deadline=None)
@given(labels, groupings, labels, names, names)
def test_another_source_is_another_key(found: dict[str, str], group_by: list[str], sent: dict[str, str], left: str,
                                       right: str) -> None:
    same = incident_key(left, found, group_by, sent) == incident_key(right, found, group_by, sent)
    assert same is (left == right)


@settings(deadline=None)
@given(labels, labels)
def test_by_all_labels_only_equal_sets_share_a_key(left: dict[str, str], right: dict[str, str]) -> None:
    def told(pairs: dict[str, str]) -> dict[str, str]:
        """An absent label and an empty one are the same; without any, the (empty) name makes the key."""
        return {name: value for name, value in pairs.items() if value} or {"alertname": ""}

    same = incident_key("am", left, ["..."], {}) == incident_key("am", right, ["..."], {})
    assert same is (told(left) == told(right))


@settings(deadline=None)
@given(labels, groupings, st.tuples(names, names))
def test_labels_that_are_not_grouped_by_do_not_matter(found: dict[str, str], group_by: list[str], other: tuple[str, str]) -> None:
    assume(other[0] not in (*group_by, "alertname") and "..." not in group_by)
    assert incident_key("am", {**found, other[0]: other[1]}, ["alertname", *group_by], {}) == incident_key(
        "am", {name: value for name, value in found.items() if name != other[0]}, ["alertname", *group_by], {})


def test_our_grouping_comes_before_the_senders_and_the_name_is_the_last_resort() -> None:
    alert, sent = {"alertname": "A", "host": "h"}, {"host": "h"}
    assert incident_key("am", alert, ["alertname"], sent) == incident_key("am", alert, (), {"alertname": "A"})
    assert incident_key("am", alert, (), sent) == incident_key("am", alert, ["host"], {})
    assert incident_key("am", alert, (), {}) == incident_key("am", alert, ["alertname"], {})
    assert incident_key("am", alert, ["gone"], sent) == incident_key("am", alert, ["alertname"], {})
    assert incident_key("am", {}, (), {}) == incident_key("am", {"host": "h"}, (), {})


# -- what people read

AGENT = {"alertname": "AgentRewardNegative", "agent": "btc", "severity": "critical"}
TITLES = [
    (AGENT, ["alertname", "agent"], {}, "AgentRewardNegative (agent=btc)"),
    (AGENT, ["severity", "agent"], {}, "AgentRewardNegative (agent=btc, severity=critical)"),
    (AGENT, ["alertname"], {"agent": "btc"}, "AgentRewardNegative"),
    (AGENT, ["gone"], {}, "AgentRewardNegative"),
    (AGENT, [], {"alertname": "AgentRewardNegative", "agent": "btc"}, "AgentRewardNegative (agent=btc)"),
    (AGENT, ["..."], {"agent": "btc"}, "AgentRewardNegative (agent=btc)"),
    (AGENT, [], {}, "AgentRewardNegative"),
    ({"agent": "btc"}, ["agent"], {}, "Alert (agent=btc)"),
    ({"alertname": ""}, [], {}, "Alert"), ({"alertname": " \n"}, [], {}, "Alert"),
    ({"alertname": "{0.__class__}", "agent": "<b>"}, ["agent"], {}, "{0.__class__} (agent=<b>)"),
]


@pytest.mark.parametrize(("found", "group_by", "sent", "title"), TITLES)
def test_the_title_is_the_name_and_what_it_is_grouped_by(found: dict[str, str], group_by: list[str], sent: dict[str, str],
                                                         title: str) -> None:
    assert title_of(found, group_by, sent) == title


SHORT = [
    ({"alertname": "DiskFull", "instance": "db-01"}, "DiskFull on db-01"),
    ({"alertname": "DiskFull"}, "DiskFull"), ({"pod": "p"}, "alert on p"), ({}, "alert"), ({"alertname": ""}, "alert"),
    ({"alertname": "A", "job": "j", "agent": "btc", "pod": "p"}, "A on btc"),
    ({"alertname": "A", "instance": "", "host": "h"}, "A on h"),
    ({"alertname": "A", "colour": "red"}, "A"),
    ({"alertname": "two\nlines", "instance": "a\t b\u2028c"}, "two lines on a b c"),
    ({"alertname": "x" * 80}, "x" * 80), ({"alertname": "x" * 81}, "x" * 79 + "…"),
    ({"alertname": " \n"}, "alert"), ({"alertname": "\t", "instance": "db-01"}, "alert on db-01"),
    ({"alertname": "A", "instance": "  ", "host": "h"}, "A on h"),
]


@pytest.mark.parametrize(("found", "text"), SHORT)
def test_a_short_name_tells_what_and_where(found: dict[str, str], text: str) -> None:
    assert short_name(found) == text


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["alertname", "instance", "agent", "job"]), st.text(max_size=100), max_size=3))
@example({"alertname": "🔥" * 200, "instance": "\x85\x0b\x1c"})
@example({"alertname": "\u2028"})
def test_a_short_name_is_one_line_never_empty_and_bounded(found: dict[str, str]) -> None:
    text = short_name(found)
    assert len(text.splitlines()) == 1
    assert 0 < len(text) <= 80
    assert text == text.strip()


def test_content_is_what_people_see_and_nothing_that_changes_by_itself() -> None:
    alert = firing(annotations={"b": "2", "a": "<1>"}, host="h")
    assert content_of(alert) == '{"annotations":{"a":"<1>","b":"2"},"labels":{"alertname":"DiskFull","host":"h"}}'
    assert content_of(firing(annotations={"b": "2", "a": "<1>"}, starts_at=None, host="h")) == content_of(alert)
    full = Alert(alert.labels, alert.status, generator_url="http://p", fingerprint="ff", links={"panel": "http://g"})
    assert content_of(full) == ('{"annotations":{},"fingerprint":"ff","generator_url":"http://p",'
                                '"labels":{"alertname":"DiskFull","host":"h"},"links":{"panel":"http://g"}}')


def test_an_acknowledged_incident_is_open_and_a_resolved_one_is_not() -> None:
    assert replace(incident_of(), status=IncidentStatus.acknowledged).is_open
    assert not replace(incident_of(), status=IncidentStatus.resolved).is_open
