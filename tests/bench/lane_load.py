"""A database full of due lanes, and the hub's own engine at work on them with counterparts that answer at once, in one process.
Run as a program: `fill` writes the lanes, `drain` tells them for so many seconds and prints one JSON object."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from alerthub.app import Hub
from alerthub.channels.base import Channel
from alerthub.channels.webhook import Webhook
from alerthub.config import load
from alerthub.domain.alert import Alert, AlertStatus, Batch
from alerthub.domain.message import Message, Receipt
from alerthub.errors import Failure, SendFailed
from alerthub.flow.intake import take_in

LIVE, INCIDENTS = 200, 150          # destinations that answer; incidents told at each
DEAD, DEAD_INCIDENTS = 1_000, 3     # destinations that nobody listens at
HOT_INCIDENTS = 3_000               # told at one destination only
AT_ONCE = 25                        # incidents in one transaction of the filling
SECRET = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
CONFIG = """
server: {{listen: "127.0.0.1:{port}"}}
database: {{url: "{database}"}}
log: {{level: error}}
sources: [{{name: alertmanager, type: alertmanager}}]
receivers:
  - {{name: live, webhook_configs: [{live}]}}
  - {{name: dead, webhook_configs: [{dead}]}}
  - {{name: hot, webhook_configs: [{hot}]}}
  - {{name: nobody, webhook_configs: [{nobody}]}}
route:
  receiver: nobody
  group_by: [alertname, instance]
  routes: [{{matchers: ['team="live"'], receiver: live}}, {{matchers: ['team="dead"'], receiver: dead}},
           {{matchers: ['team="hot"'], receiver: hot}}]
"""
NOWHERE = "http://127.0.0.1:1/"


def config(port: int, database: str, provider: str) -> str:
    def entries(address: str, count: int) -> str:
        return ", ".join(f'{{url: "{address}{number}", secret: {SECRET}}}' for number in range(count))
    return CONFIG.format(port=port, database=database, live=entries(f"{provider}live/", LIVE),
                         dead=entries(f"{NOWHERE}dead/", DEAD), hot=entries(f"{provider}hot/", 1),
                         nobody=entries(f"{provider}nobody/", 1))


def alerts(team: str, count: int) -> Iterator[Alert]:
    for number in range(count):
        yield Alert({"alertname": "HostDown", "instance": f"{team}-{number}", "team": team}, AlertStatus.firing,
                    {"summary": f"host {number} is down"})


async def fill(hub: Hub) -> None:
    hub.migrate()
    waiting = [*alerts("dead", DEAD_INCIDENTS), *alerts("hot", HOT_INCIDENTS), *alerts("live", INCIDENTS)]
    for start in range(0, len(waiting), AT_ONCE):
        now = hub.clock.now()
        batch = Batch("alertmanager", now, tuple(waiting[start:start + AT_ONCE]))
        await hub.store.write(lambda tx, batch=batch, now=now: take_in(tx, hub.rules, [batch], now))


class AtOnce(Webhook):
    """Answers at once: what is measured is the hub, not the network. Those of `dead` refuse the connection."""

    told: ClassVar[Counter[str]] = Counter()

    @property
    def which(self) -> str:
        return self._url.split("/")[3]

    async def send(self, message: Message, previous: Receipt | None) -> Receipt:
        self.told[self.which] += 1
        if self.which == "dead":
            raise SendFailed(Failure.unavailable, "nobody listens")
        return Receipt()


def at_once(channels: Mapping[str, Channel]) -> dict[str, Channel]:
    made: dict[str, Channel] = {}
    for key, channel in channels.items():
        assert isinstance(channel, Webhook)
        made[key] = AtOnce(channel.config, channel.config, channel._wire)
    return made


async def drain(hub: Hub, seconds: float) -> dict[str, object]:
    plant = hub.equipment.plant
    hub.equipment = replace(hub.equipment, plant=replace(plant, channels=at_once(plant.channels)))
    began, cpu = time.perf_counter(), time.process_time()
    await hub.start()
    while time.perf_counter() - began < seconds and AtOnce.told["live"] < LIVE * INCIDENTS:
        await hub.clock.sleep(0.05)
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    told = dict(AtOnce.told)
    await hub.stop()
    return {"seconds": elapsed, "cpu": cpu, "told": told}


async def main() -> None:
    logging.disable()       # a line for each failure of a dead destination
    what, seconds = sys.argv[1], float(sys.argv[2])
    hub = Hub(load(Path("alerthub.yml"), os.environ))
    if what == "fill":
        await fill(hub)
        await hub.stop()
    else:
        print(json.dumps(await drain(hub, seconds)))


if __name__ == "__main__":
    asyncio.run(main())
