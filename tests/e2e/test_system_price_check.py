"""The price-check pipeline, end to end with real programs: its figures → Prometheus → Alertmanager → hub → people, the retry of
the very run that failed, MLflow's registry, and trainings that wait for a person. And what its alerts say, in Turkish, French
and English, arrives as it was written."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.header import decode_header
from email.parser import BytesHeaderParser
from html import escape
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kit.binaries import wait_until
from tests.kit.deployment import DEPLOY
from tests.kit.mlflow import RealMlflow
from tests.kit.prefect import PrefectServer
from tests.kit.providers.kubernetes import ApiServer
from tests.kit.providers.prefect import FLOW_RUN
from tests.kit.providers.smtp import Mail
from tests.kit.system import WATCHDOG, System, on_stage, together

pytestmark = [pytest.mark.alertmanager, pytest.mark.prefect, pytest.mark.mlflow, pytest.mark.slow]

NAME, MODEL, SITE, DATASET = "price-check", "price-model", "market.example", "fiyatlar"
CRITICAL = {"PipelineFailed", "ModelDriftDetected", "APIHighErrorRate"}
WARNING = {"ScrapingPerformanceDegraded", "HighLatency", "DataQualityIssue"}
INFO = {"ModelRetrainingNeeded", "DataVolumeAnomaly", "PriceCheckFiguresMissing"}
BY_FIGURES = {*CRITICAL, *WARNING, *INFO}
DOWN = "PriceCheckDown"
ALERTS = frozenset({*BY_FIGURES, DOWN})
IN_SLACK = sorted({*WARNING, WATCHDOG})
RUNS = [("drift-warning", "succeeded"), ("pipeline-retry", "succeeded"), ("retrain-after-a-month", "awaiting_approval"),
        ("retrain-after-drift", "awaiting_approval")]
DAY = 86_400
OK, ERRORS = 'http_requests_total{status="200"}', 'http_requests_total{status="503"}'
TRIES, FAILURES = (f'price_check_{word}_total{{site="{SITE}"}}' for word in ("scrapes", "scrape_failures"))
DRIFT, TRAINED = (f'price_check_model_{word}{{model="{MODEL}"}}' for word in ("drift_score", "last_training_timestamp_seconds"))
QUALITY, RECORDS = (f'price_check_{word}{{dataset="{DATASET}"}}' for word in ("data_quality_score", "records_collected"))
OTHER_QUALITY = 'price_check_data_quality_score{dataset="stocks"}'
WELL = {DRIFT: 0.05, QUALITY: 97, RECORDS: 1000, OTHER_QUALITY: 99}
UNWELL = {DRIFT: 0.2, QUALITY: 80, RECORDS: 100, OTHER_QUALITY: float("nan")}


@dataclass(frozen=True)
class Machines:
    mlflow: RealMlflow
    prefect: PrefectServer
    flow_run: str       # of the pipeline, and it has failed


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """A model with two versions, the first of which is in use; and the deployments, which nobody works on."""
    mlflow, prefect = RealMlflow(), PrefectServer()
    with together(mlflow, prefect):
        mlflow.has_model(MODEL, versions=2)
        mlflow.post("registered-models/alias", {"name": MODEL, "alias": "champion", "version": "1"})
        prefect.has_deployment("retrain", "price-model")
        daily = prefect.has_deployment("price-check", "daily")
        flow_run = str(prefect.post(f"/deployments/{daily}/create_flow_run", {})["id"])
        prefect.post(f"/flow_runs/{flow_run}/set_state", {"state": {"type": "FAILED", "message": "boom"}, "force": True})
        yield Machines(mlflow, prefect, flow_run)


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """On its own: nobody here answers for Prefect and MLflow."""
    yield from started(System(NAME, ALERTS, ApiServer()), tmp_path, FLOW_RUN)


@pytest.fixture
def whole(tmp_path: Path, machines: Machines) -> Iterator[System]:
    """With the real Prefect and MLflow."""
    environ = {"MLFLOW_URL": machines.mlflow.url, "PREFECT_API": machines.prefect.api}
    yield from started(System(NAME, ALERTS, ApiServer(), environ), tmp_path, machines.flow_run)


def started(system: System, folder: Path, flow_run: str) -> Iterator[System]:
    now = time.time()
    system.service.remember(RECORDS, 1000, range(int(now) - 3000, int(now) - 60, 10))      # what is usual
    system.service.set_all({**WELL, failed(flow_run): 0, TRAINED: now - DAY})
    serve(system, 0.02, 1000)
    with on_stage(system, folder):
        yield system


def failed(flow_run: str) -> str:
    return f'price_check_pipeline_last_run_failed{{pipeline="daily",flow_run="{flow_run}"}}'


def serve(system: System, seconds: float, count: int, errors: int = 0, unread: int = 0) -> None:
    """So many more requests and pages of the shop; the requests take so long, so many fail, so many pages cannot be read."""
    service = system.service
    service.add_requests("http_request_duration_seconds", seconds, count)
    added = {OK: count - errors, ERRORS: errors, TRIES: count, FAILURES: unread}
    service.set_all({series: service.series.get(series, 0) + more for series, more in added.items()})


# --- who hears of what, and what is done ------------------------------------------------------------------------------------


def has_all_happened(system: System) -> bool:
    return (system.in_slack() == IN_SLACK and system.paged() == sorted(CRITICAL) and system.mailed() == INFO
            and system.runs() == RUNS)


def has_all_ended(system: System) -> bool:
    """As people see it; the hub's own view comes earlier."""
    return (set(system.in_slack("RESOLVED")) == WARNING and system.paged("resolved") == sorted(CRITICAL)
            and all(system.mailed_end(alert) for alert in INFO))


def test_each_alert_reaches_its_people_and_what_a_machine_may_do_is_done_once(whole: System, machines: Machines) -> None:
    wait_until(lambda: whole.in_slack() == [WATCHDOG], 30, "the way from Prometheus to Slack works")
    serve(whole, 7, 1000, errors=500, unread=500)
    whole.service.set_all({**UNWELL, failed(machines.flow_run): 1, TRAINED: time.time() - 31 * DAY})
    wait_until(lambda: has_all_happened(whole), 60, "everything of the table")
    wait_until(whole.hub.is_quiet, 30, "the hub has no more to say")
    assert whole.fires(*BY_FIGURES)
    check_people(whole)
    check_machines(whole, machines)
    serve(whole, 0.02, 1_000_000)
    whole.service.set_all({**WELL, failed(machines.flow_run): 0, TRAINED: time.time()})
    wait_until(lambda: has_all_ended(whole), 60, "everybody knows that it is over")
    wait_until(whole.hub.is_quiet, 30, "the hub has no more to say")
    check_people(whole)
    check_machines(whole, machines)
    whole.check_health()


def check_people(system: System) -> None:
    """Who hears of what: each alert once, where the table says, and nowhere else."""
    assert system.in_slack() == IN_SLACK
    assert system.paged() == sorted(CRITICAL)
    assert [one.opened for one in system.pagerduty.incidents.values()] == [1, 1, 1]
    assert system.mailed() == INFO
    assert {mail.recipients for mail in system.post.mails} == {("team@example.com",)}
    assert system.in_telegram() == []
    (root,) = [message for message in system.slack.in_channels if "HighLatency" in message.text]
    assert "https://hub.example.com/runbooks/price-check-high-latency" in root.sent["text"]


def check_machines(system: System, machines: Machines) -> None:
    """The failed run and no other is tried again, once; the version in use has its mark; what costs hours waits for people."""
    assert system.runs() == RUNS
    (only,) = machines.prefect.flow_runs()
    assert only["id"] == machines.flow_run
    states = machines.prefect.get(f"/flow_run_states/?flow_run_id={machines.flow_run}")
    assert [state["name"] for state in states].count("AwaitingRetry") == 1
    assert machines.mlflow.tags(MODEL, "1") == {"drift": "warning"}
    assert machines.mlflow.tags(MODEL, "2") == {}


def test_that_nothing_can_be_seen_any_more_is_paged(system: System) -> None:
    system.service.is_down = True
    wait_until(lambda: system.paged("triggered") == [DOWN], 30, "who is on call is paged")
    system.service.is_down = False
    wait_until(lambda: system.paged("resolved") == [DOWN], 30, "it is over there")
    assert system.in_slack() == [WATCHDOG]


# --- what the alerts say ----------------------------------------------------------------------------------------------------

EVERYWHERE = """
  - name: everywhere
    slack_configs: [{channel: "#alerts"}]
    telegram_configs: [{chat_id: 123456789}]
    email_configs: [{to: team@example.com}]
    pagerduty_configs: [{routing_key_file: SECRETS/pagerduty-routing-key}]
"""
# Letters whose upper and lower case are not each other's in every language, signs that mail and chat treat in ways of their
# own, letters of several code points, and some that need four bytes.
HARD = {
    "summary": "İstanbul’da ILIK, ığdır’da ÇİĞ: <b>düşüş</b> & *artış* _ğ_ ~ş~ `ç` — œuvre « été »… cafe\u0301 \U0001f3f7",
    "description": "Ağ çöktü; « l’œil » à 5 °C, ½ × 3 ≠ 2, ünïcödé, 価格, цена, السعر \U0001f1f9\U0001f1f7. "
                   + "Güzel. " * 20 + "Son.",
}


def said() -> dict[str, dict[str, str]]:
    """What each alert of the rules says, with something in the place of what Prometheus fills in; and one that is hard."""
    tree = yaml.safe_load((DEPLOY / "prometheus" / "rules" / f"{NAME}.yml").read_text(encoding="utf-8"))
    rules = [rule for group in tree["groups"] for rule in group["rules"] if rule.get("alert", WATCHDOG) != WATCHDOG]
    return {"Hard": HARD, **{rule["alert"]: {name: filled(text) for name, text in rule["annotations"].items()} for rule in rules}}


def filled(text: str) -> str:
    return re.sub(r"\{\{.*?\}\}", "93,7", text)


def tell_everywhere(system: System, folder: Path) -> None:
    """The hub anew, with one route more: by Slack, Telegram, mail and PagerDuty at once."""
    wait_until(lambda: system.in_slack() == [WATCHDOG], 30, "the way from Prometheus to Slack works")
    wait_until(system.hub.is_quiet, 30, "nothing is under way")
    file = system.hub.folder / "alerthub.yml"
    text = file.read_text(encoding="utf-8")
    for old, new in {
        "\nreceivers:\n": f"\nreceivers:{EVERYWHERE.replace('SECRETS', str(folder / 'secrets'))}",
        "\nglobal:\n": f"\nglobal:\n  telegram_bot_token_file: {folder / 'secrets'}/telegram-bot-token\n",
        "\n  routes:\n": "\n  routes:\n    - {matchers: ['everywhere=\"yes\"'], receiver: everywhere}\n",
    }.items():
        assert old in text
        text = text.replace(old, new, 1)
    system.hub.stop()
    file.write_text(text, encoding="utf-8")
    system.hub.start()


def test_what_the_alerts_say_arrives_unharmed_in_every_channel(system: System, tmp_path: Path) -> None:
    """The subject of a mail names what the hub groups by: so that it has to hold these letters too, the data set has them."""
    tell_everywhere(system, tmp_path)
    alerts = said()
    labels = {"severity": "critical", "everywhere": "yes"}
    system.alertmanager.call("POST", "/api/v2/alerts", [
        {"labels": {**labels, "alertname": name, "dataset": texts["summary"]}, "annotations": texts}
        for name, texts in alerts.items()])
    wait_until(lambda: len(system.slack.in_channels) == len(alerts) + 1, 30, "all of them, and the watchdog, in Slack")
    wait_until(lambda: len(system.post.mails) == len(system.pagerduty.incidents) == len(alerts), 30, "a mail and a page for each")
    wait_until(lambda: len(system.telegram.roots) == len(alerts), 40, "all of them in Telegram, one a second")
    for name, texts in alerts.items():
        check_chats(system, name, texts)
        (mail,) = [mail for mail in system.post.mails if f"] {name} (" in subject(mail)]
        check_mail(mail, name, texts)


def check_chats(system: System, name: str, texts: dict[str, str]) -> None:
    (in_slack,) = [message for message in system.slack.in_channels if f"FIRING: {name} " in message.text]
    (in_telegram,) = [sent for sent in system.telegram.roots if f"\n{name} (" in sent.text]
    (page,) = [one for one in system.pagerduty.incidents.values() if one.summary.startswith(f"{name} (")]
    for text in texts.values():
        assert text in in_slack.text
        assert text in in_telegram.text
    assert texts["summary"] in page.summary
    assert texts["description"] in str(page.events[0]["payload"]["custom_details"])


def check_mail(mail: Mail, name: str, texts: dict[str, str]) -> None:
    """Its headers hold ASCII only, in lines that every server takes; decoded by the book, they say what the alert says."""
    head = mail.content.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert max(len(line) for line in head.split(b"\r\n")) <= 78
    assert re.fullmatch(rf"\[#\d+\] {name} \(dataset={re.escape(texts['summary'])}\)", subject(mail))
    assert str(mail.message["Subject"]).lstrip() == subject(mail)
    assert texts["summary"] in mail.part("text/plain")
    assert texts["description"] in mail.part("text/plain")
    assert escape(texts["description"]) in mail.part("text/html")


def subject(mail: Mail) -> str:
    """RFC 2047 to the letter: no word over 75 characters, and each is text by itself, so no letter is cut in two."""
    raw: Any = BytesHeaderParser().parsebytes(mail.content)["Subject"].replace("\r\n", "").lstrip()
    for word in re.findall(r"=\?[^\s]+\?=", raw):
        assert len(word) <= 75
        ((content, charset),) = decode_header(word)
        assert charset == "utf-8"
        content.decode("utf-8")
    return "".join(part.decode(charset or "ascii") if isinstance(part, bytes) else part for part, charset in decode_header(raw))
