"""What a destination reads: state, news, links, and the summary of a storm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.domain.alert import Alert, AlertStatus, Severity
from alerthub.domain.approval import Asked
from alerthub.domain.compose import (
    NEWS_SHOWN,
    Telling,
    alert_line,
    compose,
    digest,
    is_web,
    news,
    shared,
)
from alerthub.domain.delivery import Lane
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.domain.incident import AlertState, Incident, content_of
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.message import ActionLine, AlertLine, IncidentStatus, Link, Message, Why
from alerthub.domain.rules import Approval
from alerthub.domain.runbook import Runbook
from tests.kit.alerts import firing
from tests.kit.clock import START
from tests.kit.world import SLACK, destination, rules_for

HUB = "https://hub.example.com"
RULES = rules_for(public_url=HUB)
DESTINATION = destination(SLACK)
NOW = START + timedelta(minutes=5)
ASKED = Asked("run:1", "retrain on drl", Approval("risk", 2, timedelta(minutes=15)), NOW, "0123456789ab", "0123456789ab")


def incident(number: int = 17, **fields: Any) -> Incident:
    usual: dict[str, Any] = {"status": IncidentStatus.triggered, "severity": Severity.warning, "opened_at": START,
                             "updated_at": START, "seq": 3, "firing": 1, "alerts": 1, "number": number}
    return Incident(f"incident-{number}", "key", "alertmanager", f"DiskFull{number}", **{**usual, **fields})


def lane(number: int = 17, **fields: Any) -> Lane:
    usual: dict[str, Any] = {"told_seq": 2, "want_seq": 3, "told_episode": 1, "repeats": 0, "attempt": 1, "failures": 0,
                             "failing_since": None, "is_degraded": False, "is_dead": False, "receipt": None}
    return Lane(number, f"incident-{number}", "slack:#alerts", "slack", **{**usual, **fields})


def line(*, annotations: dict[str, str] | None = None, generator_url: str = "", **labels: str) -> AlertLine:
    return AlertLine(AlertStatus.firing, {"alertname": "DiskFull", **labels}, annotations or {}, START, None, generator_url)


def events(*kinds: EventKind, **data: Any) -> tuple[Event, ...]:
    return tuple(Event("i", number, START, kind, Actor("source", "am"), f"text {number}", data)
                 for number, kind in enumerate(kinds, 1))


def told(found: Incident | None = None, lines: Sequence[AlertLine] = (), happened: Sequence[Event] = (),
         to: Lane | None = None, **rules: Any) -> Message:
    telling = Telling(found or incident(), tuple(lines), tuple(happened))
    return compose(telling, to or lane(), DESTINATION, replace(RULES, **rules), b"key", NOW)


# -- state

def test_a_message_shows_the_incident_as_it_is() -> None:
    found = incident(status=IncidentStatus.acknowledged, severity=Severity.critical, episode=2, firing=2, alerts=5, incomplete=4,
                     is_stale=True, is_silenced=True, acknowledged_by="ayse", resolved_at=None)
    message = told(found, [line(host="a", env="prod"), line(host="b", env="prod")], events(EventKind.changed))
    assert (message.number, message.episode, message.status, message.severity, message.title) == (
        17, 2, IncidentStatus.acknowledged, Severity.critical, "DiskFull17")
    assert (message.firing, message.resolved, message.incomplete, message.acknowledged_by) == (2, 3, 4, "ayse")
    assert (message.is_stale, message.is_silenced, message.is_degraded, message.possible_duplicate) == (True, True, False, False)
    assert (message.at, message.opened_at, message.why, message.thread) == (NOW, START, Why.changed, "incident-17/2")
    assert message.common_labels == {"alertname": "DiskFull", "env": "prod"}
    assert list(message.common_labels) == ["alertname", "env"]


def test_the_lane_says_whether_it_is_plain_and_perhaps_a_double() -> None:
    message = told(to=lane(is_degraded=True, was_leased=True))
    assert (message.is_degraded, message.possible_duplicate) == (True, True)


def test_no_news_is_a_repeat_and_the_first_telling_opens() -> None:
    assert told().why is Why.repeat
    assert told(happened=events(EventKind.changed, EventKind.action), to=lane(told_seq=0)).why is Why.opened


def test_an_alert_is_shown_as_it_was_stored() -> None:
    alert = Alert({"alertname": "</b>", "host": "日本"}, AlertStatus.firing, {"summary": "{{ 7*7 }}"}, START,
                  generator_url="http://prometheus/graph")
    state = AlertState("am", "a", "i", AlertStatus.resolved, content_of(alert), START, NOW, START, START)
    assert alert_line(state) == AlertLine(AlertStatus.resolved, alert.labels, alert.annotations, START, NOW,
                                          "http://prometheus/graph")
    assert alert_line(replace(state, content=content_of(firing()))).generator_url == ""


# -- what all alerts share

@pytest.mark.parametrize(("maps", "common"), [
    ([], {}), ([{}], {}), ([{"a": "1"}], {"a": "1"}), ([{"a": "1"}, {}], {}), ([{"a": "1"}, {"a": "2"}], {}),
    ([{"a": "1", "b": "2"}, {"b": "2", "a": "9"}, {"b": "2"}], {"b": "2"}), ([{"a": ""}, {"a": ""}], {"a": ""}),
])
def test_shared_are_the_pairs_that_all_have(maps: list[dict[str, str]], common: dict[str, str]) -> None:
    assert shared(maps) == common


small = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)


@settings(deadline=None)
@given(st.lists(small, min_size=1, max_size=5))
def test_shared_is_what_an_obvious_search_finds(maps: list[dict[str, str]]) -> None:
    assert shared(maps) == {name: value for name, value in maps[0].items() if all(other.get(name) == value for other in maps)}


# -- news

@pytest.mark.parametrize("count", [0, 1, NEWS_SHOWN])
def test_news_are_told_oldest_first(count: int) -> None:
    assert news(events(*[EventKind.changed] * count)) == tuple(f"text {number}" for number in range(1, count + 1))


def test_of_much_news_the_newest_is_told_and_the_rest_counted() -> None:
    told_lines = news(events(*[EventKind.changed] * (NEWS_SHOWN + 5)))
    assert told_lines[0] == "5 earlier changes"
    assert told_lines[1:] == tuple(f"text {number}" for number in range(6, NEWS_SHOWN + 6))


# -- links

WEB = ["http://a", "https://a.example.com/x?y=z#f", "https://a/" + "x" * 5000, "https://[::1]:9090/", "https://a/%22%3E"]
NOT_WEB = ["", "javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://a", "//a", "/a",
           "a.example.com", " https://a", "https://a b", "https://a\n", "https://a\tb", "https://a\x00", "https://a\x1b[0m",
           "https://a\u2028b", "https://a\u00a0b", "httpss://a", "http:/a", "mailto:a@b"]


@pytest.mark.parametrize("url", WEB)
def test_a_web_address_is_linked(url: str) -> None:
    assert is_web(url)
    message = told(lines=[line(annotations={"runbook_url": url}, generator_url=url)])
    assert message.links[1:] == (Link("Runbook (from the alert)", url), Link("Source", url))


@pytest.mark.parametrize("url", NOT_WEB, ids=repr)
def test_anything_else_is_never_linked(url: str) -> None:
    assert not is_web(url)
    message = told(lines=[line(annotations={"runbook_url": url}, generator_url=url)])
    assert message.links == (Link("Incident #17", f"{HUB}/incidents/17"),)


@settings(deadline=None)
@given(st.text(max_size=30))
def test_every_link_is_http_and_one_word(text: str) -> None:
    lines = [line(annotations={"runbook_url": text}, generator_url=text),
             line(annotations={"runbook_url": f"https://{text}"}, generator_url=f"http://{text}")]
    for link in told(lines=lines).links:
        assert link.url.startswith(("http://", "https://"))
        assert link.url.split() == [link.url]
        assert min(link.url) > " "


@pytest.mark.parametrize(("url", "label"), [("http://p:9090/graph?g0.expr=up", "Graph"), ("https://p/x/graph", "Graph"),
                                            ("https://grafana/d/1", "Source")])
def test_the_link_to_a_graph_is_called_so(url: str, label: str) -> None:
    assert told(lines=[line(generator_url=url)]).links[1:] == (Link(label, url),)


def test_what_actions_did_is_handed_on() -> None:
    done = (ActionLine("safe-mode succeeded", is_bad=False),)
    assert compose(Telling(incident(), (), (), done), lane(), DESTINATION, RULES, b"key", NOW).actions == done
    assert told().actions == ()


def test_the_first_alert_that_has_a_link_gives_it() -> None:
    lines = [line(), line(annotations={"runbook_url": "javascript:1"}), line(annotations={"runbook_url": "https://wiki/disk"}),
             line(annotations={"runbook_url": "https://wiki/other"}, generator_url="http://prometheus")]
    assert [link.url for link in told(lines=lines).links] == [f"{HUB}/incidents/17", "https://wiki/disk", "http://prometheus"]


def test_the_runbook_of_the_labels_is_linked_once() -> None:
    books = (Runbook("disk", "Disk is full", parse_matchers("alertname=DiskFull")),
             Runbook("disk-prod", "Disk is full, in production", parse_matchers("alertname=DiskFull, env=prod")),
             Runbook("other", "Other", parse_matchers("alertname=Other")))
    message = told(lines=[line(alertname="Unknown"), line(env="prod"), line()], runbooks=books)
    assert message.links[1:] == (Link("Runbook: Disk is full, in production", f"{HUB}/runbooks/disk-prod"),)


# -- whose attempt it is

def test_the_delivery_keeps_its_name_over_attempts_and_changes_it_with_news() -> None:
    first = told(happened=events(EventKind.opened)).delivery_id
    assert told(happened=events(EventKind.opened), to=lane(attempt=9, failures=8, was_leased=True)).delivery_id == first
    assert told(incident(seq=4), happened=events(EventKind.opened, EventKind.changed)).delivery_id != first
    assert told(to=lane(repeats=1)).delivery_id != first


# -- a storm

STATUSES = [IncidentStatus.resolved, IncidentStatus.triggered, IncidentStatus.acknowledged]


def storm(count: int, **fields: Any) -> tuple[list[Telling], list[Lane]]:
    numbers = range(1, count + 1)
    return ([Telling(incident(number, opened_at=START + timedelta(seconds=-number), **fields), (), ()) for number in numbers],
            [lane(number) for number in numbers])


def test_a_summary_names_every_incident() -> None:
    tellings, lanes = storm(40)
    message = digest(tellings, lanes, RULES, NOW)
    assert [(named.number, named.title, named.url) for named in message.digest] == [
        (number, f"DiskFull{number}", f"{HUB}/incidents/{number}") for number in range(1, 41)]
    assert (message.why, message.title, message.firing) == (Why.digest, "40 incidents: 40 open, 0 resolved", 40)
    assert (message.links, message.opened_at) == ((Link("All incidents", f"{HUB}/"),), START - timedelta(seconds=40))


@pytest.mark.parametrize(("statuses", "status", "title"), [
    (STATUSES, IncidentStatus.triggered, "3 incidents: 2 open, 1 resolved"),
    ([IncidentStatus.resolved] * 2, IncidentStatus.resolved, "2 incidents: 0 open, 2 resolved"),
])
def test_a_summary_is_as_bad_as_the_worst_in_it(statuses: list[IncidentStatus], status: IncidentStatus, title: str) -> None:
    ranks = [Severity.info, Severity.critical, Severity.error]
    tellings = [Telling(incident(number, status=each, severity=ranks[number]), (), ()) for number, each in enumerate(statuses)]
    message = digest(tellings, [lane(number) for number in range(len(statuses))], RULES, NOW)
    assert (message.status, message.severity, message.title) == (status, Severity.critical, title)


def test_a_summary_says_first_whom_it_calls_for_what_the_gravest_and_newest_before_the_others() -> None:
    tellings, lanes = storm(5)
    grave = replace(tellings[3].incident, severity=Severity.critical, title="Trading\nhalted")
    tellings[3] = replace(tellings[3], incident=grave)
    tellings[2] = replace(tellings[2], incident=replace(tellings[2].incident, severity=Severity.critical))
    message = digest(tellings, lanes, RULES, NOW, {tellings[number].incident.id for number in (1, 2, 3, 4)})
    assert message.title == "YOU ARE CALLED for 4 incidents: DiskFull3, Trading halted, DiskFull2 …"
    assert [line.number for line in message.digest] == [3, 4, 2, 5, 1]
    assert digest(tellings, lanes, RULES, NOW, [grave.id]).title == "YOU ARE CALLED for 1 incident: Trading halted"


def test_a_summary_says_first_what_its_reader_is_asked_to_agree_to() -> None:
    tellings, lanes = storm(5)
    question = Event("i", 1, START, EventKind.action, Actor("hub", "act"), "waits", {"told": [lanes[3].destination]})
    tellings[3] = replace(tellings[3], asked=(ASKED,), events=(question,))
    decided = replace(tellings[4], events=(question,))
    message = digest([*tellings[:4], decided], lanes, RULES, NOW, {tellings[number].incident.id for number in (1, 3)})
    assert message.title == "YOU ARE ASKED to approve or deny in 1 incident: DiskFull4. YOU ARE CALLED for 1 incident: DiskFull2"
    assert [(line.number, line.title) for line in message.digest][:2] == [
        (2, "DiskFull2"), (4, "WAITS FOR YOUR APPROVAL: DiskFull4")]
    elsewhere = [replace(each, destination="slack:#elsewhere") for each in lanes]
    assert digest(tellings, elsewhere, RULES, NOW).title == "5 incidents: 5 open, 0 resolved"


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_plain_or_doubtful_lane_makes_the_whole_summary_so(which: int) -> None:
    tellings, lanes = storm(3)
    assert not digest(tellings, lanes, RULES, NOW).is_degraded
    lanes[which] = replace(lanes[which], is_degraded=True, was_leased=True)
    message = digest(tellings, lanes, RULES, NOW)
    assert (message.is_degraded, message.possible_duplicate) == (True, True)


def test_a_summary_keeps_its_name_over_attempts() -> None:
    tellings, lanes = storm(3)
    again = [replace(each, attempt=9, failures=8, was_leased=True) for each in lanes]
    assert digest(tellings, again, RULES, NOW).delivery_id == digest(tellings, lanes, RULES, NOW).delivery_id


def test_a_summary_of_other_incidents_is_another_delivery() -> None:
    """A receiver that drops doubles by this name must not drop an incident that the first summary did not hold."""
    tellings, lanes = storm(3)
    first = digest(tellings, lanes, RULES, NOW).delivery_id
    moved = [tellings[0], tellings[1], replace(tellings[2], incident=replace(tellings[2].incident, seq=4))]
    others = [digest(tellings[:2], lanes[:2], RULES, NOW), digest(*storm(4), RULES, NOW), digest(moved, lanes, RULES, NOW),
              told(tellings[0].incident, to=lanes[0])]
    assert len({first, *(message.delivery_id for message in others)}) == 5
