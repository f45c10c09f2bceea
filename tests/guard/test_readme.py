"""What stands in the README is so: settings, commands, channels, actions, metrics and paths."""

from __future__ import annotations

import re

import pytest

from alerthub import __version__ as version
from alerthub import actions, channels, cli
from alerthub.metrics import Metrics
from alerthub.web.app import ROUTES
from tests.kit.reference import README, part, reference

TEXT = README.read_text(encoding="utf-8")
HIDDEN = {"/static/{name}"}


def test_the_table_of_settings_is_that_of_the_models() -> None:
    """After a change of a model: python -m tests.kit.reference"""
    assert part(TEXT)[1] == reference()


@pytest.mark.parametrize("command", sorted(cli.main.commands))
def test_every_command_is_explained(command: str) -> None:
    assert f"`alerthub {command}" in TEXT


@pytest.mark.parametrize("metric", sorted(
    f"{family.name}_total" if family.type == "counter" else family.name for family in Metrics().registry.collect()))
def test_every_metric_is_named(metric: str) -> None:
    assert f"`{metric}`" in TEXT


@pytest.mark.parametrize("kind", sorted(channels.REGISTRY))
def test_every_channel_is_explained(kind: str) -> None:
    assert f"`{kind}_configs`" in TEXT


@pytest.mark.parametrize("kind", sorted(actions.REGISTRY))
def test_every_action_is_explained(kind: str) -> None:
    assert f"| `{kind}` |" in TEXT


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES if not route.path.endswith("/")} - HIDDEN))
def test_every_path_is_named(path: str) -> None:
    plain = re.sub(r"\{(\w+)(:\w+)?\}", r"{\1}", path)
    assert f"{plain}`" in TEXT, f"{plain} is not in the README"


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (README.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == version
