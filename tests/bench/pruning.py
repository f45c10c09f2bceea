"""`python -m tests.bench prune [--incidents 60000] [--databases sqlite,postgres]`: what webhooks wait while retention forgets a
backlog, beside the same hub that forgets nothing; and how fast it forgets."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from alerthub.store.database import Store
from alerthub.store.schema import incidents
from tests.bench.bodies import Fleet
from tests.bench.growth import ALERTS, CLOCK
from tests.bench.load import requests
from tests.bench.provider import Provider
from tests.bench.servers import Hub
from tests.kit.grown import grow
from tests.kit.rows import count
from tests.kit.stores import database

LONG_AGO = timedelta(days=100)
CONNECTIONS = 16


async def prune(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench prune")
    parser.add_argument("--incidents", type=int, default=60_000, help="17 rows each")
    parser.add_argument("--databases", default="sqlite,postgres")
    parser.add_argument("--rate", type=int, default=100, help="webhooks a second")
    parser.add_argument("--seconds", type=float, default=15.0)
    options = parser.parse_args(arguments)
    print(f"\n{options.rate} webhooks/s of {ALERTS} alerts, open loop, {options.seconds:g} s, while {options.incidents:,} closed "
          "incidents are due to be forgotten\ndatabase  retention   p50 ms   p99 ms  slowest ms   rows forgotten/s")
    async with Provider() as provider:
        for kind in options.databases.split(","):
            with tempfile.TemporaryDirectory(prefix="ah-prune-") as folder, database(kind, Path(folder)) as url:
                rows = await asyncio.to_thread(grow, url, options.incidents, 10, CLOCK.now() - LONG_AGO)
                for retention in ("1000d", "90d"):
                    began = await asyncio.to_thread(left, url)
                    with Hub(provider.url, database=url, retention=retention) as hub:
                        times = await steadily(hub, options.rate, options.seconds, retention)
                    gone = began - await asyncio.to_thread(left, url)
                    each = sum(rows.values()) / options.incidents
                    print(f"{kind:9} {retention:>9} {times[len(times) // 2]:>8.1f} {times[int(len(times) * 0.99)]:>8.1f} "
                          f"{times[-1]:>11.1f} {max(0.0, gone * each / options.seconds):>18,.0f}", flush=True)


def left(url: str) -> int:
    store = Store(url, CLOCK.new_id)
    try:
        return store.read_now(lambda tx: count(tx, incidents))
    finally:
        store.close()


async def steadily(hub: Hub, rate: float, seconds: float, seed: str) -> list[float]:
    """Milliseconds from the moment at which each webhook should have been sent; sorted."""
    times: list[float] = []
    fleet = Fleet(len(seed), 0.7, 0.1)
    bodies = iter(requests("/hooks/alertmanager", list(fleet.bodies(int(rate * seconds), ALERTS))))
    began = time.monotonic()
    sendings = enumerate(bodies)

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        for index, request in sendings:
            due = began + index / rate
            await CLOCK.sleep(max(0.0, due - time.monotonic()))
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            assert head[9:12] == b"200", json.dumps(head.decode())
            times.append((time.monotonic() - due) * 1000)
        writer.close()

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    return sorted(times)
