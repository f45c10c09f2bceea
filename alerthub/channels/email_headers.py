"""How the headers of a mail are written down, where Python's own way loses something."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, EmailPolicy

LINE = 76                       # RFC 2047: of a line that has an encoded word
BEGIN, END = "=?utf-8?b?", "?="


class Unfolded(UnstructuredHeader):
    """A header on one line: Python would break a long id into encoded words, and nobody would find the thread."""

    def fold(self, *, policy: EmailPolicy[EmailMessage]) -> str:
        return f"{getattr(self, 'name', '')}: {self}{policy.linesep}"


class Encoded(UnstructuredHeader):
    """A text as encoded words, all of it, as soon as one letter needs it (RFC 2047). Between such words a space is nothing;
    where Python puts them beside plain ones, people read a space more, and its words are one character too long."""

    def fold(self, *, policy: EmailPolicy[EmailMessage]) -> str:
        if policy.utf8 or str(self).isascii():
            return str(super().fold(policy=policy))     # type: ignore[misc]  # of BaseHeader, which is added
        name = str(getattr(self, "name", ""))
        return f"{name}: {f'{policy.linesep} '.join(encoded_words(str(self), len(name) + 2))}{policy.linesep}"


def encoded_words(text: str, used: int) -> Iterator[str]:
    """Each is text by itself: no letter is cut in two. Of the first line so many characters are used."""
    content = bytearray()
    for sign in text:
        letter = sign.encode("utf-8", "replace")
        if content and len(content) + len(letter) > (LINE - used - len(BEGIN + END)) // 4 * 3:
            yield f"{BEGIN}{base64.b64encode(content).decode()}{END}"
            content, used = bytearray(), 1
        content += letter
    yield f"{BEGIN}{base64.b64encode(content).decode()}{END}"


REGISTRY = HeaderRegistry(default_class=Encoded)
REGISTRY.map_to_type("subject", Encoded)      # type: ignore[arg-type]  # the registry itself adds BaseHeader
for _name in ("message-id", "in-reply-to", "references", "list-id"):
    REGISTRY.map_to_type(_name, Unfolded)      # type: ignore[arg-type]
POLICY = SMTP.clone(header_factory=REGISTRY)
UTF8_POLICY = SMTPUTF8.clone(header_factory=REGISTRY)
