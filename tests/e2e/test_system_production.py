"""A model service in production, end to end with real programs: its figures → Prometheus → Alertmanager → hub → people, a
restart of its pods, and a retraining that waits in Prefect.

Everything that users run is what deploy/ gives them; only addresses, secrets and waiting times are the test's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import nan
from pathlib import Path

import pytest

from tests.kit.binaries import Alertmanager, Prometheus, impatient, wait_until
from tests.kit.deployment import DEPLOY, ENVIRON, SECRETS, deployed, write_secrets
from tests.kit.exporter import FakeExporter
from tests.kit.hub_process import HubProcess
from tests.kit.prefect import PrefectServer
from tests.kit.providers.http import FakeProvider
from tests.kit.providers.kubernetes import ApiServer
from tests.kit.providers.pagerduty import FakePagerDuty
from tests.kit.providers.slack import FakeSlack
from tests.kit.providers.smtp import FakeSmtp
from tests.kit.served import served

pytestmark = [pytest.mark.alertmanager, pytest.mark.prefect, pytest.mark.slow]

JOB = "model-service"
DURATION = "http_request_duration_seconds"
CHURN, FRAUD = (f'model_drift_ratio{{model="{model}"}}' for model in ("churn", "fraud"))
BY_FIGURES = {"ModelServiceSlow", "ModelServiceDrifted", "ModelDriftUnknown"}
ALERTS = {*BY_FIGURES, "ModelServiceDown"}
IN_SLACK = {"ModelServiceDown", "ModelServiceSlow", "ModelServiceDrifted", "Watchdog"}
IN_MAILS = {"ModelServiceDrifted", "ModelDriftUnknown"}


@dataclass
class Stage:
    """The hub, the service and all that the hub talks to."""

    prefect: PrefectServer
    slack: FakeSlack = field(default_factory=lambda: FakeSlack(SECRETS["slack-bot-token"]))
    post: FakeSmtp = field(default_factory=lambda: FakeSmtp(login=("hub", SECRETS["smtp-password"])))
    pagerduty: FakePagerDuty = field(default_factory=lambda: FakePagerDuty(SECRETS["pagerduty-routing-key"]))
    cluster: ApiServer = field(default_factory=lambda: ApiServer(SECRETS["kubernetes-token"], 3, "prod", JOB))
    service: FakeExporter = field(default_factory=FakeExporter)
    kubernetes: FakeProvider = field(init=False)
    prometheus: Prometheus = field(init=False)
    alertmanager: Alertmanager = field(init=False)
    hub: HubProcess = field(init=False)

    def __post_init__(self) -> None:
        self.kubernetes = FakeProvider(self.cluster)

    def in_slack(self, word: str = "") -> set[str]:
        return named([message.text for message in self.slack.in_channels if word in message.text])

    def in_mails(self, word: str = "") -> set[str]:
        return named([str(mail.message["Subject"]) for mail in self.post.mails if word in mail.part("text/plain")])

    def paged(self) -> list[tuple[str, str]]:
        """What PagerDuty's incidents are about, and how each stands."""
        return [(*named([entry.summary]), entry.status) for entry in self.pagerduty.incidents.values()]

    def states(self) -> dict[str, str]:
        return {run["action"]: run["state"] for run in self.hub.runs()}


def named(texts: list[str]) -> set[str]:
    """The alerts that the texts are about. A text about none of ours is given whole."""
    return {next((name for name in (*ALERTS, "Watchdog") if name in text), text) for text in texts}


def configured(stage: Stage, secrets: Path) -> HubProcess:
    """The hub, not yet started: its own file, with the addresses of this stage."""
    more = {"slack_base_url": stage.slack.base_url, "pagerduty_url": stage.pagerduty.enqueue_url,
            "smtp_tls_ca_file": stage.post.ca_file}
    addresses = {"listen: 127.0.0.1:8095": "listen: ${HUB_LISTEN}", "http://127.0.0.1:9093": "${ALERTMANAGER}",
                 "\nglobal:\n": "\nglobal:\n" + "".join(f"  {key}: {value}\n" for key, value in more.items())}
    environ = {**ENVIRON, "SMTP_SMARTHOST": stage.post.smarthost, "PREFECT_API": stage.prefect.api,
               "KUBERNETES_API": stage.kubernetes.url}
    return HubProcess(deployed("systems/production.yml", secrets, addresses), environ, SECRETS["alerthub-api-token"])


@pytest.fixture(scope="module")
def prefect() -> Iterator[PrefectServer]:
    """With the deployment of the file, and no worker: what is queued stays so."""
    with PrefectServer() as server:
        server.has_deployment("retrain", "production")
        yield server


@pytest.fixture
def stage(tmp_path: Path, prefect: PrefectServer) -> Iterator[Stage]:
    """All of it, started: the service is well, Prometheus has looked twice."""
    secrets, stage = write_secrets(tmp_path), Stage(prefect)
    stage.service.set_all({CHURN: 0.1, FRAUD: 0.1})
    stage.service.add_requests(DURATION, 0.02, 100)
    with ExitStack() as stack:
        stack.enter_context(served(stage.slack, stage.post, stage.pagerduty, stage.kubernetes, stage.service))
        stage.hub = configured(stage, secrets)
        stage.alertmanager = stack.enter_context(Alertmanager(deployed("alertmanager.yml", secrets, {
            "http://127.0.0.1:8095": stage.hub.url, "group_interval: 30s": "group_interval: 1s"})))
        stage.hub.environ = {**(stage.hub.environ or {}), "ALERTMANAGER": stage.alertmanager.url}
        stack.enter_context(stage.hub)
        rules = impatient((DEPLOY / "prometheus" / "rules" / "production.yml").read_text())
        stage.prometheus = stack.enter_context(Prometheus(rules, [stage.service.address], [stage.alertmanager.url], JOB))
        wait_until(lambda: stage.prometheus.query(f"count_over_time({DURATION}_count[1m]) > 1"), 30, "two looks")
        yield stage


def has_all_happened(stage: Stage) -> bool:
    return (stage.states() == {"restart-service": "succeeded", "queue-retraining": "succeeded"}
            and stage.in_slack() >= IN_SLACK and stage.in_mails() >= IN_MAILS and bool(stage.paged()))


def has_all_ended(stage: Stage) -> bool:
    """As people see it; the hub's own view comes earlier."""
    return (stage.in_slack("RESOLVED") >= IN_SLACK - {"Watchdog"} and stage.in_mails("RESOLVED") >= IN_MAILS
            and stage.paged() == [("ModelServiceDown", "resolved")])


def test_each_alert_reaches_its_people_and_the_service_is_restarted_once(stage: Stage) -> None:
    wait_until(lambda: stage.in_slack() == {"Watchdog"}, 30, "the way from Prometheus to Slack works")
    assert stage.hub.runs() == []
    stage.service.set_all({CHURN: 0.5, FRAUD: nan})
    stage.service.add_requests(DURATION, 0.8, 100)
    wait_until(lambda: stage.prometheus.firing() == {*BY_FIGURES, "Watchdog"}, 20, f"{BY_FIGURES} fire, and nothing else")
    stage.service.is_down = True
    wait_until(lambda: has_all_happened(stage), 60, "everything of the table")
    wait_until(stage.hub.is_quiet, 30, "the hub has no more to say")
    check_people(stage)
    check_machines(stage)
    stage.service.is_down = False
    stage.service.set_all({CHURN: 0.1, FRAUD: 0.1})
    stage.service.add_requests(DURATION, 0.02, 100_000)
    wait_until(lambda: has_all_ended(stage), 60, "everybody knows that it is over")
    wait_until(stage.hub.is_quiet, 30, "the hub has no more to say")
    check_people(stage)
    check_machines(stage)
    check_health(stage)


def check_people(stage: Stage) -> None:
    """Who hears of what: each alert where the table says, and nowhere else."""
    assert stage.in_slack() == IN_SLACK
    assert len(stage.slack.in_channels) == len(IN_SLACK)
    assert stage.in_mails() == IN_MAILS
    assert {mail.recipients for mail in stage.post.mails} == {("team@example.com",)}
    assert [alert for alert, _ in stage.paged()] == ["ModelServiceDown"]
    (root,) = [message for message in stage.slack.in_channels if "ModelServiceDown" in message.text]
    assert "https://hub.example.com/runbooks/model-service-down" in root.sent["text"]


def check_machines(stage: Stage) -> None:
    """Each action once, as its own system tells it."""
    assert stage.states() == {"restart-service": "succeeded", "queue-retraining": "succeeded"}
    assert len(stage.hub.runs()) == 2
    assert (len(stage.cluster.changes), stage.cluster.replicas) == (1, 3)
    assert stage.cluster.restarted_at
    (flow_run,) = stage.prefect.flow_runs()
    assert flow_run["parameters"] == {"reason": "drift above 30 %", "model": "churn"}
    assert flow_run["deployment_id"] == stage.prefect.get("/deployments/name/retrain/production")["id"]
    assert flow_run["state_type"] == "SCHEDULED"


def check_health(stage: Stage) -> None:
    """No attempt failed on the way, and what goes on is open."""
    assert set(stage.hub.health().values()) == {"healthy"}
    assert {delivery["state"] for delivery in stage.hub.api("deliveries?limit=200")["items"]} == {"sent"}
    assert {one["title"].split(" ")[0] for one in stage.hub.incidents("open")} == {"Watchdog"}
    assert stage.hub.metric("alerthub_errors_total") == 0
    assert not any(secret in stage.hub.log.read_text() for secret in SECRETS.values())
