"""People click: how soon the message shows it, and how soon the provider has its answer while a storm of alerts comes in."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from alerthub.clock import SystemClock
from alerthub.domain.command import Token, Verb
from tests.bench.bodies import Fleet, body
from tests.bench.provider import SlackProvider
from tests.bench.servers import ClickedHub
from tests.kit.providers import pagerduty, slack_people

CLOCK = SystemClock()
INCIDENTS = 500
PER_SECOND, SECONDS = 50, 10
STORM_ALERTS, STORM_WEBHOOKS = 10, 100      # 1,000 alerts, an incident each
STORMS = 3                                  # one after the other
STORM_SECONDS = 6                           # of clicks: before the storms, in them, and while their messages are on their way
LAST_SHOWN = 5.0                            # seconds after the last click
# The open incidents have been told: one message each in the channel, named by the lane. Posting them would take 500 s, because
# Slack takes one message a second.
TOLD = """update lanes set told_seq = want_seq, told_episode = 1, attempt = 1, due_at = null, lease_until = null, owner = null,
          receipt = json_object('channel', 'C012AB3CD', 'ts', printf('1763726400.%06d', id))"""


@dataclass
class Clicker:
    """Posts answers to a hub, as the providers do, and notes how long each waited for its HTTP answer."""

    http: httpx.AsyncClient
    key: bytes
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"slack": [], "pagerduty": []})
    statuses: Counter[str] = field(default_factory=Counter)
    number: int = 0

    async def post(self, kind: str, content: bytes, headers: Mapping[str, str]) -> None:
        began = time.monotonic()
        answer = await self.http.post(f"/replies/{kind}", content=content, headers=dict(headers))
        self.seconds[kind].append(time.monotonic() - began)
        self.statuses[f"{kind} {answer.status_code}"] += 1

    async def in_slack(self, verb: Verb, lane: int) -> None:
        self.number += 1
        click = slack_people.press(Token(verb, lane, 1).signed(self.key), trigger_id=f"click-{self.number}",
                                   response_url="http://127.0.0.1:1/nobody")
        inbound = slack_people.interactivity(click, CLOCK.now())
        await self.post("slack", inbound.body, inbound.headers)

    async def in_pagerduty(self, kind: str, incident: str) -> None:
        self.number += 1
        content = pagerduty.webhook(kind, f"alerthub/{incident}/1", event_id=f"event-{self.number}")
        await self.post("pagerduty", content, pagerduty.signed(content))


async def paced(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Begin them one after the other, so many a second, however long each takes."""
    began, running = time.monotonic(), []
    for index, one in enumerate(work):
        await CLOCK.sleep(max(0.0, began + index / PER_SECOND - time.monotonic()))
        running.append(asyncio.create_task(one))
    await asyncio.gather(*running)


@asynccontextmanager
async def running(server: ClickedHub) -> AsyncIterator[httpx.AsyncClient]:
    """Started and stopped in a thread: the provider, in this loop, answers meanwhile."""
    await asyncio.to_thread(server.__enter__)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=30) as http:
            yield http
    finally:
        await asyncio.to_thread(server.__exit__)


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[ClickedHub, SlackProvider, Clicker, list[tuple[int, str]]]]:
    """A hub with its open incidents, each with a message in the channel; and the lanes with their incidents' ids."""
    async with SlackProvider() as provider:
        server = ClickedHub(provider.url, slack_people.SECRET, pagerduty.WEBHOOK_SECRET)
        fleet = Fleet(7, 0, 1)
        async with running(server) as http:
            alerts = [fleet.alert() for _ in range(INCIDENTS)]
            (await http.post("/hooks/alertmanager", content=body(alerts))).raise_for_status()
        lanes, key = told(server)
        async with running(server) as http:
            yield server, provider, Clicker(http, key), lanes


def told(server: ClickedHub) -> tuple[list[tuple[int, str]], bytes]:
    """Everything is told, as if long ago. The lanes, and the key that signs buttons."""
    conn = sqlite3.connect(server.folder / "hub.db")
    try:
        conn.execute(TOLD)
        conn.commit()
        (key,) = conn.execute("select value from keys where name = 'buttons'").fetchone()
        return conn.execute("select id, incident_id from lanes order by id").fetchall(), bytes(key)
    finally:
        conn.close()


async def clicks() -> None:
    async with opened() as (server, provider, clicker, lanes):
        await shown(provider, clicker, lanes)
        clicker.seconds, clicker.statuses = {"slack": [], "pagerduty": []}, Counter()
        await in_a_storm(server, clicker, lanes)
        samples = (await clicker.http.get("/metrics")).text.splitlines()
        print("What became of all answers: " + ", ".join(
            line.removeprefix("alerthub_answers_total") for line in samples if line.startswith("alerthub_answers_total")))


async def shown(provider: SlackProvider, clicker: Clicker, lanes: list[tuple[int, str]]) -> None:
    """Every click acknowledges an incident of its own."""
    provider.arrivals.clear()
    clicked: dict[int, float] = {}

    async def click(lane: int) -> None:
        clicked[lane] = time.monotonic()
        await clicker.in_slack(Verb.acknowledge, lane)

    await paced([click(lane) for lane, _ in lanes[:PER_SECOND * SECONDS]])
    deadline = time.monotonic() + LAST_SHOWN
    while not clicked.keys() <= provider.arrivals.keys() and time.monotonic() < deadline:
        provider.changed.clear()
        await asyncio.wait({asyncio.create_task(provider.changed.wait())}, timeout=deadline - time.monotonic())
    times = sorted(provider.arrivals[lane] - at for lane, at in clicked.items() if lane in provider.arrivals)
    median, p99 = times[len(times) // 2] * 1000, times[int(len(times) * 0.99)] * 1000
    print(f"\n{len(clicked)} clicks, {PER_SECOND} a second, over {len(lanes)} open incidents in one Slack channel; answers "
          f"{dict(clicker.statuses)}\nClick to chat.update of that message at the provider: median {median:.1f} ms, p99 "
          f"{p99:.1f} ms, max {times[-1] * 1000:.1f} ms (limits 500 and 1,000); not shown within {LAST_SHOWN:.0f} s: "
          f"{len(clicked) - len(times)}", flush=True)


async def in_a_storm(server: ClickedHub, clicker: Clicker, lanes: list[tuple[int, str]]) -> None:
    """Clicks and PagerDuty's webhooks in turn go on, while a thousand new alerts come in as fast as they are taken."""
    there = "incident.unacknowledged"
    answers = [clicker.in_slack(Verb.unacknowledge, lane) if index % 2 else clicker.in_pagerduty(there, incident)
               for index, (lane, incident) in enumerate(lanes[:PER_SECOND * STORM_SECONDS])]

    async def storms() -> list[dict[str, Any]]:
        return [await storm(server, seed) for seed in range(9, 9 + STORMS)]

    results, _ = await asyncio.gather(storms(), paced(answers))
    taken = ", ".join(f"{result['seconds']} s {result['statuses']}" for result in results)
    print(f"\nWhile {STORMS} times {STORM_ALERTS * STORM_WEBHOOKS} alerts come in ({taken}), and after: {dict(clicker.statuses)}")
    for kind, limit in (("slack", 3), ("pagerduty", 5)):
        times = sorted(clicker.seconds[kind])
        print(f"/replies/{kind} to its answer: median {times[len(times) // 2] * 1000:.1f} ms, max {times[-1] * 1000:.1f} ms "
              f"(limit {limit},000)", flush=True)


async def storm(server: ClickedHub, seed: int) -> dict[str, Any]:
    options = {"ports": [server.port], "path": "/hooks/alertmanager", "alerts": STORM_ALERTS, "repeats": 0.0, "new": 1.0,
               "seed": seed, "seconds": 25, "connections": 16, "count": STORM_WEBHOOKS}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.load", json.dumps(options), stdout=subprocess.PIPE)
    return dict(json.loads((await process.communicate())[0]))
