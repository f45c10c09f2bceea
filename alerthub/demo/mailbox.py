"""A mail server that keeps nothing: it speaks enough SMTP (RFC 5321) to be handed a mail, and shows it. Loopback only, so
there is no TLS and no login."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from alerthub.demo import looks
from alerthub.demo.witness import Witness

MAIL_BYTES = 1024 * 1024
LINE_BYTES = 16 * 1024
ADDRESS = re.compile(r"<([^<>]*)>")
OK = "250 OK"


class Mailbox:
    """Hands every mail to the witness."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness
        self.talks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        server = await asyncio.start_server(self.answer, sock=listener, limit=LINE_BYTES)
        try:
            yield
        finally:
            server.close()
            for talk in self.talks:
                talk.cancel()
            await asyncio.gather(*self.talks, return_exceptions=True)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection. Whatever goes wrong in it ends it, and no other."""
        talk = asyncio.create_task(Conversation(self.witness, reader, writer).hold())
        self.talks.add(talk)
        try:
            await asyncio.wait({talk})
        finally:
            self.talks.discard(talk)
            writer.close()


class Conversation:
    def __init__(self, witness: Witness, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.witness, self.reader, self.writer = witness, reader, writer
        self.recipients: list[str] = []

    async def hold(self) -> None:
        try:
            await self.say("220 demo ESMTP")
            while (line := await self.reader.readline()) and await self.follow(line.decode("utf-8", "replace").strip()):
                continue
        except (OSError, ValueError, asyncio.IncompleteReadError):     # gone, or a line over the limit
            return

    async def follow(self, line: str) -> bool:
        """Obey one command; False at the end of the conversation."""
        command = line.partition(" ")[0].upper()
        match command:
            case "EHLO":
                await self.say("250-demo", f"250-SIZE {MAIL_BYTES}", "250-8BITMIME", "250 SMTPUTF8")
            case "HELO" | "MAIL" | "NOOP" | "RSET":
                self.recipients.clear()
                await self.say(OK)
            case "RCPT":
                self.recipients += ADDRESS.findall(line)[:1]
                await self.say(OK)
            case "DATA":
                await self.take()
            case "QUIT":
                await self.say("221 Bye")
                return False
            case _:
                await self.say("502 Command not implemented")
        return True

    async def take(self) -> None:
        if not self.recipients:
            return await self.say("503 Say RCPT first")
        await self.say("354 End with a dot")
        content = bytearray()
        while (line := await self.reader.readline()) and line.rstrip(b"\r\n") != b".":
            content += line.removeprefix(b".")
            if len(content) > MAIL_BYTES:
                raise ValueError("the mail is too large")
        if not line:
            return None         # cut off before its end: it was never handed over
        lines = looks.mail_lines(bytes(content))
        self.witness.note("email", f"Email to {', '.join(self.recipients)}", lines)
        return await self.say(OK)

    async def say(self, *lines: str) -> None:
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self.writer.drain()
