"""`alerthub actions`, `approve`, `latches`, `release`, `freeze` from a terminal: by whom, what is printed, which exit code."""

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
from tests.kit.alerts import batch, firing
from tests.kit.binaries import free_port
from tests.kit.clock import FakeClock
from tests.kit.hub import running_hub
from tests.kit.served import served

AYSE, ADA = "own-token-of-ayse-0001", "own-token-of-ada-00001"
CONFIG = f"""
sources: [{{name: alertmanager, type: alertmanager}}]
people:
  - {{name: ayse, role: ml, api_token: {AYSE}}}
  - {{name: ada, role: admin, api_token: {ADA}}}
receivers: [{{name: console, console_configs: [{{}}]}}]
targets:
  - {{name: drl, type: http, url: "http://127.0.0.1:9/"}}
  - {{name: "agent btc/1", type: agent, url: "http://127.0.0.1:9/"}}
actions:
  - {{name: retrain, type: http, target: drl, approve: {{role: ml, count: 2, within: 15m}}}}
  - {{name: scale, type: http, target: drl, mode: shadow}}
  - {{name: safe-mode, type: safe_mode, direction: tighten, target_label: agent}}
route:
  receiver: console
  group_by: [alertname]
  routes:
    - {{matchers: ['alertname="Drift"'], actions: [retrain, scale]}}
    - {{matchers: ['alertname="Reward"'], actions: [safe-mode]}}
"""


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    """A hub in which a run waits, one would have been run, and a target is latched."""
    clock = FakeClock()
    async with running_hub(CONFIG, clock=clock) as running:
        await running.hub.take(batch(firing("Drift"), at=clock.now()))
        await running.drain()
        await running.hub.take(batch(firing("Reward", agent="agent btc/1"), at=clock.now()))
        await running.drain()       # the agent is not there: it stays unconfirmed, and nothing is under way
        server = uvicorn.Server(uvicorn.Config(running.hub.web(), port=port, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0)
        yield
        server.should_exit = True
        await serving


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, path = free_port(), tmp_path_factory.mktemp("cli") / "alerthub.yml"
    path.write_text(f"server: {{listen: '127.0.0.1:{port}'}}\n{CONFIG}")
    with served(listening(port)):
        yield str(path)


def alerthub(config: str, *arguments: str, token: str = "") -> Result:
    result = CliRunner(env={"ALERTHUB_TOKEN": token}).invoke(main, [*arguments, "--config", config])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert AYSE not in result.output
    return result


def printed(config: str, *arguments: str, code: int = 0, token: str = "") -> Any:
    result = alerthub(config, *arguments, "--json", token=token)
    assert (result.exit_code, result.stderr) == (code, ""), result.output
    return json.loads(result.stdout)


def code_of(config: str) -> str:
    (run,) = printed(config, "actions", "--state", "awaiting_approval")["items"]
    return str(run["id"])[-12:]


def test_what_waits_is_listed_with_its_code(config: str) -> None:
    lines = [line.partition(" UTC ")[2] for line in alerthub(config, "actions").stdout.splitlines()]
    assert f"retrain on drl: awaiting approval (code {code_of(config)})" in lines
    assert "scale on drl: refused (shadow)" in lines
    assert alerthub(config, "actions", "--state", "succeeded").stdout == "No action has been run.\n"
    assert alerthub(config, "actions", "--state", "nonsense").exit_code == 2


def test_the_hits_of_shadow_mode_are_counted(config: str) -> None:
    assert alerthub(config, "actions", "--shadow").stdout.startswith("1 hit: scale on drl (last ")
    (hit,) = printed(config, "actions", "--shadow")["hits"]
    assert (hit["action"], hit["target"], hit["count"]) == ("scale", "drl", 1)


def test_an_approval_needs_a_token_of_ones_own(config: str, tmp_path: Path) -> None:
    code = code_of(config)
    nobody = alerthub(config, "approve", code)
    assert (nobody.exit_code, "An approval needs a person" in nobody.stderr) == (1, True)
    assert printed(config, "approve", code, code=1)["status"] == 403
    assert printed(config, "approve", code, code=1, token=ADA)["status"] == 403
    told = alerthub(config, "approve", code, token=AYSE)
    assert (told.exit_code, told.stdout) == (0, "You agree to retrain on drl: 1 more of ml must agree.\n")
    file = tmp_path / "token"
    file.write_text(f"{AYSE}\n")
    assert printed(config, "approve", code, "--token-file", str(file))["outcome"] == "already"
    assert alerthub(config, "deny", "0" * 12, token=AYSE).exit_code == 1
    file.write_text("")
    assert "is empty" in alerthub(config, "approve", code, "--token-file", str(file)).stderr
    assert alerthub(config, "approve", code, "--token-file", str(tmp_path / "none")).exit_code == 2
    assert "no header can hold" in alerthub(config, "approve", code, token="\u015fifre\u015fifre").stderr


def test_a_latched_target_is_listed_and_overridden_by_an_admin_with_a_reason(config: str) -> None:
    line = alerthub(config, "latches").stdout
    assert line.startswith("agent btc/1: safe since ")
    assert "because of #2; not to be released yet: #2, which latched it, is still open" in line
    asked = alerthub(config, "release", "agent btc/1", "--why", "over", token=AYSE)
    assert (asked.exit_code, "is still open" in asked.stderr) == (1, True)
    assert alerthub(config, "release", "agent btc/1", "--override").exit_code == 2
    assert printed(config, "release", "agent btc/1", "--override", "--why", "x", code=1, token=AYSE)["status"] == 403
    assert printed(config, "release", "agent btc/1", "--override", "--why", "false", token=ADA)["number"] == 2
    assert "releasing" in alerthub(config, "latches").stdout


def test_a_freeze_is_put_by_anybody_and_lifted_by_a_person(config: str) -> None:
    assert alerthub(config, "freeze").exit_code == 2
    assert "retrain is frozen" in alerthub(config, "freeze", "retrain", "--why", "strange").stdout
    assert "needs a person" in alerthub(config, "unfreeze", "retrain").stderr
    assert alerthub(config, "unfreeze", "retrain", token=AYSE).exit_code == 1
    assert alerthub(config, "unfreeze", "retrain", token=ADA).exit_code == 0
    assert alerthub(config, "unfreeze", "retrain", token=ADA).exit_code == 1


# -- a code for whose word decides

def test_a_code_for_whose_word_decides_takes_a_persons_token(config: str, tmp_path: Path) -> None:
    nobody = alerthub(config, "link", "ayse")
    assert nobody.exit_code == 1
    assert "give their account in `people`, or let an admin make the code" in nobody.stderr
    assert printed(config, "link", "ayse", code=1)["status"] == 403
    file = tmp_path / "token"
    file.write_text(f"{ADA}\n")
    for made in (alerthub(config, "link", "ayse", token=AYSE), alerthub(config, "link", "ayse", "--token-file", str(file))):
        assert (made.exit_code, "ayse sends it within 15 minutes" in made.stdout) == (0, True)
    assert alerthub(config, "link", "ada", token=AYSE).exit_code == 1
