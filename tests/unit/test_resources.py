"""The folders that travel with the program are found in a wheel and in a checkout, and missed with a clear word."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerthub.errors import AlerthubError
from alerthub.resources import folder


def made(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


@pytest.mark.parametrize("name", ["migrations", "runbooks"])
def test_this_checkout_has_both_folders(name: str) -> None:
    assert folder(name).is_dir()
    assert folder(name).name == name


def test_a_wheel_carries_the_folder_in_the_package(tmp_path: Path) -> None:
    inside = made(tmp_path / "site-packages/alerthub/_data/runbooks")
    assert folder("runbooks", tmp_path / "site-packages/alerthub") == inside


def test_a_checkout_has_it_beside_the_package(tmp_path: Path) -> None:
    beside = made(tmp_path / "runbooks")
    assert folder("runbooks", made(tmp_path / "alerthub")) == beside


def test_the_package_wins_over_a_folder_that_somebody_else_put_beside_it(tmp_path: Path) -> None:
    inside = made(tmp_path / "alerthub/_data/runbooks")
    made(tmp_path / "runbooks")
    assert folder("runbooks", tmp_path / "alerthub") == inside


def test_a_file_of_that_name_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "runbooks").write_text("")
    with pytest.raises(AlerthubError):
        folder("runbooks", made(tmp_path / "alerthub"))


def test_a_missing_folder_names_both_places_it_could_be(tmp_path: Path) -> None:
    with pytest.raises(AlerthubError) as caught:
        folder("runbooks", tmp_path / "alerthub")
    assert str(tmp_path / "alerthub/_data/runbooks") in str(caught.value)
    assert str(tmp_path / "runbooks") in str(caught.value)
