"""A storm through the running hub to a Slack that takes one message a second: nothing is lost, nobody is flooded."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kit.binaries import wait_until
from tests.kit.hub_process import HubProcess
from tests.kit.providers.http import Answer, Request
from tests.kit.providers.slack import FakeSlack
from tests.kit.served import served
from tests.kit.webhooks import alert, webhook

pytestmark = pytest.mark.slow

INCIDENTS, HOSTS, TOGETHER = 400, 5, 4      # 2,000 alerts, 20 in a webhook
JITTER = 0.5        # seconds: what leaves a second apart does not arrive a second apart, but it does on average
NAMES = [f"Storm{number:04}" for number in range(INCIDENTS)]
MEMORY = 200        # MiB
CONFIG = """
server: {{listen: "${{HUB_LISTEN}}"}}
database: {{url: "sqlite:///hub.db"}}
sources: [{{name: alertmanager, type: alertmanager}}]
global: {{slack_bot_token: {slack.token}, slack_base_url: "{slack.base_url}"}}
receivers: [{{name: alerts, slack_configs: [{{channel: "#alerts"}}]}}]
route: {{receiver: alerts, group_by: [alertname]}}
"""


class StrictSlack(FakeSlack):
    """One message a second and channel (PROTOCOLS 2.7): what comes too early is answered 429."""

    def __init__(self) -> None:
        super().__init__()
        self.free_at = 0.0
        self.refused = 0
        self.answer = self._metered

    def _metered(self, request: Request) -> Answer:
        now = time.monotonic()
        if request.path.endswith("chat.postMessage"):
            if now < self.free_at - JITTER:
                self.refused += 1
                return Answer(429, headers={"retry-after": "1"}, body={"ok": False, "error": "ratelimited"})
            self.free_at = max(now, self.free_at) + 1
        return self._answer(request)


def named(slack: FakeSlack) -> Counter[str]:
    """How often each incident is named in the channel."""
    return Counter(name for message in slack.roots for name in NAMES if name in message.text)


def storm(hub: HubProcess) -> Counter[int]:
    """All of it, eight senders at once, each webhook until it is taken; how often which status was answered."""
    groups = [NAMES[start:start + TOGETHER] for start in range(0, INCIDENTS, TOGETHER)]

    def post(names: list[str]) -> list[int]:
        body = webhook(*(alert(name, host=f"host-{host}", severity="warning") for name in names for host in range(HOSTS)))
        answers = [hub.post(body)]
        while answers[-1] != 200:
            answers.append(hub.post(body))
        return answers

    with ThreadPoolExecutor(8) as senders:
        return Counter(status for answers in senders.map(post, groups) for status in answers)


def test_a_storm_is_told_in_summaries_that_name_every_incident() -> None:
    slack = StrictSlack()
    with served(slack), HubProcess(CONFIG.format(slack=slack)) as hub:
        answers = storm(hub)
        assert set(answers) <= {200, 503}
        incidents = hub.incidents()
        assert {one["title"]: (one["status"], one["firing"]) for one in incidents} == dict.fromkeys(NAMES, ("triggered", HOSTS))
        wait_until(lambda: len(named(slack)) == INCIDENTS, 60, "every incident is named in Slack")
        wait_until(hub.is_quiet, 30, "the hub has no more to say")
        assert named(slack) == dict.fromkeys(NAMES, 1)
        assert slack.refused == 0
        assert 400 / 40 <= len(slack.roots) <= 60       # summaries, and the few that came before it was a storm
        assert hub.metric("alerthub_deliveries_total", outcome="rate_limited") == 0
        assert hub.metric("alerthub_dead_letters_total") == hub.metric("alerthub_errors_total") == 0
        assert memory(hub) < MEMORY


def memory(hub: HubProcess) -> float:
    """MiB at its highest."""
    assert hub.process is not None
    with open(f"/proc/{hub.process.pid}/status", encoding="ascii") as status:
        (high,) = [line for line in status if line.startswith("VmHWM")]
    return int(high.split()[1]) / 1024
