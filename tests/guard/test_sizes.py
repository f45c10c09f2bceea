"""The bars of the house: what "simple" measures like. Each is told with the places that break it."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guard.source import PROGRAM, ROOT, TESTS, files, functions, length, parsed, shown

FILE_LINES = 300
FUNCTION_LINES = 60
FUNCTION_MEDIAN = 10
TESTS_TO_CODE = 1.2
BROAD = {"Exception", "BaseException"}
# Around one unit of work, and around one request: both log with the traceback and count.
# One unit of work, one request, and the border of the writer's thread, which hands every error to whoever waits for it.
# And one answer of a person, which must not end the listening for all others.
MAY_CATCH_ALL = {"alerthub/engine/attempts.py", "alerthub/engine/hours.py", "alerthub/engine/listening.py",
                 "alerthub/engine/rounds.py", "alerthub/engine/sweep.py", "alerthub/engine/worker.py",
                 "alerthub/store/writer.py", "alerthub/web/app.py"}
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict"}


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def written_lines(folder: Path) -> int:
    """Lines that are not empty, of all files."""
    return sum(1 for path in files(folder) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def hidden_imports(tree: ast.AST) -> Iterator[int]:
    """Imports of our own modules inside functions: a cycle that somebody hid."""
    for function in functions(tree):
        for node in ast.walk(function):
            if any(name.split(".")[0] in ("", "alerthub") for name in imported(node)):
                yield node.lineno


def imported(node: ast.AST) -> list[str]:
    """The modules of an import statement; a relative one is ""."""
    if isinstance(node, ast.ImportFrom):
        return ["" if node.level else str(node.module)]
    return [name.name for name in node.names] if isinstance(node, ast.Import) else []


def broad_excepts(tree: ast.AST) -> Iterator[int]:
    """`except:`, `except Exception` in any form, and `suppress(Exception)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            if node.type is None or names_all(node.type):
                yield node.lineno
        elif isinstance(node, ast.Call) and called(node) == "suppress" and any(map(names_all, node.args)):
            yield node.lineno


def names_all(node: ast.AST) -> bool:
    return any(isinstance(name, ast.Name) and name.id in BROAD for name in ast.walk(node))


def mutable_defaults(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
                if isinstance(default, MUTABLE) or (isinstance(default, ast.Call) and called(default) in MUTABLE_CALLS):
                    yield default.lineno


def called(node: ast.Call) -> str:
    """The last word of what is called."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def long_functions(tree: ast.AST) -> Iterator[int]:
    yield from (function.lineno for function in functions(tree) if length(function) > FUNCTION_LINES)


def places(rule: object, but: frozenset[str] = frozenset()) -> list[str]:
    return [f"{shown(path)}:{line}" for path in files(PROGRAM) if shown(path) not in but for line in rule(parsed(path))]


def test_no_file_is_longer_than_300_lines() -> None:
    assert [f"{shown(path)}: {lines(path)}" for path in files(PROGRAM) if lines(path) > FILE_LINES] == []


def test_no_function_is_longer_than_60_lines() -> None:
    assert places(long_functions) == []


def test_half_of_the_functions_have_at_most_10_lines() -> None:
    lengths = [length(function) for path in files(PROGRAM) for function in functions(parsed(path))]
    assert statistics.median(lengths) <= FUNCTION_MEDIAN


def test_no_import_of_our_own_hides_in_a_function() -> None:
    assert places(hidden_imports) == []


def test_everything_is_caught_in_few_places_only() -> None:
    assert places(broad_excepts, frozenset(MAY_CATCH_ALL)) == []


@pytest.mark.parametrize("file", sorted(MAY_CATCH_ALL))
def test_these_places_need_their_permission(file: str) -> None:
    assert list(broad_excepts(parsed(ROOT / file)))


def test_no_default_is_mutable() -> None:
    assert places(mutable_defaults) == []


def test_there_is_more_test_than_code() -> None:
    assert written_lines(TESTS) / written_lines(PROGRAM) >= TESTS_TO_CODE


@pytest.mark.parametrize(("rule", "source", "expected"), [
    (hidden_imports, "import alerthub.web\nfrom alerthub import web", []),
    (hidden_imports, "def f():\n    import alerthub.web", [2]),
    (hidden_imports, "def f():\n    if 1:\n        from alerthub.web import app", [3]),
    (hidden_imports, "def f():\n    from . import app", [2]),
    (hidden_imports, "def f():\n    import json", []),
    (broad_excepts, "try: f()\nexcept ValueError: pass", []),
    (broad_excepts, "try: f()\nexcept: pass", [2]),
    (broad_excepts, "try: f()\nexcept Exception: raise", [2]),
    (broad_excepts, "try: f()\nexcept (ValueError, BaseException) as e: pass", [2]),
    (broad_excepts, "with contextlib.suppress(Exception): f()", [1]),
    (broad_excepts, "with contextlib.suppress(OSError): f()", []),
    (mutable_defaults, "def f(a=(), b=None, *, c=1): pass", []),
    (mutable_defaults, "def f(a=[], *, b={}): pass", [1, 1]),
    (mutable_defaults, "async def f(a=dict()): pass", [1]),
    (mutable_defaults, "f = lambda a={1}: a", [1]),
    (long_functions, "def f():\n" + "    pass\n" * 59, []),
    (long_functions, "def f():\n" + "    pass\n" * 60, [1]),
    (long_functions, "class A:\n    @property\n    async def f(self):\n" + "        pass\n" * 60, [3]),
])
def test_each_rule_sees_what_it_is_for(rule: object, source: str, expected: list[int]) -> None:
    assert list(rule(ast.parse(source))) == expected
