"""What channels share about words: cutting, states, plain text, Retry-After, statuses, and the registry."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.channels import REGISTRY, load
from alerthub.channels.answers import failure_for_status, not_reached, retry_after
from alerthub.channels.slack import Slack
from alerthub.channels.text import (
    TEST,
    action_lines,
    alert_list,
    alert_text,
    description,
    digest_text,
    facts,
    human_age,
    listed,
    mark,
    number_ranges,
    ordinal,
    plain_text,
    remarks,
    span,
    status_word,
    still,
    unremarked,
    utf16_clip,
    utf16_length,
)
from alerthub.domain.message import ActionLine, Link, Why
from alerthub.errors import Failure
from tests.kit.messages import (
    NOW,
    acknowledged_message,
    digest_line,
    digest_message,
    firing_line,
    giant_message,
    message,
    resolved_line,
    resolved_message,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@pytest.mark.parametrize(("text", "limit", "cut"), [
    ("abcd", 4, "abcd"), ("abcd", 3, "ab…"), ("🔥🔥", 4, "🔥🔥"), ("🔥🔥", 3, "🔥…"), ("🔥🔥", 2, "…"), ("a🔥b", 3, "a…"),
    ("🔥", 1, "…"), ("🔥", 0, ""),
])
def test_utf16_clip_counts_units_and_halves_no_character(text, limit, cut):
    assert utf16_clip(text, limit) == cut


@given(TEXT, st.integers(0, 100))
def test_a_clipped_text_keeps_the_limit_and_the_beginning(text, limit):
    cut = utf16_clip(text, limit)
    assert utf16_length(cut) <= limit
    assert len(cut.encode("utf-16-le")) // 2 == utf16_length(cut)
    assert cut == text or (text.startswith(cut.removesuffix("…")) and limit < utf16_length(text))


@pytest.mark.parametrize(("seconds", "text"), [
    (-5, "0 s"), (0, "0 s"), (0.9, "0 s"), (45, "45 s"), (59, "59 s"), (60, "1 min"), (119, "1 min"), (3_599, "59 min"),
    (3_600, "1 h"), (3_660, "1 h 1 min"), (86_399, "23 h 59 min"), (86_400, "1 d"), (90_000, "1 d 1 h"), (10**7, "115 d 17 h"),
])
def test_an_age_is_told_in_two_units(seconds, text):
    assert human_age(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("told", "word"), [
    (message(), "FIRING"), (message(is_stale=True), "STALE"), (resolved_message(), "RESOLVED"),
    (resolved_message(is_stale=True), "RESOLVED"), (acknowledged_message("ayse"), "ACKNOWLEDGED by ayse"),
    (acknowledged_message(""), "ACKNOWLEDGED"), (acknowledged_message("a\nb"), "ACKNOWLEDGED by a b"),
    (acknowledged_message("ayse", is_stale=True), "ACKNOWLEDGED by ayse, STALE"), (message(why=Why.test), "TEST"),
    (digest_message(), "SUMMARY"), (message(is_silenced=True), "SILENCED"), (resolved_message(is_silenced=True), "RESOLVED"),
    (message(is_silenced=True, is_stale=True), "SILENCED, STALE"),
    (acknowledged_message("ayse", is_silenced=True), "ACKNOWLEDGED by ayse, SILENCED"),
])
def test_the_state_in_a_word(told, word):
    assert status_word(told) == word


def test_a_name_of_ten_kilobytes_does_not_fill_the_line():
    assert len(status_word(acknowledged_message("x" * 10_000))) < 110


@pytest.mark.parametrize(("told", "text"), [
    (message(), "#17 · critical · 1 firing · since 11:55 UTC (5 min)"),
    (message(resolved=2, episode=3), "#17 · critical · 1 firing, 2 resolved · since 11:55 UTC (5 min) · reopened (2nd time)"),
    (resolved_message(), "#17 · critical · 1 resolved · 11:55–12:00 UTC (5 min)"),
    (message(firing=0), "#17 · critical · since 11:55 UTC (5 min)"),
    (digest_message(12), "critical · 12 incidents"),
    (message(episode=2), "#17 · critical · 1 firing · since 11:55 UTC (5 min) · reopened"),
    (message(why=Why.test), TEST),
])
def test_the_facts_in_a_line(told, text):
    assert facts(told) == text


OLD = firing_line(starts_at=NOW - timedelta(minutes=19))
ELSEWHERE = firing_line(starts_at=OLD.starts_at.astimezone(timezone(timedelta(hours=3))))


@pytest.mark.parametrize(("told", "text"), [
    (message(alerts=(firing_line(), OLD)), "since 11:41 UTC (19 min)"),
    (message(alerts=(firing_line(), resolved_line(starts_at=NOW - timedelta(hours=2)))), "since 11:55 UTC (5 min)"),
    (message(alerts=(firing_line(starts_at=None),), opened_at=NOW - timedelta(hours=2)), "since 10:00 UTC (2 h)"),
    (message(alerts=()), "since 11:55 UTC (5 min)"),
    (message(alerts=(firing_line(starts_at=NOW - timedelta(hours=13)),)), "since 2026-11-20 23:00 UTC (13 h)"),
    (message(alerts=(firing_line(starts_at=NOW + timedelta(hours=1)),)), "since 13:00 UTC (0 s)"),
    (message(alerts=(ELSEWHERE,)), "since 11:41 UTC (19 min)"),
    (resolved_message(alerts=(resolved_line(starts_at=NOW - timedelta(hours=4, minutes=22)),)), "07:38–12:00 UTC (4 h 22 min)"),
    (resolved_message(alerts=(resolved_line(starts_at=NOW - timedelta(hours=13)),)),
     "2026-11-20 23:00–2026-11-21 12:00 UTC (13 h)"),
    (resolved_message(at=NOW + timedelta(days=1)), "2026-11-21 11:55–12:00 UTC (5 min)"),
    (resolved_message(episode=2, alerts=(resolved_line(), resolved_line(starts_at=NOW - timedelta(days=2),
                                                                        ends_at=NOW - timedelta(days=1)))),
     "11:55–12:00 UTC (5 min)"),
    (resolved_message(alerts=()), "11:55–12:00 UTC (5 min)"),
    (message(time_zone="Europe/Istanbul"), "since 14:55 +03 (5 min)"),
    (resolved_message(time_zone="Europe/Istanbul"), "14:55–15:00 +03 (5 min)"),
])
def test_since_when_is_the_sources_time_and_not_the_hubs(told, text):
    assert span(told) == text


@pytest.mark.parametrize(("number", "word"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"),
                                              (13, "13th"), (21, "21st"), (112, "112th"), (10**9, "1000000000th")])
def test_an_ordinal(number, word):
    assert ordinal(number) == word


@pytest.mark.parametrize(("told", "sign"), [
    (message(), "🔴"), (message(is_silenced=True), "🔕"), (message(is_stale=True), "⌛"),
    (resolved_message(is_silenced=True), "✅"),
    (acknowledged_message(), "👀"), (acknowledged_message(is_silenced=True), "🔕"), (message(why=Why.test), "🧪"),
])
def test_each_state_has_its_mark(told, sign):
    assert mark(told) == sign


@pytest.mark.parametrize(("told", "text"), [
    (message(alerts=(firing_line(starts_at=NOW - timedelta(hours=4)),), firing=3),
     "Still firing after 4 h: AgentRewardNegative (agent=btc), 3 firing"),
    (message(firing=0, title="a\nb"), "Still firing after 5 min: a b"),
    (message(title=" "), "Still firing after 5 min: Incident #17, 1 firing"),
    (acknowledged_message("STALE Ayse"),
     "Still acknowledged by STALE Ayse after 5 min: AgentRewardNegative (agent=btc), 1 firing"),
    (message(is_silenced=True), "Still silenced after 5 min: AgentRewardNegative (agent=btc), 1 firing"),
])
def test_a_repeat_says_what_it_is(told, text):
    assert still(told) == text


@pytest.mark.parametrize(("annotations", "text"), [
    ({}, ""), ({"description": "Look\nthere"}, "Look there"), ({"description": " AgentRewardNegative\n(agent=btc)"}, ""),
    ({"description": "x" * 501}, "x" * 499 + "…"), ({"description": "x" * 500}, "x" * 500),
])
def test_the_shared_description_is_told_when_it_says_more_than_the_title(annotations, text):
    assert description(message(common_annotations=annotations)) == text
    assert (f"\n{text}\n" in plain_text(message(common_annotations=annotations), 4_000)) is bool(text)


def test_what_a_remark_says_is_no_news_beside_it():
    news = ("Silenced or inhibited at the source", "Changed: 1 alert firing")
    assert unremarked(message(news=news, is_silenced=True)) == ["Changed: 1 alert firing"]
    assert unremarked(message(news=news)) == list(news)


def test_an_action_is_told_with_its_outcome():
    told = message(actions=(ActionLine("safe-mode on\nbtc succeeded", is_bad=False), ActionLine("x" * 999, is_bad=True)))
    good, bad = action_lines(told)
    assert good == "✔ safe-mode on btc succeeded"
    assert (bad[:3], bad[-1], len(bad)) == ("✖ x", "…", 300)
    assert good in plain_text(told, 4_000).splitlines()
    assert action_lines(message()) == []


def test_only_what_was_done_has_the_mark_of_it() -> None:
    lines = (ActionLine("done", is_bad=False), ActionLine("failed", is_bad=True, is_done=False),
             ActionLine("refused", is_bad=False, is_done=False),
             ActionLine("waits", is_bad=False, is_done=False, is_pending=True))
    assert action_lines(message(actions=lines)) == ["✔ done", "✖ failed", "✖ refused", "… waits"]


def test_of_many_actions_the_failed_and_the_newest_are_told():
    told = message(actions=tuple(ActionLine(str(number), is_bad=number == 1) for number in range(9)))
    assert action_lines(told) == ["✖ 1", "✔ 5", "✔ 6", "✔ 7", "✔ 8", "… +4 more"]
    assert action_lines(message(actions=told.actions[:5])) == ["✔ 0", "✖ 1", "✔ 2", "✔ 3", "✔ 4"]


SUMMARY = "The rolling reward of btc is -12.5"


@pytest.mark.parametrize(("told", "said", "found"), [
    (message(), ("x",), ([SUMMARY], 1)), (message(), (SUMMARY,), ([], 0)),
    (message(), ("The rolling\nreward of btc is -12.5",), ([], 0)),
    (resolved_message(), (SUMMARY,), ([], 0)), (message(firing=2), (SUMMARY,), ([SUMMARY], 2)),
    (message(alerts=(firing_line(), firing_line()), firing=2), (SUMMARY,), ([SUMMARY] * 2, 2)),
    (message(common_labels={"severity": "critical"}), (SUMMARY,), ([f"{SUMMARY} (agent=btc)"], 1)),
    (message(why=Why.test), (), ([], 0)),
])
def test_one_alert_is_not_told_twice(told, said, found):
    assert alert_list(told, 10, said=said) == found


def test_alerts_show_their_severity_where_it_differs():
    lines = (firing_line(), firing_line(labels={"alertname": "A", "agent": "btc", "severity": "warning"}))
    told = message(alerts=lines, firing=2, common_labels={"agent": "btc"})
    assert alert_list(told, 10)[0] == [f"{SUMMARY} (severity=critical)", f"{SUMMARY} (severity=warning)"]


@pytest.mark.parametrize(("error", "text"), [
    (ConnectionRefusedError(), "refused or unreachable"), (OSError("key=secret"), "refused or unreachable"),
    (TimeoutError(), "no answer in time"), (ssl.SSLCertVerificationError(), "TLS failed"),
])
def test_no_connection_is_told_in_words(error, text):
    assert not_reached(error) == f"no connection ({text})"


@pytest.mark.parametrize(("flag", "word"), [
    ({"is_stale": True}, "STALE"), ({"incomplete": 9}, "cut off 9 more"), ({"is_silenced": True}, "Silenced"),
    ({"possible_duplicate": True}, "duplicate"),
])
def test_what_limits_trust_is_remarked(flag, word):
    assert remarks(message()) == []
    (remark,) = remarks(message(**flag))
    assert word in remark


@pytest.mark.parametrize(("alert", "common", "text"), [
    (firing_line(), message().common_labels, "The rolling reward of btc is -12.5"),
    (firing_line(), {"severity": "critical"}, "The rolling reward of btc is -12.5 (agent=btc)"),
    (firing_line(), {}, "The rolling reward of btc is -12.5 (agent=btc, severity=critical)"),
    (firing_line(annotations={}), {"severity": "critical"}, "AgentRewardNegative (agent=btc)"),
    (firing_line(annotations={}, labels={}), {}, "alert"),
    (resolved_line(annotations={"summary": "fine\nagain"}, labels={}), {}, "resolved: fine again"),
    (firing_line(labels={"a": "1", "b": "2"}), {"a": "1", "b": "1"}, "The rolling reward of btc is -12.5 (b=2)"),
])
def test_an_alert_on_one_line(alert, common, text):
    assert alert_text(alert, common) == text


@pytest.mark.parametrize(("limit", "text"), [
    (100, "- one\n- two\n- three\n… +7 more"), (29, "- one\n- two\n- three\n… +7 more"), (28, "- one\n- two\n… +8 more"),
    (15, "- one\n… +9 more"), (14, "… +10 more"), (9, ""), (0, ""), (-5, ""),
])
def test_a_list_shows_whole_lines_and_counts_the_rest(limit, text):
    assert listed(["one", "two", "three"], 10, limit) == text


def test_a_list_that_is_whole_counts_nothing():
    assert listed(["one"], 1, 5) == "- one"
    assert listed([], 0, 5) == ""


@pytest.mark.parametrize(("numbers", "text"), [
    ([], ""), ([3], "#3"), ([5, 3, 4], "#3-#5"), ([1, 2, 4, 9, 10], "#1-#2, #4, #9-#10"), ([7, 7], "#7"),
])
def test_numbers_are_joined_to_ranges(numbers, text):
    assert number_ranges(numbers) == text


def test_a_digest_says_as_much_as_there_is_room_for():
    lines = [digest_line(number, title="t" * 50) for number in range(1, 101)]
    assert "https://hub.example.com/incidents/100" in digest_text(lines, 20_000)
    middle = digest_text(lines, 8_000)
    assert "https" not in middle
    assert "#100 warning: " + "t" * 50 in middle
    assert "#100 warning: " + "t" * 29 + "…" in digest_text(lines, 5_000)
    assert digest_text(lines, 50) == "#1-#100"


def test_a_resolved_incident_in_a_digest_is_marked():
    assert digest_text([digest_line(4, status=resolved_message().status)], 500).startswith("#4 RESOLVED: Storm4")


def test_plain_text_has_title_state_alerts_and_links():
    assert plain_text(message(is_stale=True, firing=3), 1_000).splitlines() == [
        "[STALE] AgentRewardNegative (agent=btc)",
        "#17 · critical · 3 firing · since 11:55 UTC (5 min)",
        "STALE: the source has been silent for too long; this may no longer be true.",
        "- The rolling reward of btc is -12.5",
        "… +2 more",
        "Incident: https://hub.example.com/incidents/17",
        "Runbook: https://hub.example.com/runbooks/agent-reward",
    ]


def test_plain_text_keeps_links_when_alerts_must_go():
    text = plain_text(message(alerts=(firing_line(),) * 40, firing=40), 220)
    assert text.endswith("agent-reward")
    assert "… +40 more" in text


def test_plain_text_never_cuts_an_address():
    told = message(links=(Link("Long", "https://example.com/" + "a" * 3_000), Link("Short", "https://example.com/b")))
    text = plain_text(told, 10_000)
    assert "Long" not in text
    assert "Short: https://example.com/b" in text


@pytest.mark.parametrize("told", [message(), giant_message(), digest_message(300), resolved_message(), message(title="")],
                         ids=["one", "giant", "digest", "resolved", "untitled"])
def test_plain_text_keeps_every_limit(told):
    for limit in (0, 1, 10, 50, 63, 64, 65, 100, 160, 161, 300, 1_000, 4_000):
        assert len(plain_text(told, limit)) <= limit


@pytest.mark.parametrize(("value", "seconds"), [
    ("0", 0), ("1", 1), (" 30 ", 30), ("1.5", 1.5), ("3600", 3600), ("3601", 3600), ("86400", 3600), ("9" * 5_000, 3600),
    (None, None), ("", None), ("abc", None), ("-1", None), ("1e3", None), ("nan", None), ("inf", None), ("٣", None),
    ("0x10", None), ("1, 2", None), ("Sat, 21 Nov 2026 12:00:40 GMT", 40), ("Sat, 21 Nov 2026 12:00:40 -0000", None),
    ("Sat, 21 Nov 2026 11:00:00 GMT", 0), ("Sun, 22 Nov 2026 12:00:00 GMT", 3600), ("Sat, 21 Nov 2026 15:00:40 +0300", 40),
    ("Sat, 99 Nov 2026 12:00:40 GMT", None), ("Sat, 21 Nov 99999 12:00:40 GMT", None), ("21", 21),
])
def test_retry_after_is_seconds_or_nothing(value, seconds):
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_breaks_anything(value):
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= 3600


@given(st.integers(-10**6, 10**6))
def test_a_date_is_the_time_until_then_within_bounds(offset):
    date = format_datetime(NOW + timedelta(seconds=offset), usegmt=True)
    assert retry_after(date, NOW) == min(max(offset, 0), 3600)


@pytest.mark.parametrize(("status", "reason"), [
    (200, Failure.bug), (204, Failure.bug), (301, Failure.configuration), (302, Failure.configuration),
    (304, Failure.configuration),
    (400, Failure.content), (401, Failure.configuration), (403, Failure.configuration), (404, Failure.configuration),
    (405, Failure.configuration), (408, Failure.unavailable), (410, Failure.configuration), (413, Failure.content),
    (422, Failure.content), (425, Failure.unavailable), (429, Failure.rate_limited), (451, Failure.configuration),
    (499, Failure.configuration), (500, Failure.unavailable), (502, Failure.unavailable), (503, Failure.unavailable),
    (504, Failure.timeout), (599, Failure.unavailable), (0, Failure.bug), (101, Failure.bug),
])
def test_each_status_has_its_class(status, reason):
    assert failure_for_status(status) is reason


def test_a_kind_loads_its_class_and_an_unknown_one_does_not():
    assert load("slack") is Slack
    with pytest.raises(KeyError):
        load("pigeon")


@pytest.mark.parametrize("kind", REGISTRY)
def test_a_kind_is_named_like_its_module(kind):
    assert REGISTRY[kind].startswith(f"alerthub.channels.{kind}:")


def test_a_message_without_links_and_alerts_is_still_told():
    bare = replace(message(), links=(), alerts=(), firing=0, common_labels={}, common_annotations={})
    assert plain_text(bare, 500).splitlines() == [
        "[FIRING] AgentRewardNegative (agent=btc)", "#17 · critical · since 11:55 UTC (5 min)"]
