"""What Telegram shows of a message: HTML with few tags, or plain text, always within the limits. Pure.

Texts are cut before they are escaped, and a tag is put around a text only after that, so no cut can fall inside one
(PROTOCOLS 3.2). Requests and errors are in telegram.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape

from alerthub.channels.text import (
    action_lines,
    alert_list,
    clock_time,
    description,
    digest_text,
    facts,
    mark,
    more,
    plain_text,
    remarks,
    status_word,
    still,
    unremarked,
    utf16_clip,
    utf16_length,
)
from alerthub.domain.message import Button, IncidentStatus, Link, Message, Why
from alerthub.domain.wording import one_line

TEXT_LIMIT = 4096       # after the entities are parsed (PROTOCOLS 3.1); in UTF-16 units, the stricter reading
REPLY_LIMIT = 1024      # of one reply: it interrupts, the live message holds the rest
TITLE_LIMIT = 300
STILL_LIMIT = 500       # of a repeat's line: title, state and how many
LABEL_LIMIT = 60        # of a link's name
LINK_LIMIT = 2_000      # an address longer than this is left out: half of one leads nowhere
PLAIN_LINKS = 2_500     # of all addresses together, where they are part of the text
LINKS = 8               # with title, state and remarks far from 100 entities (PROTOCOLS 3.1)
NEWS = 5
NEWS_LIMIT = 200
ALERTS = 30
ALERTS_ROOM = 500       # kept for alerts, before what was done and what it means are shown
DESCRIPTION_LIMIT = 500
ACTION_LIMIT = 200
DATA_BYTES = 64         # of what a button carries; PROTOCOLS 3.1
BUTTON_LIMIT = 64       # a phone shows about 40 of them; what waits for people has a row each, so that its name is seen
ROWS = {"acknowledge": 0, "unacknowledge": 0, "resolve": 0, "silence": 1, "escalate": 2}

# What is worth a reply, and so a sound, beside the silent edit of the live message (PROTOCOLS 7.4 keeps their order).
REPLIED = frozenset({Why.resolved, Why.reopened, Why.changed, Why.escalated, Why.action, Why.comment, Why.repeat, Why.stale,
                     Why.unacknowledged})


@dataclass(frozen=True, slots=True)
class Piece:
    """A text in one style. `link` makes it an anchor, else `tag` names its element, else it is plain."""

    text: str
    tag: str = ""
    link: str = ""

    def rendered(self, *, html: bool) -> str:
        if not html:
            return self.text
        inner = escape(self.text)
        if self.link:
            return f'<a href="{escape(self.link)}">{inner}</a>'
        return f"<{self.tag}>{inner}</{self.tag}>" if self.tag else inner


Line = tuple[Piece, ...]
SEPARATOR = Piece(" · ")


def live(message: Message, *, first: bool, html: bool = True) -> str:
    """The live message: state, title, description, remarks, actions, alerts, links. `first` adds the news that no reply will
    tell."""
    remarked: list[Line] = [(Piece(line, "i"),) for line in [*moments(message), *remarks(message)]]
    tail = link_lines(message.links, html=html)
    told = news_lines(unremarked(message)) if first and (message.why is not Why.opened or len(message.news) > 1) else []
    spare = TEXT_LIMIT - ALERTS_ROOM - measure([*heading(message), *remarked, (), *told, *tail])
    done: list[Line] = [(Piece(utf16_clip(line, ACTION_LIMIT)),) for line in action_lines(message)]
    done = fitting(done, len(done), spare)
    described: list[Line] = [(Piece(utf16_clip(text, DESCRIPTION_LIMIT)),)] if (text := description(message)) else []
    described = described if measure([*done, *described]) <= spare else []
    head = [*heading(message), *described, *remarked, *done]
    room = TEXT_LIMIT - measure([*head, (), *told, *tail])
    body = digest_lines(message, room) if message.digest else alert_lines(message, room)
    return rendered([*head, (), *body, *told, *tail], html=html)


def reply(message: Message, *, html: bool = True) -> str:
    """What is new, as a reply to the live message."""
    head = heading(message)
    if message.why is Why.repeat:
        head = [(Piece(f"{mark(message)} "), Piece(utf16_clip(still(message), STILL_LIMIT), "b"))]
    lines = news_lines(message.news)
    return rendered([*head, *fitting(lines, len(lines), REPLY_LIMIT - measure(head))], html=html)


def heading(message: Message) -> list[Line]:
    state = (Piece(f"{mark(message)} "), Piece(status_word(message), "b"), Piece(f" · {facts(message)}"))
    return [state, (Piece(utf16_clip(one_line(message.title), TITLE_LIMIT) or f"Incident #{message.number}", "b"),)]


def moments(message: Message) -> list[str]:
    """Since when it is somebody's, and until when it is quiet: what the word of the state does not say."""
    if message.status is IncidentStatus.resolved or message.why in (Why.test, Why.digest):
        return []
    since = message.acknowledged_at if message.status is IncidentStatus.acknowledged else None
    said = (("Acknowledged at", since), ("Silenced until", message.silenced_until))
    return [f"{words} {clock_time(at, message)}." for words, at in said if at is not None]


def button_rows(buttons: Iterable[Button]) -> list[list[Button]]:
    """The buttons side by side as they belong together. One that Telegram would refuse is left out: it would cost the page."""
    rows: dict[int, list[Button]] = {}
    for index, button in enumerate(buttons):
        label = encodable(utf16_clip(one_line(button.label), BUTTON_LIMIT))
        if label and 0 < len(encodable(button.token).encode()) <= DATA_BYTES:
            rows.setdefault(ROWS.get(button.verb, len(ROWS) + index), []).append(replace(button, label=label))
    return [rows[row] for row in sorted(rows)]


def news_lines(news: Sequence[str]) -> list[Line]:
    latest = [(Piece(f"▸ {utf16_clip(one_line(line), NEWS_LIMIT)}"),) for line in news[-NEWS:]]
    earlier = len(news) - len(latest)
    return [*([(Piece(f"▸ {earlier} earlier, see the incident"),)] if earlier else []), *latest]


def alert_lines(message: Message, room: int) -> list[Line]:
    lines, total = alert_list(message, ALERTS, said=(message.title, description(message)))
    return fitting([(Piece(f"• {line}"),) for line in lines], total, room)


def digest_lines(message: Message, room: int) -> list[Line]:
    """Every incident of a storm; characters that count double in UTF-16 make the list shorter until it fits."""
    limit = room
    while utf16_length(text := digest_text(message.digest, limit)) > room and limit > 0:
        limit -= max(1, utf16_length(text) - room)
    return [(Piece(line),) for line in text.split("\n")]


def link_lines(links: Sequence[Link], *, html: bool) -> list[Line]:
    """Links that can be followed: http(s) only, whole or not at all. Without HTML their addresses take room of the text."""
    pieces = [Piece(utf16_clip(one_line(link.label), LABEL_LIMIT) or "Link", link=link.url) for link in links
              if link.url.startswith(("https://", "http://")) and len(link.url) <= LINK_LIMIT][:LINKS]
    if html:
        return [tuple(part for piece in pieces for part in (SEPARATOR, piece))[1:]] if pieces else []
    lines: list[Line] = [(Piece(f"{piece.text}: {piece.link}"),) for piece in pieces]
    while measure(lines) > PLAIN_LINKS:
        lines.pop()
    return lines


def fitting(lines: Sequence[Line], total: int, room: int) -> list[Line]:
    """As many whole lines as fit, then how many of `total` are left out (R-25)."""
    kept: list[Line] = []
    for line in lines:
        rest = more(total - len(kept) - 1)
        if measure([*kept, line, (Piece(rest),)]) > room:
            break
        kept.append(line)
    rest = more(total - len(kept))
    return [*kept, (Piece(rest),)] if rest and measure([*kept, (Piece(rest),)]) <= room else kept


def measure(lines: Sequence[Line]) -> int:
    """UTF-16 units of the lines as they are shown, with a break after each."""
    return sum(utf16_length(piece.text) for line in lines for piece in line) + len(lines)


def rendered(lines: Iterable[Line], *, html: bool) -> str:
    return encodable("\n".join("".join(piece.rendered(html=html) for piece in line) for line in lines).strip())


def templated_html(text: str) -> str:
    """The result of a template: text, cut and escaped. Its labels are not to be trusted, and so neither is the whole."""
    return escape(templated_plain(text))


def templated_plain(text: str) -> str:
    return encodable(utf16_clip(text.strip(), TEXT_LIMIT))


def degraded(message: Message) -> str:
    """The minimal text, within UTF-16 units: asked for less as long as characters count double."""
    limit = TEXT_LIMIT
    while utf16_length(text := plain_text(message, limit)) > TEXT_LIMIT and limit > 0:
        limit -= max(1, utf16_length(text) - TEXT_LIMIT)
    return encodable(text)


def encodable(text: str) -> str:
    """Half a surrogate pair cannot be sent; everything else can."""
    return text.encode("utf-8", "replace").decode()
