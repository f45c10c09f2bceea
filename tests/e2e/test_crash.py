"""kill -9 at each step of a delivery and of an action, on both databases; then the normal hub starts on what is left.

Nothing that was answered 200 is lost, duplicates are as few as PROTOCOLS 7.3 allows, and an action never happens twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alerthub.toy_agent import ToyAgent
from tests.kit.agent import running_agent
from tests.kit.binaries import wait_until
from tests.kit.forked_hub import ForkedHub
from tests.kit.passed_time import end_leases
from tests.kit.providers.http import Answer, FakeProvider, Request
from tests.kit.providers.pagerduty import FakePagerDuty
from tests.kit.providers.receiver import FakeReceiver
from tests.kit.providers.slack import FakeSlack
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
