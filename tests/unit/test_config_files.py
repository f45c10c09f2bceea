"""Files that the configuration names: found beside it, as in Alertmanager, and warned of when anybody can read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerthub.config import load

TEXT = """
sources: [{name: am, type: alertmanager, token_file: secrets/token}]
receivers: [{name: all, console_configs: [{}]}]
route: {receiver: all}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("0123456789abcdef\n")
    (tmp_path / "secrets" / "token").chmod(0o640)
    (tmp_path / "alerthub.yml").write_text(TEXT)
    return tmp_path / "alerthub.yml"


def test_a_relative_file_is_found_beside_the_configuration(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (source,) = load(file, {}).model.sources
    assert source.token.get_secret_value() == "0123456789abcdef"


def test_an_absolute_file_is_where_it_says(file: Path) -> None:
    elsewhere = file.parent / "other"
    elsewhere.write_text("fedcba9876543210")
    file.write_text(TEXT.replace("secrets/token", str(elsewhere)))
    assert load(file, {}).model.sources[0].token.get_secret_value() == "fedcba9876543210"


def test_a_folder_of_runbooks_is_found_beside_the_configuration(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (file.parent / "books").mkdir()
    file.write_text(f"{TEXT}runbooks: {{folder: books}}\n")
    assert Path(load(file, {}).model.runbooks.folder).is_dir()


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_secret_that_every_user_can_read_is_warned_of(file: Path, mode: int, warned: bool) -> None:
    (file.parent / "secrets" / "token").chmod(mode)
    warnings = load(file, {}).warnings
    assert any("alerthub.yml:2:" in warning and "chmod 640" in warning for warning in warnings) is warned


@pytest.mark.parametrize(("server", "warned"), [
    ("{public_url: 'https://hub.example.com'}", True),
    ("{public_url: 'https://hub.example.com', api_token: 0123456789abcdef}", False),
    ("{listen: '127.0.0.1:9000'}", False),
])
def test_an_open_api_behind_a_proxy_of_this_machine_is_warned_of(file: Path, server: str, warned: bool) -> None:
    file.write_text(f"server: {server}\n{TEXT}")
    assert any("api_token_file" in warning for warning in load(file, {}).warnings) is warned
