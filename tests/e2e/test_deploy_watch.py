"""The hub watched: its rules and its dashboard ask only for what a running hub says, in Prometheus' own language, and its death
is told past it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerthub.domain.matcher import all_match, parse_matcher
from tests.kit.binaries import promtool
from tests.kit.deployment import DEPLOY
from tests.kit.hub import running_hub

RULES = DEPLOY / "prometheus" / "rules" / "alerthub.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "alerthub.json").read_text(encoding="utf-8"))
ALERTMANAGER = yaml.safe_load((DEPLOY / "alertmanager.yml").read_text(encoding="utf-8"))
ALERTS = [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
# What Grafana puts in, as it would.
GRAFANA = {"$__rate_interval": "1m", "$job": "alerthub", "$channel": ".*"}
PROMETHEUS_OWN = {"up"}
# Slightly off: the tests of the rules must notice each.
OTHER = {
    'absent(up{job="alerthub"} == 1)': ("AlerthubDown", 'absent(up{job="alerthub"})'),
    'up{job="alerthub"} == 0': ("AlerthubReplicaDown", 'up{job="alerthub"} == 2'),
    "alerthub_database_available == 0": ("AlerthubDatabaseTrouble", "alerthub_database_available == 1"),
    "[5m])) > 0.05": ("AlerthubWebhooksBusy", "[5m])) > 0.005"),
    "[5m]))) > 0.5": ("AlerthubWebhooksSlow", "[5m]))) > 0.96"),
    ', source!="(unknown)"': ("AlerthubWebhooksUnauthorised", ""),
    'status="400"}[1h])) > 10': ("AlerthubQuarantineGrowing", 'status="400"}[1h])) > 30'),
    "_pending_seconds) > 120": ("AlerthubQueueOld", "_pending_seconds) >= 120"),
    'unless sum by (channel)': ("AlerthubChannelFailing", "or sum by (channel)"),
    "failing_destinations) > 0": ("AlerthubDestinationFailing", "failing_destinations) > 2"),
    "dead_lanes) > 0": ("AlerthubDeadLetters", "dead_lanes) > 1"),
    "unless sum by (source)": ("AlerthubReconcileUnreachable", "or sum by (source)"),
    'outcome="corrected"}[1h])) > 5': ("AlerthubReconcileDisagrees", 'outcome="corrected"}[1h])) > 0'),
    'verified="no"}) > 0': ("AlerthubLatchUnverified", 'verified="yes"}) > 0'),
    "[15m])) > 10": ("AlerthubLeaseStorm", "[15m])) > 4"),
    "reload_successful == 0": ("AlerthubReloadFailed", "reload_successful == 1"),
    'where!="metrics"': ("AlerthubUnexpectedErrors", 'where!=""'),
}


def expressions() -> Iterator[tuple[str, str]]:
    """Every question of the rules and of the dashboard, with its place."""
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], filled(target["expr"])
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], filled(annotation["expr"])


def filled(text: str) -> str:
    for name, value in GRAFANA.items():
        text = text.replace(name, value)
    assert "$" not in text
    return text


def names_in(expression: str) -> set[str]:
    """The metrics that it asks for."""
    return set(re.findall(r"\b(?:alerthub_\w+|up\b)", re.sub(r'"[^"]*"', "", expression)))


@pytest.mark.anyio
async def test_they_ask_only_for_what_a_running_hub_says() -> None:
    async with running_hub() as hub:
        text = (await hub.get("/metrics")).text
    kinds = [line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE ")]
    said = {name + suffix for name, kind in kinds for suffix in SUFFIXES[kind]} | PROMETHEUS_OWN
    asked = {place: names_in(expression) for place, expression in expressions()}
    assert all(asked.values())
    assert {place: names - said for place, names in asked.items() if names - said} == {}
    shown = set().union(*(names_in(filled(target["expr"])) for panel in PANELS for target in panel["targets"]))
    silent = {name for name, kind in kinds if not any(name + suffix in shown for suffix in SUFFIXES[kind])}
    assert silent == {"alerthub_process_virtual_memory_bytes"}      # says nothing that a reader could use


@pytest.mark.alertmanager
@pytest.mark.slow
class TestPromtool:
    def test_it_understands_every_question(self, tmp_path: Path) -> None:
        records = [{"record": f"q:{number}", "expr": expression} for number, (_, expression) in enumerate(expressions())]
        (tmp_path / "questions.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": records}]}))
        done = promtool("check", "rules", tmp_path / "questions.yml")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{len(records)} rules found" in done.stdout

    def test_the_tests_of_the_rules_notice_other_ones(self, tmp_path: Path) -> None:
        text = RULES.read_text(encoding="utf-8")
        for old, (_, new) in OTHER.items():
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "alerthub.yml").write_text(text, encoding="utf-8")
        (tmp_path / "alerthub_test.yml").write_bytes(RULES.with_name("alerthub_test.yml").read_bytes())
        done = promtool("test", "rules", tmp_path / "alerthub_test.yml")
        assert done.returncode == 1
        unnoticed = [alert for alert, _ in OTHER.values() if f"alertname: {alert}," not in done.stdout + done.stderr]
        assert unnoticed == []
        assert {alert for alert, _ in OTHER.values()} == {rule["alert"] for rule in ALERTS}


class TestDashboard:
    def test_it_can_be_imported_anywhere(self) -> None:
        """It chooses its Prometheus by a variable, and names none."""
        assert DASHBOARD["uid"] == "alerthub"
        assert "id" not in DASHBOARD
        first, *others = DASHBOARD["templating"]["list"]
        assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
        sources = [node["datasource"] for node in (*others, *DASHBOARD["annotations"]["list"], *PANELS)]
        sources += [target["datasource"] for panel in PANELS for target in panel["targets"]]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)

    def test_it_has_a_row_for_each_part_of_the_hub(self) -> None:
        rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
        assert rows == ["At a glance", "Ingest", "Incidents", "Deliveries", "Actions and latches", "Database", "Process"]

    def test_every_panel_says_what_it_shows_and_none_lies_on_another(self) -> None:
        assert all(panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)
        numbers = [panel["id"] for panel in DASHBOARD["panels"]]
        assert len(set(numbers)) == len(numbers)
        taken = [place for panel in DASHBOARD["panels"] for place in places(panel["gridPos"])]
        assert len(set(taken)) == len(taken)
        assert max(column for column, _ in taken) < 24


def places(grid: dict[str, int]) -> list[tuple[int, int]]:
    return [(grid["x"] + column, grid["y"] + line) for column in range(grid["w"]) for line in range(grid["h"])]


def receivers_of(labels: dict[str, str]) -> list[str]:
    found = []
    for route in ALERTMANAGER["route"]["routes"]:
        if all_match([parse_matcher(text) for text in route["matchers"]], labels):
            found.append(route["receiver"])
            if not route.get("continue"):
                break
    return found or [ALERTMANAGER["route"]["receiver"]]


class TestWhoIsTold:
    @pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
    def test_what_the_hub_may_be_unable_to_tell_is_told_past_it_and_by_it(self, rule: dict[str, Any]) -> None:
        is_grave = rule["labels"]["severity"] == "critical"
        assert (rule["labels"].get("tell") == "directly") == is_grave
        told = receivers_of({"alertname": rule["alert"], **rule["labels"]})
        assert told == (["without-the-hub", "alerthub"] if is_grave else ["alerthub"])

    def test_the_direct_receiver_does_not_pass_through_the_hub(self) -> None:
        (direct,) = [one for one in ALERTMANAGER["receivers"] if one["name"] == "without-the-hub"]
        assert set(direct) == {"name", "pagerduty_configs"}
        assert "8095" not in json.dumps(direct)

    @pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
    def test_each_links_its_runbook_which_exists(self, rule: dict[str, Any]) -> None:
        base, _, name = rule["annotations"]["runbook_url"].rpartition("/")
        assert base == "https://hub.example.com/runbooks"
        assert (DEPLOY.parent / "runbooks" / f"{name}.md").exists()
        assert name.replace("-", "") == rule["alert"].lower()
