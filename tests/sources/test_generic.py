"""The hub's own small format: both forms, and every typing mistake told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from alerthub.domain.alert import Alert, AlertStatus, Batch
from tests.sources.contract import NOW, SourceContract, payload


def rendered(alert: Alert) -> dict[str, Any]:
    item: dict[str, Any] = {"labels": dict(alert.labels), "annotations": dict(alert.annotations), "status": alert.status.value}
    for name, moment in (("starts_at", alert.starts_at), ("ends_at", alert.ends_at)):
        if moment is not None:
            item[name] = moment.isoformat()
    if alert.generator_url:
        item["generator_url"] = alert.generator_url
    return item


class TestGeneric(SourceContract):
    kind = "generic"

    def render(self, batch: Batch) -> bytes:
        return json.dumps(
            {"alerts": [rendered(alert) for alert in batch.alerts], "group_labels": dict(batch.group_labels)},
            ensure_ascii=False,
        ).encode()

    def carried(self, batch: Batch) -> Batch:
        alerts = tuple(replace(alert, fingerprint="") for alert in batch.alerts)
        return replace(batch, alerts=alerts, receiver="", sender="", truncated=0)

    def short(self, **fields: Any) -> bytes:
        return json.dumps({"name": "BackupFailed", **fields}).encode()

    def listed(self, **fields: Any) -> bytes:
        return json.dumps({"alerts": [{"labels": {"alertname": "X"}}, {"labels": {"alertname": "Y"}, **fields}]}).encode()

    def test_the_list_is_read_whole(self) -> None:
        batch = self.parse(payload("generic-list.json"))
        first, second = batch.alerts
        assert first.labels == {"alertname": "BackupFailed", "host": "db-1", "severity": "critical"}
        assert first.annotations == {"summary": "no space left"}
        assert first.generator_url == "https://ci.example.com/job/7"
        assert (first.is_firing, first.ends_at) == (True, None)
        assert second.starts_at == datetime(2026, 11, 20, 13, 0, tzinfo=UTC)
        assert second.ends_at == datetime(2026, 11, 20, 14, 30, 0, 500000, UTC)
        assert batch.group_labels == {"alertname": "BackupFailed"}

    def test_the_short_form_is_one_alert(self) -> None:
        batch = self.parse(payload("generic-short.json"))
        assert batch.alerts == (Alert(
            labels={"alertname": "BackupFailed", "severity": "critical", "host": "db-1", "attempt": "3", "retried": "true"},
            status=AlertStatus.firing, annotations={"summary": "no space left"},
        ),)

    def test_a_name_alone_will_do(self) -> None:
        alert = self.parse(b'{"name": "X"}').alerts[0]
        assert (alert.labels, alert.annotations, alert.is_firing) == ({"alertname": "X"}, {}, True)

    def test_both_forms_name_the_same_alert(self) -> None:
        short = self.parse(self.short(severity="critical", labels={"host": "db-1"}))
        long = self.parse(json.dumps({"alerts": [
            {"labels": {"host": "db-1", "severity": "critical", "alertname": "BackupFailed"}, "status": "resolved"},
        ]}).encode())
        assert short.alerts[0].identity == long.alerts[0].identity

    def test_the_short_form_takes_the_other_keys_of_an_alert(self) -> None:
        alert = self.parse(self.short(
            annotations={"runbook_url": "https://wiki/backup"}, summary="s", starts_at="2026-11-20T15:00:00Z",
            ends_at="2026-11-20T15:30:00Z", generator_url="https://ci.example.com/7",
        )).alerts[0]
        assert alert.annotations == {"runbook_url": "https://wiki/backup", "summary": "s"}
        assert alert.ends_at == datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
        assert not alert.is_firing
        assert alert.generator_url == "https://ci.example.com/7"

    @pytest.mark.parametrize("fields", [
        {"severity": None}, {"labels": None}, {"annotations": None}, {"status": None}, {"ends_at": None}, {"labels": {}},
        {"labels": {"alertname": "BackupFailed"}}, {"labels": {"alertname": None}}, {"labels": {"alertname": ""}},
        {"generator_url": None}, {"summary": None},
    ])
    def test_null_is_as_good_as_absent(self, fields: dict[str, Any]) -> None:
        assert self.parse(self.short(**fields)).alerts == self.parse(self.short()).alerts

    @pytest.mark.parametrize(("fields", "reason"), [
        ({"nmae": "x"}, '"nmae" is not known here; the names are name, severity, summary, labels,'),
        ({"group_labels": {}}, '"group_labels" is not known here'), ({"startsAt": "x"}, '"startsAt" is not known here'),
        ({"name": ""}, "name: is empty"), ({"name": None}, "name: is null"), ({"name": {}}, "name: is an object"),
        ({"severity": []}, "severity: is a list"), ({"summary": {}}, "summary: is an object"),
        ({"labels": {"alertname": "Y"}}, "name: differs from labels.alertname"),
        ({"labels": {"severity": "info"}, "severity": "critical"}, "severity: differs from labels.severity"),
        ({"annotations": {"summary": "a"}, "summary": "b"}, "summary: differs from annotations.summary"),
        ({"labels": []}, "labels: is a list"), ({"labels": {"a": []}}, 'labels["a"]: is a list'),
        ({"annotations": "x"}, "annotations: is a text"), ({"status": "ok"}, 'status: is "ok"; must be "firing" or "resolved"'),
        ({"starts_at": 1763651736}, "starts_at: is a number"), ({"ends_at": "soon"}, 'ends_at: is "soon"'),
    ])
    def test_a_mistake_in_the_short_form_is_told(self, fields: dict[str, Any], reason: str) -> None:
        assert self.reason(self.short(**fields)).startswith(reason)

    @pytest.mark.parametrize(("fields", "reason"), [
        ({"startsAt": "2026-11-20T15:15:36Z"}, 'alerts[1]: "startsAt" is not known here; the names are labels, annotations,'),
        ({"name": "x"}, 'alerts[1]: "name" is not known here'), ({"labels": None}, "alerts[1].labels: is empty"),
        ({"labels": "x"}, "alerts[1].labels: is a text"), ({"status": 1}, "alerts[1].status: is a number"),
        ({"starts_at": 1}, "alerts[1].starts_at: is a number"), ({"ends_at": []}, "alerts[1].ends_at: is a list"),
        ({"annotations": {"n": {}}}, 'alerts[1].annotations["n"]: is an object'),
    ])
    def test_a_mistake_in_the_list_is_told_with_its_alert(self, fields: dict[str, Any], reason: str) -> None:
        assert self.reason(self.listed(**fields)).startswith(reason)

    @pytest.mark.parametrize(("body", "reason"), [
        ({"alerts": [], "group_label": {}}, '"group_label" is not known here; the names are alerts, group_labels'),
        ({"alerts": [], "name": "X"}, '"name" is not known here'), ({"alerts": {}}, "alerts: is an object; must be a list"),
        ({"alerts": [], "group_labels": []}, "group_labels: is a list"), ({"alert": []}, '"alert" is not known here'),
        ({"alerts": [5]}, "alerts[0]: is a number"), ({}, "name: is missing"), ({"labels": {"a": "b"}}, "name: is missing"),
        ({"x" * 9000: 1}, f'"{"x" * 39}…" is not known here'),
    ])
    def test_a_mistake_at_the_top_is_told(self, body: dict[str, Any], reason: str) -> None:
        assert self.reason(json.dumps(body).encode()).startswith(reason)

    def test_the_body_of_another_sender_is_refused(self) -> None:
        assert "is not known here" in self.reason(payload("alertmanager-01-firing-single.json"))

    def test_a_cron_job_may_leave_the_status_out(self) -> None:
        over = self.parse(self.short(ends_at="2026-11-20T15:59:59Z")).alerts[0]
        running = self.parse(self.short(ends_at="2026-11-20T16:00:01Z")).alerts[0]
        assert (over.status, running.status) == (AlertStatus.resolved, AlertStatus.firing)
        assert over.ends_at is not None
        assert over.ends_at < NOW
        assert running.ends_at is None
