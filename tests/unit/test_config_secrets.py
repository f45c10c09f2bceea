"""Secrets: from files and the environment, every mistake about them at once, and never shown."""

from __future__ import annotations

import base64
import json
import traceback
from pathlib import Path

import pytest

from alerthub.config import compile_rules, load, schema
from alerthub.errors import ConfigError
from tests.unit.config_example import SECRETS, example
from tests.unit.config_files import REST, configured, found_in, problems, small_kinds

CANARY = "canary0123456789abcdef"
PIGEONS = "receivers: [{{name: a, pigeon_configs: [{{{}}}]}}]\nroute: {{receiver: a}}\n"
GONE = "No such file or directory; correct the path, or let the hub read it"


def test_a_secret_is_read_from_its_file_without_the_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "seed").write_text("corn \n")
    model = configured(tmp_path, PIGEONS.format(f"seed_file: {tmp_path}/seed"), kinds=small_kinds()).model
    assert model.receivers[0].pigeon_configs[0].seed.get_secret_value() == "corn "


def test_a_secret_may_be_of_the_environment_or_look_like_a_number(tmp_path: Path) -> None:
    model = configured(tmp_path, PIGEONS.format("seed: '${SEED}'") + "global: {pigeon_seed: 0012345}\n", {"SEED": "corn"},
                       kinds=small_kinds()).model
    assert model.receivers[0].pigeon_configs[0].seed.get_secret_value() == "corn"
    assert model.global_.pigeon_seed.get_secret_value() == "0012345"


def test_the_name_of_a_file_may_be_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "seed").write_text("corn")
    model = configured(tmp_path, PIGEONS.format("seed_file: '${DIR}/seed'"), {"DIR": str(tmp_path)}, kinds=small_kinds()).model
    assert model.receivers[0].pigeon_configs[0].seed.get_secret_value() == "corn"


MISTAKES = [
    ("seed_file: /nowhere/at/all", f"1:52: cannot read /nowhere/at/all: {GONE}"),
    ("seed_file: /", "1:52: cannot read /: Is a directory; correct the path, or let the hub read it"),
    ("seed: corn, seed_file: /nowhere", "1:64: give seed or seed_file, not both"),
    ("seed: ''", "1:47: seed is empty; write the secret, or seed_file with the name of its file"),
    ("seed: '${NOTHING}'", "1:47: seed is empty; write the secret, or seed_file with the name of its file"),
    ("seed: [a]", "1:47: a text is expected here"),
]


@pytest.mark.parametrize(("text", "problem"), MISTAKES)
def test_a_secret_that_cannot_be_had_is_a_problem(tmp_path: Path, text: str, problem: str) -> None:
    assert problems(tmp_path, PIGEONS.format(text), {"NOTHING": ""}, kinds=small_kinds()) == [problem]


def test_a_file_that_is_empty_or_no_text_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    text = PIGEONS.format(f"seed_file: {tmp_path}/empty") + f"global: {{pigeon_seed_file: {tmp_path}/binary}}\n"
    assert problems(tmp_path, text, kinds=small_kinds()) == [
        f"1:52: {tmp_path}/empty is empty; put the secret into it",
        f"3:28: cannot read {tmp_path}/binary: is not UTF-8 text; correct the path, or let the hub read it"]


def test_what_is_wrong_with_the_content_of_a_file_is_said_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("x")
    text = f"sources: [{{name: am, type: alertmanager, token_file: {tmp_path}/short}}]\n"
    assert problems(tmp_path, text, rest=REST) == ["1:54: too short; use at least 8 characters, better 16 random ones"]


def test_every_secret_of_one_block_is_said_at_once_with_its_other_mistakes(tmp_path: Path) -> None:
    assert problems(tmp_path, """
        global:
          slack_bot_token_file: /gone/1
          telegram_bot_token_file: /gone/2
          smtp_auth_password_file: /gone/3
          smtp_require_tls: perhaps
          slack_tokn: x
    """, rest=REST) == [
        f"2:25: cannot read /gone/1: {GONE}", f"3:28: cannot read /gone/2: {GONE}", f"4:28: cannot read /gone/3: {GONE}",
        "5:21: true or false is expected here", "6:3: unknown key `slack_tokn`; did you mean `slack_bot_token`?"]


def test_what_follows_from_a_missing_secret_is_not_said(tmp_path: Path) -> None:
    """`token_previous` without `token` would be another mistake."""
    assert problems(tmp_path, """
        sources: [{name: am, type: alertmanager, token_file: /gone, token_previous: 0123456789abcdef}]
    """, rest=REST) == [f"1:54: cannot read /gone: {GONE}"]


# -- never shown

def canary_file(folder: Path, extra: str = "") -> str:
    """Every secret of every kind holds the canary, in files, inline and from the environment."""
    key = "whsec_" + base64.b64encode(f"{CANARY}-padding-padding".encode()).decode()
    text = example(folder, CANARY)
    text = text.replace("database:      {url: sqlite:///alerthub.db}",
                        f"database: {{url: 'postgresql://hub:{CANARY}@db.example.com/hub'}}")
    text = text.replace("listen: 127.0.0.1:8095,", f"listen: 127.0.0.1:8095, api_token: {CANARY},")
    text = text.replace('slack_configs: [{channel: "#alerts"}]', (
        f'slack_configs: [{{channel: "#alerts", api_url: "https://hooks.slack.example/{CANARY}"}}]\n'
        f'    webhook_configs: [{{url: "https://a.example/{CANARY}", secret: {key}}}]\n'
        f"    pagerduty_configs: [{{routing_key: '${{CANARY}}'}}]\n"
        f"    telegram_configs: [{{chat_id: 5, bot_token: '5:{CANARY}'}}]\n"
        f"    email_configs: [{{to: a@b.example, auth_username: u, auth_password: {CANARY}}}]"))
    return text.replace("type: http, url:", f"type: http, token: {CANARY}, url:") + extra


def shown(text: str) -> list[str]:
    """The ways in which a text may show the canary."""
    encoded = base64.b64encode(CANARY.encode()).decode().rstrip("=")
    return [word for word in (CANARY, CANARY.upper(), encoded[:-2]) if word in text]


def test_nothing_that_is_loaded_shows_a_secret(tmp_path: Path) -> None:
    config = configured(tmp_path, canary_file(tmp_path), {"CANARY": CANARY})
    rules = compile_rules(config, {receiver.name: () for receiver in config.model.receivers}, ())
    assert CANARY in config.model.database.url      # it is there, and does not show
    assert config.model.global_.slack_bot_token.get_secret_value() == f"{CANARY}-bot"
    dumped = json.dumps(config.model.model_dump(mode="json", exclude={"database": {"url"}}), default=str)
    assert shown(f"{config!r} {config} {config.model!r} {config.document!r} {rules!r} {config.warnings} {dumped}") == []


DAMAGE = [
    # a mistake beside, in, or instead of a secret
    ("log: {level: loud}", {}), ("logg: {}", {}), ("\tlog: {}", {}), ("log: [", {}), ("log: 'x", {}),
    (f"api_token: {CANARY}", {}), (f"runbooks: {{folder: /{CANARY}, folder: x}}", {}),
    (f"reopen_window: {CANARY}", {}), (f"people: [{{name: a, telegram: {CANARY}}}]", {}),
    ("heartbeats: [{name: h, interval: 1m, receiver: '${CANARY}'}]", {}),
    ("time_intervals: [{name: t, time_intervals: [{weekdays: ['${CANARY}']}]}]", {}),
    ("time_intervals: [{name: t, time_intervals: [{times: [{start_time: '${CANARY}', end_time: '${CANARY}'}]}]}]", {}),
    ("time_intervals: [{name: t, time_intervals: [{location: '${CANARY}'}]}]", {}), ("log: {level: '${CANARY}'}", {}),
    ("", {"token_file: ": f"token: {CANARY}, token_file: "}), ("", {f"token: {CANARY}": f"token: [{CANARY}]"}),
    ("", {f"token: {CANARY}": f"token: '{CANARY} x'"}), ("", {f"api_token: {CANARY}": f"api_token: {{x: {CANARY}}}"}),
    ("", {"postgresql://": "mysql://"}), ("", {"whsec_": "whsec"}), ("", {"https://a.example/": "htp://a.example/"}),
    ("", {"routing_key: ": "routing_kee: "}), ("", {f"auth_password: {CANARY}": f"auth_password: {CANARY}: x"}),
    ("", {"chat_id: 5": "chat_id: '${CANARY}', chat_idd: '${CANARY}'"}), ("", {"type: http, token": "type: '${CANARY}', token"}),
    ("", {"server: ": "server: ${CANARY} "}), ("", {"smtp_require_tls: true": "smtp_require_tls: '${CANARY}'"}),
    ("", {"severity": "x", "alertname=": "alertname~${CANARY}="}), ("", {"cooldown: 6h": "cooldown: '${CANARY}'"}),
]


@pytest.mark.parametrize(("extra", "replacements"), DAMAGE)
def test_no_mistake_shows_a_secret(tmp_path: Path, extra: str, replacements: dict[str, str]) -> None:
    text = canary_file(tmp_path, extra + "\n")
    for old, new in replacements.items():
        text = text.replace(old, new)
    file = tmp_path / "alerthub.yml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(file, {"CANARY": CANARY})
    error = raised.value
    assert error.problems
    seen = "".join(traceback.format_exception(error)) + repr(error) + repr(error.problems) + repr(error.args)
    assert shown(seen.replace(str(tmp_path), "")) == []


def test_the_text_of_a_channel_that_repeats_its_secret_is_cleaned(tmp_path: Path) -> None:
    (tmp_path / "seed").write_text(CANARY)
    for given in ("seed: '${CANARY}'", "seed_file: seed"):
        [found] = problems(tmp_path, PIGEONS.format(f"loft: burnt, {given}"), {"CANARY": CANARY}, kinds=small_kinds())
        assert found.endswith("loft is burnt, with all of [secret]; name another")


def test_the_schema_shows_no_secret(tmp_path: Path) -> None:
    configured(tmp_path, canary_file(tmp_path), {"CANARY": CANARY})
    text = json.dumps(schema())
    assert shown(text) == []
    assert text.count('"format": "password"') >= len(SECRETS)


def test_the_files_of_all_secrets_of_the_example_are_read(tmp_path: Path) -> None:
    text = example(tmp_path)
    for name in SECRETS:
        (tmp_path / name).unlink()
    file = tmp_path / "alerthub.yml"
    file.write_text(text)
    found = found_in(file, {})
    assert len(found) == len(SECRETS)
    assert all("cannot read" in line for line in found)
