"""Slack as a test sees it: a workspace that keeps messages, edits and threads them, and refuses what the real one refuses.

The limits are PROTOCOLS 2.2: slack_sdk's own models refuse most, `problems` adds those they let through.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

from tests.kit.providers.http import Answer, FakeProvider, Request

CHANNEL = "C012AB3CD"
APP_TOKEN = "xapp-test"
NOBODY = "U0NOBODY"         # of the workspace, and nobody whom the hub knows
TEXT_LIMITS = {"header": 150, "section": 3_000, "button": 75, "field": 2_000, "context": 3_000, "placeholder": 150, "option": 75}
PLAIN = ("header", "button", "placeholder", "option")


def problems(blocks: Sequence[dict[str, Any]]) -> list[str]:
    """Why Slack would refuse these blocks; empty when it would not."""
    found = [f"{len(blocks)} blocks"] if not 1 <= len(blocks) <= 50 else []
    for parsed, block in zip(Block.parse_all(blocks), blocks, strict=True):
        if parsed is None:
            found.append(f"unknown block {block['type']}")
            continue
        try:
            parsed.validate_json()
        except SlackObjectFormationError as error:
            found.append(str(error))
    found += [problem for block in blocks for problem in missed(block)]
    ids = [element["action_id"] for block in blocks for element in block.get("elements", ()) if "action_id" in element]
    found += ["duplicate action_id"] if len(ids) != len(set(ids)) else []
    size = len(json.dumps(list(blocks)))
    return [*found, f"msg_blocks_too_long: {size}"] if size > 12_000 else found


def missed(block: dict[str, Any]) -> Iterator[str]:
    """What slack_sdk's models let through: empty text, an mrkdwn header, long fields and buttons, too many elements."""
    kind = block["type"]
    for where, text in text_objects(block):
        if not 1 <= len(text["text"]) <= TEXT_LIMITS[where]:
            yield f"{where} text of {len(text['text'])}"
        if where in PLAIN and text["type"] != "plain_text":
            yield f"{where} in {text['type']}"
    counts = {"section": ("fields", 10), "context": ("elements", 10), "actions": ("elements", 25)}
    name, most = counts.get(kind, ("", 0))
    if name in block and not 1 <= len(block[name]) <= most:
        yield f"{kind} with {len(block[name])} {name}"
    for element in block.get("elements", ()):
        yield from missed_in(element)


def missed_in(element: dict[str, Any]) -> Iterator[str]:
    if len(element.get("url", "")) > 3_000:
        yield "button url"
    if element["type"] == "static_select" and not 1 <= len(element["options"]) <= 100:
        yield f"{len(element['options'])} options"
    values = [element.get("value", "-"), *(option["value"] for option in element.get("options", ()))]
    if not all(values) or any(len(value) > 150 for value in values[1:]) or len(values[0]) > 2_000:
        yield "value"
    if len(set(values)) != len(values):
        yield "options that cannot be told apart"


def text_objects(block: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every text object of a block, with what it belongs to."""
    kind = block["type"]
    if "text" in block:
        yield kind, block["text"]
    for field in block.get("fields", ()):
        yield "field", field
    for element in block.get("elements", ()):
        if element["type"] == "static_select":
            yield "placeholder", element["placeholder"]
            yield from (("option", option["text"]) for option in element["options"])
        else:
            yield ("button", element["text"]) if element["type"] == "button" else ("context", element)


def tokens(sent: dict[str, Any]) -> dict[str, str]:
    """What a person can press, by its label: the value that Slack would post."""
    elements = [element for block in sent.get("blocks", ()) if block["type"] == "actions" for element in block["elements"]]
    choices = [choice for element in elements for choice in element.get("options", [element])]
    return {choice["text"]["text"]: choice["value"] for choice in choices if "value" in choice}


def visible(sent: dict[str, Any]) -> str:
    """What a person sees of one message: the blocks, or without them the text. mrkdwn has its escapes undone."""
    if not sent.get("blocks"):
        return html.unescape(sent["text"])
    texts = [text for block in sent["blocks"] for _, text in text_objects(block)]
    return "\n".join(html.unescape(text["text"]) if text["type"] == "mrkdwn" else text["text"] for text in texts)


def parsed_as_markup(sent: dict[str, Any]) -> list[str]:
    texts = [text for block in sent.get("blocks", ()) for _, text in text_objects(block)]
    return [sent["text"], *(text["text"] for text in texts if text["type"] == "mrkdwn")]


@dataclass(frozen=True, slots=True)
class Posted:
    """One message in the workspace, as it is now."""

    ts: str
    sent: dict[str, Any]
    thread_ts: str | None = None
    edits: int = 0
    to: str = ""        # the channel, or the person, that it was posted to; an edit names it otherwise

    @property
    def text(self) -> str:
        return visible(self.sent)


class FakeSlack(FakeProvider):
    """Web API at `base_url`, an incoming webhook at `hook_url`. `posted` are the messages in order; scripted answers win.

    `response_url` is where one person is told something, kept in `told`. `socket_url`: what apps.connections.open gives out.
    """

    def __init__(self, token: str = "xoxb-test") -> None:
        super().__init__(self._answer)
        self.token = token
        self.posted: list[Posted] = []
        self.hooked: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.socket_url = ""
        self.scopes = {"chat:write", "commands", "users:read"}
        self.users = {NOBODY: member(NOBODY, "T012AB3CD")}      # by id, as users.info gives them

    @property
    def base_url(self) -> str:
        return f"{self.url}/api/"

    @property
    def hook_url(self) -> str:
        return f"{self.url}/services/T0/B0/hook-secret"

    @property
    def response_url(self) -> str:
        return f"{self.url}/actions/T012AB3CD/1/response-secret"

    @property
    def roots(self) -> list[Posted]:
        return [message for message in self.posted if message.thread_ts is None]

    @property
    def in_channels(self) -> list[Posted]:
        """Those that were not posted to one person."""
        return [message for message in self.roots if not message.to.startswith("U")]

    @property
    def asked(self) -> list[Posted]:
        """Those that were."""
        return [message for message in self.roots if message.to.startswith("U")]

    def thread(self, ts: str) -> list[Posted]:
        return [message for message in self.posted if message.thread_ts == ts]

    def methods(self) -> list[str]:
        return [request.path.removeprefix("/api/") for request in self.requests]

    def _answer(self, request: Request) -> Answer:
        if request.path.startswith("/services/"):
            return self._hooked(request.json())
        if request.path.startswith("/actions/"):
            return self._responded(request.json())
        if request.path == "/api/apps.connections.open":
            return self._opened(request)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return refused("invalid_auth")
        if request.path == "/api/users.info":
            return self._user(request)
        sent = request.json()
        if len(sent["text"]) > 4_000:
            return refused("msg_too_long")
        if sent.get("blocks") and (found := problems(sent["blocks"])):
            return Answer(body={"ok": False, "error": "invalid_blocks", "errors": found})
        return {"/api/chat.postMessage": self._post, "/api/chat.update": self._update}[request.path](sent)

    def _hooked(self, sent: dict[str, Any]) -> Answer:
        if sent.get("blocks") and problems(sent["blocks"]):
            return Answer(400, body="invalid_blocks")
        self.hooked.append(sent)
        return Answer(body="ok")

    def _responded(self, sent: dict[str, Any]) -> Answer:
        if sent.get("blocks") and problems(sent["blocks"]):
            return Answer(400, body="invalid_blocks")
        self.told.append(sent)
        return Answer(body="ok")

    def _opened(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {APP_TOKEN}":
            return refused("not_allowed_token_type")
        return Answer(body={"ok": True, "url": self.socket_url})

    def _user(self, request: Request) -> Answer:
        """Takes a form or a query, no JSON."""
        if "users:read" not in self.scopes:
            needed = {"needed": "users:read", "provided": ",".join(sorted(self.scopes))}
            return Answer(body={"ok": False, "error": "missing_scope", **needed})
        user = self.users.get(request.form().get("user", ""))
        return Answer(body={"ok": True, "user": user}) if user else refused("user_not_found")

    def _post(self, sent: dict[str, Any]) -> Answer:
        if not sent.get("channel"):
            return refused("channel_not_found")
        ts = f"1763726400.{len(self.posted) + 1:06d}"
        self.posted.append(Posted(ts, sent, sent.get("thread_ts"), to=sent["channel"]))
        return Answer(body={"ok": True, "channel": CHANNEL, "ts": ts})

    def _update(self, sent: dict[str, Any]) -> Answer:
        for index, message in enumerate(self.posted):
            if message.ts == sent["ts"] and sent["channel"] == CHANNEL:
                self.posted[index] = replace(message, sent=sent, edits=message.edits + 1)
                return Answer(body={"ok": True, "channel": CHANNEL, "ts": message.ts})
        return refused("message_not_found")


def member(user: str, team: str, **overrides: Any) -> dict[str, Any]:
    """A full member, as users.info gives one; with `is_restricted` a guest, and so on."""
    return {"id": user, "team_id": team, "name": user.lower(), "deleted": False, "profile": {"team": team}, "is_admin": False,
            "is_owner": False, "is_restricted": False, "is_ultra_restricted": False, "is_bot": False, "is_app_user": False,
            "updated": 1763726400, **overrides}


def refused(error: str) -> Answer:
    return Answer(body={"ok": False, "error": error})
