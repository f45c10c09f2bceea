"""Matchers, as Alertmanager writes and means them: `severity="critical"`, `{job=~"api|web", env!="dev"}`.

The grammar is that of its UTF-8 parser (`matcher/parse`). Silences and routes use matchers; they are not here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from alerthub.domain.alert import Labels
from alerthub.regex import Pattern, compile_pattern

EQUAL, NOT_EQUAL, MATCHES, NOT_MATCHES = "=", "!=", "=~", "!~"
OPERATORS = (EQUAL, NOT_EQUAL, MATCHES, NOT_MATCHES)

# Reserved in unquoted names and values: white space and {}!=~,\"'`
TOKEN = re.compile(r"""
    (?P<space>\s+)
  | (?P<open>\{) | (?P<close>\}) | (?P<comma>,)
  | (?P<operator>=~|!~|!=|=)
  | (?P<quoted>"(?:[^"\\]|\\.)*")
  | (?P<unquoted>[^\s{}!=~,\\"'`]+)
""", re.VERBOSE | re.DOTALL)
SURROGATE = re.compile("[\ud800-\udfff]")
CLASSIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
ESCAPE = re.compile(r"""\\(?:
    x(?P<byte>[0-9a-fA-F]{2}) | (?P<octal>[0-3][0-7]{2}) | u(?P<short>[0-9a-fA-F]{4}) | U(?P<long>[0-9a-fA-F]{8}) | (?P<one>.)
)""", re.VERBOSE | re.DOTALL)
CLASSIC_ESCAPES = {"n": b"\n", '"': b'"', "\\": b"\\"}
GO_ESCAPES = {**CLASSIC_ESCAPES, "a": b"\a", "b": b"\b", "f": b"\f", "r": b"\r", "t": b"\t", "v": b"\v"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label. A missing label counts as empty. A regular expression must match the whole value.

    Raises ValueError for an operator that does not exist, an empty name, or a regular expression that is not one.
    """

    name: str
    op: str
    value: str
    _pattern: Pattern | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise ValueError(f"{self.op} is not an operator; use one of {' '.join(OPERATORS)}")
        if not self.name:
            raise ValueError('a label name cannot be empty; write it like severity="critical"')
        if self.op in (MATCHES, NOT_MATCHES):
            object.__setattr__(self, "_pattern", compile_pattern(self.value))

    def matches(self, labels: Labels) -> bool:
        value = labels.get(self.name, "")
        if self._pattern is None:
            return (value == self.value) is (self.op == EQUAL)
        return (self._pattern.fullmatch(value) is not None) is (self.op == MATCHES)

    def __str__(self) -> str:
        """As it may be parsed again."""
        is_classic = CLASSIC_NAME.fullmatch(self.name) is not None
        return f"{self.name if is_classic else quoted(self.name)}{self.op}{quoted(self.value)}"


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def all_match(matchers: Iterable[Matcher], labels: Labels) -> bool:
    """Whether every matcher matches; so no matchers match everything."""
    return all(matcher.matches(labels) for matcher in matchers)


def parse_matcher(text: str) -> Matcher:
    """Exactly one matcher, without braces. Raises ValueError as `parse_matchers` does."""
    found = parse_matchers(text)
    if len(found) != 1 or text.lstrip()[:1] == "{":
        raise ValueError(f'expected one matcher such as severity="critical", found {len(found)} in {text!r}')
    return found[0]


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Matchers between commas, in braces or not. Raises ValueError: at which character, and what would be right there."""
    return tuple(Parser(text).matchers())


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    position: int       # of its first character, from 1


def tokens(text: str) -> Iterator[Token]:
    if lone := SURROGATE.search(text):
        raise ValueError(f"at character {lone.start() + 1}: half of a surrogate pair is not text")
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError(unreadable(text, position))
        if match.lastgroup is not None and match.lastgroup != "space":
            yield Token(match.lastgroup, match[0], position + 1)
        position = match.end()
    yield Token("end", "", len(text) + 1)


def unreadable(text: str, position: int) -> str:
    character, place = text[position], f"at character {position + 1}"
    if character == '"':
        return f'{place}: the quote is not closed; end the text with "'
    if character in "!~":
        return f"{place}: {character} alone is not an operator; use one of {' '.join(OPERATORS)}"
    return f"{place}: {character} must stand inside double quotes"


class Parser:
    """One text's grammar: [ "{" ] [ matcher { "," matcher } [ "," ] ] [ "}" ], the braces both or neither."""

    def __init__(self, text: str) -> None:
        self.tokens = list(tokens(text))
        self.index = 0
        # When every name is a classic one, Alertmanager's classic parser reads the text first, and a backslash before
        # any other character than \ " n stands for itself: "\d+" is a regular expression. Else Go's escapes count.
        names = (self.tokens[i - 1] for i, token in enumerate(self.tokens) if i and token.kind == "operator")
        self.is_classic = all(CLASSIC_NAME.fullmatch(name.text) for name in names)

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def matchers(self) -> Iterator[Matcher]:
        is_braced = self.accept("open")
        while self.token.kind not in ("close", "end"):
            yield self.matcher()
            if not self.accept("comma") and self.token.kind not in ("close", "end"):
                raise self.unexpected("a comma, or the end")
        if is_braced and not self.accept("close"):
            raise self.unexpected("} for the { at the beginning")
        if self.token.kind != "end":
            raise self.unexpected("nothing more" if is_braced else "no }, as there is no { at the beginning")

    def matcher(self) -> Matcher:
        name_token = self.take(("unquoted", "quoted"), "a label name")
        name = self.text_of(name_token, is_name=True)
        operator = self.take(("operator",), f"one of {' '.join(OPERATORS)}")
        value = self.take(("unquoted", "quoted"), 'a value (for an empty one write "")')
        wanted = self.text_of(value)
        try:
            return Matcher(name, operator.text, wanted)
        except ValueError as error:
            raise ValueError(f"at character {(value if name else name_token).position}: {error}") from None

    def accept(self, kind: str) -> bool:
        is_there = self.token.kind == kind
        self.index += is_there
        return is_there

    def take(self, kinds: tuple[str, ...], expected: str) -> Token:
        token = self.token
        if token.kind not in kinds:
            raise self.unexpected(expected)
        self.index += 1
        return token

    def unexpected(self, expected: str) -> ValueError:
        found = "the end" if self.token.kind == "end" else self.token.text
        return ValueError(f"at character {self.token.position}: expected {expected}, found {found}")

    def text_of(self, token: Token, *, is_name: bool = False) -> str:
        if token.kind == "unquoted":
            return token.text
        return unescaped(token, is_classic=self.is_classic and not is_name)


def unescaped(token: Token, *, is_classic: bool) -> str:
    """The text inside the quotes. Go's escapes may name bytes, which then must be UTF-8."""
    parts: list[bytes] = []
    end, inside = 0, token.text[1:-1]
    for match in ESCAPE.finditer(inside):
        parts.append(inside[end:match.start()].encode())
        parts.append(unescape(match, token, is_classic=is_classic))
        end = match.end()
    parts.append(inside[end:].encode())
    try:
        return b"".join(parts).decode()
    except UnicodeDecodeError:
        raise ValueError(f"at character {token.position}: the escaped bytes are not UTF-8 text") from None


def unescape(match: re.Match[str], token: Token, *, is_classic: bool) -> bytes:
    character = match["one"]
    if is_classic:
        return CLASSIC_ESCAPES.get(character, match[0].encode())
    if character in GO_ESCAPES:
        return GO_ESCAPES[character]
    if match["byte"] or match["octal"]:
        return bytes([int(match["byte"], 16) if match["byte"] else int(match["octal"], 8)])
    number = int(match["short"] or match["long"] or "FFFFFFFF", 16)
    if number <= sys.maxunicode and not 0xD800 <= number <= 0xDFFF:
        return chr(number).encode()
    raise ValueError(f"at character {token.position + 1 + match.start()}: {match[0]} is no escape; for a backslash write \\\\")
