"""A mail server for tests: a real SMTP conversation on the loopback, STARTTLS required, a login, and scripted trouble.

It runs in the test's own event loop. Nothing here knows what a mail of ours looks like.
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

PATIENCE = 5.0      # seconds that `expect` waits at most


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong with the next mail. Replies are whole lines: `550 no such user`.

    `drop` and `hang` name a step: connect, mail, rcpt or data. At `data` the content has been read."""

    mail: str = ""
    rcpt: Mapping[str, str] = field(default_factory=dict)
    data: str = ""
    drop: str = ""
    hang: str = ""


@dataclass(frozen=True, slots=True)
class Mail:
    sender: str
    recipients: tuple[str, ...]
    options: tuple[str, ...]
    content: bytes
    hello: str
    was_encrypted: bool
    login: str

    @property
    def message(self) -> EmailMessage:
        parsed = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed

    def part(self, kind: str) -> str:
        """The text of the part `text/plain` or `text/html`; empty when there is none."""
        for part in self.message.walk():
            if part.get_content_type() == kind:
                return str(part.get_content()).replace("\r\n", "\n")
        return ""


@cache
def authority() -> trustme.CA:
    return trustme.CA()


class Door(SMTP):
    """One connection, remembered so that it can be cut."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.event_handler.transports.add(transport)


class FakeSmtp:
    """`async with FakeSmtp() as post`: then `post.smarthost`, `post.ca_file`, `post.mails`, `post.script(...)`.

    `starttls`: it is offered and required; without, the line is in clear. `implicit`: TLS from the first byte.
    `name`: what the certificate is made out to.
    """

    def __init__(self, *, login: tuple[str, str] | None = None, starttls: bool = True, implicit: bool = False,
                 name: str = "127.0.0.1", utf8: bool = True) -> None:
        self.login, self.starttls, self.implicit, self.utf8 = login, starttls, implicit, utf8
        self.mails: list[Mail] = []
        self.seen = 0                   # mails whose content arrived, taken or not
        self.connections = 0
        self.refuses_login = ""
        self.transports: set[Any] = set()
        self.port = 0
        self._script: list[Trouble] = []
        self._arrived = asyncio.Condition()
        self._forever = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._files = tempfile.TemporaryDirectory()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert(name).configure_cert(self._context)
        self.ca_file = str(Path(self._files.name) / "ca.pem")
        authority().cert_pem.write_to_path(self.ca_file)

    @property
    def smarthost(self) -> str:
        return f"127.0.0.1:{self.port}"

    def script(self, **trouble: Any) -> None:
        """Queue trouble (fields of `Trouble`) for the next mail."""
        self._script.append(Trouble(**trouble))

    def forget(self) -> None:
        """No trouble any more."""
        self._script.clear()

    async def expect(self, n: int = 1) -> None:
        """Returns when n contents have arrived (bounded)."""
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: self.seen >= n)

    async def __aenter__(self) -> FakeSmtp:
        loop = asyncio.get_running_loop()
        encryption = self._context if self.implicit else None
        self._server = await loop.create_server(self._door, "127.0.0.1", self.port, ssl=encryption)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def _door(self) -> SMTP:
        self.connections += 1
        offers = self.starttls and not self.implicit
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")     # a login without STARTTLS is what some tests want
            return Door(
                self, hostname="smarthost.example", ident="test", loop=asyncio.get_running_loop(), enable_SMTPUTF8=self.utf8,
                tls_context=self._context if offers else None, require_starttls=offers, auth_require_tls=offers,
                auth_required=self.login is not None, authenticator=self._authenticate if self.login else None)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self.stop()
        self._files.cleanup()

    async def stop(self) -> None:
        """Nobody listens any more, and no connection is left."""
        self._forever.set()
        if self._server is not None:
            self._server.close()
            for transport in self.transports:
                transport.abort()
            await self._server.wait_closed()
            self._server = None

    # --- what aiosmtpd asks ---------------------------------------------------------------------------------------------------

    def _authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        if self.refuses_login:
            return AuthResult(success=False, handled=False, message=self.refuses_login)
        given = (data.login.decode(), data.password.decode()) if isinstance(data, LoginPassword) else None
        return AuthResult(success=given == self.login, handled=given == self.login, auth_data=given)

    @property
    def _trouble(self) -> Trouble:
        return self._script[0] if self._script else Trouble()

    async def _step(self, server: SMTP, step: str) -> None:
        if self._trouble.hang == step:
            await self._forever.wait()
        if self._trouble.drop == step:
            self._script.pop(0)
            assert server.transport is not None
            server.transport.abort()

    async def handle_EHLO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str,
                          responses: list[str]) -> list[str]:
        session.host_name = hostname
        await self._step(server, "connect")
        return responses

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str,
                          options: list[str]) -> str:
        await self._step(server, "mail")
        if refusal := self._trouble.mail:
            self._script.pop(0)
            return refusal
        envelope.mail_from, envelope.mail_options = address, options
        return "250 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str,
                          options: list[str]) -> str:
        await self._step(server, "rcpt")
        if refusal := self._trouble.rcpt.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        async with self._arrived:
            self.seen += 1
            self._arrived.notify_all()
        trouble = self._trouble
        await self._step(server, "data")
        if self._script and self._script[0] is trouble:
            self._script.pop(0)
        if trouble.data:
            return trouble.data
        assert isinstance(envelope.content, bytes)
        login = session.auth_data[0] if session.auth_data else ""
        self.mails.append(Mail(str(envelope.mail_from), tuple(envelope.rcpt_tos), tuple(envelope.mail_options), envelope.content,
                               str(session.host_name), session.ssl is not None or self.implicit, login))
        return "250 OK"
