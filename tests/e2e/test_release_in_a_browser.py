"""Two people in two browsers let a target act again, when Alertmanager's own list says that what made it safe is over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.kit.agent import RunningAgent, running_agent
from tests.kit.binaries import wait_until
from tests.kit.browser import visit
from tests.kit.hub_process import HubProcess
from tests.kit.providers.http import Answer, FakeProvider, Request
from tests.kit.served import served
from tests.kit.webhooks import alert, webhook

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHARED = "the-shared-token-of-all"
TOKENS = {name: f"own-token-of-{name}-0001" for name in ("ayse", "mehmet", "omer")}
CONFIG = f"""
server: {{listen: '${{HUB_LISTEN}}', api_token: {SHARED}}}
sources: [{{name: alertmanager, type: alertmanager, reconcile: {{urls: ["ALERTMANAGER"], interval: 1s}}}}]
people:
  - {{name: ayse, role: ml, api_token: {TOKENS["ayse"]}}}
  - {{name: mehmet, role: ml, api_token: {TOKENS["mehmet"]}}}
  - {{name: omer, role: responder, api_token: {TOKENS["omer"]}}}
receivers: [{{name: console, console_configs: [{{}}]}}]
targets:
  - name: agent-btc
    type: agent
    url: "AGENT"
    release: {{mode: trading, clear_for: 0, approve: {{role: ml, count: 2, within: 15m}}}}
actions: [{{name: safe-mode, type: safe_mode, direction: tighten, target_label: agent}}]
route: {{receiver: console, group_by: [alertname], actions: [safe-mode]}}
"""
FALLS = {"agent": "agent-btc", "severity": "critical"}


class Listing:
    """What an Alertmanager says that has run for long: one that has just started proves nothing."""

    def __init__(self) -> None:
        self.alerts = [{"labels": {"alertname": "RewardNegative", **FALLS}}]

    def __call__(self, request: Request) -> Answer:
        if request.path.startswith("/api/v2/status"):
            return Answer(body={"uptime": (datetime.now(UTC) - timedelta(hours=1)).isoformat()})
        return Answer(body=self.alerts)


@dataclass
class Scene:
    hub: HubProcess
    agent: RunningAgent
    listing: Listing
    browser: Browser

    @contextmanager
    def person(self, name: str) -> Iterator[Page]:
        """At the page of actions, with a browser of their own."""
        with visit(self.browser, self.hub.url, password=TOKENS[name]) as page:
            page.goto("/actions")
            yield page


@pytest.fixture
def scene(browser: Browser) -> Iterator[Scene]:
    listing = Listing()
    alertmanager = FakeProvider(listing)
    with running_agent() as agent, served(alertmanager):
        config = CONFIG.replace("AGENT", agent.url).replace("ALERTMANAGER", alertmanager.url)
        with HubProcess(config, api_token=SHARED) as hub:
            yield Scene(hub, agent, listing, browser)


def test_a_latch_is_released_by_two_people_when_its_alert_is_proved_to_be_over(scene: Scene) -> None:
    assert scene.hub.post(webhook(alert("RewardNegative", **FALLS))) == 200
    wait_until(lambda: scene.agent.agent.mode == "safe", 30, "the agent is safe")
    with scene.person("ayse") as ayse, scene.person("mehmet") as mehmet, scene.person("omer") as omer:
        expect(ayse.locator("#held")).to_contain_text("which latched it, is still open")
        expect(ayse.get_by_role("link", name="Ask for its release…")).to_have_count(0)
        scene.listing.alerts.clear()
        assert scene.hub.post(webhook(alert("RewardNegative", "resolved", **FALLS))) == 200
        expect(ayse.locator("#held")).to_contain_text("Nothing speaks against its release", timeout=30_000)
        assert scene.agent.agent.mode == "safe", "the end of the alert releases nothing"

        omer.get_by_role("link", name="Ask for its release…").click()
        omer.get_by_label("Why").fill("the model of yesterday is back")
        omer.get_by_role("button", name="Ask").click()
        asks = "omer asks for its release: the model of yesterday is back"
        for page in (ayse, mehmet):     # by itself
            expect(page.locator("#held")).to_contain_text(asks, timeout=30_000)
        assert omer.get_by_role("link", name="Agree to the release…").count() == 0
        for left, page in ((1, ayse), (0, mehmet)):
            assert scene.agent.agent.mode == "safe", f"{left + 1} more must agree"
            page.get_by_role("link", name="Agree to the release…").click()
            page.get_by_role("button", name="I agree").click()
            expect(page.locator(".said")).to_contain_text("1 more of ml must agree" if left else "is being released")
        wait_until(lambda: scene.agent.agent.mode == "trading", 30, "the agent may act again")
        expect(omer.locator("#held")).to_contain_text("No target is latched", timeout=30_000)
