"""The prefect action: one flow run per run of the action, and a retry that is asked for once."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from alerthub.actions.base import Outcome, Report, parameters_for
from alerthub.actions.exchange import ANSWER_BYTES
from alerthub.actions.prefect import Prefect, PrefectSettings
from alerthub.actions.prefect_api import PrefectTarget
from alerthub.clock import SystemClock
from alerthub.errors import ActionFailed
from tests.actions.contract import BIG, BUFFERS, RUN, TOKEN, ActionContract, assert_signed, call
from tests.kit.messages import HOSTILE, NOW
from tests.kit.providers.http import Answer, FakeProvider, Request
from tests.kit.providers.prefect import CSRF_TOKEN, DEPLOYMENT, FLOW_RUN, FakePrefect

pytestmark = pytest.mark.anyio

KEY = f"{DEPLOYMENT}/{RUN}"
OTHER = "0c5ba3f0-1111-4222-8333-444455556666"
# All of the contract's, but for the target, which need not be named.
WRONG_SETTINGS = [case for case in ActionContract.test_a_setting_that_cannot_be_is_refused_by_name.pytestmark[0].args[1]
                  if case[1] != "target_label"]
Spoil = Callable[[Request, Callable[[Request], Answer]], Answer]


def is_create(request: Request) -> bool:
    return request.path.endswith("/create_flow_run")


def is_retry(request: Request) -> bool:
    return request.path.endswith("/set_state")


class TestPrefect(ActionContract):
    """What the contract says of the one request of a simple action holds here for the one that has the effect: what is only
    asked may be asked again, and nothing is in doubt when its answer is lost."""

    kind = "prefect"
    settings: ClassVar[dict[str, Any]] = {"name": "retrain", "type": "prefect", "deployment": "retrain/drl"}
    target_settings: ClassVar[dict[str, Any]] = {"name": "prefect", "type": "prefect"}

    def answer_ok(self, provider: FakeProvider) -> None:
        self.server = FakePrefect(root="")
        provider.answer = self.server.answer

    def spoil_changes(self, provider: FakeProvider, answer: Answer) -> None:
        """Every answer to what is posted, looking up included."""
        provider.answer = lambda request: answer if request.method == "POST" else self.server.answer(request)

    @pytest.mark.parametrize(("wrong", "word"), WRONG_SETTINGS)
    def test_a_setting_that_cannot_be_is_refused_by_name(self, wrong: dict[str, Any], word: str) -> None:
        super().test_a_setting_that_cannot_be_is_refused_by_name(wrong, word)

    async def test_a_target_that_does_it_makes_a_success_with_its_evidence(self) -> None:
        async with self.opened() as (provider, action):
            report = await action.run(call(parameters={"agent": "btc", "epochs": 3}))
        assert report.outcome is Outcome.succeeded
        assert report.detail == f"the flow run {FLOW_RUN[:-4]}0001 was created; it is SCHEDULED, not executed yet"
        assert report.request["url"] == f"{provider.url}/deployments/{DEPLOYMENT}/create_flow_run"
        assert report.request["body"] == {"parameters": {"agent": "btc", "epochs": 3}, "idempotency_key": KEY,
                                          "tags": ["alerthub", "incident-17"]}
        assert report.answer["done"]["status"] == 201
        assert report.verified == "SCHEDULED, not executed yet"
        json.dumps([report.request, report.answer, report.verified])

    async def test_it_proves_who_asks_and_carries_its_id(self) -> None:
        async with self.opened() as (provider, action):
            await action.run(call())
        for request in provider.requests:
            assert request.headers["webhook-id"] == RUN
            assert request.headers["idempotency-key"] == RUN
            assert request.headers["authorization"] == f"Bearer {TOKEN}"
            assert request.headers["connection"] == "close"
            assert_signed(request, NOW)
        assert [request.headers.get("content-type") for request in provider.requests] == [None, "application/json", None]

    @pytest.mark.parametrize("value", HOSTILE, ids=lambda value: ascii(value[:12]))
    async def test_hostile_text_is_only_ever_a_text_in_the_body(self, value: str) -> None:
        """The text of an alert is not even that: nothing of it is sent."""
        async with self.opened() as (provider, action):
            await action.run(call(reason=f"<<{value}>>"))
        assert not any(b"<<" in request.body or "<<" in request.path for request in provider.requests)

    async def test_an_answer_that_is_lost_is_unknown(self) -> None:
        async with self.opened() as (provider, action):
            self.spoil_changes(provider, Answer(drop=True))
            report = await action.run(call())
        assert report.outcome is Outcome.unknown
        assert "may have done it" in report.detail

    async def test_a_target_that_stays_silent_is_unknown_at_the_deadline(self) -> None:
        async with self.opened(SystemClock()) as (provider, action):
            self.spoil_changes(provider, Answer(hang=True))
            async with asyncio.timeout(5):
                report = await action.run(call(**self.soon()))
        assert report.outcome is Outcome.unknown

    async def outcome_of(self, answer: Answer) -> Report:
        async with self.opened() as (provider, action):
            self.spoil_changes(provider, answer)
            return await action.run(call())

    async def test_a_huge_answer_is_not_read_to_its_end(self) -> None:
        block = b"x" * 65_536
        async with self.opened() as (provider, action):
            def huge(request: Request) -> Answer:
                found = self.server.answer(request)
                return Answer(chunks=itertools.repeat(block, BIG // len(block))) if is_create(request) else found

            provider.answer = huge
            report = await action.run(call())
            assert provider.sent < BUFFERS
        assert report.outcome is Outcome.succeeded
        assert "found by its key" in report.detail

    @pytest.mark.parametrize("spoil", [Answer(drop=True), Answer(500), Answer(502), Answer(body="{"), Answer(201, body="null")])
    async def test_a_server_that_acts_and_then_loses_its_answer_is_asked_what_it_did(self, spoil: Answer) -> None:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: (self.server.answer(request), spoil)[is_create(request)]
            report = await action.run(call())
        assert report.outcome is Outcome.succeeded
        assert "found by its key" in report.detail
        assert self.server.created == 1
        assert sum(is_create(request) for request in provider.requests) == 1

    async def test_a_question_whose_answer_is_lost_is_a_failure_because_nothing_was_done(self) -> None:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: Answer(drop=True)
            report = await action.run(call())
            assert not any(is_create(request) for request in provider.requests)
        assert report.outcome is Outcome.failed


class Bench:
    """A server, and runs of an action against it."""

    def __init__(self) -> None:
        self.server = FakePrefect()
        self.contract = TestPrefect()
        self.settings: dict[str, Any] = {}
        self.spoil: Spoil | None = None
        self.requests: list[Request] = []
        self.target: dict[str, Any] = {}

    async def run(self, **overrides: Any) -> Report:
        """One run. `spoil` has the last word about each answer."""
        async with self.contract.opened() as (provider, _):
            server = self.server.answer
            provider.answer = lambda request: self.spoil(request, server) if self.spoil else server(request)
            target = PrefectTarget.model_validate({"name": "prefect", "url": provider.url + "/api/", **self.target})
            config = PrefectSettings.model_validate({"name": "retrain", "deployment": "retrain/drl", **self.settings})
            report = await Prefect(config, target, self.contract.wire).run(call(**overrides))
            self.requests = provider.requests
        json.dumps([report.detail, report.request, report.answer, report.verified])
        return report

    async def retry(self, value: str = FLOW_RUN, **overrides: Any) -> Report:
        self.settings = {"deployment": None, "retry": "flow_run", **self.settings}
        return await self.run(parameters={"flow_run": value}, **overrides)

    def answers(self, answer: Answer, when: Callable[[Request], bool], times: int = 10_000, acts: bool = False) -> None:
        """From now on, this is the answer to such requests. `acts`: the server does all the same what it is asked for."""
        left = itertools.count(times, -1)

        def spoil(request: Request, server: Callable[[Request], Answer]) -> Answer:
            if not when(request) or next(left) <= 0:
                return server(request)
            if acts:
                server(request)
            return answer

        self.spoil = spoil

    def count(self, when: Callable[[Request], bool]) -> int:
        return sum(when(request) for request in self.requests)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- a deployment -------------------------------------------------------------------------------------------------------


async def test_the_same_run_again_makes_no_second_flow_run_and_says_so(bench: Bench) -> None:
    await bench.run()
    report = await bench.run(resumed=True)
    assert report.outcome is Outcome.succeeded
    assert "existed already" in report.detail
    assert report.answer["done"]["status"] == 200
    assert bench.server.created == 1


async def test_a_name_with_odd_signs_is_one_part_of_the_path(bench: Bench) -> None:
    bench.server.deployments = {("çok iyi?#", "a b"): DEPLOYMENT}
    bench.settings = {"deployment": "çok iyi?#/a b"}
    assert (await bench.run()).outcome is Outcome.succeeded


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
async def test_a_refusal_is_a_failure_with_what_the_server_said(bench: Bench, status: int) -> None:
    bench.answers(Answer(status, body={"detail": "no\x00such\nthing"}), is_create)
    report = await bench.run()
    assert report.outcome is Outcome.failed
    assert f"{status}" in report.detail
    assert bench.count(is_create) == 1


async def test_a_deployment_that_is_not_there_is_a_failure(bench: Bench) -> None:
    bench.server.deployments = {}
    report = await bench.run()
    assert report.outcome is Outcome.failed
    assert "Deployment not found" in report.detail
    assert len(bench.requests) == 1


async def test_parameters_that_the_schema_does_not_allow_are_a_failure(bench: Bench) -> None:
    bench.server.schema = {"agent"}
    report = await bench.run(parameters={"agnet": "btc"})
    assert report.outcome is Outcome.failed
    assert "409" in report.detail


async def test_an_address_that_is_not_the_api_is_told_as_such(bench: Bench) -> None:
    bench.answers(Answer(body="<html>Prefect</html>"), lambda request: True)
    report = await bench.run()
    assert report.outcome is Outcome.failed
    assert "/api" in report.detail


async def test_a_deployment_too_long_to_read_is_known_by_its_beginning(bench: Bench) -> None:
    big = f'{{"id":"{DEPLOYMENT}","name":"{"x" * 2 * ANSWER_BYTES}"}}'
    bench.answers(Answer(body=big), lambda request: "/deployments/name/" in request.path)
    assert (await bench.run()).outcome is Outcome.succeeded


@pytest.mark.parametrize("status", [408, 425, 429, 503])
async def test_refused_before_work_is_asked_again_with_the_same_key(bench: Bench, status: int) -> None:
    bench.answers(Answer(status, headers={"retry-after": "2"}), is_create, times=3)
    report = await bench.run()
    assert report.outcome is Outcome.succeeded
    assert {request.json()["idempotency_key"] for request in bench.requests if is_create(request)} == {KEY}
    assert bench.contract.clock.waits == [2, 2, 2]


async def test_an_error_of_the_server_that_did_nothing_is_a_failure(bench: Bench) -> None:
    bench.answers(Answer(500, body="boom"), is_create)
    report = await bench.run()
    assert report.outcome is Outcome.failed, "it has finished with the request, and says that there is no such flow run"
    assert "boom" in report.detail
    assert report.request["requests"] > 10


@pytest.mark.parametrize("answer", [Answer(502), Answer(504), Answer(drop=True)])
async def test_an_error_that_may_hide_an_effect_is_unknown(bench: Bench, answer: Answer) -> None:
    bench.answers(answer, is_create)
    assert (await bench.run()).outcome is Outcome.unknown


async def test_a_lost_answer_is_unknown_also_when_a_refusal_follows(bench: Bench) -> None:
    answers = iter([Answer(drop=True), Answer(404, body="gone")])
    bench.spoil = lambda request, server: next(answers) if is_create(request) else server(request)
    report = await bench.run()
    assert report.outcome is Outcome.unknown
    assert "404" in report.detail


async def test_a_server_that_did_not_act_is_asked_once_more(bench: Bench) -> None:
    bench.answers(Answer(drop=True), is_create, times=1)
    report = await bench.run()
    assert report.outcome is Outcome.succeeded
    assert bench.server.created == 1


@pytest.mark.parametrize("look", [Answer(500), Answer(404), Answer(drop=True), Answer(body="nonsense"), Answer(body={"state": 1}),
                                  Answer(body={"state": {"type": ["x"]}}), Answer(body={"state": {"type": "HAPPY"}})])
async def test_accepted_but_never_seen_is_unknown(bench: Bench, look: Answer) -> None:
    bench.answers(look, lambda request: request.method == "GET" and "/flow_runs/" in request.path)
    report = await bench.run()
    assert report.outcome is Outcome.unknown
    assert "was created" in report.detail
    assert report.verified == ""


@pytest.mark.parametrize(("wait_for", "state", "outcome"), [
    ("scheduled", "SCHEDULED", Outcome.succeeded), ("scheduled", "PENDING", Outcome.succeeded),
    ("scheduled", "RUNNING", Outcome.succeeded), ("scheduled", "COMPLETED", Outcome.succeeded),
    ("scheduled", "PAUSED", Outcome.unknown), ("scheduled", "FAILED", Outcome.failed),
    ("running", "SCHEDULED", Outcome.unknown), ("running", "PENDING", Outcome.unknown), ("running", "RUNNING", Outcome.succeeded),
    ("running", "COMPLETED", Outcome.succeeded), ("running", "CRASHED", Outcome.failed),
    ("completed", "RUNNING", Outcome.unknown), ("completed", "COMPLETED", Outcome.succeeded),
    ("completed", "FAILED", Outcome.failed), ("completed", "CANCELLED", Outcome.failed),
    ("completed", "CANCELLING", Outcome.failed),
])
async def test_what_is_waited_for_must_be_seen(bench: Bench, wait_for: str, state: str, outcome: Outcome) -> None:
    bench.settings = {"wait_for": wait_for}
    bench.server.after_create = (state, state.capitalize())
    report = await bench.run()
    assert report.outcome is outcome
    assert state in report.detail
    assert state in report.verified
    assert bench.server.created == 1


async def test_a_flow_run_is_looked_at_until_it_is_there(bench: Bench) -> None:
    bench.settings = {"wait_for": "completed"}
    steps = iter(["PENDING", "PENDING", "RUNNING", "COMPLETED"])

    def spoil(request: Request, server: Callable[[Request], Answer]) -> Answer:
        if "/flow_runs/" in request.path:
            state = next(steps)
            bench.server.set_state(request.path.rpartition("/")[2], state, state.capitalize())
        return server(request)

    bench.spoil = spoil
    report = await bench.run()
    assert report.outcome is Outcome.succeeded
    assert report.verified == "COMPLETED"


@pytest.mark.parametrize(("wait_for", "outcome"), [("scheduled", Outcome.succeeded), ("running", Outcome.unknown)])
async def test_late_is_told_as_not_executed_yet(bench: Bench, wait_for: str, outcome: Outcome) -> None:
    bench.settings = {"wait_for": wait_for}
    bench.server.after_create = ("SCHEDULED", "Late")
    report = await bench.run()
    assert report.outcome is outcome
    assert "SCHEDULED (Late), not executed yet" in report.detail


@pytest.mark.parametrize("parameters", [{"__prefect_kind": "jinja"}, {"a": {"__prefect_kind": "json"}}, {"a": ["x"]}])
async def test_what_the_server_would_evaluate_is_never_passed(bench: Bench, parameters: dict[str, Any]) -> None:
    report = await bench.run(parameters=parameters)
    assert report.outcome is Outcome.failed
    assert bench.count(is_create) == 0


# --- a flow run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["FAILED", "CRASHED"])
async def test_a_flow_run_that_failed_is_retried_once(bench: Bench, state: str) -> None:
    bench.server.flow_run(state)
    report = await bench.retry()
    assert report.outcome is Outcome.succeeded
    assert "is retried" in report.detail
    assert report.verified == "SCHEDULED (AwaitingRetry), not executed yet"
    assert bench.server.retried == 1
    assert report.request["body"]["state"]["message"] == f"AlertHub run {RUN}, incident-17"


@pytest.mark.parametrize("state", ["COMPLETED", "CANCELLED", "CANCELLING", "RUNNING", "PENDING", "SCHEDULED", "PAUSED"])
async def test_a_flow_run_that_did_not_fail_is_not_retried(bench: Bench, state: str) -> None:
    bench.server.flow_run(state)
    report = await bench.retry()
    assert report.outcome is Outcome.failed
    assert f"it is {state}" in report.detail or f"is {state};" in report.detail
    assert bench.count(is_retry) == 0


async def test_a_flow_run_that_nobody_would_run_is_not_retried(bench: Bench) -> None:
    bench.server.flow_run(deployment=None)
    report = await bench.retry()
    assert report.outcome is Outcome.failed
    assert "no deployment" in report.detail
    assert bench.count(is_retry) == 0


async def test_a_flow_run_that_is_not_there_is_a_failure(bench: Bench) -> None:
    report = await bench.retry()
    assert report.outcome is Outcome.failed
    assert "404" in report.detail


@pytest.mark.parametrize("word", ["REJECT", "ABORT", "WAIT"])
async def test_a_status_of_200_that_refuses_is_a_failure(bench: Bench, word: str) -> None:
    bench.server.flow_run()
    bench.answers(Answer(200, body={"status": word, "state": None, "details": {"reason": "not\nnow"}}), is_retry)
    report = await bench.retry()
    assert report.outcome is Outcome.failed
    assert f"{word}: not now" in report.detail


@pytest.mark.parametrize("details", [None, [], {}, {"reason": 1}])
async def test_a_refusal_without_a_reason_is_one_too(bench: Bench, details: Any) -> None:
    bench.server.flow_run()
    bench.answers(Answer(200, body={"status": "ABORT", "details": details}), is_retry)
    assert (await bench.retry()).detail == "the server answered ABORT"


@pytest.mark.parametrize("lost", [
    Answer(drop=True), Answer(500), Answer(502), Answer(body="{"), Answer(201, body={"status": "OK"}),
])
async def test_a_retry_whose_answer_is_lost_is_looked_for_and_not_repeated(bench: Bench, lost: Answer) -> None:
    bench.server.flow_run()
    bench.answers(lost, is_retry, acts=True)
    report = await bench.retry()
    assert report.outcome is Outcome.succeeded
    assert "found among its states" in report.detail
    assert bench.count(is_retry) == bench.server.retried == 1


async def test_a_retry_that_cannot_be_found_is_unknown(bench: Bench) -> None:
    bench.server.flow_run()
    bench.answers(Answer(drop=True), is_retry)
    report = await bench.retry()
    assert report.outcome is Outcome.unknown
    assert bench.count(is_retry) == 1


@pytest.mark.parametrize("status", [403, 404, 409, 422])
async def test_a_retry_that_is_refused_is_a_failure(bench: Bench, status: int) -> None:
    bench.server.flow_run()
    bench.answers(Answer(status, body="no"), is_retry)
    assert (await bench.retry()).outcome is Outcome.failed


async def test_a_retry_that_was_not_begun_is_asked_for_again(bench: Bench) -> None:
    bench.server.flow_run()
    bench.answers(Answer(503), is_retry, times=2)
    assert (await bench.retry()).outcome is Outcome.succeeded
    assert bench.server.retried == 1


async def test_a_retry_that_fails_again_is_told_as_such(bench: Bench) -> None:
    bench.server.flow_run()
    bench.server.after_retry = ("FAILED", "Failed")
    report = await bench.retry()
    assert report.outcome is Outcome.failed
    assert "is retried; it is FAILED" in report.detail


async def test_a_retry_that_was_broken_off_is_only_looked_for(bench: Bench) -> None:
    bench.server.flow_run()
    lost = await bench.retry(resumed=True)
    assert lost.outcome is Outcome.unknown
    assert "the hub stopped" in lost.detail
    await bench.retry()
    found = await bench.retry(resumed=True)
    assert found.outcome is Outcome.succeeded
    assert bench.server.retried == 1


@pytest.mark.parametrize("value", ["", "x", FLOW_RUN + "0", "../admin", FLOW_RUN.replace("-", "/"), "4" * 36])
async def test_a_label_that_is_no_id_is_refused_before_anything_is_asked(bench: Bench, value: str) -> None:
    report = await bench.retry(value)
    assert report.outcome is Outcome.failed
    assert bench.requests == []
    assert len(value) < 3 or value not in report.detail


# --- credentials --------------------------------------------------------------------------------------------------------


async def test_a_server_with_a_user_and_a_password_is_asked_with_basic(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p4ss:wörd\n")
    basic = base64.b64encode("admin:p4ss:wörd".encode()).decode()
    bench.target = {"username": "admin", "password_file": str(tmp_path / "password")}
    bench.server.authorization = f"Basic {basic}"
    report = await bench.run()
    assert report.outcome is Outcome.succeeded
    bench.answers(Answer(409, body=f"you are admin p4ss:wörd, {basic}"), is_create)
    refused = await bench.run()
    target = PrefectTarget(name="p", url="http://h", username="admin", password="p4ss:wörd")
    assert not any(secret in repr([report, refused, target]) for secret in ("p4ss:wörd", basic))
    assert refused.request["basic"] is True


async def test_a_wrong_password_is_a_failure(bench: Bench) -> None:
    bench.server.authorization = "Basic other"
    report = await bench.run()
    assert report.outcome is Outcome.failed
    assert "401" in report.detail


async def test_a_server_that_wants_a_csrf_token_gets_one(bench: Bench) -> None:
    bench.server.is_csrf_protected = True
    report = await bench.run()
    assert report.outcome is Outcome.succeeded
    assert report.request["csrf"] is True
    assert CSRF_TOKEN not in repr(report)
    assert bench.server.tokens == {RUN: CSRF_TOKEN}, "a client of its own: the server keeps one token per client"
    bench.server.flow_run()
    assert (await bench.retry()).outcome is Outcome.succeeded


@pytest.mark.parametrize("answer", [Answer(422), Answer(body="{"), Answer(body={"token": 1}), Answer(body={"token": "a\r\nb: c"}),
                                    Answer(body={"token": "ü"}), Answer(drop=True)])
async def test_a_csrf_token_that_cannot_be_had_is_a_failure(bench: Bench, answer: Answer) -> None:
    bench.server.is_csrf_protected = True
    bench.answers(answer, lambda request: "csrf-token" in request.path)
    report = await bench.run()
    assert report.outcome is Outcome.failed
    assert "CSRF" in report.detail


async def test_a_server_that_never_believes_its_token_is_a_failure(bench: Bench) -> None:
    bench.answers(Answer(403, body={"detail": "Invalid CSRF token or client identifier."}), is_create)
    report = await bench.run()
    assert report.outcome is Outcome.failed
    assert bench.count(is_create) == 2


async def test_a_plain_403_asks_for_no_token(bench: Bench) -> None:
    bench.answers(Answer(403, body="forbidden"), is_create)
    await bench.run()
    assert bench.count(lambda request: "csrf-token" in request.path) == 0


# --- settings -----------------------------------------------------------------------------------------------------------


def settings(**overrides: Any) -> PrefectSettings:
    return PrefectSettings.model_validate({"name": "retrain", **overrides})


def test_the_example_of_the_design_needs_no_target() -> None:
    config = settings(type="prefect", deployment="retrain/drl", cooldown="6h", max_per_hour=2,
                      approve={"role": "ml", "count": 1, "within": "15m"})
    assert config.target_names == ("prefect",)
    assert config.deadline == timedelta(seconds=30)
    assert config.wait_for == "scheduled"


@pytest.mark.parametrize(("given", "names"), [
    ({"target": "eu"}, ("eu",)), ({"targets": ["eu", "us"]}, ("eu", "us")), ({"target_label": "region"}, ()),
])
def test_a_target_that_is_named_counts(given: dict[str, Any], names: tuple[str, ...]) -> None:
    assert settings(deployment="a/b", **given).target_names == names


@pytest.mark.parametrize(("wrong", "word"), [
    ({}, "one of the two"), ({"deployment": "a/b", "retry": "run"}, "one of the two"), ({"deployment": "a"}, "flow/deployment"),
    ({"deployment": "a/b/c"}, "flow/deployment"), ({"deployment": "../b"}, "flow/deployment"),
    ({"deployment": "a/."}, "flow/deployment"),
    ({"deployment": "a/b%2f"}, "flow/deployment"), ({"deployment": "a/b\n"}, "flow/deployment"), ({"retry": "__name__"}, "__"),
    ({"retry": ""}, "retry"), ({"retry": "run", "parameters": {"a": 1}}, "its own parameters"),
    ({"retry": "run", "labels": ["other"]}, "its own parameters"), ({"deployment": "a/b", "wait_for": "late"}, "wait_for"),
    ({"deployment": "a/b", "labels": ["__prefect_kind"]}, "__"),
])
def test_a_setting_that_cannot_be_is_refused(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        settings(**wrong)


def test_only_an_id_passes_as_the_label_of_a_retry() -> None:
    config = settings(retry="flow_run")
    assert parameters_for(config, {"flow_run": FLOW_RUN, "other": "x"}) == {"flow_run": FLOW_RUN}
    for value in ("", "x", FLOW_RUN + "\n", OTHER + "/", "$(reboot)"):
        with pytest.raises(ActionFailed):
            parameters_for(config, {"flow_run": value})


@pytest.mark.parametrize(("wrong", "word"), [
    ({"username": "a"}, "go together"), ({"password": "S3CRET"}, "go together"),
    ({"username": "a:b", "password": "S3CRET"}, "colon"),
    ({"username": "", "password": "S3CRET"}, "colon"), ({"username": "a", "password": "S3C\nRET"}, "one line"),
    ({"username": "a", "password": "S3CRET", "token": "tok"}, "not both"), ({"url": "http://h/api?x=1"}, "no query"),
    ({"username": "a", "password_file": "/no/such"}, "cannot read"),
])
def test_credentials_that_cannot_be_are_refused_without_being_shown(wrong: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word) as caught:
        PrefectTarget.model_validate({"name": "p", "url": "http://h/api", **wrong})
    assert "S3CRET" not in str(caught.value)
