"""The http action: one signed request, repeated only while it certainly was not begun."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from alerthub.actions.base import Outcome, parameters_for
from alerthub.actions.http import HttpSettings, HttpTarget
from alerthub.errors import ActionFailed
from tests.actions.contract import RUN, ActionContract, assert_signed, call
from tests.kit.messages import HOSTILE, NOW
from tests.kit.providers.http import Answer, FakeProvider, Request

pytestmark = pytest.mark.anyio


class TestHttp(ActionContract):
    kind = "http"
    settings: ClassVar[dict[str, Any]] = {"name": "retry-etl", "type": "http", "target": "etl"}
    target_settings: ClassVar[dict[str, Any]] = {"name": "etl", "type": "http"}

    def answer_ok(self, provider: FakeProvider) -> None:
        provider.answer = lambda request: Answer(200, body={"started": True})

    async def test_the_body_says_what_is_asked_for_and_why(self) -> None:
        async with self.opened() as (provider, action):
            await action.run(call(parameters={"flow": "etl", "count": 2, "force": True, "ratio": 0.5}))
            assert provider.last.json() == {
                "action": "the-action", "run_id": RUN, "incident": call().incident_id, "number": 17, "reason": call().reason,
                "parameters": {"flow": "etl", "count": 2, "force": True, "ratio": 0.5}, "created_at": "2026-11-21T11:59:58+00:00"}

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    async def test_the_configured_method_and_path_are_used(self, method: str) -> None:
        async with self.opened() as (provider, _):
            target = self.target(f"{provider.url}/flows/etl?key=q-secret", method=method)
            report = await self.action(target).run(call())
            assert (provider.last.method, provider.last.path) == (method, "/flows/etl?key=q-secret")
        assert report.request["method"] == method
        assert report.request["url"] == f"{provider.url}/flows/etl?…", "a query may hold a key"

    async def test_headers_of_the_target_are_sent_and_not_recorded(self) -> None:
        async with self.opened(headers={"X-Api-Key": "k3y-of-the-gateway"}) as (provider, action):
            provider.answer = lambda request: Answer(body="you sent k3y-of-the-gateway")
            report = await action.run(call())
            assert provider.last.headers["x-api-key"] == "k3y-of-the-gateway"
        assert "k3y" not in repr(report) + repr(self.target(headers={"X-Api-Key": "k3y-of-the-gateway"}))
        assert report.request["more_headers"] == ["X-Api-Key"]

    async def test_a_secret_that_appears_only_when_control_characters_are_gone_is_not_shown(self) -> None:
        async with self.opened(token=None, headers={"Authorization": "Basic eDp5eDp5eDp5"}) as (provider, action):
            provider.answer = lambda request: Answer(401, body="no: Basic\x00\x1b eDp5eDp5eDp5")
            report = await action.run(call())
        assert report.detail == "the target answered 401: no: [secret]"

    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    async def test_any_2xx_is_a_success(self, status: int) -> None:
        report = await self.outcome_of(Answer(status))
        assert report.outcome is Outcome.succeeded
        assert report.answer["status"] == status

    @pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 409, 410, 422, 500, 501, 507, 599])
    async def test_a_refusal_is_a_failure_with_what_the_target_said(self, status: int) -> None:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: Answer(status, body="" if status == 304 else "no\x00such\n\nflow " + "x" * 500)
            report = await action.run(call())
            assert len(provider.requests) == 1
        assert report.outcome is Outcome.failed
        assert str(status) in report.detail
        if status != 304:
            assert "no such flow" in report.detail
            assert len(report.answer["body"]) == 200

    @pytest.mark.parametrize("status", [502, 504])
    async def test_a_gateway_that_gave_up_leaves_it_in_doubt(self, status: int) -> None:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: Answer(status)
            report = await action.run(call())
            assert len(provider.requests) == 1
        assert report.outcome is Outcome.unknown

    @pytest.mark.parametrize("status", [408, 425, 429, 503])
    async def test_refused_before_work_is_asked_again_with_the_same_id(self, status: int) -> None:
        async with self.opened() as (provider, action):
            provider.script(status, times=3)
            report = await action.run(call())
            assert [request.headers["webhook-id"] for request in provider.requests] == [RUN] * 4
            assert len({request.body for request in provider.requests}) == 1
        assert report.outcome is Outcome.succeeded
        assert report.request["attempts"] == 4

    async def test_each_attempt_is_signed_at_its_own_time(self) -> None:
        async with self.opened() as (provider, action):
            provider.script(503, headers={"retry-after": "7"})
            await action.run(call())
            assert_signed(provider.requests[0], NOW)
            assert_signed(provider.requests[1], NOW + timedelta(seconds=7))

    @pytest.mark.parametrize(("word", "wait"), [
        ("7", 7), ("0", 0), (format_datetime(NOW + timedelta(seconds=9), usegmt=True), 9),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0),
        ("soon", 0.15), ("-5", 0.15), ("", 0.15), ("1e3", 0.15), ("٣", 0.15), ("9" * 400, 0.15), (None, 0.15),
    ])
    async def test_retry_after_is_obeyed_and_nonsense_is_not(self, word: str | None, wait: float) -> None:
        async with self.opened() as (provider, action):
            headers = {} if word is None else {"retry-after": word.encode().decode("latin-1")}
            provider.script(429, headers=headers)
            assert (await action.run(call())).outcome is Outcome.succeeded
        assert self.clock.waits == [pytest.approx(wait)]

    async def test_a_retry_after_beyond_the_deadline_ends_it_at_once(self) -> None:
        async with self.opened() as (provider, action):
            provider.script(503, headers={"retry-after": "30"}, body="closed for the night")
            report = await action.run(call())
            assert len(provider.requests) == 1
        assert report.outcome is Outcome.failed
        assert "503: closed for the night" in report.detail
        assert self.clock.waits == []

    async def test_no_retry_after_ends_or_delays_a_tighten(self) -> None:
        async with self.opened() as (provider, _):
            action = self.action_class(self.config(direction="tighten"), self.target(provider.url), self.wire)
            provider.script(503, headers={"retry-after": format_datetime(NOW + timedelta(hours=1), usegmt=True)})
            assert (await action.run(call())).outcome is Outcome.succeeded
        assert self.clock.waits == [pytest.approx(0.15)]

    async def test_a_tighten_goes_on_while_the_clock_is_set_forward(self) -> None:
        async with self.opened() as (provider, _):
            action = self.action_class(self.config(direction="tighten"), self.target(provider.url), self.wire)

            def refused(request: Request) -> Answer:
                if len(provider.requests) == 2:
                    self.clock.set_by(3600)
                return Answer(503) if self.clock.elapsed < 20 else Answer(200)

            provider.answer = refused
            assert (await action.run(call())).outcome is Outcome.succeeded
        assert 20 <= self.clock.elapsed < 30

    async def test_refused_until_the_deadline_is_a_failure(self) -> None:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: Answer(503)
            report = await action.run(call())
            assert 15 < len(provider.requests) < 60
        assert report.outcome is Outcome.failed
        assert self.clock.now() < call().deadline

    async def test_a_lost_answer_is_never_asked_for_again(self) -> None:
        async with self.opened() as (provider, action):
            provider.script(503)
            provider.script(drop=True)
            report = await action.run(call())
            assert len(provider.requests) == 2
        assert report.outcome is Outcome.unknown
        assert "may have done it" in report.detail
        assert report.request["attempts"] == 2

    async def test_a_run_that_was_broken_off_is_not_run_again(self) -> None:
        async with self.opened() as (provider, action):
            report = await action.run(call(resumed=True))
            assert provider.requests == []
        assert report.outcome is Outcome.unknown

    async def test_a_success_whose_body_never_ends_is_a_success(self) -> None:
        async with self.opened() as (provider, action):
            provider.answer = lambda request: Answer(202, drip=True, body="x" * 100)
            task_call = call(deadline=NOW + timedelta(seconds=0.2))
            report = await action.run(task_call)
        assert report.outcome is Outcome.succeeded


@pytest.mark.parametrize(("headers", "word"), [
    ({"Webhook-Id": "x"}, "set by the hub"), ({"idempotency-key": "x"}, "set by the hub"), ({"Host": "x"}, "set by the hub"),
    ({"bad name": "x"}, "letters"), ({"": "x"}, "letters"), ({"X-A": "two\r\nX-B: lines"}, "one line"), ({"X-A": "ü"}, "ASCII"),
    ({"X-A": " x"}, "ends"), ({"Authorization": "Basic x"}, "not both"),
])
def test_a_header_that_cannot_be_sent_is_refused(headers: dict[str, str], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        HttpTarget(name="etl", url="http://h", headers=headers, token="a-token-here")


def test_an_authorization_of_ones_own_needs_no_token() -> None:
    assert HttpTarget(name="etl", url="http://h", headers={"Authorization": "Basic eDp5"}).secrets() == ["Basic eDp5"]


# --- what a run may take from labels ------------------------------------------------------------------------------------


def settings(**overrides: Any) -> HttpSettings:
    return HttpSettings.model_validate({"name": "retry", "target": "etl", **overrides})


def test_fixed_parameters_and_named_labels_are_passed_on() -> None:
    config = settings(parameters={"count": 2}, labels=["agent"])
    assert parameters_for(config, {"agent": "btc", "other": "x"}) == {"count": 2, "agent": "btc"}


@pytest.mark.parametrize("value", ["btc", "BTC-1_2", "a b", "10.0.0.1:8000", "a@b/c", "x" * 200])
def test_an_ordinary_value_passes(value: str) -> None:
    assert parameters_for(settings(labels=["agent"]), {"agent": value})["agent"] == value


@pytest.mark.parametrize("value", [value for value in HOSTILE if value != ""] + [
    "x" * 201, "a\n", "\n", "$(reboot)", "`id`", "a;b", "{{ 7*7 }}", '{"__prefect_kind": "jinja"}', "a\x00", "ü", "",
], ids=lambda value: ascii(value[:12]))
def test_a_strange_value_refuses_the_run_and_is_not_repeated(value: str) -> None:
    with pytest.raises(ActionFailed) as caught:
        parameters_for(settings(labels=["agent"]), {"agent": value})
    assert "agent" in caught.value.detail
    assert not value or value not in caught.value.detail


def test_a_label_that_is_missing_refuses_the_run() -> None:
    with pytest.raises(ActionFailed, match="missing"):
        parameters_for(settings(labels=["agent"]), {})


def test_a_label_that_is_missing_refuses_the_run_even_where_an_empty_one_is_allowed() -> None:
    config = settings(labels=["agent"], pattern="[a-z]*")
    with pytest.raises(ActionFailed, match="missing"):
        parameters_for(config, {})
    assert parameters_for(config, {"agent": ""}) == {"agent": ""}


def test_an_action_may_allow_less_or_more() -> None:
    assert parameters_for(settings(labels=["n"], pattern="[0-9]+"), {"n": "12"}) == {"n": "12"}
    with pytest.raises(ActionFailed):
        parameters_for(settings(labels=["n"], pattern="[0-9]+"), {"n": "12a"})


@pytest.mark.parametrize(("given", "names"), [
    ({"target": "a", "targets": ()}, ("a",)), ({"target": None, "targets": ("a", "b")}, ("a", "b")),
    ({"target": None, "target_label": "agent"}, ()), ({"target": "a", "target_label": "agent"}, ("a",)),
])
def test_targets_are_named_in_one_way(given: dict[str, Any], names: tuple[str, ...]) -> None:
    assert settings(**given).target_names == names


def test_numbers_and_truth_values_keep_their_kind() -> None:
    kept = settings(parameters={"a": 1, "b": 1.0, "c": True, "d": "1"}).parameters
    assert [type(value) for value in kept.values()] == [int, float, bool, str]
