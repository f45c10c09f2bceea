"""The terminal: narration and framed messages, never wider than 80 columns. What a message says is decided in looks.py.

Everything printed may hold text of strangers, so nothing reaches the terminal that could act on it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO

from alerthub.log import printable

WIDTH = 80
NARROWEST = 40
FRAME_LINES = 24        # of one message; a mail may be long, and the story must stay readable
INDENT = "   "
# For a terminal that is not UTF-8: one for one, so that widths stay.
PLAIN = str.maketrans("┌└│─·…–→•▸✔", "++|--.->**+")


class Tone(StrEnum):
    """How a text is set, as the numbers of ECMA-48's SGR. Only colour and weight: what matters is in the words."""

    plain = ""
    bold = "1"
    dim = "2"
    good = "32"
    bad = "31"
    frame = "36"


@dataclass(frozen=True, slots=True)
class Line:
    """A text in one tone. It may have several lines."""

    text: str
    tone: Tone = Tone.plain


class Screen:
    """Writes to one stream. When nobody reads any more, `gone` says so, `on_gone` is called once, and writing does nothing."""

    def __init__(self, stream: TextIO, *, is_coloured: bool = False, width: int = WIDTH,
                 on_gone: Callable[[], None] = lambda: None) -> None:
        self.stream, self.is_coloured, self.on_gone = stream, is_coloured, on_gone
        self.width = max(NARROWEST, min(width, WIDTH))
        self.gone: OSError | None = None

    def headline(self, text: str) -> None:
        self.blank()
        self.lines("", text, Tone.bold)

    def say(self, text: str) -> None:
        """Narration: what happens next, or why."""
        self.lines(INDENT, text)

    def seen(self, text: str) -> None:
        """Narration of what has been observed."""
        mark = self.painted("✔", Tone.good)
        for row in wrapped(text, self.width - len(INDENT) - 2):
            self.write(f"{INDENT}{mark} {row}")
            mark = " "

    def shown(self, text: str) -> None:
        """Something literal, for example a sample of a metric or a command."""
        self.lines(f"{INDENT}  ", text, Tone.dim)

    def blank(self) -> None:
        self.write("")

    def frame(self, title: str, lines: Sequence[Line]) -> None:
        """A message as its channel would show it. What is too long is cut, and says so."""
        head = clipped(f"┌─ {one_line(title)} ", self.width - len(INDENT))
        self.write(INDENT + self.painted(head + "─" * (self.width - len(INDENT) - columns(head)), Tone.frame))
        room = self.width - len(INDENT) - 2
        rows = [(row, line.tone) for line in lines for row in wrapped(line.text, room)]
        if len(rows) > FRAME_LINES:
            rows = [*rows[:FRAME_LINES - 1], (f"… {len(rows) - FRAME_LINES + 1} more lines", Tone.dim)]
        for row, tone in rows:
            self.write((INDENT + self.painted("│", Tone.frame) + " " + self.painted(row, tone)).rstrip())
        self.write(INDENT + self.painted("└─", Tone.frame))

    def lines(self, lead: str, text: str, tone: Tone = Tone.plain) -> None:
        for row in wrapped(text, self.width - len(lead)):
            self.write(lead + self.painted(row, tone))

    def painted(self, text: str, tone: Tone) -> str:
        return f"\x1b[{tone.value}m{text}\x1b[0m" if self.is_coloured and tone is not Tone.plain and text else text

    def write(self, row: str) -> None:
        """One row. The only place that touches the stream."""
        if self.gone is not None:
            return
        encoding = self.stream.encoding or "utf-8"
        if not encoding.lower().replace("-", "").startswith("utf"):
            row = row.translate(PLAIN).encode(encoding, "replace").decode(encoding)
        try:
            self.stream.write(row + "\n")
            self.stream.flush()
        except OSError as error:        # `alerthub demo | head`, or a terminal that was closed
            self.gone = error
            self.on_gone()


def is_coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Only on a terminal, and not where NO_COLOR (no-color.org) or a dumb terminal says otherwise."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"


def one_line(text: str) -> str:
    """The text with everything that could act on the terminal shown as an escape, line breaks too."""
    return printable(text)


def columns(text: str) -> int:
    """How many columns a terminal gives it."""
    return sum(0 if unicodedata.category(sign) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(sign) in "WF" else 1
               for sign in text)


def clipped(text: str, room: int) -> str:
    """At most so many columns."""
    while columns(text) > room:
        text = text[:-2] + "…"
    return text


def wrapped(text: str, room: int) -> Iterator[str]:
    """The rows of a text of strangers: printable, none wider than `room`, breaking between words where that is possible.
    What a line is indented by, its rows are indented by."""
    for line in text.split("\n"):
        line = printable(line)
        indent = line[:min(len(line) - len(line.lstrip(" ")), room // 2)]
        yield from (indent + row for row in rows_of(line.strip(" "), room - len(indent)))


def rows_of(line: str, room: int) -> Iterator[str]:
    row = ""
    for word in line.split(" "):
        tried = f"{row} {word}" if row else word
        if columns(tried) <= room:
            row = tried
            continue
        if row:
            yield row
        *full, row = broken(word, room)
        yield from full
    yield row


def broken(word: str, room: int) -> list[str]:
    """A word that is wider than a row, in parts that are not."""
    parts, part = [], ""
    for sign in word:
        if columns(part + sign) > room:
            parts.append(part)
            part = ""
        part += sign
    return [*parts, part]
