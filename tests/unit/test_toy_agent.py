"""The toy agent does what a real one should: exact metrics, one effect per webhook-id, no push without proof."""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from alerthub.clock import SystemClock
from alerthub.toy_agent import ToyAgent, app
from tests.kit.agent import running_agent

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class FixedClock(SystemClock):
    def now(self) -> datetime:
        return NOW


@asynccontextmanager
async def client_of(agent: ToyAgent) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app(agent, FixedClock()))
    async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
        yield client


def samples(text: str) -> dict[tuple[str, ...], float]:
    """(name, label values without the agent's …) → value, read by Prometheus' own parser."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert "agent" in sample.labels, "the rules aggregate by agent"
            rest = [value for name, value in sorted(sample.labels.items()) if name != "agent"]
            found[(sample.name, *rest)] = sample.value
    return found


def signature(body: bytes, message_id: str, at: datetime = NOW, key: bytes = KEY) -> dict[str, str]:
    stamp = str(int(at.timestamp()))
    digest = hmac.new(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": message_id, "webhook-timestamp": stamp,
            "webhook-signature": "v1," + base64.b64encode(digest).decode()}


async def test_a_fresh_agent_exports_every_metric_of_the_rules() -> None:
    async with client_of(ToyAgent()) as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.text)
    assert found[("etl_flow_failure_total",)] == 0
    assert found[("etl_flow_success_total",)] == 0
    assert found[("rolling_reward",)] == 0
    assert found[("feature_drift_ks_pvalue", "spread")] == 0.5
    assert found[("inference_latency_seconds_count",)] == 0
    assert found[("agent_mode", "trading")] == 1
    assert found[("agent_mode", "safe")] == 0


async def test_what_is_set_is_exported() -> None:
    async with client_of(ToyAgent("eth")) as client:
        answer = await client.post("/set", json={
            "etl_flow_failure_total": 3, "etl_flow_success_total": 7, "rolling_reward": -12.5,
            "feature_drift_ks_pvalue": {"volume": 0.001}, "inference_latency_seconds": [0.4, 0.5, 0.7, 3.0]})
        assert answer.status_code == 200
        found = samples((await client.get("/metrics")).text)
    assert found[("etl_flow_failure_total",)] == 3
    assert found[("rolling_reward",)] == -12.5
    assert found[("feature_drift_ks_pvalue", "volume")] == 0.001
    assert found[("feature_drift_ks_pvalue", "spread")] == 0.5
    buckets = {bound: found[("inference_latency_seconds_bucket", bound)] for bound in ("0.25", "0.5", "1.0", "+Inf")}
    assert buckets == {"0.25": 0, "0.5": 2, "1.0": 3, "+Inf": 4}
    assert found[("inference_latency_seconds_count",)] == 4
    assert math.isclose(found[("inference_latency_seconds_sum",)], 4.6)


@pytest.mark.parametrize(("word", "check"), [("nan", math.isnan), ("inf", lambda value: value == math.inf),
                                             ("-inf", lambda value: value == -math.inf)])
async def test_a_diverged_agent_can_say_so(word: str, check: Any) -> None:
    async with client_of(ToyAgent()) as client:
        await client.post("/set", json={"rolling_reward": word})
        assert check(samples((await client.get("/metrics")).text)[("rolling_reward",)])


async def test_names_are_escaped_in_the_exposition() -> None:
    async with client_of(ToyAgent('a"b\\c\nd')) as client:
        text = (await client.get("/metrics")).text
    labels = [sample.labels for family in text_string_to_metric_families(text) for sample in family.samples]
    assert {label["agent"] for label in labels} == {'a"b\\c\nd'}


@pytest.mark.parametrize("body", [
    b"", b"[]", b"3", b'{"nothing": 1}', b'{"rolling_reward": "much"}', b'{"rolling_reward": true}', b'{"rolling_reward": [1]}',
    b'{"feature_drift_ks_pvalue": 3}', b'{"inference_latency_seconds": 0.3}', b"\xff\xfe", b"[" * 60_000,
])
async def test_a_setting_that_makes_no_sense_is_refused(body: bytes) -> None:
    async with client_of(ToyAgent()) as client:
        assert (await client.post("/set", content=body)).status_code == 400


async def test_a_push_changes_the_mode_and_is_recorded() -> None:
    agent = ToyAgent()
    async with client_of(agent) as client:
        answer = await client.post("/mode", json={"mode": "safe", "reason": "reward is negative"}, headers={"webhook-id": "r1"})
        assert answer.json() == {"agent": "btc", "mode": "safe", "reason": "reward is negative", "pushes": 1}
        assert (await client.get("/mode")).json()["mode"] == "safe"
        assert samples((await client.get("/metrics")).text)[("agent_mode", "safe")] == 1
    assert [(push.id, push.mode, push.is_repeat) for push in agent.pushes] == [("r1", "safe", False)]


async def test_the_same_id_again_changes_nothing() -> None:
    agent = ToyAgent()
    async with client_of(agent) as client:
        for message_id, mode in (("r1", "safe"), ("r2", "trading"), ("r1", "safe")):
            await client.post("/mode", json={"mode": mode}, headers={"webhook-id": message_id})
        assert (await client.get("/mode")).json()["mode"] == "trading"
    assert [push.is_repeat for push in agent.pushes] == [False, False, True]


async def test_without_an_id_every_push_counts() -> None:
    agent = ToyAgent()
    async with client_of(agent) as client:
        for mode in ("safe", "trading", "safe"):
            await client.post("/mode", json={"mode": mode})
    assert agent.mode == "safe"
    assert not any(push.is_repeat for push in agent.pushes)


async def test_it_does_not_remember_ids_for_ever() -> None:
    agent = ToyAgent()
    for n in range(3_000):
        agent.push(f"r{n}", "safe", "")
    assert len(agent.seen) <= 1_000
    agent.push("r2999", "trading", "")
    assert agent.mode == "safe"


async def test_an_agent_that_does_not_obey_answers_200_and_stays() -> None:
    agent = ToyAgent(obeys=False)
    async with client_of(agent) as client:
        assert (await client.post("/mode", json={"mode": "safe"})).status_code == 200
        assert (await client.get("/mode")).json()["mode"] == "trading"
    assert len(agent.pushes) == 1


@pytest.mark.parametrize("body", [
    b"", b"{}", b"[]", b'{"mode": "asleep"}', b'{"mode": ["safe"]}', b'{"mode": "safe", "reason": 3}', b"\xff", b"[" * 60_000,
])
async def test_a_push_that_is_not_understood_is_refused(body: bytes) -> None:
    agent = ToyAgent()
    async with client_of(agent) as client:
        assert (await client.post("/mode", content=body)).status_code == 400
    assert agent.mode == "trading"
    assert agent.pushes == []


async def test_a_giant_body_is_refused() -> None:
    async with client_of(ToyAgent()) as client:
        assert (await client.post("/mode", content=b" " * 100_000)).status_code == 413


PUSH = b'{"mode":"safe","reason":"r"}'


@pytest.mark.parametrize(("headers", "status"), [
    (signature(PUSH, "r1"), 200),
    ({**signature(PUSH, "r1"), "webhook-signature": "v1,AAAA " + signature(PUSH, "r1")["webhook-signature"]}, 200),
    (signature(PUSH, "r1", NOW - timedelta(minutes=5)), 200),
    (signature(PUSH, "r1", NOW - timedelta(minutes=5, seconds=1)), 401),
    (signature(PUSH, "r1", NOW + timedelta(minutes=5, seconds=1)), 401),
    (signature(PUSH + b" ", "r1"), 401),
    (signature(PUSH, "r1", key=b"another key, as long as the first"), 401),
    ({**signature(PUSH, "r1"), "webhook-id": "r2"}, 401),
    ({**signature(PUSH, "r1"), "webhook-signature": "garbage"}, 401),
    ({**signature(PUSH, "r1"), "webhook-signature": "v1,%%% v1 , v2,AAAA"}, 401),
    ({**signature(PUSH, "r1"), "webhook-timestamp": "soon"}, 401),
    ({**signature(PUSH, "r1"), "webhook-timestamp": "9" * 400}, 401),
    ({}, 401),
])
async def test_a_push_needs_a_fresh_and_right_signature(headers: dict[str, str], status: int) -> None:
    agent = ToyAgent(secret=SECRET)
    async with client_of(agent) as client:
        assert (await client.post("/mode", content=PUSH, headers=headers)).status_code == status
    assert agent.mode == ("safe" if status == 200 else "trading")


@pytest.mark.parametrize(("header", "status"), [
    ("Bearer let-me-in", 200), ("Bearer let-me-out", 401), ("let-me-in", 401), ("", 401),
])
async def test_the_mode_needs_the_token(header: str, status: int) -> None:
    async with client_of(ToyAgent(token="let-me-in")) as client:
        assert (await client.get("/mode", headers={"authorization": header})).status_code == status
        assert (await client.post("/mode", content=PUSH, headers={"authorization": header})).status_code == status
        assert (await client.get("/metrics")).status_code == 200


async def test_it_runs_on_a_port_and_stops() -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with running_agent() as running:
            await client.post(f"{running.url}/mode", content=PUSH)
            assert running.agent.mode == "safe"
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{running.url}/mode")
