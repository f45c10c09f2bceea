"""What a mail says of actions, for a reader at night who does not know the program: first what was not done and why, then what
is not decided or not finished, then what was done, each with who, when and how it was proved. Pure. What does not fit is told
shorter, then counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from alerthub.channels.text import action_lines, listed, more
from alerthub.domain.message import ActionLine, Message
from alerthub.domain.story import HEADINGS, Fate, none_of
from alerthub.domain.wording import one_line

# How many of each sort are told at length, and how many at all, the others by what became of them and why: until it fits.
DEPTHS = ((10, 20), (5, 20), (2, 10), (1, 10), (0, 10), (0, 3))
FACT_LIMIT = 500
EDGES = {Fate.not_done: "#b3001b", Fate.pending: "#8a5a00", Fate.done: "#1c7a3e"}


@dataclass(frozen=True, slots=True)
class Section:
    """`entries`: the first line of each says what became of it. `empty`: what is said when there is none."""

    heading: str
    empty: str
    entries: tuple[tuple[str, ...], ...]
    rest: int
    edge: str


def sections(message: Message, depth: int, most: int) -> tuple[Section, ...]:
    by_fate: dict[Fate, list[ActionLine]] = {fate: [] for fate in Fate}
    for action in message.actions:
        by_fate[fate_of(action)].append(action)
    fates, in_doubt = [fate for fate, found in by_fate.items() if found], any(action.in_doubt for action in message.actions)
    return tuple(Section(HEADINGS[fate], none_of(fate, fates, in_doubt=in_doubt), entries(found[-most:], depth),
                         max(0, len(found) - most), EDGES[fate]) for fate, found in by_fate.items())


def fate_of(action: ActionLine) -> Fate:
    return Fate.pending if action.is_pending else Fate.done if action.is_done else Fate.not_done


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
    made = [f'<div style="border-left:4px solid {told.edge};margin:0 0 12px;padding:0 0 0 12px">{paragraph(first, is_bold=True)}'
            f'{"".join(map(paragraph, others))}</div>' for first, *others in told.entries] or [paragraph(told.empty)]
    return "\n".join((f'<h3 style="font-size:16px;margin:12px 0 4px">{escape(told.heading)}</h3>',
                      *([paragraph(more(told.rest))] if told.rest else []), *made))


def paragraph(text: str, *, is_bold: bool = False) -> str:
    weight = "font-weight:bold;" if is_bold else ""
    return f'<p style="{weight}margin:0 0 6px;overflow-wrap:anywhere;word-break:break-word">{escape(text)}</p>'
