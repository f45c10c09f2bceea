"""The rooms in a real browser: two people agree, a latch is released, a dead letter is sent again, a shift is swapped; on a
phone, and without a script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.kit.agent import RunningAgent, running_agent
from tests.kit.binaries import wait_until
from tests.kit.browser import PHONE, is_wider_than_its_window, visit
from tests.kit.hub_process import HubProcess
from tests.kit.webhooks import alert, webhook

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SHARED = "the-shared-token-of-all"
TOKENS = {name: f"own-token-of-{name}-0001" for name in ("ayse", "mehmet", "omer", "emre")}
CONFIG = f"""
server: {{listen: '${{HUB_LISTEN}}', api_token: {SHARED}}}
sources: [{{name: alertmanager, type: alertmanager}}]
global: {{slack_bot_token: xoxb-none, slack_base_url: "AGENT/slack/"}}
people:
  - {{name: ayse, role: ml, api_token: {TOKENS["ayse"]}}}
  - {{name: mehmet, role: ml, api_token: {TOKENS["mehmet"]}}}
  - {{name: omer, role: responder, api_token: {TOKENS["omer"]}}}
  - {{name: emre, role: admin, api_token: {TOKENS["emre"]}}}
schedules:
  - {{name: primary, time_zone: Europe/Istanbul, layers: [{{rotation: weekly, handoff: "mon 09:00", people: [ayse, mehmet]}}]}}
receivers: [{{name: console, console_configs: [{{}}]}}, {{name: gone, slack_configs: [{{channel: "#gone"}}]}}]
targets:
  - {{name: drl, type: http, url: "AGENT/mode"}}
  - name: agent-btc
    type: agent
    url: "AGENT"
    release: {{mode: trading, clear_for: 1m, approve: {{role: ml, count: 2, within: 15m}}}}
actions:
  - {{name: retrain, type: http, target: drl, approve: {{role: ml, count: 2, within: 15m}}}}
  - {{name: safe-mode, type: safe_mode, direction: tighten, target_label: agent}}
heartbeats: [{{name: nightly, interval: 1d, receiver: console, actions: [{{name: safe-mode, targets: [agent-btc]}}]}}]
route:
  receiver: console
  group_by: [alertname]
  routes:
    - {{matchers: ['alertname="Drift"'], receiver: console, actions: [retrain]}}
    - {{matchers: ['alertname="RewardNegative"'], receiver: console, actions: [safe-mode]}}
    - {{matchers: ['alertname=~"Lost.*"'], receiver: gone}}
"""
PAGES = ["/oncall", "/oncall?month=2027-01", "/actions", "/silences", "/silences?matchers=a%3D%22b%22", "/deliveries",
         "/deliveries/log", "/deliveries/1", "/heartbeats"]


@dataclass
class Scene:
    hub: HubProcess
    agent: RunningAgent
    browser: Browser

    @contextmanager
    def person(self, name: str, **more: Any) -> Iterator[Page]:
        """This person with a browser of their own."""
        with visit(self.browser, self.hub.url, password=TOKENS[name], **more) as page:
            yield page

    def latch(self) -> str:
        return str(next((one["state"] for one in self.hub.api("latches")["items"]), "armed"))


@pytest.fixture(scope="module")
def scene(browser: Browser) -> Iterator[Scene]:
    with running_agent() as agent, HubProcess(CONFIG.replace("AGENT", agent.url), api_token=SHARED) as hub:
        yield Scene(hub, agent, browser)


def reload_until(page: Page, words: str) -> None:
    wait_until(lambda: page.reload() and words in page.inner_text("main"), 20, f"the page says {words!r}")


def test_two_people_in_two_browsers_let_an_action_run(scene: Scene) -> None:
    assert scene.hub.post(webhook(alert("Drift", severity="critical"))) == 200
    wait_until(lambda: scene.hub.api("actions/runs?state=awaiting_approval")["items"], 20, "a run waits")
    with scene.person("ayse") as first, scene.person("mehmet") as second:
        for page in (first, second):
            page.get_by_role("link", name="Actions").click()
        first.get_by_role("link", name="Approve…").click()
        expect(first.get_by_text("Action: retrain (type http, neutral)")).to_be_visible()
        assert scene.hub.api("actions/runs?state=awaiting_approval")["items"], "to look is not to agree"
        first.get_by_role("button", name="I agree").click()
        expect(first.locator(".said")).to_contain_text("You agree to retrain on drl: 1 more of ml must agree.")
        expect(first.get_by_role("link", name="Approve…")).to_have_count(0)
        expect(second.locator(".card.waits")).to_contain_text("Agreed: ayse.")      # by itself: nobody has loaded it again
        second.get_by_role("link", name="Approve…").click()
        second.get_by_role("button", name="I agree").click()
        expect(second.locator(".said")).to_contain_text("it starts now")
        wait_until(lambda: not scene.hub.api("actions/runs?state=awaiting_approval")["items"], 20, "it does not wait any more")
        expect(first.get_by_text("No action waits for anybody's word.")).to_be_visible()


def test_a_latched_target_is_released_by_a_person_and_not_by_the_end_of_the_alert(scene: Scene) -> None:
    assert scene.hub.post(webhook(alert("RewardNegative", severity="critical", agent="agent-btc"))) == 200
    wait_until(lambda: scene.agent.agent.mode == "safe", 20, "the agent is safe")
    assert scene.hub.post(webhook(alert("RewardNegative", "resolved", severity="critical", agent="agent-btc"))) == 200
    with scene.person("omer") as omer, scene.person("emre") as emre:
        for page in (omer, emre):
            page.goto("/actions")
            reload_until(page, "cannot be asked whether")
        expect(omer.get_by_role("link", name="Override…")).to_have_count(0)
        expect(omer.get_by_role("link", name="Ask for its release…")).to_have_count(0)
        assert scene.latch() == "safe"
        emre.get_by_role("link", name="Override…").click()
        expect(emre.get_by_text("Nobody else is asked. Your name and your reason stand in the record.")).to_be_visible()
        emre.get_by_role("button", name="Override").click()     # the browser itself asks for the reason
        assert scene.latch() == "safe"
        emre.get_by_label("Why").fill("all positions are closed")
        emre.get_by_role("button", name="Override").click()
        wait_until(lambda: scene.agent.agent.mode == "trading", 20, "the agent is told that it may act again")
        reload_until(emre, "No target is latched: none is kept safe.")
        assert scene.latch() == "released"


def test_a_freeze_is_at_once_and_stays_until_it_is_lifted_in_two_steps(scene: Scene) -> None:
    with scene.person("omer") as omer, scene.person("emre") as emre:
        omer.goto("/actions")
        omer.get_by_text("Freeze: nothing but what makes safe").click()
        omer.get_by_label("Why").fill("the exchange <b>is</b> down")
        omer.get_by_role("button", name="Freeze").click()
        expect(omer.locator(".card.bad")).to_contain_text("omer froze all actions")
        expect(omer.locator(".card.bad")).to_contain_text("the exchange <b>is</b> down")
        emre.goto("/actions")
        emre.get_by_role("link", name="Lift…").click()
        emre.get_by_role("button", name="Lift the freeze").click()
        expect(emre.locator(".said")).to_contain_text("All actions are not frozen any more.")


def test_a_dead_letter_is_sent_again(scene: Scene) -> None:
    """There is no Slack at that address: it says so at once, and the message is given up."""
    assert scene.hub.post(webhook(alert("Lost"))) == 200
    wait_until(lambda: scene.hub.api("deliveries?dead_letter=1")["items"], 30, "a message is given up")
    with scene.person("emre") as page:
        page.get_by_role("link", name="Deliveries").click()
        expect(page.get_by_role("cell", name=re.compile("#[0-9]+ Lost"))).not_to_have_count(0)
        attempts = len(scene.hub.api("deliveries?limit=200")["items"])
        page.get_by_role("button", name="Send again").first.click()
        expect(page.locator(".said")).to_contain_text("1 dead letter is sent again.")
        wait_until(lambda: len(scene.hub.api("deliveries?limit=200")["items"]) > attempts, 20, "it is tried again")


def test_a_dead_letter_comes_to_a_page_that_is_open(scene: Scene) -> None:
    with scene.person("emre") as page:
        page.goto("/deliveries")
        expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()
        assert scene.hub.post(webhook(alert("LostToo"))) == 200
        given_up = page.get_by_role("row").filter(has=page.get_by_role("button", name="Send again"))
        expect(given_up.filter(has_text="LostToo")).to_be_visible()


def test_who_takes_over_is_seen_with_the_next_beat_and_nothing_moves_under_whoever_reads_on(scene: Scene) -> None:
    """An override is no news of an incident. It is heard of every 15 s."""
    with scene.person("omer") as top, scene.person("omer", size=PHONE) as further_down:
        for page in (top, further_down):
            page.goto("/oncall")
            expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()
        further_down.evaluate("window.scrollTo({top: 400})")
        before = further_down.locator("#overrides").bounding_box()
        answer = httpx.post(f"{scene.hub.url}/api/v1/schedules/primary/overrides", headers={"authorization": f"Bearer {SHARED}"},
                            json={"person": "emre", "starts_at": "2027-01-04T09:00", "ends_at": "2027-01-04T10:00"})
        assert answer.status_code == 200
        expect(top.locator("#overrides")).to_contain_text("emre", timeout=25_000)
        further_down.get_by_role("button", name="1 change, show").wait_for(timeout=25_000)
        assert further_down.locator("#overrides").bounding_box() == before
        further_down.get_by_role("button", name="1 change, show").click()
        expect(further_down.locator("#overrides")).to_contain_text("emre")
        further_down.get_by_role("button", name="Remove").click()
        expect(further_down.locator("#overrides")).not_to_contain_text("emre")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_shift_is_swapped_from_the_calendar_and_given_back(scene: Scene, scripts: bool) -> None:
    with scene.person("omer", scripts=scripts, size=PHONE) as page:
        page.goto("/oncall")
        page.get_by_role("link", name="swap").nth(3).click()
        page.get_by_label("Who takes over").select_option("emre")
        page.get_by_role("button", name="Take over").click()
        expect(page.locator(".said")).to_contain_text("emre is on call instead of")
        expect(page.locator(".swapped").first).to_contain_text("emre")
        page.get_by_role("button", name="Remove").click()
        expect(page.locator(".said")).to_contain_text("Removed: emre is not on call by that override any more")
        expect(page.locator(".swapped")).to_have_count(0)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_what_a_silence_covers_is_seen_before_it_is_made(scene: Scene, scripts: bool) -> None:
    name = f"Noisy{scripts}"
    assert scene.hub.post(webhook(alert(name))) == 200
    with scene.person("omer", scripts=scripts) as page:
        page.get_by_role("link", name="Silences").click()
        page.get_by_label("What it covers").fill(f'alertname="{name}"')
        page.get_by_role("button", name="Show what it covers").click()
        expect(page.locator("#preview")).to_contain_text("1 incident falls silent")
        page.get_by_role("button", name="Silence it").click()
        expect(page.locator(".said")).to_contain_text("holds until")
        page.get_by_role("button", name="End it now").first.click()
        expect(page.locator(".said")).to_contain_text("is over")


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_need_not_scroll_sideways(scene: Scene, path: str) -> None:
    assert scene.hub.post(webhook(alert("W" * 150, agent="x" * 150))) == 200
    with scene.person("emre", size=PHONE) as page:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200
        assert not is_wider_than_its_window(page)
