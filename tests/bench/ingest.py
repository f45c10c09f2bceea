"""Webhook to 200 after COMMIT, on both databases, beside the bare application: how many, and how late at half of that."""

from __future__ import annotations

import statistics

from tests.bench.databases import KINDS, SQLITE, database
from tests.bench.measure import CONNECTIONS, MIX, Result, load, median, statuses
from tests.bench.provider import Provider
from tests.bench.servers import Bare, Hub

ROUNDS = 3
SECONDS = 2.5
COUNTS = {1: 60_000, 10: 14_000, 100: 1_800}
ASKED = {SQLITE: {1: 0.20, 10: 0.08, 100: 0.020}, "PostgreSQL": {1: 0.272, 10: 0.096, 100: 0.024}}
OPEN_SECONDS = 5.0
OTHER_MIXES = {"repeats": (0.97, 0.03), "new": (0.0, 1.0)}
Found = dict[tuple[str, int], list[Result]]


async def once(provider: str, kind: str, alerts: int, seed: int, mix: tuple[float, float] = MIX) -> Result:
    with database(kind) as url, Hub(provider, database=url) as hub:
        return await load([hub], alerts, count=COUNTS[alerts], seconds=SECONDS, mix=mix, seed=seed)


async def bare_once(alerts: int, seed: int) -> float:
    with Bare() as server:
        return float((await load([server], alerts, count=COUNTS[alerts], seconds=SECONDS, seed=seed))["per_second"])


async def ingest() -> None:
    """Each round measures the bare application and both databases one after the other, so that all meet the same weather."""
    print(f"\nWebhook to 200 after commit, {CONNECTIONS} connections, 70 % repeats, 10 % new, 20 % resolved, median of {ROUNDS}")
    print("alerts/webhook  database    bare/s    hub/s  alerts/s   ratio   asked  p50 ms  p99 ms  answers")
    async with Provider() as provider:
        for alerts in COUNTS:
            bare: list[float] = []
            hubs: dict[str, list[Result]] = {kind: [] for kind in KINDS}
            for turn in range(ROUNDS):
                bare.append(await bare_once(alerts, turn))
                for kind in KINDS:
                    hubs[kind].append(await once(provider.url, kind, alerts, turn))
            for kind, results in hubs.items():
                line(alerts, kind, statistics.median(bare), results, f"{ASKED[kind][alerts]:>7.3f}")
                if alerts == 1:
                    await open_loop(provider.url, kind, median(results, "per_second") / 2)


def line(alerts: int, name: str, bare: float, results: list[Result], asked: str = "      -") -> None:
    rate = median(results, "per_second")
    print(f"{alerts:>14}  {name:10} {bare:>7.0f} {rate:>8.0f} {rate * alerts:>9.0f} {rate / bare:>7.3f} {asked} "
          f"{median(results, 'p50_ms'):>7.1f} {median(results, 'p99_ms'):>7.1f}  {statuses(results)}", flush=True)


async def open_loop(provider: str, kind: str, rate: float) -> None:
    """A fresh hub, warmed up for a moment, then half of what it can take."""
    results = []
    for turn in range(ROUNDS):
        with database(kind) as url, Hub(provider, database=url) as hub:
            await load([hub], 1, count=2_000, seconds=0.5, seed=99)
            results.append(await load([hub], 1, count=int(rate * OPEN_SECONDS) + 1, seconds=OPEN_SECONDS, rate=rate, seed=turn))
    print(f"{'':>14}  {kind:10} open loop at {rate:.0f}/s: p50 {median(results, 'p50_ms'):.1f} ms, "
          f"p99 {median(results, 'p99_ms'):.1f} ms (asked: 50), {statuses(results)}", flush=True)


async def mixes() -> None:
    """Repeats alone, and new alerts alone, on SQLite."""
    print("\nalerts/webhook  mix         bare/s    hub/s  alerts/s   ratio   asked  p50 ms  p99 ms  answers")
    async with Provider() as provider:
        for alerts in COUNTS:
            bare = statistics.median([await bare_once(alerts, turn) for turn in range(2)])
            for name, mix in OTHER_MIXES.items():
                line(alerts, name, bare, [await once(provider.url, SQLITE, alerts, turn, mix) for turn in range(2)])
