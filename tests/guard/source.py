"""What the guards read: the program's files and the tests' files, parsed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "alerthub"
TESTS = ROOT / "tests"


def files(folder: Path) -> list[Path]:
    """Every Python file below the folder, by name."""
    found = sorted(folder.rglob("*.py"))
    assert found, f"there is no Python below {folder}"
    return found


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Methods and inner functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: Function) -> int:
    """Lines from `def` to the last of its body; decorators left out."""
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1
