"""What channels share about words: cutting, states, plain text, Retry-After, statuses, and the registry."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.channels import REGISTRY, load
from alerthub.channels.slack import Slack
from alerthub.channels.text import (
    alert_text,
    clip,
    digest_text,
    facts,
    failure_for_status,
    human_age,
    listed,
    number_ranges,
    one_line,
    plain_text,
    remarks,
    retry_after,
    status_word,
    utf16_clip,
    utf16_length,
)
from alerthub.domain.message import Link, Why
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
    ("abcd", 5, "abcd"), ("abcd", 4, "abcd"), ("abcd", 3, "ab…"), ("abcd", 1, "…"), ("abcd", 0, ""), ("", 0, ""),
    ("🔥🔥🔥", 3, "🔥🔥🔥"), ("🔥🔥🔥", 2, "🔥…"),
])
def test_clip_counts_code_points(text, limit, cut):
    assert clip(text, limit) == cut


def test_clip_ends_with_what_it_is_told():
    assert clip("a long text", 9, " (more)") == "a  (more)"
    assert clip("a long text", 6, "") == "a long"
    assert clip("a long text", 3, " (more)") == " (m"


@pytest.mark.parametrize(("text", "limit", "cut"), [
    ("abcd", 4, "abcd"), ("abcd", 3, "ab…"), ("🔥🔥", 4, "🔥🔥"), ("🔥🔥", 3, "🔥…"), ("🔥🔥", 2, "…"), ("a🔥b", 3, "a…"),
    ("🔥", 1, "…"), ("🔥", 0, ""),
])
def test_utf16_clip_counts_units_and_halves_no_character(text, limit, cut):
    assert utf16_clip(text, limit) == cut


@given(TEXT, st.integers(0, 100))
def test_a_clipped_text_keeps_the_limit_and_the_beginning(text, limit):
    assert len(clip(text, limit)) <= limit
    cut = utf16_clip(text, limit)
    assert utf16_length(cut) <= limit
    assert len(cut.encode("utf-16-le")) // 2 == utf16_length(cut)
    assert cut == text or (text.startswith(cut.removesuffix("…")) and limit < utf16_length(text))


@pytest.mark.parametrize(("text", "line"), [
    ("a\nb", "a b"), ("a\r\n\tb", "a b"), ("  a  ", "a"), ("a\x00b\x1b[31mc", "a b [31mc"), ("a\u2028b\x85c", "a b c"), ("", ""),
    ("\n\n", ""), ("日本語 🔥", "日本語 🔥"),
])
def test_one_line_is_one_line(text, line):
    assert one_line(text) == line


@given(st.text())
def test_one_line_never_breaks(text):
    line = one_line(text)
    assert line.splitlines() in ([], [line])
    assert one_line(line) == line


def test_one_line_cuts_when_told():
    assert one_line("a  long\ntext", 6) == "a lon…"


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
    (digest_message(), "SUMMARY"),
])
def test_the_state_in_a_word(told, word):
    assert status_word(told) == word


def test_a_name_of_ten_kilobytes_does_not_fill_the_line():
    assert len(status_word(acknowledged_message("x" * 10_000))) < 110


@pytest.mark.parametrize(("told", "text"), [
    (message(), "#17 · critical · 1 firing · open for 5 min"),
    (message(resolved=2, episode=3), "#17 · critical · 1 firing, 2 resolved · open for 5 min · episode 3"),
    (resolved_message(), "#17 · critical · 1 resolved · resolved after 5 min"),
    (message(firing=0), "#17 · critical · open for 5 min"),
    (digest_message(12), "critical · 12 incidents"),
])
def test_the_facts_in_a_line(told, text):
    assert facts(told) == text


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
    (firing_line(), {}, "The rolling reward of btc is -12.5 (agent=btc)"),
    (firing_line(annotations={}), {}, "AgentRewardNegative (agent=btc)"),
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
        "#17 · critical · 3 firing · open for 5 min",
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
    assert plain_text(bare, 500).splitlines() == ["[FIRING] AgentRewardNegative (agent=btc)", "#17 · critical · open for 5 min"]
