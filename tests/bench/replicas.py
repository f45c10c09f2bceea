"""Two replicas on one PostgreSQL beside one, under the same load; also with one hot incident that every webhook changes."""

from __future__ import annotations

from contextlib import ExitStack

from tests.bench.databases import POSTGRES, database
from tests.bench.measure import MIX, Result, load, median, statuses
from tests.bench.provider import Provider
from tests.bench.servers import Hub

ROUNDS = 3
SECONDS = 4.0
CASES = {"many incidents, the mix": ("[alertname, instance]", MIX), "one hot incident": ("[alertname]", (0.0, 0.7))}


async def replicas() -> None:
    """Asked: two carry at least what one carries. On two cores no gain is expected."""
    print(f"\nReplicas on one PostgreSQL, 1 alert a webhook, 64 connections in total, median of {ROUNDS}")
    async with Provider() as provider:
        for name, (group_by, mix) in CASES.items():
            found: dict[int, list[Result]] = {1: [], 2: []}
            for turn in range(ROUNDS):
                for count, results in found.items():
                    results.append(await once(provider.url, count, group_by, mix, turn))
            one, two = (median(results, "per_second") for results in found.values())
            print(f"  {name}: one {one:.0f}/s, p99 {median(found[1], 'p99_ms'):.0f} ms; two {two:.0f}/s, "
                  f"p99 {median(found[2], 'p99_ms'):.0f} ms; ratio {two / one:.2f} (asked: 1); {statuses(found[2])}", flush=True)


async def once(provider: str, count: int, group_by: str, mix: tuple[float, float], seed: int) -> Result:
    with database(POSTGRES) as url, ExitStack() as stack:
        hubs = [stack.enter_context(Hub(provider, group_by, database=url)) for _ in range(count)]
        return await load(hubs, 1, count=60_000, seconds=SECONDS, mix=mix, seed=seed)
