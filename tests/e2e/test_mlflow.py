"""The mlflow action against the real server: what PROTOCOLS 6.2 says of it, and that the action reports no more than is so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from alerthub.actions.base import ActionWire, Call, Outcome, Report
from alerthub.actions.mlflow import Mlflow, MlflowSettings
from alerthub.actions.mlflow_api import RegistryTarget
from alerthub.clock import SystemClock
from tests.actions.contract import NO_TLS
from tests.kit.mlflow import RealMlflow

pytestmark = [pytest.mark.anyio, pytest.mark.mlflow, pytest.mark.slow]
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def server() -> Iterator[RealMlflow]:
    with RealMlflow() as server:
        yield server


@pytest.fixture
def model(server: RealMlflow) -> str:
    """A model of its own for each test, with two versions."""
    name = f"drl agent {uuid4()}"
    server.has_model(name, versions=2)
    return name


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
        yield client


async def run(server: RealMlflow, http: httpx.AsyncClient, *, resumed: bool = False, **settings: Any) -> Report:
    config = MlflowSettings.model_validate({"name": "flag", "target": "registry", **settings})
    target = RegistryTarget(name="registry", url=server.url)
    now = CLOCK.now()
    return await Mlflow(config, target, ActionWire(http, CLOCK)).run(Call(
        id=str(uuid4()), action="flag", target="registry", reason="DriftDetected", incident_id=str(uuid4()), number=17,
        created_at=now, deadline=now + timedelta(seconds=30), resumed=resumed))


async def test_a_version_is_tagged_and_the_value_before_is_kept(server: RealMlflow, http: httpx.AsyncClient, model: str) -> None:
    first = await run(server, http, model=model, version=2, set_tag={"drift": "none"})
    second = await run(server, http, model=model, version=2, set_tag={"drift": "warning " * 12_500})
    again = await run(server, http, model=model, version=2, set_tag={"drift": "warning " * 12_500}, resumed=True)
    assert [report.outcome for report in (first, second, again)] == [Outcome.succeeded] * 3
    assert [report.request["before"] for report in (first, second)] == [None, "none"]
    assert again.request["requests"] == 0
    assert server.tags(model, "2") == {"drift": "warning " * 12_500}
    assert server.tags(model, "1") == {}


async def test_an_alias_is_set_moved_and_used_to_find_a_version(server: RealMlflow, http: httpx.AsyncClient, model: str) -> None:
    made = await run(server, http, model=model, version=1, set_alias="champion")
    moved = await run(server, http, model=model, alias="latest", set_alias="champion")
    tagged = await run(server, http, model=model, alias="champion", set_tag={"stage": "live"})
    assert [report.outcome for report in (made, moved, tagged)] == [Outcome.succeeded] * 3
    assert [report.request["before"] for report in (made, moved)] == [None, "1"]
    assert server.get("/registered-models/alias", name=model, alias="champion")["model_version"]["version"] == "2"
    assert server.tags(model, "2") == {"stage": "live"}


async def test_the_model_itself_is_tagged(server: RealMlflow, http: httpx.AsyncClient, model: str) -> None:
    report = await run(server, http, model=model, set_tag={"drift": "wärning"})
    assert report.outcome is Outcome.succeeded
    assert server.get("/registered-models/get", name=model)["registered_model"]["tags"] == [{"key": "drift", "value": "wärning"}]


@pytest.mark.parametrize(("settings", "word"), [
    ({"version": 9, "set_tag": {"a": "b"}}, "version=9) not found"),
    ({"version": 9, "set_alias": "champion"}, "version=9) not found"),
    ({"alias": "champion", "set_tag": {"a": "b"}}, "no alias champion"),
    ({"model": "nobody", "set_tag": {"a": "b"}}, "name=nobody not found"),
    ({"model": "nobody", "alias": "champion", "set_tag": {"a": "b"}}, "name=nobody not found"),
])
async def test_what_is_not_there_is_a_failure(server: RealMlflow, http: httpx.AsyncClient, model: str, settings: dict[str, Any],
                                              word: str) -> None:
    report = await run(server, http, **{"model": model, **settings})
    assert report.outcome is Outcome.failed
    assert word in report.detail


async def test_a_host_that_the_server_does_not_know_is_configuration(server: RealMlflow, http: httpx.AsyncClient,
                                                                     model: str) -> None:
    """In a cluster the address is a name; here, the same request with such a name in its Host header."""
    async def renamed(request: httpx.Request) -> None:
        request.headers["Host"] = "mlflow.ml.svc:5000"

    http.event_hooks = {"request": [renamed]}
    report = await run(server, http, model=model, set_tag={"a": "b"})
    assert report.outcome is Outcome.failed
    assert "Invalid Host header" in report.detail
    assert "MLFLOW_SERVER_ALLOWED_HOSTS" in report.detail
