"""The console prints readable text, in one piece, and nothing that a terminal would obey."""

from __future__ import annotations

import asyncio
import io
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from alerthub.channels.base import Channel, Wire
from alerthub.channels.console import Console, ConsoleConfig, ConsoleGlobal, text_of
from alerthub.domain.message import Receipt, Why
from alerthub.errors import Failure, SendFailed
from tests.channels.contract import ChannelContract, FixedClock
from tests.kit.messages import HOSTILE, digest_message, hostile_message, message, resolved_message

pytestmark = pytest.mark.anyio
LIMIT = 30_000
UNSEEN = (*range(10), *range(11, 32), *range(127, 160), 0x200E, 0x2028, 0x2029, 0x202E, 0x2066, 0xFEFF, 0xD800)
SIGNS = [chr(code) for code in UNSEEN]


class Stream(io.StringIO):
    """A terminal. `block` makes a write wait until `release`; `write_error` and `flush_error` are raised."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.arrived = asyncio.Event()
        self.release = threading.Event()
        self.block = False
        self.write_error: Exception | None = None
        self.flush_error: Exception | None = None

    def write(self, text: str) -> int:
        if self.write_error:
            raise self.write_error
        self.loop.call_soon_threadsafe(self.arrived.set)
        if self.block:
            self.release.wait(10)
        return super().write(text)

    def flush(self) -> None:
        if self.flush_error:
            raise self.flush_error


def decoded(text: str) -> str:
    """As a person reads the escapes."""
    return re.sub(r"\\u([0-9a-f]{4})", lambda code: chr(int(code[1], 16)), text)


class TestContract(ChannelContract):
    @asynccontextmanager
    async def provider(self) -> AsyncIterator[Stream]:
        stream = Stream()
        try:
            yield stream
        finally:
            stream.release.set()

    def channel(self, provider: Stream) -> Channel:
        return Console(ConsoleConfig(), ConsoleGlobal(), Wire(self.wire.http, self.wire.clock, {"stream": provider}))

    def answer_ok(self, provider: Stream) -> None:
        provider.release.set()
        provider.block, provider.write_error, provider.flush_error = False, None, None

    def texts(self, provider: Stream) -> str:
        return decoded(provider.getvalue())

    def assert_within_limits(self, provider: Stream) -> None:
        assert 0 < len(provider.getvalue()) <= 2 * LIMIT

    def hang(self, provider: Stream) -> None:
        provider.release.clear()
        provider.block = True

    async def reached(self, provider: Stream) -> None:
        await asyncio.wait_for(provider.arrived.wait(), 5)

    async def refuse(self, provider: Stream) -> None:
        provider.write_error = BrokenPipeError(32, "Broken pipe")

    def reset(self, provider: Stream) -> None:
        provider.flush_error = BrokenPipeError(32, "Broken pipe")

    # The console has no secret of its own, so there is nothing that it could show.
    test_no_secret_shows_in_what_is_printed_or_logged = None


def console(stream: Any = None) -> Console:
    extra = {"stream": stream} if stream is not None else {}
    return Console(ConsoleConfig(), ConsoleGlobal(), Wire(httpx.AsyncClient(verify=False), FixedClock(), extra))


async def test_a_message_reads_as_a_heading_with_lines_under_it() -> None:
    assert text_of(message()).split("\n") == [
        "2026-11-21 12:00:00Z [FIRING] AgentRewardNegative (agent=btc)",
        "    #17 · critical · 1 firing · since 11:55 UTC (5 min)",
        "    - The rolling reward of btc is -12.5",
        "    Incident: https://hub.example.com/incidents/17",
        "    Runbook: https://hub.example.com/runbooks/agent-reward",
        "    > Opened: 1 alert firing: AgentRewardNegative on btc",
        "",
    ]


async def test_each_message_is_written_in_one_piece() -> None:
    pieces: list[str] = []

    class Recorder(io.StringIO):
        def write(self, text: str) -> int:
            pieces.append(text)
            return len(text)

    channel = console(Recorder())
    await asyncio.gather(*(channel.send(message(number=number), None) for number in range(20)))
    await channel.aclose()
    assert len(pieces) == 20
    assert all(piece.endswith("\n") for piece in pieces)


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
def test_no_control_character_reaches_the_terminal(sign: str) -> None:
    for sent in (hostile_message(f"a{sign}[2Jb"), hostile_message(f"a{sign}[2Jb", is_degraded=True)):
        assert sign not in text_of(sent)
        assert "[2Jb" in text_of(sent)


@pytest.mark.parametrize("value", [*HOSTILE, "x\n2026-11-21 12:00:00Z [RESOLVED] forged", "x\r[RESOLVED] forged"],
                         ids=lambda value: ascii(value[:12]))
def test_no_text_can_pretend_to_be_a_message(value: str) -> None:
    for sent in (hostile_message(value), hostile_message(value, is_degraded=True), hostile_message(value, acknowledged_by=value)):
        head, *rest = text_of(sent).rstrip("\n").split("\n")
        assert head.startswith("2026-11-21 12:00:00Z [")
        assert all(line.startswith("    ") for line in rest)


def test_a_storm_is_told_by_name() -> None:
    text = text_of(digest_message(300))
    assert all(f"Storm{number} " in text for number in range(101, 401))


def test_news_are_the_newest_ten_and_not_in_a_storm() -> None:
    assert text_of(message(news=tuple(f"news {n}" for n in range(30)))).count("> news") == 10
    assert "> news 29" in text_of(message(news=tuple(f"news {n}" for n in range(30))))
    assert "> " not in text_of(digest_message(3, news=("x",)))
    assert "> " not in text_of(message(is_degraded=True))


def test_that_it_is_silenced_is_said_once() -> None:
    text = text_of(message(is_silenced=True, news=("Silenced or inhibited at the source",)))
    assert text.count("Silenced or") == 1
    assert "[SILENCED]" in text


def test_a_resolve_and_a_test_look_different() -> None:
    assert "[RESOLVED]" in text_of(resolved_message())
    assert "[TEST]" in text_of(message(why=Why.test))


async def test_without_a_stream_it_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    channel = console()
    assert await channel.send(message(), None) == Receipt()
    await channel.aclose()
    assert "AgentRewardNegative" in capsys.readouterr().out


async def test_a_terminal_without_unicode_gets_escapes() -> None:
    raw = io.BytesIO()
    channel = console(io.TextIOWrapper(raw, encoding="ascii"))
    await channel.send(hostile_message("Ayşe 🔥"), None)
    await channel.aclose()
    assert b"Ay\\u015fe \\U0001f525" in raw.getvalue()


async def test_a_closed_stream_is_unavailable() -> None:
    stream = io.StringIO()
    stream.close()
    channel = console(stream)
    with pytest.raises(SendFailed) as caught:
        await channel.send(message(), None)
    await channel.aclose()
    assert caught.value.reason is Failure.unavailable


async def test_a_stream_that_takes_nothing_does_not_stop_the_hub() -> None:
    stream = Stream()
    stream.block = True
    channel = console(stream)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await channel.send(message(), None)
    await channel.aclose()
    stream.release.set()


def test_it_has_no_settings_of_its_own() -> None:
    assert ConsoleConfig().send_resolved
    with pytest.raises(ValidationError, match="colour"):
        ConsoleConfig.model_validate({"colour": True})
