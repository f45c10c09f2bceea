"""The demo's counterparts answer the hub's real channel and action code as the real systems do, over real sockets."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from alerthub.actions.base import ActionWire, Call, Outcome
from alerthub.actions.http import Http, HttpSettings, HttpTarget
from alerthub.channels.base import Wire
from alerthub.channels.email import Email, EmailConfig, EmailGlobal
from alerthub.channels.pagerduty import PagerDuty, PagerdutyConfig, PagerdutyGlobal
from alerthub.channels.slack import Slack, SlackConfig, SlackGlobal
from alerthub.channels.telegram import Telegram, TelegramConfig, TelegramGlobal
from alerthub.clock import SystemClock
from alerthub.demo.counterparts import BODY_BYTES, CHAT, Accounts, Counterparts
from alerthub.demo.mailbox import MAIL_BYTES, Mailbox
from alerthub.demo.screen import Line, Screen
from alerthub.demo.stage import address, listen, serving
from alerthub.demo.witness import Witness
from alerthub.domain.message import Receipt, Why
from alerthub.errors import Failure, SendFailed
from tests.kit.messages import hostile_message, message, resolved_message

pytestmark = pytest.mark.anyio
CLOCK = SystemClock()
ANSI = "\x1b[2J\x1b]0;owned\x07"
CHANNELS = ("slack", "telegram", "email", "pagerduty")


@dataclass
class Outside:
    """All counterparts on loopback ports, and the hub's code configured for them."""

    url: str
    smarthost: str
    accounts: Accounts
    witness: Witness
    paper: io.StringIO
    http: httpx.AsyncClient

    def channel(self, kind: str, **wrong: Any) -> Any:
        """With right credentials, unless `wrong` names others."""
        wire, accounts = Wire(self.http, CLOCK), self.accounts
        if kind == "slack":
            shared: Any = SlackGlobal(slack_bot_token=SecretStr(wrong.get("token", accounts.slack_token)),
                                      slack_base_url=f"{self.url}/slack/")
            return Slack(SlackConfig(channel=wrong.get("to", "#alerts")), shared, wire)
        if kind == "telegram":
            shared = TelegramGlobal(telegram_bot_token=SecretStr(wrong.get("token", accounts.telegram_token)),
                                    telegram_api_url=f"{self.url}/telegram")
            return Telegram(TelegramConfig(chat_id=wrong.get("to", CHAT)), shared, wire)
        if kind == "email":
            shared = EmailGlobal(smtp_smarthost=self.smarthost, smtp_from="hub@example.com", smtp_require_tls=False)
            return Email(EmailConfig(to="risk@example.com"), shared, wire)
        shared = PagerdutyGlobal(pagerduty_url=f"{self.url}/pagerduty/v2/enqueue")
        return PagerDuty(PagerdutyConfig(routing_key=SecretStr(wrong.get("token", accounts.routing_key))), shared, wire)

    @asynccontextmanager
    async def open(self, kind: str, **wrong: Any) -> AsyncIterator[Any]:
        channel = self.channel(kind, **wrong)
        try:
            yield channel
        finally:
            await channel.aclose()

    def titles(self) -> list[str]:
        return [sighting.title for sighting in self.witness.seen]


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[tuple[Outside, Counterparts]]:
    """Once for all tests here: a server takes its time to stop."""
    paper = io.StringIO()
    witness, accounts = Witness(Screen(paper)), Accounts()
    counterparts = Counterparts(accounts, witness, CLOCK)
    async with AsyncExitStack() as stack:
        web, post = stack.enter_context(listen(0)), stack.enter_context(listen(0))
        await stack.enter_async_context(serving(counterparts.app(), web))
        await stack.enter_async_context(Mailbox(witness).serving(post))
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        yield Outside(f"http://{address(web)}", address(post), accounts, witness, paper, http), counterparts


@pytest.fixture
def outside(running: tuple[Outside, Counterparts]) -> Outside:
    """As if nothing had been sent yet."""
    found, counterparts = running
    for kept in (counterparts.slack, counterparts.telegram, counterparts.pagerduty, counterparts.done, found.witness.seen):
        kept.clear()
    found.paper.seek(0)
    found.paper.truncate()
    return found


@pytest.mark.parametrize("kind", CHANNELS)
class TestEveryChannel:
    async def test_a_message_and_its_end_are_taken_and_shown(self, outside: Outside, kind: str) -> None:
        async with outside.open(kind) as channel:
            receipt = await channel.send(message(), None)
            await channel.send(resolved_message(delivery_id="d2"), receipt)
        first, *_ = outside.witness.seen
        assert {sighting.counterpart for sighting in outside.witness.seen} == {kind}
        assert any("FIRING" in line.text for line in first.content)
        last = outside.witness.last(kind, 17)
        assert last is not None
        assert any("RESOLVED" in line.text for line in last.content)
        assert f"┌─ {first.title} ─" in outside.paper.getvalue()

    async def test_what_would_act_on_a_terminal_is_shown_as_an_escape(self, outside: Outside, kind: str) -> None:
        async with outside.open(kind) as channel:
            await channel.send(hostile_message(f"Disk{ANSI}Full"), None)
        assert "\x1b" not in outside.paper.getvalue()
        assert "\x07" not in outside.paper.getvalue()
        assert "Full" in outside.paper.getvalue()

    async def test_the_minimal_text_is_taken_too(self, outside: Outside, kind: str) -> None:
        async with outside.open(kind) as channel:
            await channel.send(message(is_degraded=True), None)
        assert "AgentRewardNegative" in outside.paper.getvalue()

    async def test_a_long_message_is_shown_cut(self, outside: Outside, kind: str) -> None:
        async with outside.open(kind) as channel:
            await channel.send(hostile_message("word " * 4_000), None)
        assert outside.paper.getvalue().count("\n") < 30


@pytest.mark.parametrize("kind", ["slack", "telegram"])
async def test_an_edit_shows_only_what_is_new_and_the_news_go_beside_it(outside: Outside, kind: str) -> None:
    async with outside.open(kind) as channel:
        receipt = await channel.send(message(), None)
        await channel.send(resolved_message(delivery_id="d2", news=("Somebody has repaired it",)), receipt)
    post, edit, beside = outside.witness.seen
    assert "edited in place" in edit.title
    assert 0 < len(edit.shown) < len(post.shown)
    assert "that message" in beside.title
    assert any("Somebody has repaired it" in line.text for line in beside.shown)


@pytest.mark.parametrize(("kind", "wrong", "failure", "word"), [
    ("slack", {"token": "xoxb-other"}, Failure.configuration, "invalid_auth"),
    ("slack", {"to": "#other"}, Failure.configuration, "channel_not_found"),
    ("telegram", {"token": "1:other"}, Failure.configuration, "Unauthorized|token"),
    ("telegram", {"to": 4711}, Failure.configuration, "Chat not found"),
    ("pagerduty", {"token": "other"}, Failure.content, "Event object is invalid"),
])
async def test_what_the_real_one_would_refuse_is_refused(
        outside: Outside, kind: str, wrong: dict[str, Any], failure: Failure, word: str) -> None:
    async with outside.open(kind, **wrong) as channel:
        with pytest.raises(SendFailed, match=word) as caught:
            await channel.send(message(), None)
    assert caught.value.reason is failure
    assert outside.witness.seen == []
    assert outside.paper.getvalue() == ""


@pytest.mark.parametrize(("kind", "handle"), [
    ("slack", {"channel": "C0DEMOALERTS", "ts": "1.1"}), ("telegram", {"chat_id": str(CHAT), "message_id": "4711"}),
])
async def test_a_message_that_is_not_there_cannot_be_edited(outside: Outside, kind: str, handle: dict[str, str]) -> None:
    async with outside.open(kind) as channel:
        with pytest.raises(SendFailed) as caught:
            await channel.send(resolved_message(), Receipt(handle))
    assert caught.value.reason is Failure.stale_handle


async def test_telegram_says_when_an_edit_changes_nothing_and_the_channel_takes_it_well(outside: Outside) -> None:
    async with outside.open("telegram") as channel:
        receipt = await channel.send(message(), None)
        await channel.send(message(why=Why.acknowledged), receipt)
    assert outside.titles() == ["Telegram"]


async def test_pagerduty_calls_once_per_alert(outside: Outside) -> None:
    async with outside.open("pagerduty") as channel:
        receipt = await channel.send(message(), None)
        await channel.send(message(why=Why.action, news=("Action ran",)), receipt)
        await channel.send(resolved_message(), receipt)
    assert [title.partition(" · ")[2].partition(":")[0].partition(",")[0] for title in outside.titles()] == [
        "triggered", "the same alert", "resolved"]


@pytest.mark.parametrize(("method", "path", "status"), [
    ("POST", "/slack/chat.delete", 200), ("GET", "/slack/chat.postMessage", 405), ("POST", "/telegram/botx/sendMessage", 401),
    ("POST", "/pagerduty/v2/enqueue", 400), ("POST", "/targets/unknown", 404), ("POST", "/targets/prefect", 401),
    ("GET", "/", 404),
])
async def test_a_stranger_gets_an_answer_and_shows_nothing(outside: Outside, method: str, path: str, status: int) -> None:
    for body in (b"", b"{", b"[]", b"\xff", b"[" * 100_000):
        answer = await outside.http.request(method, outside.url + path, content=body)
        assert answer.status_code == status, body[:10]
        if path.startswith("/slack") and method == "POST":
            assert answer.json() == {"ok": False, "error": "invalid_auth"}
    assert outside.witness.seen == []


async def test_a_method_that_is_not_known_is_named_so(outside: Outside) -> None:
    headers = {"Authorization": f"Bearer {outside.accounts.slack_token}"}
    assert (await outside.http.post(f"{outside.url}/slack/chat.delete", headers=headers)).json()["error"] == "unknown_method"
    path = f"/telegram/bot{outside.accounts.telegram_token}/deleteMessage"
    assert (await outside.http.post(outside.url + path, data={"chat_id": str(CHAT)})).status_code == 404


async def test_a_body_that_is_too_large_is_not_read(outside: Outside) -> None:
    answer = await outside.http.post(f"{outside.url}/targets/prefect", content=b"x" * (BODY_BYTES + 1))
    assert answer.status_code == 413


# --- actions ----------------------------------------------------------------------------------------------------------------

def action(outside: Outside, target: str, secret: str) -> Http:
    settings = HttpSettings(name="retry", direction="neutral", target=target)
    return Http(settings, HttpTarget(name=target, url=f"{outside.url}/targets/{target}", secret=SecretStr(secret)),
                ActionWire(outside.http, CLOCK))


def call(**overrides: Any) -> Call:
    now = CLOCK.now()
    return Call(**{"id": "run-1", "action": "retry", "target": "prefect", "reason": f"Etl{ANSI}", "incident_id": "i", "number": 3,
                   "created_at": now, "deadline": now + timedelta(seconds=5), "parameters": {"flow": "etl"}, "resumed": False,
                   **overrides})


@pytest.mark.parametrize("target", ["prefect", "autoscaler", "model-registry", "training-queue"])
async def test_a_signed_request_is_taken_and_shown_once(outside: Outside, target: str) -> None:
    retry = action(outside, target, outside.accounts.action_secret)
    for _ in range(2):      # the same id is the same request
        assert (await retry.run(call())).outcome is Outcome.succeeded
    (sighting,) = outside.witness.seen
    assert sighting.counterpart == target
    assert "flow: etl" in outside.paper.getvalue()
    assert "\x1b" not in outside.paper.getvalue()


async def test_another_signature_is_refused(outside: Outside) -> None:
    report = await action(outside, "prefect", Accounts().action_secret).run(call())
    assert report.outcome is Outcome.failed
    assert "401" in report.detail
    assert outside.witness.seen == []


# --- the mail server --------------------------------------------------------------------------------------------------------

async def converse(smarthost: str, said: bytes) -> bytes:
    """All that the mail server answers to all that is said."""
    host, _, port = smarthost.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(said)
        await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def codes(answers: bytes) -> list[str]:
    return [line[:3].decode() for line in answers.splitlines() if line[3:4] != b"-"]


ENVELOPE = b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n"


class TestTheMailServer:
    async def test_a_whole_mail_is_taken(self, outside: Outside) -> None:
        answers = await converse(outside.smarthost, ENVELOPE + b"Subject: x\r\n\r\n..dot\r\nend\r\n.\r\nQUIT\r\n")
        assert codes(answers) == ["220", "250", "250", "250", "250", "354", "250", "221"]
        (sighting,) = outside.witness.seen
        assert sighting.title == "Email to b@example.com, c@example.com"
        assert [line.text for line in sighting.content] == ["Subject: x", ".dot", "end"]

    @pytest.mark.parametrize(("said", "expected"), [
        (b"DATA\r\n", ["220", "503"]),
        (b"VRFY x\r\nNOOP\r\nHELO x\r\nRSET\r\n", ["220", "502", "250", "250", "250"]),
        (ENVELOPE + b"Subject: cut off\r\n", ["220", "250", "250", "250", "250", "354"]),
        (b"\xff\xfe\r\n", ["220", "502"]),
        (b"", ["220"]),
        (b"STARTTLS\r\n", ["220", "502"]),
    ])
    async def test_what_is_no_whole_mail_shows_nothing(self, outside: Outside, said: bytes, expected: list[str]) -> None:
        assert codes(await converse(outside.smarthost, said)) == expected
        assert outside.witness.seen == []

    @pytest.mark.parametrize("said", [b"x" * 100_000, ENVELOPE + b"x\r\n" * (MAIL_BYTES // 2)], ids=["line", "mail"])
    async def test_too_much_ends_that_conversation_only(self, outside: Outside, said: bytes) -> None:
        await converse(outside.smarthost, said)
        assert outside.witness.seen == []
        async with outside.open("email") as channel:
            await channel.send(message(), None)
        assert outside.titles() == ["Email to risk@example.com"]

    async def test_a_connection_that_stays_open_does_not_hold_up_the_end(self) -> None:
        mailbox = Mailbox(Witness(Screen(io.StringIO())))
        with listen(0) as listener:
            async with mailbox.serving(listener):
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                assert (await reader.readline()).startswith(b"220")
            assert mailbox.talks == set()
            assert await reader.read() == b""
            writer.close()


# --- the witness ------------------------------------------------------------------------------------------------------------

class TestTheWitness:
    async def test_what_is_held_back_comes_after_the_narration(self) -> None:
        paper = io.StringIO()
        screen = Screen(paper)
        witness = Witness(screen)
        with witness.held_back():
            witness.note("slack", "Slack", [Line("message")])
            screen.say("narration")
        witness.note("slack", "Slack", [Line("later")])
        text = paper.getvalue()
        assert text.index("narration") < text.index("message") < text.index("later")

    @pytest.mark.parametrize(("text", "number", "expected"), [
        ("#1 · critical", 1, True), ("[#1] x", 1, True), ("#12", 1, False), ("#1", 12, False), ("1", 1, False), ("", 1, False),
    ])
    async def test_it_knows_which_incident_is_spoken_of(self, text: str, number: int, expected: bool) -> None:
        witness = Witness(Screen(io.StringIO()))
        witness.note("slack", "Slack", [Line("an edit")], [Line("heading"), Line(text)])
        assert (witness.last("slack", number) is not None) is expected
        assert witness.last("email", number) is None

    async def test_the_last_of_several_counts(self) -> None:
        witness = Witness(Screen(io.StringIO()))
        for word in ("FIRING", "RESOLVED"):
            witness.note("slack", word, [Line(f"#1 {word}")])
        found = witness.last("slack", 1)
        assert found is not None
        assert found.title == "RESOLVED"

    async def test_news_wake_whoever_waits_and_silence_does_not_hold_them(self) -> None:
        witness = Witness(Screen(io.StringIO()))
        waiting = asyncio.create_task(witness.news(60))
        await asyncio.sleep(0)
        witness.note("slack", "Slack", [Line("x")])
        await asyncio.wait_for(waiting, 1)
        await asyncio.wait_for(witness.news(0), 1)


def test_credentials_are_new_in_every_run_and_never_shown() -> None:
    one, other = Accounts(), Accounts()
    for name in Accounts.__dataclass_fields__:
        assert getattr(one, name) != getattr(other, name)
        assert getattr(one, name) not in repr(one)


def test_only_this_machine_reaches_any_of_it() -> None:
    with listen(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        assert listener.family is socket.AF_INET
