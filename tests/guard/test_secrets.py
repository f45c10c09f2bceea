"""No secret in any output (R-50): a hub with a different canary in every place that takes a secret, good days and bad ones, and
counterparts that repeat in their refusals all that they were sent."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sqlite3
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx
import pytest
from click.testing import CliRunner

from alerthub import log
from alerthub.app import Hub
from alerthub.cli import main
from alerthub.config import load
from tests.kit.hub import RunningHub, StoreSeam, running_hub
from tests.kit.providers.http import Answer, FakeProvider, Request
from tests.kit.providers.smtp import FakeSmtp
from tests.kit.stores import database
from tests.sources.contract import payload

pytestmark = pytest.mark.anyio


def whsec(number: int) -> str:
    return "whsec_" + b64encode(bytes(range(number, number + 32))).decode()


# One for every place. Each can be told from the others, so that a failure names what leaks.
CANARIES = {
    "api_token": "canary-api+token/5GQ0", "am_token": "canary-am+token/8ZK1", "am_token_previous": "canary-am-old/3JU7",
    "login_password": "canary-pässword&1/QW", "hmac_secret": "canary-hmac-secret/+7",
    "reconcile_password": "canary-reconcile?pw=4", "slack_bot_token": "xoxb-canary-111-222-bot",
    "slack_signing": "canary-slack-signing-9", "slack_app_token": "xapp-canary-1-app",
    "slack_hook": "T000/B000/canary-slack-hook", "telegram_token": "123456789:AAcanary-telegram_token",
    "telegram_secret": "canary-telegram_webhook", "smtp_password": "canary-smtp/pass+word",
    "pagerduty_key": "canaryPagerdutyKey0123456789abcd", "pagerduty_secret": "canary-pagerduty-webhook",
    "webhook_secret": whsec(1), "webhook_path": "canary-webhook-path-77", "target_token": "canary-target-token",
    "target_secret": whsec(40), "agent_token": "canary-agent-token", "header": "canary-header-value",
    "from_environment": "canary-environment-token", "oidc_secret": "canary-oidc-client&secret/1",
}
DSN = "canary-dsn-pa:ss/w@rd"

CONFIG = """
server: {api_token: "<api_token>"}
log: {level: debug}
access: {oidc: {issuer: "<provider>/sso", client_id: hub, client_secret: "<oidc_secret>", name: the company}}
sources:
  - {name: alertmanager, type: alertmanager, token_file: "<folder>/am_token", token_previous: "<am_token_previous>",
     reconcile: {urls: ["<provider>"], username: hub, password: "<reconcile_password>"}}
  - {name: login, type: generic, username: hub, password: "<login_password>"}
  - {name: grafana, type: grafana, hmac_secret: "<hmac_secret>"}
  - {name: environment, type: generic, token: "${CANARY_TOKEN}"}
global:
  slack_bot_token: "<slack_bot_token>"
  slack_signing_secret: "<slack_signing>"
  slack_app_token: "<slack_app_token>"
  slack_base_url: "<provider>/slack/"
  telegram_bot_token: "<telegram_token>"
  telegram_webhook_secret: "<telegram_secret>"
  telegram_api_url: "<provider>/telegram"
  pagerduty_url: "<provider>/pagerduty"
  pagerduty_webhook_secret: "<pagerduty_secret>"
  smtp_smarthost: "<smarthost>"
  smtp_from: hub@example.com
  smtp_auth_username: hub
  smtp_auth_password: "<smtp_password>"
  smtp_tls_ca_file: "<authority>"
receivers:
  - name: all
    slack_configs: [{channel: "#alerts"}, {api_url: "<provider>/services/<slack_hook>"}]
    telegram_configs: [{chat_id: 42}]
    email_configs: [{to: risk@example.com}]
    pagerduty_configs: [{routing_key: "<pagerduty_key>"}]
    webhook_configs: [{url: "<provider>/<webhook_path>", secret: "<webhook_secret>"}]
targets:
  - {name: robot, type: http, url: "<provider>/robot", secret: "<target_secret>", headers: {X-Key: "<header>"}}
  - {name: guarded, type: http, url: "<provider>/guarded", token: "<target_token>"}
  - {name: agent-btc, type: agent, url: "<provider>/agent", token: "<agent_token>"}
actions:
  - {name: push, type: http, targets: [robot, guarded], deadline: 5s, circuit: {failures: 0}}
  - {name: safe-mode, type: safe_mode, direction: tighten, target: agent-btc, deadline: 1500ms}
route: {receiver: all, group_by: [alertname], actions: [push, safe-mode]}
"""


def filled(text: str, **places: str) -> str:
    """With every `<name>` replaced."""
    for name, value in {**CANARIES, **places}.items():
        text = text.replace(f"<{name}>", value)
    return text


def forms(secret: str) -> Iterator[str]:
    """As it is, in an address, in JSON, and in base64, alone or inside something longer."""
    data = secret.encode()
    yield from (secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], b64encode(data).decode())
    for shift in range(3):
        inner = b64encode(b"x" * shift + data).decode()[4:-4]
        yield from (inner, inner.replace("+", "-").replace("/", "_"))


def leaks(text: str) -> set[str]:
    """The names of the secrets that can be read out of it."""
    return {name for name, secret in {**CANARIES, "dsn": DSN}.items() for form in forms(secret) if form in text}


def echo(status: int) -> Any:
    """A counterpart that repeats everything."""

    def answer(request: Request) -> Answer:
        said = f"{request.method} {request.path} {dict(request.headers)} {request.body.decode('utf-8', 'replace')}"
        body = {"ok": False, "error": said, "description": said, "message": said, "errors": [said], "detail": said, "mode": said}
        return Answer(status, {"x-said": "yes"}, body)

    return answer


def sign_on(base: str, refusal: str) -> Any:
    """A provider of OpenID Connect that says what it is, and refuses every code with these words."""

    def answer(request: Request) -> Answer:
        if "well-known" in request.path:
            return Answer(200, {}, {"issuer": f"{base}/sso", "authorization_endpoint": f"{base}/sso/in",
                                    "token_endpoint": f"{base}/sso/token", "jwks_uri": f"{base}/sso/keys"})
        return Answer(400, {}, {"error": f"{refusal} {request.body.decode()}"})

    return answer


@dataclass
class Outputs:
    """All that a person or a program can get out of the hub."""

    found: dict[str, str] = field(default_factory=dict)

    def note(self, place: str, text: object) -> None:
        self.found[place] = self.found.get(place, "") + f"{text}\n"

    def leaking(self) -> dict[str, set[str]]:
        return {place: names for place, text in self.found.items() if (names := leaks(text))}


@dataclass
class Scene:
    hub: RunningHub
    provider: FakeProvider
    post: FakeSmtp
    out: Outputs
    stream: io.StringIO

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {CANARIES['api_token']}", **more.pop("headers", {})}
        answer = await self.hub.client.request(method, path, headers=headers, **more)
        self.out.note(f"{method} {path.partition('?')[0]}", f"{answer.status_code} {dict(answer.headers)} {answer.text}")
        return answer

    async def log_in_by_the_provider(self) -> None:
        """It never lets anybody in, and repeats the secret in its words; also where they are cut."""
        for refusal in (CANARIES["oidc_secret"], "x" * 45 + CANARIES["oidc_secret"], ""):
            self.provider.answer = sign_on(self.provider.url, refusal)
            sent = await self.ask("GET", "/login/oidc")
            state = dict(parse_qsl(urlsplit(sent.headers["location"]).query))["state"]
            await self.ask("GET", f"/login/oidc/callback?code=a-code&state={state}")

    async def deliver(self, rounds: int = 3) -> None:
        for _ in range(rounds):
            await self.hub.drain()

    async def look_everywhere(self) -> None:
        for path in ("/", "/?status=all", "/api/v1/incidents", "/api/v1/deliveries?limit=200", "/api/v1/quarantine",
                     "/api/v1/actions/runs", "/api/v1/configuration", "/configuration", "/login", "/account",
                     "/people", "/metrics", "/health", "/readyz", "/healthz", "/runbooks/watchdog", "/nowhere"):
            await self.ask("GET", path)
        for number in range(1, 9):
            await self.ask("GET", f"/api/v1/incidents/{number}")
            await self.ask("GET", f"/incidents/{number}")


@asynccontextmanager
async def logged() -> AsyncIterator[io.StringIO]:
    """The log at its most talkative, third parties included."""
    stream, root = io.StringIO(), logging.getLogger()
    level, levels = root.level, {name: logging.getLogger(name).level for name in log.TALKATIVE}
    log.configure(stream, json=True, level=logging.DEBUG)
    for name in log.TALKATIVE:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        for handler in [one for one in root.handlers if isinstance(one, log.LineHandler)]:
            root.removeHandler(handler)
        root.setLevel(level)
        for name, old in levels.items():
            logging.getLogger(name).setLevel(old)


@asynccontextmanager
async def scene(folder: Path, monkeypatch: pytest.MonkeyPatch, url: str = "") -> AsyncIterator[Scene]:
    (folder / "am_token").write_text(CANARIES["am_token"])
    monkeypatch.setenv("CANARY_TOKEN", CANARIES["from_environment"])
    login = ("hub", CANARIES["smtp_password"])
    async with logged() as stream, FakeProvider(echo(200)) as provider, FakeSmtp(login=login) as post:
        text = filled(CONFIG, folder=str(folder), provider=provider.url, smarthost=post.smarthost, authority=post.ca_file)
        async with running_hub(text, database=url) as hub:
            yield Scene(hub, provider, post, Outputs(), stream)


async def a_day(scene: Scene) -> None:
    """Webhooks right and wrong, deliveries and actions that work and that fail in every way, reloads, questions."""
    hub, body = scene.hub, payload("alertmanager-01-firing-single.json")
    bearer = {"authorization": f"Bearer {CANARIES['am_token']}"}
    for number, status in enumerate((200, 400, 401, 404, 429, 500, 302)):
        scene.provider.answer = echo(status)
        await scene.ask("POST", "/hooks/alertmanager", headers=bearer, content=body.replace(b"DiskFull", b"Day%d" % number))
        if number == 3:
            scene.post.refuses_login = f"535 {CANARIES['smtp_password']} is wrong"
        await scene.deliver()
        if status == 400:
            await until_it_is_kept(scene, bearer, body)
    await scene.log_in_by_the_provider()
    for headers in ({"authorization": f"Bearer {CANARIES['am_token_previous']}x"}, {"authorization": CANARIES["am_token"]},
                    {"authorization": "Basic " + b64encode(f"hub:{CANARIES['login_password']}".encode()).decode()}):
        for source in ("alertmanager", "grafana", "login", "nobody"):
            await scene.ask("POST", f"/hooks/{source}", headers=headers, content=b"{")
    await hub.hub.rounds.make_due()
    await scene.deliver()
    await scene.ask("POST", "/api/v1/deliveries/replay")
    await scene.provider.stop()
    await scene.post.stop()
    await scene.deliver()
    await hub.hub.rounds.make_due()


async def until_it_is_kept(scene: Scene, bearer: Mapping[str, str], body: bytes) -> None:
    """What a counterpart repeats, redacted: the agent's words, if they come before the deadline of an action."""
    for number in range(20):
        if log.MASK in tables_of(scene.hub.store):
            return
        await scene.ask("POST", "/hooks/alertmanager", headers=bearer, content=body.replace(b"DiskFull", b"Again%d" % number))
        await scene.deliver()
    raise AssertionError("nothing that was repeated is in the record")


async def bad_reloads(scene: Scene) -> None:
    """Files whose mistakes stand right beside a secret, or are one."""
    good, api_token, password = scene.hub.path.read_text(), CANARIES["api_token"], CANARIES["login_password"]
    for right, wrong in (
        ("api_token:", "api_tokne:"), ("slack_app_token:", "slack_ap_token:"), ('token_previous: "', 'token_previous: ["'),
        ("routing_key:", "routing_kye:"), ('secret: "whsec_', 'secret: "not-base64-'),
        ('telegram_bot_token: "123', 'telegram_bot_token: "x'), ('hmac_secret: "', 'hmac_secret: "\x01'),
        (f'"{api_token}"', f'{{a: "{api_token}"}}'), ('smtp_auth_password: "', 'smtp_auth_password: ["'),
        (f', password: "{password}"', ""), ("${CANARY_TOKEN}", "${CANARY_TOKEN_THAT_IS_NOT_SET}"), ("\nroute:", "\nroute: ["),
        ("api_token: ", f"{api_token}: "), ("client_secret:", "client_sercet:"), ('client_secret: "', 'client_secret: ["'),
    ):
        spoiled = good.replace(right, wrong)
        assert spoiled != good
        scene.hub.path.write_text(spoiled)
        await scene.ask("POST", "/api/v1/reload")
        result = await asyncio.to_thread(CliRunner().invoke, main, ["check", str(scene.hub.path)])
        assert result.exit_code == 1
        scene.out.note("check", result.output)
        result = await asyncio.to_thread(CliRunner().invoke, main, ["check", "--json", str(scene.hub.path)])
        scene.out.note("check --json", result.output)
    scene.hub.path.write_text(good)
    await scene.ask("POST", "/api/v1/reload")


def printed(value: object, depth: int = 0) -> str:
    """How it and what it is made of would show in a traceback or a debugger's list."""
    inner = vars(value).values() if depth < 4 and hasattr(value, "__dict__") and not isinstance(value, type) else ()
    if isinstance(value, Mapping):
        inner = value.values()
    return f"{value!r} {value!s} " + " ".join(f"{one!r}" for one in inner)


def tables_of(store: StoreSeam) -> str:
    connection = sqlite3.connect(store.path)
    try:
        return "\n".join(connection.iterdump())
    finally:
        connection.close()


@pytest.mark.slow
async def test_no_secret_is_in_any_output(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    async with scene(tmp_path, monkeypatch) as day:
        await a_day(day)
        await day.look_everywhere()
        await bad_reloads(day)
        equipment = day.hub.hub.equipment
        for name, value in {"config": equipment.config, "model": equipment.config.model, "channels": equipment.plant.channels,
                            "actions": equipment.plant.actions, "sources": equipment.sources, "provider": equipment.provider,
                            "rules": equipment.plant.rules,
                            "hub": day.hub.hub}.items():
            day.out.note(f"repr of {name}", printed(value) if name != "hub" else repr(value))
        day.out.note("database", tables_of(day.hub.store))
        monkeypatch.setenv("ALERTHUB_CONFIG", str(day.hub.path))
        for words in ("schema", "routes test --json alertname=Day1", "send-test all", "send-test nobody", "check"):
            result = await asyncio.to_thread(CliRunner().invoke, main, words.split())
            day.out.note(words, f"{result.output} {result.exception!r}")
        day.out.note("log", day.stream.getvalue())
        day.out.note("standard output and error", "".join(capfd.readouterr()))
        sent = " ".join(f"{request.path} {dict(request.headers)} {request.body!r}" for request in day.provider.requests)
    assert day.out.leaking() == {}
    assert_the_day_was_full(day, sent)


def assert_the_day_was_full(day: Scene, sent: str) -> None:
    """The secrets were really used, and the failures really happened: else nothing has been shown."""
    assert leaks(sent) >= {"slack_bot_token", "slack_hook", "telegram_token", "pagerduty_key", "webhook_path", "target_token",
                           "agent_token", "header", "reconcile_password", "oidc_secret"}
    assert log.MASK in day.out.found["log"]
    refused = [line for line in day.out.found["log"].splitlines() if "oidc.refused" in line]
    assert len(refused) == 3
    assert not any("canary" in line for line in refused), "nor a part of it, where the words are cut"
    assert log.MASK in day.out.found["database"], "what counterparts repeated is in the record, redacted"
    told = json.loads(day.out.found["GET /api/v1/deliveries"].partition("} ")[2])
    kept = [line for line in day.out.found["database"].splitlines() if line.startswith('INSERT INTO "deliveries"')]
    for channel in ("slack", "telegram", "email", "pagerduty", "webhook"):
        assert any(f"'{channel}:" in line for line in kept), channel
    for state in ("sent", "failed"):        # of all of them: the API shows the newest 200
        assert any(f"'{state}'" in line for line in kept), state
    assert told["items"]
    runs = json.loads(day.out.found["GET /api/v1/actions/runs"].partition("} ")[2])
    assert {run["state"] for run in runs["items"]} & {"failed", "unknown"}


@pytest.mark.slow
@pytest.mark.postgres
async def test_the_password_of_the_database_is_in_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with database("postgres", tmp_path) as url:
        secret_url = url.replace("alerthub@", f"alerthub:{quote(DSN, safe='')}@", 1)
        assert secret_url != url
        async with scene(tmp_path, monkeypatch, secret_url) as day:
            await day.ask("POST", "/hooks/alertmanager", headers={"authorization": f"Bearer {CANARIES['am_token']}"},
                          content=payload("alertmanager-01-firing-single.json"))
            await day.deliver(1)
            logging.getLogger("alerthub.test").error("opened %s", secret_url)
            config = day.hub.hub.equipment.config
            day.out.note("shown", f"{day.hub.store.public_url} {config!r} {config.model!r}")
            await bad_reloads(day)
            await day.look_everywhere()
            day.out.note("log", day.stream.getvalue())
    assert "opened postgresql://alerthub:[secret]@" in day.out.found["log"]
    assert day.out.leaking() == {}


@pytest.mark.parametrize("command", ["migrate", "serve"])
def test_a_database_that_is_away_does_not_show_its_password(command: str, tmp_path: Path) -> None:
    config = tmp_path / "alerthub.yml"
    config.write_text(f"database: {{url: 'postgresql://hub:{quote(DSN, safe='')}@127.0.0.1:1/hub'}}\n"
                      "receivers: [{name: a, console_configs: [{}]}]\nroute: {receiver: a}\n")
    result = CliRunner().invoke(main, [command, "--config", str(config)])
    assert (result.exit_code, leaks(f"{result.output} {result.exception!r}")) == (1, set())


def test_every_secret_of_the_configuration_is_known_to_the_log(tmp_path: Path) -> None:
    """By the composition, before anything is sent."""
    (tmp_path / "am_token").write_text("canary-of-a-file-0001")
    config = tmp_path / "alerthub.yml"
    config.write_text(f"database: {{url: 'sqlite:///{tmp_path}/hub.db'}}\n" + """
sources:
  - {name: a, type: alertmanager, token_file: FOLDER/am_token, token_previous: canary-of-a-list-0002}
  - {name: b, type: generic, username: x, password: canary-of-a-login-0003}
receivers: [{name: a, console_configs: [{}]}]
targets: [{name: t, type: http, url: "http://127.0.0.1:1", headers: {X-Key: canary-of-a-mapping-0004}}]
route: {receiver: a}
""".replace("FOLDER", str(tmp_path)))
    hub = Hub(load(config, {}))
    hub.store.close()
    for secret in ("canary-of-a-file-0001", "canary-of-a-list-0002", "canary-of-a-login-0003", "canary-of-a-mapping-0004"):
        assert log.redact(f"<{secret}>") == f"<{log.MASK}>"


@pytest.mark.parametrize("secret", [*CANARIES.values(), DSN])
def test_the_search_finds_a_secret_in_any_dress(secret: str) -> None:
    for dress in (secret, quote(secret), quote(secret, safe=""), b64encode(secret.encode()).decode(), json.dumps({"a": secret}),
                  b64encode(f"hub:{secret}".encode()).decode(), b64encode(f"a-user:{secret}:x".encode()).decode()):
        assert leaks(f"before {dress} after")
    assert not leaks("nothing here but [secret]")
