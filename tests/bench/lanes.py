"""Deliveries a second over many lanes: to 200 destinations that answer, while one is told as fast as its budget allows and 1,000
are dead. By the engine alone (counterparts in the process), and by `alerthub serve` with real HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from alerthub.clock import SystemClock
from tests.bench import lane_load
from tests.bench.databases import KINDS, database
from tests.bench.provider import Sink
from tests.bench.servers import Server

CLOCK = SystemClock()
SECONDS = 8.0


class LaneHub(Server):
    """`alerthub serve` on a database that was filled before."""

    ready_path = "/readyz"

    def __init__(self, provider: str, database: str) -> None:
        super().__init__()
        (self.folder / "alerthub.yml").write_text(lane_load.config(self.port, database, provider))

    def command(self) -> list[str]:
        return [sys.executable, "-m", "alerthub", "serve"]


async def program(what: str, folder: Path) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.lane_load", what, str(SECONDS), cwd=folder, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{what} failed"
    return output


async def lanes() -> None:
    print(f"\nDeliveries a second: {lane_load.LIVE} destinations answer at once, one hot one at its budget (50/s), "
          f"{lane_load.DEAD:,} are dead; asked: 3,000")
    for kind in KINDS:
        async with Sink() as sink:
            with database(kind) as url:
                await engine(kind, LaneHub(sink.url, url).folder)
            with database(kind) as url:
                await served(kind, sink, LaneHub(sink.url, url))


async def engine(kind: str, folder: Path) -> None:
    await program("fill", folder)
    found = json.loads(await program("drain", folder))
    seconds = found["seconds"]
    live, hot, dead = (found["told"].get(name, 0) / seconds for name in ("live", "hot", "dead"))
    print(f"  {kind:10} engine alone: {live:.0f}/s to those that answer, hot {hot:.0f}/s, dead {dead:.0f}/s, "
          f"{found['cpu'] / seconds:.2f} cores of the hub", flush=True)


async def served(kind: str, sink: Sink, hub: LaneHub) -> None:
    await program("fill", hub.folder)
    with hub:
        sink.count.clear()
        await CLOCK.sleep(SECONDS)
        live, hot = sink.count["live"] / SECONDS, sink.count["hot"] / SECONDS
    print(f"  {kind:10} over HTTP:    {live:.0f}/s to those that answer, hot {hot:.0f}/s", flush=True)
