"""`alerthub list`, `who` and the answers from a terminal: what is printed, to people and to machines, with which exit code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from click.testing import CliRunner, Result

from alerthub.cli import main
from alerthub.cli_base import user
from alerthub.cli_people import state_of
from tests.kit.alerts import batch, firing
from tests.kit.binaries import free_port
from tests.kit.clock import FakeClock
from tests.kit.hub import PLAIN, running_hub
from tests.kit.served import served


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    """A hub at that port with three incidents: a warning, a critical one, and a newer warning."""
    clock = FakeClock()
    async with running_hub(PLAIN, clock=clock) as running:
        for name, severity in (("CpuHot", "warning"), ("DiskFull", "critical"), ("Slow", "warning")):
            await running.hub.take(batch(firing(name, severity=severity), at=clock.now()))
        server = uvicorn.Server(uvicorn.Config(running.hub.web(), port=port, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0)
        yield
        server.should_exit = True
        await serving


@pytest.fixture
def config(tmp_path: Path) -> Iterator[str]:
    port, path = free_port(), tmp_path / "alerthub.yml"
    path.write_text(f"server: {{listen: '127.0.0.1:{port}'}}\n{PLAIN}")
    with served(listening(port)):
        yield str(path)


def alerthub(config: str, *arguments: str) -> Result:
    result = CliRunner().invoke(main, [*arguments, "--config", config])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def printed(config: str, *arguments: str, code: int = 0) -> Any:
    result = alerthub(config, *arguments, "--json")
    assert (result.exit_code, result.stderr) == (code, ""), result.output
    return json.loads(result.stdout)


def test_list_shows_the_gravest_first_and_who_has_it(config: str) -> None:
    taken = alerthub(config, "ack", "#3")
    assert (taken.exit_code, taken.stderr) == (0, "")
    items = printed(config, "list")["items"]
    has = items[1]["acknowledged_by"]
    assert has.startswith(user())
    assert [(item["number"], item["severity"], item["acknowledged_by"]) for item in items] == [
        (2, "critical", ""), (3, "warning", has), (1, "warning", "")]
    assert alerthub(config, "list").stdout.splitlines() == [
        "#2 critical, nobody has it: DiskFull",
        f"#3 warning, {has} has it since 03:00 UTC: Slow",
        "#1 warning, nobody has it: CpuHot"]
    assert [alerthub(config, "resolve", number, "--force").exit_code for number in "123"] == [0, 0, 0]
    assert alerthub(config, "list").stdout == "Nothing is open.\n"
    assert printed(config, "list") == {"items": []}


def test_who_says_who_has_one_and_unack_gives_it_back(config: str) -> None:
    assert alerthub(config, "ack", "2").exit_code == 0
    has = printed(config, "who", "2")["acknowledged_by"]
    assert has.startswith(user())
    assert alerthub(config, "who", "#2").stdout == f"#2 critical, {has} has it since 03:00 UTC: DiskFull\n"
    assert alerthub(config, "unack", "#2").exit_code == 0
    assert alerthub(config, "who", "2").stdout == "#2 critical, nobody has it: DiskFull\n"
    assert alerthub(config, "silence", "add", 'alertname="DiskFull"').exit_code == 0
    assert alerthub(config, "who", "2").stdout == "#2 critical, silenced: DiskFull\n"


@pytest.mark.parametrize(("changes", "state"), [
    ({"status": "acknowledged", "acknowledged_by": "ayse", "silence_id": "x"}, "ayse has it, silenced"),
    ({"flaps": 6}, "nobody has it, flapping"), ({"is_silenced": True, "flaps": 6}, "silenced, flapping"),
    ({"status": "resolved", "flaps": 6}, "resolved"),
])
def test_several_things_are_said_together(changes: dict[str, Any], state: str) -> None:
    item = {"status": "triggered", "acknowledged_by": "", "acknowledged_at": None, "silence_id": "", "is_silenced": False,
            "flaps": 0}
    assert state_of({**item, **changes}) == state


def test_what_is_held_says_how_to_insist(config: str) -> None:
    held = alerthub(config, "resolve", "#2")
    assert (held.exit_code, held.stdout) == (1, "")
    assert held.stderr.startswith("alerthub: 1 alert still fires at alertmanager")
    assert held.stderr.endswith(" To do so: alerthub resolve 2 --force\n")
    told = printed(config, "resolve", "2", code=1)
    assert (told["status"], told["outcome"], "--force" in told["error"]) == (409, "held", True)
    assert alerthub(config, "resolve", "2", "--force").exit_code == 0


def test_a_refusal_is_the_hub_s_own_sentence(config: str) -> None:
    for command in ("ack", "who", "escalate"):
        result = alerthub(config, command, "99")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.lower().startswith("alerthub: there is no incident ")
        told = printed(config, command, "99", code=1)
        assert told["status"] == 404
        assert told["error"].lower().startswith("there is no incident ")


@pytest.mark.parametrize("number", ["0", "-1", "x", "#", "##2", "²", "2.0", "9" * 16, ""])
@pytest.mark.parametrize("command", ["ack", "unack", "who", "resolve", "escalate"])
def test_what_is_no_number_is_wrong_usage(command: str, number: str) -> None:
    result = CliRunner().invoke(main, [command, "--", number])
    assert (result.exit_code, "Usage:" in result.stderr) == (2, True)
    assert "is not a number; write it like 17 or '#17'" in result.stderr


def test_without_a_hub_a_machine_is_told_so_too(tmp_path: Path) -> None:
    path = tmp_path / "alerthub.yml"
    path.write_text(f"server: {{listen: '127.0.0.1:1'}}\n{PLAIN}")
    for arguments in (["list"], ["who", "1"], ["ack", "1"]):
        assert "no hub answers on 127.0.0.1:1" in printed(str(path), *arguments, code=1)["error"]
    path.write_text("speling: 1\n" + PLAIN)
    assert "unknown key `speling`" in printed(str(path), "list", code=1)["error"]
