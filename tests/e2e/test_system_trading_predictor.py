"""The trading predictor, end to end with real programs: its figures → Prometheus → Alertmanager → hub → people, MLflow's
registry, a training that waits in Prefect, and a restart of its pods."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.binaries import wait_until
from tests.kit.deployment import SECRETS
from tests.kit.mlflow import RealMlflow
from tests.kit.prefect import PrefectServer
from tests.kit.providers.kubernetes import ApiServer
from tests.kit.system import WATCHDOG, System, on_stage, together

pytestmark = [pytest.mark.alertmanager, pytest.mark.prefect, pytest.mark.mlflow, pytest.mark.slow]

NAME, MODEL, OTHER = "trading-predictor", "btc-direction", "eth-direction"
CRITICAL = {"HighErrorRate", "ComponentUnhealthy", "ConceptDriftDetected", "LowModelAccuracy"}
WARNING = {"HighAPILatency", "HighDriftWarningRate", "LowF1Score", "NoRecentTraining"}
ALERTS = frozenset({*CRITICAL, *WARNING, "LowCacheHitRatio"})
# Two components, each an incident of its own.
CALLED = sorted([*CRITICAL, "ComponentUnhealthy"])
# Of the critical ones those that the ML team deals with.
IN_SLACK = sorted({*WARNING, "ConceptDriftDetected", "LowModelAccuracy", WATCHDOG})
RUNS = [("daily-training", "awaiting_approval"), ("fall-back", "awaiting_approval"), ("mark-drift", "succeeded"),
        ("mark-quality", "succeeded"), ("mark-quality", "succeeded"), ("queue-retraining", "awaiting_approval"),
        ("restart-component", "succeeded")]
CHAT = "987654321"      # a private one: a group is told 10 times a minute only, and the test would last as long
OK, ERRORS = 'http_requests_total{status="200"}', 'http_requests_total{status="500"}'
TRAINED = "model_last_training_timestamp_seconds"


def of(metric: str, model: str = MODEL) -> str:
    return f'{metric}{{model="{model}"}}'


def health(**components: int) -> dict[str, float]:
    return {f'component_health{{component="{name.replace("_", "-")}"}}': value for name, value in components.items()}


WELL = {**health(predictor_api=1, database=1, feed=1), of("concept_drift_detected"): 0, of("model_accuracy"): 0.8,
        of("model_f1_score"): 0.8, of("model_accuracy", OTHER): 0.8, of("model_f1_score", OTHER): 0.8}
UNWELL = {**health(predictor_api=0, database=0), of("concept_drift_detected"): 1, of("model_accuracy"): 0.6,
          of("model_f1_score"): 0.6}


def serve(system: System, seconds: float, count: int, errors: int = 0, misses: int = 0, warnings: int = 0) -> None:
    """So many more requests, which take so long; so many of them fail, miss the cache, raise a drift warning."""
    service = system.service
    service.add_requests("http_request_duration_seconds", seconds, count, (0.5, 1, 2.5))
    added = {OK: count - errors, ERRORS: errors, "cache_hits_total": count - misses, "cache_misses_total": misses,
             of("predictions_total"): count, of("drift_warnings_total"): warnings}
    service.set_all({series: service.series.get(series, 0) + more for series, more in added.items()})


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[RealMlflow, PrefectServer]]:
    """A model with two versions, of which the second is in use and the first is what one can go back to; a deployment, and no
    worker: what is queued stays so."""
    mlflow, prefect = RealMlflow(), PrefectServer()
    with together(mlflow, prefect):
        mlflow.has_model(MODEL, versions=2)
        for alias, version in (("champion", "2"), ("fallback", "1")):
            mlflow.post("registered-models/alias", {"name": MODEL, "alias": alias, "version": version})
        prefect.has_deployment("retrain", NAME)
        yield mlflow, prefect


@pytest.fixture
def system(tmp_path: Path, servers: tuple[RealMlflow, PrefectServer]) -> Iterator[System]:
    mlflow, prefect = servers
    cluster = ApiServer(SECRETS["kubernetes-token"], 2, "trading", "predictor-api")
    system = System(NAME, ALERTS, cluster, {"MLFLOW_URL": mlflow.url, "PREFECT_API": prefect.api, "TELEGRAM_CHAT_ID": CHAT})
    system.service.set_all({**WELL, of(TRAINED, OTHER): time.time()})
    serve(system, 0.02, 1000)
    with on_stage(system, tmp_path):
        yield system


def has_all_happened(system: System) -> bool:
    return (system.in_slack() == IN_SLACK and system.paged() == CALLED and system.in_telegram() == CALLED
            and bool(system.mailed()) and system.runs() == RUNS)


def seen(system: System) -> object:
    return system.in_slack(), system.paged(), system.in_telegram(), system.mailed(), system.runs()


def has_all_ended(system: System) -> bool:
    """As people see it; the hub's own view comes earlier."""
    return (set(system.in_slack("RESOLVED")) >= {*IN_SLACK} - {WATCHDOG} and system.paged("resolved") == CALLED
            and system.in_telegram("RESOLVED") == CALLED and system.mailed_end("LowCacheHitRatio"))


def test_each_alert_reaches_its_people_and_only_what_needs_nobody_is_done(
        system: System, servers: tuple[RealMlflow, PrefectServer]) -> None:
    wait_until(lambda: system.in_slack() == [WATCHDOG], 30, "the way from Prometheus to Slack works")
    serve(system, 2, 1000, errors=500, misses=950, warnings=500)
    system.service.set_all({**UNWELL, of(TRAINED): time.time() - 90_000})
    wait_until(lambda: system.fires(*ALERTS), 20, f"{set(ALERTS)} fire, and nothing else")
    try:
        wait_until(lambda: has_all_happened(system), 60, "everything of the table")
    except AssertionError as error:
        raise AssertionError(f"{error}; instead: {seen(system)}") from None
    wait_until(system.hub.is_quiet, 30, "the hub has no more to say")
    check_people(system)
    check_machines(system, *servers)
    system.service.set_all({**WELL, of(TRAINED): time.time()})
    serve(system, 0.02, 1_000_000)
    wait_until(lambda: has_all_ended(system), 60, "everybody knows that it is over")
    wait_until(system.hub.is_quiet, 30, "the hub has no more to say")
    check_people(system)
    check_machines(system, *servers)
    system.check_health()


def check_people(system: System) -> None:
    """Who hears of what: each alert once, where the table says, and nowhere else."""
    assert system.in_slack() == IN_SLACK
    assert system.paged() == CALLED
    assert system.in_telegram() == CALLED
    assert {sent.chat for sent in system.telegram.roots} == {CHAT}
    assert system.mailed() == {"LowCacheHitRatio"}
    assert {mail.recipients for mail in system.post.mails} == {("team@example.com",)}
    (chat,) = [sent for sent in system.telegram.roots if "HighErrorRate" in sent.text]
    assert "Runbook: The trading predictor fails too often" in chat.text      # the one of this system, of those for that name


def check_machines(system: System, mlflow: RealMlflow, prefect: PrefectServer) -> None:
    """Each action once, as its own system tells it. What a person has to agree to has not been done: the version in use is the
    one of before."""
    assert [action for action, _ in system.runs()] == [action for action, _ in RUNS]
    assert (len(system.cluster.changes), system.cluster.replicas) == (1, 2)
    assert system.cluster.restarted_at
    assert mlflow.tags(MODEL, "2") == {"concept_drift": "detected", "quality": "below limit"}
    assert mlflow.tags(MODEL, "1") == {}
    assert mlflow.get("registered-models/alias", name=MODEL, alias="champion")["model_version"]["version"] == "2"
    assert prefect.flow_runs() == [], "hours of computing, and nobody has said yes"
