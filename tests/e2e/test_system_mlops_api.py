"""The MLOps API, end to end with real programs: its figures → Prometheus → Alertmanager → hub → people, MLflow's registry, a
retraining that waits for a person, and a restart of its pods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.binaries import wait_until
from tests.kit.deployment import SECRETS
from tests.kit.mlflow import RealMlflow
from tests.kit.providers.kubernetes import ApiServer
from tests.kit.system import WATCHDOG, System, on_stage

pytestmark = [pytest.mark.alertmanager, pytest.mark.mlflow, pytest.mark.slow]

NAME = "mlops-api"
CRITICAL = {"SystemDown", "HighErrorRate", "HighLatency"}
WARNING = {"ModerateLatency", "LowCacheHitRate", "ModelDrift"}
BY_FIGURES = {*CRITICAL, *WARNING, "ReducedCacheHitRate"} - {"SystemDown"}
IN_SLACK = sorted({*CRITICAL, *WARNING, WATCHDOG})
DRIFT = 'model_drift_score{{model="{}"}}'
OK, ERRORS = 'http_requests_total{status="200"}', 'http_requests_total{status="503"}'


def serve(system: System, seconds: float, count: int, errors: int = 0, misses: int = 0) -> None:
    """So many more requests, which take so long; so many of them fail, so many miss the cache."""
    service = system.service
    service.add_requests("http_request_duration_seconds", seconds, count, (0.5, 1, 2, 5, 10))
    added = {OK: count - errors, ERRORS: errors, "cache_hits_total": count - misses, "cache_misses_total": misses}
    service.set_all({series: service.series.get(series, 0) + more for series, more in added.items()})


@pytest.fixture(scope="module")
def mlflow() -> Iterator[RealMlflow]:
    """With two models of two versions each, the first of which is in use."""
    with RealMlflow() as server:
        for model in ("churn", "fraud"):
            server.has_model(model, versions=2)
            server.post("registered-models/alias", {"name": model, "alias": "champion", "version": "1"})
        yield server


@pytest.fixture
def system(tmp_path: Path, mlflow: RealMlflow) -> Iterator[System]:
    system = System(NAME, frozenset({*CRITICAL, *BY_FIGURES}), ApiServer(SECRETS["kubernetes-token"], 2, "prod", NAME),
                    {"MLFLOW_URL": mlflow.url})
    system.service.set_all({DRIFT.format("churn"): 0.05, DRIFT.format("fraud"): 0.05})
    serve(system, 0.02, 1000)
    with on_stage(system, tmp_path):
        yield system


def has_all_happened(system: System) -> bool:
    return (system.in_slack() == IN_SLACK and system.paged() == sorted(CRITICAL) and bool(system.mailed())
            and ("restart-api", "succeeded") in system.runs() and ("mark-drift", "succeeded") in system.runs())


def has_all_ended(system: System) -> bool:
    """As people see it; the hub's own view comes earlier."""
    return (set(system.in_slack("RESOLVED")) >= {*CRITICAL, *WARNING} and system.paged("resolved") == sorted(CRITICAL)
            and system.mailed_end("ReducedCacheHitRate"))


def test_each_alert_reaches_its_people_and_what_heals_itself_is_healed_once(system: System, mlflow: RealMlflow) -> None:
    wait_until(lambda: system.in_slack() == [WATCHDOG], 30, "the way from Prometheus to Slack works")
    serve(system, 6, 1000, errors=500, misses=900)
    system.service.set_all({DRIFT.format("churn"): 0.5})
    wait_until(lambda: system.fires(*BY_FIGURES), 20, f"{BY_FIGURES} fire, and nothing else")
    system.service.is_down = True
    wait_until(lambda: has_all_happened(system), 60, "everything of the table")
    wait_until(system.hub.is_quiet, 30, "the hub has no more to say")
    check_people(system)
    check_machines(system, mlflow)
    assert ("queue-retraining", "awaiting_approval") in system.runs()
    assert any("queue-retraining" in message.text for message in system.slack.asked), "those who may approve are asked in person"
    system.service.is_down = False
    system.service.set_all({DRIFT.format("churn"): 0.05})
    serve(system, 0.02, 1_000_000)
    wait_until(lambda: has_all_ended(system), 60, "everybody knows that it is over")
    wait_until(system.hub.is_quiet, 30, "the hub has no more to say")
    check_people(system)
    check_machines(system, mlflow)
    system.check_health()


def check_people(system: System) -> None:
    """Who hears of what: each alert once, where the table says, and nowhere else."""
    assert system.in_slack() == IN_SLACK
    assert system.paged() == sorted(CRITICAL)
    assert system.mailed() == {"ReducedCacheHitRate"}
    assert {mail.recipients for mail in system.post.mails} == {("team@example.com",)}
    assert system.in_telegram() == []
    (root,) = [message for message in system.slack.in_channels if "HighErrorRate" in message.text]
    assert "https://hub.example.com/runbooks/mlops-api-high-error-rate" in root.sent["text"]


def check_machines(system: System, mlflow: RealMlflow) -> None:
    """Each action once, as its own system tells it; what a person has to agree to is asked of nobody."""
    assert [action for action, _ in system.runs()] == ["mark-drift", "queue-retraining", "restart-api"]
    assert (len(system.cluster.changes), system.cluster.replicas) == (1, 2)
    assert system.cluster.restarted_at
    assert mlflow.tags("churn", "1") == {"drift": "above 0.2"}
    assert mlflow.tags("churn", "2") == mlflow.tags("fraud", "1") == {}
    assert system.scheduler.requests == []
