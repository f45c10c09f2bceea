"""One mail to one smarthost, by aiosmtplib: TLS before anything secret, and every failure in our words (PROTOCOLS 5)."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import aiosmtplib

from alerthub.channels.answers import not_reached
from alerthub.domain.wording import one_line
from alerthub.errors import Failure, SendFailed

log = logging.getLogger(__name__)

COMMAND_SECONDS = 12.0      # for one answer; the caller bounds the whole attempt
FAREWELL_SECONDS = 1.0      # the mail is taken: QUIT is politeness
DETAIL = 200
IMPLICIT_TLS = 465

# Replies that no waiting changes. Every other 5xx is a person's matter; 4xx, and -1 for no code, may pass later.
CODES = {552: Failure.content, 554: Failure.content}
REFUSED_LOGIN = (530, 534, 535, 538)


@dataclass(frozen=True, slots=True)
class Smarthost:
    """Where mails are handed over. A line that is not encrypted carries no password: whoever makes one sees to that.

    `implicit_tls`: TLS from the first byte; None asks the port (465, RFC 8314).
    """

    host: str
    port: int
    hello: str = "localhost"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    require_tls: bool = True
    implicit_tls: bool | None = None
    ca_file: str | None = None

    @property
    def is_implicit(self) -> bool:
        return self.port == IMPLICIT_TLS if self.implicit_tls is None else self.implicit_tls

    @property
    def is_encrypted(self) -> bool:
        return self.is_implicit or self.require_tls

    def tls_context(self) -> ssl.SSLContext:
        """Certificate and name are verified; with a CA file, against that alone. Raises OSError for an unusable file."""
        return ssl.create_default_context(cafile=self.ca_file)


class Post:
    """Hands mails over, one connection each: a connection kept for later is one that is dead when it is needed."""

    def __init__(self, smarthost: Smarthost) -> None:
        self._smarthost = smarthost
        self._context: ssl.SSLContext | None = None

    async def hand_over(self, sender: str, recipients: Sequence[str], content: bytes, *, utf8: bool) -> dict[str, str]:
        """Returns who was refused and why, when at least one was accepted. Raises SendFailed."""
        client = await self._client()
        try:
            refused = await self._envelope(client, sender, recipients, utf8=utf8)
            await self._data(client, content)
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit(timeout=FAREWELL_SECONDS)
        finally:
            client.close()
        return refused

    async def _client(self) -> aiosmtplib.SMTP:
        here = self._smarthost
        if here.is_encrypted and self._context is None:
            try:
                self._context = await asyncio.to_thread(here.tls_context)
            except OSError as error:
                word = error.strerror or type(error).__name__
                raise SendFailed(Failure.configuration, f"the CA file cannot be used: {word}") from None
        return aiosmtplib.SMTP(
            hostname=here.host, port=here.port, local_hostname=here.hello, username=here.username, password=here.password,
            use_tls=here.is_implicit, start_tls=here.require_tls and not here.is_implicit, tls_context=self._context,
            timeout=COMMAND_SECONDS)

    async def _envelope(self, client: aiosmtplib.SMTP, sender: str, recipients: Sequence[str], *, utf8: bool) -> dict[str, str]:
        """Everything before the content: whatever fails here, nothing was delivered."""
        encoding, options = ("utf-8", ["SMTPUTF8"]) if utf8 else ("ascii", [])
        refusals: list[aiosmtplib.SMTPRecipientRefused] = []
        try:
            await client.connect()
            await client.ehlo()
            if utf8 and not client.supports_extension("smtputf8"):
                raise SendFailed(Failure.configuration, "the smarthost takes no addresses outside ASCII (SMTPUTF8)")
            await client.mail(sender, options=options, encoding=encoding)
            for recipient in recipients:
                try:
                    await client.rcpt(recipient, encoding=encoding)
                except aiosmtplib.SMTPRecipientRefused as refusal:
                    refusals.append(refusal)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise before_content(error) from None
        if len(refusals) == len(recipients):
            raise all_refused(refusals)
        return {refusal.recipient: reply(refusal) for refusal in refusals}

    async def _data(self, client: aiosmtplib.SMTP, content: bytes) -> None:
        """The content. When the answer to it is lost, it may have been taken all the same (RFC 1047)."""
        try:
            await client.data(content)
        except aiosmtplib.SMTPResponseException as error:
            raise SendFailed(failure_for_code(error.code), reply(error)) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise SendFailed(Failure.timeout, f"no answer to the content ({type(error).__name__})") from None


def before_content(error: Exception) -> SendFailed:
    if certificate := certificate_problem(error):
        return SendFailed(Failure.configuration, f"TLS: {certificate}")
    match error:
        case aiosmtplib.SMTPAuthenticationError():
            # What it says of a password is not for anybody's eyes.
            return SendFailed(failure_for_code(error.code), f"{error.code}: the login was refused")
        case aiosmtplib.SMTPResponseException():
            return SendFailed(failure_for_code(error.code), reply(error))
        case OSError():     # refused, reset, timed out: aiosmtplib's connection errors are OSErrors too
            return SendFailed(Failure.unavailable, not_reached(error))
        case _:             # STARTTLS or AUTH is not offered
            return SendFailed(Failure.configuration, one_line(str(error), DETAIL))


def certificate_problem(error: Exception) -> str:
    """Why TLS failed for good: a certificate or protocol that a person must put right. Empty for what may pass."""
    for found in (error, error.__cause__):
        if isinstance(found, ssl.SSLCertVerificationError):
            return one_line(f"the certificate is not trusted: {getattr(found, 'verify_message', '')}", DETAIL)
        if isinstance(found, ssl.SSLError) and not isinstance(found, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return one_line(found.strerror or "no agreement", DETAIL)
    return ""


def all_refused(refusals: Sequence[aiosmtplib.SMTPRecipientRefused]) -> SendFailed:
    """The mildest of the reasons: one recipient who may be reached later is worth another attempt."""
    reasons = [failure_for_code(refusal.code) for refusal in refusals]
    for reason in (Failure.unavailable, Failure.content, Failure.configuration):
        if reason in reasons:
            return SendFailed(reason, one_line("; ".join(map(reply, refusals)), DETAIL))
    return SendFailed(Failure.bug, "there is no recipient")


def failure_for_code(code: int) -> Failure:
    """550 is a recipient, 535 a password; 552 and 554 are said of a content (PROTOCOLS 5)."""
    if not 500 <= code <= 599:
        return Failure.unavailable
    return CODES.get(code, Failure.configuration)


def reply(error: aiosmtplib.SMTPResponseException) -> str:
    return one_line(f"{error.code} {error.message}", DETAIL)
