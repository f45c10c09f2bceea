"""The command line: what is printed, and with which exit code; and `serve` as a process, from its start to its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from alerthub.cli import main
from alerthub.cli_base import reachable
from alerthub.config.model import host_and_port
from tests.kit.binaries import free_port, wait_until
from tests.kit.hub import PLAIN, ServedHub
from tests.kit.providers.http import FakeProvider
from tests.sources.contract import payload

SECRET = "whsec_" + "A" * 43 + "="
BODY = payload("alertmanager-01-firing-single.json")
ROUTED = """
receivers:
  - {name: everybody, console_configs: [{}]}
  - name: robots
    webhook_configs: [{url: "URL", secret: SECRET}]
targets: [{name: agent-btc, type: agent, url: "http://127.0.0.1:1"}]
actions: [{name: safe-mode, type: safe_mode, direction: tighten, target_label: agent}]
route:
  receiver: everybody
  routes:
    - {matchers: ['alertname="AgentRewardNegative"'], receiver: robots, actions: [safe-mode], continue: true}
    - {matchers: ['severity="critical"'], receiver: robots}
""".replace("SECRET", SECRET)
BAD = "receivers: [{name: a, console_configs: [{}]}]\nroute: {receiver: b}\nspeling: 1\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: empty, and of this test alone."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def alerthub(*arguments: str) -> Result:
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    return result


def written(text: str, name: str = "alerthub.yml") -> str:
    Path(name).write_text(text)
    return name


# -- check

def test_check_says_that_a_file_is_good() -> None:
    result = alerthub("check", written(PLAIN, "good.yml"))
    assert (result.exit_code, result.output) == (0, "good.yml: ok\n")


def test_check_says_every_mistake_with_its_place() -> None:
    result = alerthub("check", written(BAD, "bad.yml"))
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("bad.yml:2:19: there is no receiver `b`")
    assert lines[1].startswith("bad.yml:3:1: unknown key `speling`")


def test_check_for_a_machine() -> None:
    good, bad = alerthub("check", written(PLAIN, "good.yml"), "--json"), alerthub("check", written(BAD, "bad.yml"), "--json")
    assert (good.exit_code, json.loads(good.stdout)) == (0, {"ok": True, "problems": [], "warnings": []})
    told = json.loads(bad.stdout)
    assert (bad.exit_code, told["ok"]) == (1, False)
    assert [(problem["file"], problem["line"], problem["column"]) for problem in told["problems"]] == [
        ("bad.yml", 2, 19), ("bad.yml", 3, 1)]


@pytest.mark.parametrize("arguments", [["--config", "other.yml"], ["other.yml"], []])
def test_the_file_is_the_one_asked_for_or_the_one_here(arguments: list[str]) -> None:
    written(PLAIN, "other.yml" if arguments else "alerthub.yml")
    assert alerthub("check", *arguments).output == f"{'other.yml' if arguments else 'alerthub.yml'}: ok\n"


def test_the_environment_names_the_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERTHUB_CONFIG", written(PLAIN, "from-environment.yml"))
    assert alerthub("check").output == "from-environment.yml: ok\n"


def test_no_file_is_a_configuration_as_well() -> None:
    assert alerthub("check").output == "no file: the built-in configuration: ok\n"


@pytest.mark.parametrize(("text", "word"), [
    (None, "there is no such file"), ("", "the file is empty"), ("\x00", "odd.yml"), ("a: [", "odd.yml:2:1"),
    ("database: {url: 'postgresql://u:canary-pw@host:port/x'}" + PLAIN, "odd.yml:1:17: not an address"),
    ("database: {url: 'postgresql://u:canary pw@[::1/x'}" + PLAIN, "odd.yml:1:17: not an address"),
    ("runbooks: {folder: nowhere}" + PLAIN, "odd.yml:1:20: there is no such folder"),
])
@pytest.mark.parametrize("command", [
    ["check"], ["migrate"], ["routes", "test", "a=b"], ["send-test", "x"], ["serve"], ["replay"]])
def test_what_cannot_be_used_is_refused_by_every_command(command: list[str], text: str | None, word: str) -> None:
    if text is not None:
        written(text, "odd.yml")
    result = alerthub(*command, "--config", "odd.yml")
    assert result.exit_code == 1
    assert word in result.stderr
    assert "canary" not in result.output
    assert "Traceback" not in result.output


# -- routes test

def test_routes_test_shows_who_would_hear_and_what_would_be_done() -> None:
    written(ROUTED.replace("URL", "http://127.0.0.1:1/hook"))
    result = alerthub("routes", "test", "alertname=AgentRewardNegative", 'severity="critical"', "agent=agent-btc")
    assert result.exit_code == 0
    first, second, third = result.stdout.splitlines()
    assert "receiver robots -> webhook:127.0.0.1:1/" in first
    assert first.endswith("; actions safe-mode")
    assert "receiver robots" in second
    assert third.startswith("runbook: ")
    assert "runbook: none" not in third
    assert "receiver everybody -> console:stdout" in alerthub("routes", "test", "alertname=Else").stdout


def test_routes_test_names_the_escalation_policy() -> None:
    written("""
receivers: [{name: everybody, console_configs: [{}]}]
people: [{name: nora}]
escalation_policies: [{name: night, steps: [{notify: [nora]}]}]
route: {receiver: everybody, routes: [{matchers: ['severity="critical"'], receiver: everybody, escalation_policy: night}]}
""")
    grave, calm = (alerthub("routes", "test", f"severity={severity}").stdout for severity in ("critical", "info"))
    assert grave.splitlines()[0].endswith("receiver everybody -> console:stdout; escalation policy night")
    assert "escalation policy" not in calm


def test_routes_test_for_a_machine() -> None:
    written(ROUTED.replace("URL", "http://127.0.0.1:1/hook"))
    told = json.loads(alerthub("routes", "test", "--json", "alertname=AgentRewardNegative", "agent=x=y").stdout)
    assert told["labels"] == {"alertname": "AgentRewardNegative", "agent": "x=y"}
    assert [(route["receiver"], route["actions"], route["muted_now"]) for route in told["routes"]] == [
        ("robots", ["safe-mode"], False)]


@pytest.mark.parametrize("arguments", [
    ["routes", "test"], ["routes", "test", "alertname"], ["routes", "test", "=x"], ["routes"], ["nonsense"],
    ["serve", "--speling"], ["send-test"], ["check", "a", "b"], ["demo", "--port", "x"],
    ["replay", "--lane", "x"], ["replay", "--lane", "-1"],
])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    result = alerthub(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_help_and_version() -> None:
    assert alerthub("--help").exit_code == alerthub("-h").exit_code == 0
    assert alerthub("--version").output.startswith("alerthub ")


def test_no_help_speaks_in_rule_numbers() -> None:
    def words(command: click.Command) -> Iterator[str]:
        yield f"{command.help} {[getattr(one, 'help', '') for one in command.params]}"
        for inner in getattr(command, "commands", {}).values():
            yield from words(inner)

    told = list(words(main))
    assert len(told) > 25
    assert [text for text in told if re.search(r"\b[RF]-?[0-9]", text)] == []


# -- schema

def test_the_schema_is_one_and_takes_what_check_takes() -> None:
    schema = json.loads(alerthub("schema").stdout)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    good = {"receivers": [{"name": "a", "console_configs": [{}]}], "route": {"receiver": "a"}}
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, "speling": 1})
    assert not validator.is_valid({"route": {"receiver": "a"}})


def test_the_schema_takes_a_configuration_file_like_every_command() -> None:
    assert alerthub("schema", "--config", written(PLAIN)).stdout == alerthub("schema").stdout


# -- send-test

async def asked(*arguments: str) -> Result:
    return await asyncio.to_thread(alerthub, *arguments)


@pytest.mark.anyio
async def test_send_test_sends_one_message_to_each_destination() -> None:
    async with FakeProvider() as provider:
        written(ROUTED.replace("URL", f"{provider.url}/hook"))
        result = await asked("send-test", "robots")
        assert (result.exit_code, len(provider.requests)) == (0, 1)
        assert result.stdout.endswith(": sent\n")
        told = provider.last.json()
        assert told["type"] == "test"
        assert "Nothing is wrong" in json.dumps(told)
        spoken = await asked("send-test", "everybody")
        assert spoken.exit_code == 0
        assert "Test message from AlertHub" in spoken.stdout


@pytest.mark.anyio
async def test_send_test_says_what_went_wrong() -> None:
    async with FakeProvider() as provider:
        written(ROUTED.replace("URL", f"{provider.url}/hook"))
        provider.script(503, times=2)
        result = await asked("send-test", "robots")
        assert (result.exit_code, "unavailable: HTTP 503" in result.stdout) == (1, True)
        (told,) = json.loads((await asked("send-test", "robots", "--json")).stdout)
        assert (told["destination"].partition(":")[0], told["error"]) == ("webhook", "unavailable: HTTP 503")
    refused = await asked("send-test", "robots")
    assert (refused.exit_code, "no connection" in refused.stdout) == (1, True)


def test_send_test_knows_its_receivers() -> None:
    written(PLAIN)
    result = alerthub("send-test", "nobody")
    assert (result.exit_code, result.stderr) == (1, "alerthub: there is no receiver 'nobody'; known are console\n")


# -- migrate

def test_migrate_makes_the_database_once() -> None:
    written(f"database: {{url: 'sqlite:///mine.db'}}\n{PLAIN}")
    first, second = alerthub("migrate"), alerthub("migrate")
    assert first.exit_code == second.exit_code == 0
    assert first.output == second.output
    assert first.output.startswith("database is at revision ")
    assert Path("mine.db").stat().st_size > 0
    told = json.loads(alerthub("migrate", "--json").stdout)
    assert first.output == f"database is at revision {told['revision']}\n"


@pytest.mark.parametrize("url", ["sqlite:///nowhere/x.db", "sqlite:////proc/x.db", "postgresql://u:canary-pw@127.0.0.1:1/x"])
def test_a_database_that_cannot_be_opened_is_said_plainly(url: str) -> None:
    written(f"database: {{url: '{url}'}}\n{PLAIN}")
    for command in ("migrate", "serve"):
        result = alerthub(command)
        assert (result.exit_code, result.stderr.startswith("alerthub: ")) == (1, True)
        assert "canary" not in result.output


# -- replay

TOKEN = "a-token-of-the-api"


def dead_letters(folder: Path) -> int:
    """Make every lane of the stopped hub one that was given up; how many there are."""
    with sqlite3.connect(folder / "alerthub.db") as database:
        count = database.execute("UPDATE lanes SET is_dead = 1, due_at = NULL").rowcount
    database.close()
    return count


@pytest.mark.slow
@pytest.mark.parametrize("token", ["", TOKEN], ids=["open", "with a token"])
def test_replay_asks_the_running_hub(token: str) -> None:
    def said(*arguments: str) -> Result:
        return alerthub("replay", "--config", str(hub.folder / "alerthub.yml"), *arguments)

    def listed(query: str) -> list[dict[str, Any]]:
        bearer = {"authorization": f"Bearer {token}"} if token else {}
        answer = httpx.get(f"{hub.url}/api/v1/deliveries?{query}", headers=bearer, trust_env=False)
        return list(answer.json()["items"])

    hub = ServedHub()
    more = f", api_token: {token}" if token else ""
    (hub.folder / "alerthub.yml").write_text(f"server: {{listen: '127.0.0.1:{hub.port}'{more}}}\n{PLAIN}")
    with hub:
        assert post(hub.url) == 200
        wait_until(lambda: len(listed("state=sent")) == 1, 10, "it is told")
        hub.stop()
        assert dead_letters(hub.folder) == 1
        hub.start()
        first = said("--json")
        assert (first.exit_code, json.loads(first.stdout)) == (0, {"replayed": 1}), first.output
        assert said().stdout == "0 lanes will be told again\n"
        refused = said("--lane", "999")
        assert (refused.exit_code, refused.stderr) == (
            1, "alerthub: lane '999' holds no dead letter\n")


def test_replay_needs_a_running_hub() -> None:
    address = f"127.0.0.1:{free_port()}"
    written(f"server: {{listen: '{address}'}}\n{PLAIN}")
    why = f"no hub answers on {address}; start it with alerthub serve"
    for arguments in ([], ["--lane", "1"]):
        result = alerthub("replay", *arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"alerthub: {why}\n")
    result = alerthub("replay", "--json")
    assert (result.exit_code, json.loads(result.stdout), result.stderr) == (1, {"error": why}, "")


@pytest.mark.anyio
async def test_replay_takes_no_other_program_for_the_hub() -> None:
    async with FakeProvider() as provider:
        address = provider.url.removeprefix("http://")
        written(f"server: {{listen: '{address}'}}\n{PLAIN}")
        result = await asked("replay")
    assert (result.exit_code, result.stderr) == (1, f"alerthub: what answers on {address} is not alerthub\n")


@pytest.mark.parametrize(("listen", "address"), [
    ("127.0.0.1:8095", "127.0.0.1:8095"), ("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("[::1]:80", "[::1]:80"),
    ("10.0.0.1:80", "10.0.0.1:80"), ("hub.example.com:80", "hub.example.com:80"), ("localhost:80", "localhost:80"),
])
def test_a_hub_on_all_addresses_is_asked_on_this_machine(listen: str, address: str) -> None:
    assert reachable(*host_and_port(listen)) == address


# -- serve, as a process

@pytest.fixture
def served() -> Iterator[ServedHub]:
    with ServedHub(PLAIN) as hub:
        yield hub


def post(url: str, source: str = "alertmanager", body: bytes = BODY) -> int:
    return httpx.post(f"{url}/hooks/{source}", content=body, timeout=10, trust_env=False).status_code


def ended(hub: ServedHub, number: signal.Signals) -> tuple[int, float]:
    """The exit code after the signal, and how long it took."""
    assert hub.process is not None
    began = time.monotonic()
    hub.process.send_signal(number)
    return hub.process.wait(40), time.monotonic() - began


def second(folder: Path, config: str) -> subprocess.CompletedProcess[str]:
    """Another `serve`, which is expected to end by itself."""
    (folder / "second.yml").write_text(config)
    command = [sys.executable, "-m", "alerthub", "serve", "--config", "second.yml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_in_good_order(served: ServedHub, number: signal.Signals) -> None:
    with httpx.Client(base_url=served.url, trust_env=False) as client:      # whose connection stays open
        assert client.post("/hooks/alertmanager", content=BODY).status_code == 200
        code, seconds = ended(served, number)
    assert (code, seconds < 5) == (0, True), served.logs()
    assert "alerthub has stopped" in served.logs()
    assert "Traceback" not in served.logs()


@pytest.mark.slow
@pytest.mark.parametrize("is_json", [False, True])
def test_the_greeting_is_a_line_of_the_log_like_any_other(is_json: bool) -> None:
    more = f"log: {{format: {'json' if is_json else 'text'}}}\npeople: [{{name: nora}}]\n" \
        "escalation_policies: [{name: e, steps: [{notify: [nora]}]}]\n"
    with ServedHub(more + PLAIN) as hub:
        lines = hub.logs().splitlines()
        (greeting,) = [line for line in lines if "alerthub listens on" in line]
        (warning,) = [line for line in lines if "nora may be called" in line]
        assert hub.url in greeting
    if is_json:
        assert [json.loads(line)["event"] for line in (greeting, warning)] == ["hub.listening", "config.warning"]
        assert all(json.loads(line)["message"] for line in lines)
    else:
        assert greeting.endswith("event=hub.listening")


@pytest.mark.slow
def test_what_was_stored_is_there_after_a_restart(served: ServedHub) -> None:
    assert post(served.url) == 200
    served.kill()
    served.start()
    (incident,) = httpx.get(f"{served.url}/api/v1/incidents", trust_env=False).json()["items"]
    assert incident["number"] == 1


@pytest.mark.slow
def test_sighup_reads_the_configuration_again_and_delays_no_stop(served: ServedHub) -> None:
    assert served.process is not None
    assert post(served.url, "later") == 401
    served.configure(PLAIN.replace("name: generic", "name: later"))
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: post(served.url, "later", b'{"name": "X"}') == 200, 10, "the new source answers")
    served.configure("speling: 1")
    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "the old one stays" in served.logs(), 10, "the bad file is refused")
    assert "speling" in served.logs()
    assert post(served.url, "later", b'{"name": "X"}') == 200
    code, seconds = ended(served, signal.SIGTERM)
    assert (code, seconds < 5) == (0, True), served.logs()


@pytest.mark.slow
def test_an_occupied_port_is_said_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        done = second(tmp_path, f"server: {{listen: '{address}'}}\n{PLAIN}")
    assert done.returncode == 1
    assert f"alerthub: cannot listen on {address}" in done.stderr
    assert "alerthub listens on" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_second_hub_on_the_same_file_is_refused_plainly(served: ServedHub) -> None:
    done = second(served.folder, f"server: {{listen: '127.0.0.1:{free_port()}'}}\n{PLAIN}")
    assert done.returncode == 1
    assert "alerthub.db is in use by another alerthub" in done.stderr
    assert "Traceback" not in done.stderr
    assert post(served.url) == 200


@pytest.mark.slow
def test_over_a_real_connection_nothing_is_redirected_and_a_large_body_gets_its_answer() -> None:
    limited = ServedHub()
    (limited.folder / "alerthub.yml").write_text(
        f"server: {{listen: '127.0.0.1:{limited.port}', max_body_size: 1MiB}}\n{PLAIN}")
    with limited, httpx.Client(base_url=limited.url, trust_env=False) as client:
        for method, path, status in (("POST", "/hooks/alertmanager/", 200), ("POST", "//hooks/alertmanager", 404),
                                     ("GET", "/hooks/alertmanager", 405), ("HEAD", "/hooks/alertmanager", 405),
                                     ("OPTIONS", "/hooks/alertmanager", 405)):
            assert client.request(method, limited.url + path, content=BODY if method == "POST" else None).status_code == status
        for body in (b"x" * 5_000_000, (b"x" * 65536 for _ in range(80))):
            assert client.post("/hooks/alertmanager", content=body).status_code == 413
        with socket.create_connection(("127.0.0.1", limited.port)) as gone:
            gone.sendall(b"POST /hooks/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert client.post("/hooks/alertmanager", content=BODY).status_code == 200
        titles = [incident["title"] for incident in client.get("/api/v1/incidents").json()["items"]]
        assert sum("larger than 1024 KiB" in title for title in titles) == 1
        assert "Traceback" not in limited.logs()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.slow
def test_without_any_configuration_an_alert_is_on_the_console_and_on_the_page() -> None:
    if not is_free(8095) and os.environ.get("CI") != "true":
        pytest.skip("somebody uses port 8095, which a hub without a configuration listens on")
    wait_until(lambda: is_free(8095), 60, "nobody uses port 8095")
    hub = ServedHub(None)
    hub.port = 8095
    with hub:
        assert post(hub.url) == 200
        alert: dict[str, Any] = json.loads(BODY)["alerts"][0]
        name = alert["labels"]["alertname"]
        wait_until(lambda: "[FIRING]" in hub.logs(), 10, "the message is on the console")
        assert name in hub.logs()
        assert name in httpx.get(f"{hub.url}/", trust_env=False).text
        assert (hub.folder / "alerthub.db").exists()
        assert f"alerthub listens on {hub.url}" in hub.logs()
