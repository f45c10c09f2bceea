"""What every edge's settings share: frozen, no unknown keys, secrets that never print, durations like `5m`.

An edge declares its own model in its own file; nobody but the composition root reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, WithJsonSchema, model_validator

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
LONGEST = 100 * UNITS["y"]      # seconds; beyond, dates end
LONGEST_NUMBER = 15             # digits
TOO_LONG = "too long; write at most 100y"
PART = re.compile(r"(\d+)(ms|[smhdwy])")


def base_address(url: str, example: str, also: str = "") -> SplitResult:
    """Of what other addresses are made by adding to its path. ValueError, which never repeats it, for anything else; `example`
    says what would be right, `also` where the rest belongs."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not url.isprintable() or " " in url:
        raise ValueError(f"not an http(s) address; {example}")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError(f"only scheme, host, port and path; {example}{also}")
    return parts


def parse_duration(value: Any) -> Any:
    """Prometheus durations: `30s`, `5m`, `1h30m`, `2d`, `0`. A timedelta passes."""
    if isinstance(value, timedelta):
        return value
    if value == "0" or (type(value) is int and value == 0):
        return timedelta(0)
    if not isinstance(value, str) or not DURATION.fullmatch(value):
        raise ValueError("not a duration; write a number with a unit, for example 30s, 5m or 1h30m")
    parts = PART.findall(value)
    if any(len(number) > LONGEST_NUMBER for number, _ in parts):
        raise ValueError(TOO_LONG)
    seconds = sum(int(number) * UNITS[unit] for number, unit in parts)
    if seconds > LONGEST:
        raise ValueError(TOO_LONG)
    return timedelta(seconds=seconds)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": f"^(0|{DURATION.pattern})$", "examples": ["30s", "5m", "4h"]}),
]

Secret = SecretStr


class Settings(BaseModel):
    """Base of every block of the configuration file.

    A field `x: Secret | None` beside `x_file: str | None` is read from that file (trailing newline dropped). Both at
    once, or an unreadable or empty file, is an error that names the field and never the secret.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

    @model_validator(mode="before")
    @classmethod
    def read_secret_files(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for name in cls.model_fields:
            if not name.endswith("_file") or name.removesuffix("_file") not in cls.model_fields:
                continue
            path, target = data.get(name), name.removesuffix("_file")
            if not isinstance(path, str):
                continue
            if data.get(target) is not None:
                raise ValueError(f"give {target} or {name}, not both")
            data = {**data, target: read_secret(path, name)}
        return data


def read_secret(path: str, field: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        word = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ValueError(f"{field}: cannot read {path}: {word}") from None
    if not secret:
        raise ValueError(f"{field}: {path} is empty; put the secret into it")
    return secret


def revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def secrets_in(value: object) -> Iterator[str]:
    """Every secret in a model, however deep."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    items = vars(value) if isinstance(value, BaseModel) else value
    for item in items.values() if isinstance(items, Mapping) else items if isinstance(items, list | tuple) else ():
        yield from secrets_in(item)
