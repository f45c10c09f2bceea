"""The mlflow action against a strict stand-in of the registry: what was there is kept, and what is there is read again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from alerthub.actions.base import Outcome, parameters_for
from alerthub.errors import ActionFailed
from tests.actions.contract import RUN, TOKEN, assert_signed, call
from tests.actions.reads_first import ReadsFirst
from tests.kit.messages import HOSTILE, NOW
from tests.kit.providers.http import Answer, Request
from tests.kit.providers.mlflow import MlflowServer

pytestmark = pytest.mark.anyio

PASSWORD = "p4ss:wörd of mlflow"
TAG = {"name": "drl-agent", "version": "2", "key": "drift", "value": "warning"}


class Base(ReadsFirst[MlflowServer]):
    kind = "mlflow"
    target_settings: ClassVar[dict[str, Any]] = {"name": "registry", "type": "mlflow"}
    stand_in = MlflowServer
    wanted: ClassVar[dict[str, str]]         # the one body that is sent

    async def test_a_target_that_does_it_makes_a_success_with_its_evidence(self) -> None:
        requests, report = await self.run()
        assert report.outcome is Outcome.succeeded
        assert report.request["body"] == self.wanted
        assert self.server.changes == [self.wanted]
        assert [request.method for request in requests][-2:] == ["POST", "GET"], "it is read again"
        assert report.verified == report.detail

    async def test_it_proves_who_asks_and_carries_its_id(self) -> None:
        requests, _ = await self.run()
        for request in requests:
            assert request.headers["authorization"] == f"Bearer {TOKEN}"
            assert_signed(request, NOW)
        change = next(request for request in requests if request.method == "POST")
        assert change.headers["idempotency-key"] == change.headers["webhook-id"] == RUN
        assert change.headers["content-type"] == "application/json"

    async def test_without_credentials_it_sends_none(self) -> None:
        async with self.opened(token=None, secret=None) as (provider, action):
            assert (await action.run(call())).outcome is Outcome.succeeded
            for request in provider.requests:
                assert "authorization" not in request.headers
                assert "webhook-signature" not in request.headers

    async def test_an_account_of_mlflow_is_sent_as_basic_and_never_shown(self) -> None:
        account = {"token": None, "secret": None, "username": "hub", "password": PASSWORD}
        async with self.opened(**account) as (provider, action):
            provider.answer = self.server = MlflowServer("hub", PASSWORD)
            report = await action.run(call())
            provider.answer = lambda request: Answer(401, body=f"{self.server.login} {PASSWORD}")
            refused = await action.run(call())
            printed = repr([report, refused, self.target(**account)])
        assert report.outcome is Outcome.succeeded
        assert refused.outcome is Outcome.failed
        assert "credentials (401" in refused.detail
        assert PASSWORD not in printed
        assert self.server.login.removeprefix("Basic ") not in printed

    async def test_an_answer_that_makes_no_sense_breaks_nothing(self) -> None:      # type: ignore[override]
        """A 2xx is not believed: something in between says yes, and the registry is as it was."""
        for odd in (Answer(body="<html>It works!</html>"), Answer(204), Answer(201, body="{" * 20_000)):
            _, report = await self.run(answer=lambda request, odd=odd: odd if request.method == "POST" else None)  # type: ignore[misc]
            assert report.outcome is Outcome.unknown
            assert "MLflow does not show it" in report.detail

    @pytest.mark.parametrize(("status", "word"), [(400, "invalid"), (401, "credentials"), (403, "allow"), (404, "know"),
                                                  (413, "413")])
    async def test_a_refusal_says_what_to_do_and_is_certain(self, status: int, word: str) -> None:
        refusal = Answer(status, body={"error_code": "SOME_CODE", "message": "because\nof this"})
        requests, report = await self.run(answer=lambda request: refusal if request.method == "POST" else None)
        assert report.outcome is Outcome.failed
        assert word in report.detail
        assert "SOME_CODE because of this" in report.detail
        assert len([request for request in requests if request.method == "POST"]) == 1

    async def test_a_server_that_does_not_know_its_own_host_name_is_configuration(self) -> None:
        _, report = await self.run(lambda server: server.hosts.clear())
        assert report.outcome is Outcome.failed
        assert "add the host of the target's url to MLFLOW_SERVER_ALLOWED_HOSTS" in report.detail

    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_a_server_in_trouble_is_asked_again(self, status: int) -> None:
        left = [Answer(status, headers={"retry-after": "1"})] * 2
        _, report = await self.run(answer=lambda request: left.pop() if left and request.method == "POST" else None)
        assert report.outcome is Outcome.succeeded
        assert report.request["requests"] == 3
        assert self.clock.now() == NOW + timedelta(seconds=2)

    @pytest.mark.parametrize("lost", [Answer(drop=True), Answer(500), Answer(504)], ids=["drop", "500", "504"])
    async def test_what_was_done_although_the_answer_was_lost_is_found_by_reading_it_back(self, lost: Answer) -> None:
        def acting(request: Request) -> Answer | None:
            return lost if request.method == "POST" and self.server(request) else None

        _, report = await self.run(answer=acting)
        assert report.outcome is Outcome.succeeded
        assert self.server.changes == [self.wanted]

    async def test_of_two_that_set_the_same_at_once_the_refused_one_finds_it_so(self) -> None:
        """As MLflow answers to the second of two transactions that insert the same tag."""
        refusal = Answer(400, body={"error_code": "BAD_REQUEST", "message": "(sqlite3.IntegrityError) UNIQUE constraint failed"})

        def second(request: Request) -> Answer | None:
            return refusal if request.method == "POST" and self.server(request) else None

        _, report = await self.run(answer=second)
        assert report.outcome is Outcome.succeeded, report.detail
        assert report.request["requests"] == 1

    async def test_what_cannot_be_read_back_is_unknown(self) -> None:
        _, report = await self.run(answer=lambda request: Answer(503) if self.server.changes else None)
        assert report.outcome is Outcome.unknown
        assert "accepted, and it cannot be read back" in report.detail

    async def test_a_run_that_is_taken_up_again_does_nothing_twice(self) -> None:
        async with self.opened() as (_, action):
            await action.run(call())
            again = await action.run(call(resumed=True))
        assert again.outcome is Outcome.succeeded
        assert "already so" in again.detail
        assert self.server.changes == [self.wanted]

    @pytest.mark.parametrize(("wrong", "word"), [
        ({"username": "a"}, "belong together"), ({"password": "p"}, "belong together"),
        ({"username": "a:b", "password": "p"}, "username"),
        ({"username": "a", "password": "p\n", "token": None}, "password"), ({"username": "a", "password": "p"}, "not both"),
        ({"url": "http://h?x=1"}, "query"),
    ])
    def test_a_registry_that_cannot_be_is_refused_by_name(self, wrong: dict[str, Any], word: str) -> None:
        with pytest.raises(ValidationError, match=word):
            self.target(**wrong)


class TestVersionTag(Base):
    """A tag on the version that an alias stands for."""

    settings: ClassVar[dict[str, Any]] = {"name": "flag", "type": "mlflow", "target": "registry", "model": "drl-agent",
                                          "alias": "champion", "set_tag": {"drift": "warning"}}
    wanted: ClassVar[dict[str, str]] = TAG

    async def test_the_version_is_found_by_its_alias(self) -> None:
        requests, report = await self.run()
        assert [(request.method, request.path) for request in requests] == [
            ("GET", "/api/2.0/mlflow/registered-models/alias?name=drl-agent&alias=champion"),
            ("GET", "/api/2.0/mlflow/model-versions/get?name=drl-agent&version=2"),
            ("POST", "/api/2.0/mlflow/model-versions/set-tag"),
            ("GET", "/api/2.0/mlflow/model-versions/get?name=drl-agent&version=2"),
        ]
        assert report.detail == 'the tag drift of version 2 of drl-agent is "warning"'
        assert report.request["before"] is None

    async def test_the_value_before_is_kept_to_go_back_to(self) -> None:
        _, report = await self.run(lambda server: server.versions["2"].update(drift="none " * 5_000))
        assert report.outcome is Outcome.succeeded
        assert report.request["before"] == "none " * 5_000
        assert self.server.versions["2"] == {"stage": "live", "drift": "warning"}

    async def test_without_that_alias_or_that_model_nothing_is_tagged(self) -> None:
        for prepare, word in ((lambda server: server.aliases.clear(), "has no alias champion"),
                              (lambda server: setattr(server, "model", "other"), "Model with name=drl-agent not found")):
            _, report = await self.run(prepare)
            assert report.outcome is Outcome.failed
            assert word in report.detail
            assert self.server.changes == []

    async def test_the_latest_version_can_be_meant(self) -> None:
        async with self.opened() as (provider, _):
            action = self.action_class(self.config(alias="latest"), self.target(provider.url), self.wire)
            assert (await action.run(call())).outcome is Outcome.succeeded
        assert self.server.versions["3"] == {"drift": "warning"}

    async def test_an_alias_that_moved_while_the_hub_was_away_is_in_doubt(self) -> None:
        _, report = await self.run(lambda server: server.aliases.update(champion="3"), resumed=True)
        assert report.outcome is Outcome.unknown
        assert "alias" in report.detail
        assert self.server.changes == []

    async def test_a_value_of_somebody_else_in_between_leaves_a_lost_answer_in_doubt(self) -> None:
        def hijacked(request: Request) -> Answer | None:
            if request.method != "POST":
                return None
            self.server.versions["2"]["drift"] = "by hand"
            return Answer(drop=True)

        _, report = await self.run(answer=hijacked)
        assert report.outcome is Outcome.unknown
        assert "somebody else" in report.detail

    @pytest.mark.parametrize("odd", [
        {"model_version": None}, {"model_version": {"name": "other", "version": "2"}}, {"model_version": {"name": "drl-agent"}},
        {"model_version": {"name": "drl-agent", "version": 2}},
    ])
    async def test_an_answer_about_something_else_is_not_believed(self, odd: dict[str, Any]) -> None:
        _, report = await self.run(answer=lambda request: Answer(body=odd) if "model-versions/get" in request.path else None)
        assert report.outcome is Outcome.failed
        assert self.server.changes == []

    @pytest.mark.parametrize(("wrong", "word"), [
        ({"model": None}, "model_label"), ({"model_label": "model"}, "model_label"), ({"version": 2}, "not both"),
        ({"alias": None, "version": "two"}, "version"), ({"alias": None, "version": 0}, "version"),
        ({"alias": "a b"}, "alias"), ({"alias": "a" * 256}, "alias"),
        ({"model": "a/b"}, "model"), ({"model": "a:b"}, "model"), ({"model": ".."}, "model"), ({"model": " "}, "model"),
        ({"set_tag": {}}, "say what is set"), ({"set_alias": "x"}, "say what is set"),
        ({"set_tag": {"a": "b", "c": "d"}}, "set_tag"),
        ({"set_tag": {"k" * 251: "v"}}, "set_tag"), ({"set_tag": {"k": "v" * 100_001}}, "set_tag"),
        ({"set_tag": {"k": ""}}, "set_tag"),
        ({"set_tag": {"": "v"}}, "set_tag"), ({"set_tag": {"a//b": "v"}}, "set_tag"), ({"set_tag": {"/a": "v"}}, "set_tag"),
        ({"set_tag": {"k": ["v"]}}, "set_tag"), ({"parameters": {"a": 1}}, "neither parameters"), ({"labels": ["a"]}, "neither"),
    ])
    def test_what_mlflow_would_refuse_is_refused_at_start(self, wrong: dict[str, Any], word: str) -> None:
        with pytest.raises(ValidationError, match=word):
            self.config(**wrong)

    def test_the_largest_that_mlflow_takes_is_taken(self) -> None:
        self.config(set_tag={"k" * 250: "v" * 100_000}, alias="a" * 255)


class TestModelTag(Base):
    """A tag on the model itself."""

    settings: ClassVar[dict[str, Any]] = {"name": "flag", "type": "mlflow", "target": "registry", "model": "drl-agent",
                                          "set_tag": {"drift": 1}}
    wanted: ClassVar[dict[str, str]] = {"name": "drl-agent", "key": "drift", "value": "1"}

    async def test_the_model_itself_is_tagged(self) -> None:
        requests, report = await self.run()
        assert [request.path for request in requests] == [
            "/api/2.0/mlflow/registered-models/get?name=drl-agent", "/api/2.0/mlflow/registered-models/set-tag",
            "/api/2.0/mlflow/registered-models/get?name=drl-agent"]
        assert report.detail == 'the tag drift of the model drl-agent is "1"'
        assert self.server.model_tags == {"drift": "1"}

    async def test_a_label_can_name_the_model(self) -> None:
        config = self.config(model=None, model_label="model")
        async with self.opened() as (provider, _):
            action = self.action_class(config, self.target(provider.url), self.wire)
            report = await action.run(call(parameters=parameters_for(config, {"model": "drl-agent"})))
            assert report.outcome is Outcome.succeeded
            for name in ("", "..", "a/../b", "a:b"):
                report = await action.run(call(parameters={"model": name}))
                assert report.detail.startswith("refused: the label model names no model")
        assert self.server.changes == [self.wanted]

    @pytest.mark.parametrize("value", [*HOSTILE, "", None])
    def test_a_label_that_says_something_else_is_refused_before_it_runs(self, value: str | None) -> None:
        config = self.config(model=None, model_label="model", pattern="[a-z-]{1,20}")
        with pytest.raises(ActionFailed, match="refused: the value of the label model"):
            parameters_for(config, {} if value is None else {"model": value})


class TestAlias(Base):
    """An alias set on a fixed version."""

    settings: ClassVar[dict[str, Any]] = {"name": "back", "type": "mlflow", "target": "registry", "model": "drl-agent",
                                          "version": 1, "set_alias": "champion"}
    wanted: ClassVar[dict[str, str]] = {"name": "drl-agent", "alias": "champion", "version": "1"}

    async def test_the_version_before_is_kept_to_go_back_to(self) -> None:
        _, report = await self.run()
        assert report.request["before"] == "2"
        assert report.detail == "the alias champion of drl-agent is version 1"
        assert self.server.aliases == {"champion": "1"}

    async def test_an_alias_that_nobody_had_is_made(self) -> None:
        _, report = await self.run(lambda server: server.aliases.clear())
        assert report.outcome is Outcome.succeeded
        assert report.request["before"] is None

    async def test_a_version_that_is_not_there_is_a_failure(self) -> None:
        _, report = await self.run(lambda server: server.versions.pop("1"))
        assert report.outcome is Outcome.failed
        assert "version=1) not found" in report.detail
        assert self.server.aliases == {"champion": "2"}

    async def test_without_the_right_to_write_it_is_a_failure(self) -> None:
        _, report = await self.run(lambda server: setattr(server, "may_write", False))
        assert report.outcome is Outcome.failed
        assert "PERMISSION_DENIED" in report.detail

    @pytest.mark.parametrize(("wrong", "word"), [
        ({"set_alias": "latest"}, "for itself"), ({"set_alias": "LATEST"}, "for itself"), ({"set_alias": "v12"}, "for itself"),
        ({"set_alias": "V1"}, "for itself"), ({"set_alias": "a b"}, "alias"), ({"set_alias": "a" * 256}, "255"),
        ({"set_alias": ""}, "alias"),
        ({"version": None}, "needs the version"), ({"version": None, "alias": "champion"}, "nothing would change"),
    ])
    def test_what_mlflow_would_refuse_is_refused_at_start(self, wrong: dict[str, Any], word: str) -> None:
        with pytest.raises(ValidationError, match=word):
            self.config(**wrong)
