"""The signed outgoing webhook: contract, signature as a receiver checks it, the documented body, and its size."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import httpx
import pytest
from pydantic import ValidationError

from alerthub.channels.base import Channel, Wire
from alerthub.channels.webhook import BODY_BYTES, Webhook, WebhookConfig, WebhookGlobal, body_of
from alerthub.domain.message import ActionLine, IncidentStatus, Link, Why
from alerthub.errors import Failure, SendFailed
from alerthub.signing import read_key, signed_headers
from tests.channels.contract import FixedClock, HttpChannelContract
from tests.kit.messages import (
    HOSTILE,
    NOW,
    acknowledged_message,
    digest_message,
    firing_line,
    giant_message,
    hostile_message,
    message,
    resolved_message,
)
from tests.kit.providers.http import Answer, FakeProvider, Request

pytestmark = pytest.mark.anyio
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def strings(value: Any) -> Iterator[str]:
    """Every key and value of a JSON value, as text."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    else:
        yield str(value)


class TestContract(HttpChannelContract):
    secrets: ClassVar[list[str]] = [SECRET, SECRET.removeprefix("whsec_"), "path-secret-5d1f"]
    reads_answer = False        # the status alone says that it was taken

    def channel(self, provider: FakeProvider) -> Channel:
        config = WebhookConfig(url=f"{provider.url}/in/path-secret-5d1f", secret=SECRET)
        return Webhook(config, WebhookGlobal(), self.wire)

    def answer_ok(self, provider: FakeProvider) -> None:
        provider.answer = lambda request: Answer(204)

    def texts(self, provider: FakeProvider) -> str:
        return "\n".join(text for request in provider.requests for text in strings(request.json()))

    def assert_within_limits(self, provider: FakeProvider) -> None:
        assert all(len(request.body) <= BODY_BYTES for request in provider.requests)


@pytest.fixture
async def provider():
    async with FakeProvider(lambda request: Answer(204)) as provider:
        yield provider


@pytest.fixture
async def webhook(provider):
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        yield Webhook(WebhookConfig(url=f"{provider.url}/in?key=k1", secret=SECRET), WebhookGlobal(), Wire(http, FixedClock()))


def verify(request: Request, key: bytes = KEY) -> bool:
    """As the Standard Webhooks specification tells a receiver to."""
    prefix = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}."
    expected = base64.b64encode(hmac.new(key, prefix.encode() + request.body, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in request.headers["webhook-signature"].split(" ")


async def test_a_redirect_that_its_client_stumbles_over_leaves_it_in_doubt(webhook, provider):
    provider.script(302, headers={"location": "about:blank"})
    with pytest.raises(SendFailed) as caught:
        await webhook.send(message(), None)
    assert caught.value.reason is Failure.timeout


async def test_a_receiver_can_verify_what_arrives(webhook, provider):
    await webhook.send(message(), None)
    assert verify(provider.last)
    assert not verify(provider.last, bytes(32))
    assert not verify(replace(provider.last, body=provider.last.body + b" "))
    assert (provider.last.method, provider.last.path) == ("POST", "/in?key=k1")
    assert provider.last.headers["content-type"] == "application/json"


def test_the_signature_is_that_of_the_specifications_example():
    key = read_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    moment = NOW.fromtimestamp(1614265330, tz=NOW.tzinfo)
    headers = signed_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", moment, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_the_id_stays_over_attempts_and_holds_no_dot(webhook, provider):
    provider.script(503)
    with pytest.raises(SendFailed):
        await webhook.send(message(), None)
    await webhook.send(message(possible_duplicate=True), None)
    ids = {request.headers["webhook-id"] for request in provider.requests}
    assert ids == {message().delivery_id}
    assert "." not in message().delivery_id
    assert [request.json()["data"]["possible_duplicate"] for request in provider.requests] == [False, True]


async def test_the_timestamp_is_that_of_the_attempt(webhook, provider):
    await webhook.send(message(at=NOW - timedelta(hours=3)), None)
    assert provider.last.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert provider.last.json()["timestamp"] == "2026-11-21T09:00:00.000000Z"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_success(webhook, provider, status):
    provider.script(status)
    assert (await webhook.send(message(), None)).handle == {}


@pytest.mark.parametrize(("status", "reason"), [
    (301, Failure.configuration), (302, Failure.configuration), (304, Failure.configuration), (308, Failure.configuration),
    (400, Failure.content), (401, Failure.configuration), (404, Failure.configuration), (410, Failure.configuration),
    (413, Failure.content), (422, Failure.content), (429, Failure.rate_limited), (500, Failure.unavailable),
    (502, Failure.unavailable), (503, Failure.unavailable), (504, Failure.timeout), (599, Failure.unavailable),
])
async def test_every_other_status_has_its_class(webhook, provider, status, reason):
    provider.script(status, headers={"location": "/elsewhere", "retry-after": "7"})
    with pytest.raises(SendFailed) as caught:
        await webhook.send(message(), None)
    assert caught.value.reason is reason
    assert caught.value.detail == f"HTTP {status}"
    assert caught.value.after == 7


async def test_a_receiver_slower_than_its_timeout_is_in_doubt(provider):
    async with httpx.AsyncClient(trust_env=False, verify=False) as http:
        config = WebhookConfig(url=provider.url, secret=SECRET, timeout="20ms")
        provider.script(hang=True)
        with pytest.raises(SendFailed) as caught:
            await Webhook(config, WebhookGlobal(), Wire(http, FixedClock())).send(message(), None)
    assert caught.value.reason is Failure.timeout
    assert caught.value.detail == "no answer within 0.02 s"


@pytest.mark.parametrize(("sent", "kind"), [
    (message(), "incident.opened"), (resolved_message(), "incident.resolved"), (acknowledged_message(), "incident.acknowledged"),
    (message(why=Why.repeat), "incident.repeat"), (message(why=Why.test), "test"), (digest_message(2), "digest"),
])
def test_the_type_says_why(sent, kind):
    assert json.loads(body_of(sent))["type"] == kind


def test_the_documented_body():
    body = json.loads(body_of(message(actions=(ActionLine("safe-mode failed", is_bad=True),))))
    assert (body["version"], body["timestamp"], set(body)) == (
        1, "2026-11-21T12:00:00.000000Z", {"version", "type", "timestamp", "data"})
    assert set(body["data"]) == {"delivery_id", "possible_duplicate", "text", "news", "incident"}
    assert body["data"]["incident"] == {
        "id": "01936b5e-0000-7000-8000-00000000a001", "number": 17, "episode": 1, "status": "triggered", "severity": "critical",
        "title": "AgentRewardNegative (agent=btc)", "source": "alertmanager", "opened_at": "2026-11-21T11:55:00.000000Z",
        "resolved_at": None, "acknowledged_by": "", "acknowledged_at": None,
        "firing": 1, "resolved": 0, "stale": False, "silenced": False, "silenced_until": None, "flaps": 0,
        "incomplete": 0,
        "common_labels": {"alertname": "AgentRewardNegative", "agent": "btc", "severity": "critical"},
        "common_annotations": {"summary": "The rolling reward of btc is -12.5"},
        "actions": [{"text": "safe-mode failed", "bad": True}],
        "links": [{"label": "Incident", "url": "https://hub.example.com/incidents/17"},
                  {"label": "Runbook", "url": "https://hub.example.com/runbooks/agent-reward"}],
        "alerts": [{
            "status": "firing", "labels": {"alertname": "AgentRewardNegative", "agent": "btc", "severity": "critical"},
            "annotations": {"summary": "The rolling reward of btc is -12.5"}, "starts_at": "2026-11-21T11:55:00.000000Z",
            "ends_at": None, "generator_url": "http://prometheus:9090/graph?g0.expr=rolling_reward",
        }],
        "alerts_left_out": 0,
    }


def test_a_resolved_incident_says_when():
    incident = json.loads(body_of(resolved_message()))["data"]["incident"]
    assert (incident["status"], incident["resolved_at"]) == ("resolved", "2026-11-21T12:00:00.000000Z")


def test_a_degraded_body_has_no_alerts_but_counts_them():
    incident = json.loads(body_of(message(is_degraded=True)))["data"]["incident"]
    assert (incident["alerts"], incident["alerts_left_out"]) == ([], 1)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
def test_a_label_arrives_exactly_up_to_the_limit(value):
    incident = json.loads(body_of(hostile_message(value)))["data"]["incident"]
    arrived = incident["alerts"][0]["labels"]["agent"]
    assert arrived == (value if len(value) <= 2_000 else value[:1_999] + "…")


def test_a_digest_names_every_incident():
    data = json.loads(body_of(digest_message(200)))["data"]
    assert [entry["number"] for entry in data["digest"]] == list(range(101, 301))
    assert data["digest_left_out"] == 0


def test_alerts_are_left_out_from_the_end_and_counted():
    alerts = tuple(firing_line(labels={"n": str(n)}, annotations={"summary": "x" * 2_000}) for n in range(500))
    body = body_of(message(alerts=alerts, firing=500))
    incident = json.loads(body)["data"]["incident"]
    shown = len(incident["alerts"])
    assert [alert["labels"]["n"] for alert in incident["alerts"]] == [str(n) for n in range(shown)]
    assert 100 < shown < 500
    assert incident["alerts_left_out"] == 500 - shown
    assert BODY_BYTES - 3_000 < len(body) <= BODY_BYTES


@pytest.mark.parametrize("worst", [
    giant_message(),
    giant_message(digest=tuple(replace(line, title="🔥" * 1_000) for line in digest_message(2_000).digest)),
    giant_message(common_labels={("ü" * 5_000) + str(n): "🔥" * 9_000 for n in range(500)}),
    giant_message(links=tuple(Link("🔥" * 9_000, "https://example.com/" + "a" * 1_900) for _ in range(100))),
    giant_message(common_labels={"nul": "\x00" * 9_000, "quote": '"' * 9_000}),
], ids=["giant", "digest", "labels", "links", "escapes"])
def test_no_body_is_over_the_limit(worst):
    body = body_of(worst)
    assert len(body) <= BODY_BYTES
    assert json.loads(body)["version"] == 1


def test_a_lone_surrogate_breaks_no_body():
    assert json.loads(body_of(message(title="bad \ud800 text")))["data"]["incident"]["title"] == "bad ? text"


@pytest.mark.parametrize("secret", [
    "", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!", "whsec_" + base64.b64encode(bytes(23)).decode(),
    "whsec_" + base64.b64encode(bytes(65)).decode(), "whsec_" + base64.b64encode(KEY).decode()[:-1], "whsec_ü" * 9,
], ids=ascii)
def test_a_secret_that_is_no_key_is_refused_without_repeating_it(secret):
    with pytest.raises(ValidationError, match="a signing secret") as caught:
        WebhookConfig(url="https://example.com/in", secret=secret)
    assert secret in ("", "whsec_") or secret not in str(caught.value)


@pytest.mark.parametrize("size", [24, 64])
def test_a_key_of_24_to_64_bytes_is_taken(size):
    secret = "whsec_" + base64.b64encode(bytes(size)).decode()
    assert len(read_key(WebhookConfig(url="https://example.com", secret=secret).secret.get_secret_value())) == size


@pytest.mark.parametrize("url", [
    "", "example.com/in", "ftp://example.com", "https://", "/in", "https://[::1", "https://h:99999/", "https://h:x/",
    "https://exa mple.com/", "https://h/\x00", "https://h/\n",
])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValidationError):
        WebhookConfig(url=url, secret=SECRET)


@pytest.mark.parametrize(("settings", "reason"), [
    ({"secret": SECRET}, "url"), ({"url": "https://example.com/in"}, "secret"),
])
def test_address_and_secret_are_both_needed(settings, reason):
    with pytest.raises(ValueError, match=f"needs {reason}"):
        Webhook(WebhookConfig(**settings), WebhookGlobal(), Wire(None, FixedClock()))


@pytest.mark.parametrize("timeout", ["0", "16s", "1h"])
def test_a_timeout_beyond_that_of_an_attempt_is_refused(timeout):
    with pytest.raises(ValidationError):
        WebhookConfig(url="https://example.com", secret=SECRET, timeout=timeout)


def test_the_address_shows_the_host_and_tells_paths_apart():
    def address(url: str) -> str:
        return Webhook(WebhookConfig(url=url, secret=SECRET), WebhookGlobal(), Wire(None, FixedClock())).address

    one, two = address("https://user:pw@example.com:8443/a?key=1"), address("https://user:pw@example.com:8443/a?key=2")
    assert one.startswith("example.com:8443/")
    assert one != two
    assert address("https://example.com/a").startswith("example.com/")
    assert not any(secret in one for secret in ("user", "pw", "key"))


def test_secrets_and_address_come_from_files(tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "url").write_text("https://example.com/in/hidden\n")
    config = WebhookConfig(url_file=str(tmp_path / "url"), secret_file=str(tmp_path / "secret"))
    assert config.secret.get_secret_value() == SECRET
    assert "hidden" not in repr(config)
    assert SECRET not in repr(config)


def test_an_acknowledged_body_names_who():
    incident = json.loads(body_of(acknowledged_message("ayse")))["data"]["incident"]
    assert (incident["status"], incident["acknowledged_by"]) == (IncidentStatus.acknowledged, "ayse")
