"""What waits for people in Slack: a block of its own, whole names, and one more question before it is approved."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from alerthub.channels import slack_blocks as look
from alerthub.domain.message import Button
from tests.kit.messages import HOSTILE, giant_message, message

NAMES = tuple(f"retrain-{number} on agent-btc-in-the-east" for number in range(3))
USUAL = (Button("acknowledge", "Acknowledge", "a"), Button("resolve", "Resolve", "r"), Button("silence", "Silence 1 h", "s"))
VOTES = tuple(button for name in NAMES for button in (
    Button("approve", f"Approve {name}", f"y-{name}", confirm=f"You agree to {name}: 2 of ml must."),
    Button("deny", f"Deny {name}", f"n-{name}")))
RELEASE = Button("release", "Request release of agent-btc", "l")


def test_votes_stand_after_the_usual_answers_by_their_whole_names() -> None:
    usual, votes = [block for block in look.blocks_of(message(buttons=(*USUAL, *VOTES, RELEASE)))
                    if block["type"] == "actions" and "value" in json.dumps(block)]
    assert [element["action_id"] for element in usual["elements"]] == ["acknowledge_0", "resolve_1", "silence"]
    assert [element["text"]["text"] for element in votes["elements"]] == [button.label for button in (*VOTES, RELEASE)]
    assert [element["value"] for element in votes["elements"]] == [button.token for button in (*VOTES, RELEASE)]
    assert len({element["action_id"] for element in votes["elements"]}) == 7


def test_only_to_approve_is_asked_once_more() -> None:
    votes = look.votes_block(message(buttons=(*VOTES, RELEASE)))
    assert votes is not None
    asked = [element for element in votes["elements"] if "confirm" in element]
    assert [element["action_id"].partition("_")[0] for element in asked] == ["approve"] * 3
    assert asked[0]["confirm"]["text"] == {"type": "plain_text", "text": VOTES[0].confirm, "emoji": False}


def test_without_any_there_is_no_empty_block() -> None:
    assert look.votes_block(message(buttons=USUAL)) is None
    assert look.votes_block(message(buttons=(Button("approve", "x", ""), Button("deny", "x", "t" * 151)))) is None


@pytest.mark.parametrize("value", HOSTILE)
def test_whatever_their_names_are_the_message_is_legal(value: str) -> None:
    many = tuple(replace(button, label=value * 9, confirm=value * 9) for button in VOTES) * 3
    blocks = look.blocks_of(replace(giant_message(), buttons=(*USUAL, *many)))
    assert len(blocks) <= look.BLOCKS
    for block in blocks:
        for element in block.get("elements", ()) if block["type"] == "actions" else ():
            if element["type"] == "button":
                assert 0 < len(element["text"]["text"]) <= look.BUTTON_TEXT
                assert len(element.get("confirm", {}).get("title", {}).get("text", "")) <= 100
    assert look.json_length(blocks) <= look.BLOCKS_JSON
