"""Resident memory: idle, with 100,000 open alerts, and during a storm of incidents."""

from __future__ import annotations

from tests.bench.databases import KINDS, database
from tests.bench.measure import load, statuses
from tests.bench.provider import Provider
from tests.bench.servers import Hub

NEW = (0.0, 1.0)
OPEN = 100_000
STORM = 10_000


async def memory() -> None:
    for kind in KINDS:
        async with Provider() as provider:
            await many_open(provider, kind)
            await storm(provider, kind)


async def many_open(provider: Provider, kind: str) -> None:
    with database(kind) as url, Hub(provider.url, database=url) as hub:
        idle = hub.memory("VmRSS")
        result = await load([hub], 100, count=OPEN // 100, seconds=30, mix=NEW, connections=16)
        print(f"\n{kind}: idle {idle:.0f} MiB (asked: 150); {result['webhooks'] * 100:,} open alerts in {result['seconds']} s: "
              f"{hub.memory('VmRSS'):.0f} MiB, highest {hub.memory('VmHWM'):.0f} MiB (asked: 250); {statuses([result])}",
              flush=True)


async def storm(provider: Provider, kind: str) -> None:
    """An incident each, 100 alerts a webhook, as fast as they are taken."""
    with database(kind) as url, Hub(provider.url, "[alertname, instance]", database=url) as hub:
        result = await load([hub], 100, count=STORM // 100, seconds=25, mix=NEW, seed=9, connections=16)
        newest = hub.get("/api/v1/incidents?limit=1")["items"][0]
        print(f"{kind}: a storm of {STORM:,} alerts, an incident each, taken in {result['seconds']} s, {newest['number']} "
              f"incidents stored: highest {hub.memory('VmHWM'):.0f} MiB (asked: 250); {statuses([result])}", flush=True)
