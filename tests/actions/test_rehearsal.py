"""What an action would do, shown without doing it: asking nobody in shadow mode, and the target in a dry run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from alerthub.actions import REGISTRY, load
from alerthub.actions.base import ActionWire, Call, Outcome, Rehearsing, Report
from tests.actions.contract import NO_TLS, RUN, SECRET, TOKEN, SteppingClock, call
from tests.kit.providers.alertmanager import AlertmanagerServer
from tests.kit.providers.http import Answer, FakeProvider
from tests.kit.providers.kubernetes import ApiServer
from tests.kit.providers.mlflow import MlflowServer
from tests.kit.providers.prefect import DEPLOYMENT, FLOW_RUN, FakePrefect

pytestmark = pytest.mark.anyio

AGENT = {"parameters": {"agent": "btc"}}
API = {"namespace": "prod", "deployment": "model-api", "max": 10}
Case = tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], Callable[[], Any]]
CASES: list[Case] = [
    ("http", {}, {}, AGENT, lambda: lambda request: Answer(200)),
    ("prefect", {"deployment": "retrain/drl"}, {}, AGENT, lambda: FakePrefect(root="").answer),
    ("mlflow", {"model": "drl-agent", "version": "2", "set_tag": {"drift": "warning"}}, {}, {}, MlflowServer),
    ("kubernetes", {"do": "restart"}, API, {}, ApiServer),
    ("kubernetes", {"do": "scale", "replicas": 5}, API, {}, ApiServer),
    ("silence", {"matchers": ['alertname="DiskFull"']}, {"type": "alertmanager"}, {},
     lambda: AlertmanagerServer(SteppingClock().now)),
]
IDS = ["http", "prefect", "mlflow", "restart", "scale", "silence"]


@asynccontextmanager
async def opened(kind: str, config: dict[str, Any], target: dict[str, Any], answer: Any,
                 ) -> AsyncIterator[tuple[FakeProvider, Any]]:
    async with httpx.AsyncClient(trust_env=False, timeout=None, verify=NO_TLS) as client, FakeProvider() as provider:
        provider.answer = answer
        found = load(kind)
        secret = {} if kind == "kubernetes" else {"secret": SECRET}
        settings = {"name": "t", "type": kind, "url": provider.url, "token": TOKEN, **secret, **target}
        yield provider, found(found.Config.model_validate({"name": "a", "type": kind, "target": "t", **config}),
                              found.Target.model_validate(settings), ActionWire(client, SteppingClock()))


async def rehearsed(case: Case, *, ask: bool, **overrides: Any) -> tuple[FakeProvider, Report]:
    kind, config, target, more, server = case
    async with opened(kind, config, target, server()) as (provider, action):
        return provider, await action.rehearse(call(**{**more, **overrides}), ask=ask)


@pytest.mark.parametrize("kind", [kind for kind in REGISTRY if kind != "safe_mode"])
def test_whatever_does_not_tighten_can_be_rehearsed(kind: str) -> None:
    assert issubclass(load(kind), Rehearsing)


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_shadow_asks_nobody_and_shows_the_request_without_secrets(case: Case) -> None:
    provider, report = await rehearsed(case, ask=False)
    assert provider.requests == []
    assert report.outcome is Outcome.succeeded
    assert report.detail
    assert {"method", "url", "body"} <= set(report.request)
    assert report.request["url"].startswith(provider.url)
    assert not any(secret in repr(report) for secret in (TOKEN, SECRET))


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_dry_run_changes_nothing(case: Case) -> None:
    provider, report = await rehearsed(case, ask=True)
    assert report.outcome is Outcome.succeeded
    assert [request for request in provider.requests if request.method != "GET" and "dryRun=All" not in request.path] == []
    assert bool(provider.requests) is (case[0] != "http")
    assert not any(secret in repr(report) for secret in (TOKEN, SECRET))


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_what_is_shown_is_what_is_sent(case: Case) -> None:
    """Of the run with the same id, to the same target."""
    kind, config, target, more, server = case
    async with opened(kind, config, target, server()) as (_, action):
        shown = await action.rehearse(call(**more), ask=True)
        done = await action.run(call(**more))
    assert done.outcome is not Outcome.failed
    assert [shown.request[key] for key in ("method", "url", "body")] == [done.request[key] for key in ("method", "url", "body")]


@pytest.mark.parametrize("case", CASES[1:], ids=IDS[1:])
async def test_a_dry_run_tells_what_the_target_would_refuse(case: Case) -> None:
    kind, config, target, more, _ = case
    refusing = lambda request: Answer(403, body={"kind": "Status", "message": "not allowed"})      # noqa: E731
    async with opened(kind, config, target, refusing) as (_, action):
        report = await action.rehearse(call(**more), ask=True)
    assert report.outcome is Outcome.failed
    assert "403" in report.detail


async def test_a_dry_run_resolves_the_deployment() -> None:
    _, report = await rehearsed(CASES[1], ask=True)
    assert report.request["url"].endswith(f"/deployments/{DEPLOYMENT}/create_flow_run")
    assert report.request["body"]["idempotency_key"] == f"{DEPLOYMENT}/{RUN}"
    _, unasked = await rehearsed(CASES[1], ask=False)
    assert unasked.request["url"].endswith("/deployments/(of retrain/drl)/create_flow_run")


@pytest.mark.parametrize("ask", [True, False])
async def test_a_retry_that_names_no_flow_run_would_fail(ask: bool) -> None:
    case: Case = ("prefect", {"retry": "flow_run_id"}, {}, {"parameters": {"flow_run_id": "x"}}, CASES[1][4])
    provider, report = await rehearsed(case, ask=ask)
    assert (report.outcome, provider.requests) == (Outcome.failed, [])
    assert "not the id of a flow run" in report.detail


async def test_a_retry_shows_its_state_and_is_not_asked_for() -> None:
    case: Case = ("prefect", {"retry": "flow_run_id"}, {}, {"parameters": {"flow_run_id": FLOW_RUN}}, CASES[1][4])
    provider, report = await rehearsed(case, ask=False)
    assert (report.outcome, provider.requests) == (Outcome.succeeded, [])
    assert report.request["body"]["state"]["type"] == "SCHEDULED"


async def test_a_command_shows_what_it_would_start(tmp_path: Any) -> None:
    found, mark = load("command"), tmp_path / "done"
    config = found.Config.model_validate({"name": "a", "type": "command", "argv": ["/usr/bin/touch", "{file}"],
                                          "labels": ["file"], "pattern": ".*"})
    async with httpx.AsyncClient(verify=NO_TLS) as client:
        action = found(config, None, ActionWire(client, SteppingClock()))
        for ask in (True, False):
            report = await action.rehearse(called(str(mark)), ask=ask)
            assert (report.outcome, report.request["argv"]) == (Outcome.succeeded, ["/usr/bin/touch", str(mark)])
        refused = await action.rehearse(called("--no-create"), ask=False)
    assert refused.outcome is Outcome.failed
    assert not mark.exists()


def called(file: str) -> Call:
    return call(target=None, parameters={"file": file})


async def test_a_changed_value_says_how_to_bring_back_what_was_there() -> None:
    scale, tag = CASES[4], CASES[2]
    for (kind, config, target, more, server), how in ((scale, "kubectl -n prod scale deployment/model-api --replicas="),
                                                     (tag, "the tag drift of version 2 of drl-agent")):
        async with opened(kind, config, target, server()) as (provider, action):
            report = await action.run(call(**more))
            again = await action.run(call(**more))
        assert how in report.undo["how"]
        assert {"method", "url", "body"} <= set(report.undo)
        assert again.undo == {}, "nothing was changed"
        assert not [request for request in provider.requests if request.method == "DELETE"], "it is never sent"
