"""Reading a whole file: the design's example, the built-in configuration, files that cannot be read, places for composition."""

from __future__ import annotations

import hashlib
import os
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from pydantic import ValidationError

from alerthub.config import BUILT_IN, LARGEST, compile_rules, load
from alerthub.config.kinds import build_model, used_channels
from alerthub.config.model import host_and_port
from tests.unit.config_example import example
from tests.unit.config_files import REST, configured, found_in, problems, small_kinds

TOKEN = "0123456789abcdef"


# -- the example of the design

def test_the_example_of_the_design_loads(tmp_path: Path) -> None:
    config = configured(tmp_path, example(tmp_path))
    model = config.model
    assert [receiver.name for receiver in model.receivers] == ["alerts", "leads", "risk"]
    assert [action.name for action in model.actions] == ["safe-mode", "retrain"]
    assert model.global_.smtp_smarthost == "smtp:587"
    assert [(name, kind) for name, kind, _ in config.channel_entries()] == [
        ("alerts", "slack"), ("leads", "telegram"), ("risk", "email")]
    rules = compile_rules(config, {receiver.name: () for receiver in model.receivers}, ())
    assert rules.route.routes[0].actions == ("safe-mode",)
    assert rules.route.routes[0].escalation_policy == "trading"
    assert rules.actions["safe-mode"].targets == ("agent-btc",)
    # An open API behind a proxy, a gap of the second schedule, a permit without a key, nobody who may agree to a release of the
    # agent, nobody with the role ml, a Slack of any workspace.
    assert len(config.warnings) == 7


def test_the_action_of_the_design_that_is_not_there_yet_is_said_so(tmp_path: Path) -> None:
    text = example(tmp_path).replace("name: retrain, type: http", "name: retrain, type: teleport")
    [found] = problems(tmp_path, text)
    assert "there is no type `teleport`; the types of actions are " in found
    assert "http" in found
    assert "safe_mode" in found


# -- no file

def test_without_a_file_the_hub_runs_on_this_machine(tmp_path: Path) -> None:
    config = load(None, {})
    model = config.model
    assert (config.path, config.listen, config.is_loopback, config.warnings) == (None, ("127.0.0.1", 8095), True, ())
    assert (model.server.public_url, model.database.url) == ("http://127.0.0.1:8095", "sqlite:///alerthub.db")
    assert [(source.name, source.type, source.token) for source in model.sources] == [("alertmanager", "alertmanager", None)]
    assert [(name, kind) for name, kind, _ in config.channel_entries()] == [("console", "console")]
    rules = compile_rules(config, {"console": ()}, ())
    assert (rules.route.receiver, rules.route.group_by, rules.route.routes) == ("console", (), ())
    assert repr(config).startswith(f"Config('{BUILT_IN}', version=")
    assert load(None, {}).version == config.version


# -- files that cannot be read

def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "gone.yml"
    assert found_in(file, {}) == [f"{file}: there is no such file"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert found_in(tmp_path, {}) == [f"{tmp_path}: is a folder; give the file in it, for example alerthub.yml"]


def test_a_file_that_may_not_be_read_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("a: b")
    file.chmod(0)
    if os.access(file, os.R_OK):
        file = tmp_path / "loop"        # as root everything may be read
        file.symlink_to(file)
    [found] = found_in(file, {})
    assert found.startswith(f"{file}: cannot be read: ")


def test_a_name_that_cannot_be_one_is_said_so() -> None:
    [found] = found_in(Path("a\0b"), {})
    assert "cannot be read" in found


EMPTY = ["the file is empty; write at least receivers and route"]
CONTENTS = [
    (b"", EMPTY), (b"\n\n", EMPTY), (b"# a comment\n", EMPTY), (b"---\n", EMPTY), (b"null\n", EMPTY),
    (b"- a\n", ["1:1: a block of `key: value` lines is expected here, as in receivers: …"]),
    (b"just a text\n", ["1:1: a block of `key: value` lines is expected here, as in receivers: …"]),
    (b"a: \xff\n", ["1:4: not UTF-8 text; save the file as UTF-8"]),
    (b"a: [\n", ["2:1: a value is missing here, or the bracket before it is not closed"]),
]


@pytest.mark.parametrize(("content", "expected"), CONTENTS)
def test_a_file_without_a_configuration_is_said_so(tmp_path: Path, content: bytes, expected: list[str]) -> None:
    assert problems(tmp_path, content) == expected


def test_a_file_larger_than_any_configuration_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, b"#" * (LARGEST + 1)) == ["is larger than 10 MiB"]
    assert problems(tmp_path, b"#" * LARGEST) == EMPTY


def test_what_the_reader_refused_hides_nothing_else_and_causes_nothing_else(tmp_path: Path) -> None:
    assert problems(tmp_path, """
        server: {public_url: "${GONE}", listn: x}
        people: [{name: a, email: "${A-B}"}]
        people: [{name: b}]
    """, rest=REST) == [
        "1:22: the environment variable GONE is not set; set it, or write $${GONE} for the text",
        "1:33: unknown key `listn`; did you mean `listen`?",
        "2:27: after ${ comes the name of an environment variable and }; for ${ itself write $${",
        "3:1: the key `people` is here twice, first in line 2; keep one of them",
    ]


def test_an_anchor_is_taken_wherever_it_is_used(tmp_path: Path) -> None:
    model = configured(tmp_path, """
        receivers:
          - {name: a, pigeon_configs: &birds [{loft: north}, {loft: south}]}
          - {name: b, pigeon_configs: *birds}
        route:
          receiver: a
          routes:
            - &critical {matchers: [severity=critical], receiver: b}
            - {<<: *critical, matchers: [severity=page]}
    """, kinds=small_kinds()).model
    assert [config.loft for config in model.receivers[1].pigeon_configs] == ["north", "south"]
    assert [(route.matchers, route.receiver) for route in model.route.routes] == [
        (("severity=critical",), "b"), (("severity=page",), "b")]


# -- what is read

def test_the_version_is_the_hash_of_the_file(tmp_path: Path) -> None:
    config = configured(tmp_path, REST)
    assert config.version == hashlib.sha256((tmp_path / "alerthub.yml").read_bytes()).hexdigest()


def test_values_of_the_environment_are_converted_as_written_ones(tmp_path: Path) -> None:
    model = configured(tmp_path, """
        server: {listen: "127.0.0.1:${PORT}", max_body_size: "${SIZE}"}
        receivers: [{name: a, pigeon_configs: [{toes: "${TOES}", awake: "${AWAKE}", weight: "${WEIGHT}"}]}]
        route: {receiver: a, group_wait: "${WAIT}"}
    """, {"PORT": "9000", "SIZE": "1MiB", "TOES": "6", "AWAKE": "false", "WEIGHT": "1.5", "WAIT": "5m"},
                       kinds=small_kinds()).model
    pigeon = model.receivers[0].pigeon_configs[0]
    assert (model.server.listen, model.server.public_url, model.server.max_body_size) == (
        "127.0.0.1:9000", "http://127.0.0.1:9000", 1024**2)
    assert (pigeon.toes, pigeon.awake, pigeon.weight) == (6, False, 1.5)


@pytest.mark.parametrize(("text", "size"), [
    ("1", 1), ("512B", 512), ("64KiB", 65536), ("32MiB", 32 * 1024**2), ("1GiB", 1024**3)])
def test_a_size_has_a_unit_or_is_in_bytes(tmp_path: Path, text: str, size: int) -> None:
    assert configured(tmp_path, f"server: {{max_body_size: {text}}}\n", rest=REST).model.server.max_body_size == size


@pytest.mark.parametrize(("listen", "parts"), [
    ("127.0.0.1:8095", ("127.0.0.1", 8095)), ("[::1]:80", ("::1", 80)), ("hub:65535", ("hub", 65535))])
def test_an_address_to_listen_on_has_host_and_port(listen: str, parts: tuple[str, int]) -> None:
    assert host_and_port(listen) == parts


@pytest.mark.parametrize("listen", [
    "", "8095", ":8095", "hub", "hub:", "hub:x", "hub:0", "hub:65536", "u@hub:1", "hub:1?x", "[::1", "::1"])
def test_anything_else_is_no_address_to_listen_on(listen: str) -> None:
    with pytest.raises(ValueError, match="not an address to listen on"):
        host_and_port(listen)


def test_a_configuration_does_not_change(tmp_path: Path) -> None:
    config = load(None, {})
    with pytest.raises(FrozenInstanceError):
        config.version = "x"
    with pytest.raises(ValidationError):
        config.model.server.listen = "x"


# -- kinds of channels

def test_a_channel_that_is_not_used_is_not_imported(tmp_path: Path) -> None:
    loaded: list[str] = []
    configured(tmp_path, "receivers: [{name: a, flag_configs: [{}]}]\nroute: {receiver: a}\n", kinds=small_kinds(loaded))
    assert set(loaded) == {"flag"}


def test_a_key_of_global_may_be_of_a_channel_that_no_receiver_uses(tmp_path: Path) -> None:
    loaded: list[str] = []
    config = configured(tmp_path, "global: {pigeon_loft: x}\nreceivers: [{name: a, flag_configs: [{}]}]\nroute: {receiver: a}\n",
                        kinds=small_kinds(loaded))
    assert set(loaded) == {"flag", "pigeon"}
    assert config.model.global_.pigeon_loft == "x"


@pytest.mark.parametrize("data", [
    {}, {"receivers": 5, "global": []}, {"receivers": [1, None, {"x": 1}]}, {"receivers": {"a": 1}}])
def test_which_channels_are_used_is_told_of_any_data(data: dict[str, object]) -> None:
    used = used_channels(small_kinds(), data)
    assert used == frozenset()
    assert set(build_model(small_kinds(), used).model_fields) >= {"receivers", "route", "global_"}


# -- speed

def large(folder: Path) -> Path:
    """About 9,000 lines."""
    lines = ["receivers:", *(f"  - {{name: r{n}, console_configs: [{{}}]}}" for n in range(500)), "time_intervals:"]
    for n in range(300):
        lines += [f"  - name: t{n}", "    time_intervals:", "      - weekdays: ['monday:friday']", "        times:",
                  "          - {start_time: 09:00, end_time: 17:00}", "        location: Europe/Istanbul"]
    lines += ["route:", "  receiver: r0", "  routes:"]
    for n in range(750):
        lines += [f"    - receiver: r{n % 500}", "      matchers:", f"        - alertname=\"A{n}\"", f"        - job=~\"x{n}|y\"",
                  "      continue: true", f"      mute_time_intervals: [t{n % 300}]", "      routes:",
                  "        - matchers: [a=b]", "          group_by: [alertname]"]
    file = folder / "large.yml"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_nine_thousand_lines_are_read_whole(tmp_path: Path) -> None:
    file = large(tmp_path)
    assert file.read_text().count("\n") > 9000
    assert len(load(file, {}).model.route.routes) == 750
