"""A small simulation of queues: processes that wait, servers that they take, a log that is flushed for all who wait for it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import count

Work = Generator[tuple[str, object], None, None]


class Simulation:
    """Processes are generators: they yield ("wait", seconds), ("take", server) or ("give", server), and ("flush", log)."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order = count()
        self.heap: list[tuple[float, int, Work]] = []

    def start(self, work: Work, after: float = 0.0) -> None:
        heapq.heappush(self.heap, (self.now + after, next(self.order), work))

    def run(self, until: float) -> None:
        while self.heap and self.heap[0][0] <= until:
            self.now, _, work = heapq.heappop(self.heap)
            self.step(work)
        self.now = until

    def step(self, work: Work) -> None:
        for verb, what in work:
            if verb == "wait":
                self.start(work, float(what))       # type: ignore[arg-type]
                return
            if verb == "take" and not what.take(self, work):        # type: ignore[attr-defined]
                return
            if verb == "give":
                what.give(self)         # type: ignore[attr-defined]
            if verb == "flush":
                what.join(self, work)   # type: ignore[attr-defined]
                return


@dataclass
class Server:
    """So many at a time, first come first served. `busy`: seconds of work done; `waited`: seconds spent in the queue."""

    places: int
    waiting: deque[tuple[Work, float]] = field(default_factory=deque)
    taken: int = 0
    waited: float = 0.0
    busy: float = 0.0
    since: float = 0.0

    def note(self, now: float) -> None:
        self.busy += self.taken * (now - self.since)
        self.since = now

    def take(self, simulation: Simulation, work: Work) -> bool:
        self.note(simulation.now)
        if self.taken < self.places:
            self.taken += 1
            return True
        self.waiting.append((work, simulation.now))
        return False

    def give(self, simulation: Simulation) -> None:
        self.note(simulation.now)
        if not self.waiting:
            self.taken -= 1
            return
        work, since = self.waiting.popleft()
        self.waited += simulation.now - since
        simulation.start(work)


@dataclass
class Log:
    """Each flush takes all who wait for one."""

    seconds: float
    waiting: list[Work] = field(default_factory=list)
    is_flushing: bool = False

    def join(self, simulation: Simulation, work: Work) -> None:
        self.waiting.append(work)
        if not self.is_flushing:
            simulation.start(self.flush(simulation))
            self.is_flushing = True

    def flush(self, simulation: Simulation) -> Work:
        while self.waiting:
            group, self.waiting = self.waiting, []
            yield "wait", self.seconds
            for work in group:
                simulation.start(work)
        self.is_flushing = False
