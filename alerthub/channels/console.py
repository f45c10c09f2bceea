"""The console: messages as readable text on standard output, for a hub on which nothing else is configured yet."""

from __future__ import annotations

import asyncio
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, TextIO

from pydantic import BaseModel

from alerthub.channels.base import Budget, ChannelSettings, Wire
from alerthub.channels.text import plain_text, unremarked
from alerthub.domain.message import Message, Receipt, Why
from alerthub.domain.wording import one_line
from alerthub.errors import Failure, SendFailed
from alerthub.settings import Settings

TEXT = 20_000       # code points of one message: a storm of hundreds by name
NEWS, NEWS_LINE = 10, 300
INDENT = "    "
# Everything that could move a cursor, change a colour, or turn the reading direction, but not the line break.
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class ConsoleGlobal(Settings):
    """Nothing is shared."""


class ConsoleConfig(ChannelSettings):
    """One entry of `console_configs`; it has no settings of its own."""


class Console:
    """A stream: `wire.extra["stream"]`, else standard output. Written by a thread of its own, since whoever reads the other
    end may stop reading."""

    kind: ClassVar[str] = "console"
    Config: ClassVar[type[ChannelSettings]] = ConsoleConfig
    Global: ClassVar[type[BaseModel]] = ConsoleGlobal
    edits: ClassVar[bool] = False
    digests: ClassVar[bool] = True
    tells_untold_resolved: ClassVar[bool] = True

    def __init__(self, config: ConsoleConfig, shared: BaseModel, wire: Wire) -> None:
        self.config, self._wire = config, wire
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="alerthub-console")

    def __repr__(self) -> str:
        return "Console()"

    @property
    def address(self) -> str:
        return "stdout"

    @property
    def budget(self) -> Budget:
        return Budget(0.0, burst=100)

    async def send(self, message: Message, previous: Receipt | None) -> Receipt:
        """Print it in one piece. What cannot be written at all is `unavailable`; what may be half written is in doubt."""
        stream: TextIO = self._wire.extra.get("stream") or sys.stdout
        failure = await asyncio.get_running_loop().run_in_executor(self._writer, write, stream, text_of(message))
        if failure is not None:
            raise failure
        return Receipt()

    async def aclose(self) -> None:
        """Does not wait for a stream that takes nothing."""
        self._writer.shutdown(wait=False, cancel_futures=True)


def write(stream: TextIO, text: str) -> SendFailed | None:
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    except (OSError, ValueError) as error:      # ValueError: the stream is closed
        return SendFailed(Failure.unavailable, f"cannot write to the console ({type(error).__name__})")
    try:
        stream.flush()
    except (OSError, ValueError) as error:
        return SendFailed(Failure.timeout, f"the console broke while writing ({type(error).__name__})")
    return None


def text_of(message: Message) -> str:
    """`2026-11-21 12:00:00Z [FIRING] title`, and the rest indented under it, so no text can pretend to be a message."""
    lines = plain_text(message, TEXT).split("\n")
    if not message.is_degraded and message.why is not Why.digest:
        lines += [f"> {one_line(line, NEWS_LINE)}" for line in unremarked(message)[-NEWS:]]
    text = f"{message.at:%Y-%m-%d %H:%M:%SZ} " + f"\n{INDENT}".join(lines)
    return UNPRINTABLE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text) + "\n"
