"""What a person in Slack is told about what they asked: for them alone, literal, within the limits. Pure."""

from __future__ import annotations

from typing import Any

from alerthub.channels.slack_blocks import (
    BLOCKS_JSON,
    BUTTON_TEXT,
    SECTION_TEXT,
    TEXT,
    Block,
    escaped,
    json_length,
    pieces,
    plain,
    section,
)
from alerthub.channels.slack_inbound import Heard
from alerthub.domain.command import Answer, Outcome
from alerthub.domain.wording import clip

LENGTHS = (9_000, 2_500, 800)       # of the text: the first whose blocks fit
FORCE = "resolve_anyway"
CONFIRM_TITLE, CONFIRM_TEXT, CONFIRM_WORD = 100, 300, 30

Said = dict[str, Any]


def ending_of(answer: Answer, heard: Heard) -> Said | None:
    """What goes to the response_url after a press or a command. A press that was done is seen in the live message, so the
    person is told nothing more, and the question that it answered goes away."""
    if heard.is_press and answer.outcome is Outcome.done:
        return {"delete_original": True} if heard.in_private else None
    return {**spoken(answer), "replace_original": heard.in_private}


def refused(reason: str) -> Said:
    return {**whisper([section(reason)], reason), "replace_original": False}


def spoken(answer: Answer) -> Said:
    """The hub's words, and where it asked back, the button that insists."""
    for length in LENGTHS:
        blocks = [section(part) for part in pieces(clip(answer.text, length), SECTION_TEXT)] or [section("")]
        if answer.force:
            blocks.append({"type": "actions", "elements": [force_button(answer)]})
        if json_length(blocks) <= BLOCKS_JSON:
            break
    return whisper(blocks, answer.text)


def whisper(blocks: list[Block], text: str) -> Said:
    return {"response_type": "ephemeral", "text": escaped(text, TEXT) or "-", "blocks": blocks}


def force_button(answer: Answer) -> Block:
    number = f" #{answer.number}" if answer.number else ""
    confirm = {
        "title": plain(f"Resolve{number} anyway?", CONFIRM_TITLE), "style": "danger",
        "text": plain("Your name goes into the record.", CONFIRM_TEXT),
        "confirm": plain("Resolve anyway", CONFIRM_WORD), "deny": plain("Leave it open", CONFIRM_WORD),
    }
    return {"type": "button", "action_id": FORCE, "style": "danger", "value": answer.force, "confirm": confirm,
            "text": plain("Resolve anyway", BUTTON_TEXT)}
