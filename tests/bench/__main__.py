"""`make bench`: the hub beside a bare application, in the same run on the same machine. Prints ratios and medians.
`python -m tests.bench NAME…` runs single parts.

Nothing is asserted: machines differ and are shared. Load goes to loopback only, bounded in count and time.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.clicks import clicks
from tests.bench.growth import growth
from tests.bench.ingest import ingest, mixes
from tests.bench.lanes import lanes
from tests.bench.latency import latency
from tests.bench.memory import memory
from tests.bench.pages import pages
from tests.bench.pruning import prune
from tests.bench.replicas import replicas
from tests.bench.safe import safe
from tests.bench.simulate import simulate
from tests.bench.soak import soak

BENCHES = {"ingest": ingest, "latency": latency, "replicas": replicas, "lanes": lanes, "memory": memory, "clicks": clicks,
           "safe": safe, "mixes": mixes, "pages": pages}
ON_REQUEST = {"mixes", "pages"}


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
    print(f"load of the machine before the first measurement: {os.getloadavg()[0]:.1f}")
    for name in sys.argv[1:] or [name for name in BENCHES if name not in ON_REQUEST]:
        await BENCHES[name]()


if __name__ == "__main__":
    asyncio.run(main())
