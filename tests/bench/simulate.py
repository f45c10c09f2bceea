"""`python -m tests.bench simulate [--validate]`: one PostgreSQL under 1 to 1,000 replicas, on paper, with costs measured here.

A replica is one core, has one intake transaction under way, and takes all webhooks that wait into it, as the hub does. The
database has cores, a log that is flushed for all who wait together, and a lock per incident that is held until the commit. Not
modelled: the network, vacuum, what many connections cost a PostgreSQL, a disk that is full. Seeded: the same costs give the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from alerthub.store.database import Store
from tests.bench.costs import ALERTS, CLOCK, Cost, Costs, measure
from tests.bench.provider import Provider
from tests.bench.queues import Log, Server, Simulation, Work
from tests.bench.servers import Bare, Hub
from tests.kit.postgres import Postgres, find_binaries
from tests.kit.stores import migrated

TOGETHER = 128          # webhooks in one transaction
SENDING = 32            # deliveries of one replica under way
CORES, CONNECTIONS, PROVIDER = 16, 64, 0.02
REPLICAS = (1, 2, 10, 30, 100, 300, 1000)
ROUNDS, SECONDS, BODIES = 2, 2.5, 4_000


@dataclass
class Cluster:
    """What is simulated. `shared`: replicas and database share the cores of one machine, as where it is validated."""

    costs: Costs
    replicas: int
    cores: int
    shared: bool = False
    hot: bool = False
    connections: int = 64
    seconds: float = 4.0
    seed: int = 1

    def __post_init__(self) -> None:
        self.simulation = Simulation()
        self.random = Random(self.seed)
        self.database = Server(self.cores)
        self.log = Log(self.costs.flush)
        self.lock = Server(1)
        self.latencies: list[float] = []
        self.delivered = 0

    def core(self) -> Server:
        return self.database if self.shared else Server(1)


def spend(server: Server, seconds: float) -> Work:
    yield "take", server
    yield "wait", seconds
    yield "give", server


def intake(cluster: Cluster) -> Work:
    """One replica, for ever: all whose webhooks wait get one transaction, and send the next as soon as they are answered."""
    costs, simulation, core = cluster.costs, cluster.simulation, cluster.core()
    waiting = [0.0] * cluster.connections
    yield "wait", cluster.random.random() * 0.05
    while True:
        group, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
        number = len(group)
        yield from spend(core, number * (costs.http + costs.parse))
        cost = costs.hot if cluster.hot else costs.intake
        hub, base = cost.hub + number * cost.hub_each, cost.base + number * cost.base_each
        # Four turns between the hub and the database, of which the last ones hold the locks.
        free = round(4 * (1 - costs.held))
        for turn in range(4):
            if turn == free and cluster.hot:
                yield "take", cluster.lock
            yield from spend(core, hub / 4)
            yield from spend(cluster.database, base / 4)
        yield "flush", cluster.log
        if cluster.hot:
            yield "give", cluster.lock
        cluster.latencies += [simulation.now - since for since in group]
        waiting += [simulation.now] * number


def delivering(cluster: Cluster, provider: float) -> Work:
    """One replica, for ever: claims as many as it may have under way, and settles each when its provider has answered."""
    costs, core, slots = cluster.costs, cluster.core(), Server(SENDING)
    while True:
        yield "take", slots
        number = 1 + min(SENDING - slots.taken, SENDING // 2)
        slots.note(cluster.simulation.now)
        slots.taken += number - 1
        yield from spend(core, costs.claim.hub + number * costs.claim.hub_each)
        yield from spend(cluster.database, costs.claim.base + number * costs.claim.base_each)
        yield "flush", cluster.log
        for _ in range(number):
            cluster.simulation.start(sent(cluster, core, slots), provider)


def sent(cluster: Cluster, core: Server, slots: Server) -> Work:
    yield from spend(core, cluster.costs.settle.hub)
    yield from spend(cluster.database, cluster.costs.settle.base)
    yield "flush", cluster.log
    cluster.delivered += 1
    yield "give", slots


@dataclass(frozen=True)
class Found:
    per_second: float
    p50: float
    p99: float
    database: float         # the part of its cores that was busy
    lock: float             # how many replicas waited for the hot incident, on average


def simulated(cluster: Cluster) -> Found:
    for _ in range(cluster.replicas):
        cluster.simulation.start(intake(cluster))
    cluster.simulation.run(cluster.seconds / 4)       # until it runs evenly
    cluster.latencies.clear()
    cluster.database.note(cluster.simulation.now)
    busy, waited = cluster.database.busy, cluster.lock.waited
    cluster.simulation.run(cluster.seconds)
    cluster.database.note(cluster.simulation.now)
    times, spent = sorted(cluster.latencies) or [0.0], cluster.seconds * 3 / 4
    return Found(len(cluster.latencies) / spent, times[len(times) // 2], times[int(len(times) * 0.99)],
                 (cluster.database.busy - busy) / spent / cluster.cores, (cluster.lock.waited - waited) / spent)


def deliveries(cluster: Cluster, provider: float) -> float:
    """A second, when there is always something due."""
    for _ in range(cluster.replicas):
        cluster.simulation.start(delivering(cluster, provider), cluster.random.random() * provider)
    cluster.simulation.run(cluster.seconds)
    return cluster.delivered / cluster.seconds


def table(costs: Costs) -> None:
    print(f"\nSimulated: one PostgreSQL with {CORES} cores, replicas of one core, {ALERTS} alerts a webhook; providers take "
          f"{PROVIDER * 1000:.0f} ms")
    print("replicas   spread: webhooks/s  p50 ms  p99 ms  database   one incident: webhooks/s  p99 ms  waiting   "
          "deliveries/s")
    for replicas in REPLICAS:
        options = {"costs": costs, "replicas": replicas, "cores": CORES, "connections": CONNECTIONS,
                   "seconds": max(4.0, replicas / 25)}
        spread, hot = simulated(Cluster(**options)), simulated(Cluster(**options, hot=True))
        sent = deliveries(Cluster(**{**options, "seconds": max(3.0, replicas / 50)}), PROVIDER)
        print(f"{replicas:>8} {spread.per_second:>19,.0f} {spread.p50 * 1000:>7.0f} {spread.p99 * 1000:>7.0f} "
              f"{spread.database:>9.0%} {hot.per_second:>25,.0f} {hot.p99 * 1000:>7.0f} {hot.lock:>8.1f} {sent:>14,.0f}",
              flush=True)


async def simulate(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench simulate")
    parser.add_argument("--validate", action="store_true", help="also measure 1 and 2 real replicas here")
    parser.add_argument("--factors", default="1,1", help="of the hub's and the database's costs, as --validate has found them")
    options = parser.parse_args(arguments)
    with Postgres(find_binaries(), durable=True) as server:
        url = server.server.dsn(server.server.create("template0"))
        migrated(url)
        store = Store(url, CLOCK.new_id)
        costs = await asyncio.to_thread(measure, store, await bare_cost())
        store.close()
        print("\nMeasured here, the real code on a PostgreSQL of its own:")
        for told in costs.told():
            print(f"  {told}")
        costs = scaled(costs, *map(float, options.factors.split(",")))
        if options.validate:
            costs = await validate(server, costs)
    table(costs)


async def bare_cost() -> float:
    """Of one request in a server that only reads it, in seconds of its CPU."""
    with Bare() as server:
        began = cpu_of(server.process.pid)
        result = await loaded(server.port, 7, 1.5)
        return (cpu_of(server.process.pid) - began) / float(result["webhooks"])


def cpu_of(pid: int) -> float:
    fields = stat_of(Path(f"/proc/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stat_of(path: Path) -> list[str]:
    return path.read_text().rsplit(")", 1)[1].split()


def sessions(server: Postgres) -> float:
    """The CPU seconds of a PostgreSQL's processes."""
    assert server.process is not None
    found = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat_of(path)[1]) == server.process.pid:
                found += cpu_of(int(path.parent.name))
    return found


async def loaded(port: int, seed: int, seconds: float) -> dict[str, float]:
    options = {"ports": [port], "path": "/hooks/alertmanager", "alerts": ALERTS, "repeats": 0.7, "new": 0.1, "seed": seed,
               "seconds": seconds, "connections": CONNECTIONS, "count": BODIES}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.load", json.dumps(options), stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    return dict(json.loads(output))


@dataclass(frozen=True)
class Real:
    per_second: float
    hub: float          # CPU milliseconds for each webhook
    base: float


async def validate(server: Postgres, costs: Costs) -> Costs:
    """One machine has the replicas, the database and the load: its cores are shared in the simulation too. Who else uses the
    machine changes the rates, and far less the CPU time of a webhook. The answer: the costs as the first real replica has them,
    with what it does besides (its loops, threads, deliveries); all others are reckoned with those."""
    cores = os.cpu_count() or 1
    print(f"\nReal and simulated, {cores} cores shared by all, {CONNECTIONS} connections for each replica; load of the machine "
          f"{os.getloadavg()[0]:.1f}\n"
          "replicas  incidents      real/s  simulated/s   CPU ms a webhook: hub, reckoned   database, reckoned")
    async with Provider() as provider:
        for hot in (False, True):
            for replicas in (1, 2):
                found = [await real(server, provider.url, replicas, hot, turn) for turn in range(ROUNDS)]
                rate, hub, base = (statistics.median(getattr(one, name) for one in found)
                                   for name in ("per_second", "hub", "base"))
                cluster = Cluster(costs, replicas, cores, shared=True, hot=hot, connections=CONNECTIONS)
                cost = costs.hot if hot else costs.intake
                reckoned = [1000 * (fixed / CONNECTIONS + each) for fixed, each in (
                    (cost.hub, cost.hub_each + costs.http + costs.parse), (cost.base, cost.base_each))]
                reached = simulated(cluster).per_second
                print(f"{replicas:>8}  {'one' if hot else 'one an alert':12} {rate:>8.0f} {reached:>12.0f} "
                      f"{hub:>23.2f} {reckoned[0]:>9.2f} {base:>10.2f} {reckoned[1]:>9.2f}", flush=True)
                if replicas == 1 and not hot:
                    costs = scaled(costs, hub / reckoned[0], base / reckoned[1])
                    print(f"from here on the hub's costs times {hub / reckoned[0]:.2f}, "
                          f"the database's times {base / reckoned[1]:.2f}")
    return costs


def scaled(costs: Costs, hub: float, base: float) -> Costs:
    def one(cost: Cost) -> Cost:
        return Cost(cost.hub * hub, cost.hub_each * hub, cost.base * base, cost.base_each * base)

    return replace(costs, parse=costs.parse * hub, http=costs.http * hub, intake=one(costs.intake), hot=one(costs.hot),
                   claim=one(costs.claim), settle=one(costs.settle))


async def real(server: Postgres, provider: str, replicas: int, hot: bool, turn: int) -> Real:
    url = server.server.dsn(server.server.create("template0"))
    group_by = "[alertname]" if hot else "[alertname, instance]"
    with ExitStack() as stack:
        hubs = [stack.enter_context(Hub(provider, group_by, database=url)) for _ in range(replicas)]
        hub, base = sum(cpu_of(one.process.pid) for one in hubs), sessions(server)
        results = await asyncio.gather(*(loaded(one.port, 10 * turn + place, SECONDS) for place, one in enumerate(hubs)))
        hub, base = sum(cpu_of(one.process.pid) for one in hubs) - hub, sessions(server) - base
    webhooks = sum(result["webhooks"] for result in results)
    return Real(sum(result["per_second"] for result in results), 1000 * hub / webhooks, 1000 * base / webhooks)
