"""The contract, for an action that reads before it changes anything: while only its reading is disturbed, nothing is in
doubt, so what others must call unknown is a failure here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import pytest

from alerthub.actions.base import Outcome, Report
from alerthub.clock import SystemClock
from tests.actions.contract import ActionContract, call
from tests.kit.messages import HOSTILE
from tests.kit.providers.http import Answer, FakeProvider, Request

Server = TypeVar("Server", bound=Callable[[Request], Answer])


class ReadsFirst(ActionContract, Generic[Server]):
    stand_in: type[Server]          # of what is on the other side
    server: Server
    changes = ("PATCH", "POST")     # methods by which it changes something

    def answer_ok(self, provider: FakeProvider) -> None:
        self.server = self.stand_in()
        provider.answer = self.server

    async def run(self, prepare: Callable[[Server], object] = lambda server: None,
                  answer: Callable[[Request], Answer | None] = lambda request: None,
                  **overrides: Any) -> tuple[list[Request], Report]:
        """One run; `answer` may say something else than the server does."""
        async with self.opened() as (provider, action):
            prepare(self.server)
            provider.answer = lambda request: answer(request) or self.server(request)
            report = await action.run(call(**overrides))
            return provider.requests, report

    def is_change(self, request: Request) -> bool:
        return request.method in self.changes and "dryRun" not in request.path

    async def test_an_answer_that_is_lost_is_unknown(self) -> None:
        """The change is sent, and from then on nobody answers."""
        async with self.opened() as (provider, action):
            ordinary = provider.answer
            is_gone = False

            def gone(request: Request) -> Answer:
                nonlocal is_gone
                is_gone = is_gone or self.is_change(request)
                return Answer(drop=True) if is_gone else ordinary(request)

            provider.answer = gone
            report = await action.run(call())
        assert report.outcome is Outcome.unknown
        assert "read back" in report.detail

    async def test_while_only_reading_fails_nothing_is_in_doubt(self) -> None:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: Answer(drop=True)
            report = await action.run(call())
            assert not [request for request in provider.requests if request.method in self.changes]
        assert report.outcome is Outcome.failed

    async def test_a_target_that_stays_silent_is_unknown_at_the_deadline(self) -> None:
        async with self.opened(SystemClock()) as (provider, action):
            ordinary = provider.answer
            provider.answer = lambda request: Answer(hang=True) if self.is_change(request) else ordinary(request)
            async with asyncio.timeout(5):
                quiet = await action.run(call(**self.soon()))
            provider.answer = lambda request: Answer(hang=True)
            async with asyncio.timeout(5):
                silent = await action.run(call(**self.soon()))
        assert quiet.outcome is Outcome.failed, "it was read back: it is not so"
        assert silent.outcome is Outcome.failed, "only questions were asked"

    async def test_an_odd_answer_to_a_question_changes_nothing(self) -> None:
        for odd in (Answer(body="<html>It works!</html>"), Answer(body="{" * 20_000), Answer(body="null"), Answer(204, body=""),
                    Answer(body=b"\x1b[2J\x00\x9b\xe2\x80\xae"), Answer(body='{"kind": 1e999}'), Answer(body=b"\xff\xfe\x00")):
            async with self.opened() as (provider, action):
                provider.answer = lambda request, odd=odd: odd       # type: ignore[misc]
                report = await action.run(call())
                assert {request.method for request in provider.requests} == {"GET"}
            assert report.outcome is Outcome.failed
            shown = json.dumps([report.detail, report.answer, report.verified], ensure_ascii=False)
            assert shown.isprintable()
            assert len(shown) < 2_000

    @pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
    async def test_hostile_text_is_only_ever_a_text_in_the_body(self, value: str) -> None:
        """Nothing that an alert says goes out at all."""
        async with self.opened() as (provider, action):
            assert (await action.run(call(reason=value))).outcome is Outcome.succeeded
            for request in provider.requests:
                assert value not in request.path
                assert value.encode("utf-8", "surrogatepass") not in request.body
                assert not any(value in text for text in request.headers.values())
