"""Three replicas on one PostgreSQL share the work; one is killed in the midst of it, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from alerthub.engine.worker import CHANNEL_SLOTS
from tests.kit.binaries import wait_until
from tests.kit.forked_hub import ForkedHub
from tests.kit.hub_process import HubProcess
from tests.kit.passed_time import end_leases
from tests.kit.providers.http import Answer, FakeProvider
from tests.kit.served import served
from tests.kit.stores import database
from tests.kit.webhooks import alert, webhook

pytestmark = [pytest.mark.slow, pytest.mark.postgres]
PLACES = 3 * CHANNEL_SLOTS - 6      # more than two replicas can have under way at once
SECONDS = 30.0
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwOdF3aX8hYc4="
CONFIG = """
server: {{listen: "${{HUB_LISTEN}}"}}
database: {{url: "{database}"}}
sources: [{{name: alertmanager, type: alertmanager}}]
receivers:
  - name: places
    webhook_configs:
{places}
route: {{receiver: places, group_by: [alertname]}}
"""


class Gate(FakeProvider):
    """Reads everything at once, and answers nobody before it is opened."""

    async def __aenter__(self) -> FakeProvider:
        self.loop, self.opened = asyncio.get_running_loop(), asyncio.Event()
        return await super().__aenter__()

    async def _reply(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        await self.opened.wait()
        await super()._reply(writer, answer)

    def open(self) -> None:
        """From the test's own thread."""
        self.loop.call_soon_threadsafe(self.opened.set)

    def told(self) -> Counter[str]:
        return Counter(request.path for request in self.requests)


class Replicas:
    def __init__(self, url: str, gate: Gate, ending: ExitStack) -> None:
        self.url, self.gate = url, gate
        places = "\n".join(f'      - {{url: "{gate.url}/{number}", secret: {SIGNING}}}' for number in range(PLACES))
        self.hubs = [ForkedHub(CONFIG.format(database=url, places=places)) for _ in range(3)]
        for hub in self.hubs:
            ending.callback(hub.close)
            hub.start()
            wait_until(lambda hub=hub: hub.health()["replicas"] == "healthy", SECONDS, "it hears the others")


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    gate = Gate()
    with database("postgres", tmp_path) as url, served(gate), ExitStack() as ending:
        yield Replicas(url, gate, ending)


def sent(hub: HubProcess) -> float:
    return hub.metric("alerthub_deliveries_total", outcome="sent")


def test_all_of_them_deliver_and_what_a_killed_one_held_is_taken_over(replicas: Replicas) -> None:
    gate, (dies, *live) = replicas.gate, replicas.hubs
    assert dies.post(webhook(alert("DiskFull"))) == 200
    wait_until(lambda: len(gate.requests) > 2 * CHANNEL_SLOTS, SECONDS, "more is under way than two replicas can have")
    assert dies.process is not None
    pid = dies.process.pid
    dies.kill()
    gate.open()
    wait_until(lambda: end_leases(replicas.url, f"/{pid}/"), SECONDS, "what it held can be taken over")
    wait_until(lambda: all(hub.is_quiet() for hub in live), SECONDS, "the others come to rest")
    told = gate.told()
    assert len(told) == PLACES                                                          # nothing is lost
    assert max(told.values()) <= 2                                                      # PROTOCOLS 7.3
    assert sum(count - 1 for count in told.values()) <= CHANNEL_SLOTS                   # and doubled is only what was under way
    assert all(sent(hub) for hub in live)
    assert sum(sent(hub) for hub in live) == PLACES
    assert {one["state"] for one in live[0].api("deliveries?limit=200")["items"]} == {"sent", "unknown"}
