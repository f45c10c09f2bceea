"""What a mail holds: headers that thread and cannot be broken, a text part, and HTML for a phone at night. Pure.

Every text in it may come from a label. Handing a mail over is in email_client.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape

import nh3

from alerthub.channels.email_facts import told_html, told_text
from alerthub.channels.email_headers import POLICY
from alerthub.channels.text import (
    action_lines,
    alert_list,
    description,
    digest_line,
    digest_text,
    facts,
    listed,
    more,
    plain_text,
    remarks,
    status_word,
    still,
    unremarked,
)
from alerthub.domain.alert import Severity
from alerthub.domain.message import IncidentStatus, Link, Message, Why
from alerthub.domain.wording import one_line

HEADER_LIMIT = 200      # PROTOCOLS 5
TEXT_LIMIT = 50_000
HTML_LIMIT = 90_000     # bytes; Gmail hides what comes after 102 kB
ALERTS = 50
ALERT_LIMIT = 500
NEWS = 20
NEWS_LIMIT = 200
LINKS = 10
ANSWERS_SHOWN, ANSWERS_ROOM = 20, 30_000
LINK_LIMIT = 1_000
ACTIONS_ROOM = 20_000   # of what is told of actions at length
REST_LIMIT = 5_000      # of the incidents of a storm that are named by number only
# What can be answered by mail. A mail is no proof of who reads it (PROTOCOLS 5): to approve or to release, the page that the
# link opens asks for the person's own token.
ANSWERS = frozenset({"acknowledge", "unacknowledge", "resolve", "silence", "escalate", "approve", "deny", "release"})
ASKS_AGAIN = "Each opens a page that asks once more; nothing is done before you press the button there."

NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9._-]")
COLOURS = {Severity.critical: "#b3001b", Severity.error: "#c44900", Severity.warning: "#8a6100", Severity.info: "#1b5e9b"}
CALM, SEEN = "#1c7a3e", "#5a4a8a"

# Of a configured HTML template only this is kept: no script, no image, nothing that is fetched.
TAGS = {"a", "b", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "hr", "i", "li", "ol", "p", "pre", "small",
        "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "u", "ul"}
STYLES = {"background-color", "border", "border-collapse", "color", "font-family", "font-size", "font-style", "font-weight",
          "line-height", "margin", "padding", "text-align", "text-decoration", "white-space", "width"}


@dataclass(frozen=True, slots=True)
class Thread:
    """Where a mail belongs: the first one's Message-ID, and its subject, which stays the same."""

    root: str
    subject: str


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What is the same in every mail of one destination. `domain` is ASCII; it makes the Message-IDs."""

    sender: Address
    to: tuple[Address, ...]
    domain: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Custom:
    """What configured templates made of this message; empty where there is none."""

    subject: str = ""
    text: str = ""
    html: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def header(text: str, limit: int = HEADER_LIMIT) -> str:
    """A text that can stand in a header: one line (PROTOCOLS 5: a line break in a header is a header), cut, and encodable."""
    return one_line(text, limit).encode("utf-8", "replace").decode()


def subject_of(message: Message) -> str:
    """Without the state: a subject that changes would tear the thread apart (PROTOCOLS 5)."""
    if message.why is Why.test:
        return "[AlertHub] Test message"
    if message.why is Why.digest:
        return header(f"[AlertHub] {message.title}")
    return header(f"[#{message.number}] {message.title}")


def message_id(message: Message, thread: Thread | None, domain: str) -> str:
    """The same for every attempt to tell the same thing, so that a doubled mail can be recognised (PROTOCOLS 5)."""
    if thread is None and message.why not in (Why.digest, Why.test):
        return f"<inc-{NOT_IN_AN_ID.sub('-', message.incident_id)[:64]}@{domain}>"
    return f"<{NOT_IN_AN_ID.sub('-', message.delivery_id)[:64]}@{domain}>"


def compose(message: Message, head: Letterhead, thread: Thread | None, custom: Custom) -> EmailMessage:
    """The mail. With `thread` it answers the first one, under the subject that this had."""
    mail = EmailMessage(policy=POLICY)
    subject = header(custom.subject)
    mail["Subject"] = subject or (f"Re: {thread.subject}" if thread else subject_of(message))
    mail["From"] = head.sender
    mail["To"] = head.to
    mail["Date"] = format_datetime(message.at.astimezone(UTC))
    mail["Message-ID"] = message_id(message, thread, head.domain)
    if thread:
        mail["In-Reply-To"] = mail["References"] = thread.root
    mail["List-Id"] = f"AlertHub <alerthub.{head.domain}>"
    mail["Auto-Submitted"] = "auto-generated"           # RFC 3834: no holiday notes back
    mail["X-Auto-Response-Suppress"] = "All"
    for name, value in {**head.headers, **custom.headers}.items():
        mail[name] = header(value)
    write_body(mail, message, custom, is_first=thread is None)
    return mail


def write_body(mail: EmailMessage, message: Message, custom: Custom, *, is_first: bool) -> None:
    """multipart/alternative, text then HTML; degraded, the minimal text alone."""
    text = encodable(custom.text) or text_body(message, is_first=is_first)
    if message.is_degraded:
        mail.set_content(encodable(plain_text(message, TEXT_LIMIT)), cte="quoted-printable")
        return
    mail.set_content(text, cte="quoted-printable")
    if custom.html or not custom.text:
        inner = sanitised(custom.html) if custom.html else html_body(message, is_first=is_first)
    else:
        inner = f'<div style="white-space:pre-wrap">{escape(text)}</div>'
    mail.add_alternative(encodable(page(inner)), subtype="html", cte="quoted-printable")


def sanitised(html: str) -> str:
    return nh3.clean(html, tags=TAGS, attributes={"*": {"style"}, "a": {"href"}}, url_schemes={"http", "https", "mailto"},
                     filter_style_properties=STYLES, link_rel="noopener noreferrer")


# --- text -------------------------------------------------------------------------------------------------------------------

def text_body(message: Message, *, is_first: bool) -> str:
    """State, what is new, remarks, alerts, links: what matters stands where a preview shows it."""
    title = one_line(message.title, NEWS_LIMIT)
    first = still(message) if message.why is Why.repeat else f"{status_word(message)}: {title}"
    head = [line for line in (first, description(message), facts(message)) if line]
    parts = ["\n".join(head), "\n".join(f"* {line}" for line in news(message, is_first=is_first)),
             "\n".join(remarks(message))]
    found = [f"{label}: {url}" for label, url in answer_links(message)]
    links = [f"{label}: {url}" for label, url in safe_links(message.links)]
    tail = "\n\n".join("\n".join(lines) for lines in ([*found, ASKS_AGAIN] if found else [], links) if lines)
    room = TEXT_LIMIT - sum(len(part) + 2 for part in (*parts, tail))
    parts.append(told_text(message, min(room - 2, ACTIONS_ROOM)))
    room -= len(parts[-1]) + 2
    alerts = digest_text(message.digest, room) if message.digest else listed(*alerts_of(message), room)
    return encodable("\n\n".join(part for part in (*parts, alerts, tail) if part) + "\n")


def news(message: Message, *, is_first: bool) -> list[str]:
    """What this destination has not seen. In the first mail the opening itself is no news."""
    if is_first and message.why is Why.opened and len(message.news) <= 1:
        return []
    fresh = unremarked(message)
    latest = [one_line(line, NEWS_LIMIT) for line in fresh[-NEWS:]]
    earlier = len(fresh) - len(latest)
    return [*([f"{earlier} earlier, see the incident"] if earlier else []), *latest]


def alerts_of(message: Message) -> tuple[list[str], int]:
    return alert_list(message, ALERTS, ALERT_LIMIT, said=(message.title, description(message)))


def safe_links(links: Sequence[Link], most: int = LINKS) -> list[tuple[str, str]]:
    """http(s) only, whole or not at all."""
    return [(one_line(link.label, 80) or "Link", one_line(link.url)) for link in links
            if link.url.startswith(("https://", "http://")) and len(link.url) <= LINK_LIMIT][:most]


def answer_links(message: Message) -> list[tuple[str, str]]:
    """More of them where they are short, as ours are."""
    kept = safe_links([Link(button.label, button.url) for button in message.buttons if button.verb in ANSWERS], ANSWERS_SHOWN)
    while len(kept) > LINKS and sum(weight(escape(label + url)) for label, url in kept) > ANSWERS_ROOM:
        kept.pop()
    return kept


# --- HTML -------------------------------------------------------------------------------------------------------------------

def html_body(message: Message, *, is_first: bool) -> str:
    """The same as the text, larger. The state is a word first and a colour second."""
    title = still(message) if message.why is Why.repeat else one_line(message.title, NEWS_LIMIT)
    described = description(message)
    head = [
        f'<div style="background-color:{colour(message)};color:#ffffff;font-size:22px;font-weight:bold;padding:12px 16px">'
        f"{escape(status_word(message))} · {message.severity.value}</div>",
        f'<h1 style="font-size:20px;line-height:1.3;margin:16px 0 4px">{escape(title)}</h1>',
        f'<p style="margin:0 0 8px">{escape(described)}</p>' if described else "",
        f'<p style="color:#444444;margin:0 0 12px">{escape(facts(message))}</p>',
        items("", news(message, is_first=is_first)),
        *(f'<p style="border:1px solid #8a6100;padding:8px">{escape(line)}</p>' for line in remarks(message)),
    ]
    links = (f'<p style="margin:8px 0"><a href="{escape(url)}" style="font-size:18px">{escape(label)}</a></p>'
             for label, url in safe_links(message.links))
    tail = [html_answers(message), *links]
    room = HTML_LIMIT - weight("\n".join((*head, *tail))) - 2
    head.append(told_html(message, min(room, ACTIONS_ROOM)) or items("Actions", action_lines(message)))
    room -= weight(head[-1])
    middle = html_digest(message, room) if message.digest else html_alerts(message, room)
    return "\n".join(part for part in (*head, middle, *tail) if part)


def html_answers(message: Message) -> str:
    """Large enough for a thumb."""
    look = "border:2px solid #175cd3;color:#175cd3;display:inline-block;font-size:18px;margin:4px 8px 4px 0;padding:10px 16px"
    made = " ".join(f'<a href="{escape(url)}" style="{look}">{escape(label)}</a>' for label, url in answer_links(message))
    return f'<p style="margin:12px 0">{made}</p>\n<p style="color:#444444;margin:0 0 12px">{ASKS_AGAIN}</p>' if made else ""


def html_alerts(message: Message, room: int) -> str:
    """As many alerts as fit once they are escaped, then how many are missing."""
    lines, total = alerts_of(message)
    for kept in range(len(lines), -1, -1):
        missing = more(total - kept)
        made = items("Alerts", [*lines[:kept], missing] if missing else lines[:kept])
        if weight(made) <= room:
            return made
    return ""


def html_digest(message: Message, room: int) -> str:
    """Every incident of a storm: with its title as long as they fit, the others by number (R-24)."""
    lines = [digest_line(line) for line in message.digest]
    for kept in (len(lines), 200, 50, 10, 0):
        rest = digest_text(message.digest[kept:], REST_LIMIT) if kept < len(lines) else ""
        made = items("Incidents", [*lines[:kept], rest] if rest else lines[:kept])
        if weight(made) <= room and kept <= len(lines):
            return made
    return ""


def weight(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def items(heading: str, lines: Iterable[str]) -> str:
    made = "".join(f'<li style="margin:0 0 8px">{escape(line)}</li>' for line in lines)
    title = f'<h2 style="font-size:16px;margin:16px 0 4px">{escape(heading)}</h2>' if heading else ""
    return f'{title}<ul style="margin:0 0 12px;padding:0 0 0 20px">{made}</ul>' if made else ""


def page(inner: str) -> str:
    return ('<!doctype html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            '</head><body style="font-family:sans-serif;font-size:16px;line-height:1.4;color:#111111;background-color:#ffffff;'
            f'margin:0;padding:8px;overflow-wrap:anywhere">\n{inner}\n</body></html>\n')


def colour(message: Message) -> str:
    if message.status is IncidentStatus.resolved:
        return CALM
    return SEEN if message.status is IncidentStatus.acknowledged or message.is_silenced else COLOURS[message.severity]


def encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
