"""The kubernetes action against a strict stand-in of an API server: restart and scale, each verified by the rollout."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme
from pydantic import BaseModel, ValidationError

from alerthub.actions.base import ActionWire, Outcome
from alerthub.actions.kubernetes import Kubernetes, KubernetesSettings, is_later
from alerthub.actions.kubernetes_api import DeploymentTarget, Entrance
from alerthub.actions.rollout import Rollout, rollout
from alerthub.errors import ActionFailed
from tests.actions.contract import SECRET, TOKEN, SteppingClock, call
from tests.actions.reads_first import ReadsFirst
from tests.kit.messages import NOW
from tests.kit.providers.http import Answer, Request
from tests.kit.providers.kubernetes import ApiServer, autoscaler, made, status

pytestmark = pytest.mark.anyio

STAMP = "2026-11-21T11:59:58Z"      # created_at of the contract's call
DEPLOYMENT = "/apis/apps/v1/namespaces/prod/deployments/model-api"
SCALE = f"{DEPLOYMENT}/scale"
RESTART_BODY = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": STAMP}}}}}


def refusing(answer: Answer, is_dry: bool = False, times: int = 1_000) -> Callable[[Request], Answer | None]:
    """Says this to the first patches, of one sort."""
    answers = [answer] * times

    def answered(request: Request) -> Answer | None:
        return answers.pop() if answers and request.method == "PATCH" and ("dryRun" in request.path) is is_dry else None

    return answered


class Base(ReadsFirst[ApiServer]):
    kind = "kubernetes"
    target_settings: ClassVar[dict[str, Any]] = {"name": "api", "type": "kubernetes", "namespace": "prod", "max": 10,
                                                 "deployment": "model-api"}
    secrets: ClassVar[list[str]] = [TOKEN]
    stand_in = ApiServer

    def target(self, url: str = "http://127.0.0.1:9", **overrides: Any) -> BaseModel:
        return super().target(url, **{"secret": None, **overrides})

    async def test_a_target_that_does_it_makes_a_success_with_its_evidence(self) -> None:
        requests, report = await self.run()
        assert report.outcome is Outcome.succeeded
        assert report.request["dry_run_passed"] is True
        assert report.request["patches"] == 1
        assert "prod" in report.request["url"]
        assert report.verified
        assert requests[0].method == "GET"
        assert len(self.server.changes) == len(self.server.rehearsals) == 1

    async def test_it_proves_who_asks_and_carries_its_id(self) -> None:
        """An API server knows no ids of runs: the fixed date and the absolute number are what makes it happen once."""
        requests, _ = await self.run()
        for request in requests:
            assert request.headers["authorization"] == f"Bearer {TOKEN}"
            assert request.headers["connection"] == "close"
            assert request.headers["user-agent"] == "alerthub"
            assert "webhook-signature" not in request.headers

    async def test_without_credentials_it_sends_none(self) -> None:
        async with self.opened(token=None) as (provider, action):
            assert (await action.run(call())).outcome is Outcome.succeeded
            assert "authorization" not in provider.requests[0].headers

    @pytest.mark.parametrize("odd", [Answer(body="<html>It works!</html>"), Answer(204), Answer(body={"kind": "Status"}),
                                     Answer(201, body="{" * 20_000)], ids=["html", "empty", "status", "deep"])
    async def test_an_answer_that_makes_no_sense_breaks_nothing(self, odd: Answer) -> None:
        """A 2xx is not believed: something in between says yes, and the deployment is as it was."""
        _, report = await self.run(answer=lambda request: odd if request.method == "PATCH" else None)
        assert report.outcome is Outcome.unknown
        assert "does not show it" in report.detail

    @pytest.mark.parametrize(("code", "word"), [(400, "400"), (401, "token"), (403, "RBAC"), (404, "no deployment model-api"),
                                                (415, "415"), (422, "invalid")])
    async def test_a_refusal_says_what_to_do_and_is_certain(self, code: int, word: str) -> None:
        for is_dry in (True, False):
            requests, report = await self.run(answer=refusing(status(code, "because\nof this"), is_dry))
            assert report.outcome is Outcome.failed
            assert word in report.detail
            assert str(code) in report.detail
            assert "because of this" in report.detail
            assert ("dry run" in report.detail) is is_dry
            assert self.server.changes == []
            assert requests[-1].method == "PATCH", "a refusal is not asked again"

    async def test_missing_rights_are_told_before_anything_changes(self) -> None:
        _, report = await self.run(lambda server: server.rights.clear())
        assert report.outcome is Outcome.failed
        assert 'cannot get resource "deployments' in report.detail

    async def test_admission_is_told_before_anything_changes(self) -> None:
        def strict(server: ApiServer) -> None:
            server.admission = lambda deployment: "no changes on Saturdays"

        requests, report = await self.run(strict)
        assert report.outcome is Outcome.failed
        assert "no changes on Saturdays" in report.detail
        assert ["dryRun=All" in request.path for request in requests if request.method == "PATCH"] == [True]

    async def test_a_deployment_that_is_not_there_is_a_failure(self) -> None:
        def without(server: ApiServer) -> None:
            server.deployment = None

        _, report = await self.run(without)
        assert report.outcome is Outcome.failed
        assert "there is no deployment model-api in namespace prod" in report.detail

    @pytest.mark.parametrize("code", [429, 500, 503])
    async def test_a_server_in_trouble_is_asked_again(self, code: int) -> None:
        async with self.opened() as (provider, action):
            for _ in range(4):
                provider.script(code, headers={"retry-after": "1"})
            report = await action.run(call())
        assert report.outcome is Outcome.succeeded
        assert self.clock.waits[:4] == [1, 1, 1, 1]
        assert len(self.server.changes) == 1

    @pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
    async def test_a_server_that_stays_in_trouble_is_a_failure(self, code: int) -> None:
        _, report = await self.run(answer=refusing(status(code, "busy")), deadline=NOW + timedelta(minutes=5))
        assert report.outcome is Outcome.failed, "it was read back: it is not so"
        assert "busy" in report.detail
        assert self.clock.now() - NOW <= timedelta(seconds=30)
        assert self.server.changes == []

    @pytest.mark.parametrize("lost", [Answer(drop=True), status(500, "etcd"), status(504, "Timeout")], ids=["drop", "500", "504"])
    async def test_what_was_done_although_the_answer_was_lost_is_found_by_reading_it_back(self, lost: Answer) -> None:
        def acting(request: Request) -> Answer | None:
            if request.method != "PATCH" or "dryRun" in request.path:
                return None
            self.server(request)
            return lost

        requests, report = await self.run(answer=acting)
        assert report.outcome is Outcome.succeeded
        assert len(self.server.changes) == 1
        assert len([request for request in requests if request.method == "PATCH"]) == 2, "one of them dry"

    async def test_what_was_not_done_when_the_answer_was_lost_is_done_again(self) -> None:
        _, report = await self.run(answer=refusing(Answer(drop=True), times=2))
        assert report.outcome is Outcome.succeeded
        assert report.request["patches"] == 3
        assert len(self.server.changes) == 1

    async def test_a_rollout_that_does_not_end_is_unknown_at_the_deadline(self) -> None:
        def frozen(server: ApiServer) -> None:
            server.is_frozen = True

        _, report = await self.run(frozen)
        assert report.outcome is Outcome.unknown
        assert "not finished before the deadline: the cluster has not begun" in report.detail
        assert self.clock.now() == NOW + timedelta(seconds=30)
        assert max(self.clock.waits) <= 3

    async def test_a_rollout_that_is_stuck_is_a_failure(self) -> None:
        def stuck(server: ApiServer) -> None:
            server.is_stuck = True

        _, report = await self.run(stuck)
        assert report.outcome is Outcome.failed
        assert "ProgressDeadlineExceeded" in report.detail

    async def test_a_server_that_is_away_during_the_rollout_is_waited_for(self) -> None:
        away = [Answer(drop=True), Answer(503), Answer(401), Answer(body="?")]
        _, report = await self.run(answer=lambda request: away.pop() if self.server.changes and away else None)
        assert report.outcome is Outcome.succeeded
        assert away == []

    async def test_a_run_that_is_taken_up_again_does_nothing_twice(self) -> None:
        async with self.opened() as (_, action):
            first = await action.run(call())
            again = await action.run(call(resumed=True))
        assert first.outcome is again.outcome is Outcome.succeeded
        assert again.request["was_already"] is True
        assert again.request["patches"] == 0
        assert len(self.server.changes) == 1

    @pytest.mark.parametrize(("wrong", "word"), [
        ({"namespace": "../kube-system"}, "namespace"), ({"namespace": "Prod"}, "namespace"),
        ({"deployment": "a/b"}, "deployment"),
        ({"deployment": ""}, "deployment"), ({"min": 5, "max": 4}, "at most max"), ({"min": -1}, "min"), ({"max": 0}, "max"),
        ({"secret": SECRET}, "token_file"), ({"url": "https://h?x=1"}, "query"),
        ({"token_file": "/no/such", "token": None}, "token_file"),
    ])
    def test_a_deployment_that_cannot_be_is_refused_by_name(self, wrong: dict[str, Any], word: str) -> None:
        with pytest.raises(ValidationError, match=word):
            self.target(**{"url": "https://h", **wrong})


class TestRestart(Base):
    settings: ClassVar[dict[str, Any]] = {"name": "restart-api", "type": "kubernetes", "do": "restart", "target": "api"}

    async def test_it_is_the_patch_of_kubectl_dated_with_the_run(self) -> None:
        requests, report = await self.run()
        dry, real = [request for request in requests if request.method == "PATCH"]
        assert dry.path == f"{DEPLOYMENT}?dryRun=All&fieldManager=alerthub"
        assert real.path == f"{DEPLOYMENT}?fieldManager=alerthub"
        for request in (dry, real):
            assert request.headers["content-type"] == "application/strategic-merge-patch+json"
            assert request.json() == RESTART_BODY
        assert report.request["body"] == RESTART_BODY
        assert report.detail == "restarted: 3 of 3 pods are as they shall be, 3 available, 0 old ones left"
        assert self.server.deployment is not None
        assert self.server.deployment["spec"]["template"]["metadata"]["annotations"]["team"] == "ml", "the others stay"

    async def test_the_date_before_is_kept_for_the_record(self) -> None:
        _, report = await self.run(lambda server: server.annotated("2026-01-01T00:00:00Z"))
        assert report.request["before"] == "2026-01-01T00:00:00Z"

    async def test_a_paused_deployment_is_refused(self) -> None:
        requests, report = await self.run(lambda server: server.deployment["spec"].update(paused=True))  # type: ignore[index]
        assert report.outcome is Outcome.failed
        assert report.detail.startswith("refused: the deployment is paused")
        assert [request.method for request in requests] == ["GET"]

    async def test_what_is_scaled_to_nothing_is_refused(self) -> None:
        requests, report = await self.run(lambda server: server.deployment["spec"].update(replicas=0))  # type: ignore[index]
        assert report.outcome is Outcome.failed
        assert report.detail.startswith("refused: there is nothing to restart, it is scaled to 0; kubectl scale deployment/")
        assert [request.method for request in requests] == ["GET"]

    async def test_a_later_restart_is_not_undone_by_a_run_that_is_taken_up_again(self) -> None:
        later = "2026-11-21T12:00:07+00:00"
        requests, report = await self.run(lambda server: server.annotated(later), resumed=True)
        assert report.outcome is Outcome.succeeded
        assert {request.method for request in requests} == {"GET"}
        assert self.server.restarted_at == later

    async def test_a_run_that_starts_restarts_whatever_there_was(self) -> None:
        _, report = await self.run(lambda server: server.annotated("2026-11-21T12:00:07+00:00"))
        assert report.outcome is Outcome.succeeded
        assert self.server.restarted_at == STAMP

    async def test_a_conflict_is_read_again_and_a_second_one_is_a_failure(self) -> None:
        for conflicts, outcome in ((1, Outcome.succeeded), (2, Outcome.failed)):
            _, report = await self.run(answer=refusing(status(409, "modified"), times=conflicts))
            assert report.outcome is outcome

    async def test_somebody_else_in_between_leaves_a_lost_answer_in_doubt(self) -> None:
        def hijacked(request: Request) -> Answer | None:
            if request.method != "PATCH" or "dryRun" in request.path:
                return None
            self.server.annotated("by-hand \x1b[2J" + TOKEN)
            return Answer(drop=True)

        _, report = await self.run(answer=hijacked)
        assert report.outcome is Outcome.unknown
        assert "somebody else" in report.detail
        assert report.detail.isprintable()
        assert TOKEN not in report.detail

    def test_settings_that_cannot_be_are_refused(self) -> None:
        for wrong, word in (({"replicas": 3}, "do: restart has none"), ({"do": "delete"}, "do"), ({"do": None}, "do"),
                            ({"parameters": {"replicas": 3}}, "nothing of an alert"),
                            ({"labels": ["pod"]}, "nothing of an alert")):
            with pytest.raises(ValidationError, match=word):
                self.config(**wrong)
        assert KubernetesSettings.model_validate(self.settings).deadline == timedelta(minutes=5)


class TestScale(Base):
    settings: ClassVar[dict[str, Any]] = {"name": "more", "type": "kubernetes", "do": "scale", "replicas": 5, "target": "api"}

    async def test_the_number_is_absolute_and_guarded_by_what_was_read(self) -> None:
        requests, report = await self.run()
        assert [(request.method, request.path.partition("?")[0].rpartition("/")[2]) for request in requests[:4]] == [
            ("GET", "scale"), ("GET", "horizontalpodautoscalers"), ("PATCH", "scale"), ("PATCH", "scale")]
        assert [request.path for request in requests[2:4]] == [f"{SCALE}?dryRun=All&fieldManager=alerthub",
                                                               f"{SCALE}?fieldManager=alerthub"]
        assert requests[3].headers["content-type"] == "application/merge-patch+json"
        assert requests[3].json() == {"metadata": {"resourceVersion": "1000"}, "spec": {"replicas": 5}}
        assert report.request["before"] == 3
        assert report.detail == "scaled from 3 to 5: 5 of 5 pods are as they shall be, 5 available, 0 old ones left"
        assert self.server.replicas == 5

    async def test_what_is_so_already_is_a_success_and_no_change(self) -> None:
        requests, report = await self.run(lambda server: server.scaled_by_another(5))
        assert report.outcome is Outcome.succeeded
        assert report.detail.startswith("it was already so")
        assert {request.method for request in requests} == {"GET"}

    @pytest.mark.parametrize("others", [0, 19, 45])
    async def test_a_deployment_that_an_autoscaler_owns_is_refused(self, others: int) -> None:
        def owned(server: ApiServer) -> None:
            server.autoscalers = [*(autoscaler(f"other-{n}", of=f"other-{n}") for n in range(others)),
                                  autoscaler("keda-hpa-model")]

        requests, report = await self.run(owned)
        assert report.outcome is Outcome.failed
        assert report.detail.startswith("refused: the autoscaler keda-hpa-model owns")
        assert not [request for request in requests if request.method == "PATCH"]

    async def test_autoscalers_of_others_do_not_matter(self) -> None:
        def others(server: ApiServer) -> None:
            server.autoscalers = [autoscaler("a", of="other"), autoscaler("b", kind="StatefulSet")] * 30

        _, report = await self.run(others)
        assert report.outcome is Outcome.succeeded

    async def test_without_the_right_to_look_for_autoscalers_it_is_refused(self) -> None:
        _, report = await self.run(lambda server: server.rights.discard(("list", "horizontalpodautoscalers")))
        assert report.outcome is Outcome.failed
        assert "whether an autoscaler owns it cannot be checked" in report.detail
        assert "cannot list resource" in report.detail
        assert self.server.changes == []

    async def test_a_list_of_autoscalers_that_does_not_end_is_refused(self) -> None:
        endless = {"kind": "HorizontalPodAutoscalerList", "metadata": {"continue": "a&b"}, "items": [None, {"spec": []}]}
        _, report = await self.run(answer=lambda request: Answer(body=endless) if "autoscalers" in request.path else None)
        assert report.outcome is Outcome.failed
        assert "does not end" in report.detail

    @pytest.mark.parametrize("is_dry", [True, False])
    async def test_a_stale_version_is_read_again_once(self, is_dry: bool) -> None:
        touches = [1]

        def touched(request: Request) -> None:
            if touches and request.method == "PATCH" and ("dryRun" in request.path) is is_dry:
                self.server.touched()
                touches.pop()

        requests, report = await self.run(answer=touched)
        assert report.outcome is Outcome.succeeded
        assert requests[-1].method == "GET"
        assert self.server.changes[0]["metadata"]["resourceVersion"] == "1001"

    @pytest.mark.parametrize("is_dry", [True, False])
    async def test_a_version_that_is_stale_twice_is_a_failure(self, is_dry: bool) -> None:
        def touched(request: Request) -> None:
            if request.method == "PATCH" and ("dryRun" in request.path) is is_dry:
                self.server.touched()

        requests, report = await self.run(answer=touched)
        assert report.outcome is Outcome.failed
        assert "somebody else changes" in report.detail
        assert len([request for request in requests if request.method == "PATCH" and ("dryRun" in request.path) is is_dry]) == 2
        assert self.server.changes == []

    @pytest.mark.parametrize("is_dry", [True, False])
    async def test_another_number_in_the_meantime_is_not_overwritten(self, is_dry: bool) -> None:
        def scaled(request: Request) -> None:
            if request.method == "PATCH" and ("dryRun" in request.path) is is_dry:
                self.server.scaled_by_another(8)

        _, report = await self.run(answer=scaled)
        assert report.outcome is Outcome.failed
        assert "it is 8 now" in report.detail
        assert self.server.replicas == 8

    async def test_a_number_that_is_undone_during_the_rollout_is_unknown(self) -> None:
        def undone(request: Request) -> None:
            if self.server.changes and self.server.replicas == 5:
                self.server.scaled_by_another(2)

        _, report = await self.run(answer=undone)
        assert report.outcome is Outcome.unknown
        assert "undone by somebody else" in report.detail

    async def test_from_and_to_zero_when_the_target_allows_it(self) -> None:
        for before, after in ((3, 0), (0, 2)):
            async with self.opened() as (provider, _):
                provider.answer = self.server = ApiServer(replicas=before)
                action = self.action_class(self.config(replicas=after), self.target(provider.url, min=0), self.wire)
                report = await action.run(call())
            assert report.outcome is Outcome.succeeded
            assert report.request["before"] == before
            assert self.server.replicas == after

    @pytest.mark.parametrize(("replicas", "limits", "word"), [
        (0, {}, "allows 1 to 10"), (11, {}, "allows 1 to 10"), (5, {"max": None}, "no max"), (2, {"min": 3}, "allows 3 to 10"),
    ])
    async def test_a_number_that_the_target_does_not_allow_is_refused_when_it_is_built(
            self, replicas: int, limits: dict[str, Any], word: str) -> None:
        async with self.opened():
            with pytest.raises(ValueError, match=word):
                self.action_class(self.config(replicas=replicas), self.target(**limits), self.wire)

    def test_settings_that_cannot_be_are_refused(self) -> None:
        for wrong in ({"replicas": None}, {"replicas": -1}, {"replicas": "+2"}):
            with pytest.raises(ValidationError, match="replicas"):
                self.config(**wrong)

    @pytest.mark.parametrize("odd", [{"replicas": "3"}, {"replicas": None}, {"replicas": True}, {"replicas": 1.5}])
    async def test_a_number_that_is_none_is_not_guessed(self, odd: dict[str, Any]) -> None:
        scale = {"kind": "Scale", "metadata": {"resourceVersion": "1"}, "spec": odd}
        _, report = await self.run(answer=lambda request: Answer(body=scale) if request.path.endswith("/scale") else None)
        assert report.outcome is Outcome.failed
        assert "does not say how many" in report.detail


# --- the way in -----------------------------------------------------------------------------------------------------------


class TestEntrance:
    """The token file of a service account, which the kubelet renews."""

    def entrance(self, **settings: Any) -> Entrance:
        self.clock = SteppingClock()
        target = DeploymentTarget.model_validate({"name": "api", "namespace": "prod", "deployment": "model-api", **settings})
        return Entrance(target, ActionWire(None, self.clock))     # type: ignore[arg-type]

    async def test_a_rotated_token_is_used_within_a_minute(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("old\n")
        tokens: list[str] = []
        clock = SteppingClock()
        helper = TestRestart()
        async with helper.opened(clock, token=None, service_account=str(tmp_path)) as (provider, action):
            provider.answer = lambda request: (tokens.append(request.headers["authorization"]), helper.server(request))[1]
            await action.run(call())
            (tmp_path / "token").write_text("new\n")
            clock.at += timedelta(seconds=61)
            await action.run(call(deadline=clock.at + timedelta(seconds=30)))
        assert set(tokens) == {"Bearer old", "Bearer new"}
        assert tokens == sorted(tokens, reverse=True)

    async def test_a_token_that_is_refused_is_read_anew_at_once(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("old")
        helper = TestScale()
        async with helper.opened(token=None, token_file=str(file)) as (provider, action):
            helper.server.tokens = {"old"}

            def rotating(request: Request) -> Answer:
                if "dryRun" not in request.path and request.method == "PATCH" and helper.server.tokens == {"old"}:
                    file.write_text("new")
                    helper.server.tokens = {"new"}
                return helper.server(request)

            provider.answer = rotating
            report = await action.run(call())
        assert report.outcome is Outcome.succeeded
        assert len(helper.server.changes) == 1

    async def test_the_former_token_is_not_shown_either(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("former-secret")
        helper = TestRestart()
        async with helper.opened(token=None, token_file=str(file)) as (provider, action):
            def tells(request: Request) -> Answer:
                file.write_text("latter-secret")
                return status(401, "former-secret latter-secret")

            provider.answer = tells
            report = await action.run(call())
        assert report.outcome is Outcome.failed
        assert "-secret" not in repr(report)

    def test_without_a_service_account_it_says_what_to_give(self) -> None:
        with pytest.raises(ActionFailed, match=r"cannot read /var/run/secrets/.*give the target url and token_file"):
            self.entrance().exchange()

    def test_in_the_cluster_it_needs_no_settings(self, tmp_path: Path) -> None:
        target = DeploymentTarget(name="api", namespace="prod", deployment="model-api")
        assert target.url == "https://kubernetes.default.svc"
        assert str(target.token_path) == "/var/run/secrets/kubernetes.io/serviceaccount/token"
        assert str(target.ca_path) == "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"

    @pytest.mark.parametrize("bad", ["", "two words", "ünï"])
    def test_a_token_file_with_something_else_is_no_way_in(self, bad: str, tmp_path: Path) -> None:
        (tmp_path / "token").write_text(bad, encoding="utf-8")
        with pytest.raises(ActionFailed, match="no way into the API server: a token has"):
            self.entrance(url="http://h", service_account=str(tmp_path)).exchange()

    def test_a_file_that_is_away_for_a_moment_leaves_what_was_read(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("one")
        entrance = self.entrance(url="http://h", service_account=str(tmp_path))
        first = entrance.exchange()
        (tmp_path / "token").unlink()
        self.clock.at += timedelta(minutes=2)
        assert entrance.exchange() is first
        (tmp_path / "token").write_text("two")
        assert entrance.exchange() is first, "the files are read once a minute"
        self.clock.at -= timedelta(minutes=5)
        assert entrance.exchange() is not first, "a clock that was set back does not stop that"

    def test_an_authority_that_is_renewed_is_trusted(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("one")
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
        entrance = self.entrance(service_account=str(tmp_path))
        first = entrance.exchange()
        assert entrance.reread() == (first, False)
        trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
        assert entrance.reread()[0] is not first

    def test_no_token_shows_in_print(self, tmp_path: Path) -> None:
        target = DeploymentTarget(name="api", namespace="prod", deployment="d", token="s3cret-token")   # type: ignore[arg-type]
        assert "s3cret" not in repr(target)
        assert Kubernetes.resumable is True


# --- the rule of kubectl --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "state"), [
    ({}, Rollout.done), ({"observedGeneration": 6}, Rollout.waiting), ({"updatedReplicas": 2}, Rollout.waiting),
    ({"replicas": 4}, Rollout.waiting), ({"availableReplicas": 2}, Rollout.waiting), ({"updatedReplicas": None}, Rollout.waiting),
    ({"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}, Rollout.stuck),
    ({"observedGeneration": 6, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}, Rollout.waiting),
    ({"conditions": [{"type": "Available", "reason": "ProgressDeadlineExceeded"}, None, 3]}, Rollout.done),
    ({"conditions": {"a": 1}}, Rollout.done), ({"observedGeneration": "8"}, Rollout.waiting),
])
def test_a_rollout_is_done_by_the_rule_of_kubectl(changes: dict[str, Any], state: Rollout) -> None:
    deployment = made(3)
    deployment["status"].update(changes)
    assert rollout(deployment)[0] is state


@pytest.mark.parametrize(("date", "expected"), [
    ("2026-11-21T12:00:01Z", True), ("2026-11-21T12:00:00Z", False), ("2026-11-21T15:00:01+03:00", True),
    ("2026-11-21T12:00:01", False), ("soon", False), (None, False), (7, False),
])
def test_a_date_is_later_only_when_it_is_one(date: Any, expected: bool) -> None:
    assert is_later(date, datetime(2026, 11, 21, 12, tzinfo=UTC)) is expected
