"""`alerthub silence`: asks the running hub, says what it did, and what would be right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from alerthub.cli_silence import silence
from tests.kit.hub import PLAIN, ServedHub

TOKEN = "canary-token-of-the-api"


@pytest.fixture(scope="module", params=["", TOKEN], ids=["open", "with a token"])
def hub(request: pytest.FixtureRequest) -> Iterator[ServedHub]:
    running = ServedHub(None)
    token = f", api_token: {request.param}" if request.param else ""
    (running.folder / "alerthub.yml").write_text(f"server: {{listen: '127.0.0.1:{running.port}'{token}}}\n{PLAIN}")
    with running:
        yield running


def said(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(silence, [*arguments, "--config", str(folder / "alerthub.yml")])


@pytest.mark.slow
def test_add_list_and_expire_ask_the_running_hub(hub: ServedHub) -> None:
    def ask(*arguments: str) -> Any:
        result = said(hub.folder, *arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    made = ask("add", 'alertname="DiskFull"', 'host=~"db-.*"', "--for", "4h", "--comment", "swap", "--by", "ayse")
    assert (made["matchers"], made["created_by"], made["comment"]) == (
        ['alertname="DiskFull"', 'host=~"db-.*"'], "ayse (API)", "swap")
    assert ask("list") == {"items": [made]}
    (line,) = said(hub.folder, "list").stdout.splitlines()
    until = made["ends_at"][:16].replace("T", " ")
    assert line == f'#{made["number"]} active until {until} UTC by ayse (API) {{alertname="DiskFull", host=~"db-.*"}}: swap'
    ended = said(hub.folder, "expire", f"#{made['number']}")
    assert ended.stdout.startswith(f"#{made['number']} ended at 2")
    assert ended.stdout.endswith(' UTC, made by ayse (API) {alertname="DiskFull", host=~"db-.*"}: swap\n')
    assert said(hub.folder, "list").stdout == "no silence\n"
    assert [one["number"] for one in ask("list", "--state", "expired")["items"]] == [made["number"]]


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "word"), [
    (["expire", "999"], "alerthub: there is no silence '999'"),
    (["add", 'a=~".*"'], "cover everything"),
])
def test_what_the_hub_refuses_is_said_plainly(hub: ServedHub, arguments: list[str], word: str) -> None:
    result = said(hub.folder, *arguments)
    assert result.exit_code == 1
    assert word in result.stderr
    assert "Traceback" not in result.output
    assert TOKEN not in result.output


@pytest.mark.parametrize("arguments", [
    [], ["add"], ["add", "alertname"], ["add", 'a=~"("'], ["list", "--state", "open"], ["expire"], ["expire", "0"],
    ["expire", "x"], ["add", 'a="x"', "--for", "yesterday"], ["add", 'a="x"', "--for", "soon"], ["add", 'a="x"', "--for", "0m"]])
def test_wrong_usage_is_2(tmp_path: Path, arguments: list[str]) -> None:
    result = said(tmp_path, *arguments) if arguments else CliRunner().invoke(silence, ["--nonsense"])
    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_a_wrong_word_for_the_end_says_what_is_right(tmp_path: Path) -> None:
    stderr = said(tmp_path, "add", 'a="x"', "--for", "yesterday").stderr
    assert "'yesterday' is not an end of a silence; write a time span such as 1h, 4h or 2d" in stderr


def test_it_needs_a_running_hub(tmp_path: Path) -> None:
    (tmp_path / "alerthub.yml").write_text(f"server: {{listen: '127.0.0.1:1'}}\n{PLAIN}")
    for arguments in (["list"], ["add", 'a="x"'], ["expire", "1"]):
        result = said(tmp_path, *arguments)
        assert result.exit_code == 1
        assert "no hub answers on 127.0.0.1:1; start it with alerthub serve" in result.stderr
