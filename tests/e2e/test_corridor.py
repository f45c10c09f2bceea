"""The whole corridor with real programs: the toy agent's figures → Prometheus → Alertmanager → hub → people and machines.

Everything that users run is what deploy/ gives them; only addresses, secrets and waiting times are the test's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from alerthub.toy_agent import ToyAgent
from tests.kit.agent import RunningAgent, running_agent
from tests.kit.binaries import LOCAL, Alertmanager, Prometheus, impatient, wait_until
from tests.kit.deployment import AGENT_SIGNING, DEPLOY, ENVIRON, SECRETS, deployed, write_secrets
from tests.kit.hub_process import HubProcess, post
from tests.kit.mlflow import RealMlflow
from tests.kit.prefect import PrefectServer
from tests.kit.providers.http import FakeProvider
from tests.kit.providers.kubernetes import ApiServer
from tests.kit.providers.pagerduty import FakePagerDuty
from tests.kit.providers.slack import CHANNEL, FakeSlack, Posted
from tests.kit.providers.smtp import FakeSmtp, Mail
from tests.kit.providers.telegram import FakeTelegram
from tests.kit.served import served

pytestmark = [pytest.mark.alertmanager, pytest.mark.prefect, pytest.mark.mlflow, pytest.mark.slow]

STARTED = {"prefect-retry", "autoscale", "registry-warning", "safe-mode"}       # and one that waits for people
QUIET = {"rolling_reward": 1, "feature_drift_ks_pvalue": {"spread": 0.5}, "inference_latency_seconds": [0.02] * 20}
TROUBLE = {"etl_flow_failure_total": 10, "etl_flow_success_total": 90, "inference_latency_seconds": [0.8] * 20,
           "rolling_reward": -1000, "feature_drift_ks_pvalue": {"spread": 0.001}}
RELIEF = {"etl_flow_success_total": 100_000, "inference_latency_seconds": [0.02] * 5_000, "rolling_reward": 1_000_000,
          "feature_drift_ks_pvalue": {"spread": 0.5}}
TRIGGERS = {"EtlFailureRatioHigh", "InferenceLatencyHigh", "AgentRewardNegative", "FeatureDriftDetected"}
BY_SEVERITY = {"OtherCritical": "critical", "OtherWarning": "warning", "OtherInfo": "info", "OtherUnknown": "page-me"}


@dataclass
class Stage:
    """The hub and all that it talks to."""

    slack: FakeSlack = field(default_factory=lambda: FakeSlack(SECRETS["slack-bot-token"]))
    telegram: FakeTelegram = field(default_factory=lambda: FakeTelegram(SECRETS["telegram-bot-token"]))
    post: FakeSmtp = field(default_factory=lambda: FakeSmtp(login=("hub", SECRETS["smtp-password"])))
    pagerduty: FakePagerDuty = field(default_factory=lambda: FakePagerDuty(SECRETS["pagerduty-routing-key"]))
    cluster: ApiServer = field(default_factory=lambda: ApiServer(SECRETS["kubernetes-token"], 2, "drl", "inference"))
    kubernetes: FakeProvider = field(init=False)
    prefect: PrefectServer = field(init=False)
    mlflow: RealMlflow = field(init=False)
    agent: RunningAgent = field(init=False)
    prometheus: Prometheus = field(init=False)
    alertmanager: Alertmanager = field(init=False)
    hub: HubProcess = field(init=False)

    def roots(self, word: str) -> list[Posted]:
        """Slack's live messages about this alert."""
        return [message for message in self.slack.in_channels if word in message.text]

    def root(self, word: str) -> Posted:
        (found,) = self.roots(word)
        return found

    def mails(self, to: str, word: str) -> list[Mail]:
        return [mail for mail in self.post.mails if mail.recipients == (to,) and word in str(mail.message["Subject"])]

    def paged(self, word: str) -> list[str]:
        """The states of PagerDuty's incidents about this alert."""
        return [entry.status for entry in self.pagerduty.incidents.values() if word in entry.summary]

    def chats(self, word: str) -> list[str]:
        """What Telegram's live messages about this alert say now."""
        return [sent.text for sent in self.telegram.roots if word in sent.text]

    def states(self) -> dict[str, str]:
        """How far each action is."""
        return {run["action"]: run["state"] for run in self.hub.runs()}

    def mode(self) -> str:
        """What the agent says of itself."""
        return str(httpx.get(f"{self.agent.url}/mode", **LOCAL).json()["mode"])

    def resolved(self) -> set[str]:
        return {one["title"].split(" ")[0] for one in self.hub.incidents("resolved")}


def configured(stage: Stage, secrets: Path) -> HubProcess:
    """The hub, not yet started: its own file, with the addresses of this stage."""
    more = {"slack_base_url": stage.slack.base_url, "telegram_api_url": stage.telegram.url,
            "pagerduty_url": stage.pagerduty.enqueue_url, "smtp_tls_ca_file": stage.post.ca_file}
    addresses = {"listen: 127.0.0.1:8095": "listen: ${HUB_LISTEN}", "http://127.0.0.1:9093": "${ALERTMANAGER}",
                 "http://127.0.0.1:8000": stage.agent.url,
                 "\nglobal:\n": "\nglobal:\n" + "".join(f"  {key}: {value}\n" for key, value in more.items())}
    environ = {**ENVIRON, "SMTP_SMARTHOST": stage.post.smarthost, "PREFECT_API": stage.prefect.api,
               "MLFLOW_URL": stage.mlflow.url, "KUBERNETES_API": stage.kubernetes.url}
    return HubProcess(deployed("alerthub.yml", secrets, addresses), environ, SECRETS["alerthub-api-token"])


@pytest.fixture(scope="module")
def prefect() -> Iterator[PrefectServer]:
    """With the deployments of the file, and no worker: what is queued stays so."""
    with PrefectServer() as server:
        for flow, name in (("etl", "features"), ("retrain", "drl")):
            server.has_deployment(flow, name)
        yield server


@pytest.fixture(scope="module")
def mlflow() -> Iterator[RealMlflow]:
    """With two versions of the agent's model, the second of them in use."""
    with RealMlflow() as server:
        server.has_model("agent-btc", versions=2)
        server.post("/registered-models/alias", {"name": "agent-btc", "alias": "champion", "version": "2"})
        yield server


@pytest.fixture
def stage(tmp_path: Path, prefect: PrefectServer, mlflow: RealMlflow) -> Iterator[Stage]:
    """All of it, started: figures are good, Prometheus has looked twice."""
    secrets, stage = write_secrets(tmp_path), Stage()
    stage.kubernetes, stage.prefect, stage.mlflow = FakeProvider(stage.cluster), prefect, mlflow
    rules = impatient((DEPLOY / "prometheus" / "rules" / "drl.yml").read_text())
    with ExitStack() as stack:
        stack.enter_context(served(stage.slack, stage.telegram, stage.post, stage.pagerduty, stage.kubernetes))
        stage.agent = stack.enter_context(running_agent(ToyAgent(name="agent-btc", secret=AGENT_SIGNING)))
        stage.agent.agent.set_all(QUIET)
        stage.hub = configured(stage, secrets)
        stage.alertmanager = stack.enter_context(Alertmanager(deployed("alertmanager.yml", secrets, {
            "http://127.0.0.1:8095": stage.hub.url, "group_interval: 30s": "group_interval: 1s"})))
        stage.hub.environ = {**stage.hub.environ, "ALERTMANAGER": stage.alertmanager.url}
        stack.enter_context(stage.hub)
        stage.prometheus = stack.enter_context(
            Prometheus(rules, [f"127.0.0.1:{stage.agent.port}"], [stage.alertmanager.url]))
        wait_until(lambda: stage.prometheus.query("count_over_time(agent:rolling_reward:finite[1m]) > 1"), 30, "two looks")
        yield stage


def has_all_happened(stage: Stage) -> bool:
    return (set(stage.states()) >= {*STARTED, "queue-retraining"} and stage.mode() == "safe"
            and bool(stage.chats("InferenceLatencyHigh"))
            and len(stage.pagerduty.incidents) >= 3 and len(stage.slack.in_channels) >= 5
            and bool(stage.mails("risk@example.com", "")) and bool(stage.mails("team@example.com", "")))


def has_all_ended(stage: Stage) -> bool:
    """As people see it; the hub's own view comes earlier."""
    return (stage.resolved() >= TRIGGERS and all("RESOLVED" in text for text in stage.chats(""))
            and stage.paged("InferenceLatencyHigh") == stage.paged("AgentRewardNegative") == ["resolved"]
            and all("RESOLVED" in stage.root(alert).text for alert in ("EtlFailureRatioHigh", "FeatureDriftDetected"))
            and "RESOLVED" in stage.mails("risk@example.com", "")[-1].part("text/plain"))


def test_from_the_figures_of_an_agent_to_the_right_people_and_to_a_safe_agent(stage: Stage) -> None:
    assert post(stage.hub.hook(), {"version": "4", "alerts": []}) == 401
    wait_until(lambda: stage.roots("Watchdog"), 30, "the way from Prometheus to Slack works")
    assert (stage.mode(), stage.hub.runs(), stage.kubernetes.requests) == ("trading", [], [])
    stage.agent.agent.set_all(TROUBLE)
    stage.alertmanager.post(*({"alertname": name, "agent": "agent-btc", "severity": word} for name, word in BY_SEVERITY.items()))
    wait_until(lambda: has_all_happened(stage), 60, "everything of the table")
    wait_until(stage.hub.is_quiet, 30, "the hub has no more to say")
    check_people(stage)
    check_machines(stage)
    check_safe_mode(stage)
    stage.agent.agent.set_all(RELIEF)
    wait_until(lambda: has_all_ended(stage), 60, "everybody knows that it is over")
    wait_until(stage.hub.is_quiet, 30, "the hub has no more to say")
    check_end(stage)
    check_machines(stage)
    check_safe_mode(stage)
    check_health(stage)


def check_people(stage: Stage) -> None:
    """Who hears of what: each alert once, where the table says, and nowhere else."""
    assert titles(message.text for message in stage.slack.in_channels) == {
        "Watchdog", "EtlFailureRatioHigh", "FeatureDriftDetected", "OtherWarning", "OtherUnknown"}
    assert {message.sent["channel"] for message in stage.slack.in_channels} <= {"#alerts", CHANNEL}   # an edit names it by its id
    assert titles(stage.chats("")) == {"InferenceLatencyHigh"}
    assert {sent.chat for sent in stage.telegram.roots} == {ENVIRON["TELEGRAM_CHAT_ID"]}
    assert titles(entry.summary for entry in stage.pagerduty.incidents.values()) == {
        "InferenceLatencyHigh", "AgentRewardNegative", "OtherCritical"}
    assert titles(str(mail.message["Subject"]) for mail in stage.post.mails) == {"AgentRewardNegative", "OtherInfo"}
    assert stage.mails("risk@example.com", "AgentRewardNegative")
    assert len(stage.mails("team@example.com", "OtherInfo")) == 1
    assert all(mail.was_encrypted and mail.login == "hub" for mail in stage.post.mails)
    assert "https://hub.example.com/runbooks/etl-failure-ratio-high" in stage.root("EtlFailureRatioHigh").sent["text"]


def titles(texts: Iterable[str]) -> set[str]:
    """The alerts that the texts are about. A text about none of ours is given whole."""
    known = (*TRIGGERS, *BY_SEVERITY, "Watchdog")
    return {next((name for name in known if name in text), text) for text in texts}


def check_machines(stage: Stage) -> None:
    """Each action once, as its own system tells it; and what people have to agree to waits for them."""
    assert stage.states() == {**dict.fromkeys(STARTED, "succeeded"), "queue-retraining": "awaiting_approval"}
    assert len(stage.hub.runs()) == len(STARTED) + 1
    (flow_run,) = stage.prefect.flow_runs()
    assert flow_run["parameters"] == {"agent": "agent-btc"}
    assert flow_run["deployment_id"] == stage.prefect.get("/deployments/name/etl/features")["id"]
    assert (flow_run["state_type"], "alerthub" in flow_run["tags"]) == ("SCHEDULED", True)
    assert stage.mlflow.tags("agent-btc", "2") == {"drift": "warning"}
    assert stage.mlflow.tags("agent-btc", "1") == {}
    assert (stage.cluster.replicas, len(stage.cluster.changes)) == (6, 1)
    reports = {run["action"]: run["report"] for run in stage.hub.runs()}
    assert "not executed yet" in reports["prefect-retry"]["verified"]
    assert reports["registry-warning"]["request"]["before"] is None


def check_safe_mode(stage: Stage) -> None:
    """The agent is safe because it says so, and stays so; the risk team has it in writing."""
    assert stage.mode() == "safe"
    (run,) = [run for run in stage.hub.runs() if run["action"] == "safe-mode"]
    assert (run["state"], run["direction"], run["report"]["verified"]) == ("succeeded", "tighten", "safe")
    assert [push.mode for push in stage.agent.agent.pushes] == ["safe"]
    assert any("Action safe-mode on agent-btc succeeded" in mail.part("text/plain")
               for mail in stage.mails("risk@example.com", "AgentRewardNegative"))


def check_end(stage: Stage) -> None:
    """Each message in its place says that it is over; what goes on stays open."""
    for alert in ("EtlFailureRatioHigh", "FeatureDriftDetected"):
        message = stage.root(alert)
        assert message.edits > 0
        assert any("Resolved" in line.text for line in stage.slack.thread(message.ts))
    (chat,) = stage.telegram.roots
    assert chat.edits > 0
    assert any("Resolved" in sent.text and sent.reply_to == chat.id for sent in stage.telegram.replies)
    first, *later = stage.mails("risk@example.com", "AgentRewardNegative")
    assert {mail.message["In-Reply-To"] for mail in later} == {first.message["Message-ID"]}
    assert [entry.opened for entry in stage.pagerduty.incidents.values()] == [1, 1, 1]
    assert not stage.pagerduty.dropped
    assert {one["title"].split(" ")[0] for one in stage.hub.incidents("open")} == {"Watchdog", *BY_SEVERITY}
    check_people(stage)


def check_health(stage: Stage) -> None:
    """No attempt failed on the way, and no alert was told by a message of its own twice."""
    assert set(stage.hub.health().values()) == {"healthy"}
    assert {delivery["state"] for delivery in stage.hub.api("deliveries?limit=200")["items"]} == {"sent"}
    assert len(stage.slack.in_channels) == 5
    assert (len(stage.telegram.roots), len(stage.pagerduty.incidents)) == (1, 3)
    assert stage.hub.metric("alerthub_errors_total") == 0
    assert not any(secret in stage.hub.log.read_text() for secret in SECRETS.values())
