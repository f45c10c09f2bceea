"""The terminal of the demo: hostile text is literal, nothing is wider than 80 columns, colours only where they are wanted."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerthub.demo.screen import FRAME_LINES, Line, Screen, Tone, broken, clipped, columns, is_coloured, wrapped

HOSTILE = [
    pytest.param("\x1b[31mred\x1b[0m", r"\u001b[31mred\u001b[0m", id="colour"),
    pytest.param("\x1b]0;title\x07", r"\u001b]0;title\u0007", id="window title"),
    pytest.param("\x9b2J", r"\u009b2J", id="C1 control"),
    pytest.param("a\rb", r"a\rb", id="carriage return"),
    pytest.param("a\x08\x08b", r"a\u0008\u0008b", id="backspace"),
    pytest.param("abc\u202egpj", r"abc\u202egpj", id="reading direction"),
    pytest.param("a\x00b", r"a\u0000b", id="NUL"),
    pytest.param("half \ud83d", r"half \ud83d", id="lone surrogate"),
    pytest.param("a\u2028b", r"a\u2028b", id="line separator"),
]
SIGNS = st.text(st.characters(exclude_categories=[]), max_size=400)


class Stream(io.StringIO):
    def __init__(self, encoding: str = "utf-8", *, is_terminal: bool = False) -> None:
        super().__init__()
        self._encoding, self.is_terminal = encoding, is_terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self.is_terminal


class Broken(Stream):
    """Nobody reads at the other end."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def printed(*, width: int = 80, is_coloured: bool = False, encoding: str = "utf-8") -> tuple[Screen, Stream]:
    stream = Stream(encoding)
    return Screen(stream, is_coloured=is_coloured, width=width), stream


def everything(screen: Screen, text: str) -> None:
    """The text in all ways in which the screen prints."""
    screen.headline(text)
    screen.say(text)
    screen.seen(text)
    screen.shown(text)
    screen.frame(text, [Line(text), Line(text, Tone.bold)])


class TestHostileText:
    @pytest.mark.parametrize(("text", "literal"), HOSTILE)
    def test_it_is_shown_and_never_obeyed(self, text: str, literal: str) -> None:
        screen, stream = printed()
        everything(screen, text)
        assert stream.getvalue().count(literal) == 7
        assert text not in stream.getvalue()

    @pytest.mark.parametrize(("text", "literal"), HOSTILE)
    def test_also_between_our_own_colours(self, text: str, literal: str) -> None:
        screen, stream = printed(is_coloured=True)
        screen.frame("title", [Line(text, Tone.bad)])
        assert f"\x1b[31m{literal}\x1b[0m" in stream.getvalue()

    @given(SIGNS)
    def test_whatever_it_is_only_plain_rows_come_out(self, text: str) -> None:
        screen, stream = printed()
        everything(screen, text)
        rows = stream.getvalue().split("\n")
        assert [sign for row in rows for sign in row if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")] == []
        assert max(map(columns, rows)) <= 80

    def test_it_cannot_draw_the_end_of_its_frame(self) -> None:
        screen, stream = printed()
        screen.frame("Slack", [Line("a\n└─\n┌─ PagerDuty ─")])
        assert stream.getvalue().split("\n")[1:-2] == ["   │ a", "   │ └─", "   │ ┌─ PagerDuty ─"]

    def test_a_title_stays_in_its_row(self) -> None:
        screen, stream = printed()
        screen.frame("Email to a\n@example.com" + "x" * 200, [])
        head, foot, _ = stream.getvalue().split("\n")
        assert r"a\n@example.com" in head
        assert (columns(head), foot) == (80, "   └─")


class TestWidth:
    @pytest.mark.parametrize(("text", "width"), [
        ("", 0), ("abc", 3), ("🔴 x", 4), ("日本", 4), ("e\u0301", 1), ("·…│", 3), ("a\u200bb", 2),
    ])
    def test_columns_are_counted_as_a_terminal_does(self, text: str, width: int) -> None:
        assert columns(text) == width

    @pytest.mark.parametrize(("text", "rows"), [
        ("", [""]),
        ("one two three", ["one two", "three"]),
        ("one  two", ["one  two"]),
        ("abcdefghijklmnop", ["abcdefgh", "ijklmnop"]),
        ("ab abcdefghijkl cd", ["ab", "abcdefgh", "ijkl cd"]),
        ("one\n\ntwo", ["one", "", "two"]),
        ("  a b c d", ["  a b c", "  d"]),
        ("日本日本日本", ["日本日本", "日本"]),
        (" " * 20 + "x", ["    x"]),
    ])
    def test_rows_break_between_words_where_that_is_possible(self, text: str, rows: list[str]) -> None:
        assert list(wrapped(text, 8)) == rows

    @given(SIGNS, st.integers(8, 80))
    def test_no_row_is_wider_than_its_room(self, text: str, room: int) -> None:
        assert max(map(columns, wrapped(text, room))) <= room

    @given(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=200))
    def test_a_broken_word_is_whole_again_when_it_is_joined(self, word: str) -> None:
        assert "".join(broken(word, 10)) == word

    @pytest.mark.parametrize(("text", "room", "cut"), [
        ("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 4, "日…"), ("abcd", 1, "…"),
    ])
    def test_what_is_clipped_says_so(self, text: str, room: int, cut: str) -> None:
        assert clipped(text, room) == cut

    @pytest.mark.parametrize(("asked", "used"), [(200, 80), (80, 80), (60, 60), (10, 40), (0, 40)])
    def test_it_is_never_wider_than_80_nor_unreadably_narrow(self, asked: int, used: int) -> None:
        screen, stream = printed(width=asked)
        screen.frame("title", [Line("word " * 60)])
        assert max(map(columns, stream.getvalue().split("\n"))) == used

    def test_a_long_message_is_cut_and_says_how_much_is_missing(self) -> None:
        screen, stream = printed()
        screen.frame("title", [Line("\n".join(f"line {number}" for number in range(100)))])
        rows = stream.getvalue().strip("\n").split("\n")
        assert len(rows) == FRAME_LINES + 2
        assert rows[-2] == f"   │ … {100 - FRAME_LINES + 1} more lines"

    def test_a_message_that_just_fits_is_not_cut(self) -> None:
        screen, stream = printed()
        screen.frame("title", [Line(f"line {number}") for number in range(FRAME_LINES)])
        assert "more lines" not in stream.getvalue()
        assert f"line {FRAME_LINES - 1}\n" in stream.getvalue()


class TestLayout:
    def test_narration_and_messages_can_be_told_apart(self) -> None:
        screen, stream = printed(width=40)
        screen.headline("1. It begins")
        screen.say("Something is about to happen, and it takes two rows.")
        screen.seen("Something has happened, and it takes two rows.")
        screen.shown("rolling_reward -0.42")
        screen.frame("Slack #alerts", [Line("FIRING", Tone.bad), Line(""), Line("text")])
        assert stream.getvalue() == (
            "\n"
            "1. It begins\n"
            "   Something is about to happen, and it\n"
            "   takes two rows.\n"
            "   ✔ Something has happened, and it\n"
            "     takes two rows.\n"
            "     rolling_reward -0.42\n"
            "   ┌─ Slack #alerts ────────────────────\n"
            "   │ FIRING\n"
            "   │\n"
            "   │ text\n"
            "   └─\n")

    def test_the_same_with_colours_says_the_same(self) -> None:
        (plain, without), (coloured, painted) = printed(), printed(is_coloured=True)
        everything(plain, "FIRING: DiskFull")
        everything(coloured, "FIRING: DiskFull")
        text = painted.getvalue()
        assert "\x1b[" in text
        for tone in Tone:
            text = text.replace(f"\x1b[{tone.value}m", "")
        assert text.replace("\x1b[0m", "") == without.getvalue()

    def test_a_terminal_that_is_not_utf_8_gets_what_it_can_show(self) -> None:
        screen, stream = printed(encoding="ascii")
        screen.frame("Slack · edited", [Line("🔴 Müller…")])
        screen.seen("done")
        assert stream.getvalue().split("\n")[1:] == ["   | ? M?ller.", "   +-", "   + done", ""]
        assert stream.getvalue().isascii()
        assert stream.getvalue().startswith("   +- Slack - edited ---")


@pytest.mark.parametrize(("is_terminal", "environ", "expected"), [
    (True, {"TERM": "xterm"}, True),
    (True, {"TERM": "xterm", "NO_COLOR": ""}, True),        # no-color.org: "when present and not an empty string"
    (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
    (True, {"TERM": "dumb"}, False),
    (True, {}, False),
    (False, {"TERM": "xterm"}, False),
])
def test_colours_are_for_terminals_whose_user_wants_them(is_terminal: bool, environ: Mapping[str, str], expected: bool) -> None:
    assert is_coloured(Stream(is_terminal=is_terminal), environ) is expected


def test_when_nobody_reads_any_more_it_says_so_once_and_goes_on_quietly() -> None:
    calls: list[str] = []
    screen = Screen(Broken(), on_gone=lambda: calls.append("gone"))
    screen.say("one")
    screen.frame("two", [Line("three")])
    assert calls == ["gone"]
    assert isinstance(screen.gone, BrokenPipeError)
