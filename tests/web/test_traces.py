"""One alert's way through the hub as a collector of traces sees it: webhook, commit, claim, provider request, action."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from alerthub.app import Hub
from alerthub.config import load
from alerthub.errors import Busy, Failure, SendFailed
from alerthub.telemetry_otlp import Otlp
from tests.kit.binaries import eventually, free_port
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub
from tests.kit.providers.http import Answer, FakeProvider
from tests.kit.providers.receiver import FakeReceiver
from tests.kit.webhooks import alert, webhook
from tests.web.test_health import break_channel

pytestmark = pytest.mark.anyio
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwOdF3aX8hYc4="
CANARY = "canary-0123456789"
CONFIG = """
database: {{url: "sqlite:///{folder}/hub.db"}}
sources: [{{name: alertmanager, type: alertmanager}}]
receivers: [{{name: system, webhook_configs: [{{url: "{url}/told?key={canary}", secret: "{signing}"}}]}}]
targets: [{{name: scaler, type: http, url: "{url}/scale?key={canary}", secret: "{signing}"}}]
actions: [{{name: scale, type: http, target: scaler}}]
route: {{receiver: system, group_by: [alertname], actions: [scale]}}
{more}
"""


class Watched:
    """A hub whose spans stay in memory."""

    def __init__(self, hub: RunningHub) -> None:
        self.hub, self.memory = hub, InMemorySpanExporter()
        tracer = Otlp("", {}, SimpleSpanProcessor(self.memory))
        hub.hub.tracer = hub.hub.worker.tracer = hub.hub.doorway.tracer = tracer

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.memory.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.spans(name)
        return span


@pytest.fixture
def watched(hub: RunningHub) -> Watched:
    return Watched(hub)


def body(*names: str, **labels: str) -> bytes:
    return json.dumps(webhook(*(alert(name, **labels) for name in names))).encode()


def said(span: ReadableSpan, name: str) -> Any:
    return dict(span.attributes or {})[f"alerthub.{name}"]


def ids(span: ReadableSpan) -> tuple[int, int]:
    return span.context.trace_id, span.context.span_id


async def test_one_alert_is_followed_from_its_webhook_to_the_provider(watched: Watched) -> None:
    assert (await watched.hub.post(body("DiskFull"))).status_code == 200
    await watched.hub.drain()
    ((incident),) = await watched.hub.incidents()
    webhook_span, commit, claim, deliver, request = (
        watched.one(name) for name in ("webhook", "commit", "claim", "deliver", "provider request"))
    assert (said(webhook_span, "source"), said(webhook_span, "status"), webhook_span.parent) == ("alertmanager", 200, None)
    assert (commit.parent.trace_id, commit.parent.span_id) == ids(webhook_span)  # type: ignore[union-attr]
    assert (said(commit, "webhooks"), said(commit, "incident_ids")) == (1, (incident["id"],))
    assert [(link.context.trace_id, link.context.span_id) for link in deliver.links] == [ids(claim)]
    assert (said(deliver, "incident_id"), said(deliver, "incident")) == (incident["id"], incident["number"])
    assert (said(deliver, "channel"), said(deliver, "outcome"), said(deliver, "attempt")) == ("console", "sent", 1)
    assert (request.parent.trace_id, request.parent.span_id) == ids(deliver)  # type: ignore[union-attr]


async def test_all_that_is_told_of_an_incident_is_one_trace_with_the_incidents_own_id(watched: Watched, clock: FakeClock) -> None:
    break_channel(watched.hub).broken = SendFailed(Failure.unavailable, f"HTTP 502 {CANARY}")
    await watched.hub.post(body("DiskFull"))
    await watched.hub.drain()
    clock.advance(minutes=10)
    await watched.hub.drain()
    ((incident),) = [one for one in await watched.hub.incidents() if one["source"] != "alerthub"]
    first, second = watched.spans("deliver")[:2]
    assert {first.context.trace_id, second.context.trace_id} == {UUID(incident["id"]).int}
    assert [first.parent, second.parent] == [None, None]
    assert [said(first, "attempt"), said(second, "attempt")] == [1, 2]
    assert said(first, "outcome") == "unavailable"
    assert CANARY not in watched.spans("provider request")[0].to_json()


async def test_webhooks_that_share_a_commit_are_all_named_by_it(watched: Watched) -> None:
    held = watched.hub.store.hold()
    posted = [asyncio.create_task(watched.hub.post(body(name))) for name in ("A", "B", "C")]
    await eventually(lambda: len(watched.hub.hub.doorway.queue) == 3)
    held.set()
    assert [(await task).status_code for task in posted] == [200] * 3
    webhooks = {ids(span) for span in watched.spans("webhook")}
    named = set()
    for commit in watched.spans("commit"):
        named |= {(commit.parent.trace_id, commit.parent.span_id)}  # type: ignore[union-attr]
        named |= {(link.context.trace_id, link.context.span_id) for link in commit.links}
    assert [said(commit, "webhooks") for commit in watched.spans("commit")] == [3]
    assert named == webhooks


async def test_a_webhook_that_cannot_be_stored_shows_its_503(watched: Watched) -> None:
    watched.hub.store.error = Busy("away")
    assert (await watched.hub.post(body("DiskFull"))).status_code == 503
    assert said(watched.one("webhook"), "status") == 503
    watched.hub.store.mend()


async def test_of_an_error_only_its_kind_is_kept() -> None:
    memory = InMemorySpanExporter()
    tracer = Otlp("", {}, SimpleSpanProcessor(memory))
    with pytest.raises(ValueError, match=CANARY), tracer.span("deliver", "no-uuid"):
        raise ValueError(CANARY)
    (span,) = memory.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError")
    assert CANARY not in span.to_json()


# -- a hub with a file of its own, and a collector

@asynccontextmanager
async def started(folder: Path, url: str, more: str = "") -> AsyncIterator[Hub]:
    (folder / "alerthub.yml").write_text(CONFIG.format(folder=folder, url=url, canary=CANARY, signing=SIGNING, more=more))
    hub = Hub(load(folder / "alerthub.yml", {}))
    hub.migrate()
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()


async def follow(hub: Hub, system: FakeReceiver) -> None:
    """One alert, until its action is done and it is told."""
    transport = httpx.ASGITransport(hub.web())
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8095") as client:
        answer = await client.post("/hooks/alertmanager", content=body("DiskFull", host=CANARY))
        assert answer.status_code == 200
    await eventually(lambda: {request.path.partition("?")[0] for request in system.requests} >= {"/told", "/scale"}, 20)


async def test_a_collector_gets_all_of_it_and_no_secret(tmp_path: Path) -> None:
    async with FakeProvider(lambda request: Answer(200)) as collector, FakeReceiver(SIGNING) as system:
        async with started(tmp_path, system.url, f'telemetry: {{otlp_endpoint: "{collector.url}"}}') as hub:
            await follow(hub, system)
        assert {request.path for request in collector.requests} == {"/v1/traces"}
        sent = [ExportTraceServiceRequest.FromString(request.body) for request in collector.requests]
    resources = [spans.resource for one in sent for spans in one.resource_spans]
    named = {entry.key: entry.value.string_value for entry in resources[0].attributes}
    assert named["service.name"] == "alerthub"
    spans = [span for one in sent for found in one.resource_spans for scope in found.scope_spans for span in scope.spans]
    assert {span.name for span in spans} == {"webhook", "commit", "claim", "deliver", "provider request", "act"}
    (acted,) = [span for span in spans if span.name == "act"]
    facts = {entry.key: entry.value for entry in acted.attributes}
    assert (facts["alerthub.action"].string_value, facts["alerthub.state"].string_value) == ("scale", "succeeded")
    assert acted.trace_id == UUID(facts["alerthub.incident_id"].string_value).bytes
    text = str(sent)
    assert CANARY not in text
    assert SIGNING not in text


@pytest.mark.slow
@pytest.mark.parametrize("how", ["away", "hangs", "refuses"])
async def test_a_collector_that_takes_nothing_holds_nothing_up(
        how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answer = Answer(hang=True) if how == "hangs" else Answer(400)
    async with FakeProvider(lambda request: answer) as collector, FakeReceiver(SIGNING) as system:
        url = f"http://127.0.0.1:{free_port()}" if how == "away" else collector.url
        with caplog.at_level(logging.WARNING):
            async with started(tmp_path, system.url, f'telemetry: {{otlp_endpoint: "{url}"}}') as hub:
                await follow(hub, system)
    about = ("opentelemetry", "alerthub.telemetry", "urllib3")
    lines = [record.message for record in caplog.records if record.name.startswith(about)]
    assert lines in ([], ["the collector takes no traces; they are dropped"])
