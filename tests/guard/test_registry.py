"""Every channel, action and source is registered, is what its key says, and keeps the contract of its kind in a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

from alerthub import actions, channels, sources
from tests.actions.contract import ActionContract
from tests.channels.contract import ChannelContract
from tests.guard.source import PROGRAM, files, parsed
from tests.sources.contract import SourceContract


@dataclass(frozen=True)
class Edge:
    """One kind of room at the edge: its package, and the tests that all its members share."""

    package: ModuleType
    contract: type

    @property
    def name(self) -> str:
        return self.package.__name__.rpartition(".")[2]

    @property
    def registry(self) -> Mapping[str, str]:
        return dict(self.package.REGISTRY)


EDGES = [Edge(channels, ChannelContract), Edge(actions, ActionContract), Edge(sources, SourceContract)]
ENTRIES = [pytest.param(edge, key, id=f"{edge.name}-{key}") for edge in EDGES for key in edge.registry]
each_edge = pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.name)
each_entry = pytest.mark.parametrize(("edge", "key"), ENTRIES)


def contract_tests(edge: Edge, module: str) -> list[type]:
    """The test classes of a module that subclass the edge's contract and that pytest collects."""
    if find_spec(module) is None:
        return []
    found = vars(import_module(module)).values()
    return [one for one in found if isinstance(one, type) and issubclass(one, edge.contract) and one is not edge.contract
            and one.__name__.startswith("Test") and one.__module__ == module]


def kinds(tree: ast.Module) -> Iterator[str]:
    """The text that classes give as their `kind`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for statement in node.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id="kind")], value=ast.Constant(value=str(kind))):
                    yield kind
                case ast.AnnAssign(target=ast.Name(id="kind"), value=ast.Constant(value=str(kind))):
                    yield kind


@each_entry
def test_each_key_leads_to_its_class(edge: Edge, key: str) -> None:
    found = edge.package.load(key)
    assert isinstance(found, type)
    assert found.kind == key
    assert f"{found.__module__}:{found.__name__}" == edge.registry[key]


@each_entry
def test_each_says_what_its_settings_are(edge: Edge, key: str) -> None:
    config: Any = edge.package.load(key).Config
    assert config.model_config["extra"] == "forbid"
    assert config.model_config["frozen"] is True
    assert config.model_config["hide_input_in_errors"] is True


@each_entry
def test_each_keeps_its_contract_in_a_test_file_of_its_name(edge: Edge, key: str) -> None:
    found = contract_tests(edge, f"tests.{edge.name}.test_{key}")
    assert found, f"tests/{edge.name}/test_{key}.py has no Test class that subclasses {edge.contract.__name__}"
    assert {getattr(one, "kind", key) for one in found} == {key}


@each_edge
def test_nothing_stands_outside_the_registry(edge: Edge) -> None:
    written = {kind for path in files(PROGRAM / edge.name) for kind in kinds(parsed(path))}
    assert written == set(edge.registry)


@each_edge
def test_a_key_that_nobody_knows_is_an_error(edge: Edge) -> None:
    with pytest.raises(KeyError):
        edge.package.load("no-such-kind")


@each_edge
def test_a_member_without_a_contract_test_would_be_seen(edge: Edge) -> None:
    assert contract_tests(edge, f"tests.{edge.name}.test_no_such_kind") == []
    assert contract_tests(edge, "tests.guard.test_registry") == []


@pytest.mark.parametrize(("source", "expected"), [
    ("class A:\n    kind = 'a'", ["a"]),
    ("class A:\n    kind: ClassVar[str] = 'a'", ["a"]),
    ("class A:\n    kind: ClassVar[str]", []),
    ("kind = 'a'", []),
])
def test_a_kind_is_seen_however_it_is_written(source: str, expected: list[str]) -> None:
    assert list(kinds(ast.parse(source))) == expected
