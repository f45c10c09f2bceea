"""The configuration: one YAML file in Alertmanager's own words, or none. All mistakes are said at once, each with its place.

Reading is in reader.py, the blocks in model.py and the edges' own files, compiling in rules.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alerthub.channels.base import ChannelSettings
from alerthub.clock import SystemClock
from alerthub.config.advice import warnings
from alerthub.config.check import check_blocks, check_names
from alerthub.config.kinds import KINDS, Kinds, build_model, schema, used_channels
from alerthub.config.mistakes import validated
from alerthub.config.model import ConfigModel, entries, host_and_port, is_loopback
from alerthub.config.probe import check_construction
from alerthub.config.reader import Document, read_document
from alerthub.config.rules import Told, rules_of
from alerthub.domain.alert import canonical
from alerthub.domain.rules import Rules
from alerthub.domain.runbook import Runbook
from alerthub.errors import ConfigError, Problem

__all__ = ["Config", "compile_rules", "load", "schema"]

LARGEST = 10 * 1024**2      # bytes of a file; the largest known routing trees have a tenth of it
BUILT_IN = "built-in configuration"
# Without a file: this machine only, SQLite in the working directory, incidents on the console.
DEFAULT: Mapping[str, Any] = {
    "receivers": [{"name": "console", "console_configs": [{}]}],
    "route": {"receiver": "console"},
}
DEFAULT_SOURCE: Mapping[str, Any] = {"name": "alertmanager", "type": "alertmanager"}     # when a file names none


@dataclass(frozen=True)
class Config:
    """What was read: immutable, complete and checked. `path` is None for the built-in one; `version` is the SHA-256 of the
    file. `warnings` are for the person who wrote it. Secrets do not show in its repr."""

    path: Path | None
    model: ConfigModel
    version: str
    warnings: tuple[str, ...]
    document: Document
    kinds: Kinds

    def __repr__(self) -> str:
        return f"Config({self.document.file!r}, version={self.version[:12]!r})"

    @property
    def listen(self) -> tuple[str, int]:
        return host_and_port(self.model.server.listen)

    @property
    def is_loopback(self) -> bool:
        """It is reached from this machine only."""
        return is_loopback(self.listen[0])

    def channel_entries(self) -> Iterator[tuple[str, str, ChannelSettings]]:
        """Every entry of `<kind>_configs`: its receiver's name, the kind, the settings."""
        for receiver in self.model.receivers:
            for kind, _, settings in entries(receiver):
                yield receiver.name, kind, settings


def load(path: Path | str | None, environ: Mapping[str, str], kinds: Kinds = KINDS) -> Config:
    """Read and check a file; None is the built-in configuration. Raises ConfigError with every problem, in file order."""
    if path is None:
        document = Document(BUILT_IN, data=dict(DEFAULT))
        return checked(None, document, hashlib.sha256(canonical(DEFAULT).encode()).hexdigest(), kinds)
    content = read(Path(path))
    document = read_document(str(path), content, environ)
    if document.data is None and not document.problems:
        document.problems.append(Problem(str(path), 0, 0, "the file is empty; write at least receivers and route"))
    return checked(Path(path), document, hashlib.sha256(content).hexdigest(), kinds)


def read(path: Path) -> bytes:
    """At most `LARGEST` bytes of a regular file, or of a pipe."""
    word = "is larger than 10 MiB"
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) <= LARGEST:
            return content
    except FileNotFoundError:
        word = "there is no such file"
    except IsADirectoryError:
        word = "is a folder; give the file in it, for example alerthub.yml"
    except (OSError, ValueError) as error:
        word = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    raise ConfigError([Problem(str(path), 0, 0, word)])


def checked(path: Path | None, document: Document, version: str, kinds: Kinds) -> Config:
    if document.data is not None and not isinstance(document.data, dict):
        document.problems.append(document.problem((), "a block of `key: value` lines is expected here, as in receivers: …"))
    if not isinstance(document.data, dict):
        raise ConfigError(document.problems)
    if document.data.get("sources") is None:
        document.data["sources"] = [dict(DEFAULT_SOURCE)]
    if path is not None:
        beside(document.data, path.parent)
    whole_model = build_model(kinds, used_channels(kinds, document.data))
    model, reading = validated(whole_model, document, kinds)
    problems = [*reading.problems(), *check_names(document, kinds)]
    whole = model or partial(document, reading.sections(), kinds)
    if whole is not None:
        problems += check_blocks(document, whole, kinds)
    problems += check_construction(document, kinds, whole_model, reading)
    if model is None or problems or document.problems:
        raise ConfigError(in_order(document, problems))
    return Config(path, model, version, warnings(document, model, SystemClock().now()), document, kinds)


def beside(data: Any, folder: Path) -> None:
    """Files are named relative to the configuration file, as in Alertmanager: every `…_file`, and the folder of runbooks."""
    if isinstance(data, list):
        for item in data:
            beside(item, folder)
    elif isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, str) and value and (str(key).endswith("_file") or key == "folder"):
                data[key] = str(folder / value)
            else:
                beside(value, folder)


def partial(document: Document, wrong: Collection[str], kinds: Kinds) -> ConfigModel | None:
    """The sections without a mistake, in a model of their own, so that they are checked together all the same."""
    alone = ("server", "database", "sources", "runbooks")
    kept = {key: document.data[key] for key in alone if key in document.data and key not in wrong}
    small = Document(document.file, {"receivers": [{"name": "none"}], "route": {}, **kept})
    return validated(build_model(kinds, frozenset()), small, kinds)[0]


def in_order(document: Document, problems: Iterable[Problem]) -> list[Problem]:
    """Each once, by place. Where the reader found something wrong, what follows from it is left out."""
    unread = {(problem.line, problem.column) for problem in document.problems}
    found = [*document.problems, *(problem for problem in problems if (problem.line, problem.column) not in unread)]
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.line, problem.column))


def compile_rules(config: Config, destinations: Told, runbooks: Iterable[Runbook], contacts: Told | None = None) -> Rules:
    """The domain's rules. `destinations` are those of every receiver, `contacts` those of every person, as composition has
    constructed them."""
    return rules_of(config.model, config.kinds, destinations, contacts or {}, runbooks, config.version)
