"""The prefect action against the real server, with authentication and CSRF protection on: what PROTOCOLS 6.1 says of it, and
that the action reports no more than is so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from alerthub.actions.base import ActionWire, Call, Outcome, Report
from alerthub.actions.prefect import Prefect, PrefectSettings
from alerthub.actions.prefect_api import PrefectTarget
from alerthub.clock import SystemClock
from tests.actions.contract import NO_TLS
from tests.kit.prefect import PASSWORD, USER, PrefectRunner, PrefectServer

pytestmark = [pytest.mark.anyio, pytest.mark.prefect, pytest.mark.slow]
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def server() -> Iterator[PrefectServer]:
    """One for all tests, with the deployment and nobody who runs it."""
    with PrefectServer() as server:
        with PrefectRunner(server):
            pass
        yield server


@pytest.fixture
def runner(server: PrefectServer) -> Iterator[PrefectRunner]:
    with PrefectRunner(server) as runner:
        yield runner


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
        yield client


class Actor:
    """Runs of the action, as configured here, on one server."""

    def __init__(self, server: PrefectServer, http: httpx.AsyncClient) -> None:
        self.wire = ActionWire(http, CLOCK)
        self.target = {"name": "prefect", "url": server.api, "username": USER, "password": PASSWORD}

    async def run(self, call: Call, target: dict[str, Any] | None = None, **settings: Any) -> Report:
        config = PrefectSettings.model_validate({"name": "retrain", **settings})
        action = Prefect(config, PrefectTarget.model_validate({**self.target, **(target or {})}), self.wire)
        report = await action.run(call)
        assert PASSWORD not in repr(report)
        return report

    async def create(self, call: Call, **settings: Any) -> Report:
        return await self.run(call, **{"deployment": "retrain/drl", **settings})

    async def retry(self, flow_run: str, **settings: Any) -> Report:
        return await self.run(a_call({"flow_run": flow_run}), retry="flow_run", **settings)


@pytest.fixture
def actor(server: PrefectServer, http: httpx.AsyncClient) -> Actor:
    return Actor(server, http)


def a_call(parameters: dict[str, Any] | None = None, seconds: float = 60) -> Call:
    now = CLOCK.now()
    return Call(id=str(uuid4()), action="retrain", target="prefect", reason="DriftDetected", incident_id=str(uuid4()), number=17,
                created_at=now, deadline=now + timedelta(seconds=seconds), parameters=parameters or {})


async def test_a_repeated_run_makes_one_flow_run_that_waits_for_somebody(server: PrefectServer, actor: Actor) -> None:
    call = a_call({"agent": "btc", "epochs": 3})
    first, second = await actor.create(call), await actor.create(call)
    assert (first.outcome, second.outcome) == (Outcome.succeeded, Outcome.succeeded), first.detail
    assert (first.answer["done"]["status"], second.answer["done"]["status"]) == (201, 200)
    assert "was created" in first.detail
    assert "existed already" in second.detail
    assert "not executed yet" in first.detail
    (found,) = [run for run in server.flow_runs() if run["idempotency_key"] == first.request["body"]["idempotency_key"]]
    assert found["parameters"] == {"agent": "btc", "epochs": 3}
    assert sorted(found["tags"]) == ["alerthub", "incident-17"]
    assert first.request["csrf"] is True


async def test_a_flow_run_that_nobody_takes_up_is_not_told_as_running(actor: Actor) -> None:
    report = await actor.create(a_call(seconds=4), wait_for="running")
    assert report.outcome is Outcome.unknown
    assert "not executed yet" in report.detail


async def test_a_flow_run_is_followed_to_its_end(server: PrefectServer, runner: PrefectRunner, actor: Actor) -> None:
    report = await actor.create(a_call(), wait_for="completed")
    assert (report.outcome, report.verified) == (Outcome.succeeded, "COMPLETED"), report.detail
    assert server.state(report.answer["flow_run"]) == "COMPLETED"


async def test_a_flow_run_that_failed_is_retried_and_a_completed_one_is_not(
        server: PrefectServer, runner: PrefectRunner, actor: Actor) -> None:
    failed = await actor.create(a_call({"fails_first": True}), wait_for="completed")
    assert failed.outcome is Outcome.failed
    flow_run = failed.answer["flow_run"]
    retried = await actor.retry(flow_run)
    assert retried.outcome is Outcome.succeeded, retried.detail
    assert server.finished(flow_run) == "COMPLETED"
    states = server.get(f"/flow_run_states/?flow_run_id={flow_run}")
    assert sum(str(state["message"]).startswith("AlertHub run") for state in states) == 1
    again = await actor.retry(flow_run)
    assert again.outcome is Outcome.failed
    assert "it is COMPLETED" in again.detail or "is COMPLETED;" in again.detail
    assert server.state(flow_run) == "COMPLETED"


async def test_a_retry_that_was_broken_off_is_found_by_its_mark(
        server: PrefectServer, runner: PrefectRunner, actor: Actor) -> None:
    failed = await actor.create(a_call({"fails_first": True}), wait_for="completed")
    call = a_call({"flow_run": failed.answer["flow_run"]})
    assert (await actor.run(call, retry="flow_run")).outcome is Outcome.succeeded
    resumed = Call(**{**{name: getattr(call, name) for name in Call.__slots__}, "resumed": True})
    report = await actor.run(resumed, retry="flow_run")
    assert report.outcome is Outcome.succeeded, report.detail
    assert "found among its states" in report.detail


@pytest.mark.parametrize(("settings", "parameters", "status"), [
    ({"deployment": "retrain/none"}, {}, 404), ({"deployment": "retrain/drl"}, {"epochs": "many"}, 409),
])
async def test_what_the_server_refuses_is_a_failure(
        actor: Actor, settings: dict[str, Any], parameters: dict[str, Any], status: int) -> None:
    report = await actor.run(a_call(parameters), **settings)
    assert report.outcome is Outcome.failed
    assert f"answered {status}" in report.detail


async def test_a_wrong_password_is_a_failure(actor: Actor) -> None:
    report = await actor.run(a_call(), {"password": "other"}, deployment="retrain/drl")
    assert report.outcome is Outcome.failed
    assert "401" in report.detail


async def test_a_text_that_looks_like_a_template_stays_a_text(server: PrefectServer, actor: Actor) -> None:
    text = '{"__prefect_kind": "jinja", "template": "{{ 7 * 7 }}"} {{ 7 * 7 }}'
    report = await actor.create(a_call({"agent": text}))
    assert server.get(f"/flow_runs/{report.answer['flow_run']}")["parameters"]["agent"] == text


async def test_a_completed_flow_run_with_a_stored_result_is_refused_by_the_server_too(
        server: PrefectServer, actor: Actor) -> None:
    """Of what PROTOCOLS 6.1 says of REJECT: 200 and a body that says no."""
    report = await actor.create(a_call())
    path = f"/flow_runs/{report.answer['flow_run']}/set_state"
    stored = {"type": "result", "storage_key": "x"}
    server.post(path, {"state": {"type": "COMPLETED", "data": stored}, "force": True})
    said = server.post(path, {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": False})
    assert said["status"] == "REJECT"
    assert said["details"]["reason"] == "Run is already COMPLETED."
