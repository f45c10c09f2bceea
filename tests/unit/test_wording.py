"""Text for one line, what a person typed, and a span in words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.domain.wording import clip, one_line, spoken, typed_line


@pytest.mark.parametrize(("text", "limit", "cut"), [
    ("abcd", 5, "abcd"), ("abcd", 4, "abcd"), ("abcd", 3, "ab…"), ("abcd", 1, "…"), ("abcd", 0, ""), ("", 0, ""),
    ("🔥🔥🔥", 3, "🔥🔥🔥"), ("🔥🔥🔥", 2, "🔥…"),
])
def test_clip_counts_code_points(text: str, limit: int, cut: str) -> None:
    assert clip(text, limit) == cut


def test_clip_ends_with_what_it_is_told() -> None:
    assert clip("a long text", 9, " (more)") == "a  (more)"
    assert clip("a long text", 6, "") == "a long"
    assert clip("a long text", 3, " (more)") == " (m"


@given(st.text(), st.integers(0, 100))
def test_a_clipped_text_keeps_the_limit(text: str, limit: int) -> None:
    assert len(clip(text, limit)) <= limit


@pytest.mark.parametrize(("text", "line"), [
    ("a\nb", "a b"), ("a\r\n\tb", "a b"), ("  a  ", "a"), ("a\x00b\x1b[31mc", "a b [31mc"), ("a\u2028b\x85c", "a b c"), ("", ""),
    ("disk\u202etxt.exe", "disk txt.exe"), ("\u2067a\u2069 \u202ab\u202c", "a b"), ("שלום", "שלום"),
    ("\n\n", ""), ("日本語 🔥", "日本語 🔥"),
])
def test_one_line_is_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


@given(st.text())
def test_one_line_never_breaks(text: str) -> None:
    line = one_line(text)
    assert line.splitlines() in ([], [line])
    assert one_line(line) == line


def test_one_line_cuts_when_told() -> None:
    assert one_line("a  long\ntext", 6) == "a lon…"


@given(st.text())
def test_what_a_person_typed_prints_and_every_database_takes_it(text: str) -> None:
    line = typed_line(text, 40)
    assert line.isprintable()
    assert len(line) <= 40
    assert line.encode().decode() == line


def test_a_mark_that_turns_the_direction_is_not_kept() -> None:
    assert typed_line(" swap\u202e\ud800the\x1b[31m\ndisk ") == "swap the [31m disk"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (45, "45 s"), (150, "2 min 30 s"), (9000, "2 h 30 min"),
                                               (90061, "1 d 1 h"), (-5, "0 s")])
def test_spans_are_said_in_two_units(seconds: int, text: str) -> None:
    assert spoken(timedelta(seconds=seconds)) == text
