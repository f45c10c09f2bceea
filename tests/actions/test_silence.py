"""The silence action: made once, seen before it is believed, ended by what the record says. First against a strict stand-in,
then against the real Alertmanager."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import uuid4

import httpx
import pytest
from pydantic import ValidationError

from alerthub.actions.base import ActionWire, Call, Outcome, Report, parameters_for
from alerthub.actions.silence import AlertmanagerTarget, SilenceAlerts, SilenceSettings
from alerthub.clock import SystemClock
from alerthub.errors import ActionFailed
from tests.actions.contract import NO_TLS, RUN, TOKEN, assert_signed, call
from tests.actions.reads_first import ReadsFirst
from tests.kit.binaries import Alertmanager, posting_to
from tests.kit.messages import HOSTILE, NOW
from tests.kit.providers.alertmanager import AlertmanagerServer
from tests.kit.providers.http import Answer, FakeProvider, Request

pytestmark = pytest.mark.anyio

PASSWORD = "p4ss:wörd of alertmanager"
MARK = f"alerthub:{RUN})"


def matcher(name: str, value: str, is_regex: bool = False) -> dict[str, Any]:
    return {"name": name, "value": value, "isRegex": is_regex}


SAME = [matcher("alertname", "Slow"), {**matcher("env", "prod"), "isEqual": False}, matcher("shop", "a|b", True)]


class TestSilence(ReadsFirst):
    kind = "silence"
    settings: ClassVar[dict[str, Any]] = {
        "name": "quiet", "type": "silence", "target": "alertmanager", "duration": "2h", "comment": "the shop is known to be slow",
        "matchers": ['alertname="Slow"', 'env!="prod"', 'shop=~"a|b"']}
    target_settings: ClassVar[dict[str, Any]] = {"name": "alertmanager", "type": "alertmanager"}
    server: AlertmanagerServer

    def answer_ok(self, provider: FakeProvider) -> None:
        self.server = AlertmanagerServer(lambda: self.clock.now())
        provider.answer = self.server

    async def run(self, prepare: Callable[[AlertmanagerServer], object] = lambda server: None,
                  answer: Callable[[Request], Answer | None] = lambda request: None,
                  **overrides: Any) -> tuple[list[Request], Report]:
        """One run; `answer` may say something else than Alertmanager does."""
        async with self.opened() as (provider, action):
            prepare(self.server)
            provider.answer = lambda request: answer(request) or self.server(request)
            report = await action.run(call(**overrides))
            return provider.requests, report

    # --- made -----------------------------------------------------------------------------------------------------------

    async def test_a_target_that_does_it_makes_a_success_with_its_evidence(self) -> None:
        requests, report = await self.run()
        listing = "/api/v2/silences?filter=alertname%3D%22Slow%22"
        assert [(request.method, request.path) for request in requests] == [
            ("GET", listing), ("POST", "/api/v2/silences"), ("GET", listing)], "looked for, made, read again"
        (made,) = self.server.made
        assert report.outcome is Outcome.succeeded
        assert report.request["body"] == made
        assert made["matchers"] == SAME
        assert (made["createdBy"], made["endsAt"]) == ("alerthub", (NOW + timedelta(hours=2)).isoformat().replace("+00:00", "Z"))
        assert made["comment"] == f"the shop is known to be slow: action the-action, incident #17 (by alerthub, {MARK}"
        assert report.verified == report.detail
        assert report.detail.startswith('{alertname="Slow", env!="prod", shop=~"a|b"} is silenced until 2026-')

    async def test_the_record_says_how_to_end_it(self) -> None:
        async with self.opened() as (provider, action):
            report = await action.run(call())
            (undo,) = report.answer["undo"]
            method, path = undo.split(" ")
            async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
                assert (await client.request(method, provider.url + path)).status_code == 200
        assert self.server.ended == report.answer["silences"]

    async def test_the_value_of_a_label_narrows_it(self) -> None:
        config = self.config(matchers=['alertname="Slow"'], labels=["shop"])
        async with self.opened() as (provider, _):
            action = self.action_class(config, self.target(provider.url), self.wire)
            report = await action.run(call(parameters=parameters_for(config, {"shop": "shop-7", "more": "x"})))
            assert report.outcome is Outcome.succeeded
            refused = await action.run(call(id=str(uuid4())))
        (made,) = self.server.made
        assert made["matchers"] == [matcher("alertname", "Slow"), matcher("shop", "shop-7")]
        assert refused.outcome is Outcome.failed
        assert "the label shop is missing" in refused.detail

    @pytest.mark.parametrize("value", [*HOSTILE, "", None, ".*", "a|b"])
    def test_a_label_that_says_something_else_is_refused_before_it_runs(self, value: str | None) -> None:
        config = self.config(matchers=['alertname="Slow"'], labels=["shop"], pattern="[a-z0-9-]{1,20}")
        with pytest.raises(ActionFailed, match="refused: the value of the label shop"):
            parameters_for(config, {} if value is None else {"shop": value})

    async def test_a_pattern_that_lets_nothing_through_as_a_value_widens_nothing(self) -> None:
        config = self.config(matchers=[], labels=["shop"], pattern=".*")
        async with self.opened() as (provider, _):
            action = self.action_class(config, self.target(provider.url), self.wire)
            report = await action.run(call(parameters=parameters_for(config, {"shop": ""})))
            assert provider.requests == []
        assert report.outcome is Outcome.failed

    # --- once -----------------------------------------------------------------------------------------------------------

    async def test_a_run_that_is_taken_up_again_makes_no_second_one(self) -> None:
        async with self.opened() as (_, action):
            await action.run(call())
            self.clock.at += timedelta(seconds=5)
            again = await action.run(call(resumed=True))
        assert again.outcome is Outcome.succeeded
        assert again.detail.startswith("it was made before")
        assert len(self.server.made) == 1
        assert again.answer["undo"]

    async def test_one_that_somebody_has_ended_is_not_made_again(self) -> None:
        async with self.opened() as (_, action):
            report = await action.run(call())
            self.server(Request("DELETE", f"/api/v2/silence/{report.answer['silences'][0]}", {}, b""))
            again = await action.run(call(resumed=True))
        assert len(self.server.made) == 1
        assert "the silence is over" in again.detail
        assert again.answer["undo"] == []

    async def test_a_mark_on_another_silence_is_not_believed(self) -> None:
        """Anybody may write it. What counts is that the same alerts are silent."""
        def forged(server: AlertmanagerServer) -> None:
            for extra in ({"matchers": SAME[:2]}, {"comment": f"{MARK} and more"}):
                times = {"startsAt": NOW.isoformat(), "endsAt": (NOW + timedelta(hours=2)).isoformat()}
                server.put({"matchers": SAME, **times, "createdBy": "mallory", "comment": f"(by alerthub, {MARK}", **extra})

        _, report = await self.run(forged)
        assert report.outcome is Outcome.succeeded
        assert len(self.server.made) == 1

    @pytest.mark.parametrize("lost", [Answer(drop=True), Answer(500), Answer(504)], ids=["drop", "500", "504"])
    async def test_what_was_made_although_the_answer_was_lost_is_found_by_its_mark(self, lost: Answer) -> None:
        def acting(request: Request) -> Answer | None:
            return lost if request.method == "POST" and self.server(request) else None

        _, report = await self.run(answer=acting)
        assert report.outcome is Outcome.succeeded
        assert len(self.server.made) == 1

    async def test_a_name_that_comes_twice_or_is_no_classic_one_is_not_asked_for(self) -> None:
        """Alertmanager would not find by it what it has."""
        for matchers in (['shop="a"', 'shop=~"a|b"'], ['"my.shop"="a"']):
            async with self.opened() as (provider, _):
                action = self.action_class(self.config(matchers=matchers), self.target(provider.url), self.wire)
                assert (await action.run(call())).outcome is Outcome.succeeded
                assert {request.path for request in provider.requests} == {"/api/v2/silences"}

    # --- refused and odd ------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("status", "word"), [(400, "invalid"), (401, "credentials"), (403, "allow"), (404, "API v2"),
                                                  (413, "413")])
    async def test_a_refusal_says_what_it_means_and_is_certain(self, status: int, word: str) -> None:
        refusal = Answer(status, body="because\nof this")
        requests, report = await self.run(answer=lambda request: refusal if request.method == "POST" else None)
        assert report.outcome is Outcome.failed
        assert word in report.detail
        assert "because of this" in report.detail
        assert len([request for request in requests if request.method == "POST"]) == 1

    @pytest.mark.parametrize("status", [429, 500, 503])
    async def test_an_alertmanager_in_trouble_is_asked_again(self, status: int) -> None:
        answers = [Answer(status, headers={"retry-after": "1"})] * 2
        _, report = await self.run(answer=lambda request: answers.pop() if answers and request.method == "POST" else None)
        assert report.outcome is Outcome.succeeded
        assert len(self.server.made) == 1

    async def test_an_answer_that_makes_no_sense_breaks_nothing(self) -> None:      # type: ignore[override]
        """A 2xx is not believed: something in between says yes, and nothing is silent."""
        for odd in (Answer(body="<html>It works!</html>"), Answer(204), Answer(201, body="{" * 20_000)):
            _, report = await self.run(answer=lambda request, odd=odd: odd if request.method == "POST" else None)  # type: ignore[misc]
            assert report.outcome is Outcome.unknown
            assert "Alertmanager does not show it" in report.detail

    @pytest.mark.parametrize("odd", [None, 1, "x", [], {}, {"comment": f"({MARK}"}, {"comment": f"({MARK}", "id": "../x"},
                                     {"comment": f"({MARK}", "id": "a", "matchers": [1]},
                                     {"comment": f"({MARK}", "id": "a", "matchers": [{"name": "", "value": ""}]},
                                     {"comment": f"({MARK}", "id": "a", "matchers": [matcher("a", "(", True)], "status": 1}])
    async def test_an_entry_that_cannot_be_read_is_not_ours(self, odd: Any) -> None:
        def listed(request: Request) -> Answer | None:
            return Answer(body=[odd, *self.server(request).body]) if request.method == "GET" else None

        _, report = await self.run(answer=listed)
        assert report.outcome is Outcome.succeeded

    async def test_what_cannot_be_read_back_is_unknown(self) -> None:
        _, report = await self.run(answer=lambda request: Answer(503) if self.server.made else None)
        assert report.outcome is Outcome.unknown
        assert "accepted, and it cannot be read back" in report.detail

    # --- credentials ----------------------------------------------------------------------------------------------------

    async def test_it_proves_who_asks_and_carries_its_id(self) -> None:
        requests, _ = await self.run()
        for request in requests:
            assert request.headers["authorization"] == f"Bearer {TOKEN}"
            assert_signed(request, NOW)
        change = next(request for request in requests if request.method == "POST")
        assert change.headers["idempotency-key"] == change.headers["webhook-id"] == RUN

    async def test_without_credentials_it_sends_none(self) -> None:
        async with self.opened(token=None, secret=None) as (provider, action):
            assert (await action.run(call())).outcome is Outcome.succeeded
            for request in provider.requests:
                assert not {"authorization", "webhook-signature"} & set(request.headers)

    async def test_an_account_is_sent_as_basic_and_never_shown(self) -> None:
        account = {"token": None, "secret": None, "username": "hub", "password": PASSWORD}
        async with self.opened(**account) as (provider, action):
            provider.answer = self.server = AlertmanagerServer(self.clock.now, "hub", PASSWORD)
            report = await action.run(call())
            provider.answer = lambda request: Answer(401, body=f"{self.server.login} {PASSWORD}")
            refused = await action.run(call())
            printed = repr([report, refused, self.target(**account)])
        assert report.outcome is Outcome.succeeded
        assert refused.outcome is Outcome.failed
        assert PASSWORD not in printed
        assert self.server.login.removeprefix("Basic ") not in printed

    # --- settings -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("wide", [
        [], ['alertname=~".+"'], ['alertname=~".*"'], ['alertname!="x"'], ['alertname=""'], ['severity="warning"'],
        ['severity="warning"', 'alertname=~".+"'], ['alertname!~"x"', 'job=""'],
    ])
    def test_what_would_silence_nearly_everything_is_refused(self, wide: list[str]) -> None:
        with pytest.raises(ValidationError, match="silence too much"):
            self.config(matchers=wide)
        with pytest.raises(ValidationError, match="silence too much"):
            self.config(matchers=[], labels=["severity"])

    def test_one_exact_value_is_enough(self) -> None:
        self.config(matchers=['alertname="Slow"'])
        self.config(matchers=['severity="warning"'], labels=["alertname"])
        self.config(matchers=["shop=seven", 'alertname=~".+"'])

    @pytest.mark.parametrize(("wrong", "word"), [
        ({"direction": "tighten"}, "neutral"), ({"direction": "relax"}, "only the release"),
        ({"parameters": {"a": 1}}, "no parameters"),
        ({"duration": "24h1s"}, "1m to 24h"), ({"duration": "59s"}, "1m to 24h"), ({"duration": "0"}, "1m to 24h"),
        ({"matchers": ["alertname"]}, "expected one of"), ({"matchers": ['a="b",c="d"']}, "one matcher"),
        ({"matchers": ['a=~"("']}, "regular expression"), ({"labels": ["shop"]}, "in matchers and in labels"),
        ({"comment": "x" * 501}, "comment"), ({"matchers": ['a="b"'] * 51}, "matchers"),
    ])
    def test_what_cannot_be_a_silence_is_refused_at_start(self, wrong: dict[str, Any], word: str) -> None:
        with pytest.raises(ValidationError, match=word):
            self.config(**wrong)

    def test_a_day_and_a_minute_are_the_ends(self) -> None:
        self.config(duration="24h")
        self.config(duration="1m")

    @pytest.mark.parametrize(("wrong", "word"), [
        ({"username": "a"}, "belong together"), ({"password": "p"}, "belong together"),
        ({"username": "a:b", "password": "p"}, "username"),
        ({"username": "a", "password": "p\n", "token": None}, "password"), ({"username": "a", "password": "p"}, "not both"),
        ({"url": "http://h?x=1"}, "query"),
    ])
    def test_an_alertmanager_that_cannot_be_is_refused_by_name(self, wrong: dict[str, Any], word: str) -> None:
        with pytest.raises(ValidationError, match=word):
            self.target(**wrong)


# --- the real one -----------------------------------------------------------------------------------------------------------

real = [pytest.mark.alertmanager, pytest.mark.slow]
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def alertmanager() -> Iterator[Alertmanager]:
    with Alertmanager(posting_to("http://127.0.0.1:1/")) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
        yield client


def a_call(**overrides: Any) -> Call:
    now = CLOCK.now()
    return call(**{"id": str(uuid4()), "created_at": now, "deadline": now + timedelta(seconds=30), **overrides})


def actor(alertmanager: Alertmanager, http: httpx.AsyncClient, **settings: Any) -> SilenceAlerts:
    config = SilenceSettings.model_validate({"name": "quiet", "target": "am", **settings})
    return SilenceAlerts(config, AlertmanagerTarget(name="am", url=alertmanager.url), ActionWire(http, CLOCK))


def listed(alertmanager: Alertmanager, run: Call) -> list[dict[str, Any]]:
    return [one for one in alertmanager.call("GET", "/api/v2/silences") if run.id in one["comment"]]


class TestTheRealAlertmanager:
    """One program for all: each test silences an alertname of its own."""

    pytestmark: ClassVar[list[Any]] = real

    async def test_an_alert_is_silent_and_the_undo_of_the_record_ends_it(self, alertmanager: Alertmanager,
                                                                         http: httpx.AsyncClient) -> None:
        alertmanager.post({"alertname": "Slow", "shop": "été-7"}, {"alertname": "Slow", "shop": "other"})
        run = a_call(parameters={"shop": "été-7"})
        report = await actor(alertmanager, http, matchers=['alertname="Slow"'], labels=["shop"], duration="1h",
                             comment="Mağaza yavaş, ça va").run(run)
        assert report.outcome is Outcome.succeeded, report.detail
        (made,) = listed(alertmanager, run)
        assert made["comment"].startswith("Mağaza yavaş, ça va: ")
        assert (made["createdBy"], made["status"]["state"], [made["id"]]) == ("alerthub", "active", report.answer["silences"])
        ends = datetime.fromisoformat(made["endsAt"]) - CLOCK.now()
        assert timedelta(minutes=59) < ends <= timedelta(hours=1)
        silenced = {one["labels"]["shop"] for one in alertmanager.alerts() if one["status"]["silencedBy"] == [made["id"]]}
        assert silenced == {"été-7"}
        alertmanager.call(*report.answer["undo"][0].split(" "))
        assert [one["status"]["state"] for one in listed(alertmanager, run)] == ["expired"]

    async def test_every_kind_of_matcher_is_understood_and_found_again(self, alertmanager: Alertmanager,
                                                                       http: httpx.AsyncClient) -> None:
        run, quiet = a_call(), actor(alertmanager, http, matchers=[
            'alertname="Sl\\"ow\\\\ü"', 'env!="prod"', 'shop=~"a|b.*"', 'zone!~"eu-.+"', 'gone=""'])
        first, again = await quiet.run(run), await quiet.run(run)
        assert (first.outcome, again.outcome) == (Outcome.succeeded, Outcome.succeeded), first.detail
        assert again.detail.startswith("it was made before")
        assert len(listed(alertmanager, run)) == 1

    async def test_two_at_once_are_two_silences_only_with_two_ids(self, alertmanager: Alertmanager,
                                                                  http: httpx.AsyncClient) -> None:
        runs = [a_call(), a_call()]
        quiet = actor(alertmanager, http, matchers=['alertname="Twice"'])
        reports = await asyncio.gather(*(quiet.run(run) for run in runs))
        assert {report.outcome for report in reports} == {Outcome.succeeded}
        assert [len(listed(alertmanager, run)) for run in runs] == [1, 1]

    async def test_one_that_a_person_ended_stays_ended(self, alertmanager: Alertmanager, http: httpx.AsyncClient) -> None:
        run, quiet = a_call(), actor(alertmanager, http, matchers=['alertname="Ended"'])
        made = await quiet.run(run)
        alertmanager.call("DELETE", f"/api/v2/silence/{made.answer['silences'][0]}")
        again = await quiet.run(run)
        assert "the silence is over" in again.detail
        assert [one["status"]["state"] for one in listed(alertmanager, run)] == ["expired"]
