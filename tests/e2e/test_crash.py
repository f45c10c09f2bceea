"""kill -9 at each step of a delivery and of an action, on both databases; then the normal hub starts on what is left.

Nothing that was answered 200 is lost, duplicates are as few as PROTOCOLS 7.3 allows, and an action never happens twice.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import create_engine, select

from alerthub.store.address import normal_url
from alerthub.store.schema import lanes
from alerthub.toy_agent import ToyAgent
from tests.kit.agent import running_agent
from tests.kit.binaries import wait_until
from tests.kit.forked_hub import ForkedHub
from tests.kit.passed_time import end_leases
from tests.kit.providers.http import Answer, FakeProvider, Request
from tests.kit.providers.pagerduty import FakePagerDuty, Paged
from tests.kit.providers.receiver import FakeReceiver
from tests.kit.providers.slack import FakeSlack, Posted
from tests.kit.served import served
from tests.kit.stores import EACH_DATABASE, database
from tests.kit.verdict import first_texts, violations
from tests.kit.webhooks import alert, webhook

pytestmark = pytest.mark.slow

SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwOdF3aX8hYc4="
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
READ = "request read"       # the one step that only the counterpart knows: it has the request, and kills before it answers
CONFIG = """
server: {{listen: "${{HUB_LISTEN}}"}}
database: {{url: "{database}"}}
sources: [{{name: alertmanager, type: alertmanager}}]
global: {{slack_bot_token: {slack.token}, slack_base_url: "{slack.base_url}", pagerduty_url: "{pagerduty.enqueue_url}"}}
receivers:
  - name: people
    slack_configs: [{{channel: "#alerts"}}]
    pagerduty_configs: [{{routing_key: {key}}}]
targets:
  - {{name: scaler, type: http, url: "{machine.url}/scale", secret: {signing}}}
  - {{name: agent-btc, type: agent, url: "{agent}", secret: {signing}}}
actions:
  - {{name: scale, type: http, target: scaler, deadline: 5s}}
  - {{name: safe-mode, type: safe_mode, direction: tighten, target_label: agent, deadline: 10s}}
route:
  receiver: people
  group_by: [alertname]
  routes:
    - {{matchers: ['alertname="Slow"'], actions: [scale]}}
    - {{matchers: ['alertname="Losing"'], actions: [safe-mode]}}
"""


@dataclass
class Agent(ToyAgent):
    """It obeys first; then `strike` is called, before anybody hears of it."""

    strike: Callable[[], None] | None = None

    def push(self, message_id: str, mode: str, reason: str) -> None:
        super().push(message_id, mode, reason)
        if self.strike is not None:
            self.strike()
            self.strike = None


class Stage:
    """One database and all counterparts; hubs come and go on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.slack, self.pagerduty = FakeSlack(), FakePagerDuty(ROUTING_KEY)
        self.machine, self.agent = FakeReceiver(SIGNING), Agent(name="agent-btc", secret=SIGNING)
        self.answered: dict[str, str] = {}
        self.hub: ForkedHub

    @contextmanager
    def set(self) -> Iterator[Stage]:
        with served(self.slack, self.pagerduty, self.machine), running_agent(self.agent) as running:
            self.hub = ForkedHub(CONFIG.format(database=self.url, slack=self.slack, pagerduty=self.pagerduty, key=ROUTING_KEY,
                                               machine=self.machine, agent=running.url, signing=SIGNING))
            try:
                yield self
            finally:
                self.hub.close()

    def crash(self, name: str, step: str, channel: str = "") -> None:
        """The alert fires at a hub that dies at this step, and is posted until a hub has answered 200; which starts on what
        the first one left, when its leases have ended."""
        self.hub.channel, self.hub.step = channel, "" if step == READ else step
        self.hub.start()
        with ThreadPoolExecutor(1) as sender:
            posted = sender.submit(self.post, name, "firing")
            self.hub.wait_for_death()
            end_leases(self.url)
            self.hub.channel = self.hub.step = ""
            self.hub.start()
            posted.result()
        self.rest()

    def post(self, name: str, status: str) -> None:
        """As Alertmanager does it: again after everything that is not a 200."""
        body = webhook(alert(name, status, agent="agent-btc"))
        wait_until(lambda: self.hub.post(body) == 200, 30, f"{name} is answered 200")
        self.answered[name] = status

    def end(self, name: str) -> None:
        end_leases(self.url)        # and the budgets
        self.post(name, "resolved")
        self.rest()

    def rest(self) -> None:
        """A quiet hub has told everybody everything, and settled every action."""
        wait_until(self.hub.is_quiet, 30, "the hub comes to rest")

    def violations(self) -> list[str]:
        return violations(self.answered, self.hub.incidents(), self.slack, self.pagerduty)

    def told(self, name: str) -> int:
        return len(first_texts(name, self.slack))

    def marked(self) -> list[bool]:
        """Of each attempt to tell Slack that it fires: whether the hub says that it may be a double."""
        attempts = reversed(self.hub.api("deliveries?limit=200")["items"])
        return [one["possible_duplicate"] for one in attempts if one["destination"] == "slack:#alerts"]

    def run(self) -> dict[str, Any]:
        (run,) = self.hub.runs()
        return dict(run)

    def pages(self) -> list[str]:
        return [one["title"] for one in self.hub.incidents() if one["source"] == "alerthub"]


@pytest.fixture(params=EACH_DATABASE)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    with database(request.param, tmp_path) as url, Stage(url).set() as stage:
        yield stage


def strikes(provider: FakeProvider, strike: Callable[[], None]) -> None:
    """The provider does what it is asked for, kills, and then answers nobody. Once."""
    healthy = provider.answer

    def answer(request: Request) -> Answer:
        provider.answer = healthy
        reply = healthy(request)
        strike()
        return reply

    provider.answer = answer


class TestADelivery:
    @pytest.mark.parametrize(("step", "told", "marked"), [
        ("webhook not committed", 1, [False]),
        ("webhook not answered", 1, [False]),
        ("delivery claimed", 1, [False, True]),
        ("request not written", 1, [False, True]),
        (READ, 2, [False, True]),
        ("answer not settled", 2, [False, True]),
        ("delivery settled", 1, [False]),
    ])
    def test_slack_is_told_and_once_more_only_when_nobody_can_know(
            self, stage: Stage, step: str, told: int, marked: list[bool]) -> None:
        if step == READ:
            strikes(stage.slack, stage_strike(stage))
        stage.crash("DiskFull", step, "slack")
        assert (stage.told("DiskFull"), stage.marked()) == (told, marked)
        assert stage.violations() == []
        stage.end("DiskFull")
        assert stage.violations() == []
        assert stage.told("DiskFull") == told
        assert stage.slack.roots[-1].edits == 1

    @pytest.mark.parametrize(("step", "requests"), [
        ("delivery claimed", 1), ("request not written", 1), (READ, 2), ("answer not settled", 2), ("delivery settled", 1)])
    def test_pagerduty_pages_once_whatever_it_is_sent(self, stage: Stage, step: str, requests: int) -> None:
        if step == READ:
            strikes(stage.pagerduty, stage_strike(stage))
        stage.crash("DiskFull", step, "pagerduty")
        assert len(stage.pagerduty.requests) == requests
        stage.end("DiskFull")
        assert stage.violations() == []
        assert not stage.pagerduty.dropped


def stage_strike(stage: Stage) -> Callable[[], None]:
    return lambda: stage.hub.strike()


class TestAnAction:
    @pytest.mark.parametrize(("step", "effects", "state"), [
        ("action started", 0, "unknown"), ("effect not begun", 0, "unknown"), (READ, 1, "unknown"),
        ("outcome not settled", 1, "unknown"), ("action settled", 1, "succeeded")])
    def test_an_effect_is_never_caused_twice_and_doubt_pages_a_person(
            self, stage: Stage, step: str, effects: int, state: str) -> None:
        if step == READ:
            strikes(stage.machine, stage_strike(stage))
        stage.crash("Slow", step)
        run = stage.run()
        assert (run["state"], stage.machine.ids()) == (state, [run["id"]] * effects)
        assert len(stage.machine.effects) == effects
        assert len(stage.pages()) == (1 if state == "unknown" else 0)
        assert stage.told("act by hand") == len(stage.pages())
        assert stage.violations() == []

    @pytest.mark.parametrize("step", ["action started", "effect not begun", READ, "outcome not settled", "action settled"])
    def test_the_agent_is_safe_in_the_end_and_was_asked_once(self, stage: Stage, step: str) -> None:
        if step == READ:
            stage.agent.strike = stage_strike(stage)
        stage.crash("Losing", step)
        run = stage.run()
        assert (stage.agent.mode, [push.id for push in stage.agent.pushes]) == ("safe", [run["id"]])
        assert (run["state"], run["report"]["verified"], stage.pages()) == ("succeeded", "safe", [])
        stage.end("Losing")
        assert stage.agent.mode == "safe"
        assert stage.violations() == []


REPLICAS_CONFIG = """
server: {{listen: "${{HUB_LISTEN}}"}}
database: {{url: "{database}"}}
sources: [{{name: alertmanager, type: alertmanager}}]
receivers: [{{name: machine, webhook_configs: [{{url: "{machine.url}/in", secret: {signing}}}]}}]
route: {{receiver: machine, group_by: [alertname]}}
"""
ALERTS = 40


class HeldReceiver(FakeReceiver):
    """It does what it is asked for at once, and answers only when it is released."""

    async def __aenter__(self) -> FakeProvider:
        self.loop, self.released = asyncio.get_running_loop(), asyncio.Event()
        return await super().__aenter__()

    def release(self) -> None:
        self.loop.call_soon_threadsafe(self.released.set)

    async def _reply(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        await self.released.wait()
        await super()._reply(writer, answer)


def held_by(url: str, hub: ForkedHub) -> int:
    """How many lanes this replica has under way."""
    engine = create_engine(normal_url(url))
    try:
        with engine.begin() as connection:
            owned = lanes.c.lease_until.is_not(None) & lanes.c.owner.contains(f"/{hub.pid}/")
            return len(connection.execute(select(lanes.c.id).where(owned)).all())
    finally:
        engine.dispose()


@pytest.mark.postgres
def test_one_of_two_replicas_is_killed_in_the_middle_of_its_sending(tmp_path: Path) -> None:
    """Behind a load balancer: what one does not answer, the other is asked."""
    machine = HeldReceiver(SIGNING)
    names = [f"Host{number:02}Down" for number in range(ALERTS)]
    with database("postgres", tmp_path) as url, served(machine), ExitStack() as stack:
        config = REPLICAS_CONFIG.format(database=url, machine=machine, signing=SIGNING)
        first, second = (stack.enter_context(ForkedHub(config)) for _ in range(2))

        def post(number: int) -> None:
            hubs = itertools.cycle((first, second) if number % 2 else (second, first))
            wait_until(lambda: next(hubs).post(webhook(alert(names[number]))) == 200, 30, f"{names[number]} is answered 200")

        with ThreadPoolExecutor(4) as senders:
            posted = [senders.submit(post, number) for number in range(ALERTS // 2)]
            wait_until(lambda: held_by(url, first) and held_by(url, second), 30, "both have something under way")
            posted += [senders.submit(post, number) for number in range(ALERTS // 2, ALERTS)]
            lost, pid = held_by(url, first), first.pid
            first.strike()
            first.wait_for_death()
            for one in posted:
                one.result()
        ended = end_leases(url, f"/{pid}/")
        machine.release()
        wait_until(second.is_quiet, 60, "the other has done all of it")
        assert [one["title"] for one in sorted(second.incidents(), key=lambda one: one["title"])] == names
        assert sorted(body["data"]["incident"]["title"] for body in machine.effects.values()) == names
        times = Counter(machine.ids())
        assert max(times.values()) <= 2
        assert 1 <= lost <= ended
        assert sum(times.values()) - ALERTS <= ended
        assert machine.refused == []
        doubles = {one for one, count in times.items() if count == 2}
        marks = {request.headers["webhook-id"]: request.json()["data"]["possible_duplicate"] for request in machine.requests}
        assert all(marks[one] for one in doubles)
        assert second.api("deliveries?state=sending")["items"] == []


class TestTheJudge:
    """It must be able to say no."""

    def seen(self, *texts: str, paged: int = 1) -> tuple[FakeSlack, FakePagerDuty]:
        slack, pagerduty = FakeSlack(), FakePagerDuty(ROUTING_KEY)
        for text in texts:
            sent = {"channel": "#alerts", "text": text}
            slack.posted.append(Posted("1.0", sent))
            slack.requests.append(Request("POST", "/api/chat.postMessage", {}, json.dumps(sent).encode()))
        for number in range(paged):
            pagerduty.incidents[str(number)] = Paged("triggered", events=[{"payload": {"summary": "DiskFull"}}])
        return slack, pagerduty

    OPEN: ClassVar = {"title": "DiskFull", "status": "triggered", "source": "alertmanager"}
    TOLD, MARKED = "DiskFull FIRING", "DiskFull FIRING This may be a duplicate"

    @pytest.mark.parametrize(("texts", "paged", "incidents", "broken"), [
        ([TOLD], 1, [OPEN], ""),
        ([TOLD, MARKED], 1, [OPEN], ""),
        ([], 1, [OPEN], "never told"),
        ([TOLD, TOLD], 1, [OPEN], "not marked"),
        ([TOLD, MARKED, MARKED], 1, [OPEN], "told 3 times"),
        (["DiskFull RESOLVED"], 1, [OPEN], "does not say FIRING"),
        ([TOLD], 0, [OPEN], "PagerDuty paged []"),
        ([TOLD], 2, [OPEN], "PagerDuty paged [1, 1]"),
        ([TOLD], 1, [], "its incidents are []"),
        ([TOLD], 1, [OPEN, OPEN], "its incidents are"),
        ([TOLD], 1, [{**OPEN, "status": "resolved"}], "its incidents are"),
        ([TOLD], 1, [OPEN, {**OPEN, "title": "Other"}], "nobody sent it"),
    ])
    def test_it_names_what_is_broken(self, texts: list[str], paged: int, incidents: list[dict[str, str]], broken: str) -> None:
        found = violations({"DiskFull": "firing"}, incidents, *self.seen(*texts, paged=paged))
        assert [broken in one for one in found] == ([True] if broken else []), found
