"""`alerthub people` and `alerthub token`: what is printed, and that whoever runs the hub is never locked out of it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from click.testing import CliRunner, Result

from alerthub.cli import main
from tests.kit.binaries import LOCAL, free_port
from tests.kit.hub import PLAIN, running_hub
from tests.kit.served import served
from tests.kit.visitors import cheap

OWN = "own-token-of-the-root-1"
PEOPLE = f"people: [{{name: root, role: admin, api_token: {OWN}}}, {{name: mehmet, role: viewer}}]\n"


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    server = f"server: {{listen: '127.0.0.1:{port}', api_token: the-token-of-the-api}}\n"
    async with running_hub(f"{server}{PLAIN}{PEOPLE}") as running:
        cheap(running)
        serving_at = uvicorn.Server(uvicorn.Config(running.hub.web(), port=port, log_config=None, lifespan="off"))
        serving = asyncio.create_task(serving_at._serve())
        while not serving_at.started:
            await asyncio.sleep(0)
        yield
        serving_at.should_exit = True
        await serving


@pytest.fixture
def config(tmp_path: Path) -> Iterator[str]:
    port, path = free_port(), tmp_path / "alerthub.yml"
    path.write_text(f"server: {{listen: '127.0.0.1:{port}', api_token: the-token-of-the-api}}\n"
                    f"database: {{url: 'sqlite:///{tmp_path}/other.db'}}\n{PLAIN}{PEOPLE}")
    with served(listening(port)):
        yield str(path)


def alerthub(config: str, *arguments: str, token: str = "") -> Result:
    result = CliRunner().invoke(main, [*arguments, "--config", config], env={"ALERTHUB_TOKEN": token})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def test_people_are_added_listed_and_disabled(config: str) -> None:
    added = alerthub(config, "people", "add", "mehmet")
    assert added.exit_code == 0, added.output
    (link,) = re.findall(r"http://\S+/invited/[\w-]+", added.stdout)
    assert httpx.get(link, **LOCAL).status_code == 200
    refused = alerthub(config, "people", "add", "boss", "--role", "admin")
    assert (refused.exit_code, "only an admin's own log-in or token" in refused.stderr) == (1, True)
    assert alerthub(config, "people", "add", "boss", "--role", "admin", token=OWN).exit_code == 0
    assert alerthub(config, "people", "list").stdout.splitlines() == [
        "boss  admin  no password", "mehmet  viewer (configuration)  no password"]
    assert alerthub(config, "people", "disable", "boss", token=OWN).stdout == "boss is disabled\n"
    assert alerthub(config, "people", "link", "boss", token=OWN).exit_code == 1
    assert alerthub(config, "people", "enable", "boss", token=OWN).exit_code == 0
    assert json.loads(alerthub(config, "people", "list", "--json").stdout)["items"][0]["is_disabled"] is False


def test_tokens_are_made_listed_and_revoked(config: str) -> None:
    made = alerthub(config, "token", "add", "deploys", "--scope", "respond", "--lasts", "1d", token=OWN)
    secret = made.stdout.splitlines()[0]
    assert secret.startswith("aht_")
    assert alerthub(config, "token", "list", token=secret).stdout.startswith("1  root  deploys  view respond  until ")
    assert alerthub(config, "token", "add", "bot", "--service").exit_code == 0
    assert alerthub(config, "token", "revoke", "1", token=OWN).stdout == "token 1 works no more\n"
    assert alerthub(config, "list", token=secret).exit_code == 1


def test_without_a_hub_a_link_is_made_in_the_database(tmp_path: Path) -> None:
    path = tmp_path / "alerthub.yml"
    path.write_text(f"server: {{listen: '127.0.0.1:1'}}\ndatabase: {{url: 'sqlite:///{tmp_path}/hub.db'}}\n{PLAIN}{PEOPLE}")
    assert "/invited/" in alerthub(str(path), "people", "add", "boss", "--role", "admin").stdout
    assert "/invited/" in alerthub(str(path), "people", "link", "root").stdout
    assert alerthub(str(path), "people", "add", "root", "--role", "viewer").exit_code == 1
