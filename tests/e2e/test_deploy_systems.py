"""The files of every system in deploy/: its rules pass their own tests, its hub takes its file without a warning, each of its
alerts has an owner, a runbook and a route, and each runbook says what that hub really does.

A system is deploy/systems/NAME.yml with deploy/prometheus/rules/NAME.yml; the first of them is deploy/alerthub.yml with drl.yml,
the second is the hub itself, told by that same file.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerthub.domain import own
from alerthub.domain.heartbeat import HEARTBEAT_MISSING
from alerthub.domain.matcher import all_match, parse_matcher
from alerthub.domain.runbook import Runbook, choose
from alerthub.resources import folder
from alerthub.runbooks import read_runbooks
from tests.kit.binaries import promtool
from tests.kit.deployment import DEPLOY, deployed, environ_for, secrets_for, write_secrets

RULES = DEPLOY / "prometheus" / "rules"
RUNBOOKS = read_runbooks(folder("runbooks"))
OWN = [own.DELIVERY_FAILED, own.BAD_PAYLOAD, own.BODY_TOO_LARGE, own.ACTION_FAILED, own.SOURCE_UNREACHABLE, own.ESCALATION_STUCK,
       own.CIRCUIT_OPEN, own.ACTIONS_FROZEN, HEARTBEAT_MISSING]
HEADINGS = ("What it means", "Impact", "What the hub already did", "Check first", "Do", "Escalate")


def tree(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class System:
    name: str
    file: str           # of the hub, below deploy/

    @property
    def rules(self) -> Path:
        return RULES / f"{self.name}.yml"

    @property
    def text(self) -> str:
        return (DEPLOY / self.file).read_text(encoding="utf-8")

    def alerts(self) -> Iterator[dict[str, Any]]:
        if not self.rules.exists():     # which a test of its own says
            return
        for group in tree(self.rules)["groups"]:
            yield from (rule for rule in group["rules"] if "alert" in rule)

    def routes_of(self, labels: dict[str, str]) -> list[dict[str, Any]]:
        """The matched routes below the catch-all, in Alertmanager's order. A nested one brings those above it."""
        found: list[dict[str, Any]] = []
        return found if matched(tree(DEPLOY / self.file)["route"], labels, found) else []


def matched(parent: dict[str, Any], labels: dict[str, str], found: list[dict[str, Any]]) -> bool:
    has_matched = False
    for route in parent.get("routes", []):
        if all_match([parse_matcher(text) for text in route["matchers"]], labels):
            has_matched = True
            found.append(route)
            matched(route, labels, found)
            if not route.get("continue"):
                break
    return has_matched


SYSTEMS = [System("drl", "alerthub.yml"), System("alerthub", "alerthub.yml"),
           *(System(path.stem, f"systems/{path.name}") for path in sorted((DEPLOY / "systems").glob("*.yml")))]
ALERTS = [(system, rule) for system in SYSTEMS for rule in system.alerts()]
each_system = pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
each_alert = pytest.mark.parametrize(("system", "rule"), ALERTS, ids=[f"{one.name}-{rule['alert']}" for one, rule in ALERTS])
each_runbook = pytest.mark.parametrize("book", RUNBOOKS, ids=lambda book: book.name)


def labels_of(rule: dict[str, Any]) -> dict[str, str]:
    return {"alertname": rule["alert"], **rule["labels"]}


def test_rules_tests_and_hubs_belong_together() -> None:
    files = {path.stem for path in RULES.glob("*.yml")}
    names = {system.name for system in SYSTEMS}
    assert files == names | {f"{name}_test" for name in names}


@pytest.mark.alertmanager
@pytest.mark.slow
@each_system
class TestPromtool:
    def test_it_accepts_the_rules(self, system: System) -> None:
        done = promtool("check", "rules", "--lint=all", "--lint-fatal", system.rules)
        assert done.returncode == 0, done.stderr

    def test_the_rules_pass_their_own_tests(self, system: System) -> None:
        done = promtool("test", "rules", system.rules.with_name(f"{system.name}_test.yml"))
        assert done.returncode == 0, done.stdout + done.stderr

    def test_each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not(self, system: System) -> None:
        tests = tree(system.rules.with_name(f"{system.name}_test.yml"))["tests"]
        asked = [(one["alertname"], bool(one.get("exp_alerts"))) for test in tests for one in test.get("alert_rule_test", [])]
        names = {rule["alert"] for rule in system.alerts()}
        assert {name for name, fires in asked if fires} == names
        assert {name for name, fires in asked if not fires} >= names - {"Watchdog"}


@each_alert
class TestEachAlert:
    def test_it_says_how_bad_whose_and_what(self, system: System, rule: dict[str, Any]) -> None:
        assert rule["labels"].keys() >= {"severity", "team"}
        assert rule["labels"]["severity"] in ("critical", "warning", "info", "none")
        assert rule["annotations"].keys() >= {"summary", "description"}

    def test_no_label_changes_with_the_value(self, system: System, rule: dict[str, Any]) -> None:
        assert "{{" not in str(rule["labels"])

    def test_it_has_a_runbook_and_that_has_an_owner(self, system: System, rule: dict[str, Any]) -> None:
        book = choose(RUNBOOKS, labels_of(rule))
        assert book is not None
        assert book.owner

    def test_it_ends_somewhere(self, system: System, rule: dict[str, Any]) -> None:
        assert system.routes_of(labels_of(rule))

    def test_the_actions_of_its_runbook_are_those_that_the_hub_runs_for_it(self, system: System, rule: dict[str, Any]) -> None:
        book = choose(RUNBOOKS, labels_of(rule))
        called = [action for route in system.routes_of(labels_of(rule)) for action in route.get("actions", [])]
        assert book is not None
        assert list(book.actions) == called


class TestRunbooks:
    @each_runbook
    def test_it_is_for_an_alert_that_exists(self, book: Runbook) -> None:
        named = [matcher for matcher in book.matchers if matcher.name == "alertname"]
        assert named
        assert [name for name in (*OWN, *(rule["alert"] for _, rule in ALERTS)) if all_match(named, {"alertname": name})]

    @each_runbook
    def test_it_answers_what_is_asked_at_three_in_the_morning(self, book: Runbook) -> None:
        assert [heading for heading in HEADINGS if f"## {heading}" not in book.text] == []
        assert len(book.text.split()) < 500

    @pytest.mark.parametrize("book", [book for book in RUNBOOKS if len(book.matchers) == 1], ids=lambda book: book.name)
    def test_its_name_is_that_of_its_alert(self, book: Runbook) -> None:
        (matcher,) = book.matchers
        assert book.name.replace("-", "") == matcher.value.lower()


@each_system
class TestTheHub:
    """The file as it is: read, checked and constructed by the program itself."""

    def test_it_finds_nothing_wrong_and_nothing_missing(self, system: System, tmp_path: Path) -> None:
        done = checked(system, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "alerthub.yml: ok\n"

    def test_it_would_say_so_of_an_alert_that_nobody_knows(self, system: System, tmp_path: Path) -> None:
        (tmp_path / "more.yml").write_text("groups: [{name: g, rules: [{alert: NobodyKnows, expr: up == 0}]}]")
        done = checked(system, tmp_path, "--rules", "more.yml")
        assert done.returncode == 1
        said = re.findall(r"^warning: more\.yml:1:\d+: (.*?);", done.stdout, re.MULTILINE)
        assert [text.partition(",")[0] for text in said] == ["NobodyKnows has no runbook", "no route takes NobodyKnows"]

    def test_no_secret_stands_in_it(self, system: System) -> None:
        named = [(key, value) for key, value in leaves(tree(DEPLOY / system.file))
                 if re.search("token|password|secret|routing_key|api_key", key)]
        assert named
        assert [key for key, value in named if not key.endswith("_file") and not str(value).startswith("${")] == []

    def test_no_action_that_costs_is_without_a_guard_and_none_delays_the_safe_state(self, system: System) -> None:
        """A mark in the model registry costs nothing."""
        for action in tree(DEPLOY / system.file).get("actions", []):
            guards = {"cooldown", "max_per_hour", "approve"} & set(action)
            if action.get("direction") == "tighten":
                assert not guards, action["name"]
            elif action["type"] != "mlflow":
                assert guards, action["name"]


def checked(system: System, place: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """`alerthub check --strict` on the system's file, beside secrets and with an environment of the right form."""
    secrets = write_secrets(place, secrets_for(system.text))
    (place / "alerthub.yml").write_text(deployed(system.file, secrets), encoding="utf-8")
    environ = {**os.environ, **environ_for(system.text)}
    command = [sys.executable, "-m", "alerthub", "check", "alerthub.yml", "--strict", "--rules", str(system.rules), *more]
    return subprocess.run(command, env=environ, cwd=place, capture_output=True, text=True, timeout=60, check=False)


def leaves(node: Any, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(node, dict):
        return [leaf for name, value in node.items() for leaf in leaves(value, name)]
    if isinstance(node, list):
        return [leaf for value in node for leaf in leaves(value, key)]
    return [(key, node)]
