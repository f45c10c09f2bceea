"""The rooms import downward only: the contracts of pyproject.toml hold, and no module stands outside them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.guard.source import PROGRAM, ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
LINTER = Path(sys.executable).with_name("lint-imports")
NOT_ROOMS = {"__init__", "__main__", "__pycache__", "_data", "py.typed"}


def contract(kind: str) -> dict[str, Any]:
    return next(one for one in SETTINGS["contracts"] if one["type"] == kind)


def layered() -> set[str]:
    """The modules that the layers name: `a | b : c` are neighbours."""
    return {name.strip(" ()") for layer in contract("layers")["layers"] for name in re.split(r"[|:]", layer)}


def linted(folder: Path, config: str) -> subprocess.CompletedProcess[str]:
    command = [LINTER, "--config", folder / config, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_every_contract_is_kept() -> None:
    done = linted(ROOT, "pyproject.toml")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f"Contracts: {len(SETTINGS['contracts'])} kept, 0 broken." in said


def test_every_room_has_its_place_in_the_layers() -> None:
    rooms = {f"alerthub.{path.stem}" for path in PROGRAM.iterdir() if path.stem not in NOT_ROOMS}
    assert rooms - layered() == set()


def test_the_linter_sees_an_import_upward(tmp_path: Path) -> None:
    """The same program, on a small house with one wrong door."""
    house = tmp_path / "house"
    house.mkdir()
    for room, text in {"__init__": "", "cellar": "import house.roof\n", "roof": ""}.items():
        (house / f"{room}.py").write_text(text)
    (tmp_path / "setup.toml").write_text(
        '[tool.importlinter]\nroot_package = "house"\n[[tool.importlinter.contracts]]\n'
        'name = "down"\ntype = "layers"\nlayers = ["house.roof", "house.cellar"]\n')
    done = linted(tmp_path, "setup.toml")
    assert done.returncode == 1
    assert "house.cellar -> house.roof" in done.stdout
