"""What comes from Slack: proof that it is Slack's, and what a person asked with it. Pure: bytes in, `Heard` out.

Over HTTP and over Socket Mode the payloads are the same; only HTTP needs the proof. Telling the person is in slack_answers.py.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from alerthub.channels.base import Forged, Inbound, Unreadable
from alerthub.channels.text import NAME_LIMIT
from alerthub.domain.command import Ask, Press, Typed
from alerthub.domain.person import Account
from alerthub.domain.wording import one_line

FRESH = 300                     # seconds that a signature is good for, both ways (PROTOCOLS 2.5)
STAMP = re.compile(r"[0-9]{1,15}")
FORM_FIELDS = 100
ID_LENGTH = 200                 # of anything that Slack calls an id; longer ones become their hash
WORDS = 2_000
URL_LENGTH = 2_000
LINKED = re.compile(r"<([^<>|]*)(?:\|([^<>]*))?>")      # `<@U1|ayse>`, `<#C1|general>`, `<https://…|label>`

OTHER_WORKSPACE = "Your Slack account belongs to another workspace than this hub, so it cannot answer here. Nothing was changed."
GUEST = "Guests of this workspace cannot answer here. Ask a member of it. Nothing was changed."
BOT = "Bots cannot answer here. Nothing was changed."


@dataclass(frozen=True, slots=True)
class Heard:
    """One request of Slack: an `ask` for the hub, or a `refusal` for the person, or neither (a link was followed).

    `response_url`: where the person is told, unchecked. `in_private`: the button was in an answer that only they see.
    """

    ask: Ask | None = None
    refusal: str = ""
    response_url: str = ""
    in_private: bool = False

    @property
    def is_press(self) -> bool:
        return isinstance(self.ask, Press)


NOTHING = Heard()


def verify(secret: str, inbound: Inbound) -> None:
    """Raises Forged unless Slack signed these bytes less than five minutes from `now`, whatever the headers hold (R-30)."""
    stamp = inbound.headers.get("x-slack-request-timestamp", "")
    given = inbound.headers.get("x-slack-signature", "")
    if not STAMP.fullmatch(stamp) or not given.isascii():
        raise Forged("the signature's headers are missing or malformed")
    wanted = signature(secret, stamp, inbound.body)
    if not hmac.compare_digest(wanted.encode(), given.encode()):
        raise Forged("the signature is wrong")
    if not is_fresh(int(stamp), inbound.now):
        raise Forged("the signature is too old, or from the future: compare the clocks")


def signature(secret: str, stamp: str, body: bytes) -> str:
    return "v0=" + hmac.digest(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hex()


def is_fresh(stamp: int, now: datetime) -> bool:
    return abs(now.timestamp() - stamp) <= FRESH


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form. Raises Unreadable."""
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS))
    except ValueError:
        raise Unreadable("not a form") from None


def read_payload(form: Mapping[str, str]) -> dict[str, Any]:
    """The one field of an interaction. Raises Unreadable."""
    try:
        payload = json.loads(form.get("payload", ""))
    except (ValueError, RecursionError):
        raise Unreadable("the form's field payload is not JSON") from None
    if not isinstance(payload, dict):
        raise Unreadable("the payload is not an object")
    return payload


def hear_interaction(payload: Mapping[str, Any], team: str | None) -> Heard:
    """A press of one of our buttons. Other kinds of interaction are nothing to us. Raises Unreadable."""
    action, token = pressed(payload)
    if payload.get("type") != "block_actions" or not token:
        return NOTHING
    user = part(payload, "user")
    account = account_of(user.get("id"), user.get("username") or user.get("name"))
    url = address(payload.get("response_url"))
    container = part(payload, "container")
    in_private = container.get("is_ephemeral") is True
    if refusal := stranger(user, part(payload, "team"), part(payload, "enterprise"), team):
        return Heard(refusal=refusal, response_url=url)
    message = identifier(container.get("message_ts") or part(payload, "message").get("ts"))
    click = identifier(payload.get("trigger_id")) or f"{message}/{identifier(action.get('action_ts'))}/{account.id}"
    place = identifier(part(payload, "channel").get("id") or container.get("channel_id"))
    return Heard(Press(token, account, f"slack:{click}", place, "" if in_private else message), "", url, in_private)


def hear_command(fields: Mapping[str, Any], team: str | None) -> Heard:
    """A slash command. `ssl_check` is Slack's own question whether anybody is there. Raises Unreadable."""
    if fields.get("ssl_check"):
        return NOTHING
    account = account_of(fields.get("user_id"), fields.get("user_name"))
    url = address(fields.get("response_url"))
    if refusal := stranger({}, {"id": fields.get("team_id")}, {}, team):
        return Heard(refusal=refusal, response_url=url)
    if not (trigger := identifier(fields.get("trigger_id"))):
        raise Unreadable("a command without trigger_id")
    place = identifier(fields.get("channel_id"))
    return Heard(Typed(words_of(fields.get("text")), account, f"slack:{trigger}", place), "", url)


def pressed(payload: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """The action, and the token of its button or of the chosen option; no token for a link's button."""
    actions = payload.get("actions")
    for action in actions if isinstance(actions, list) else ():
        if isinstance(action, dict):
            token = action.get("value") or part(action, "selected_option").get("value")
            if isinstance(token, str) and len(token) <= ID_LENGTH:
                return action, clean(token)
    return {}, ""


def stranger(user: Mapping[str, Any], team: Mapping[str, Any], enterprise: Mapping[str, Any], ours: str | None) -> str:
    """Why this person may not answer, or "" (PROTOCOLS 8). What Slack left out cannot differ, but with a configured team at
    least one of the two must be there."""
    if user.get("is_bot") or user.get("id") == "USLACKBOT":
        return BOT
    if user.get("is_restricted") or user.get("is_ultra_restricted"):
        return GUEST
    teams = {identifier(user.get("team_id")), identifier(team.get("id"))} - {""}
    organisations = {identifier(user.get("enterprise_id")), identifier(enterprise.get("id"))} - {""}
    is_ours = len(teams) <= 1 if ours is None else teams == {ours}
    return "" if is_ours and len(organisations) <= 1 and not user.get("is_stranger") else OTHER_WORKSPACE


def account_of(user: object, name: object) -> Account:
    if not (known := identifier(user)):
        raise Unreadable("nobody is named as the user")
    return Account("slack", known, one_line(clean(name), NAME_LIMIT) if isinstance(name, str) else "")


def words_of(text: object) -> str:
    """What was typed, without Slack's markup."""
    return one_line(unescaped(clean(text)), WORDS) if isinstance(text, str) else ""


def unescaped(text: str) -> str:
    """Links and mentions as they read, then the three escapes undone, the ampersand last (PROTOCOLS 2.3)."""
    text = LINKED.sub(linked, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def linked(found: re.Match[str]) -> str:
    target, label = found[1], found[2]
    if target[:1] in ("@", "#"):
        return target[0] + (label or target[1:])
    return label or target.removeprefix("!")


def part(payload: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object inside, {} for everything that is not one."""
    found = payload.get(name)
    return found if isinstance(found, dict) else {}


def identifier(value: object) -> str:
    if not isinstance(value, str):
        return ""
    known = clean(value)
    return known if len(known) <= ID_LENGTH else hashlib.sha256(known.encode()).hexdigest()


def address(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= URL_LENGTH else ""


def clean(text: str) -> str:
    """What every database can store: no NUL, no half of a character (JSON allows both)."""
    return text.replace("\x00", "").encode(errors="replace").decode()
