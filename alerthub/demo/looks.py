"""What a person sees in each channel, made from what the hub sends there. Pure; printing is the screen's business.

Texts stay as they are: the screen takes out what could act on a terminal.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

from alerthub.demo.screen import Line, Tone

GAP = "  "
FIRST_WORD = re.compile(r"\W*(\w*)")
TONES = {"RESOLVED": Tone.good, "FIRING": Tone.bad}
STATES = {"trigger": "FIRING", "acknowledge": "ACKNOWLEDGED", "resolve": "RESOLVED"}


def pressed(labels: Sequence[str]) -> str:
    """Buttons and links: what can be pressed stands in brackets."""
    return GAP.join(f"[{label}]" for label in labels)


def told(text: str) -> Line:
    """A heading. Where it begins with the state, it has the colour of that word."""
    word = FIRST_WORD.match(text)
    return Line(text, TONES.get(word[1] if word else "", Tone.bold))


def changes(old: Sequence[Line], new: Sequence[Line]) -> list[Line]:
    """Of an edited message the lines that were not there before."""
    before = {line.text for line in old}
    return [line for line in new if line.text not in before] or [Line("(nothing that can be seen)", Tone.dim)]


# --- Slack ------------------------------------------------------------------------------------------------------------------

def slack_lines(sent: Mapping[str, Any]) -> list[Line]:
    """A message: its blocks, or without them its text."""
    found = [line for block in sent.get("blocks") or () for line in slack_block(block)]
    return found or [Line(html.unescape(str(sent.get("text", ""))))]


def slack_block(block: Mapping[str, Any]) -> Iterator[Line]:
    elements = block.get("elements", ())
    match block.get("type"):
        case "header":
            yield told(slack_text(block["text"]))
        case "section":
            if "text" in block:
                yield Line(slack_text(block["text"]))
            if fields := block.get("fields"):
                yield Line(" · ".join(slack_text(field).replace("\n", ": ", 1) for field in fields), Tone.dim)
        case "context":
            yield from (Line(slack_text(element), Tone.dim) for element in elements)
        case "actions":
            yield Line(pressed([slack_text(element.get("text") or element["placeholder"]) for element in elements]))


def slack_text(made: Mapping[str, Any]) -> str:
    """A text object. mrkdwn has its escapes undone (PROTOCOLS 2.3)."""
    text = str(made["text"])
    return html.unescape(text) if made["type"] == "mrkdwn" else text


# --- Telegram ---------------------------------------------------------------------------------------------------------------

class TelegramText(HTMLParser):
    """Telegram's HTML as lines: the ones with bold text are headings, links stand in brackets."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[tuple[str, bool]] = [("", False)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        text, is_bold = self.rows[-1]
        self.rows[-1] = (f"{text}[" if tag == "a" else text, is_bold or tag == "b")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self.handle_data("]")

    def handle_data(self, data: str) -> None:
        first, *rest = data.split("\n")
        text, is_bold = self.rows[-1]
        self.rows[-1] = (text + first, is_bold)
        self.rows += [(line, False) for line in rest]


def telegram_lines(form: Mapping[str, str]) -> list[Line]:
    """The text, and the rows of buttons below it."""
    text, buttons = form.get("text", ""), [Line(pressed(list(row))) for row in telegram_keyboard(form)]
    if form.get("parse_mode") != "HTML":
        return [Line(text), *buttons]
    parser = TelegramText()
    parser.feed(text)
    parser.close()
    return [*(told(row) if is_bold else Line(row) for row, is_bold in parser.rows), *buttons]


def telegram_keyboard(form: Mapping[str, str]) -> list[dict[str, str]]:
    """Rows of buttons: what each says, and the data that a press of it brings."""
    rows = json.loads(form.get("reply_markup") or "{}").get("inline_keyboard", ())
    return [{str(button["text"]): str(button["callback_data"]) for button in row} for row in rows]


# --- mail -------------------------------------------------------------------------------------------------------------------

def mail_lines(content: bytes) -> list[Line]:
    """Subject and text, as a list of mails and then the mail itself show them."""
    mail = message_from_bytes(content, policy=policy.default)
    part = mail.get_body(("plain",)) if isinstance(mail, EmailMessage) else None
    try:
        text = str(part.get_content()) if part is not None else ""
    except LookupError:         # a character set that nobody knows
        text = ""
    first, *rest = text.replace("\r\n", "\n").strip().split("\n")
    return [Line(f"Subject: {mail['Subject']}", Tone.bold), told(first), *map(Line, rest)]


# --- PagerDuty --------------------------------------------------------------------------------------------------------------

def pagerduty_lines(event: Mapping[str, Any]) -> list[Line]:
    """An alert of PagerDuty: summary, severity, the details that a person reads first, and the way back to the hub."""
    payload = mapping(event.get("payload"))
    details = mapping(payload.get("custom_details"))
    state = STATES.get(str(event.get("event_action")), "")
    lines = [told(f"{state}: {payload.get('summary', '')}"), Line(str(details.get("incident", "")), Tone.dim)]
    lines += [Line(f"▸ {text}") for text in details.get("news", ())]
    links = [str(link.get("text", "")) for link in event.get("links", ())]
    return [*lines, Line(pressed(links))] if links else lines


# --- what actions ask for ---------------------------------------------------------------------------------------------------

def action_lines(asked: Mapping[str, Any]) -> list[Line]:
    """The body of a signed request: its reason and its parameters."""
    parameters = ", ".join(f"{name}: {value}" for name, value in sorted(mapping(asked.get("parameters")).items()))
    return [Line(f"because: {asked.get('reason', '')}"), Line(parameters, Tone.dim)]


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
