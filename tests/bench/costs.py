"""What one unit of work costs the hub and its PostgreSQL, measured by calling the real code: what `simulate` reckons with.

Seconds. Each side's part is the CPU time of its process; the flush of a commit is what a small one takes longer than a read.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event

from alerthub.clock import SystemClock
from alerthub.domain.message import Receipt
from alerthub.domain.route import Route
from alerthub.domain.rules import Rules
from alerthub.flow import deliver
from alerthub.flow.intake import take_in
from alerthub.flow.settle import Ended, Sending, settle_together
from alerthub.flow.slots import SLOTS_EACH
from alerthub.sources.body import read_notification
from alerthub.store import leases
from alerthub.store.database import Store
from alerthub.store.schema import leaders
from alerthub.store.tx import Tx
from tests.bench.bodies import Fleet
from tests.kit.world import destination, rules_for

CLOCK = SystemClock()
ALERTS, TOGETHER, TIMES = 10, 32, 25
DESTINATIONS = 64
LOCKING = re.compile(r"FROM incidents.*FOR (NO KEY )?UPDATE", re.DOTALL)


@dataclass(frozen=True)
class Cost:
    """Of one transaction with n units: `fixed + n * each`, in the hub and in the database."""

    hub: float
    hub_each: float
    base: float
    base_each: float


@dataclass(frozen=True)
class Costs:
    parse: float            # of one webhook, in the hub
    http: float             # of one request, in the hub: a bare server's
    intake: Cost            # of webhooks, an incident for each alert
    hot: Cost               # the same, all of one incident
    claim: Cost             # of deliveries
    settle: Cost            # of one delivery
    flush: float            # of one durable commit
    held: float             # the part of an intake during which it holds the locks of its incidents

    def told(self) -> Iterator[str]:
        for name in ("intake", "hot", "claim", "settle"):
            cost: Cost = getattr(self, name)
            yield (f"{name}: hub {cost.hub * 1000:.2f} ms + {cost.hub_each * 1000:.2f} each, "
                   f"database {cost.base * 1000:.2f} ms + {cost.base_each * 1000:.2f} each")
        yield (f"parse {self.parse * 1000:.2f} ms, HTTP {self.http * 1000:.2f} ms, flush {self.flush * 1000:.2f} ms, "
               f"locks held for {self.held:.0%} of an intake")


@dataclass
class Timing:
    """One call: how long it took, the CPU time of both sides, and the part of it after it first held a lock of an incident."""

    wall: float
    hub: float
    base: float
    held: float = 0.0


def timed(store: Store, unit: Callable[[Tx], Any]) -> tuple[Any, Timing]:
    locked: list[float] = []
    backend: list[tuple[int, float]] = []

    def look(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not locked and LOCKING.search(statement):
            locked.append(hub_seconds())

    def watched(tx: Tx) -> Any:
        pid = tx.conn.connection.driver_connection.info.backend_pid
        backend.append((pid, seconds_of(pid)))
        return unit(tx)

    event.listen(store.engine, "before_cursor_execute", look)
    began, spent = time.perf_counter(), hub_seconds()
    result = store.write_now(watched)
    hub, wall = hub_seconds() - spent, time.perf_counter() - began
    event.remove(store.engine, "before_cursor_execute", look)
    pid, before = backend[-1]
    return result, Timing(wall, hub, seconds_of(pid) - before, (spent + hub - locked[0]) / hub if locked else 0.0)


def hub_seconds() -> float:
    return time.process_time()


def seconds_of(pid: int) -> float:
    """The CPU time of a process: unlike what passes on a clock it does not depend on who else uses the machine."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def measure(store: Store, http: float) -> Costs:
    """On a migrated database of nobody else. About ten seconds."""
    rules = everywhere()
    fleet, flush = Fleet(5, 0.7, 0.1), flush_of(store)
    parse = parsing(fleet)
    one, held = intakes(store, rules, fleet, 1)
    many, _ = intakes(store, rules, fleet, TOGETHER)
    claims, settles = deliveries(store, rules, fleet)
    alone = Fleet(6, 0.7, 0.1)
    few, _ = intakes(store, rules_for(), alone, 1)
    more, _ = intakes(store, rules_for(), alone, TOGETHER)
    return Costs(parse, http, line(one, many, TOGETHER), line(few, more, TOGETHER), claims, settles, flush, held)


def everywhere() -> Rules:
    """A route to many destinations without a budget, an incident for each alert."""
    told = [destination(f"webhook:{number}", edits=False, digests=False) for number in range(DESTINATIONS)]
    return rules_for(Route("alerts", group_by=("alertname", "instance")), receivers={"alerts": told[:1], "many": told})


def flush_of(store: Store) -> float:
    def tiny(tx: Tx) -> None:
        tx.conn.execute(leaders.insert().values(name=CLOCK.new_id(), owner="bench", until=CLOCK.now()))

    def nothing(tx: Tx) -> None:
        leases.next_due(tx)

    wrote, read = (statistics.quantiles([timed(store, unit)[1].wall for _ in range(2 * TIMES)])[0] for unit in (tiny, nothing))
    return max(0.0, wrote - read)


def parsing(fleet: Fleet) -> float:
    bodies = list(fleet.bodies(200, ALERTS))
    spent = time.process_time()
    for one in bodies:
        read_notification("alertmanager", one, CLOCK.now(), "4", {})
    return (time.process_time() - spent) / len(bodies)


def intakes(store: Store, rules: Rules, fleet: Fleet, together: int) -> tuple[Timing, float]:
    timings = []
    for _ in range(TIMES):
        now = CLOCK.now()
        batches = [read_notification("alertmanager", one, now, "4", {}) for one in fleet.bodies(together, ALERTS)]
        timings.append(timed(store, lambda tx, batches=batches: take_in(tx, rules, batches, CLOCK.now()))[1])
    return median(timings), statistics.median(timing.held for timing in timings)


def deliveries(store: Store, rules: Rules, fleet: Fleet) -> tuple[Cost, Cost]:
    """Of claims of few and of many, and of settling one."""
    few: list[Timing] = []
    many: list[Timing] = []
    settled: list[Timing] = []
    for turn in range(TIMES):
        now = CLOCK.now() + timedelta(seconds=1)
        most = 1 if turn % 2 else SLOTS_EACH
        claimed, timing = timed(store, lambda tx, now=now, most=most: deliver.claim(
            tx, rules, {"webhook": most}, {}, "bench", now))
        (few if most == 1 else many).append(timing)
        for sending in claimed.sendings:
            settled.append(timed(store, lambda tx, sending=sending: told(tx, rules, sending))[1])
    after = median(settled)
    return line(median(few), median(many), SLOTS_EACH), Cost(after.hub, 0.0, after.base, 0.0)


def told(tx: Tx, rules: Rules, sending: Sending) -> None:
    settle_together(tx, [Ended(rules, sending, Receipt({"id": "1"}), None, 0.5)], CLOCK.now())


def median(timings: Sequence[Timing]) -> Timing:
    return Timing(*(statistics.median(getattr(one, name) for one in timings) for name in ("wall", "hub", "base")))


def line(one: Timing, many: Timing, number: int) -> Cost:
    """Through the costs of a transaction with one unit and of one with so many."""
    hub, base = (max(0.0, (big - small) / (number - 1)) for small, big in ((one.hub, many.hub), (one.base, many.base)))
    return Cost(max(0.0, one.hub - hub), hub, max(0.0, one.base - base), base)
