"""`python -m tests.bench growth [--incidents 1000000] [--events-each 10] [--databases sqlite,postgres] [--filled URL]`

What ingest, lists, one incident and `alerthub list` cost on a database that has grown, beside one of 200 closed incidents,
interleaved."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from alerthub.clock import SystemClock
from alerthub.store.database import Store
from alerthub.store.migrate import migrate
from tests.bench.provider import Provider
from tests.bench.servers import Hub
from tests.kit.grown import grow
from tests.kit.stores import database

CLOCK = SystemClock()
FEW = 200               # closed incidents of the small one: lists are full there too
ROUNDS, SECONDS, REQUESTS = 4, 2.0, 100
ALERTS, CONNECTIONS, BODIES = 10, 64, 4_000
PAGES = {"list, all": "/api/v1/incidents?limit=50", "list, open": "/api/v1/incidents?status=open&limit=50",
         "list, acknowledged": "/api/v1/incidents?status=acknowledged&limit=50", "one incident": "/api/v1/incidents/100",
         "deliveries that failed": "/api/v1/deliveries?state=failed&limit=50", "action runs": "/api/v1/actions/runs?limit=50",
         "the page": "/", "metrics": "/metrics", "health": "/health"}
INGEST, COMMAND = "webhook of 10 alerts", "alerthub list"
Times = dict[str, list[float]]      # of each thing, milliseconds


async def growth(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench growth")
    parser.add_argument("--incidents", type=int, default=1_000_000)
    parser.add_argument("--events-each", type=int, default=10)
    parser.add_argument("--databases", default="sqlite,postgres")
    parser.add_argument("--filled", default="", help="the address of a large database of an earlier run, instead of filling one")
    options = parser.parse_args(arguments)
    async with Provider() as provider:
        for kind in options.databases.split(","):
            with ExitStack() as stack:
                few = await asyncio.to_thread(stack.enter_context, filled(kind, FEW, options.events_each))
                many = options.filled or await asyncio.to_thread(
                    stack.enter_context, filled(kind, options.incidents, options.events_each))
                upgrade(many)
                await compare(kind, {"small": few, "large": many}, provider.url)


@contextmanager
def filled(kind: str, incidents: int, events_each: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ah-grown-") as folder, database(kind, Path(folder)) as url:
        began = time.monotonic()
        rows = grow(url, incidents, events_each, CLOCK.now())
        told = ", ".join(f"{count:,} {name}" for name, count in rows.items())
        print(f"\n{kind}: {told}; filled in {time.monotonic() - began:.0f} s", flush=True)
        yield url


def upgrade(url: str) -> None:
    began, store = time.monotonic(), Store(url, CLOCK.new_id)
    migrate(store)
    store.close()
    print(f"migrated in {time.monotonic() - began:.1f} s", flush=True)


async def compare(kind: str, urls: Mapping[str, str], provider: str) -> None:
    """Both hubs run, and are asked in turns: whoever else uses the machine slows both."""
    times: dict[str, Times] = {name: {} for name in urls}
    with ExitStack() as stack:
        hubs = {name: stack.enter_context(Hub(provider, database=url)) for name, url in urls.items()}
        await ask(hubs, times)
        for turn in range(ROUNDS):
            for name, hub in list(hubs.items())[::1 if turn % 2 else -1]:
                note(times[name], COMMAND, await command(hub))
                result = await ingest(hub, turn)
                note(times[name], INGEST, 1000 / float(result["per_second"]))
                print(f"round {turn + 1}, {name}: {result['per_second']} webhooks/s, {result['statuses']}", file=sys.stderr,
                      flush=True)
        sizes = {name: f"{hub.memory('VmHWM'):.0f} MiB" for name, hub in hubs.items()}
    print(f"\n{kind}, medians; highest memory {sizes}\n{'':32} small ms   large ms   ratio")
    for what, few in times["small"].items():
        small, large = statistics.median(few), statistics.median(times["large"][what])
        print(f"{what:32} {small:>8.2f}  {large:>9.2f}  {large / small:>6.2f}", flush=True)


def note(times: Times, what: str, milliseconds: float) -> None:
    times.setdefault(what, []).append(milliseconds)


async def ask(hubs: Mapping[str, Hub], times: Mapping[str, Times]) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        for what, path in PAGES.items():
            for _ in range(REQUESTS):
                for name, hub in hubs.items():
                    began = time.perf_counter()
                    (await http.get(f"http://127.0.0.1:{hub.port}{path}")).raise_for_status()
                    note(times[name], what, (time.perf_counter() - began) * 1000)


async def command(hub: Hub) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alerthub", "list", cwd=hub.folder, stdout=subprocess.DEVNULL)
    assert not await process.wait()
    return (time.perf_counter() - began) * 1000


async def ingest(hub: Hub, turn: int) -> dict[str, object]:
    options = {"ports": [hub.port], "path": "/hooks/alertmanager", "alerts": ALERTS, "repeats": 0.7, "new": 0.1,
               "seed": 1000 + turn, "seconds": SECONDS, "connections": CONNECTIONS, "count": BODIES}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.load", json.dumps(options), stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    result: dict[str, object] = json.loads(output)
    return result
