"""`make bench`: the hub beside a bare application, in the same run on the same machine. Prints ratios and medians.

Nothing is asserted: machines differ and are shared. Load goes to loopback only, bounded in count and time.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.bodies import Fleet, body
from tests.bench.clicks import clicks
from tests.bench.growth import growth
from tests.bench.load import requests
from tests.bench.provider import Provider
from tests.bench.pruning import prune
from tests.bench.safe import safe
from tests.bench.servers import WEBHOOK, Bare, Hub, Server
from tests.bench.simulate import simulate
from tests.bench.soak import soak

ROUNDS = 3
SECONDS = 2.5
CONNECTIONS = 64
COUNTS = {1: 60_000, 10: 14_000, 100: 1_800}
MIXES = {"70 % repeats, 10 % new, 20 % resolved": (0.7, 0.1), "repeats": (0.97, 0.03), "new": (0.0, 1.0)}


async def load(server: Server, alerts: int, repeats: float, new: float, seed: int) -> dict[str, object]:
    options = {"port": server.port, "path": "/hooks/alertmanager", "alerts": alerts, "repeats": repeats, "new": new, "seed": seed,
               "seconds": SECONDS, "connections": CONNECTIONS, "count": COUNTS[alerts]}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.load", json.dumps(options), stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    return json.loads(output)


async def ingest() -> None:
    print(f"\nWebhook to 200 after commit, SQLite, {CONNECTIONS} connections, median of {ROUNDS}")
    print("alerts/webhook  mix                                        bare/s    hub/s  alerts/s   ratio  p50 ms  p99 ms  answers")
    async with Provider() as provider:
        for alerts in COUNTS:
            bare: list[float] = []
            hubs: dict[str, list[dict[str, object]]] = {name: [] for name in MIXES}
            for turn in range(ROUNDS):
                with Bare() as server:
                    bare.append(float((await load(server, alerts, 0.7, 0.1, turn))["per_second"]))
                for position, (name, (repeats, new)) in enumerate(MIXES.items()):
                    with Hub(provider.url) as server:
                        hubs[name].append(await load(server, alerts, repeats, new, 100 * turn + position))
            for name, results in hubs.items():
                line(alerts, name, statistics.median(bare), results)


def line(alerts: int, name: str, bare: float, results: list[dict[str, object]]) -> None:
    rate = statistics.median(float(result["per_second"]) for result in results)
    statuses = {status for result in results for status in result["statuses"]}
    p50, p99 = (statistics.median(float(result[key]) for result in results) for key in ("p50_ms", "p99_ms"))
    print(f"{alerts:>14}  {name:40} {bare:>8.0f} {rate:>8.0f} {rate * alerts:>9.0f} {rate / bare:>7.3f} {p50:>7.1f} {p99:>7.1f}  "
          f"{sorted(statuses)}", flush=True)


async def latency(count: int = 200) -> None:
    """An idle hub; every webhook opens an incident of its own, and its message names the mark."""
    async with Provider() as provider:
        with Hub(provider.url, group_by="[alertname, instance]", channel=WEBHOOK) as hub:
            reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
            times = []
            for number in range(count):
                alert = Fleet(1, 0, 1).rendered(number, "firing")
                alert["labels"]["instance"] = f"mark-{number}-"
                (request,) = requests("/hooks/alertmanager", [body([alert])])
                began = time.monotonic()
                writer.write(request)
                await reader.readuntil(b"}")
                while number not in provider.arrivals:
                    provider.changed.clear()
                    await asyncio.wait_for(provider.changed.wait(), 5)
                times.append(provider.arrivals[number] - began)
            writer.close()
    times.sort()
    print(f"\nWebhook sent to provider's request read, idle hub, {count} incidents: "
          f"median {times[count // 2] * 1000:.1f} ms, p99 {times[int(count * 0.99)] * 1000:.1f} ms")


async def storm() -> None:
    """10,000 alerts, one incident each, as fast as they are taken."""
    async with Provider() as provider:
        with Hub(provider.url, group_by="[alertname, instance]") as hub:
            idle = hub.memory("VmRSS")
            options = {"port": hub.port, "path": "/hooks/alertmanager", "alerts": 100, "repeats": 0.0, "new": 1.0, "seed": 9,
                       "seconds": 25, "connections": 16, "count": 100}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.bench.load", json.dumps(options), stdout=subprocess.PIPE)
            output, _ = await process.communicate()
            result = json.loads(output)
            newest = hub.get("/api/v1/incidents?limit=1")["items"][0]
            print(f"\nStorm of 10,000 alerts, 100 a webhook: answers {result['statuses']} in {result['seconds']} s, incidents "
                  f"stored {newest['number']}, memory idle {idle:.0f} MiB, highest {hub.memory('VmHWM'):.0f} MiB")


def processor() -> str:
    rows = Path("/proc/cpuinfo").read_text().splitlines()
    return next((row.split(":")[1].strip() for row in rows if row.startswith("model name")), platform.machine())


def commit_seconds(count: int = 200) -> float:
    """What the disk allows: the median of small durable commits of SQLite alone. The ratios below stand on it."""
    with tempfile.TemporaryDirectory(prefix="ah-bench-") as folder:
        conn = sqlite3.connect(f"{folder}/probe.db", isolation_level=None)
        for statement in ("pragma journal_mode=wal", "pragma synchronous=full", "create table t(x)"):
            conn.execute(statement)
        times = []
        for _ in range(count):
            began = time.perf_counter()
            conn.executescript("begin immediate; insert into t values (1); commit")
            times.append(time.perf_counter() - began)
        conn.close()
    return statistics.median(times)


LONG = {"growth": growth, "prune": prune, "simulate": simulate, "soak": soak}      # each by its name only: they take minutes


async def main() -> None:
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores of {processor()}; one commit "
          f"with fsync takes {commit_seconds() * 1000:.2f} ms here")
    if sys.argv[1:2] and (long := LONG.get(sys.argv[1])):
        await long(sys.argv[2:])
        return
    benches = {"ingest": ingest, "latency": latency, "storm": storm, "clicks": clicks, "safe": safe}
    for name in sys.argv[1:] or benches:
        await benches[name]()


if __name__ == "__main__":
    asyncio.run(main())
