"""Slack, Telegram, PagerDuty and the targets of the actions, as the hub meets them: the same addresses, credentials and
answers as the real ones, in one small application. Nothing here leaves the machine. The mail server is in mailbox.py.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from alerthub.clock import Clock
from alerthub.demo import looks
from alerthub.demo.screen import Line, Tone
from alerthub.demo.witness import Sighting, Witness
from alerthub.toy_agent import is_signed

BODY_BYTES = 1024 * 1024
SLACK_CHANNEL, SLACK_CHANNEL_ID = "#alerts", "C0DEMOALERTS"
CHAT = 100200300            # Ayse's private chat, and so her account too
POLLS = 30.0                # seconds that an empty getUpdates is held at most
EDITED = "edited in place; new in it:"
# What each target of an action is, for the one who reads: its name in the configuration, what it is, what it then says.
TARGETS = {
    "prefect": ("Prefect", "retry the ETL flow", {"state": "scheduled"}),
    "autoscaler": ("Autoscaler", "one more replica", {"replicas": 3}),
    "model-registry": ("Model registry", "a warning on the model", {"tagged": True}),
    "training-queue": ("Training queue", "retrain the model", {"position": 1}),
}


@dataclass(frozen=True, slots=True, repr=False)
class Accounts:
    """Credentials that mean something in one run only. The hub and the counterparts know them, nobody prints them."""

    slack_token: str = field(default_factory=lambda: f"xoxb-demo-{secrets.token_hex(12)}")
    telegram_token: str = field(default_factory=lambda: f"100200:{secrets.token_hex(16)}")
    routing_key: str = field(default_factory=lambda: secrets.token_hex(16))
    action_secret: str = field(default_factory=lambda: f"whsec_{b64encode(secrets.token_bytes(32)).decode()}")
    agent_secret: str = field(default_factory=lambda: f"whsec_{b64encode(secrets.token_bytes(32)).decode()}")


class Counterparts:
    """Keeps what the channels show now, and tells the witness of everything that changes it."""

    def __init__(self, accounts: Accounts, witness: Witness, clock: Clock) -> None:
        self.accounts, self.witness, self.clock = accounts, witness, clock
        self.slack: dict[str, list[Line]] = {}
        self.telegram: dict[str, list[Line]] = {}
        self.pagerduty: dict[str, list[Line]] = {}
        self.done: set[str] = set()
        self.numbers = itertools.count(1)
        self.keyboards: dict[str, dict[str, str]] = {}
        self.updates: list[dict[str, Any]] = []
        self.news = asyncio.Event()

    def app(self) -> Starlette:
        return Starlette(max_body_size=BODY_BYTES, routes=[
            Route("/slack/{method}", self.slack_call, methods=["POST"]),
            Route("/telegram/bot{token}/{method}", self.telegram_call, methods=["POST"]),
            Route("/pagerduty/v2/enqueue", self.pagerduty_event, methods=["POST"]),
            Route("/targets/{target}", self.action_call, methods=["POST"]),
        ])

    # --- Slack (PROTOCOLS 2.1, 2.7): 200 with ok:false for what is refused --------------------------------------------------

    async def slack_call(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.accounts.slack_token}":
            return slack_refusal("invalid_auth")
        sent = object_of(await request.body())
        match request.path_params["method"]:
            case "chat.postMessage":
                return self.slack_post(sent)
            case "chat.update":
                return self.slack_update(sent)
        return slack_refusal("unknown_method")

    def slack_post(self, sent: Mapping[str, Any]) -> Response:
        if sent.get("channel") not in (SLACK_CHANNEL, SLACK_CHANNEL_ID):
            return slack_refusal("channel_not_found")
        lines, thread = looks.slack_lines(sent), sent.get("thread_ts")
        ts = f"{int(self.clock.now().timestamp())}.{next(self.numbers):06d}"
        self.slack[ts] = lines
        title = f"Slack {SLACK_CHANNEL}" + (" · in the thread of that message" if thread else "")
        self.witness.note("slack", title, lines, [*self.slack.get(str(thread), ()), *lines])
        return JSONResponse({"ok": True, "channel": SLACK_CHANNEL_ID, "ts": ts})

    def slack_update(self, sent: Mapping[str, Any]) -> Response:
        ts = str(sent.get("ts"))
        if ts not in self.slack or sent.get("channel") != SLACK_CHANNEL_ID:
            return slack_refusal("message_not_found")
        lines = looks.slack_lines(sent)
        self.witness.note("slack", f"Slack {SLACK_CHANNEL} · {EDITED}", looks.changes(self.slack[ts], lines), lines)
        self.slack[ts] = lines
        return JSONResponse({"ok": True, "channel": SLACK_CHANNEL_ID, "ts": ts})

    # --- Telegram (PROTOCOLS 3.1, 3.3): statuses as HTTP has them, and ok:false ---------------------------------------------

    async def telegram_call(self, request: Request) -> Response:
        if request.path_params["token"] != self.accounts.telegram_token:
            return telegram_refusal(401, "Unauthorized")
        form, method = dict(parse_qsl((await request.body()).decode("utf-8", "replace"))), request.path_params["method"]
        if method == "getUpdates":
            return await self.telegram_poll(request, form)
        if method == "answerCallbackQuery":
            self.witness.note("telegram", "Telegram · for Ayse alone", [Line(form.get("text", ""))])
            return JSONResponse({"ok": True, "result": True})
        if form.get("chat_id") != str(CHAT):
            return telegram_refusal(400, "Bad Request: chat not found")
        match method:
            case "sendMessage":
                return self.telegram_send(form)
            case "editMessageText":
                return self.telegram_edit(form)
        return telegram_refusal(404, "Not Found")

    async def telegram_poll(self, request: Request, form: Mapping[str, str]) -> Response:
        """Held until somebody presses, or whoever asks goes away. To ask for later ones confirms the earlier (PROTOCOLS 3.6)."""
        offset = int(form.get("offset", "0"))
        self.updates = [update for update in self.updates if update["update_id"] >= offset]
        if not self.updates:
            self.news.clear()
            waiting = {asyncio.create_task(self.news.wait()), asyncio.ensure_future(request.receive())}
            _, late = await asyncio.wait(waiting, timeout=POLLS, return_when=asyncio.FIRST_COMPLETED)
            for task in late:
                task.cancel()
        return JSONResponse({"ok": True, "result": self.updates})

    def press(self, label: str, number: int) -> bool:
        """Ayse presses this button of the message about that incident. False when there is none."""
        for message, lines in self.telegram.items():
            token = self.keyboards.get(message, {}).get(label)
            if token is None or not Sighting("telegram", "", (), lines).names(number):
                continue
            at, chat = int(self.clock.now().timestamp()), {"id": CHAT, "type": "private"}
            held = {"message_id": int(message), "date": at, "chat": chat}
            ayse = {"id": CHAT, "is_bot": False, "first_name": "Ayse"}
            press = next(self.numbers)
            self.updates.append({"update_id": press, "callback_query": {
                "id": f"press-{press}", "from": ayse, "message": held, "chat_instance": "demo", "data": token}})
            self.news.set()
            return True
        return False

    def telegram_send(self, form: Mapping[str, str]) -> Response:
        lines, number = looks.telegram_lines(form), str(next(self.numbers))
        answers = str(object_of(form.get("reply_parameters", "").encode()).get("message_id", ""))
        self.telegram[number] = lines
        title = "Telegram" + (" · in reply to that message" if answers else "")
        self.witness.note("telegram", title, lines, [*self.telegram.get(answers, ()), *lines])
        return self.telegram_message(number, form)

    def telegram_edit(self, form: Mapping[str, str]) -> Response:
        lines, number = looks.telegram_lines(form), form.get("message_id", "")
        if number not in self.telegram:
            return telegram_refusal(400, "Bad Request: message to edit not found")
        if lines == self.telegram[number]:
            return telegram_refusal(400, "Bad Request: message is not modified")
        self.witness.note("telegram", f"Telegram · {EDITED}", looks.changes(self.telegram[number], lines), lines)
        self.telegram[number] = lines
        return self.telegram_message(number, form)

    def telegram_message(self, number: str, form: Mapping[str, str]) -> Response:
        self.keyboards[number] = {label: data for row in looks.telegram_keyboard(form) for label, data in row.items()}
        return JSONResponse({"ok": True, "result": {
            "message_id": int(number), "date": int(self.clock.now().timestamp()), "chat": {"id": CHAT, "type": "private"},
            "text": form.get("text", "")}})

    # --- PagerDuty, Events API v2 (PROTOCOLS 4.1) ---------------------------------------------------------------------------

    async def pagerduty_event(self, request: Request) -> Response:
        event = object_of(await request.body())
        key = str(event.get("dedup_key", ""))
        if event.get("routing_key") != self.accounts.routing_key or event.get("event_action") not in looks.STATES:
            return JSONResponse({"status": "invalid event", "message": "Event object is invalid", "errors": []}, 400)
        lines, before = looks.pagerduty_lines(event), self.pagerduty.get(key)
        if event["event_action"] == "resolve":
            deed = "resolved"
        elif event["event_action"] == "acknowledge":
            deed = "acknowledged: nobody is called any more"
        else:
            deed = "triggered: a phone rings" if before is None else "the same alert, nobody is called again; new in it:"
        self.witness.note("pagerduty", f"PagerDuty · {deed}", looks.changes(before or (), lines), lines)
        self.pagerduty[key] = lines
        return JSONResponse({"status": "success", "message": "Event processed", "dedup_key": key}, 202)

    # --- targets of actions: signed (PROTOCOLS 6.4), and the same id is the same request ------------------------------------

    async def action_call(self, request: Request) -> Response:
        target, body = request.path_params["target"], await request.body()
        if target not in TARGETS:
            return JSONResponse({"error": "not found"}, 404)
        if not is_signed(self.accounts.action_secret, request.headers, body, self.clock.now()):
            return JSONResponse({"error": "wrong signature"}, 401)
        name, wish, answer = TARGETS[target]
        if (run := request.headers.get("idempotency-key", "")) not in self.done:
            self.done.add(run)
            lines = [Line("Signed request, the signature is right.", Tone.good), *looks.action_lines(object_of(body))]
            self.witness.note(target, f"{name} · asked to: {wish}", lines)
        return JSONResponse(answer, 202)


def object_of(body: bytes) -> dict[str, Any]:
    """A JSON object; {} for everything that is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def slack_refusal(error: str) -> Response:
    return JSONResponse({"ok": False, "error": error})


def telegram_refusal(status: int, words: str) -> Response:
    return JSONResponse({"ok": False, "error_code": status, "description": words}, status)
