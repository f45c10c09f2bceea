"""Safe mode is what the agent says of itself, pushed for until it does, and never claimed otherwise."""

from __future__ import annotations

import ssl
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import trustme
from pydantic import ValidationError

from alerthub.actions.base import ActionWire, Outcome, Report
from alerthub.actions.safe_mode import AgentTarget, SafeMode, SafeModeSettings
from alerthub.clock import SystemClock
from alerthub.domain.rules import Direction
from alerthub.toy_agent import ToyAgent
from tests.actions.contract import NO_TLS, RUN, SECRET, TOKEN, ActionContract, assert_signed, call
from tests.kit.agent import running_agent
from tests.kit.messages import NOW
from tests.kit.providers.http import Answer, FakeProvider, Request

pytestmark = pytest.mark.anyio


class Agent:
    """A scripted agent: `pushes` answers to pushes in order, then 200; `obeys` after so many pushes were answered well."""

    def __init__(self, *pushes: Answer, obeys_after: int = 1, mode: str = "trading", looks: tuple[Answer, ...] = ()) -> None:
        self.pushes, self.looks, self.obeys_after, self.mode = list(pushes), list(looks), obeys_after, mode
        self.taken = 0

    def __call__(self, request: Request) -> Answer:
        if request.method == "GET":
            return self.looks.pop(0) if self.looks else Answer(body={"mode": self.mode})
        answer = self.pushes.pop(0) if self.pushes else Answer(body={"mode": self.mode})
        if answer.status == 200 and not answer.drop:
            self.taken += 1
            if self.taken >= self.obeys_after:
                self.mode = "safe"
        return answer


NEVER = 10**9


def of(provider: FakeProvider, method: str) -> list[Request]:
    return [request for request in provider.requests if request.method == method]


class TestSafeMode(ActionContract):
    kind = "safe_mode"
    settings: ClassVar[dict[str, Any]] = {"name": "safe-mode", "type": "safe_mode", "target_label": "agent"}
    target_settings: ClassVar[dict[str, Any]] = {"name": "agent-btc", "type": "agent"}
    is_set: bool

    def answer_ok(self, provider: FakeProvider) -> None:
        provider.answer = Agent()

    async def report_of(self, agent: Agent, **overrides: Any) -> tuple[FakeProvider, Report]:
        async with self.opened() as (provider, action):
            provider.answer = agent
            return provider, await action.run(call(**overrides))

    # --- done -----------------------------------------------------------------------------------------------------------

    async def test_it_pushes_once_and_looks(self) -> None:
        provider, report = await self.report_of(Agent())
        assert [(request.method, request.path) for request in provider.requests] == [("POST", "/mode"), ("GET", "/mode")]
        assert provider.requests[0].json() == {"mode": "safe", "reason": call().reason}
        assert (report.outcome, report.verified) == (Outcome.succeeded, "safe")
        assert (report.request["pushes"], report.request["looks"]) == (1, 1)
        assert report.answer["look"] == {"status": 200, "body": '{"mode": "safe"}'}

    async def test_the_look_proves_who_asks_too(self) -> None:
        provider, _ = await self.report_of(Agent())
        assert provider.requests[1].headers["authorization"] == f"Bearer {TOKEN}"
        assert_signed(provider.requests[1], NOW)

    async def test_it_looks_until_a_slow_agent_is_safe(self) -> None:
        still = tuple(Answer(body={"mode": "stopping"}) for _ in range(6))
        provider, report = await self.report_of(Agent(looks=still))
        assert report.outcome is Outcome.succeeded
        assert len(of(provider, "POST")) == 1
        assert len(of(provider, "GET")) == 7
        assert self.clock.waits[0] == pytest.approx(0.2)
        assert self.clock.waits[-1] == pytest.approx(1.0)
        assert self.clock.waits == sorted(self.clock.waits)

    async def test_an_agent_that_lost_the_push_gets_it_again_with_the_same_id(self) -> None:
        provider, report = await self.report_of(Agent(obeys_after=2))
        assert report.outcome is Outcome.succeeded
        assert [request.headers["webhook-id"] for request in of(provider, "POST")] == [RUN, RUN]
        assert self.clock.now() - NOW < timedelta(seconds=8)

    @pytest.mark.parametrize("bad", [Answer(drop=True), Answer(503, headers={"retry-after": "3600"}), Answer(500), Answer(429),
                                     Answer(401), Answer(404), Answer(302, headers={"location": "/mode"})],
                             ids=["lost", "503", "500", "429", "401", "404", "302"])
    async def test_after_a_push_that_failed_it_looks_and_pushes_again(self, bad: Answer) -> None:
        provider, report = await self.report_of(Agent(bad, bad))
        assert [request.method for request in provider.requests] == ["POST", "GET"] * 3
        assert report.outcome is Outcome.succeeded
        assert self.clock.now() - NOW < timedelta(seconds=1), "nothing delays a tightening, no Retry-After either"

    @pytest.mark.parametrize("seconds", [-3600, 3600])
    @pytest.mark.parametrize("bad", [Answer(503), Answer(200)], ids=["refused", "accepted and forgotten"])
    async def test_no_clock_that_is_set_keeps_it_from_pushing(self, seconds: float, bad: Answer) -> None:
        pushed_at: list[float] = []
        agent = Agent(*[bad] * 40, obeys_after=NEVER)
        async with self.opened() as (provider, action):
            def answer(request: Request) -> Answer:
                if request.method == "POST":
                    pushed_at.append(self.clock.elapsed)
                if len(pushed_at) == 2 and request.method == "GET" and not self.is_set:
                    self.is_set = True
                    self.clock.set_by(seconds)
                return agent(request)

            self.is_set = False
            provider.answer = answer
            await action.run(call())
        assert self.is_set
        assert 29 < self.clock.elapsed <= 30
        assert max(later - earlier for earlier, later in pairwise(pushed_at)) < 7
        assert pushed_at[-1] > 23

    async def test_a_redirect_that_its_client_stumbles_over_is_one_push_in_doubt(self) -> None:
        async with self.opened() as (provider, _), httpx.AsyncClient(trust_env=False, verify=NO_TLS) as bare:
            self.wire = ActionWire(bare, self.clock)
            provider.answer = Agent(*[Answer(302, headers={"location": "about:blank"})] * 2)
            report = await self.action(self.target(provider.url)).run(call())
            assert [request.method for request in provider.requests] == ["POST", "GET"] * 3
        assert report.outcome is Outcome.succeeded

    async def test_a_push_that_worked_although_its_answer_was_lost_is_not_repeated(self) -> None:
        agent = Agent(Answer(drop=True), mode="safe")
        provider, report = await self.report_of(agent)
        assert len(of(provider, "POST")) == 1
        assert report.outcome is Outcome.succeeded

    @pytest.mark.parametrize("look", [
        Answer(500), Answer(drop=True), Answer(body="safe"), Answer(body={"mode": "SAFE"}), Answer(body={"mode": ["safe"]}),
        Answer(body={"mode": "safe\n"}), Answer(body=["safe"]), Answer(202, body={"mode": "safe"}),
        Answer(body={"state": "safe"}),
        Answer(body={"mode": "unsafe"}), Answer(body="{" * 60_000), Answer(302, headers={"location": "/mode"}),
    ])
    async def test_only_the_plain_word_of_the_agent_counts(self, look: Answer) -> None:
        provider, report = await self.report_of(Agent(looks=(look,)))
        assert report.outcome is Outcome.succeeded
        assert len(of(provider, "GET")) == 2
        _, never = await self.report_of(Agent(looks=(look,) * 100), deadline=NOW + timedelta(seconds=3))
        assert never.outcome is Outcome.unknown

    # --- not done -------------------------------------------------------------------------------------------------------

    async def test_an_agent_that_says_yes_and_does_nothing_is_unknown(self) -> None:
        provider, report = await self.report_of(Agent(obeys_after=NEVER))
        assert report.outcome is Outcome.unknown
        assert report.verified == "trading"
        assert '"trading"' in report.detail
        assert len(of(provider, "POST")) == 6, "every five seconds"
        assert timedelta(seconds=29) < self.clock.now() - NOW <= timedelta(seconds=30)

    async def test_an_agent_that_refuses_until_the_deadline_is_a_failure(self) -> None:
        provider, report = await self.report_of(Agent(*[Answer(403, body="who are you")] * 1_000))
        assert report.outcome is Outcome.failed
        assert "403: who are you" in report.detail
        assert len(of(provider, "POST")) > 20

    @pytest.mark.parametrize("bad", [Answer(500), Answer(502), Answer(504)], ids=lambda bad: str(bad.status))
    async def test_an_agent_that_breaks_leaves_it_in_doubt(self, bad: Answer) -> None:
        _, report = await self.report_of(Agent(*[bad] * 1_000))
        assert report.outcome is Outcome.unknown

    async def test_one_push_in_doubt_keeps_the_whole_run_in_doubt(self) -> None:
        _, report = await self.report_of(Agent(Answer(drop=True), *[Answer(503)] * 1_000))
        assert report.outcome is Outcome.unknown

    async def test_nothing_is_sent_or_waited_for_after_the_deadline(self) -> None:
        await self.report_of(Agent(obeys_after=NEVER), deadline=NOW + timedelta(seconds=2))
        assert self.clock.now() <= NOW + timedelta(seconds=2)

    # --- resumed --------------------------------------------------------------------------------------------------------

    async def test_a_resumed_run_looks_before_it_pushes(self) -> None:
        provider, report = await self.report_of(Agent(mode="safe"), resumed=True)
        assert [request.method for request in provider.requests] == ["GET"]
        assert report.outcome is Outcome.succeeded
        assert "already" in report.detail

    async def test_a_resumed_run_goes_on_when_the_agent_is_not_safe(self) -> None:
        provider, report = await self.report_of(Agent(), resumed=True)
        assert [request.method for request in provider.requests] == ["GET", "POST", "GET"]
        assert report.outcome is Outcome.succeeded

    async def test_a_resumed_run_that_reaches_nobody_is_in_doubt(self) -> None:
        async with self.opened() as (provider, action):
            await provider.stop()
            report = await action.run(call(resumed=True))
            late = await action.run(call(resumed=True, deadline=NOW))
        assert report.outcome is Outcome.unknown
        assert late.outcome is Outcome.unknown

    # --- released -------------------------------------------------------------------------------------------------------

    async def released(self, *pushes: Answer, looks: tuple[Answer, ...] = (), mode: str = "trading",
                       **overrides: Any) -> tuple[FakeProvider, Report]:
        """Of an agent that says so of itself once it was looked at so often."""
        async with self.opened() as (provider, action):
            provider.answer = Agent(*pushes, looks=looks, mode=mode, obeys_after=NEVER)
            return provider, await action.run(call(release="trading", **overrides))

    async def test_a_release_is_pushed_once_and_believed_when_the_agent_says_so(self) -> None:
        still = tuple(Answer(body={"mode": "safe"}) for _ in range(20))
        provider, report = await self.released(looks=still)
        assert [request.json() for request in of(provider, "POST")] == [{"mode": "trading", "reason": call().reason}]
        assert of(provider, "POST")[0].headers["webhook-id"] == RUN
        assert (report.outcome, report.verified, len(of(provider, "GET"))) == (Outcome.succeeded, "trading", 21)
        assert report.request["body"]["mode"] == "trading"

    async def test_a_release_that_the_agent_does_not_confirm_is_unknown_and_never_pushed_again(self) -> None:
        provider, report = await self.released(mode="safe")
        assert report.outcome is Outcome.unknown
        assert len(of(provider, "POST")) == 1
        assert timedelta(seconds=29) < self.clock.now() - NOW <= timedelta(seconds=30)

    @pytest.mark.parametrize("answer", [Answer(503), Answer(401), Answer(302, headers={"location": "/mode"})],
                             ids=lambda answer: str(answer.status))
    async def test_a_release_that_the_agent_refuses_has_failed_at_once(self, answer: Answer) -> None:
        provider, report = await self.released(answer)
        assert report.outcome is Outcome.failed
        assert len(provider.requests) == 1
        assert self.clock.now() == NOW

    async def test_a_release_whose_answer_was_lost_is_looked_for(self) -> None:
        provider, report = await self.released(Answer(drop=True))
        assert [request.method for request in provider.requests] == ["POST", "GET"]
        assert report.outcome is Outcome.succeeded

    async def test_a_release_that_was_broken_off_is_only_looked_at(self) -> None:
        provider, report = await self.released(mode="safe", resumed=True)
        assert of(provider, "POST") == []
        assert report.outcome is Outcome.unknown
        _, found = await self.released(resumed=True)
        assert found.outcome is Outcome.succeeded

    async def test_a_release_after_the_deadline_sends_nothing(self) -> None:
        provider, report = await self.released(deadline=NOW)
        assert provider.requests == []
        assert report.outcome is Outcome.failed

    # --- settings -------------------------------------------------------------------------------------------------------

    def test_it_only_ever_tightens(self) -> None:
        assert SafeModeSettings(name="s", target="a").direction is Direction.tighten
        named = {"name": "s", "target": "a"}
        assert SafeModeSettings.model_validate({**named, "direction": "tighten"}).direction is Direction.tighten
        for direction in ("neutral", "relax"):
            with pytest.raises(ValidationError, match="tighten"):
                SafeModeSettings.model_validate({**named, "direction": direction})

    @pytest.mark.parametrize(("deadline", "is_right"), [
        ("1s", True), ("44s", True), ("45s", True), ("45001ms", False), ("5m", False),
    ])
    def test_the_deadline_leaves_time_to_page_somebody(self, deadline: str, is_right: bool) -> None:
        given = {"name": "s", "target": "a", "deadline": deadline}
        if is_right:
            assert SafeModeSettings.model_validate(given).deadline <= timedelta(seconds=45)
        else:
            with pytest.raises(ValidationError, match="within a minute"):
                SafeModeSettings.model_validate(given)

    @pytest.mark.parametrize(("url", "kept"), [("http://a:8000/", "http://a:8000"), ("http://a/bots/btc", "http://a/bots/btc")])
    def test_mode_is_added_to_the_address(self, url: str, kept: str) -> None:
        assert AgentTarget(name="a", url=url).url == kept

    def test_an_address_with_a_query_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="/mode"):
            AgentTarget(name="a", url="http://a/?x=1")

    def test_a_permit_has_a_time_to_live(self) -> None:
        target = AgentTarget.model_validate({"name": "a", "url": "http://a", "permit": {"ttl": "10s"}})
        assert target.permit is not None
        assert target.permit.ttl == timedelta(seconds=10)
        with pytest.raises(ValidationError, match="longer than 0"):
            AgentTarget.model_validate({"name": "a", "url": "http://a", "permit": {"ttl": "0"}})

    def test_a_release_asks_two_approvers_unless_it_says_otherwise(self) -> None:
        usual = AgentTarget(name="a", url="http://a").release
        assert (usual.mode, usual.clear_for, usual.approve.role, usual.approve.count, usual.approve.within) == (
            "armed", timedelta(minutes=10), "approver", 2, timedelta(minutes=15))
        said = AgentTarget.model_validate({"name": "a", "url": "http://a", "release": {
            "mode": "trading", "clear_for": "0", "approve": {"role": "risk", "within": "5m"}}}).release
        assert (said.mode, said.clear_for, said.approve.role, said.approve.count) == ("trading", timedelta(0), "risk", 2)


# --- with the toy agent, over a port ------------------------------------------------------------------------------------


async def run_on(agent: ToyAgent, seconds: float = 5, **credentials: str) -> Report:
    clock = SystemClock()
    with running_agent(agent) as running:
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
            target = AgentTarget.model_validate({"name": "agent-btc", "url": running.url, **credentials})
            action = SafeMode(SafeModeSettings(name="safe-mode", target="agent-btc"), target, ActionWire(client, clock))
            return await action.run(call(deadline=clock.now() + timedelta(seconds=seconds)))


async def test_a_real_agent_goes_safe() -> None:
    agent = ToyAgent(token=TOKEN, secret=SECRET)
    report = await run_on(agent, token=TOKEN, secret=SECRET)
    assert report.outcome is Outcome.succeeded
    assert agent.mode == "safe"
    assert [(push.id, push.reason) for push in agent.pushes] == [(RUN, call().reason)]


async def test_a_real_agent_is_released() -> None:
    agent, clock = ToyAgent(token=TOKEN, secret=SECRET, mode="safe"), SystemClock()
    with running_agent(agent) as running:
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
            target = AgentTarget.model_validate({"name": "agent-btc", "url": running.url, "token": TOKEN, "secret": SECRET})
            action = SafeMode(SafeModeSettings(name="safe-mode", target="agent-btc"), target, ActionWire(client, clock))
            report = await action.run(call(release="trading", deadline=clock.now() + timedelta(seconds=5)))
    assert (report.outcome, agent.mode, len(agent.pushes)) == (Outcome.succeeded, "trading", 1)


async def test_a_real_agent_that_lies_is_found_out() -> None:
    agent = ToyAgent(obeys=False)
    report = await run_on(agent, seconds=0.6)
    assert report.outcome is Outcome.unknown
    assert agent.pushes


async def test_a_real_agent_refuses_a_wrong_signature() -> None:
    agent = ToyAgent(secret=SECRET)
    report = await run_on(agent, seconds=0.6, secret="whsec_" + "QUJD" * 10)
    assert report.outcome is Outcome.failed
    assert (agent.mode, agent.pushes) == ("trading", [])


# --- with an authority of one's own -------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_private_authority_is_trusted_when_configured(is_trusted: bool, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "ca.pem"
    (authority if is_trusted else stranger).cert_pem.write_to_path(str(bundle))
    clock = SystemClock()
    with running_agent(ToyAgent(), tls=context) as running:
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client:
            target = AgentTarget(name="a", url=running.url, tls_ca_file=str(bundle))
            action = SafeMode(SafeModeSettings(name="safe-mode", target="a"), target, ActionWire(client, clock))
            report = await action.run(call(deadline=clock.now() + timedelta(seconds=3 if is_trusted else 0.5)))
    assert report.outcome is (Outcome.succeeded if is_trusted else Outcome.failed)
