"""What every action must do, whatever its effect. An action's test file subclasses this and says how to build it.

The other side is a FakeProvider. Time is a clock that only moves when the action waits, so nothing here sleeps.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import itertools
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ValidationError

from alerthub.actions import REGISTRY, load
from alerthub.actions.base import Action, ActionWire, Call, Outcome, Report
from alerthub.actions.exchange import WebTarget
from alerthub.clock import SystemClock
from alerthub.domain.rules import Direction
from alerthub.outbound import client as outbound_client
from tests.kit.messages import HOSTILE, NOW
from tests.kit.providers.http import Answer, FakeProvider, Request

KEY = bytes(range(32))
TOKEN = "t0ken-of-the-target"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
RUN = "01936b5e-0000-7000-8000-00000000c001"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)    # trusts nobody; httpx would load all authorities anew for each test
BIG = 50 * 1024 * 1024
NOWHERE = ("about:blank", "http://h:x/")     # no addresses for httpx, in its two ways
BUFFERS = 16 * 1024 * 1024      # what the kernel may take from the target although nobody reads it


class SteppingClock(SystemClock):
    """Moves only when somebody waits. `waits` are the seconds that were asked for."""

    def __init__(self) -> None:
        self.at, self.elapsed, self.waits = NOW, 0.0, []

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.elapsed

    def random(self) -> float:
        return 0.5

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.waits.append(seconds)
        self.pass_by(seconds)
        await asyncio.sleep(0)

    def pass_by(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.elapsed += seconds

    def set_by(self, seconds: float) -> None:
        """As people do, and NTP: no time passes."""
        self.at += timedelta(seconds=seconds)


def call(**overrides: Any) -> Call:
    settings: dict[str, Any] = {
        "id": RUN, "action": "the-action", "target": "agent-btc", "reason": "AgentRewardNegative: the reward is -12.5",
        "incident_id": "01936b5e-0000-7000-8000-00000000a001", "number": 17, "created_at": NOW - timedelta(seconds=2),
        "deadline": NOW + timedelta(seconds=30),
    }
    return Call(**{**settings, **overrides})


def assert_signed(request: Request, at: datetime) -> None:
    """By the book (Standard Webhooks), without the code under test."""
    stamp = request.headers["webhook-timestamp"]
    assert stamp == str(int(at.timestamp()))
    signed = f"{request.headers['webhook-id']}.{stamp}.".encode() + request.body
    wanted = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{wanted}"


class ActionContract:
    """Given by a subclass: `kind`, `settings`, `target_settings`, `answer_ok`."""

    kind: ClassVar[str]
    settings: ClassVar[dict[str, Any]]               # of the action, complete
    target_settings: ClassVar[dict[str, Any]]        # of the target, but for url, token and secret
    secrets: ClassVar[list[str]] = [TOKEN, SECRET]
    clock: SystemClock
    wire: ActionWire

    def answer_ok(self, provider: FakeProvider) -> None:
        """From now on the target does what it is asked to do."""
        raise NotImplementedError

    # --- machinery ------------------------------------------------------------------------------------------------------

    @property
    def action_class(self) -> Any:
        return load(self.kind)

    def config(self, **overrides: Any) -> BaseModel:
        return self.action_class.Config.model_validate({**self.settings, **overrides})

    def target(self, url: str = "http://127.0.0.1:9", **overrides: Any) -> BaseModel:
        settings = {"url": url, "token": TOKEN, "secret": SECRET, **self.target_settings, **overrides}
        return self.action_class.Target.model_validate({name: value for name, value in settings.items() if value is not None})

    @asynccontextmanager
    async def opened(self, clock: SystemClock | None = None, **target: Any) -> AsyncIterator[tuple[FakeProvider, Action]]:
        self.clock = clock or SteppingClock()
        client = outbound_client(timeout=None, verify=NO_TLS)
        async with client, FakeProvider() as provider:
            self.wire = ActionWire(client, self.clock)
            self.answer_ok(provider)
            yield provider, self.action(self.target(provider.url, **target))

    def action(self, target: BaseModel | None) -> Action:
        return self.action_class(self.config(), target, self.wire)

    def soon(self) -> dict[str, Any]:
        """For a target that stays silent in real time: a deadline that is near, and a clock that runs."""
        return {"deadline": SystemClock().now() + timedelta(seconds=0.3)}

    # --- settings -------------------------------------------------------------------------------------------------------

    def test_it_is_registered_and_says_what_it_can(self) -> None:
        assert self.kind in REGISTRY
        assert self.action_class.kind == self.kind
        assert isinstance(self.action_class.resumable, bool)

    @pytest.mark.parametrize(("wrong", "word"), [
        ({"unknown": 1}, "unknown"),
        ({"parameters": {"__prefect_kind": "jinja"}}, "__"),
        ({"parameters": {"": "x"}}, "name"),
        ({"parameters": {"nested": {"a": 1}}}, "parameters"),
        ({"parameters": {"list": [1]}}, "parameters"),
        ({"parameters": {"number": float("nan")}}, "finite"),
        ({"parameters": {"nothing": None}}, "parameters"),
        ({"labels": ["__name__"]}, "__"),
        ({"labels": ["agent"], "parameters": {"agent": "x"}}, "agent"),
        ({"pattern": "("}, "regular expression"),
        ({"target": "a", "targets": ["b"]}, "not both"),
        ({"target": None, "target_label": None, "targets": []}, "target_label"),
        ({"name": "two\nlines"}, "name"),
        ({"deadline": "0"}, "longer than 0"),
        ({"max_per_hour": -1}, "max_per_hour"),
        ({"direction": "sideways"}, "direction"),
        ({"direction": "tighten", "approve": {"role": "ml"}}, "approve"),
        ({"direction": "tighten", "cooldown": "1h"}, "cooldown"),
        ({"direction": "tighten", "max_per_hour": 1}, "max_per_hour"),
        ({"direction": "tighten", "labels": ["agent"]}, "labels"),
    ])
    def test_a_setting_that_cannot_be_is_refused_by_name(self, wrong: dict[str, Any], word: str) -> None:
        base = {"target": "agent-btc"} if "targets" not in wrong and "target_label" not in wrong else {}
        with pytest.raises(ValidationError) as caught:
            self.action_class.Config.model_validate({**self.settings, **base, **wrong})
        assert word in str(caught.value)

    @pytest.mark.parametrize("url", [
        "ftp://host/x", "file:///etc/passwd", "host:8000", "//host", "http://", "http:///x", "http://user:S3CRET@host/",
        "http://user@host/", "http://good\\@169.254.169.254/", "http://host:99999/", "http://host:0/", "http://ho st/", "http://host/\n",
        "http://host/#part", "javascript:alert(1)", "", "http://[::1/", "http://１２７.0.0.1/",
    ])
    def test_an_address_with_two_readings_is_refused(self, url: str) -> None:
        with pytest.raises(ValidationError) as caught:
            self.target(url)
        assert "S3CRET" not in str(caught.value)

    def test_credentials_in_an_address_are_refused_with_the_way_out(self) -> None:
        with pytest.raises(ValidationError, match="token"):
            self.target("https://user:password@host/")

    @pytest.mark.parametrize(("wrong", "word"), [
        ({"unknown": 1}, "unknown"), ({"token": "with space"}, "token"), ({"token": "line\nbreak"}, "token"),
        ({"secret": "S3CRET!"}, "openssl"), ({"secret": "whsec_" + base64.b64encode(b"S3CRET").decode()}, "24 to 64 bytes"),
        ({"tls_ca_file": "/dev/null"}, "https"), ({"url": "https://h", "tls_ca_file": "/no/such/file"}, "cannot use"),
        ({"url": "https://h", "tls_ca_file": "/dev/null"}, "certificate"), ({"name": ""}, "name"),
    ])
    def test_a_target_that_cannot_be_is_refused_by_name(self, wrong: dict[str, Any], word: str) -> None:
        with pytest.raises(ValidationError) as caught:
            self.target(**{"url": "http://h", **wrong})
        assert word in str(caught.value)
        assert "S3CRET" not in str(caught.value)

    async def test_a_target_of_another_type_is_refused_when_it_is_built(self) -> None:
        async with self.opened():
            for wrong in (None, WebTarget(name="other", type="other", url="http://h")):
                with pytest.raises(ValueError, match=f"{self.settings['name']} acts on targets of type"):
                    self.action(wrong)

    # --- done -----------------------------------------------------------------------------------------------------------

    async def test_a_target_that_does_it_makes_a_success_with_its_evidence(self) -> None:
        async with self.opened() as (provider, action):
            report = await action.run(call())
        assert report.outcome is Outcome.succeeded
        assert report.detail
        assert report.request["url"].startswith(provider.url)
        assert report.request["body"]["reason"] == call().reason
        assert report.answer
        json.dumps([report.request, report.answer, report.verified]), "the record is JSON"

    async def test_it_proves_who_asks_and_carries_its_id(self) -> None:
        async with self.opened() as (provider, action):
            await action.run(call())
            first = provider.requests[0]
        assert first.headers["webhook-id"] == RUN
        assert first.headers["idempotency-key"] == RUN
        assert first.headers["authorization"] == f"Bearer {TOKEN}"
        assert first.headers["content-type"] == "application/json"
        assert first.headers["connection"] == "close", "on a kept connection, a reset does not say whether it was read"
        assert_signed(first, NOW)

    async def test_without_credentials_it_sends_none(self) -> None:
        async with self.opened(token=None, secret=None) as (provider, action):
            assert (await action.run(call())).outcome is Outcome.succeeded
            first = provider.requests[0]
        assert first.headers["webhook-id"] == RUN
        assert "authorization" not in first.headers
        assert "webhook-signature" not in first.headers

    @pytest.mark.parametrize("value", [*HOSTILE, "\x00\x1b[2J\ud800", '", "mode": "trading'], ids=lambda value: ascii(value[:12]))
    async def test_hostile_text_is_only_ever_a_text_in_the_body(self, value: str) -> None:
        async with self.opened() as (provider, action):
            await action.run(call(reason=value))
            first = provider.requests[0]
        assert first.json()["reason"] == value
        assert value not in first.path
        assert not any(value in text for text in first.headers.values())

    # --- not done -------------------------------------------------------------------------------------------------------

    async def test_a_target_that_is_never_reached_is_a_failure_at_the_deadline(self) -> None:
        async with self.opened() as (provider, action):
            await provider.stop()
            report = await action.run(call())
        assert report.outcome is Outcome.failed
        assert "connection" in report.detail
        assert self.clock.now() <= call().deadline
        assert len(self.clock.waits) >= 10, "it goes on trying"
        assert max(self.clock.waits) <= 2

    async def test_a_target_that_comes_back_is_reached(self) -> None:
        async with self.opened() as (provider, action):
            await provider.stop()

            async def back(seconds: float) -> None:
                self.clock.waits.append(seconds)
                self.clock.pass_by(seconds)
                if len(self.clock.waits) == 3:
                    await provider.__aenter__()

            self.clock.sleep = back
            assert (await action.run(call())).outcome is Outcome.succeeded

    async def run_while_the_clock_is_set_by(self, seconds: float) -> Report:
        """It is set while nobody is reached, and the run waits for the third time."""
        async with self.opened() as (provider, action):
            await provider.stop()

            async def pause(asked: float) -> None:
                self.clock.waits.append(asked)
                self.clock.pass_by(asked)
                if len(self.clock.waits) == 3:
                    self.clock.set_by(seconds)
                assert self.clock.elapsed <= 30, "beyond its deadline it still runs"

            self.clock.sleep = pause
            return await action.run(call())

    async def test_a_clock_that_is_set_back_meanwhile_prolongs_nothing(self) -> None:
        assert (await self.run_while_the_clock_is_set_by(-3600)).outcome is Outcome.failed
        assert self.clock.elapsed > 25
        assert max(self.clock.waits) <= 2, "nor is it a pause"

    async def test_a_clock_that_is_set_forward_meanwhile_ends_what_does_not_tighten(self) -> None:
        """By that clock its lease is over, and others call it lost. A tighten goes on."""
        assert (await self.run_while_the_clock_is_set_by(3600)).outcome is Outcome.failed
        tightens = self.config().direction is Direction.tighten
        assert self.clock.elapsed > 25 if tightens else len(self.clock.waits) == 3

    async def test_no_time_left_means_no_request(self) -> None:
        async with self.opened() as (provider, action):
            report = await action.run(call(deadline=NOW))
            assert provider.requests == []
        assert report.outcome is Outcome.failed
        assert "deadline" in report.detail

    async def test_an_answer_that_is_lost_is_unknown(self) -> None:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: Answer(drop=True)
            report = await action.run(call())
        assert report.outcome is Outcome.unknown

    async def test_a_target_that_stays_silent_is_unknown_at_the_deadline(self) -> None:
        async with self.opened(SystemClock()) as (provider, action):
            provider.answer = lambda request: Answer(hang=True)
            async with asyncio.timeout(5):
                report = await action.run(call(**self.soon()))
        assert report.outcome is Outcome.unknown

    async def test_a_host_that_takes_no_connection_in_time_is_a_failure(self) -> None:
        """The kernel drops what does not fit into the backlog: the connection is never made, and nothing was sent."""
        async with self.opened(SystemClock()), asyncio.timeout(5):
            with full_listener() as url:
                report = await self.action(self.target(url)).run(call(**self.soon()))
        assert report.outcome is Outcome.failed

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    async def test_a_redirect_is_not_followed(self, status: int) -> None:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: Answer(status, headers={"location": f"{provider.url}/elsewhere"})
            report = await action.run(call())
            assert not any("elsewhere" in request.path for request in provider.requests)
        assert report.outcome is Outcome.failed
        assert str(status) in report.detail

    @pytest.mark.parametrize("where", NOWHERE)
    async def test_a_redirect_to_no_address_is_a_redirect(self, where: str) -> None:
        report = await self.outcome_of(Answer(302, headers={"location": where}))
        assert report.outcome is Outcome.failed
        assert "302" in report.detail

    async def test_cancelling_a_run_cancels_it(self) -> None:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: Answer(hang=True)
            running = asyncio.create_task(action.run(call()))
            await provider.expect(1)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    # --- odd answers ----------------------------------------------------------------------------------------------------

    async def outcome_of(self, answer: Answer) -> Report:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: answer
            return await action.run(call())

    @pytest.mark.parametrize("odd", [
        Answer(body="<html>It works!</html>"), Answer(body=b"\xff\xfe\x00"), Answer(body="{" * 20_000), Answer(body="[" * 60_000),
        Answer(body="null"), Answer(204, body=""), Answer(body='{"mode": ["safe"]}'), Answer(body='{"mode": 1e999}'),
        Answer(body={"a": 1}, headers={"content-encoding": "gzip"}), Answer(body=b"\x1b[2J\x00\x9b\xe2\x80\xae"),
    ], ids=lambda odd: ascii(odd.content()[:16]))
    async def test_an_answer_that_makes_no_sense_breaks_nothing(self, odd: Answer) -> None:
        report = await self.outcome_of(odd)
        assert report.outcome in (Outcome.succeeded, Outcome.unknown)
        json.dumps([report.detail, report.request, report.answer, report.verified]).encode()
        shown = json.dumps([report.detail, report.answer], ensure_ascii=False)
        assert shown.isprintable()
        assert len(shown) < 2_000

    async def test_a_huge_answer_is_not_read_to_its_end(self) -> None:
        block = b"x" * 65_536
        async with self.opened() as (provider, action):
            ordinary = provider.answer

            def huge(request: Request) -> Answer:
                small = ordinary(request)
                return small if request.method == "GET" else Answer(chunks=itertools.repeat(block, BIG // len(block)))

            provider.answer = huge
            assert (await action.run(call())).outcome is Outcome.succeeded
            assert provider.sent < BUFFERS

    async def test_a_gzip_bomb_does_not_unfold(self) -> None:
        report = await self.outcome_of(Answer(body=gzip.compress(bytes(BIG)), headers={"content-encoding": "gzip"}))
        assert len(json.dumps(report.answer)) < 1_000

    async def test_an_answer_that_drips_ends_at_the_deadline(self) -> None:
        async with self.opened(SystemClock()) as (provider, action):
            provider.answer = lambda request: Answer(drip=True, body={"mode": "safe", "padding": "x" * 100})
            async with asyncio.timeout(5):
                report = await action.run(call(**self.soon()))
        assert isinstance(report, Report)

    # --- secrets --------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("spoil", ["healthy", "echo", "echo refused", "hang up", "stopped"])
    async def test_no_secret_is_reported_printed_or_logged(self, spoil: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        for logger in ("httpx", "httpcore"):
            caplog.set_level(logging.WARNING, logger=logger)
        async with self.opened() as (provider, action):
            echo = " ".join([*self.secrets, "\x00".join(self.secrets[0]), base64.b64encode(self.secrets[0].encode()).decode()])
            answers = {"echo": Answer(body={"mode": echo}), "echo refused": Answer(401, body=echo), "hang up": Answer(drop=True)}
            if spoil in answers:
                provider.answer = lambda request: answers[spoil]
            elif spoil == "stopped":
                await provider.stop()
            report = repr(await action.run(call(reason=f"the label says {self.secrets[0]}")))
            printed = "\n".join([report, repr(action), repr(self.target(provider.url)), caplog.text])
        for secret in self.secrets:
            assert secret not in printed
            assert base64.b64encode(secret.encode()).decode() not in printed


@contextmanager
def full_listener() -> Iterator[str]:
    """An address whose backlog is full: one more connection is neither taken nor refused."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
