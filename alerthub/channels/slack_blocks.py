"""What a Slack message looks like: pure functions from Message to blocks. Sending is in slack.py.

Everything that comes from outside goes into `plain_text` objects, which parse no markup, so it is literal. Only `text` and
the mentions are mrkdwn. Limits: PROTOCOLS 2.2, cut before escaping (R-25).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alerthub.channels.text import (
    ACTION_LIMIT,
    NAME_LIMIT,
    action_lines,
    alert_list,
    clock_time,
    digest_text,
    facts,
    listed,
    mark,
    plain_text,
    remarks,
    status_word,
    still,
)
from alerthub.domain.command import Verb
from alerthub.domain.message import Button, Link, Message, Why
from alerthub.domain.wording import clip, one_line

BLOCKS = 50
HEADER_TEXT = 150
SECTION_TEXT = 3_000
FIELD_TEXT = 2_000
FIELDS = 10
CONTEXT_ELEMENTS = 10
ACTION_ELEMENTS = 25
BUTTON_TEXT = 75
BUTTON_URL = 3_000
OPTION_VALUE = 150
BLOCKS_JSON = 12_000        # undocumented; Slack refuses from about 13,200 on (PROTOCOLS 2.2), so R-25 keeps a distance
TEXT = 4_000                # chat.update refuses more: msg_too_long (PROTOCOLS 2.1)

LINKS_JSON = 3_000          # ours: addresses never push the alerts out
LINKS = 5
ANSWERS_JSON = 3_000        # ours, as for the addresses
ANSWER_TEXT = 30
VOTES_JSON = 3_000          # ours; what waits for people has a block of its own, so that its names are not cut
CONFIRM_TITLE, CONFIRM_TEXT = 100, 150      # Slack allows 300 of text
VOTES = frozenset({Verb.approve.value, Verb.deny.value, Verb.release.value})
OPTIONS = 5                 # silences in the list
ACKNOWLEDGE, SILENCE = Verb.acknowledge.value, Verb.silence.value
FIELD_VALUE = 200
CONTEXT_TEXT = 300
OMITTED_FIELDS = ("alertname", "severity")      # already in the header and the facts

# Posted into the channel as well as into the thread: what nobody may miss. The rest is for who follows the thread.
BROADCAST = (Why.reopened, Why.escalated, Why.unacknowledged, Why.repeat)

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Room:
    """How much of everything is shown. The first that fits into BLOCKS_JSON is taken."""

    alerts: int
    text: int
    fields: int


ROOMS = (Room(10, SECTION_TEXT, FIELDS), Room(10, 1_500, 6), Room(6, 700, 4), Room(3, 300, 2), Room(1, 100, 0))


def escape(text: str) -> str:
    """Text that mrkdwn shows as it is: no mention, no link (PROTOCOLS 2.3). `*_~` and backticks cannot be escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escaped(text: str, limit: int) -> str:
    """Cut, then escaped, so that the result keeps the limit too."""
    cut = clip(text, limit)
    while len(escape(cut)) > limit:
        cut = clip(cut, len(cut) - max(1, (len(escape(cut)) - limit) // 5))
    return escape(cut)


def plain(text: str, limit: int) -> Block:
    """A plain_text object. Slack refuses an empty one."""
    return {"type": "plain_text", "text": clip(text, limit) or "-", "emoji": False}


def mention_text(mentions: Sequence[str]) -> str:
    """Ids from the configuration only: `U…` and `W…` people, `S…` groups, `here`, `channel`, `everyone`."""
    return " ".join(mention_of(mention) for mention in mentions)


def mention_of(mention: str) -> str:
    if mention in ("here", "channel", "everyone"):
        return f"<!{mention}>"
    return f"<!subteam^{mention}>" if mention.startswith("S") else f"<@{mention}>"


def mention_block(mentions: Sequence[str]) -> Block:
    return context([{"type": "mrkdwn", "text": mention_text(mentions)}])


def fallback_text(message: Message, mentions: Sequence[str] = ()) -> str:
    """`text`: what a notification and a screen reader say, and all of a degraded message. At most TEXT characters."""
    prefix = f"{mention_text(mentions)} " if mentions else ""
    return prefix + escaped(plain_text(message, TEXT), TEXT - len(prefix))


def blocks_of(message: Message, title: str | None = None, text: str | None = None,
              mentions: Sequence[str] = ()) -> list[Block]:
    """The whole message, as full as BLOCKS_JSON allows. `title` and `text` come from the user's templates."""
    for room in ROOMS:
        blocks = build(message, room, title, text, mentions)
        if json_length(blocks) <= BLOCKS_JSON:
            break
    return blocks


def json_length(blocks: Sequence[Block]) -> int:
    """As the client sends it, with \\u escapes: nobody knows how Slack counts, so the longer way."""
    return len(json.dumps(blocks))


def build(message: Message, room: Room, title: str | None, text: str | None,
          mentions: Sequence[str]) -> list[Block]:
    blocks = [header(message, title)]
    if mentions:
        blocks.append(mention_block(mentions))
    blocks += body(message, room, text)
    if notes := [plain(note, CONTEXT_TEXT) for note in remarks(message)]:
        blocks.append(context(notes))
    if done := action_lines(message, min(ACTION_LIMIT, room.text // 5)):
        blocks.append(section("\n".join(done)))
    if message.why is not Why.test:
        blocks.append(context([plain(line, CONTEXT_TEXT) for line in (facts(message), *state_lines(message))]))
    if answers := answers_block(message):
        blocks.append(answers)
    if votes := votes_block(message):
        blocks.append(votes)
    if actions := actions_block(message):
        blocks.append(actions)
    return blocks


def body(message: Message, room: Room, text: str | None) -> Iterator[Block]:
    """Between the header and the small print."""
    if message.digest:
        for part in pieces(digest_text(message.digest, 2 * room.text), SECTION_TEXT):
            yield section(part)
        return
    if message.why is Why.test:
        yield section(clip(text or facts(message), room.text))
        return
    said = text or message.common_annotations.get("summary") or message.common_annotations.get("message") or ""
    if said:
        yield section(clip(said, room.text))
    if fields := fields_of(message, room):
        yield {"type": "section", "fields": fields}
    described = message.common_annotations.get("description", "")
    if described and described != said:
        yield section(clip(described, room.text // 2))
    lines, total = alert_list(message, room.alerts, said=(said, described))
    if alerts := listed(lines, total, room.text, prefix="• "):
        yield section(alerts)


def header(message: Message, title: str | None) -> Block:
    words = f"{mark(message)} {status_word(message)}: {one_line(title or message.title)}"
    return {"type": "header", "text": plain(words, HEADER_TEXT)}


def section(text: str) -> Block:
    return {"type": "section", "text": plain(text, SECTION_TEXT)}


def context(elements: list[Block]) -> Block:
    return {"type": "context", "elements": elements[:CONTEXT_ELEMENTS]}


def fields_of(message: Message, room: Room) -> list[Block]:
    labels = sorted((name, value) for name, value in message.common_labels.items() if name not in OMITTED_FIELDS)
    return [plain(f"{one_line(name, 60)}\n{one_line(value, FIELD_VALUE)}", FIELD_TEXT)
            for name, value in labels[: min(room.fields, FIELDS)]]


def pieces(text: str, size: int) -> Iterator[str]:
    """The text in parts of at most `size`, cut between lines; a longer line is cut anywhere."""
    part = ""
    for line in text.split("\n"):
        while len(line) > size:
            if part:
                yield part
                part = ""
            yield line[:size]
            line = line[size:]
        if part and len(part) + 1 + len(line) > size:
            yield part
            part = line
        else:
            part = f"{part}\n{line}" if part else line
    if part:
        yield part


def state_lines(message: Message) -> Iterator[str]:
    """Who has it since when, and how long it is silent: beside the facts while it is open."""
    if not message.status.is_open:
        return
    if message.acknowledged_at is not None:
        by = one_line(message.acknowledged_by, NAME_LIMIT)
        yield f"acknowledged{f' by {by}' if by else ''} at {clock_time(message.acknowledged_at, message)}"
    if message.silenced_until is not None:
        yield f"silenced until {clock_time(message.silenced_until, message)}"


def answers_block(message: Message) -> Block | None:
    """What a person can answer: a button each, and one list of all silences. What Slack would not carry is left out."""
    answers = [answer for answer in message.buttons if 0 < len(answer.token) <= OPTION_VALUE and answer.verb not in VOTES]
    silences = [answer for answer in answers if answer.verb == SILENCE]
    elements: list[Block] = []
    for answer in answers:
        if answer.verb != SILENCE:
            elements.append(answer_button(answer, len(elements)))
        elif answer is silences[0]:
            elements.append(silence_list(silences))
    while json_length(elements) > ANSWERS_JSON:
        elements.pop()
    return {"type": "actions", "elements": elements[:ACTION_ELEMENTS]} if elements else None


def answer_button(answer: Button, index: int) -> Block:
    looks = {"style": "primary"} if answer.verb == ACKNOWLEDGE else {}
    return {"type": "button", "action_id": f"{answer.verb}_{index}", "value": answer.token, **looks,
            "text": plain(one_line(answer.label), ANSWER_TEXT)}


def votes_block(message: Message) -> Block | None:
    """What waits for people: each by its whole name, and asked once more before it is approved."""
    votes = [answer for answer in message.buttons if 0 < len(answer.token) <= OPTION_VALUE and answer.verb in VOTES]
    elements = [vote_button(answer, index) for index, answer in enumerate(votes)]
    while json_length(elements) > VOTES_JSON:
        elements.pop()
    return {"type": "actions", "elements": elements[:ACTION_ELEMENTS]} if elements else None


def vote_button(answer: Button, index: int) -> Block:
    made: Block = {"type": "button", "action_id": f"{answer.verb}_{index}", "value": answer.token,
                   "text": plain(one_line(answer.label), BUTTON_TEXT)}
    if answer.confirm:
        made["confirm"] = {"title": plain(one_line(answer.label), CONFIRM_TITLE),
                           "text": plain(one_line(answer.confirm), CONFIRM_TEXT),
                           "confirm": plain("Approve", ANSWER_TEXT), "deny": plain("Back", ANSWER_TEXT)}
    return made


def silence_list(silences: Sequence[Button]) -> Block:
    options = [{"text": plain(one_line(silence.label), ANSWER_TEXT), "value": silence.token} for silence in silences[:OPTIONS]]
    return {"type": "static_select", "action_id": SILENCE, "placeholder": plain("Silence", BUTTON_TEXT), "options": options}


def actions_block(message: Message) -> Block | None:
    """Where a reader can go: links. None when there is nothing, because Slack refuses an empty block."""
    buttons = [button(index, link) for index, link in enumerate(shown_links(message.links))]
    return {"type": "actions", "elements": buttons[:ACTION_ELEMENTS]} if buttons else None


def button(index: int, link: Link) -> Block:
    label = plain(one_line(link.label), BUTTON_TEXT)
    return {"type": "button", "action_id": f"link_{index}", "text": label, "url": link.url}


def shown_links(links: Sequence[Link]) -> list[Link]:
    """The first links that fit. A cut address would lead elsewhere, so a long one is left out whole."""
    shown: list[Link] = []
    room = LINKS_JSON
    for link in links:
        size = len(json.dumps(link.url)) - 2      # without its quotes
        if len(shown) < LINKS and link.url and len(link.url) <= BUTTON_URL and size <= room:
            shown.append(link)
            room -= size
    return shown


def news_line(message: Message) -> str:
    """One line for the thread: what is new. Empty when there is nothing to say."""
    if message.why is Why.repeat:
        return still(message)
    return clip("\n".join(one_line(line, 500) for line in message.news[-10:]), SECTION_TEXT)
