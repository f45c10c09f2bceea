"""What pydantic finds wrong, as problems with line, column and a text that says what would be right.

Here is also what the models need to be told about YAML: an empty value is an absent one, and a number where a text is
wanted is the text as it was written. No message repeats a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

from pydantic import ValidationError

from alerthub.config.kinds import Kinds, schema_of
from alerthub.config.model import ConfigModel
from alerthub.config.reader import Document, Path
from alerthub.config.words import HINTS, missing, suggestion, text_of
from alerthub.errors import Problem

T = TypeVar("T", bound=ConfigModel)
MOST_PASSES = 200           # one for each secret file of a block that cannot be read, and a few
TYPED = ("sources", "actions", "targets")       # sections whose entries `type` decides
# What settings.py says of a file of a secret: that it cannot be read, or is one too many.
SECRET_FILE = re.compile(r"(?:(?P<bad>\w+_file): |give \w+ or (?P<twice>\w+_file), )")
# How a template of Alertmanager can be told from one of ours: `{{ .Labels }}`, `{{ range … }}`, `{{ end }}`.
GO = re.compile(r"\{\{-?\s*(?:\.|range\b|end\b)")
GO_TEMPLATE = "this is a Go template; here templates are Jinja2: write {{ labels.alertname }}"


def validated(model: type[T], document: Document, kinds: Kinds) -> tuple[T | None, Reading]:
    """The model of the document, or None, and what is wrong with it. Repairs `document.data`, a mapping, where only YAML's
    types stand against it."""
    reading = Reading(model, document, kinds)
    for _ in range(MOST_PASSES):
        try:
            found = model.model_validate(reading.data)
            reading.find_empty_secrets(reading.data, ())
            return (None if reading.found else found), reading
        except ValidationError as error:
            if not reading.learn(error):
                reading.find_empty_secrets(reading.data, ())
                break
    return None, reading


class Reading:
    """The passes over one document: each either repairs something and asks for another, or is the last."""

    def __init__(self, model: type[ConfigModel], document: Document, kinds: Kinds) -> None:
        self.model, self.document, self.kinds = model, document, kinds
        self.data = document.data
        self.found: dict[tuple[Path, str], Problem] = {}
        self.damaged: set[Path] = set()         # blocks out of which something wrong was taken

    @cached_property
    def schema(self) -> Mapping[str, Any]:
        return schema_of(self.model)

    def problems(self) -> list[Problem]:
        return list(self.found.values())

    def sections(self) -> set[str]:
        """The keys of the first level below which something is wrong."""
        return {str(path[0]) for path, _ in self.found if path}

    def learn(self, error: ValidationError) -> bool:
        """Whether another pass is worth it."""
        errors = [(self.path_of(one["loc"]), one) for one in error.errors(include_url=False, include_input=False)]
        repaired = [self.repair(path, one) for path, one in errors]
        if any(repaired):
            return True
        seen: set[Path] = set()
        for path, one in errors:
            is_first = path not in seen or one["type"] in ("missing", "extra_forbidden")      # of a union's members
            seen.add(path)
            # A list that a union takes has its mistake inside; that it is no text is none.
            is_outer = one["type"].endswith("_type") and any(inner[:len(path)] == path != inner for inner, _ in errors)
            if is_first and not is_outer:
                self.add(path, one)
        return False

    def path_of(self, loc: tuple[str | int, ...]) -> Path:
        """The part of pydantic's location that is in the data: without tags of unions, and without what is missing."""
        path: Path = ()
        here: Any = self.data
        for index, part in enumerate(loc):
            is_tag = index == 2 and path[:1] and path[0] in TYPED and isinstance(here, dict) and part == here.get("type")
            if not has(here, part) and has(here, f"{part}_file"):
                part = f"{part}_file"       # what was read from it
            if not is_tag and has(here, part):
                here, path = here[part], (*path, part)
        return path

    def repair(self, path: Path, error: Mapping[str, Any]) -> bool:
        block = at(self.data, path[:-1]) if path else None
        if path and not has(block, path[-1]):
            return True         # gone already: a union says the same mistake once per member
        value = at(self.data, path)
        kind = error["type"]
        if path and value is None and isinstance(block, dict) and kind not in ("extra_forbidden", "missing"):
            del block[path[-1]]
            return True
        if kind == "string_type" and path in self.document.texts and not isinstance(value, str):
            block[path[-1]] = self.document.texts[path]  # type: ignore[index]
            return True
        if kind == "value_error" and isinstance(value, dict) and (named := SECRET_FILE.match(text_of(error))):
            file = named["bad"] or named["twice"]
            if file in value:
                self.keep((*path, file), of_file(text_of(error), named))
                self.damaged.add(path)
                del value[file]
                return True
        return False

    def add(self, path: Path, error: Mapping[str, Any]) -> None:
        kind = error["type"]
        if kind == "default_factory_not_called" or (path in self.damaged and kind in ("value_error", "missing")):
            return      # follows from another problem
        if kind == "too_short" and len(at(self.data, path)) >= error["ctx"]["min_length"]:
            return      # pydantic does not count an entry that is wrong
        if kind == "extra_forbidden":
            self.found[path, kind] = self.document.problem_at_key(path, self.unknown_key(path))
        elif kind == "missing":
            self.keep(path, missing(str(error["loc"][-1]), path), of=str(error["loc"][-1]))
        elif kind in ("union_tag_not_found", "union_tag_invalid"):
            self.keep(*self.wrong_type(path))
        elif error["loc"] and error["loc"][-1] == "[key]":
            self.found[path, "key"] = self.document.problem_at_key(path, text_of(error))
        else:
            text = text_of(error)
            self.keep(self.key_meant(path, text) if kind == "value_error" else path, text)

    def key_meant(self, path: Path, text: str) -> Path:
        """A sentence about a whole block that begins with one of its keys is about that key."""
        block, word = at(self.data, path), re.split("[: ]", text, maxsplit=1)[0]
        return (*path, word) if isinstance(block, dict) and word in block and word != "name" else path

    def keep(self, path: Path, text: str, of: str = "") -> None:
        self.found.setdefault((path, of), self.document.problem(path, text))

    def find_empty_secrets(self, here: Any, path: Path) -> None:
        """A field that may be in a file instead is a secret; an empty one is forgotten, not left out."""
        for part, value in here.items() if isinstance(here, dict) else enumerate(here):
            if isinstance(value, dict | list):
                self.find_empty_secrets(value, (*path, part))
            elif value == "" and f"{part}_file" in self.fields_at(path):
                self.keep((*path, part), f"{part} is empty; write the secret, or {part}_file with the name of its file")

    def unknown_key(self, path: Path) -> str:
        key = str(path[-1])
        if key in HINTS:
            return f"unknown key `{key}`: {HINTS[key]}"
        return f"unknown key `{key}`; {suggestion(key, self.fields_at(path[:-1]), 'the keys here are')}"

    def wrong_type(self, path: Path) -> tuple[Path, str]:
        section = str(path[0])
        registry = getattr(self.kinds, section, None)
        names = sorted(registry.names) if registry else self.target_types()
        block = at(self.data, path)
        if "type" not in block:
            return path, f"type is missing; the types of {section} are {', '.join(names)}"
        written = str(block["type"])
        return (*path, "type"), f"there is no type `{written}`; {suggestion(written, names, f'the types of {section} are')}"

    def target_types(self) -> list[str]:
        return sorted(self.schema["properties"]["targets"]["items"].get("discriminator", {}).get("mapping", ()))

    def fields_at(self, path: Path) -> list[str]:
        """The keys that the model knows in the block at the path."""
        nodes, here = [self.schema], at(self.data, path)
        for part in path:
            nodes = [child for node in nodes for variant in self.variants(node) for child in children(variant, part)]
        variants = [variant for node in nodes for variant in self.variants(node)]
        fitting = [variant for variant in variants if fits(variant, here)]
        return list(dict.fromkeys(name for variant in fitting or variants for name in variant.get("properties", ())))

    def variants(self, node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        if "$ref" in node:
            yield from self.variants(self.schema["$defs"][node["$ref"].rpartition("/")[2]])
            return
        yield node
        for inner in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
            yield from self.variants(inner)


def children(node: Mapping[str, Any], part: str | int) -> list[Any]:
    if isinstance(part, int):
        return [node["items"]] if "items" in node else []
    found = node.get("properties", {}).get(part, node.get("additionalProperties"))
    return [found] if isinstance(found, dict) else []


def fits(variant: Mapping[str, Any], block: Mapping[str, Any]) -> bool:
    constant = variant.get("properties", {}).get("type", {}).get("const")
    return constant is not None and constant == block.get("type")


def has(here: Any, part: str | int) -> bool:
    if isinstance(here, dict):
        return part in here
    return isinstance(here, list) and isinstance(part, int) and part < len(here)


def at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def of_file(text: str, named: re.Match[str]) -> str:
    if named["twice"]:
        return text
    right = "; correct the path, or let the hub read it" if "cannot read" in text else ""
    return text.removeprefix(named[0]) + right
