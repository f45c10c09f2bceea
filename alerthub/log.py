"""Log lines: JSON or text, one per record, with the ids of what is being worked on and without any secret.

What deserves a line, and under which event name, is decided where it happens. Here is how it is written.
"""

from __future__ import annotations

import html
import logging
import math
import re
import sys
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta
from json import dumps
from types import MappingProxyType
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

MASK = "[secret]"
SHORTEST_SECRET = 4         # shorter ones would blank out ordinary words
SHORTEST_PART = 8           # of a secret: one line of a key file, or its middle inside longer base64
VALUE_LIMIT = 10_000        # characters of one value; cut after redaction, so no half of a secret stays
ITEMS_LIMIT = 100
DEPTH_LIMIT = 6
# They print request addresses at INFO, and Telegram's and Slack's hold the token (PROTOCOLS 3.4).
TALKATIVE = ("httpx", "httpcore", "telegram", "slack_sdk", "aiosmtplib", "alembic", "uvicorn")

# What breaks a line, moves a terminal's cursor, turns the reading direction, or cannot be encoded.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
PLAIN_VALUE = re.compile(r"[^\s\"'=]+")
PERCENT = re.compile(r"%[0-9A-F]{2}")
# Every encoder leaves other signs as they are: strict, path, JavaScript's encodeURIComponent, httpx in path and query.
SAFE_SIGNS = ("", "/", "!'()*", "!$&'()*+,/:;=@", "!$&'()*+,/:;=@?")
STANDARD_FIELDS = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {
    "message", "asctime", "taskName", "event", "color_message"}

_ids: ContextVar[Mapping[str, str]] = ContextVar("alerthub_log_ids", default=MappingProxyType({}))


@contextmanager
def bound(**ids: object) -> Iterator[None]:
    """Every line logged inside, in this task and those it starts, carries these ids. None is left out."""
    token = _ids.set({**_ids.get(), **{name: str(value) for name, value in ids.items() if value is not None}})
    try:
        yield
    finally:
        _ids.reset(token)


class Redactor:
    """Knows secrets, and takes them out of texts: as they are, percent-encoded, JSON- or HTML-escaped, base64, also inside
    longer base64 (`Basic …`). Secrets of fewer than 4 characters are ignored."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        for secret in secrets:
            self.hide(secret or "")

    def hide(self, secret: str) -> None:
        """From now on. Of a secret with several lines, each long line is one as well: tracebacks indent them apart."""
        parts = {secret, secret.strip()}
        lines = secret.splitlines()
        if len(lines) > 1:
            parts |= {line.strip() for line in lines if len(line.strip()) >= SHORTEST_PART}
        found = {form for part in parts if len(part) >= SHORTEST_SECRET for form in forms_of(part)}
        self._forms += tuple(found.difference(self._forms))     # a new tuple: other threads may be reading the old one

    def redact(self, text: str) -> str:
        """The text with every secret replaced by `[secret]`. Secrets that overlap in it are replaced as one."""
        spans = sorted(span for form in self._forms if form in text for span in places(form, text))
        kept: list[str] = []
        end = 0
        for start, stop in spans:
            if start >= end:
                kept += [text[end:start], MASK]
            end = max(end, stop)
        return "".join([*kept, text[end:]])


def places(form: str, text: str) -> Iterator[tuple[int, int]]:
    start = text.find(form)
    while start >= 0:
        yield start, start + len(form)
        start = text.find(form, start + 1)


def forms_of(secret: str) -> set[str]:
    """What the secret looks like after the usual encodings."""
    data = secret.encode("utf-8", "surrogatepass")
    quoted = {quote(data, safe=signs) for signs in SAFE_SIGNS} | {quote_plus(data)}
    return {
        secret, dumps(secret)[1:-1], dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1], repr(data)[2:-1],
        html.escape(secret), html.escape(secret, quote=False),
        *quoted, *(PERCENT.sub(lambda code: code[0].lower(), form) for form in quoted),
        *(variant for form in base64_forms(data) for variant in (form, form.translate({43: "-", 47: "_"}))),
    }


def base64_forms(data: bytes) -> Iterator[str]:
    """The whole, with and without padding, and the part that depends on nothing else at each of the three alignments."""
    whole = b64encode(data).decode()
    yield whole
    yield whole.rstrip("=")
    for shift in range(3):
        inner = b64encode(bytes(shift) + data).decode()[-(-8 * shift // 6): 8 * (shift + len(data)) // 6]
        if len(inner) >= SHORTEST_PART:
            yield inner


_redactor = Redactor()


def hide(secret: str) -> None:
    """Register a secret: it is in no log line any more, nor in what `redact` returns."""
    _redactor.hide(secret)


def redact(text: str) -> str:
    """For every other output: errors, records of actions, answers of the API."""
    return _redactor.redact(text)


def configure(stream: TextIO, json: bool, level: int | str = logging.INFO, redactor: Redactor | None = None) -> None:
    """Log everything to the stream, from now on and instead of an earlier call's stream. ValueError: no such level."""
    wanted = level.upper() if isinstance(level, str) else level
    is_unicode = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
    formatter = (JsonLines if json else TextLines)(redactor or _redactor, is_unicode=is_unicode)
    root = logging.getLogger()
    root.setLevel(wanted)
    for handler in [one for one in root.handlers if isinstance(one, LineHandler)]:
        root.removeHandler(handler)
    handler = LineHandler(stream)
    handler.setFormatter(formatter)
    root.addHandler(handler)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines, and never lets logging print its own report of a failure: that holds the arguments, secrets and all."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the library's name)
        kind = type(sys.exc_info()[1]).__name__
        lost = logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno,
                                 "A log line could not be written: %s", (kind,), None)
        lost.event = "log.lost"
        with suppress(OSError, ValueError):     # the stream itself is gone: there is nobody left to tell
            self.stream.write(self.format(lost) + self.terminator)
            self.flush()


class LineFormatter(logging.Formatter):
    def __init__(self, redactor: Redactor, *, is_unicode: bool = True) -> None:
        super().__init__()
        self.redactor, self.is_unicode = redactor, is_unicode

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What a line says, redacted and ready for JSON. A name that is taken gets an underscore."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(), "logger": self.clean(record.name),
        }
        if event := getattr(record, "event", None):
            line["event"] = self.clean(event)
        line["message"] = self.clean(message_of(record))
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD_FIELDS}
        for name, value in {**_ids.get(), **extra}.items():
            line[f"{name}_" if name in line or name == "exception" else name] = self.clean(value)
        if trace := self.trace_of(record):
            line["exception"] = trace
        return line

    def trace_of(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
        parts += [record.stack_info] if record.stack_info else []
        text = self.redactor.redact("\n".join(parts))
        return text if len(text) <= VALUE_LIMIT else "…" + text[-VALUE_LIMIT:]      # the end says what happened

    def clean(self, value: Any, depth: int = 0) -> Any:
        """The value as JSON can hold it, its texts redacted. What is too deep or unknown becomes text."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float) and math.isfinite(value) and self.redactor.redact(str(value)) == str(value):
            return value
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, Mapping) and depth < DEPTH_LIMIT:
            return {self.text(name): self.clean(item, depth + 1) for name, item in list(value.items())[:ITEMS_LIMIT]}
        if isinstance(value, list | tuple | set | frozenset) and depth < DEPTH_LIMIT:
            return [self.clean(item, depth + 1) for item in list(value)[:ITEMS_LIMIT]]
        return self.text(value)

    def text(self, value: Any) -> str:
        text = self.redactor.redact(value.isoformat() if isinstance(value, date) else str(value))
        return text if len(text) <= VALUE_LIMIT else text[:VALUE_LIMIT] + "…"


class JsonLines(LineFormatter):
    """One JSON object a line: time, level, logger, event, message, ids, extra fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        line = dumps(self.fields(record), ensure_ascii=not self.is_unicode)
        return UNPRINTABLE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", line)


class TextLines(LineFormatter):
    """For a person at a console: one line, then the traceback indented, so that no text can pretend to be a line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record)
        trace = fields.pop("exception", "")
        time, level, logger = (fields.pop(name) for name in ("time", "level", "logger"))
        head = f"{time} {level.upper():<8} {printable(logger)}: {printable(fields.pop('message'))}"
        pairs = "".join(f" {printable(name)}={shown(value)}" for name, value in fields.items())
        lines = [head + pairs, *(f"    | {printable(line)}" for line in trace.split("\n") if trace)]
        text = "\n".join(lines)
        return text if self.is_unicode else text.encode("ascii", "backslashreplace").decode()


def message_of(record: logging.LogRecord) -> str:
    """The sentence with its arguments; when they do not fit, one after the other."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args!r}"


def printable(text: str) -> str:
    """The text with everything that could act on a terminal or begin a line shown as an escape."""
    return UNPRINTABLE.sub(lambda sign: SHORT_ESCAPES.get(sign[0], f"\\u{ord(sign[0]):04x}"), text)


def shown(value: Any) -> str:
    """A value of a `name=value` pair: in quotes unless it is one plain word."""
    if isinstance(value, str) and PLAIN_VALUE.fullmatch(value):
        return printable(value)
    return printable(dumps(value, ensure_ascii=False))
