"""How soon an agent is safe, and how soon a person is paged where it cannot be, while a thousand messages wait for Slack."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx

from alerthub.clock import SystemClock
from tests.bench.bodies import Fleet, body
from tests.bench.provider import Provider, SlackProvider
from tests.bench.servers import Server
from tests.kit.binaries import free_port

CLOCK = SystemClock()
ALERTS = 150                        # that make the agent safe
UNKNOWN, GONE = 20, 5               # that name no target, and an agent that is not there
SLACK_CHANNELS, INCIDENTS = 100, 10     # 1,000 messages; more incidents in one channel would become one summary
SLACK_SECONDS = 8.0                 # that Slack takes for each
GONE_SECONDS = 2                    # how long the hub tries to reach an agent
PAGER_SECONDS = 0.6                 # between two pages: more often PagerDuty must not be told
CONFIG = """
server: {{listen: "127.0.0.1:{port}"}}
database: {{url: "sqlite:///hub.db"}}
log: {{level: warning}}
sources: [{{name: alertmanager, type: alertmanager}}]
global: {{slack_base_url: "{slack}", slack_bot_token: xoxb-bench, pagerduty_url: "{pager}"}}
receivers:
  - name: alerts
    slack_configs: [{channels}]
  - {{name: risk, slack_configs: [{{channel: "#risk"}}]}}
  - {{name: pager, pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef}}]}}
targets:
  - {{name: agent, type: agent, url: "http://127.0.0.1:{agent}"}}
{gone}
actions:
  - {{name: safe-mode, type: safe_mode, direction: tighten, target_label: agent, deadline: {seconds}s}}
route:
  receiver: alerts
  group_by: [alertname, instance]
  routes:
    - {{matchers: ['alertname="Losing"'], receiver: risk, actions: [safe-mode]}}
    - {{matchers: ['alertname="AlerthubActionFailed"'], receiver: pager}}
    - {{matchers: ['alertname=~"Alerthub.*"'], receiver: risk}}
"""


class SlowSlack(SlackProvider):
    """It takes its time for each request, and takes one on a connection."""

    answer = SlackProvider.answer.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)

    async def __aenter__(self) -> SlowSlack:
        self.closing = asyncio.Event()
        await super().__aenter__()
        return self

    async def __aexit__(self, *how: object) -> None:
        self.closing.set()
        await super().__aexit__(*how)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.add(asyncio.current_task())
        with suppress(TimeoutError):
            await asyncio.wait_for(self.closing.wait(), SLACK_SECONDS)
        await super().serve(reader, writer)


TAKEN = b'{"status": "success", "message": "Event processed", "dedup_key": "x"}'


class Pager(Provider):
    """PagerDuty. A mark is in the name of the target."""

    answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: %d\r\ncontent-type: application/json\r\n\r\n%s" % (len(TAKEN), TAKEN)


class GuardedHub(Server):
    ready_path = "/readyz"

    def __init__(self, slack: str, pager: str, agent: int) -> None:
        super().__init__()
        channels = ", ".join(f'{{channel: "#alerts-{number}"}}' for number in range(SLACK_CHANNELS))
        gone = "\n".join(f'  - {{name: {gone_name(number)}, type: agent, url: "http://127.0.0.1:{free_port()}"}}'
                         for number in range(GONE))
        (self.folder / "alerthub.yml").write_text(CONFIG.format(
            port=self.port, slack=slack, pager=pager, agent=agent, channels=channels, gone=gone, seconds=GONE_SECONDS))

    def command(self) -> list[str]:
        return [sys.executable, "-m", "alerthub", "serve"]

    def waiting(self) -> int:
        """Messages that Slack has not taken yet."""
        conn = sqlite3.connect(f"file:{self.folder}/hub.db?mode=ro", uri=True)
        try:
            return int(conn.execute("select count(*) from lanes where channel = 'slack' and told_seq = 0").fetchone()[0])
        finally:
            conn.close()


class Agent(Server):
    ready_path = "/mode"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.bench.agent", str(self.port)]



def gone_name(number: int) -> str:
    return f"mark-{10_000 + number}-"


def losing(number: int, agent: str) -> bytes:
    alert: dict[str, Any] = Fleet(3, 0, 1).rendered(number, "firing")
    alert["labels"] |= {"alertname": "Losing", "agent": agent}
    return body([alert])


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[GuardedHub, Pager, httpx.AsyncClient]]:
    """A hub with a thousand messages that wait for Slack."""
    async with SlowSlack() as slack, Pager() as pager, httpx.AsyncClient(trust_env=False, timeout=30) as http:
        agent = Agent()
        await asyncio.to_thread(agent.__enter__)
        hub = GuardedHub(slack.url, pager.url, agent.port)
        try:
            await asyncio.to_thread(hub.__enter__)
            storm = [Fleet(5, 0, 1).rendered(number, "firing") for number in range(INCIDENTS)]
            (await http.post(hook(hub), content=body(storm))).raise_for_status()
            http.base_url = f"http://127.0.0.1:{agent.port}"
            yield hub, pager, http
        finally:
            hub.process.kill()      # it would wait for Slack
            await asyncio.to_thread(hub.__exit__)
            await asyncio.to_thread(agent.__exit__)


def hook(hub: Server) -> str:
    return f"http://127.0.0.1:{hub.port}/hooks/alertmanager"


async def safe() -> None:
    async with opened() as (hub, pager, http):
        before = hub.waiting()
        obeyed, reported = await made_safe(hub, http)
        print(f"\n{ALERTS} alerts, one after the other, while {before} to {hub.waiting()} messages wait for Slack")
        print(f"Alert sent to the agent has obeyed:      {figures(obeyed)}")
        print(f"Alert sent to the agent reports safe:    {figures(reported)} (limits 100 and 500)", flush=True)
        unknown = [await paged(hub, http, pager, number, f"mark-{number}-") for number in range(UNKNOWN)]
        print(f"Alert sent to the page at PagerDuty, no such agent: {figures(unknown)} (limit 5,000)")
        gone = [await paged(hub, http, pager, 10_000 + number, gone_name(number)) for number in range(GONE)]
        print(f"The same, the agent is gone and is tried for {GONE_SECONDS} s: {figures(gone)} (limit 5,000); "
              f"{hub.waiting()} messages wait for Slack")


async def made_safe(hub: Server, http: httpx.AsyncClient) -> tuple[list[float], list[float]]:
    obeyed, reported = [], []
    for number in range(ALERTS):
        (await http.post("/mode", json={"mode": "trading"}, headers={"webhook-id": f"reset-{number}"})).raise_for_status()
        began = time.monotonic()
        (await http.post(hook(hub), content=losing(number, "agent"))).raise_for_status()
        said = (await http.get("/safe")).json()
        obeyed.append(said["obeyed"] - began)
        reported.append(said["reported"] - began)
    return obeyed, reported


async def paged(hub: Server, http: httpx.AsyncClient, pager: Pager, number: int, agent: str) -> float:
    await CLOCK.sleep(PAGER_SECONDS)
    began = time.monotonic()
    (await http.post(hook(hub), content=losing(100_000 + number, agent))).raise_for_status()
    while number not in pager.arrivals:
        pager.changed.clear()
        await asyncio.wait_for(pager.changed.wait(), 30)
    return pager.arrivals[number] - began


def figures(seconds: Sequence[float]) -> str:
    times = sorted(1000 * one for one in seconds)
    return f"median {times[len(times) // 2]:.1f} ms, p99 {times[int(len(times) * 0.99)]:.1f} ms, max {times[-1]:.1f} ms"
