"""Runbooks: Markdown files whose front matter says which labels they are for. Read here.

Which runbook an incident gets is decided in domain/runbook.py.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from alerthub.domain.matcher import Matcher, parse_matcher
from alerthub.domain.runbook import Runbook
from alerthub.errors import ConfigError, Problem
from alerthub.markdown import render

KEYS = ("title", "matchers", "owner", "actions")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
FENCE = "---"
FIRST_LINE = 2      # of the front matter, below the fence
KEPT = 1024         # pages
EXAMPLES = {"matchers": "['alertname=\"DiskFull\"']", "actions": "[safe-mode]"}
SHAPE = "the file must begin with a line ---, then title: and matchers:, then a line ---"


def read_runbooks(folder: Path) -> tuple[Runbook, ...]:
    """Every `*.md` of the folder, by name. Raises ConfigError with all mistakes of all files."""
    if not folder.is_dir():
        raise ConfigError([Problem(str(folder), 0, 0, "there is no such folder of runbooks")])
    pages = [understood(path, load(path)) for path in sorted(folder.glob("*.md"))]
    if problems := [problem for _, wrong in pages for problem in wrong]:
        raise ConfigError(problems)
    return tuple(runbook for runbook, _ in pages)


def load(path: Path) -> str | Problem:
    """What stands in the file, or why that cannot be said."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        return Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return Problem(str(path), 0, 0, "is not UTF-8 text")


@functools.lru_cache(KEPT)
def understood(path: Path, content: str | Problem) -> tuple[Runbook, tuple[Problem, ...]]:
    """The runbook, and what is wrong with it. Remembered, because a reload finds nearly all pages as they were, and to make
    HTML of all of them is most of what it computes."""
    page = Page(path, content)
    return page.read(), tuple(page.in_order())


@dataclass(slots=True)
class Page:
    """One file, and what is wrong with it. `read` never raises: where a value is wrong it goes on with an empty one."""

    path: Path
    content: str | Problem
    problems: list[Problem] = field(default_factory=list)

    def read(self) -> Runbook:
        if not NAME.fullmatch(self.path.stem):
            self.complain(0, 0, "the file name becomes an address; use letters, digits, - _ and . only")
        front, text, text_line = self.split(self.written())
        tree = self.mapping(front) if front else None
        values = dict(self.pairs(tree)) if tree is not None else {}
        for key in ("title", "matchers"):
            if tree is not None and key not in values:
                self.complain(1, 1, f"{key} is missing; {SHAPE}")
        if front and not text:
            self.complain(text_line, 1, "there is no text below the front matter; write what the reader is to do")
        return Runbook(
            name=self.path.stem,
            title=self.scalar(values.get("title"), "title"),
            matchers=tuple(self.matchers(values.get("matchers"))),
            text=text,
            html=render(text),
            owner=self.scalar(values.get("owner"), "owner"),
            actions=tuple(value for _, value in self.items(values.get("actions"), "actions")),
        )

    def written(self) -> str | None:
        if isinstance(self.content, Problem):
            self.problems.append(self.content)
            return None
        return self.content

    def split(self, content: str | None) -> tuple[str, str, int]:
        """Front matter, text, and the line at which the text begins."""
        lines = (content or "").split("\n")
        fences = [number for number, line in enumerate(lines) if line.rstrip() == FENCE][:2]
        if len(fences) == 2 and fences[0] == 0:
            end = fences[1]
            return "\n".join(lines[1:end]) or "\n", "\n".join(lines[end + 1:]).strip(), end + 1
        if content is not None:
            self.complain(1, 1, SHAPE)
        return "", "", 1

    def mapping(self, front: str) -> yaml.MappingNode | None:
        """The front matter as keys and values; None, with a complaint, when it is something else."""
        try:
            tree = yaml.compose(front, Loader=yaml.SafeLoader)
        except yaml.reader.ReaderError as error:
            before = front[:error.position]
            self.complain(FIRST_LINE + before.count("\n"), len(before) - before.rfind("\n"),
                          f"the character U+{error.character:04X} is not allowed here")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line, column = (mark.line + FIRST_LINE, mark.column + 1) if mark else (1, 1)
            self.complain(line, column, f"not valid YAML: {error.problem}")
        else:
            if isinstance(tree, yaml.MappingNode):
                return tree
            self.complain(1, 1, SHAPE)
        return None

    def pairs(self, tree: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
        """The keys with their values. Unknown and repeated keys are complaints."""
        seen: set[str] = set()
        for key, value in tree.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name not in KEYS:
                self.blame(key, f"unknown key {name}; known are {', '.join(KEYS)}")
            elif name in seen:
                self.blame(key, f"{name} is given twice")
            else:
                seen.add(name)
                yield name, value

    def scalar(self, node: yaml.Node | None, what: str) -> str:
        if node is None:
            return ""
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self.blame(node, f"{what} must be one line of text")
            return ""
        return str(node.value).strip()

    def items(self, node: yaml.Node | None, what: str) -> Iterator[tuple[yaml.Node, str]]:
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            self.blame(node, f"{what} must be a list, for example {EXAMPLES[what]}")
            return
        for item in node.value:
            if text := self.scalar(item, f"an entry of {what}"):
                yield item, text

    def matchers(self, node: yaml.Node | None) -> Iterator[Matcher]:
        if isinstance(node, yaml.SequenceNode) and not node.value:
            self.blame(node, f"matchers is empty; name at least the alert, for example {EXAMPLES['matchers']}")
        for item, text in self.items(node, "matchers"):
            try:
                yield parse_matcher(text)
            except ValueError as error:
                self.blame(item, str(error))

    def blame(self, node: yaml.Node, text: str) -> None:
        self.complain(node.start_mark.line + FIRST_LINE, node.start_mark.column + 1, text)

    def complain(self, line: int, column: int, text: str) -> None:
        self.problems.append(Problem(str(self.path), line, column, text))

    def in_order(self) -> list[Problem]:
        return sorted(self.problems, key=lambda problem: (problem.line, problem.column))
