"""What every channel must do, whatever it talks to. A channel's test file subclasses one of the two and says how to build it.

`ChannelContract` is for any provider; `HttpChannelContract` adds what only HTTP can do wrong. A subclass overrides a check only
where the protocol cannot carry it, with the reason beside it.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import logging
import re
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar

import pytest

from alerthub.channels.base import RESPONSE_BYTES, Budget, Channel, Wire
from alerthub.clock import SystemClock
from alerthub.domain.message import ActionLine, Message, Receipt
from alerthub.domain.wording import one_line
from alerthub.errors import Failure, SendFailed
from alerthub.outbound import client as outbound_client
from tests.kit.messages import (
    HOSTILE,
    NOW,
    acknowledged_message,
    digest_message,
    giant_message,
    hostile_message,
    message,
    resolved_message,
)
from tests.kit.providers.http import Answer, FakeProvider, Request

FORMS: dict[str, tuple[Message, tuple[str, ...]]] = {
    "firing": (message(), ("AgentRewardNegative", "critical")),
    "resolved": (resolved_message(), ("AgentRewardNegative", "resolved")),
    "acknowledged": (acknowledged_message("ayse"), ("AgentRewardNegative", "ayse")),
    "stale": (message(is_stale=True), ("AgentRewardNegative", "stale")),
    "silenced": (message(is_silenced=True), ("AgentRewardNegative", "silenced")),
    "acted": (message(actions=(ActionLine("safe-mode succeeded", is_bad=False),)), ("AgentRewardNegative", "mode succeeded")),
    "failed": (message(actions=(ActionLine("safe-mode failed", is_bad=True),)), ("AgentRewardNegative", "safe-mode failed")),
    "incomplete": (message(incomplete=4711), ("AgentRewardNegative", "4711")),
    "degraded": (message(is_degraded=True), ("AgentRewardNegative", "critical")),
    "digest": (digest_message(12), tuple(f"Storm{number}" for number in range(101, 113))),
}
FINAL = (400, 401, 403, 404, 410)
RETRYABLE = (408, 425, 429, 500, 502, 503, 504)
FORBIDDEN_MARKUP = ("<!channel>", "<@U123>", "<a href=javascript")
BIG = 50 * 1024 * 1024
BUFFERS = 16 * 1024 * 1024      # what the kernel may take from the provider although nobody reads it


class FixedClock(SystemClock):
    """Stands still at NOW, so that dates in answers mean something."""

    def now(self) -> datetime:
        return NOW


def seen(value: str, texts: str) -> bool:
    """The reader sees the value: line breaks may have become spaces, and a long value may be cut. A mark that would turn the
    direction of the rest is no part of it."""
    return one_line(value)[:40].strip() in one_space(texts)


def one_space(text: str) -> str:
    return re.sub(r"\s+", " ", text)


class ChannelContract:
    """A subclass gives `provider`, `channel`, `answer_ok`, `texts`, `assert_within_limits`, and with `edits` `assert_edited`."""

    secrets: ClassVar[list[str]] = []
    forms: ClassVar[Mapping[str, tuple[Message, tuple[str, ...]]]] = FORMS
    wire: Wire          # what `channel` hands to the constructor; made anew for each test by `opened`

    # --- what a subclass says -------------------------------------------------------------------------------------------

    def provider(self) -> AbstractAsyncContextManager[Any]:
        """The other side, running."""
        raise NotImplementedError

    def channel(self, provider: Any) -> Channel:
        """The channel, configured (with `secrets`) to talk to this provider by `self.wire`."""
        raise NotImplementedError

    def answer_ok(self, provider: Any) -> None:
        """From now on the provider takes every message, as the real one answers."""
        raise NotImplementedError

    def texts(self, provider: Any) -> str:
        """Everything a person sees of all that was sent, as the person sees it: escapes undone."""
        raise NotImplementedError

    def markup(self, provider: Any) -> list[str]:
        """Every string that was sent for the provider to parse as markup, raw. Empty when nothing is parsed."""
        return []

    def assert_within_limits(self, provider: Any) -> None:
        """Everything that was sent keeps the provider's documented limits."""
        raise NotImplementedError

    def assert_edited(self, provider: Any) -> None:
        """The last thing sent changed (or threaded under) the first instead of standing alone."""
        raise NotImplementedError

    def hang(self, provider: Any) -> None:
        """The provider takes the next message and says nothing."""
        provider.script(hang=True)

    async def reached(self, provider: Any) -> None:
        """Returns when the provider has the whole of the first message."""
        await provider.expect(1)

    async def refuse(self, provider: Any) -> None:
        """Nobody listens any more."""
        await provider.stop()

    def reset(self, provider: Any) -> None:
        """The provider reads the next message, then resets the connection."""
        provider.script(drop=True)

    # --- machinery ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Any, Channel]]:
        client = outbound_client(timeout=None, verify=False)
        async with client, self.provider() as provider:
            self.wire = Wire(client, FixedClock())
            self.answer_ok(provider)
            channel = self.channel(provider)
            try:
                yield provider, channel
            finally:
                await channel.aclose()

    async def failure(self, channel: Channel, sent: Message | None = None) -> SendFailed:
        with pytest.raises(SendFailed) as caught:
            await channel.send(sent or message(), None)
        return caught.value

    # --- success --------------------------------------------------------------------------------------------------------

    async def test_a_taken_message_gives_a_receipt_of_strings(self) -> None:
        async with self.opened() as (_, channel):
            receipt = await channel.send(message(), None)
        assert isinstance(receipt, Receipt)
        assert all(isinstance(part, str) for pair in receipt.handle.items() for part in pair)

    async def test_a_second_telling_uses_the_receipt(self) -> None:
        async with self.opened() as (provider, channel):
            first = await channel.send(message(), None)
            second = await channel.send(acknowledged_message(), first)
            assert isinstance(second, Receipt)
            if channel.edits:
                assert first.handle, "a live message needs a handle"
                self.assert_edited(provider)

    async def test_the_class_says_what_the_channel_can(self) -> None:
        async with self.opened() as (_, channel):
            assert channel.kind
            assert all(isinstance(flag, bool) for flag in (channel.edits, channel.digests, channel.tells_untold_resolved))
            assert isinstance(channel.budget, Budget)
            assert channel.budget.seconds >= 0
            assert channel.budget.burst >= 1

    async def test_the_address_is_one_line_without_a_secret(self) -> None:
        async with self.opened() as (_, channel):
            assert channel.address == one_space(channel.address).strip() != ""
            assert not any(secret in channel.address for secret in self.secrets)

    # --- no answer ------------------------------------------------------------------------------------------------------

    async def test_a_refused_connection_is_unavailable_and_nothing_is_in_doubt(self) -> None:
        async with self.opened() as (provider, channel):
            await self.refuse(provider)
            error = await self.failure(channel)
        assert error.reason is Failure.unavailable
        assert not error.is_ambiguous

    async def test_a_reset_after_the_message_was_read_is_retryable_and_in_doubt(self) -> None:
        async with self.opened() as (provider, channel):
            self.reset(provider)
            error = await self.failure(channel)
        assert error.is_retryable
        assert error.is_ambiguous

    async def test_the_callers_deadline_cuts_a_silent_provider(self) -> None:
        async with self.opened() as (provider, channel):
            self.hang(provider)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(5) as limit:
                    watch = asyncio.create_task(self._cut_when_reached(provider, limit))
                    await channel.send(message(), None)
            await watch
            self.answer_ok(provider)
            assert isinstance(await channel.send(message(), None), Receipt), "a cut send must not break the next"

    async def _cut_when_reached(self, provider: Any, limit: asyncio.Timeout) -> None:
        await self.reached(provider)
        limit.reschedule(asyncio.get_running_loop().time())

    async def test_cancelling_a_send_cancels_it(self) -> None:
        async with self.opened() as (provider, channel):
            self.hang(provider)
            sending = asyncio.create_task(channel.send(message(), None))
            await self.reached(provider)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending

    # --- secrets --------------------------------------------------------------------------------------------------------

    async def test_no_secret_shows_in_what_is_printed_or_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        self.listen(caplog)
        printed: list[str] = []
        for spoil in (lambda provider: None, self.hang, self.reset, self.refuse):
            async with self.opened() as (provider, channel):
                printed += [str(channel), repr(channel), channel.address, repr(getattr(channel, "config", ""))]
                printed.append(await self.outcome(provider, channel, spoil))
        self.assert_no_secret("\n".join(printed), caplog)

    async def outcome(self, provider: Any, channel: Channel, spoil: Any) -> str:
        """What a log with tracebacks would show of one send."""
        if (waiting := spoil(provider)) is not None:
            await waiting
        try:
            async with asyncio.timeout(0.05 if spoil == self.hang else 5):
                return repr(await channel.send(message(), None))
        except (SendFailed, TimeoutError) as error:
            return "".join([str(error), repr(error), *traceback.format_exception(error)])

    def listen(self, caplog: pytest.LogCaptureFixture) -> None:
        for logger in ("httpx", "httpcore"):    # they print whole addresses, so the hub's logging holds them here
            caplog.set_level(logging.WARNING, logger=logger)
        caplog.set_level(logging.DEBUG)         # last: it also sets the level of what caplog keeps
        logging.getLogger("a.third.party").debug("heard")
        assert "heard" in caplog.text

    def assert_no_secret(self, printed: str, caplog: pytest.LogCaptureFixture) -> None:
        assert self.secrets, "a contract without a secret proves nothing"
        everything = printed + caplog.text + "".join(str(vars(record)) for record in caplog.records)
        for secret in self.secrets:
            assert secret not in everything

    # --- text -----------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
    async def test_hostile_text_reaches_the_reader_literally(self, value: str) -> None:
        for sent in (hostile_message(value), hostile_message(value, is_degraded=True)):
            async with self.opened() as (provider, channel):
                await channel.send(sent, None)
                assert seen(value, self.texts(provider))
                for part in self.markup(provider):
                    assert not any(forbidden in part for forbidden in FORBIDDEN_MARKUP)

    @pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
    @pytest.mark.parametrize("is_bad", [False, True])
    async def test_hostile_text_of_an_action_reaches_the_reader_literally(self, value: str, is_bad: bool) -> None:
        async with self.opened() as (provider, channel):
            await channel.send(message(actions=(ActionLine(value, is_bad),)), None)
            assert seen(value, self.texts(provider))
            for part in self.markup(provider):
                assert not any(forbidden in part for forbidden in FORBIDDEN_MARKUP)

    async def test_a_giant_message_keeps_every_limit(self) -> None:
        for overrides in ({}, {"is_degraded": True}, {"is_stale": True, "incomplete": 10**9, "is_silenced": True}):
            async with self.opened() as (provider, channel):
                receipt = await channel.send(giant_message(**overrides), None)
                await channel.send(giant_message(**overrides), receipt)
                self.assert_within_limits(provider)

    async def test_a_giant_digest_keeps_every_limit(self) -> None:
        async with self.opened() as (provider, channel):
            if channel.digests:
                await channel.send(digest_message(1_000), None)
                self.assert_within_limits(provider)

    async def test_each_form_names_what_it_must_and_differs_from_the_others(self) -> None:
        told: dict[str, str] = {}
        for name, (sent, words) in self.forms.items():
            async with self.opened() as (provider, channel):
                if name == "digest" and not channel.digests:
                    continue
                await channel.send(sent, None)
                told[name] = self.texts(provider)
                for word in words:
                    assert word.casefold() in told[name].casefold(), f"{name} does not say {word}"
        for one, other in itertools.combinations(told, 2):
            assert told[one] != told[other], f"{one} and {other} look the same"


class HttpChannelContract(ChannelContract):
    """For a channel over HTTP whose provider is a FakeProvider. `statuses`: the class of a status where this provider means
    something else by it. `reads_answer`: False where the status alone says that it was taken."""

    statuses: ClassVar[Mapping[int, Failure]] = {}
    reads_answer: ClassVar[bool] = True

    def provider(self) -> AbstractAsyncContextManager[FakeProvider]:
        return FakeProvider()

    def rate_limit(self, provider: FakeProvider, after: str | None) -> None:
        """The provider answers the next message with "too many", and this word on how long."""
        provider.script(429, headers={} if after is None else {"retry-after": after})

    @pytest.mark.parametrize("status", [*FINAL, *RETRYABLE])
    async def test_a_status_is_final_or_retryable(self, status: int) -> None:
        async with self.opened() as (provider, channel):
            provider.script(status)
            error = await self.failure(channel)
            assert len(provider.requests) == 1, "retries belong to the hub, never to a client"
        if status in self.statuses:
            assert error.reason is self.statuses[status]
        else:
            assert error.is_retryable is (status in RETRYABLE)

    @pytest.mark.parametrize(("word", "wanted"), [
        ("0", 0), ("1", 1), ("30", 30), ("86400", 3600), ("abc", None), ("-5", None), ("", None), ("1e999", None),
        ("nan", None), ("9" * 5_000, None), (None, None),
    ])
    async def test_retry_after_is_seconds_capped_at_an_hour_or_nothing(self, word: str | None, wanted: float | None) -> None:
        async with self.opened() as (provider, channel):
            self.rate_limit(provider, word)
            error = await self.failure(channel)
        assert error.reason is Failure.rate_limited
        assert error.after is None or 0 <= error.after <= 3600
        if wanted:
            assert error.after == wanted
        elif wanted is None:
            assert error.after in (None, 0, 3600), "garbage must not become an invented time"

    async def test_retry_after_as_a_date_is_the_time_until_then(self) -> None:
        async with self.opened() as (provider, channel):
            self.rate_limit(provider, format_datetime(NOW + timedelta(seconds=40), usegmt=True))
            error = await self.failure(channel)
        assert error.after in (None, 40)

    @pytest.mark.parametrize("odd", [
        Answer(body="<html><body>It works!</body></html>", headers={"content-type": "text/html"}),
        Answer(body={}),
        Answer(body=[]), Answer(body="null"), Answer(body=b"\xff\xfe\x00"), Answer(body=""), Answer(body="{" * 20_000),
        Answer(body={"ok": True}, headers={"content-encoding": "gzip"}),
    ], ids=lambda odd: ascii(odd.content()[:16]))
    async def test_an_answer_that_makes_no_sense_is_a_classified_failure(self, odd: Answer) -> None:
        async with self.opened() as (provider, channel):
            provider.answer = lambda request: odd
            if self.reads_answer:
                assert (await self.failure(channel)).is_retryable
            else:
                assert isinstance(await self.attempt(channel), Receipt | SendFailed)

    async def test_the_right_answer_with_a_wrong_content_type_breaks_nothing(self) -> None:
        async with self.opened() as (provider, channel):
            healthy = provider.answer
            provider.answer = lambda request: Answer(body=healthy(request).content(), headers={"content-type": "image/png"})
            assert isinstance(await self.attempt(channel), Receipt | SendFailed)

    async def attempt(self, channel: Channel) -> Receipt | SendFailed:
        try:
            return await channel.send(message(), None)
        except SendFailed as error:
            return error

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_a_redirect_is_a_failure_and_is_not_followed(self, status: int) -> None:
        async with self.opened() as (provider, channel):
            provider.script(status, headers={"location": f"{provider.url}/elsewhere"})
            await self.failure(channel)
            assert [request.path for request in provider.requests if "elsewhere" in request.path] == []

    @pytest.mark.parametrize("where", ["about:blank", "http://h:x/"])
    async def test_a_redirect_to_no_address_is_a_redirect(self, where: str) -> None:
        async with self.opened() as (provider, channel):
            provider.script(302, headers={"location": f"{provider.url}/elsewhere"})
            usual = await self.failure(channel)
            provider.script(302, headers={"location": where})
            odd = await self.failure(channel)
        assert (odd.reason, odd.detail) == (usual.reason, usual.detail)

    async def test_a_huge_answer_is_not_read_to_its_end(self) -> None:
        async with self.opened() as (provider, channel):
            block = b"x" * 65_536
            provider.answer = lambda request: Answer(chunks=itertools.repeat(block, BIG // len(block)))
            await self.assert_bounded(channel)
            assert provider.sent < BUFFERS

    async def test_a_gzip_bomb_does_not_unfold(self) -> None:
        bomb = gzip.compress(bytes(BIG))
        async with self.opened() as (provider, channel):
            provider.answer = lambda request: Answer(body=bomb, headers={"content-encoding": "gzip"})
            await self.assert_bounded(channel)

    async def assert_bounded(self, channel: Channel) -> None:
        tracemalloc.start()
        try:
            outcome = await self.attempt(channel)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert isinstance(outcome, SendFailed) or not self.reads_answer
        assert peak < 6 * RESPONSE_BYTES

    async def test_an_answer_cut_in_the_middle_is_in_doubt(self) -> None:
        async with self.opened() as (provider, channel):
            provider.script(drip=True, body={"ok": True, "padding": "x" * 100})
            sending = asyncio.create_task(self.attempt(channel))
            await provider.expect(1)
            await provider.stop()
            outcome = await sending
        if self.reads_answer:
            assert isinstance(outcome, SendFailed)
            assert outcome.is_retryable
            assert outcome.is_ambiguous

    async def test_a_provider_that_echoes_our_secrets_gets_no_line_of_ours(self, caplog: pytest.LogCaptureFixture) -> None:
        self.listen(caplog)
        printed = ""
        for status, form in itertools.product((200, 400, 401, 429, 500), ("text", "json")):
            async with self.opened() as (provider, channel):
                echo = " ".join(self.secrets)
                body: Any = echo if form == "text" else {"ok": False, "error": echo, "message": echo, "description": echo,
                                                         "errors": [echo], "status": echo}
                provider.script(status, body=body, headers={"x-echo": self.secrets[0]})
                printed += await self.outcome(provider, channel, lambda provider: None)
        self.assert_no_secret(printed, caplog)

    async def test_one_message_is_one_request_without_following_up(self) -> None:
        async with self.opened() as (provider, channel):
            await channel.send(message(), None)
            assert len(provider.requests) == 1
            assert isinstance(provider.last, Request)
