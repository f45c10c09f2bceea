"""What a mail says of actions: first what was not done, always said; escaped, within every limit, readable on a phone."""

from __future__ import annotations

import re
from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.channels import email_body as body
from alerthub.channels.email_facts import told_html, told_text
from alerthub.domain.message import ActionLine, Button, Message
from alerthub.domain.story import HEADINGS
from tests.channels.test_email_body import part, shown, wired
from tests.kit.messages import HOSTILE, giant_message, message

NOT_DONE, PENDING, DONE = HEADINGS.values()
NOTHING_LEFT, NOTHING_DONE = "Nothing was left undone: every action that was called for was done.", "Nothing was done."
FACTS = ("safe-mode on agent-btc was done.", "How it went: it says safe.", "Who agreed: nobody had to.")
WHY = ("retrain on drl was NOT done.", "Why: actions are frozen.", "When: never started.")
GOOD = ActionLine("safe-mode on agent-btc: succeeded", is_bad=False, facts=FACTS)
BAD = ActionLine("retrain on drl: refused", is_bad=False, is_done=False, facts=WHY)


def both(told: Message) -> list[str]:
    """The text, and what a person sees of the HTML, as they arrive."""
    mail = wired(told)
    return [part(mail, "text/plain"), shown(part(mail, "text/html")).text]


def test_what_was_not_done_stands_before_what_was() -> None:
    for text in both(message(actions=(GOOD, BAD))):
        order = [text.index(line) for line in (NOT_DONE, *WHY, *FACTS, "alerthub audit export 17")]
        assert DONE in text[text.index(WHY[-1]):text.index(FACTS[0])]
        assert order == sorted(order)


def test_nothing_left_undone_is_said_and_nothing_done_too() -> None:
    for text in both(message(actions=(GOOD,))):
        assert NOTHING_LEFT in text
        assert NOTHING_DONE not in text
    for text in both(message(actions=(BAD,))):
        assert NOTHING_DONE in text
        assert NOTHING_LEFT not in text


WAITS = ActionLine("retrain on drl: awaiting approval", is_bad=False, is_done=False, is_pending=True, facts=(
    "retrain on drl has NOT been done yet.", "Why not yet: people must agree first."))


def test_what_waits_is_neither_done_nor_left_undone() -> None:
    for text in both(message(actions=(GOOD, WAITS))):
        order = [text.index(line) for line in (NOT_DONE, "Nothing so far, but not all", PENDING, *WAITS.facts, DONE, *FACTS)]
        assert order == sorted(order)
        assert NOTHING_LEFT not in text
    for text in both(message(actions=(GOOD, BAD))):
        assert "Nothing: all that was called for is decided and has ended." in text


def test_what_may_have_been_done_is_not_said_to_be_nothing() -> None:
    unknown = ActionLine("retry: unknown", is_bad=True, is_done=False, in_doubt=True, facts=("retry is UNCONFIRMED.", "Why: x."))
    for text in both(message(actions=(unknown,))):
        assert "Nothing that is confirmed." in text
        assert NOTHING_DONE not in text


def test_without_actions_nothing_is_said_of_them() -> None:
    for text in both(message()):
        assert NOT_DONE not in text
        assert "audit export" not in text


def test_the_short_line_of_the_chats_is_not_said_a_second_time() -> None:
    for text in both(message(actions=(GOOD, BAD))):
        assert GOOD.text not in text
        assert BAD.text not in text


@pytest.mark.parametrize("value", HOSTILE)
def test_no_label_breaks_out_of_it(value: str) -> None:
    hostile = ActionLine(value, is_bad=True, is_done=False, facts=(f"retry on {value} FAILED.", f"Why: {value}", value))
    told = message(actions=(hostile,))
    usual = shown(part(wired(message(actions=(BAD,))), "text/html"))
    made = part(wired(told), "text/html")
    found = shown(made)
    assert set(found.tags) == set(usual.tags)
    assert set(found.attributes) == set(usual.attributes)
    assert found.links == usual.links
    text = body.text_body(told, is_first=False)
    assert len([line for line in text.split("\n") if line.startswith("- retry on")]) == 1
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", text)


def test_of_many_the_newest_are_told_at_length_and_the_others_shorter_then_counted() -> None:
    many = tuple(ActionLine("x", is_bad=False, is_done=False, facts=(
        f"retry {number} was NOT done.", f"Why: {number}.", f"More {number}.")) for number in range(30))
    text = body.text_body(message(actions=many), is_first=False)
    assert "… +10 more" in text
    assert "- retry 9 was NOT done." not in text
    assert "- retry 10 was NOT done.\n  Why: 10.\n- retry 11" in text
    assert "- retry 29 was NOT done.\n  Why: 29.\n  More 29." in text


BIG = "🔥<&>\"'" * 500
GIANT = tuple(ActionLine(BIG, is_bad=number % 2 == 0, is_done=number % 2 == 0, facts=(BIG,) * 12) for number in range(100))


def test_the_largest_mail_stays_within_its_limits_and_still_names_actions() -> None:
    buttons = tuple(Button("silence", BIG[:80], "t", "https://hub.example.com/respond/" + "t" * 300) for _ in range(20))
    for told in (giant_message(actions=GIANT), giant_message(actions=GIANT, buttons=buttons), message(actions=GIANT)):
        text, html = body.text_body(told, is_first=False), body.html_body(told, is_first=False)
        assert len(text) <= body.TEXT_LIMIT + 1
        assert len(html.encode()) <= body.HTML_LIMIT
        assert escape(BIG[:20]) in html
        assert BIG[:20] in text
        assert wired(told)


@settings(max_examples=40, deadline=None)
@given(room=st.integers(0, 25_000), count=st.integers(0, 40), length=st.integers(0, 700))
def test_no_room_is_overrun(room: int, count: int, length: int) -> None:
    told = message(actions=tuple(ActionLine("é" * length, is_bad=False, is_done=number % 3 == 0, facts=("é<" * length,) * 4)
                                 for number in range(count)))
    assert len(told_text(told, room)) <= room
    assert len(told_html(told, room).encode()) <= room


def test_it_is_readable_on_a_phone_of_360_pixels() -> None:
    """Nothing has a width of its own, and text is of 16 pixels and wraps anywhere: ids are longer than a phone is wide."""
    made = told_html(message(actions=(GOOD, BAD)), 20_000)
    assert "width" not in made
    assert "<table" not in made
    assert "nowrap" not in made
    assert made.count("overflow-wrap:anywhere") == made.count("<p ")
    assert all(int(size) >= 16 for size in re.findall(r"font-size:(\d+)px", made))
    assert sum(int(side) for side in re.findall(r"padding:0 0 0 (\d+)px", made)[:1]) <= 16
