"""Regular expressions in linear time (RE2, the language of Alertmanager's own matchers)."""

from __future__ import annotations

from typing import Protocol

import re2


class Pattern(Protocol):
    def fullmatch(self, text: str) -> object | None: ...


def compile_pattern(pattern: str) -> Pattern:
    """Compile for a match of the whole text. Raises ValueError that says what is wrong with the pattern."""
    options = re2.Options()
    options.log_errors = False
    try:
        compiled: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        word = error.args[0] if error.args else "bad pattern"
        text = word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)
        raise ValueError(f"not a valid regular expression: {text}") from None
    return compiled
