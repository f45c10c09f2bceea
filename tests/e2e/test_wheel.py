"""What `pip install` gives: a wheel in an empty environment, far from the checkout, with all that the program needs."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

import alerthub
from tests.kit.binaries import LOCAL
from tests.kit.hub_process import HubProcess
from tests.kit.webhooks import alert, webhook

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PIP_ENVIRON = dict(os.environ)      # as it was: where the registry is, a proxy on the way to it
PLACES = {"alerthub": "alerthub", "migrations": "alerthub/_data/migrations", "runbooks": "alerthub/_data/runbooks"}
CONFIG = """
server: {listen: "${HUB_LISTEN}"}
receivers: [{name: console, console_configs: [{}]}]
route: {receiver: console}
"""


def pip(python: Path | str, *arguments: str | Path) -> None:
    done = subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], env=PIP_ENVIRON,
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (found,) = folder.glob("alerthub-*.whl")
    return found


def sources() -> Iterator[str]:
    """What the checkout has for it, by the place in the wheel."""
    for folder, place in PLACES.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{place}/{path.relative_to(ROOT / folder).as_posix()}"


def test_the_wheel_has_the_program_its_migrations_and_its_runbooks_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    (information,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {name for name in names if not name.startswith(information)} == set(sources())
    assert any(name.startswith("alerthub/_data/migrations/versions/0001") for name in names)
    assert not [name for name in names if "test" in name.lower()]


def test_it_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    binaries, home = tmp_path / "venv" / "bin", tmp_path / "home"
    home.mkdir()
    pip(binaries / "python", "install", wheel)
    pip(binaries / "python", "check")
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}

    def run(*arguments: str) -> str:
        done = subprocess.run([binaries / "alerthub", *arguments], env=environ, cwd=home, capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version") == f"alerthub {alerthub.__version__}\n"
    assert run("check") == "no file: the built-in configuration: ok\n"
    assert run("migrate").startswith("database is at revision ")
    assert (home / "alerthub.db").stat().st_size > 0
    with Installed(binaries / "alerthub", environ) as hub:
        assert hub.post(webhook(alert("EtlFailureRatioHigh", agent="agent-btc"))) == 200
        (incident,) = hub.incidents("open")
        assert incident["title"].startswith("EtlFailureRatioHigh")
        assert "ETL" in page(hub, "/runbooks/etl-failure-ratio-high")
        assert "/runbooks/etl-failure-ratio-high" in page(hub, f"/incidents/{incident['number']}")
        assert "EventSource" in page(hub, "/static/live.js")


class Installed(HubProcess):
    """`alerthub serve` of the environment, which has nothing of the test's."""

    def __init__(self, binary: Path, environ: Mapping[str, str]) -> None:
        super().__init__(CONFIG)
        self.binary = binary
        self.environ = {**environ, "HUB_LISTEN": f"127.0.0.1:{self.port}"}

    def command(self) -> list[str]:
        return [str(self.binary), "serve"]


def page(hub: HubProcess, path: str) -> str:
    answer = httpx.get(hub.url + path, timeout=10, **LOCAL)
    assert answer.status_code == 200, answer.text
    return answer.text
