"""Alertmanager's webhook: what the real one sent, release by release, and what cannot be its own."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerthub.domain.alert import Alert, Batch
from alerthub.settings import revealed
from alerthub.sources.alertmanager import AlertmanagerSettings, Reconcile
from tests.sources.contract import NOW, SourceContract, payload

GO_META = re.compile(r"[\\.+*?()|\[\]{}^$]")


def go_time(moment: datetime | None) -> str:
    return moment.isoformat().replace("+00:00", "Z") if moment else "0001-01-01T00:00:00Z"


def rendered(alert: Alert) -> dict[str, Any]:
    return {
        "status": alert.status.value, "labels": dict(alert.labels), "annotations": dict(alert.annotations),
        "startsAt": go_time(alert.starts_at), "endsAt": go_time(alert.ends_at), "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }


def notification(batch: Batch, version: str) -> dict[str, Any]:
    return {
        "version": version, "groupKey": "{}:{}", "status": "firing", "alerts": [rendered(alert) for alert in batch.alerts],
        "receiver": GO_META.sub(lambda found: "\\" + found[0], batch.receiver), "groupLabels": dict(batch.group_labels),
        "commonLabels": {}, "commonAnnotations": {}, "externalURL": batch.sender, "truncatedAlerts": batch.truncated,
    }


class TestAlertmanager(SourceContract):
    kind = "alertmanager"

    def render(self, batch: Batch) -> bytes:
        return json.dumps(notification(batch, "4"), ensure_ascii=False).encode() + b"\n"

    def with_field(self, **fields: Any) -> bytes:
        """A body of one alert, with these fields in the place of its own."""
        return json.dumps({**json.loads(payload("alertmanager-01-firing-single.json")), **fields}).encode()

    def with_alert(self, **fields: Any) -> bytes:
        alert = json.loads(payload("alertmanager-01-firing-single.json"))["alerts"][0]
        return self.with_field(alerts=[{**alert, **fields}])

    def test_a_firing_alert_is_read_whole(self) -> None:
        batch = self.parse(payload("alertmanager-01-firing-single.json"))
        alert = batch.alerts[0]
        assert alert.labels["alertname"] == "DiskFull"
        assert len(alert.labels) == 9
        assert alert.annotations["description"].startswith("Müller's box „db“ <b>is</b> full & *angry* — 日本語 🔥\nsecond")
        assert alert.starts_at == datetime(2026, 11, 20, 15, 15, 36, 568000, UTC)
        assert alert.is_firing
        assert alert.ends_at is None
        assert alert.generator_url == "http://vm:29090/graph?g0.expr=node_disk_used_ratio+%3E+0.9&g0.tab=1"
        assert alert.fingerprint == "1ddf54b6b1ae6652"
        assert (batch.receiver, batch.sender, batch.truncated) == ("copy", "http://vm:29093", 0)
        assert batch.group_labels == {"alertname": "DiskFull"}

    def test_nanoseconds_are_cut_to_microseconds(self) -> None:
        alert = self.parse(payload("alertmanager-10-amtool-no-generator-url.json")).alerts[0]
        assert alert.starts_at == datetime(2026, 11, 20, 15, 15, 53, 624100, UTC)
        assert alert.generator_url == ""

    def test_the_status_of_the_group_says_nothing(self) -> None:
        batch = self.parse(payload("alertmanager-05-partial-resolve.json"))
        assert sorted(alert.status for alert in batch.alerts) == ["firing", "firing", "resolved"]
        lying = self.parse(payload("alertmanager-05-partial-resolve.json").replace(b'"status":"firing","alerts"',
                                                                                  b'"status":"resolved","alerts"'))
        assert lying.alerts == batch.alerts

    def test_a_cut_off_group_says_how_many_are_missing(self) -> None:
        assert self.parse(payload("alertmanager-02-truncated-firing.json")).truncated == 4
        assert self.parse(payload("alertmanager-09-truncated-resolved.json")).truncated == 4

    def test_a_resolved_alert_has_its_end(self) -> None:
        alert = self.parse(payload("alertmanager-13-resolved-by-expiry.json")).alerts[0]
        assert not alert.is_firing
        assert alert.ends_at == datetime(2026, 11, 20, 15, 15, 57, 679822, UTC)

    def test_a_repeat_and_a_refire_are_the_same_alert(self) -> None:
        first = self.parse(payload("alertmanager-04-firing-group-of-3.json"))
        again = self.parse(payload("alertmanager-07-refire-same-fingerprint.json"))
        known = {alert.fingerprint: alert.identity for alert in first.alerts}
        assert all(known[alert.fingerprint] == alert.identity for alert in again.alerts)

    def test_odd_label_values_are_kept(self) -> None:
        odd = self.parse(payload("alertmanager-15-odd-label-values.json")).alerts[1].labels
        assert odd["weird"] == 'quote " brace } comma , = backslash \\ newline \n tab \t'
        assert len(odd["alertname"]) == 2000

    def test_a_storm_of_alerts_is_one_batch(self) -> None:
        alert = json.loads(payload("alertmanager-01-firing-single.json"))["alerts"][0]
        storm = [{**alert, "labels": {**alert["labels"], "host": f"db-{number}"}} for number in range(10_000)]
        batch = self.parse(self.with_field(alerts=storm))
        assert len({alert.identity for alert in batch.alerts}) == 10_000

    @pytest.mark.parametrize("field", [
        "version", "groupKey", "receiver", "externalURL", "status", "truncatedAlerts", "groupLabels", "commonLabels",
        "commonAnnotations",
    ])
    def test_a_missing_or_null_field_changes_nothing_else(self, field: str) -> None:
        body = json.loads(payload("alertmanager-01-firing-single.json"))
        whole = self.parse(json.dumps(body).encode())
        assert self.parse(json.dumps({**body, field: None}).encode()).alerts == whole.alerts
        del body[field]
        assert self.parse(json.dumps(body).encode()).alerts == whole.alerts

    @pytest.mark.parametrize(("field", "read"), [
        ("annotations", "annotations"), ("startsAt", "starts_at"), ("endsAt", "ends_at"), ("generatorURL", "generator_url"),
        ("fingerprint", "fingerprint"),
    ])
    def test_a_field_of_an_alert_may_be_missing_or_null(self, field: str, read: str) -> None:
        body = json.loads(self.with_alert(**{field: None}))
        empty = self.parse(json.dumps(body).encode()).alerts[0]
        del body["alerts"][0][field]
        assert self.parse(json.dumps(body).encode()).alerts[0] == empty
        assert getattr(empty, read) == getattr(Alert({"a": "b"}, empty.status), read)

    @pytest.mark.parametrize("fields", [
        {"notification_reason": "repeat interval elapsed"}, {"routeLabels": {"team": "risk"}}, {"routeLabels": None},
        {"groupKey": 1234}, {"groupKey": {"a": []}}, {"somethingNew": [1, {"x": 10**30}]}, {"version": 4},
        {"commonLabels": []}, {"status": "of the group"},
    ])
    def test_what_decides_nothing_may_be_anything(self, fields: dict[str, Any]) -> None:
        assert self.parse(self.with_field(**fields)).alerts == self.parse(self.with_field()).alerts

    @pytest.mark.parametrize(("quoted", "name"), [
        (r"team\.a-x \(raw\)", "team.a-x (raw)"), ("plain", "plain"), (r"a\\b", r"a\b"), (r"\\\.", r"\."), ("tail\\", "tail\\"),
        (r"\[\]\{\}\^\$\|\?\*\+", "[]{}^$|?*+"), (r"\d", r"\d"), (7, "7"), ({"a": 1}, ""), (True, ""),
    ])
    def test_the_receiver_is_read_as_it_was_configured(self, quoted: Any, name: str) -> None:
        assert self.parse(self.with_field(receiver=quoted)).receiver == name

    @pytest.mark.parametrize(("fields", "reason"), [
        ({"version": "1"}, 'version: is "1"; must be "4"; Grafana'), ({"version": "5"}, 'version: is "5"; must be "4"'),
        ({"version": 5}, 'version: is "5"'), ({"version": True}, 'version: is "true"'),
        ({"version": ["4"]}, "version: is a list"),
        ({"alerts": "x"}, "alerts: is a text; must be a list"), ({"alerts": {}}, "alerts: is an object"),
        ({"alerts": ["x"]}, "alerts[0]: is a text; must be an object"), ({"alerts": [None]}, "alerts[0]: is null"),
        ({"alerts": [{}]}, "alerts[0].labels: is empty"),
        ({"truncatedAlerts": "many"}, "truncatedAlerts: must be a whole number"),
        ({"truncatedAlerts": -1}, "truncatedAlerts"), ({"truncatedAlerts": True}, "truncatedAlerts"),
        ({"groupLabels": []}, "groupLabels: is a list"), ({"groupLabels": {"a": {}}}, 'groupLabels["a"]: is an object'),
    ])
    def test_a_reason_says_which_field(self, fields: dict[str, Any], reason: str) -> None:
        assert self.reason(self.with_field(**fields)).startswith(reason)

    @pytest.mark.parametrize("body", [{"text": "custom"}, {"version": "4"}, {"Alerts": []}])
    def test_a_custom_payload_is_told_apart(self, body: dict[str, Any]) -> None:
        assert "alerts: is missing; a webhook with a payload of your own" in self.reason(json.dumps(body).encode())

    @pytest.mark.parametrize(("written", "read"), [
        ("2026-11-20T15:15:36Z", datetime(2026, 11, 20, 15, 15, 36, tzinfo=UTC)),
        ("2026-11-20t15:15:36.5z", datetime(2026, 11, 20, 15, 15, 36, 500000, UTC)),
        ("2026-11-20 15:15:36-00:00", datetime(2026, 11, 20, 15, 15, 36, tzinfo=UTC)),
        ("2026-11-20T18:15:36+03:00", datetime(2026, 11, 20, 15, 15, 36, tzinfo=UTC)),
        ("2026-11-20T05:45:36.999999999-09:30", datetime(2026, 11, 20, 15, 15, 36, 999999, UTC)),
        ("0001-01-01T00:00:00Z", None), ("0001-01-01T00:00:00+14:00", None), ("0001-01-01T00:00:00-05:00", None), ("", None),
    ])
    def test_a_time_is_utc_to_the_microsecond(self, written: str, read: datetime | None) -> None:
        assert self.parse(self.with_alert(startsAt=written)).alerts[0].starts_at == read

    @pytest.mark.parametrize("written", [
        1763651736, 1763651736.5, 0, "1763651736", "2026-11-20", "2026-11-20T15:15:36", "2026-W47-5T00:00:00Z", "yesterday",
        "20261120T151536Z", "2026-02-30T00:00:00Z", "2026-11-20T24:01:00Z", "2026-11-20T15:15:60Z", "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-05:00", "10000-01-01T00:00:00Z", "2026-11-20T15:15:36+25:00", "٢٠٢٦-11-20T15:15:36Z",
        "2026-11-20T15:15:36Z\n", ["2026"], {}, True,
    ])
    def test_what_is_no_time_is_refused(self, written: Any) -> None:
        for field in ("startsAt", "endsAt"):
            assert self.reason(self.with_alert(**{field: written})).startswith(f"alerts[0].{field}: is ")

    @pytest.mark.parametrize(("status", "ends_at", "is_firing"), [
        ("firing", None, True), ("firing", NOW - timedelta(hours=1), True), ("resolved", NOW + timedelta(hours=1), False),
        ("resolved", None, False), (None, None, True), (None, NOW + timedelta(seconds=1), True), (None, NOW, False),
        (None, NOW - timedelta(seconds=1), False),
    ])
    def test_the_status_is_the_word_or_else_the_end(
        self, status: str | None, ends_at: datetime | None, is_firing: bool,
    ) -> None:
        alert = self.parse(self.with_alert(status=status, endsAt=go_time(ends_at))).alerts[0]
        assert alert.is_firing is is_firing
        assert alert.ends_at == (None if is_firing else ends_at)

    @pytest.mark.parametrize("status", ["Firing", "suppressed", "", "firing ", 1, [], {"a": 1}, False])
    def test_an_unknown_status_is_refused(self, status: Any) -> None:
        assert self.reason(self.with_alert(status=status)).startswith("alerts[0].status: is ")

    @pytest.mark.parametrize(("written", "read"), [
        ("http://p/x", "http://p/x"), ("HTTPS://p", "HTTPS://p"), ("http://p/a b", "http://p/a%20b"), ("javascript:alert(1)", ""),
        ("ftp://p", ""), ("//p", ""), ("http://", ""), ("http:///x", ""), ("http://p/\n", ""), ("http://p/\x01", ""),
        ("http://p/\x7f", ""), ("http://p/\u202e", ""), (" http://p", ""), ("data:text/html,http://p", ""), (7, ""), ([], ""),
        ("http://\\p", ""),
    ])
    def test_only_a_web_address_becomes_a_link(self, written: Any, read: str) -> None:
        assert self.parse(self.with_alert(generatorURL=written)).alerts[0].generator_url == read

    def test_a_sender_that_cuts_off_more_than_fits_is_only_cut_off(self) -> None:
        assert self.parse(self.with_field(truncatedAlerts=10**30)).truncated == 2**31 - 1


class TestReconcileSettings:
    def test_the_settings_are_typed(self) -> None:
        config = AlertmanagerSettings.model_validate({
            "name": "am", "type": "alertmanager", "stale_after": "1h", "token": "right-token-1",
            "reconcile": {"urls": ["http://am-1:9093/", "https://am-2/prefix"], "username": "hub", "password": "12345678"},
        })
        reconcile = config.reconcile
        assert isinstance(reconcile, Reconcile)
        assert reconcile.urls == ["http://am-1:9093", "https://am-2/prefix"]
        assert (reconcile.interval, reconcile.write, reconcile.receiver) == (timedelta(minutes=1), False, None)
        assert revealed(reconcile.password) == "12345678"
        assert config.stale_after == timedelta(hours=1)

    def test_without_a_word_of_it_nothing_is_asked(self) -> None:
        config = AlertmanagerSettings(name="am")
        assert config.reconcile is None
        assert config.stale_after == timedelta(hours=12)

    @pytest.mark.parametrize(("block", "word"), [
        ({"urls": []}, "urls"), ({}, "urls"), ({"urls": ["am:9093"]}, "not an http(s) address"),
        ({"urls": ["http://"]}, "not an"),
        ({"urls": ["ftp://am"]}, "not an"), ({"urls": ["http://am:0"]}, "not an"), ({"urls": ["http://am:99999"]}, "not an"),
        ({"urls": ["http://[am"]}, "not an"), ({"urls": ["http://a m"]}, "not an"),
        ({"urls": ["http://u:s3cret@am"]}, "no user name"),
        ({"urls": ["http://am/?x=s3cret"]}, "nothing after"), ({"urls": ["http://am"], "interval": "0s"}, "longer than 0"),
        ({"urls": ["http://am"], "write": "perhaps"}, "write"), ({"urls": ["http://am"], "username": "hub"}, "go together"),
        ({"urls": ["http://am"], "retry": 3}, "retry"),
    ])
    def test_a_mistake_is_told(self, block: dict[str, Any], word: str) -> None:
        with pytest.raises(ValueError) as refusal:
            AlertmanagerSettings.model_validate({"name": "am", "reconcile": block})
        assert word in str(refusal.value)
        assert "s3cret" not in str(refusal.value)
