"""Email: one thread per incident, each later mail an answer that tells what is new. Nothing can be edited.

How a mail looks is in email_body.py, how it is handed over in email_client.py.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import ssl
from collections.abc import Mapping
from email.headerregistry import Address, HeaderRegistry
from typing import ClassVar, TypeVar

from pydantic import ConfigDict, Field, field_validator

from alerthub.channels.base import Budget, ChannelSettings, Wire
from alerthub.channels.email_body import Custom, Letterhead, Thread, compose, header, subject_of
from alerthub.channels.email_client import Post, Smarthost
from alerthub.channels.email_headers import POLICY, UTF8_POLICY
from alerthub.channels.template import Template
from alerthub.domain.message import Message, Receipt, Why
from alerthub.domain.wording import one_line
from alerthub.settings import Secret, Settings, revealed

log = logging.getLogger(__name__)
T = TypeVar("T")

HOST_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")
HELLO = re.compile(r"[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]+\]")
HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,60}")
PLAIN = r"[^\s\x00-\x1f\x7f-\x9f<>()\[\]\\,;:\"@]{1,254}"
MAILBOX = re.compile(rf'(?:"?(?P<label>[^"<>@]{{0,200}}?)"?\s*<(?P<inner>{PLAIN}@{PLAIN})>)|(?P<bare>{PLAIN}@{PLAIN})')
# What threads, addresses or frames the mail is ours.
OURS = frozenset({"message-id", "in-reply-to", "references", "list-id", "auto-submitted", "x-auto-response-suppress",
                  "return-path", "received", "dkim-signature"}) | frozenset(HeaderRegistry().registry) - {"subject"}
REFUSED_LIMIT = 1_000


class EmailGlobal(Settings):
    smtp_smarthost: str = ""
    smtp_from: str = ""
    smtp_hello: str = "localhost"
    smtp_auth_username: str | None = None
    smtp_auth_password: Secret | None = None
    smtp_auth_password_file: str | None = None
    smtp_require_tls: bool = True
    smtp_force_implicit_tls: bool | None = None
    smtp_tls_ca_file: str | None = None

    @field_validator("smtp_tls_ca_file")
    @classmethod
    def usable_ca(cls, path: str | None) -> str | None:
        return checked_ca(path)


class EmailConfig(ChannelSettings):
    """One entry of `email_configs`. `headers` (Subject among them), `text` and `html` are templates.

    In `html` the template is markup and everything it prints is escaped; scripts, images and what is fetched are removed.
    """

    model_config = ConfigDict(populate_by_name=True)

    to: str | tuple[str, ...]
    from_: str | None = Field(default=None, alias="from")
    smarthost: str | None = None
    hello: str | None = None
    auth_username: str | None = None
    auth_password: Secret | None = None
    auth_password_file: str | None = None
    require_tls: bool | None = None
    force_implicit_tls: bool | None = None
    tls_ca_file: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    text: str = ""
    html: str = ""

    @field_validator("tls_ca_file")
    @classmethod
    def usable_ca(cls, path: str | None) -> str | None:
        return checked_ca(path)

    @field_validator("headers")
    @classmethod
    def own_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not HEADER_NAME.fullmatch(name) or name.lower() in OURS or name.lower().startswith("content-"):
                raise ValueError(f"headers: {one_line(name, 60)} cannot be set; Subject and headers of your own can")
        return headers


class Email:
    """Some recipients by one smarthost."""

    kind: ClassVar[str] = "email"
    Config = EmailConfig
    Global = EmailGlobal
    edits: ClassVar[bool] = False
    digests: ClassVar[bool] = True
    tells_untold_resolved: ClassVar[bool] = True

    def __init__(self, config: EmailConfig, shared: EmailGlobal, wire: Wire) -> None:
        self.config = config
        sender = addresses(config.from_ or shared.smtp_from, "from")[:1]
        if not sender:
            raise ValueError("no sender; set smtp_from under global, or from here")
        self._to = addresses(config.to, "to")
        if not self._to:
            raise ValueError("to: no recipient")
        self._head = Letterhead(sender[0], self._to, sender[0].domain)
        self._post = Post(smarthost(config, shared))
        self._templates = {name.lower(): (name, Template(source)) for name, source in config.headers.items()}
        self._text = Template(config.text) if config.text else None
        self._html = Template(config.html, html=True) if config.html else None

    def __repr__(self) -> str:
        return f"Email({self.address!r})"

    @property
    def address(self) -> str:
        return ", ".join(address.addr_spec for address in self._to)

    @property
    def budget(self) -> Budget:
        """A mailbox is no chat: one mail a second, ten at once. SMTP names no limit; smarthosts say 4xx."""
        return Budget(1.0, burst=10)

    async def send(self, message: Message, previous: Receipt | None) -> Receipt:
        """Hand one mail over. It counts as delivered when one recipient was accepted; the handle's `refused` names the
        others with the smarthost's words. An attempt that is repeated has the same Message-ID."""
        thread = thread_of(previous) if message.why is not Why.digest else None
        mail = compose(message, self._head, thread, self._custom(message))
        people = [address.addr_spec for address in (self._head.sender, *self._to)]
        utf8 = not "".join(people).isascii()
        content = mail.as_bytes(policy=UTF8_POLICY if utf8 else POLICY)
        refused = await self._post.hand_over(people[0], people[1:], content, utf8=utf8)
        own = str(mail["Message-ID"])
        handle = {"message_id": own, "root": thread.root if thread else own,
                  "subject": thread.subject if thread else header(str(mail["Subject"]) or subject_of(message))}
        if refused:
            log.warning("Some recipients were refused.", extra={"event": "email.refused", "count": len(refused)})
            handle["refused"] = one_line("; ".join(f"{who}: {why}" for who, why in refused.items()), REFUSED_LIMIT)
        return Receipt(handle)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _custom(self, message: Message) -> Custom:
        """What the templates say; one that fails leaves the built-in part."""
        if message.is_degraded or message.why is Why.digest:
            return Custom()
        made = {name: (label, template.render(message) or "") for name, (label, template) in self._templates.items()}
        _, subject = made.pop("subject", ("", ""))
        return Custom(subject, rendered(self._text, message), rendered(self._html, message), dict(made.values()))


def rendered(template: Template | None, message: Message) -> str:
    return (template.render(message) or "").strip() if template else ""


def thread_of(previous: Receipt | None) -> Thread | None:
    """The thread that an earlier receipt names; None when it names none."""
    handle: Mapping[str, str] = previous.handle if previous else {}
    root, subject = header(handle.get("root", ""), 400), header(handle.get("subject", ""))
    return Thread(root, subject) if root and subject and root.isascii() else None


def checked_ca(path: str | None) -> str | None:
    if path is not None:
        try:
            ssl.create_default_context(cafile=path)
        except ssl.SSLError:
            raise ValueError(f"{path} holds no certificate; give a PEM file") from None
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror}") from None
    return path


def addresses(value: str | tuple[str, ...], name: str) -> tuple[Address, ...]:
    """Mailboxes of a comma list: `a@x.example, Risk desk <b@x.example>`. The standard parser guesses; this one does not.

    A domain outside ASCII is written in its ASCII form, so only odd local parts need SMTPUTF8. Raises ValueError.
    """
    found: dict[str, Address] = {}
    for entry in [part for text in ([value] if isinstance(value, str) else value) for part in text.split(",") if part.strip()]:
        parts = MAILBOX.fullmatch(entry.strip())
        local, at, domain = (parts["inner"] or parts["bare"]).rpartition("@") if parts else ("", "", "")
        if not parts or not at or not local or not domain:
            raise ValueError(f"{name}: {one_line(entry, 80)!r} is not a mail address")
        try:
            ascii_domain = domain.encode("idna").decode("ascii").lower()
        except UnicodeError:
            raise ValueError(f"{name}: {one_line(domain, 80)!r} is not a domain") from None
        label = header(parts["label"] or "", 80)
        found.setdefault(f"{local}@{ascii_domain}", Address(label, username=local, domain=ascii_domain))
    return tuple(found.values())


def smarthost(config: EmailConfig, shared: EmailGlobal) -> Smarthost:
    """Where to hand mails over. Raises ValueError for what is missing, and for a password that would go over the line in
    clear to another machine."""
    parts = HOST_PORT.fullmatch(config.smarthost or shared.smtp_smarthost)
    if parts is None or not 0 < int(parts["port"]) < 65536:
        raise ValueError("no smarthost; set smtp_smarthost under global to host:port, for example smtp.example.com:587")
    username = config.auth_username or shared.smtp_auth_username
    password = revealed(config.auth_password) or revealed(shared.smtp_auth_password)
    if bool(username) != bool(password):
        raise ValueError("smtp_auth_username and smtp_auth_password_file belong together; give both or none")
    hello = config.hello or shared.smtp_hello
    if not HELLO.fullmatch(hello):
        raise ValueError("smtp_hello must be a host name")
    made = Smarthost(parts["host"].strip("[]"), int(parts["port"]), hello, username, password,
                     require_tls=either(config.require_tls, shared.smtp_require_tls),
                     implicit_tls=either(config.force_implicit_tls, shared.smtp_force_implicit_tls),
                     ca_file=config.tls_ca_file or shared.smtp_tls_ca_file)
    if password and not made.is_encrypted and not is_loopback(made.host):
        raise ValueError("a password is never sent in clear; set require_tls: true, or leave the password out")
    return made


def either(own: T | None, common: T) -> T:
    return common if own is None else own


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
