"""WHEN webhooks are committed: those that wait together share one transaction, and are answered together."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock

from alerthub.clock import Clock
from alerthub.domain.action import RunState
from alerthub.domain.alert import Batch
from alerthub.domain.event import Event, EventKind
from alerthub.domain.incident import key_of
from alerthub.domain.rules import Rules
from alerthub.engine.waking import fail, tell
from alerthub.errors import Busy
from alerthub.flow import beat
from alerthub.flow.intake import Taken, take_in
from alerthub.metrics import Metrics
from alerthub.store.database import Store
from alerthub.store.tx import BRIEFLY, InTurn, Locked, Tx, briefly
from alerthub.telemetry import OFF, Tracer

logger = logging.getLogger("alerthub.intake")
TOGETHER_ALERTS = 2000      # in one transaction: bounds how long the first webhook waits for the last
TOGETHER_BATCHES = 128
WAITING_ALERTS = 60_000     # more than this waiting is overload: 503, the sender retries
AHEAD = 2                   # commits: the one that the database works at, and the next
LARGE_AT_ONCE = 16
LARGE_KEPT = 60.0           # seconds for which the sender's next try is answered by what became of it
ALONE = 50                  # milliseconds; the group has waited for the lock already
AT_ONCE = 2                 # of those that are tried alone: the other connections are for others
NAMED = 50                  # incidents that the trace of one commit names
Large = tuple[str, str, int]    # source, body, and which history of the database
CHUNK_ALERTS = 5000         # a larger webhook takes several transactions; it is answered after the last


@dataclass(slots=True)
class Waiting:
    batch: Batch
    future: asyncio.Future[None]
    span: object | None = None      # that of its webhook


class Doorway:
    """`take` returns when the batch is committed. Raises Busy when that cannot be done now. `nudge` is told whether an action run
    may have become due."""

    def __init__(self, store: Store, rules: Callable[[], Rules], clock: Clock, metrics: Metrics,
                 nudge: Callable[[bool], None], limit: int = WAITING_ALERTS, tracer: Tracer = OFF) -> None:
        self.store, self.rules, self.clock, self.metrics, self.nudge = store, rules, clock, metrics, nudge
        self.limit, self.tracer = limit, tracer
        self.queue: deque[Waiting] = deque()
        self.taking = Lock()
        self.came, self.gone = 0, 0     # alerts that were put into the queue, and taken out of it
        self.under_way: set[asyncio.Task[None]] = set()
        self.is_next = False        # one of them has not begun yet: it takes what comes until then
        self.large: dict[Large, asyncio.Task[None]] = {}

    async def take(self, batch: Batch) -> None:
        if len(batch.alerts) <= CHUNK_ALERTS:
            await self.take_part(batch)
        else:
            await self.take_parts_of(batch)

    async def take_parts_of(self, batch: Batch) -> None:
        """A webhook too large for one transaction goes on being stored when its sender was answered 503 meanwhile; when the
        sender repeats it, it is answered by what became of it."""
        if (done := self.large.get(self.named(batch))) is not None and done.done():
            await self.store.read(nothing)      # or nobody may have noticed yet that the database is another one
        which = self.named(batch)
        going = self.large.get(which)
        if going is None:
            if len(self.large) >= LARGE_AT_ONCE:
                raise Busy("too many large webhooks are being stored")
            going = self.large[which] = asyncio.create_task(self.take_each(batch), name="large intake")
            going.add_done_callback(lambda done: self.large_ended(which, done))
        await asyncio.shield(going)

    def named(self, batch: Batch) -> Large:
        """What is stored in one history of the database may be lost in the next."""
        return batch.source, batch.body_sha256, self.store.lineage.changes

    def large_ended(self, which: Large, task: asyncio.Task[None]) -> None:
        """What failed is tried anew by the sender's next try; what is stored is answered 200 at once."""
        if task.cancelled() or task.exception() is not None:
            self.large.pop(which, None)
        else:
            asyncio.get_running_loop().call_later(LARGE_KEPT, self.large.pop, which, None)

    async def take_each(self, batch: Batch) -> None:
        named = self.named(batch)
        for part in parts(batch):
            await self.take_part(part)
        if self.named(batch) != named:
            raise Busy("the database is another one since: the first parts may be lost")

    async def take_part(self, batch: Batch) -> None:
        if self.waiting_alerts > self.limit:
            raise Busy("too many alerts are waiting to be stored")
        waiting = Waiting(batch, asyncio.get_running_loop().create_future(), self.tracer.here())
        self.queue.append(waiting)
        self.came += weight(batch)
        self.go_on()
        await waiting.future

    def go_on(self) -> None:
        """Let what waits be committed. One commit more than the database works at is ready to begin: it does not wait until the
        loop, which is busy with the webhooks to come, has answered those of the last one."""
        if self.queue and not self.is_next and len(self.under_way) < AHEAD:
            self.is_next = True
            task = asyncio.create_task(self.commit_next(), name="intake")
            self.under_way.add(task)
            task.add_done_callback(self.ended)

    def ended(self, task: asyncio.Task[None]) -> None:
        self.under_way.discard(task)
        self.go_on()

    async def commit_next(self) -> None:
        """Which webhooks are committed together is known when the transaction begins."""
        rules, began = self.rules(), self.clock.now()
        group: list[Waiting] | None = None      # empty when all who waited have given up: what comes now is for the next one

        def unit(tx: Tx) -> Taken:
            nonlocal group
            if group is None:       # it may be run again
                group = self.next_group()
            return taken_in(tx, rules, [waiting.batch for waiting in group], self.clock.now())

        (outcome,) = await asyncio.gather(self.store.write(InTurn(briefly(unit))), return_exceptions=True)
        if group is None:       # it has not even begun
            group = self.next_group()
        if group:
            await self.answer(group, outcome, rules, began)

    async def commit(self, group: list[Waiting], patience: int = BRIEFLY) -> None:
        rules, began, batches = self.rules(), self.clock.now(), [waiting.batch for waiting in group]
        work = self.store.write(briefly(lambda tx: taken_in(tx, rules, batches, self.clock.now()), patience))
        (outcome,) = await asyncio.gather(work, return_exceptions=True)
        await self.answer(group, outcome, rules, began)

    @property
    def waiting_alerts(self) -> int:
        return self.came - self.gone

    def next_group(self) -> list[Waiting]:
        """Called by the database's threads: what is put into the queue after the first line is for the next one, or for this."""
        self.is_next = False
        group: list[Waiting] = []
        alerts = 0
        with self.taking:
            while self.queue and len(group) < TOGETHER_BATCHES and alerts < TOGETHER_ALERTS:
                waiting = self.queue.popleft()
                self.gone += weight(waiting.batch)
                if not waiting.future.cancelled():      # else its sender was answered 503 already
                    group.append(waiting)
                    alerts += len(waiting.batch.alerts)
        return group

    async def answer(self, group: list[Waiting], outcome: Taken | BaseException, rules: Rules, began: datetime) -> None:
        """Tell those who wait what became of it; what could not be committed together is tried apart."""
        if isinstance(outcome, Taken):
            for waiting in group:
                tell(waiting.future, None)
            self.note(outcome)
        self.trace(group, outcome, began)
        if not isinstance(outcome, Taken):
            await self.try_apart(group, outcome, rules)

    async def try_apart(self, group: list[Waiting], outcome: BaseException, rules: Rules) -> None:
        if len(group) > 1 and not isinstance(outcome, Busy):
            # Each on its own: a webhook that breaks the fold must not take its neighbours with it.
            for waiting in group:
                await self.commit([waiting])
        elif isinstance(outcome, Locked) and len(apart := kindred(group, rules)) > 1:
            await self.commit_apart(apart)
        else:
            for waiting in group:
                fail(waiting.future, outcome)

    async def commit_apart(self, groups: list[list[Waiting]]) -> None:
        """One incident that another transaction holds must not keep the others out: only its own senders are answered 503."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def commit(group: list[Waiting]) -> None:
            async with slots:
                await self.commit(group, ALONE)
        await asyncio.gather(*(commit(group) for group in groups))

    def trace(self, group: list[Waiting], outcome: Taken | BaseException, began: datetime) -> None:
        events, error = (outcome.events, "") if isinstance(outcome, Taken) else ([], type(outcome).__name__)
        named = sorted({event.incident_id for event in events})[:NAMED]
        self.tracer.past("commit", began, [waiting.span for waiting in group], error, webhooks=len(group), incident_ids=named)

    def note(self, taken: Taken) -> None:
        for verdict, count in taken.verdicts.items():
            self.metrics.observations.labels(verdict.value).inc(count)
        note_events(self.metrics, taken.events)
        if taken.is_news or taken.runs:
            self.nudge(bool(taken.runs))


def taken_in(tx: Tx, rules: Rules, batches: Sequence[Batch], now: datetime) -> Taken:
    """The webhooks stored; and what they say of heartbeats, in the same transaction."""
    taken = take_in(tx, rules, batches, now)
    for batch in batches if rules.heartbeats else ():
        if heard := beat.match(tx, rules, batch, now):
            taken.events += heard.events
            taken.runs += heard.runs
    return taken


def note_events(metrics: Metrics, events: Iterable[Event]) -> None:
    """One line and one count per change of an incident; and of an action that was refused when it was called for."""
    for event in events:
        metrics.events.labels(event.kind.value).inc()
        if event.kind is EventKind.action and event.data.get("state") == RunState.refused.value:
            metrics.refused.labels(event.data["action"], event.data["reason"]).inc()
        logger.info("incident %s: %s", event.kind.value, event.text, extra={
            "event": f"incident.{event.kind.value}", "incident_id": event.incident_id, "seq": event.seq})


def nothing(tx: Tx) -> None:
    """Over a connection that works."""


def weight(batch: Batch) -> int:
    """A webhook without alerts takes room as well."""
    return max(1, len(batch.alerts))


def kindred(group: Sequence[Waiting], rules: Rules) -> list[list[Waiting]]:
    """Webhooks that speak of the same alert stay together, in their order: a resolve must not overtake its firing. And those of
    the same incident: when it is held, they wait for it once, and not one after the other."""
    found: list[tuple[set[str], list[Waiting]]] = []
    for waiting in group:
        names = subjects(waiting.batch, rules)
        related = [one for one in found if one[0] & names]
        found = [one for one in found if not one[0] & names]
        found.append((names.union(*(one[0] for one in related)), [*(each for one in related for each in one[1]), waiting]))
    return [members for _, members in found]


def subjects(batch: Batch, rules: Rules) -> set[str]:
    """What a webhook speaks of: its alerts, and the incidents that they belong to by these rules."""
    keys = {key_of(batch, alert, rules.routes(alert.labels)) for alert in batch.alerts}
    return keys | {f"{batch.source}/{alert.identity}" for alert in batch.alerts}


def parts(batch: Batch) -> Iterator[Batch]:
    """The batch in pieces that one transaction can hold; what fires first, so that no piece closes what the next reopens."""
    ordered = sorted(batch.alerts, key=lambda alert: not alert.is_firing)
    for start in range(0, len(ordered), CHUNK_ALERTS):
        yield replace(batch, alerts=tuple(ordered[start:start + CHUNK_ALERTS]))
