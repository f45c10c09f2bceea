"""Text for one line, and a span in words: what every room that says something to people needs. Markup is the channels'."""

from __future__ import annotations

import re
from datetime import timedelta

# White space of any alphabet, control characters, and marks that turn the direction of what follows (UAX #9).
BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]+")


def clip(text: str, limit: int, more: str = "…") -> str:
    """At most `limit` code points; what was cut ends with `more`."""
    if len(text) <= limit:
        return text
    return text[: max(0, limit - len(more))] + more[:limit]


def one_line(text: str, limit: int | None = None) -> str:
    """Line breaks, tabs, control characters and marks of direction become single spaces; cut to `limit` code points."""
    line = BREAKS.sub(" ", text).strip()
    return line if limit is None else clip(line, limit)


def typed_line(text: str, limit: int | None = None) -> str:
    """What a person typed, to be kept: besides, nothing that does not print. No database takes a lone surrogate, and a mark
    that turns the direction makes the rest of a line read otherwise."""
    return one_line("".join(sign if sign.isprintable() else " " for sign in text), limit)


def spoken(span: timedelta) -> str:
    """`2 h 30 min`, `45 s`: the two largest units."""
    left, parts = max(0, round(span.total_seconds())), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
