"""Running the load generator, and what of its figures is told."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from tests.bench.servers import Server

CONNECTIONS = 64
MIX = (0.7, 0.1)        # repeats, new; the rest are resolved
Result = dict[str, Any]


async def load(servers: Sequence[Server], alerts: int, *, count: int, seconds: float, mix: tuple[float, float] = MIX,
               seed: int = 0, rate: float = 0.0, shards: int = 0, connections: int = CONNECTIONS) -> Result:
    """Closed loop, or with `rate` open loop, in a process of its own; over all servers alike."""
    options = {"ports": [server.port for server in servers], "path": "/hooks/alertmanager", "alerts": alerts, "repeats": mix[0],
               "new": mix[1], "seed": seed, "seconds": seconds, "connections": connections, "count": count, "rate": rate,
               "shards": shards}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.load", json.dumps(options), stdout=subprocess.PIPE, limit=1 << 26)
    output, _ = await process.communicate()
    result: Result = json.loads(output)
    return result


def median(results: Iterable[Result], name: str) -> float:
    return statistics.median(float(result[name]) for result in results)


def statuses(results: Iterable[Result]) -> str:
    """Every kind of answer that came, with how many."""
    found: dict[str, int] = {}
    for result in results:
        for status, count in result["statuses"].items():
            found[status] = found.get(status, 0) + count
    return ", ".join(f"{count} x {status}" for status, count in sorted(found.items()))


def share(times: Sequence[float], part: float) -> float:
    """The time, in milliseconds, within which that part of them lies."""
    return sorted(times)[min(len(times) - 1, int(len(times) * part))] * 1000
