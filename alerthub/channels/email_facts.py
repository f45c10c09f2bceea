"""What a mail says of actions, for a reader at night who does not know the program: first what was not done and why, then what
was done, each with who, when and how it was proved. Pure. What does not fit is told shorter, then counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from alerthub.channels.text import action_lines, listed, more
from alerthub.domain.message import ActionLine, Message
from alerthub.domain.wording import one_line

# How many of each sort are told at length, and how many at all, the others by what became of them and why: until it fits.
DEPTHS = ((10, 20), (5, 20), (2, 10), (1, 10), (0, 10), (0, 3))
FACT_LIMIT = 500
NOT_DONE, DONE = "What was not done, and why", "What was done"
NOTHING_LEFT, NOTHING_DONE = "Nothing was left undone: every action that was called for was done.", "Nothing was done."
BAD, GOOD = "#b3001b", "#1c7a3e"


@dataclass(frozen=True, slots=True)
class Section:
    """`entries`: the first line of each says what became of it. `empty`: what is said when there is none."""

    heading: str
    empty: str
    entries: tuple[tuple[str, ...], ...]
    rest: int
    is_bad: bool


def sections(message: Message, depth: int, most: int) -> tuple[Section, Section]:
    undone = [action for action in message.actions if not action.is_done]
    done = [action for action in message.actions if action.is_done]
    first = Section(NOT_DONE, NOTHING_LEFT, entries(undone[-most:], depth), max(0, len(undone) - most), is_bad=True)
    return first, Section(DONE, NOTHING_DONE, entries(done[-most:], depth), max(0, len(done) - most), is_bad=False)


def entries(actions: Sequence[ActionLine], depth: int) -> tuple[tuple[str, ...], ...]:
    """In the order in which they were called for, the newest at length."""
    return tuple(entry(action, at_length=len(actions) - index <= depth) for index, action in enumerate(actions))


def entry(action: ActionLine, *, at_length: bool) -> tuple[str, ...]:
    lines = action.facts or (action.text,)
    return tuple(one_line(line, FACT_LIMIT) for line in (lines if at_length else lines[:2]))


def evidence(message: Message) -> str:
    return f"The whole evidence, on the hub's machine: alerthub audit export {message.number}"


def is_told(message: Message) -> bool:
    return any(action.facts for action in message.actions)


def told_text(message: Message, room: int) -> str:
    """At most `room` characters; the short lines of the chats where nothing else fits."""
    if is_told(message):
        for depth, most in DEPTHS:
            text = "\n".join((*map(text_section, sections(message, depth, most)), evidence(message)))
            if len(text) <= room:
                return text
    return listed(action_lines(message), 0, max(0, room), prefix="")


def text_section(told: Section) -> str:
    if not told.entries:
        return f"{told.heading}:\n{told.empty}\n"
    made = ["\n  ".join((f"- {first}", *others)) for first, *others in told.entries]
    return "\n".join((f"{told.heading}:", *([more(told.rest)] if told.rest else []), *made, ""))


def told_html(message: Message, room: int) -> str:
    """The same, at most `room` bytes. It wraps anywhere: ids and addresses are longer than a phone is wide."""
    if is_told(message):
        for depth, most in DEPTHS:
            made = "\n".join(('<h2 style="font-size:16px;margin:16px 0 4px">Actions</h2>',
                              *map(html_section, sections(message, depth, most)), paragraph(evidence(message))))
            if len(made.encode("utf-8", "replace")) <= room:
                return made
    return ""


def html_section(told: Section) -> str:
    edge = BAD if told.is_bad else GOOD
    made = [f'<div style="border-left:4px solid {edge};margin:0 0 12px;padding:0 0 0 12px">{paragraph(first, is_bold=True)}'
            f'{"".join(map(paragraph, others))}</div>' for first, *others in told.entries] or [paragraph(told.empty)]
    return "\n".join((f'<h3 style="font-size:16px;margin:12px 0 4px">{escape(told.heading)}</h3>',
                      *([paragraph(more(told.rest))] if told.rest else []), *made))


def paragraph(text: str, *, is_bold: bool = False) -> str:
    weight = "font-weight:bold;" if is_bold else ""
    return f'<p style="{weight}margin:0 0 6px;overflow-wrap:anywhere;word-break:break-word">{escape(text)}</p>'
