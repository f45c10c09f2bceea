"""YAML as the configuration means it: plain data, and the line and column of every key and value.

Of YAML 1.1 only `true`, `false`, `null` and plain numbers are more than text. What the keys mean is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from alerthub.errors import Problem

Path = tuple[str | int, ...]

MAX_DEPTH = 60              # of lists and mappings in each other; the parser's own recursion ends a process (libyaml)
TOO_DEEP = "nested too deep"
MAX_VALUES = 200_000        # after aliases: `a: [*b, *b, …]` over `b: [*c, *c, …]` grows without bound
INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?")
LONGEST_TEXT = 600          # characters of one message
LONGEST_NUMBER = 30         # more digits are text: nothing here is counted so far
SHORTEST_SECRET = 4         # a shorter value of a variable is not looked for in messages: it would be found everywhere
WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|\$\{(?P<bad>[^}]*)\}?")
BRACKET, UNQUOTED = re.compile(r"[\[{]"), re.compile(r"(?<![\"'$])\$\{")
MERGE = "<<"
PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}
UNFIT = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")      # YAML 1.1, 5.1


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Resolves no scalar: `no` and `12:30` are what they look like."""

    yaml_implicit_resolvers: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; both count from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """A file that was read. `data` is None when it is empty or cannot be read at all.

    `values` and `keys` say where the value, or its key, at a path stands; `texts` how a scalar that is not text was
    written; `expanded` which variable's value stands where, so that no message repeats it.
    """

    file: str
    data: Any = field(default=None, repr=False)
    values: dict[Path, Place] = field(default_factory=dict, repr=False)
    keys: dict[Path, Place] = field(default_factory=dict, repr=False)
    texts: dict[Path, str] = field(default_factory=dict, repr=False)
    expanded: dict[str, str] = field(default_factory=dict, repr=False)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path) -> Place:
        """Of the value at the path, else of the nearest block around it."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Place(0, 0))

    def problem(self, path: Path, text: str) -> Problem:
        return self.problem_at(self.place(path), text)

    def problem_at_key(self, path: Path, text: str) -> Problem:
        return self.problem_at(self.keys.get(path) or self.place(path), text)

    def problem_at(self, place: Place, text: str) -> Problem:
        for value in sorted(self.expanded, key=len, reverse=True):
            text = text.replace(value, f"${{{self.expanded[value]}}}")
        return Problem(self.file, place.line, place.column, one_line(text))


def read_document(file: str, content: bytes, environ: Mapping[str, str]) -> Document:
    """The document, `${NAME}` replaced by the environment's. What cannot be taken is among its `problems`."""
    document = Document(file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[:error.start].decode(errors="replace")
        document.problems.append(document.problem_at(place_in(before, len(before)), "not UTF-8 text; save the file as UTF-8"))
        return document
    if unfit := UNFIT.search(text):
        document.problems.append(document.problem_at(
            place_in(text, unfit.start()), f"the character U+{ord(unfit[0]):04X} is not allowed in YAML; remove it"))
        return document
    try:
        check_depth(text)
        root = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        document.problems.append(syntax_problem(document, text, error))
        return document
    if root is not None:
        document.data = Construction(document, environ).value(root, ())
    return document


def one_line(text: str) -> str:
    """What a message repeats of a file cannot break its line, nor move the cursor, nor fill the screen."""
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    return shown if len(shown) <= LONGEST_TEXT else f"{shown[:LONGEST_TEXT]}…"


def place_in(text: str, index: int) -> Place:
    return Place(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def place_of(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def check_depth(text: str) -> None:
    """Composing recurses in C: too deep a nesting must be found before."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise yaml.MarkedYAMLError(problem=TOO_DEEP, problem_mark=cast(Any, event.start_mark))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class Construction:
    """Data from nodes. A node that several aliases share is built once for each of them."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self.document, self.environ = document, environ
        self.count = 0
        self.open: set[int] = set()

    def report(self, node: yaml.Node, text: str) -> None:
        problem = self.document.problem_at(place_of(node.start_mark), text)
        if problem not in self.document.problems:
            self.document.problems.append(problem)

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.document.values[path] = place_of(node.start_mark)
        self.count += 1
        if node.tag not in PLAIN_TAGS:
            self.report(node, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not used here; remove it")
        if id(node) in self.open:
            self.report(node, "this alias contains itself; write it out")
            return None
        if self.count > MAX_VALUES:
            if self.count == MAX_VALUES + 1:
                self.report(node, f"the file has more than {MAX_VALUES} values, perhaps by aliases of aliases; use fewer")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, path)
        self.open.add(id(node))
        found = self.mapping(node, path) if isinstance(node, yaml.MappingNode) else [
            self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        self.open.discard(id(node))
        return found

    def scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = self.expand(node)
        if node.style or text != node.value:       # quoted, or of the environment: text in any case
            return text
        if text in WORDS:
            if text:
                self.document.texts[path] = text
            return WORDS[text]
        number = int if INT.fullmatch(text) else float if FLOAT.fullmatch(text) else None
        if number is None or len(text) > LONGEST_NUMBER:
            return text
        self.document.texts[path] = text
        return number(text)

    def expand(self, node: yaml.ScalarNode) -> str:
        def replacement(match: re.Match[str]) -> str:
            name = match["name"]
            if name is None:
                if match["bad"] is not None:
                    self.report(node, "after ${ comes the name of an environment variable and }; for ${ itself write $${")
                return "${"
            if name not in self.environ:
                self.report(node, f"the environment variable {name} is not set; set it, or write $${{{name}}} for the text")
                return ""
            value = self.environ[name]
            if len(value) >= SHORTEST_SECRET:
                self.document.expanded.setdefault(value, name)
            return value

        return VARIABLE.sub(replacement, node.value) if "${" in node.value else str(node.value)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.report(key_node, "a key must be one word; write `key: value`")
                continue
            key = key_node.value
            if key == MERGE and not key_node.style:
                merges.append(value_node)
            elif key in found:
                first = self.document.keys[(*path, key)]
                self.report(key_node, f"the key `{key}` is here twice, first in line {first.line}; keep one of them")
            else:
                self.document.keys[(*path, key)] = place_of(key_node.start_mark)
                found[key] = self.value(value_node, (*path, key))
        for merge in merges:
            for source in self.merged(merge):
                self.merge(source, path, found)
        return found

    def merged(self, node: yaml.Node) -> Iterator[yaml.MappingNode]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if isinstance(source, yaml.MappingNode):
                yield source
            else:
                self.report(source, "<< takes in a mapping; give it an alias of one, like <<: *name")

    def merge(self, source: yaml.MappingNode, path: Path, found: dict[str, Any]) -> None:
        """What the mapping itself says counts more than what it takes in; of several, the first."""
        if id(source) in self.open:
            self.report(source, "this alias contains itself; write it out")
            return
        self.open.add(id(source))
        for key_node, value_node in source.value:
            key = key_node.value
            if key == MERGE and not key_node.style:
                for inner in self.merged(value_node):
                    self.merge(inner, path, found)
            elif isinstance(key_node, yaml.ScalarNode) and key not in found:
                self.document.keys[(*path, key)] = place_of(key_node.start_mark)
                found[key] = self.value(value_node, (*path, key))
        self.open.discard(id(source))


# What the parser says, and what is said instead. A text of the parser may repeat what stands in the file: none is used.
SYNTAX = (
    ("unexpected end of stream", "the quote that begins here is not closed; end the text with the same quote"),
    ("mapping values are not allowed", "a `: ` too many; check the line before, or put the text in quotes"),
    ("did not find expected ',' or ']'", "the list that begins here is not closed; a comma or ] is missing"),
    ("did not find expected ',' or '}'", "the block that begins here is not closed; a comma or } is missing"),
    ("expected ',' or ']'", "the list that begins here is not closed; a comma or ] is missing"),
    ("expected ',' or '}'", "the block that begins here is not closed; a comma or } is missing"),
    ("did not find expected node content", "a value is missing here, or the bracket before it is not closed"),
    ("did not find expected '-' indicator", "the indentation does not fit: here a list goes on, so the line begins with `- `"),
    ("did not find expected key", "this does not fit here; check the indentation, the quotes and the brackets before it"),
    ("could not find expected ':'", "a key needs a colon; write `key: value`"),
    ("undefined alias", "this alias is not known; define it before with &name"),
    ("second occurrence", "this anchor is defined twice; give the second another name"),
    ("unknown escape character", "in double quotes a backslash begins an escape; double it, or use single quotes"),
    ("another document", "a second document begins here; one file holds one"),
    ("tab character", "a tab indents this line; use spaces"),
    (TOO_DEEP, f"lists and blocks are nested more than {MAX_DEPTH} deep; make it flatter"),
)


def syntax_problem(document: Document, text: str, error: yaml.MarkedYAMLError) -> Problem:
    """The place and a plain text of what the parser stumbled over."""
    mark: Any = error.problem_mark or error.context_mark
    context: Any = error.context_mark or mark
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    indentation = line[:len(line) - len(line.lstrip())]
    if "\t" in indentation:
        return document.problem_at(Place(mark.line + 1, indentation.index("\t") + 1), "a tab indents this line; use spaces")
    problem = error.problem or ""
    said = next((right for word, right in SYNTAX if word in problem), "")
    if "cannot start any token" in problem and mark.column < len(line):
        said = f"a value cannot begin with {line[mark.column]}; put it in quotes"
    place = place_of(context if "begins here is not" in said else mark)
    said = said or "this is not YAML; check the indentation and the quotes around here"
    around = "\n".join(lines[min(context.line, mark.line):mark.line + 1])
    if (bracket := BRACKET.search(around)) and UNQUOTED.search(around, bracket.end()):     # where braces are YAML's own
        said += '; if a value here is ${NAME}, put it in quotes: "${NAME}"'
    return document.problem_at(place, said)
