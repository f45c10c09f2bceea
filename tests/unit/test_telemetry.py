"""When traces are wanted, what is said when they cannot be had, and that nothing of it is there when nobody wants them."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from alerthub import telemetry
from alerthub.config import load
from alerthub.errors import ConfigError
from alerthub.telemetry import OFF, is_wanted, tracer_for, within

ONLY = "only scheme, host, port and path; write it like http://collector:4318, and credentials in OTEL_EXPORTER_OTLP_HEADERS"
CONFIG = """
receivers: [{{name: console, console_configs: [{{}}]}}]
route: {{receiver: console}}
telemetry: {{otlp_endpoint: "{endpoint}"}}
"""


@pytest.mark.parametrize(("endpoint", "environ", "wanted"), [
    ("", {}, False),
    ("http://collector:4318", {}, True),
    ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
    ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
    ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
    ("", {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318"}, False),
    ("http://collector:4318", {"OTEL_SDK_DISABLED": "true"}, False),
    ("http://collector:4318", {"OTEL_TRACES_EXPORTER": "none"}, False),
])
def test_they_are_wanted_by_the_file_or_by_the_variables_and_these_can_forbid_them(
        endpoint: str, environ: dict[str, str], wanted: bool) -> None:
    assert is_wanted(endpoint, environ) is wanted
    if not wanted:
        assert tracer_for(endpoint, environ) is OFF


def test_off_every_word_is_nothing() -> None:
    with OFF.span("webhook", "not-a-uuid", [None], source="x"), within("provider request"):
        OFF.tell(status=200)
    assert OFF.here() is None
    assert telemetry.AROUND.get() is OFF
    OFF.close()


@pytest.mark.slow
def test_nothing_of_the_library_is_loaded_when_they_are_off() -> None:
    program = "import alerthub.cli, sys; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    assert run(program) == (0, "[]\n", "")


@pytest.mark.slow
def test_without_the_extra_a_file_that_asks_for_them_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "alerthub.yml").write_text(CONFIG.format(endpoint="http://127.0.0.1:4318"))
    code, out, said = run("import sys; sys.modules['opentelemetry'] = None; "
                          "from alerthub.cli import main; main(['check', 'alerthub.yml'])", tmp_path)
    assert (code, out) == (1, "")
    assert said == "alerthub.yml:4:28: traces need one more library; install alerthub[otel], or take telemetry out\n"


@pytest.mark.slow
def test_without_the_extra_variables_of_the_machine_do_not_keep_the_hub_from_its_start() -> None:
    code, out, said = run("import sys; sys.modules['opentelemetry'] = None; from alerthub.telemetry import OFF, tracer_for; "
                          "print(tracer_for('', {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:4318'}) is OFF)")
    assert (code, out) == (0, "True\n")
    assert said == "no traces: traces need one more library; install alerthub[otel]\n"


@pytest.mark.parametrize(("name", "value", "error"), [
    ("OTEL_BSP_SCHEDULE_DELAY", "-5", "ValueError"),
    ("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "not-installed", "RuntimeError"),
])
def test_a_variable_that_cannot_be_used_is_logged_without_its_value(
        name: str, value: str, error: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING, "alerthub.telemetry"):
        assert tracer_for("http://127.0.0.1:9", {}) is OFF
    (line,) = caplog.messages
    assert line == f"no traces: a variable of OpenTelemetry cannot be used ({error})"


@pytest.mark.parametrize(("endpoint", "problem"), [
    ("collector:4318", "not an http(s) address; write it like http://collector:4318"),
    ("http://", "not an http(s) address; write it like http://collector:4318"),
    ("grpc://collector:4317", "not an http(s) address; write it like http://collector:4318"),
    ("http://user:canary@collector:4318", ONLY),
    ("http://collector:4318?key=canary", ONLY),
])
def test_an_address_that_cannot_be_is_refused_with_its_place(endpoint: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "alerthub.yml").write_text(CONFIG.format(endpoint=endpoint))
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "alerthub.yml", {})
    (found,) = caught.value.problems
    assert (found.line, found.text) == (4, problem)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["http://collector:4318", "http://collector:4318/", "http://collector:4318/v1/traces"])
def test_the_address_may_be_written_with_its_path(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "alerthub.yml").write_text(CONFIG.format(endpoint=endpoint))
    settings = load(tmp_path / "alerthub.yml", {}).model.telemetry
    assert settings is not None
    assert settings.otlp_endpoint == "http://collector:4318"


def run(program: str, folder: Path | None = None) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr
