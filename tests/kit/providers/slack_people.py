"""What Slack sends to us when a person presses or types, as PROTOCOLS 2.4 and 2.5 give it. Every field may be overridden."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from alerthub.channels.base import Inbound
from tests.kit.providers.slack import CHANNEL

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TEAM = "T012AB3CD"
USER = "U012AB3CD"
TS = "1763726400.000001"
SILENT = "https://hooks.slack.com/nowhere"


def press(token: str, *, user: Mapping[str, Any] | None = None, **overrides: Any) -> dict[str, Any]:
    """A press of a button of the live message."""
    return interaction({"type": "button", "action_id": "acknowledge_0", "value": token}, user=user, **overrides)


def choice(token: str, **overrides: Any) -> dict[str, Any]:
    """An option chosen in a list."""
    option = {"text": {"type": "plain_text", "text": "1 h"}, "value": token}
    return interaction({"type": "static_select", "action_id": "silence", "selected_option": option}, **overrides)


def interaction(action: Mapping[str, Any], *, user: Mapping[str, Any] | None = None, **overrides: Any) -> dict[str, Any]:
    payload = {
        "type": "block_actions", "team": {"id": TEAM, "domain": "example"}, "enterprise": None, "api_app_id": "A012AB3CD",
        "user": {"id": USER, "username": "ayse", "name": "ayse", "team_id": TEAM, **(user or {})},
        "container": {"type": "message", "message_ts": TS, "channel_id": CHANNEL, "is_ephemeral": False},
        "channel": {"id": CHANNEL, "name": "alerts"}, "message": {"ts": TS, "text": "…"}, "state": {"values": {}},
        "actions": [{"block_id": "b1", "action_ts": "1763726401.000100", **action}],
        "trigger_id": "13345224609.738474920.8088930838d88f008e0", "response_url": SILENT,
    }
    return {**payload, **overrides}


def typed(text: str, **overrides: Any) -> dict[str, str]:
    """The fields of a slash command."""
    fields = {
        "command": "/alerthub", "text": text, "user_id": USER, "user_name": "ayse", "channel_id": CHANNEL, "team_id": TEAM,
        "response_url": SILENT, "trigger_id": "13345224609.738474920.8088930838d88f008e1", "api_app_id": "A012AB3CD",
    }
    return {**fields, **overrides}


def form_of(payload: Mapping[str, Any]) -> bytes:
    return urlencode({"payload": json.dumps(payload)}).encode()


def signed(body: bytes, now: datetime, *, secret: str = SECRET, rest: str = "", stamp: str | None = None) -> Inbound:
    """As Slack would post these bytes at `now`; `stamp` is what the timestamp says instead."""
    stamp = str(int(now.timestamp())) if stamp is None else stamp
    mac = hmac.new(secret.encode(), b"v0:%s:%s" % (stamp.encode(), body), hashlib.sha256).hexdigest()
    headers = {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={mac}",
               "content-type": "application/x-www-form-urlencoded"}
    return Inbound(rest, headers, body, now)


def interactivity(payload: Mapping[str, Any], now: datetime, **signing: Any) -> Inbound:
    return signed(form_of(payload), now, **signing)


def command(fields: Mapping[str, str], now: datetime, **signing: Any) -> Inbound:
    return signed(urlencode(fields).encode(), now, rest="/command", **signing)
