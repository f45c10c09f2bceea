"""The door for answers: which listener is asked, its limits, and what a stranger is told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from alerthub.channels.base import Forged, Inbound, Reply, Take, Unreadable
from alerthub.channels.pagerduty_answers import PagerDutyAnswers
from alerthub.domain.command import Answer, Ask, Outcome
from alerthub.web import replies
from alerthub.web.app import guarded, refused, route
from alerthub.web.base import Door
from tests.kit.clock import FakeClock
from tests.kit.messages import message
from tests.kit.providers.pagerduty import WEBHOOK_SECRET, signed, webhook

pytestmark = pytest.mark.anyio
PATHS = ("/replies/slack", "/replies/slack/command", "/replies/telegram", "/replies/pagerduty")


@dataclass
class ScriptedListener:
    """Does what it is told to, and keeps what it got."""

    kind: str
    does: Callable[[Inbound, Take], Awaitable[Reply]]
    got: list[Inbound] = field(default_factory=list)

    async def receive(self, inbound: Inbound, take: Take) -> Reply:
        self.got.append(inbound)
        return await self.does(inbound, take)


@dataclass
class ScriptedHub:
    listeners: tuple[Any, ...] = ()
    clock: FakeClock = field(default_factory=FakeClock)
    door: Door = field(default_factory=lambda: Door("https://hub.example.com", is_loopback=False))
    heard: list[Ask] = field(default_factory=list)
    outcome: Outcome = Outcome.done

    async def hear(self, ask: Ask) -> Answer:
        self.heard.append(ask)
        return Answer(self.outcome, "Acknowledged #17.")


def app(hub: ScriptedHub) -> Starlette:
    made = Starlette(routes=[*route("/replies/slack/command", guarded(replies.receive_command), "POST"),
                             *route("/replies/{kind}", guarded(replies.receive), "POST")],
                     exception_handlers={HTTPException: refused})
    made.router.redirect_slashes = False
    made.state.hub = hub
    return made


def client(hub: ScriptedHub, application: Starlette | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(application or app(hub)), base_url="https://hub.example.com")


def knows(kind: str, body: bytes = b"heard") -> ScriptedListener:
    async def does(inbound: Inbound, take: Take) -> Reply:
        return Reply(body=body, media_type="application/json")
    return ScriptedListener(kind, does)


def raises(kind: str, error: Exception) -> ScriptedListener:
    async def does(inbound: Inbound, take: Take) -> Reply:
        raise error
    return ScriptedListener(kind, does)


# --- who is asked -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_listener_of_the_kind_gets_everything_as_it_came(path: str, slash: str) -> None:
    kind = path.split("/")[2]
    hub = ScriptedHub((knows("slack"), knows("telegram"), knows("pagerduty")))
    answer = await client(hub).post(path + slash, content=b"\xff\x00raw", headers={"X-Some-Header": "Value"})
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"heard", "application/json")
    assert answer.headers["cache-control"] == "no-store"
    (inbound,) = next(one for one in hub.listeners if one.kind == kind).got
    assert (inbound.body, inbound.headers["x-some-header"], inbound.now) == (b"\xff\x00raw", "Value", hub.clock.now())
    assert inbound.rest == ("/command" if path.endswith("/command") else "")
    assert sum(len(one.got) for one in hub.listeners) == 1


@pytest.mark.parametrize("path", [*PATHS, "/replies/email", "/replies/nonsense", "/replies/%2e%2e"])
async def test_a_kind_that_nobody_hears_is_not_found(path: str) -> None:
    answer = await client(ScriptedHub((knows("console"),))).post(path, content=b"x")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", [*PATHS, *(f"{path}/" for path in PATHS)])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_is_refused(path: str, method: str) -> None:
    hub = ScriptedHub((knows("slack"), knows("telegram"), knows("pagerduty")))
    assert (await client(hub).request(method, path)).status_code == 405
    assert [one.got for one in hub.listeners] == [[], [], []]


async def test_of_several_bots_the_one_that_knows_it_answers() -> None:
    hub = ScriptedHub((raises("telegram", Forged("not mine")), knows("telegram", b"second"), knows("telegram", b"third")))
    assert (await client(hub).post("/replies/telegram")).content == b"second"
    assert hub.listeners[2].got == []


# --- what a stranger is told --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("error", "status"), [(Forged("no"), 401), (Forged("no", 403), 403), (Unreadable("no"), 400)])
async def test_what_the_listener_refuses_is_a_problem_with_its_status(error: Exception, status: int) -> None:
    hub = ScriptedHub((raises("slack", error),))
    answer = await client(hub).post("/replies/slack", content=b"x")
    assert (answer.status_code, answer.json()["status"], answer.json()["detail"]) == (status, status, "no")
    assert hub.heard == []


async def test_when_all_refuse_the_first_one_is_believed() -> None:
    hub = ScriptedHub((raises("telegram", Forged("one", 403)), raises("telegram", Forged("two", 401))))
    answer = await client(hub).post("/replies/telegram")
    assert (answer.status_code, answer.json()["detail"]) == (403, "one")


async def test_refusals_are_logged_once_a_minute_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="alerthub.replies")
    hub = ScriptedHub((raises("slack", Forged("wrong")), raises("telegram", Forged("wrong", 403))))
    web = client(hub)

    async def lines() -> int:
        for path in ("/replies/slack", "/replies/slack/command", "/replies/telegram") * 5:
            await web.post(path, content=b"a stranger's bytes")
        return len(caplog.records)

    assert await lines() == 2
    assert await lines() == 2
    hub.clock.advance(seconds=59)
    assert await lines() == 2
    hub.clock.advance(seconds=1)
    assert await lines() == 4
    assert "stranger" not in caplog.text
    assert {record.__dict__["kind"] for record in caplog.records} == {"slack", "telegram"}


# --- limits -------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("size", "status"), [
    (1_048_575, 200), (1_048_576, 200), (1_048_577, 413)])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_has_at_most_a_mebibyte(size: int, status: int, announced: bool) -> None:
    async def parts() -> Any:
        yield b"x" * size

    hub = ScriptedHub((knows("slack"),))
    answer = await client(hub).post("/replies/slack", content=b"x" * size if announced else parts())
    assert answer.status_code == status
    assert len(hub.listeners[0].got) == (status == 200)


async def asked(hub: ScriptedHub, *events: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The answer to a request whose body arrives as these events; then it is silent."""
    left, sent = list(events), []

    async def receive() -> dict[str, Any]:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {"type": "http", "method": "POST", "path": "/replies/slack", "raw_path": b"/replies/slack", "query_string": b"",
             "headers": [], "scheme": "https", "server": ("hub.example.com", 443), "root_path": "", "http_version": "1.1"}
    await app(hub)(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


PART = {"type": "http.request", "body": b"half", "more_body": True}


async def test_a_body_that_drips_is_cut_off() -> None:
    hub = ScriptedHub((knows("slack"),), door=Door("https://hub.example.com", is_loopback=False, body_seconds=0.01))
    status, problem = await asked(hub, PART)
    assert (status, hub.listeners[0].got) == (503, [])
    assert "did not arrive" in problem["detail"]
    assert replies.BODY_SECONDS == 5


async def test_a_sender_that_goes_away_changes_nothing() -> None:
    hub = ScriptedHub((knows("slack"),))
    status, _ = await asked(hub, PART, {"type": "http.disconnect"})
    assert (status, hub.listeners[0].got) == (400, [])


# --- with a real listener -----------------------------------------------------------------------------------------------------

BODY = webhook("incident.acknowledged", f"alerthub/{message().incident_id}/1")


async def test_a_genuine_webhook_reaches_the_hub() -> None:
    hub = ScriptedHub((PagerDutyAnswers(WEBHOOK_SECRET.encode()),))
    assert (await client(hub).post("/replies/pagerduty", content=BODY, headers=signed(BODY))).status_code == 200
    assert [ask.incident for ask in hub.heard] == [message().incident_id]


async def test_a_busy_hub_is_asked_again() -> None:
    hub = ScriptedHub((PagerDutyAnswers(WEBHOOK_SECRET.encode()),), outcome=Outcome.busy)
    assert (await client(hub).post("/replies/pagerduty", content=BODY, headers=signed(BODY))).status_code == 503


@pytest.mark.parametrize("headers", [
    {}, signed(BODY, "another-secret-0123"), signed(BODY + b" "), {"x-pagerduty-signature": b"v1=\xff\xfe"},
    [(b"x-pagerduty-signature", b"v1=0"), (b"x-pagerduty-signature", b"\x80")],
], ids=range(5))
async def test_a_forged_webhook_changes_nothing(headers: Any) -> None:
    hub = ScriptedHub((PagerDutyAnswers(WEBHOOK_SECRET.encode()),))
    answer = await client(hub).post("/replies/pagerduty", content=BODY, headers=headers)
    assert (answer.status_code, hub.heard) == (401, [])
    assert WEBHOOK_SECRET not in answer.text
