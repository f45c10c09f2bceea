"""No test waits for time to pass: it waits for an event, or moves the clock. Only the kit polls, for foreign programs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.guard.source import TESTS, files, parsed, shown

MAY_SLEEP = "tests/kit/binaries.py"
CLOCKS = {"time", "asyncio", "anyio", "trio"}


def sleeps(tree: ast.AST) -> Iterator[int]:
    """Calls of a real sleep. `sleep(0)` lets others run and waits for nothing, so it may stay."""
    named = {alias.asname or alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
             for alias in node.names if node.module in CLOCKS and alias.name == "sleep"}
    modules = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.Import)
               for alias in node.names if alias.name in CLOCKS}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or is_zero(node):
            continue
        match node.func:
            case ast.Name(id=name) if name in named:
                yield node.lineno
            case ast.Attribute(value=ast.Name(id=module), attr="sleep" | "sleep_until" | "sleep_forever") if module in modules:
                yield node.lineno


def is_zero(node: ast.Call) -> bool:
    return bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0


def test_no_test_sleeps() -> None:
    found = [f"{shown(path)}:{line}" for path in files(TESTS) if shown(path) != MAY_SLEEP for line in sleeps(parsed(path))]
    assert found == []


def test_the_kit_polls_in_its_two_bounded_loops_only() -> None:
    (kit,) = [path for path in files(TESTS) if shown(path) == MAY_SLEEP]
    assert len(list(sleeps(parsed(kit)))) == 2


@pytest.mark.parametrize(("source", "expected"), [
    ("import time\ntime.sleep(1)", [2]),
    ("import time as t\nt.sleep(x)", [2]),
    ("from time import sleep\nsleep(0.1)", [2]),
    ("from asyncio import sleep as nap\nasync def f():\n    await nap(1)", [3]),
    ("import anyio\nasync def f():\n    await anyio.sleep_forever()", [3]),
    ("import asyncio\nasync def f():\n    await asyncio.sleep(0)", []),
    ("async def f(clock):\n    await clock.sleep(5)", []),
    ("import time\ntime.monotonic()", []),
])
def test_the_guard_sees_a_sleep_in_any_dress(source: str, expected: list[int]) -> None:
    assert list(sleeps(ast.parse(source))) == expected
