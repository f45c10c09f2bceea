"""What users run beside the hub, for the DRL platform: the rules alert when they should; rules, routes, actions and runbooks fit
together. What holds for the files of every system is in test_deploy_systems.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerthub.clock import SystemClock
from alerthub.config import load
from alerthub.domain import own
from alerthub.domain.heartbeat import HEARTBEAT_MISSING
from alerthub.domain.matcher import all_match, parse_matcher
from alerthub.domain.runbook import choose
from alerthub.equipment import Equipment, equip, outbound
from alerthub.resources import folder
from alerthub.runbooks import read_runbooks
from tests.kit.agent import running_agent
from tests.kit.binaries import Prometheus, amtool, impatient, promtool, wait_until
from tests.kit.deployment import DEPLOY, ENVIRON, SECRETS, deployed, write_secrets

RULES = DEPLOY / "prometheus" / "rules"
RUNBOOKS = read_runbooks(folder("runbooks"))
OWN = [own.DELIVERY_FAILED, own.BAD_PAYLOAD, own.BODY_TOO_LARGE, own.ACTION_FAILED, own.SOURCE_UNREACHABLE, own.ESCALATION_STUCK,
       own.CIRCUIT_OPEN, own.ACTIONS_FROZEN, HEARTBEAT_MISSING]


def tree(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def rules() -> list[dict[str, Any]]:
    return [rule for group in tree(RULES / "drl.yml")["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
HUB = tree(DEPLOY / "alerthub.yml")
# Slightly off: the tests of the rules must notice each.
OTHER_THRESHOLDS = {
    "ratio_increase1h > 0.05": ("EtlFailureRatioHigh", "ratio_increase1h >= 0.05"),
    "p95_5m > 0.5": ("InferenceLatencyHigh", "p95_5m > 0.52"),
    "[24h]) < 0": ("AgentRewardNegative", "[24h]) <= 0"),
    "[1h])) < 0.01": ("FeatureDriftDetected", "[1h])) <= 0.01"),
}
RECEIVERS = {receiver["name"]: set(receiver) - {"name"} for receiver in HUB["receivers"]}


def routes_of(labels: dict[str, str]) -> list[dict[str, Any]]:
    """The matched child routes, in Alertmanager's order."""
    found = []
    for route in HUB["route"]["routes"]:
        if all_match([parse_matcher(text) for text in route["matchers"]], labels):
            found.append(route)
            if not route.get("continue"):
                break
    return found


def labels_of(alert: str) -> dict[str, str]:
    return {"alertname": alert, "agent": "agent-btc", **ALERTS[alert]["labels"]}


@pytest.mark.alertmanager
@pytest.mark.slow
class TestTheirOwnTools:
    def test_those_tests_notice_other_thresholds(self, tmp_path: Path) -> None:
        text = (RULES / "drl.yml").read_text()
        for threshold, (_, other) in OTHER_THRESHOLDS.items():
            assert threshold in text
            text = text.replace(threshold, other)
        (tmp_path / "drl.yml").write_text(text)
        (tmp_path / "drl_test.yml").write_bytes((RULES / "drl_test.yml").read_bytes())
        done = promtool("test", "rules", tmp_path / "drl_test.yml")
        assert done.returncode == 1
        for alert, _ in OTHER_THRESHOLDS.values():
            assert f"alertname: {alert}," in done.stdout + done.stderr

    def test_prometheus_accepts_its_configuration(self) -> None:
        done = promtool("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
        assert done.returncode == 0, done.stderr
        assert "2 rule files found" in done.stdout

    def test_alertmanager_accepts_its_configuration(self) -> None:
        done = amtool("check-config", DEPLOY / "alertmanager.yml")
        assert done.returncode == 0, done.stderr


@pytest.mark.alertmanager
@pytest.mark.slow
def test_the_real_prometheus_finds_in_an_agent_what_the_rules_speak_of() -> None:
    quick = impatient((RULES / "drl.yml").read_text())
    with running_agent() as running, Prometheus(quick, [f"127.0.0.1:{running.port}"]) as prometheus:
        agent = running.agent
        agent.set_all({"rolling_reward": 1, "feature_drift_ks_pvalue": {"spread": 0.5}, "inference_latency_seconds": [0.02] * 20})
        wait_until(lambda: prometheus.query("count_over_time(agent:rolling_reward:finite[1m]) > 1"), 30, "two evaluations")
        assert prometheus.firing() == {"Watchdog"}
        agent.set_all({
            "etl_flow_failure_total": 10, "etl_flow_success_total": 90, "inference_latency_seconds": [0.8] * 20,
            "rolling_reward": -1000, "feature_drift_ks_pvalue": {"spread": 0.001}})
        bad = {"EtlFailureRatioHigh", "InferenceLatencyHigh", "AgentRewardNegative", "FeatureDriftDetected", "Watchdog"}
        wait_until(lambda: prometheus.firing() == bad, 20, f"all of {bad} fire")
        named = {one["metric"].get("agent") for one in prometheus.query('ALERTS{alertname!="Watchdog"}')}
        assert named == {agent.name}
        agent.set_all({"rolling_reward": 1_000_000, "feature_drift_ks_pvalue": {"spread": 0.5}})
        wait_until(lambda: bad - prometheus.firing() == {"AgentRewardNegative", "FeatureDriftDetected"}, 20, "two are over")


class TestAlertmanager:
    @pytest.mark.parametrize("webhook", [webhook for receiver in tree(DEPLOY / "alertmanager.yml")["receivers"]
                                         for webhook in receiver.get("webhook_configs", [])])
    def test_nothing_is_cut_off_and_every_end_is_told(self, webhook: dict[str, Any]) -> None:
        assert webhook["url"] == "http://127.0.0.1:8095/hooks/alertmanager"
        assert (webhook["send_resolved"], webhook["max_alerts"]) == (True, 0)
        assert webhook["http_config"]["follow_redirects"] is False

    def test_both_sides_read_the_same_token(self) -> None:
        receiver, _ = tree(DEPLOY / "alertmanager.yml")["receivers"]
        theirs = receiver["webhook_configs"][0]["http_config"]["authorization"]["credentials_file"]
        assert [source["token_file"] for source in HUB["sources"]] == [theirs]


class TestRules:
    def test_they_are_the_strategy(self) -> None:
        assert set(ALERTS) == {"EtlFailureRatioHigh", "InferenceLatencyHigh", "AgentRewardNegative", "AgentRewardMissing",
                               "FeatureDriftDetected", "Watchdog"}

    @pytest.mark.parametrize("alert", sorted(ALERTS))
    def test_each_says_how_bad_whose_and_what_and_no_more(self, alert: str) -> None:
        assert set(ALERTS[alert]["labels"]) == {"severity", "team", "service"}
        assert set(ALERTS[alert]["annotations"]) == {"summary", "description"}

    @pytest.mark.parametrize("alert", sorted(set(ALERTS) - {"Watchdog"}))
    def test_each_names_its_agent_at_once(self, alert: str) -> None:
        assert "$labels.agent" in ALERTS[alert]["annotations"]["summary"]


class TestRunbooks:
    @pytest.mark.parametrize("alert", OWN)
    def test_each_alert_of_the_hub_itself_has_one(self, alert: str) -> None:
        runbook = choose(RUNBOOKS, {"alertname": alert})
        assert runbook is not None
        assert runbook.owner == ("trading" if alert == own.ACTION_FAILED else "platform")
        assert runbook.actions == ()


class TestRoutes:
    """The table of what must happen, read off the routes."""

    @pytest.mark.parametrize(("alert", "channels", "actions"), [
        ("EtlFailureRatioHigh", {"slack_configs"}, ["prefect-retry"]),
        ("InferenceLatencyHigh", {"telegram_configs", "pagerduty_configs"}, ["autoscale"]),
        ("AgentRewardNegative", {"email_configs", "pagerduty_configs"}, ["safe-mode"]),
        ("FeatureDriftDetected", {"slack_configs"}, ["registry-warning", "queue-retraining"]),
        ("AgentRewardMissing", {"slack_configs"}, []),
        ("Watchdog", {"slack_configs"}, []),
    ])
    def test_each_alert_reaches_whom_and_what_it_must(self, alert: str, channels: set[str], actions: list[str]) -> None:
        routes = routes_of(labels_of(alert))
        assert set().union(*(RECEIVERS[route["receiver"]] for route in routes)) == channels
        assert [action for route in routes for action in route.get("actions", [])] == actions

    @pytest.mark.parametrize(("severity", "channel"), [
        ("critical", "pagerduty_configs"), ("warning", "slack_configs"), ("info", "email_configs"),
    ])
    def test_an_alert_that_nobody_thought_of_goes_by_its_severity(self, severity: str, channel: str) -> None:
        (route,) = routes_of({"alertname": "Other", "severity": severity})
        assert RECEIVERS[route["receiver"]] == {channel}

    def test_what_nothing_takes_is_caught(self) -> None:
        assert routes_of({"alertname": "Other"}) == []
        assert RECEIVERS[HUB["route"]["receiver"]] == {"slack_configs"}
        assert HUB["route"]["group_by"] == ["alertname", "agent"]

    @pytest.mark.parametrize("alert", OWN)
    def test_the_hub_complains_about_itself_through_several_channels(self, alert: str) -> None:
        (route,) = routes_of({"alertname": alert, "severity": "critical"})
        assert len(RECEIVERS[route["receiver"]]) > 1

    def test_the_risk_team_is_written_to_by_email(self) -> None:
        assert routes_of(labels_of("AgentRewardNegative"))[0]["receiver"] == "risk"
        assert RECEIVERS["risk"] == {"email_configs"}

    def test_only_safe_mode_tightens_and_nothing_holds_it_up(self) -> None:
        tightening = [action for action in HUB["actions"] if action["direction"] == "tighten"]
        assert tightening == [{"name": "safe-mode", "type": "safe_mode", "direction": "tighten", "target_label": "agent",
                               "deadline": "30s"}]
        assert {action["direction"] for action in HUB["actions"]} == {"tighten", "neutral"}

    def test_what_costs_hours_asks_the_ml_team_first(self) -> None:
        (retraining,) = [action for action in HUB["actions"] if action["name"] == "queue-retraining"]
        assert retraining["approve"] == {"role": "ml", "count": 1, "within": "12h"}
        assert [person["role"] for person in HUB["people"]] == ["ml", "ml", "risk", "risk", "risk"]

    def test_blind_monitoring_is_not_safe(self) -> None:
        """The interval is what the README says of Alertmanager's times: three times the gap between two webhooks."""
        (watchdog,) = HUB["heartbeats"]
        *_, route = tree(DEPLOY / "alertmanager.yml")["route"]["routes"]
        every, repeat = (int(route[key].removesuffix("s")) for key in ("group_interval", "repeat_interval"))
        gap = (repeat // every + 1) * every
        assert watchdog["interval"] == f"{3 * gap // 60}m"
        assert watchdog["matchers"] == route["matchers"]
        assert watchdog["actions"] == [{"name": "safe-mode", "targets": ["agent-btc"]}]
        assert len(RECEIVERS[watchdog["receiver"]]) > 1

    def test_no_cooldown_of_one_agent_holds_back_the_next(self) -> None:
        """It counts per target, and these are one for all agents."""
        shared = [action for action in HUB["actions"] if action.get("labels") or action.get("model_label")]
        assert {action["name"] for action in shared} == {"prefect-retry", "registry-warning", "queue-retraining"}
        assert all("cooldown" not in action and action["flapping"] == "hold" and action["max_per_hour"] for action in shared)

    def test_somebody_lifts_a_freeze_and_enough_can_release(self) -> None:
        lifting = [person for person in HUB["people"] if "approver" in person.get("grants", ())]
        assert len(lifting) > 1
        (agent,) = [target for target in HUB["targets"] if target["type"] == "agent"]
        risk = [person for person in HUB["people"] if person["role"] == agent["release"]["approve"]["role"]]
        assert len(risk) > agent["release"]["approve"]["count"]

    def test_no_number_of_pods_is_beyond_what_its_target_allows(self) -> None:
        (target,) = [target for target in HUB["targets"] if target["type"] == "kubernetes"]
        (scale,) = [action for action in HUB["actions"] if action.get("do") == "scale"]
        assert target["min"] < scale["replicas"] == target["max"]


@pytest.fixture
def hub_file(tmp_path: Path) -> Path:
    """deploy/alerthub.yml beside its secrets; nothing but their folder is changed in it."""
    (tmp_path / "alerthub.yml").write_text(deployed("alerthub.yml", write_secrets(tmp_path)), encoding="utf-8")
    return tmp_path / "alerthub.yml"


def alerthub(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, as a user calls it, in this folder and with the environment that the file asks for."""
    return subprocess.run([sys.executable, "-m", "alerthub", *arguments], env={**os.environ, **ENVIRON, **environ}, cwd=folder,
                          capture_output=True, text=True, timeout=60, check=False)


class TestTheHubTakesIt:
    """The file as it is: read, checked and constructed by the program itself."""

    def test_everything_that_it_names_is_there(self, hub_file: Path) -> None:
        async def constructed() -> Equipment:
            async with outbound() as http:
                return equip(load(hub_file, ENVIRON), http, SystemClock())

        equipment = asyncio.run(constructed())
        rules, arsenal = equipment.plant.rules, equipment.plant.actions
        assert set(rules.receivers) == set(RECEIVERS)
        assert all(receiver.destinations for receiver in rules.receivers.values())
        told = [*(told for one in rules.receivers.values() for told in one.destinations),
                *(told for contacts in rules.contacts.values() for told in contacts)]
        assert set(equipment.plant.channels) == {one.key for one in told}
        assert rules.targets == {target["name"] for target in HUB["targets"]}
        assert {name for name, _ in arsenal} == set(rules.actions) == {action["name"] for action in HUB["actions"]}
        assert ("safe-mode", "agent-btc") in arsenal
        assert {book.name for book in rules.runbooks} == {book.name for book in RUNBOOKS}
        assert set(equipment.askers) == {"alertmanager"}
        assert equipment.config.warnings == ()
        assert equipment.door.api_token == SECRETS["alerthub-api-token"]

    def test_check_finds_nothing_wrong_and_shows_no_secret(self, hub_file: Path) -> None:
        done = alerthub(hub_file.parent, "check", "alerthub.yml")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "alerthub.yml: ok\n"
        assert not any(secret in done.stdout + done.stderr for secret in SECRETS.values())

    def test_check_names_each_secret_that_is_missing(self, hub_file: Path) -> None:
        for name in ("slack-bot-token", "prefect-password"):
            (hub_file.parent / "secrets" / name).unlink()
        done = alerthub(hub_file.parent, "check", "alerthub.yml")
        assert done.returncode == 1
        places = [re.match(r"alerthub\.yml:(\d+):\d+: cannot read \S+/secrets/(\S+): No such file", line)
                  for line in done.stderr.splitlines()]
        lines = hub_file.read_text().splitlines()
        assert [place and place[2] for place in places] == ["slack-bot-token", "prefect-password"]
        assert all(place and place[2] in lines[int(place[1]) - 1] for place in places)

    def test_check_names_each_channel_that_cannot_work(self, hub_file: Path) -> None:
        hub_file.write_text(hub_file.read_text().replace("  smtp_from: ${SMTP_FROM}\n", ""))
        done = alerthub(hub_file.parent, "check", "alerthub.yml")
        assert done.returncode == 1
        mails = [number for number, line in enumerate(hub_file.read_text().splitlines(), 1) if "- to: " in line]
        assert [int(line.split(":")[1]) for line in done.stderr.splitlines()] == mails

    @pytest.mark.parametrize(("alert", "told", "runbook"), [
        ("EtlFailureRatioHigh", {"slack:#alerts"}, "etl-failure-ratio-high"),
        ("AgentRewardNegative", {"email:risk@example.com"}, "agent-reward-negative"),
    ])
    def test_routes_test_tells_who_would_hear_of_it(self, hub_file: Path, alert: str, told: set[str], runbook: str) -> None:
        labels = [f"{name}={value}" for name, value in labels_of(alert).items()]
        done = alerthub(hub_file.parent, "routes", "test", "--json", *labels)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        (first, second) = answer["routes"]
        assert (set(first["destinations"]), answer["runbook"]) == (told, runbook)
        assert [*first["actions"], *second["actions"]] == [
            action for route in routes_of(labels_of(alert)) for action in route.get("actions", [])]
