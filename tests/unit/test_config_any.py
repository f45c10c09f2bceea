"""Whatever a file says: it is taken, or refused with places that are in the file. Nothing else is ever raised."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example as with_case
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.config import Config, compile_rules, load
from alerthub.config.reader import read_document
from alerthub.errors import ConfigError
from tests.unit.config_example import example

TEMPORARY = tempfile.TemporaryDirectory(prefix="alerthub-")
FOLDER = Path(TEMPORARY.name)
TEXT = example(FOLDER)
DATA = read_document("example", TEXT.encode(), {}).data
ENVIRON = {"X": "value"}


def paths(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for part, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from paths(value, (*path, part))


PATHS = list(paths(DATA))
words = st.sampled_from(["", "a", "alerts", "${X}", "${GONE}", "...", "0", "5m", "-1", "yes", "type", "x" * 900, "ñ", "\n", "{{",
                         "http", "agent", "\x1b[2J", "[", "person:ayse", "schedule:", "1:5",
                         "9" * 32, "/", "\u2028"])
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2**70, 2**70), st.floats(allow_nan=False), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)), max_leaves=4)


def changed(path: tuple[Any, ...], value: Any, *, is_new_key: bool) -> Any:
    """The example with something else at the path, or something new beside it."""
    data = deepcopy(DATA)
    here = data
    for part in path[:-1]:
        here = here[part]
    if isinstance(here, list) and is_new_key:
        here.append(value)
    else:
        here[f"{path[-1]}x" if is_new_key else path[-1]] = value
    return data


def taken(text: str) -> Config | ConfigError:
    file = FOLDER / "alerthub.yml"
    file.write_text(text, encoding="utf-8")
    try:
        config = load(file, ENVIRON)
    except ConfigError as error:
        return error
    compile_rules(config, {receiver.name: () for receiver in config.model.receivers}, ())
    return config


def check(text: str) -> None:
    found = taken(text)
    lines = text.count("\n") + 2
    for problem in found.problems if isinstance(found, ConfigError) else ():
        assert 1 <= problem.line <= lines, str(problem)
        assert problem.column >= 1
        assert problem.text.isprintable()
        assert 0 < len(problem.text) <= 601
    if isinstance(found, ConfigError):
        places = [(problem.line, problem.column) for problem in found.problems]
        assert places == sorted(places)
        assert len(set(found.problems)) == len(found.problems) > 0


@pytest.mark.slow
@with_case(path=("receivers", 2, "email_configs", 0, "to"), value=None, is_new_key=False)      # a union says it twice
@given(st.sampled_from(PATHS), values, st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_value_anywhere_is_taken_or_refused(path: tuple[Any, ...], value: Any, is_new_key: bool) -> None:
    check(yaml.safe_dump(changed(path, value, is_new_key=is_new_key), sort_keys=False))


@pytest.mark.slow
@given(st.integers(0, len(TEXT)), st.integers(0, 12), st.text(st.sampled_from("ab1:-[]{}&*<'\"#|>!$ \n\t,~"), max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_slip_of_the_hand_is_taken_or_refused(start: int, length: int, typed: str) -> None:
    check(TEXT[:start] + typed + TEXT[start + length:])


@pytest.mark.parametrize("path", [path for path in PATHS if len(path) <= 3], ids=lambda path: "/".join(map(str, path)))
def test_anything_of_the_example_may_be_empty_and_is_taken_or_refused(path: tuple[Any, ...]) -> None:
    for value in (None, "", [], {}):
        check(yaml.safe_dump(changed(path, value, is_new_key=False), sort_keys=False))
