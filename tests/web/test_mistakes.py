"""`check`, a start and a reload tell every mistake of a file in one answer, also those that only construction finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from alerthub.cli import main
from tests.kit.hub import RunningHub
from tests.unit.test_config_construction import ALL_AT_ONCE

pytestmark = pytest.mark.anyio

PLACES = ["1:1", "5:5", "6:12", "7:11", "9:21", "12:5", "13:24", "14:11", "17:62", "19:35", "20:22"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "bad.yml").write_text(ALL_AT_ONCE.lstrip())
    return tmp_path / "bad.yml"


@pytest.mark.parametrize("command", [["check"], ["serve", "--config"], ["migrate", "--config"], ["send-test", "a", "--config"]])
def test_every_command_that_reads_the_file_tells_them_all(file: Path, command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, str(file)])
    assert result.exit_code == 1
    assert [line.removeprefix(f"{file}:").partition(": ")[0] for line in result.stderr.splitlines()] == PLACES


def test_a_machine_is_told_them_all(file: Path) -> None:
    told = json.loads(CliRunner().invoke(main, ["check", "--json", str(file)]).stdout)
    assert [f"{problem['line']}:{problem['column']}" for problem in told["problems"]] == PLACES


async def test_a_reload_tells_them_all_and_changes_nothing(hub: RunningHub) -> None:
    before = hub.hub.equipment
    hub.path.write_text(ALL_AT_ONCE.lstrip())
    answer = await hub.client.post("/api/v1/reload")
    assert answer.status_code == 422
    for place in PLACES:
        assert f"{hub.path}:{place}: " in answer.json()["detail"]
    assert hub.hub.equipment is before
