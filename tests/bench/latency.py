"""Webhook due to the provider's request read, on an idle hub and at 200 webhooks a second, each of which opens an incident."""

from __future__ import annotations

import asyncio
import time

from tests.bench.bodies import Fleet, body
from tests.bench.databases import KINDS, database
from tests.bench.load import requests
from tests.bench.measure import load, share
from tests.bench.provider import Provider
from tests.bench.servers import ShardedHub

IDLE_COUNT = 150
RATE, SECONDS = 200, 6.0
NEW = (0.0, 1.0)
SHARDS = 8              # a webhook destination takes 50 a second: fewer would wait for their budget
LAST_SECONDS = 10.0     # for what is still under way


async def latency() -> None:
    print("\nWebhook sent to provider's request read, one incident each")
    for kind in KINDS:
        await idle(kind)
        await busy(kind)


async def idle(kind: str) -> None:
    async with Provider() as provider:
        with database(kind) as url, ShardedHub(provider.url, SHARDS, url) as hub:
            times = await one_by_one(provider, hub)
    print(f"  {kind:10} idle: median {share(times, 0.5):.1f} ms, p99 {share(times, 0.99):.1f} ms", flush=True)


async def one_by_one(provider: Provider, hub: ShardedHub) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    times = []
    fleet = Fleet(1, 0, 1, SHARDS)
    for number in range(IDLE_COUNT):
        (request,) = requests("/hooks/alertmanager", [body([fleet.rendered(number + 1, "firing")])])
        began = time.monotonic()
        writer.write(request)
        await reader.readuntil(b"}")
        await provider.all_read(number + 1, 5.0)
        times.append(provider.arrivals[number] - began)
    writer.close()
    return times


async def busy(kind: str) -> None:
    async with Provider() as provider:
        with database(kind) as url, ShardedHub(provider.url, SHARDS, url) as hub:
            result = await load([hub], 1, count=int(RATE * SECONDS) + 1, seconds=SECONDS, mix=NEW, rate=RATE, shards=SHARDS)
            await provider.all_read(len(result["due"]), LAST_SECONDS)
    times = [provider.arrivals.get(number, float("inf")) - due_at for number, due_at in enumerate(result["due"])]
    print(f"  {kind:10} at {RATE}/s: median {share(times, 0.5):.1f} ms (asked: 10), p99 {share(times, 0.99):.1f} ms (asked: 50); "
          f"200 after {result['p50_ms']} ms, p99 {result['p99_ms']} ms; {result['statuses']}", flush=True)
