"""Grafana's webhook: Alertmanager's shape with version 1, links for people, values, and signatures."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerthub.domain.alert import Batch
from alerthub.sources.grafana import GrafanaSettings
from tests.sources.cases import TOKEN
from tests.sources.contract import NOW, SourceContract, payload
from tests.sources.test_alertmanager import notification

SECRET = "signing-secret-1"
HEADER, STAMP = "x-grafana-alerting-signature", "x-grafana-alerting-timestamp"
BODY = b'{"alerts": []}'
SIGNED = {"hmac_secret": SECRET}
STAMPED = {**SIGNED, "hmac_timestamp_header": "X-Grafana-Alerting-Timestamp"}


def signature(content: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def stamped(moment: datetime, *, written: str | None = None) -> dict[str, str]:
    stamp = written if written is not None else str(int(moment.timestamp()))
    return {STAMP: stamp, HEADER: signature(stamp.encode("utf-8", "surrogatepass") + b":" + BODY)}


class TestGrafana(SourceContract):
    kind = "grafana"

    def render(self, batch: Batch) -> bytes:
        data = {**notification(batch, "1"), "orgId": 1, "title": "[FIRING:1]", "state": "alerting", "message": "…"}
        for alert in data["alerts"]:
            alert.update(silenceURL="", dashboardURL="", panelURL="", values=None, valueString="")
        return json.dumps(data, ensure_ascii=False).encode()

    def with_alert(self, **fields: Any) -> bytes:
        data = json.loads(payload("grafana-firing.json"))
        data["alerts"][0].update(fields)
        return json.dumps(data).encode()

    def test_a_firing_alert_is_read_whole(self) -> None:
        batch = self.parse(payload("grafana-firing.json"))
        alert = batch.alerts[0]
        assert alert.is_firing
        assert alert.labels == {"alertname": "HighLatency", "grafana_folder": "DRL", "instance": "agent-btc:8000",
                                "severity": "warning"}
        assert alert.starts_at == datetime(2026, 11, 20, 13, 5, 10, tzinfo=UTC)
        assert alert.links == {
            "silence": "https://grafana.example.com/alerting/silence/new?alertmanager=grafana&matcher=alertname%3DHighLatency",
            "dashboard": "https://grafana.example.com/d/abc?orgId=1",
            "panel": "https://grafana.example.com/d/abc?orgId=1&viewPanel=4",
        }
        assert alert.annotations["summary"] == "p95 is 0.71 s"
        assert alert.annotations["value"].startswith("[ var='B' labels={instance=agent-btc:8000} value=0.71 ]")
        assert (batch.receiver, batch.sender) == ("hub", "https://grafana.example.com/")

    def test_a_resolved_alert_without_values_has_no_value(self) -> None:
        alert = self.parse(payload("grafana-resolved.json")).alerts[0]
        assert not alert.is_firing
        assert (alert.annotations, alert.links) == ({}, {})

    @pytest.mark.parametrize("version", ["1", 1, None])
    def test_its_version_or_none_is_taken(self, version: Any) -> None:
        data = json.loads(payload("grafana-firing.json"))
        assert self.parse(json.dumps({**data, "version": version}).encode()).alerts

    @pytest.mark.parametrize(("version", "reason"), [
        ("4", 'version: is "4"; must be "1"; Alertmanager sends version 4, so give this source `type: alertmanager`'),
        (4, 'version: is "4"; must be "1"; Alertmanager'), ("2", 'version: is "2"; must be "1"'), (True, 'version: is "true"'),
        ({}, "version: is an object"),
    ])
    def test_another_version_is_sent_to_its_place(self, version: Any, reason: str) -> None:
        data = json.loads(payload("grafana-firing.json"))
        assert self.reason(json.dumps({**data, "version": version}).encode()).startswith(reason)

    @pytest.mark.parametrize(("fields", "value"), [
        ({"valueString": "text"}, "text"), ({"valueString": "  ", "values": {"B": 0.5, "C": 1}}, "B=0.5, C=1"),
        ({"valueString": None, "values": {"B": -2}}, "B=-2"), ({"valueString": 5, "values": None}, None),
        ({"valueString": "", "values": {"B": None, "C": "x", "D": [], "E": True}}, None),
        ({"valueString": "", "values": []}, None),
        ({"annotations": {"value": "the rule's own"}}, "the rule's own"), ({"annotations": None}, "[ var='B'"),
    ])
    def test_the_value_is_told_as_an_annotation(self, fields: dict[str, Any], value: str | None) -> None:
        told = self.parse(self.with_alert(**fields)).alerts[0].annotations.get("value")
        assert told is value or (value is not None and told is not None and told.startswith(value))

    def test_a_value_out_of_range_is_left_out(self) -> None:
        body = self.with_alert(valueString="", values={"B": 1.5, "C": 777}).replace(b"777", b"1e999")
        assert self.parse(body).alerts[0].annotations["value"] == "B=1.5"

    @pytest.mark.parametrize("address", ["javascript:alert(1)", "", None, 5, [], "file:///etc/passwd", "https://g/\u0000"])
    def test_only_a_web_address_becomes_a_link(self, address: Any) -> None:
        alert = self.parse(self.with_alert(dashboardURL=address)).alerts[0]
        assert set(alert.links) == {"panel", "silence"}

    def test_the_value_and_the_links_are_no_part_of_identity(self) -> None:
        plain = self.with_alert(valueString="other", values=None, panelURL="", dashboardURL="", silenceURL="")
        assert self.parse(plain).alerts[0].identity == self.parse(payload("grafana-firing.json")).alerts[0].identity


class TestSignature:
    def source(self, **extra: Any) -> Any:
        return TestGrafana().source(**extra)

    def test_a_right_signature_is_admitted(self) -> None:
        source = self.source(**SIGNED)
        assert source.signs_body
        assert not source.is_open
        for written in (signature(BODY), signature(BODY).upper(), f" {signature(BODY)} "):
            assert source.admits({HEADER: written}, None, NOW)
            assert source.admits({HEADER: written}, BODY, NOW)

    @pytest.mark.parametrize("headers", [
        {HEADER: signature(BODY + b" ")}, {HEADER: signature(BODY, "another-secret")}, {HEADER: "0" * 64},
    ])
    def test_a_wrong_signature_shows_once_the_body_is_there(self, headers: dict[str, str]) -> None:
        source = self.source(**SIGNED)
        assert source.admits(headers, None, NOW)
        assert not source.admits(headers, BODY, NOW)

    @pytest.mark.parametrize("headers", [
        {}, {HEADER: ""}, {HEADER: "x"}, {HEADER: "0" * 63}, {HEADER: "0" * 65}, {HEADER: "z" * 64}, {HEADER: "ä" * 64},
        {HEADER: "٠" * 64}, {HEADER: "\ud800" * 64}, {HEADER: f"sha256={signature(BODY)}"}, {HEADER: "0" * 100_000},
        {"authorization": f"Bearer {SECRET}"},
    ])
    def test_a_malformed_or_missing_signature_is_refused_before_the_body(self, headers: dict[str, str]) -> None:
        source = self.source(**SIGNED)
        assert source.admits(headers, None, NOW) is False
        assert source.admits(headers, BODY, NOW) is False

    @pytest.mark.parametrize(("age", "is_right"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
    def test_a_timestamp_counts_for_five_minutes(self, age: int, is_right: bool) -> None:
        headers = stamped(NOW - timedelta(seconds=age))
        source = self.source(**STAMPED)
        assert source.admits(headers, None, NOW) is is_right
        assert source.admits(headers, BODY, NOW) is is_right

    def test_the_timestamp_is_part_of_what_is_signed(self) -> None:
        source = self.source(**STAMPED)
        headers = stamped(NOW)
        assert not source.admits({**headers, STAMP: str(int(NOW.timestamp()) + 1)}, BODY, NOW)
        assert not source.admits({**headers, HEADER: signature(BODY)}, BODY, NOW)
        assert not self.source(**SIGNED).admits(headers, BODY, NOW)

    @pytest.mark.parametrize("written", [
        "", "now", "-1", "+1763654400", "1763654400.0", "1e9", "0x5", "1_763_654_400", "٣" * 10, "9" * 5000, "\ud800", "²",
        "1763 654400", "\n",
    ])
    def test_a_malformed_timestamp_is_refused(self, written: str) -> None:
        headers = stamped(NOW, written=written)
        assert self.source(**STAMPED).admits(headers, None, NOW) is False
        assert self.source(**STAMPED).admits(headers, BODY, NOW) is False

    def test_a_missing_timestamp_is_refused(self) -> None:
        assert self.source(**STAMPED).admits({HEADER: signature(BODY)}, BODY, NOW) is False

    def test_a_token_beside_the_signature_must_be_right_too(self) -> None:
        source = self.source(**SIGNED, token=TOKEN)
        signed, told = {HEADER: signature(BODY)}, {"authorization": f"Bearer {TOKEN}"}
        assert source.admits({**signed, **told}, BODY, NOW)
        assert not source.admits(signed, BODY, NOW)
        assert not source.admits(told, BODY, NOW)
        assert not source.admits(signed, None, NOW)

    def test_the_header_has_the_name_that_was_configured(self) -> None:
        source = self.source(**SIGNED, hmac_header="X-My-Signature")
        assert source.admits({"x-my-signature": signature(BODY)}, BODY, NOW)
        assert not source.admits({HEADER: signature(BODY)}, BODY, NOW)

    @pytest.mark.parametrize(("extra", "word"), [
        ({"hmac_secret": ""}, "too short"), ({"hmac_secret": "s3cret"}, "too short"),
        ({"hmac_timestamp_header": "X-Time"}, "needs hmac_secret"), ({**SIGNED, "hmac_header": "not a header"}, "hmac_header"),
        ({**SIGNED, "hmac_header": ""}, "hmac_header"), ({**SIGNED, "hmac_timestamp_header": "X:Y"}, "hmac_timestamp_header"),
        ({**SIGNED, "hmac_secret_file": "/dev/null"}, "not both"),
    ])
    def test_a_mistake_in_the_settings_is_told_without_the_secret(self, extra: dict[str, str], word: str) -> None:
        with pytest.raises(ValueError) as refusal:
            self.source(**extra)
        assert word in str(refusal.value)
        assert SECRET not in str(refusal.value)
        assert "s3cret" not in str(refusal.value)

    def test_the_secret_does_not_print(self) -> None:
        assert SECRET not in repr(GrafanaSettings.model_validate({"name": "g", **SIGNED}))
