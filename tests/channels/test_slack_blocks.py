"""Slack's blocks: every limit at its edge, hostile text literal, and what each state looks like."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.channels.slack_blocks import (
    ACTION_ELEMENTS,
    ANSWERS_JSON,
    BLOCKS,
    BLOCKS_JSON,
    BUTTON_TEXT,
    BUTTON_URL,
    CONTEXT_ELEMENTS,
    FIELD_VALUE,
    FIELDS,
    HEADER_TEXT,
    LINKS,
    OPTION_VALUE,
    OPTIONS,
    ROOMS,
    SECTION_TEXT,
    TEXT,
    actions_block,
    answers_block,
    blocks_of,
    build,
    context,
    escape,
    escaped,
    fallback_text,
    fields_of,
    header,
    json_length,
    mention_text,
    news_line,
    pieces,
    plain,
    section,
    shown_links,
)
from alerthub.domain.alert import Severity
from alerthub.domain.message import ActionLine, Button, Link, Message, Why
from tests.kit.messages import (
    HOSTILE,
    NOW,
    acknowledged_message,
    digest_message,
    firing_line,
    giant_message,
    hostile_message,
    message,
    resolved_message,
)
from tests.kit.providers.slack import problems, text_objects, tokens, visible

ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
BUTTONS = (
    Button("acknowledge", "Acknowledge", "a.1.1..mac"), Button("resolve", "Resolve", "r.1.1..mac"),
    Button("silence", "Silence 1 h", "s1.1.1..mac"), Button("silence", "Silence 4 h", "s4.1.1..mac"),
    Button("silence", "Silence until 09:00", "st.1.1..mac"), Button("escalate", "Escalate now", "e.1.1..mac"),
)
LABELS = st.dictionaries(st.text(min_size=1, max_size=20), ANYTHING, max_size=15)


def shown(told: Message) -> str:
    return visible({"text": "", "blocks": blocks_of(told)})


def edges(limit: int) -> tuple[int, int, int]:
    return limit - 1, limit, limit + 1


@pytest.mark.parametrize("size", edges(HEADER_TEXT))
def test_a_header_is_cut_at_its_limit(size):
    prefix = len("🔴 FIRING: ")
    text = header(message(title="x" * (size - prefix)), None)["text"]["text"]
    assert len(text) == min(size, HEADER_TEXT)
    assert text.endswith("…") == (size > HEADER_TEXT)


@pytest.mark.parametrize("size", edges(SECTION_TEXT))
def test_a_section_is_cut_at_its_limit(size):
    blocks = blocks_of(message(common_annotations={"summary": "x" * size}, alerts=()))
    assert problems(blocks) == []
    texts = [block["text"]["text"] for block in blocks if block["type"] == "section" and "text" in block]
    assert max(map(len, texts)) == min(size, SECTION_TEXT)


@pytest.mark.parametrize("size", edges(FIELD_VALUE))
def test_a_field_is_cut_at_its_limit(size):
    (field,) = fields_of(message(common_labels={"agent": "x" * size}), ROOMS[0])
    assert len(field["text"]) == len("agent\n") + min(size, FIELD_VALUE)


@pytest.mark.parametrize("count", edges(FIELDS))
def test_no_more_fields_than_slack_takes(count):
    told = message(common_labels={f"l{number}": "v" for number in range(count)})
    assert len(fields_of(told, ROOMS[0])) == min(count, FIELDS)
    assert problems(blocks_of(told)) == []


@pytest.mark.parametrize("count", edges(CONTEXT_ELEMENTS))
def test_no_more_context_elements_than_slack_takes(count):
    block = context([plain("x", 10)] * count)
    assert len(block["elements"]) == min(count, CONTEXT_ELEMENTS)
    assert problems([block]) == []


@pytest.mark.parametrize("count", edges(LINKS))
def test_no_more_buttons_than_are_useful(count):
    block = actions_block(message(links=tuple(Link(f"L{number}", "https://example.com") for number in range(count))))
    assert len(block["elements"]) == min(count, LINKS) <= ACTION_ELEMENTS
    assert problems([block]) == []


@pytest.mark.parametrize("size", edges(BUTTON_TEXT))
def test_a_buttons_text_is_cut_at_its_limit(size):
    block = actions_block(message(links=(Link("x" * size, "https://example.com"),)))
    assert len(block["elements"][0]["text"]["text"]) == min(size, BUTTON_TEXT)
    assert problems([block]) == []


@pytest.mark.parametrize("size", edges(BUTTON_URL))
def test_an_address_over_the_limit_is_left_out_whole(size):
    url = "https://example.com/".ljust(size, "a")
    assert [link.url for link in shown_links([Link("L", url)])] == ([url] if size <= BUTTON_URL else [])


def test_addresses_together_leave_room_for_the_alerts():
    links = [Link("L", "https://example.com/" + "a" * 1_400)] * 5
    assert len(shown_links(links)) == 2


def test_without_a_link_there_is_no_empty_block():
    assert actions_block(message(links=())) is None
    assert problems(blocks_of(message(links=()))) == []


@pytest.mark.parametrize("size", edges(TEXT))
def test_the_fallback_text_is_cut_at_its_limit(size):
    assert len(escaped("x" * size, TEXT)) == min(size, TEXT)


@pytest.mark.parametrize("text", ["&" * 5_000, "<" * 900, "a&b<c>" * 2_000, "&" * 801])
def test_escapes_count_and_are_never_cut(text):
    safe = escaped(text, 4_000)
    assert len(safe) <= 4_000
    assert text.startswith(html.unescape(safe).removesuffix("…"))
    assert escape(html.unescape(safe)) == safe


def message_of_size(size: int) -> Message:
    """One whose fullest form is exactly so long: the address of its link fills it up."""
    told = message(
        common_annotations={"summary": "s" * 3_000, "description": "d" * 1_500}, links=(Link("L", "https://e.com/"),),
        common_labels={f"l{n}": "v" * 60 for n in range(10)}, alerts=(firing_line(annotations={"summary": "a" * 250}),) * 10)
    padding = size - json_length(build(told, ROOMS[0], None, None, ()))
    return replace(told, links=(Link("L", "https://e.com/" + "u" * padding),))


@pytest.mark.parametrize("size", edges(BLOCKS_JSON))
def test_all_blocks_together_keep_the_hidden_limit(size):
    told = message_of_size(size)
    fullest = build(told, ROOMS[0], None, None, ())
    assert json_length(fullest) == size
    assert json_length(blocks_of(told)) <= BLOCKS_JSON
    assert (blocks_of(told) == fullest) == (size <= BLOCKS_JSON), "cut only when it must be"


@pytest.mark.parametrize("told", [
    giant_message(), giant_message(is_stale=True, incomplete=10**9, is_silenced=True, possible_duplicate=True),
    giant_message(common_annotations={"summary": "\x01" * 9_000, "description": '"' * 9_000}),
    digest_message(1_000), digest_message(1_000, digest=digest_message(1_000).digest * 3),
    giant_message(buttons=BUTTONS, acknowledged_at=NOW, silenced_until=NOW, acknowledged_by="\x01🔥" * 90),
], ids=["giant", "all remarks", "escapes", "digest", "long digest", "buttons"])
def test_the_worst_messages_are_legal(told):
    blocks = blocks_of(told, "🔥" * 9_000, "🔥" * 9_000, ("U012AB3CD",) * 10)
    assert problems(blocks) == []
    assert len(blocks) <= BLOCKS
    assert len(fallback_text(told, ("U012AB3CD",) * 10)) <= TEXT


@settings(max_examples=60, deadline=None)
@given(ANYTHING, LABELS, LABELS, st.lists(ANYTHING, max_size=5))
def test_whatever_the_labels_are_the_blocks_are_legal(title, labels, annotations, news):
    told = message(title=title, common_labels=labels, common_annotations=annotations, news=tuple(news),
                   alerts=(firing_line(labels=labels, annotations=annotations),))
    assert problems(blocks_of(told)) == []
    line = news_line(told)
    assert line == "" or problems([section(line)]) == []


@given(ANYTHING)
def test_escaped_text_holds_no_control_sequence_and_reads_the_same(text):
    safe = escape(text)
    assert not set("<>") & set(safe)
    assert html.unescape(safe) == text


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(HOSTILE), ANYTHING)
def test_only_our_mentions_are_ever_parsed(value, tail):
    told = hostile_message(value[:200] + tail)
    markup = [fallback_text(told, ("U012AB3CD",))]
    for block in blocks_of(told, value + tail, value + tail, ("U012AB3CD",)):
        markup += [text["text"] for _, text in text_objects(block) if text["type"] == "mrkdwn"]
    assert all("<" not in text.replace("<@U012AB3CD>", "") for text in markup)


def test_plain_text_objects_parse_no_emoji_names():
    assert plain(":fire:", 20) == {"type": "plain_text", "text": ":fire:", "emoji": False}
    assert plain("", 20)["text"] == "-"


@pytest.mark.parametrize(("told", "start"), [
    (message(), "🔴 FIRING: "), (message(severity=Severity.error), "🟠 FIRING: "),
    (message(severity=Severity.warning), "🟡 FIRING: "),
    (message(severity=Severity.info), "🔵 FIRING: "), (acknowledged_message("ayse"), "👀 ACKNOWLEDGED by ayse: "),
    (resolved_message(), "✅ RESOLVED: "), (message(is_stale=True), "⌛ STALE: "), (digest_message(3), "🔴 SUMMARY: "),
    (message(is_silenced=True), "🔕 SILENCED: "), (message(why=Why.test), "🧪 TEST: "),
])
def test_the_header_says_the_state_in_words_beside_the_sign(told, start):
    assert header(told, None)["text"]["text"].startswith(start)


def test_the_message_has_summary_labels_alerts_facts_and_links():
    told = message(firing=7, alerts=(firing_line(labels={"alertname": "X", "agent": "eth"}),))
    text = shown(told)
    for part in ("The rolling reward of btc is -12.5", "agent\nbtc", "• The rolling reward of btc is -12.5 (agent=eth)",
                 "… +6 more", "#17 · critical · 7 firing · since 11:55 UTC (5 min)", "Incident", "Runbook"):
        assert part in text
    urls = [element["url"] for element in actions_block(told)["elements"]]
    assert urls == [link.url for link in told.links]


@pytest.mark.parametrize(("flag", "word"), [
    ({"is_stale": True}, "STALE: the source"), ({"incomplete": 9}, "INCOMPLETE"), ({"is_silenced": True}, "Silenced or"),
    ({"possible_duplicate": True}, "duplicate"), ({"episode": 3}, "reopened (2nd time)"),
])
def test_what_limits_trust_is_shown(flag, word):
    assert word in shown(message(**flag))
    assert word not in shown(message())


def test_actions_stand_under_the_remarks():
    done = (ActionLine("safe-mode succeeded", is_bad=False), ActionLine("restart failed", is_bad=True))
    told = message(is_stale=True, actions=done)
    text = shown(told)
    assert text.index("STALE: the source") < text.index("✔ safe-mode succeeded\n✖ restart failed") < text.index("#17")


def test_a_single_alert_that_the_summary_tells_is_not_listed_again():
    assert shown(message()).count("The rolling reward of btc is -12.5") == 1
    assert shown(resolved_message()).count("The rolling reward of btc is -12.5") == 1
    assert "… +" not in shown(message())


def test_a_description_that_repeats_the_summary_is_told_once():
    assert shown(message(common_annotations={"summary": "one thing", "description": "one thing"})).count("one thing") == 1


def test_a_test_says_that_it_is_one_and_has_no_facts():
    text = shown(message(why=Why.test, number=0))
    assert "Test of AlertHub. Nothing is wrong; messages of incidents look like this one." in text
    assert "#0" not in text
    assert "firing ·" not in text


def test_a_digest_names_each_incident_at_least_by_number():
    assert "#1100 warning: Storm1100" not in shown(digest_message(1_000))
    assert "#101-#1100" in shown(digest_message(1_000))
    assert "#140 warning: Storm140" in shown(digest_message(40))


@pytest.mark.parametrize(("told", "line"), [
    (message(news=("One", "Two\nlines")), "One\nTwo lines"), (message(news=()), ""),
    (message(why=Why.repeat, news=()), "Still firing after 5 min: AgentRewardNegative (agent=btc), 1 firing"),
    (acknowledged_message("ayse", why=Why.repeat),
     "Still acknowledged by ayse after 5 min: AgentRewardNegative (agent=btc), 1 firing"),
])
def test_the_threads_line_says_what_is_new(told, line):
    assert news_line(told) == line


@pytest.mark.parametrize("size", edges(SECTION_TEXT))
def test_long_news_fits_into_one_section(size):
    full = ["x" * 499] * 5
    line = news_line(message(news=(*full, *["y" * ((size - 2_500) // 2)] * 2)))
    assert 2_900 < len(line) <= SECTION_TEXT
    assert problems([section(line)]) == []


@pytest.mark.parametrize(("text", "parts"), [
    ("", []), ("ab", ["ab"]), ("ab\ncd", ["ab\ncd"]), ("abc\ncd", ["abc", "cd"]), ("abcdefg", ["abcde", "fg"]),
    ("a\nbcdefgh\ni", ["a", "bcdef", "gh\ni"]),
])
def test_a_long_text_is_cut_between_lines(text, parts):
    assert list(pieces(text, 5)) == parts


@pytest.mark.parametrize(("mentions", "text"), [
    ((), ""), (("U012AB3CD",), "<@U012AB3CD>"), (("S012AB3CD", "here"), "<!subteam^S012AB3CD> <!here>"),
])
def test_mentions_are_written_as_slack_wants_them(mentions, text):
    assert mention_text(mentions) == text


def test_the_length_counted_is_that_of_what_is_sent():
    blocks = blocks_of(message(title="日本語 🔥"))
    assert json_length(blocks) == len(json.dumps(blocks)) > len(json.dumps(blocks, ensure_ascii=False))


def elements(told: Message) -> list[dict[str, object]]:
    return [element for block in blocks_of(told) if block["type"] == "actions" for element in block["elements"]]


def test_every_answer_can_be_pressed_and_the_links_stay_beside():
    told = message(buttons=BUTTONS)
    assert tokens({"blocks": blocks_of(told)}) == {button.label: button.token for button in BUTTONS}
    assert [(element["type"], element.get("style")) for element in elements(told)] == [
        ("button", "primary"), ("button", None), ("static_select", None), ("button", None), ("button", None), ("button", None)]
    assert [element["text"]["text"] for element in elements(told)[4:]] == ["Incident", "Runbook"]
    assert problems(blocks_of(told)) == []


def test_the_silences_stand_together_where_the_first_of_them_is():
    (block,) = [answers_block(message(buttons=BUTTONS[::-1]))]
    assert [element["action_id"] for element in block["elements"]] == ["escalate_0", "silence", "resolve_2", "acknowledge_3"]
    assert [option["value"][:2] for option in block["elements"][1]["options"]] == ["st", "s4", "s1"]


@pytest.mark.parametrize("told", [message(), message(buttons=BUTTONS, is_degraded=True), resolved_message()])
def test_without_an_answer_there_is_no_empty_block(told):
    assert answers_block(replace(told, buttons=())) is None


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (OPTION_VALUE, 1), (OPTION_VALUE + 1, 0)])
@pytest.mark.parametrize("verb", ["acknowledge", "silence"])
def test_a_token_that_slack_would_not_carry_has_no_button(size, count, verb):
    told = message(buttons=(Button(verb, "L", "x" * size),), links=())
    assert len(elements(told)) == count
    assert problems(blocks_of(told)) == []


@pytest.mark.parametrize("count", edges(OPTIONS))
def test_the_list_of_silences_has_an_end(count):
    told = message(buttons=tuple(Button("silence", f"{number} h", f"s{number}") for number in range(count)))
    (choices,) = answers_block(told)["elements"]
    assert len(choices["options"]) == min(count, OPTIONS)
    assert problems(blocks_of(told)) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.builds(Button, st.sampled_from(["acknowledge", "resolve", "silence", "escalate", "unacknowledge"]),
                          ANYTHING, st.uuids().map(str)), max_size=30))
def test_whatever_buttons_there_are_the_blocks_are_legal(buttons):
    assert problems(blocks_of(giant_message(buttons=tuple(buttons)))) == []


def test_the_worst_buttons_leave_room_for_the_rest():
    worst = [Button(verb, "🔥" * 90, f"{number:0150}") for number in range(40) for verb in ("resolve", "silence")]
    told = giant_message(
        buttons=tuple(worst), acknowledged_at=NOW, silenced_until=NOW, acknowledged_by="🔥" * 90, is_stale=True,
        is_silenced=True, incomplete=10**9, possible_duplicate=True, links=(Link("🔥" * 90, "https://e/" + "a" * 2_900),))
    assert problems(blocks_of(told, "🔥" * 9_000, "🔥" * 9_000, ("U012AB3CD",) * 10)) == []
    assert answers_block(told)["elements"][0]["action_id"] == "resolve_0"
    assert json_length([answers_block(message(buttons=BUTTONS))]) < ANSWERS_JSON / 2, "ours always fit"


@pytest.mark.parametrize(("told", "line"), [
    (acknowledged_message("ayse", acknowledged_at=NOW), "acknowledged by ayse at 12:00 UTC"),
    (acknowledged_message("", acknowledged_at=NOW - timedelta(days=1)), "acknowledged at 2026-11-20 12:00 UTC"),
    (message(silenced_until=NOW + timedelta(hours=4)), "silenced until 16:00 UTC"),
    (message(silenced_until=NOW + timedelta(hours=21)), "silenced until 2026-11-22 09:00 UTC"),
    (message(silenced_until=NOW + timedelta(hours=4), time_zone="Europe/Istanbul"), "silenced until 19:00 +03"),
])
def test_who_has_it_and_how_long_it_is_silent_stand_beside_the_facts(told, line):
    context_texts = [element["text"] for block in blocks_of(told) if block["type"] == "context" for element in block["elements"]]
    assert line in context_texts
    assert problems(blocks_of(told)) == []


def test_what_is_over_is_neither_acknowledged_nor_silenced():
    text = shown(resolved_message(acknowledged_by="ayse", acknowledged_at=NOW, silenced_until=NOW))
    assert "acknowledged" not in text
    assert "silenced" not in text
