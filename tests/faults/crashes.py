"""F1: kill -9 at every step of a delivery, by every channel. Each life is a fork of a nursery that has imported everything, as in
tests/kit/kills.py, which does the same for actions; what a killed one leaves, the next one finds."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from queue import Queue
from typing import Any

from sqlalchemy import func, select

from alerthub.domain.alert import Alert, AlertStatus, Batch
from alerthub.flow.intake import take_in
from alerthub.store.schema import deliveries, lanes
from tests.faults.providers import rows
from tests.kit.crashing_hub import DeadlyChannel, DeadlyStore, steps_of
from tests.kit.faults.checker import Allowed
from tests.kit.faults.record import Sent
from tests.kit.faults.stage import BROKEN, Stage, stage
from tests.kit.faults.table import Row
from tests.kit.kills import LIFE_SECONDS, Life, Order, nursing
from tests.kit.passed_time import end_leases
from tests.kit.providers.http import Answer, FakeProvider, Request

READ = "request read"
UNANSWERED = ("webhook not committed", "webhook not answered")
CHANNELS = {"slack": "slack", "pagerduty": "pagerduty", "webhook": "machine"}
RECOVERS_EVERY = 10         # kills
LOST = "the hub stopped while sending"


class Delivering(Life):
    """Order.kind is the channel."""

    async def live(self) -> None:
        order = self.order
        if order.step:
            self.arm()
        else:
            end_leases(self.url)
        if order.numbers:
            await self.fire("firing")
        await self.rest()
        self.store.close()

    async def fire(self, status: str) -> None:
        now = self.clock.now()
        for number in self.order.numbers:
            batch = Batch("alertmanager", now, (Alert({"alertname": name_of(number)}, AlertStatus(status), {}, now),))
            await self.worker.store.write(lambda tx, one=batch: take_in(tx, self.rules, [one], now))

    async def rest(self) -> None:
        waiting = select(func.count()).select_from(lanes).where(lanes.c.want_seq > lanes.c.told_seq)
        while await self.store.read(lambda tx: tx.conn.execute(waiting).scalar()):
            if not await self.worker.run_once() and not self.worker.under_way:
                end_leases(self.url)        # and the budgets
            if self.worker.under_way:
                await asyncio.wait(self.worker.under_way)

    def arm(self) -> None:
        if self.order.step == READ:
            return
        step = steps_of(self.order.kind)[self.order.step]
        if step.when is not None:
            mine = step.when & (lanes.c.id > self.known()) if "delivery" in self.order.step else step.when
            self.worker.store = DeadlyStore(self.store, replace(step, when=mine))     # type: ignore[assignment]
        else:
            self.plant = replace(self.plant, channels={
                key: DeadlyChannel(found, step.call) if found.kind == self.order.kind else found
                for key, found in self.plant.channels.items()})

    def known(self) -> int:
        """The last lane of those that went before."""
        return int(self.store.read_now(lambda tx: tx.conn.execute(select(func.max(lanes.c.id))).scalar()) or 0)


def name_of(number: int) -> str:
    return f"Kill{number:05}y"


class Nursery:
    """Where the lives of one database are born."""

    def __init__(self, scene: Stage) -> None:
        self.scene = scene
        self.born: Queue[int] = Queue()

    @contextmanager
    def opened(self) -> Iterator[Nursery]:
        (self.scene.folder / "alerthub.yml").write_text(self.scene.config().replace("${HUB_LISTEN}", "127.0.0.1:8095"))
        with nursing(str(self.scene.folder), Delivering) as self.pipe:
            yield self

    def bear(self, wanted: int, **order: Any) -> None:
        """One life, which must end so."""
        self.pipe.send(Order(**order))
        self.born.put(self.pipe.recv())
        code = int(self.pipe.recv())
        if not self.born.empty():
            self.born.get()         # nobody had to strike it
        if code != wanted:
            log = (self.scene.folder / "log").read_text()[-3000:]
            raise AssertionError(f"a life ended with {code}, not {wanted}, at {order}:\n{log}")

    def strike_once(self, provider: FakeProvider) -> None:
        """The provider does what it is asked for, and kills before anybody hears of it."""
        healthy = provider.answer

        def answer(request: Request) -> Answer:
            provider.answer = healthy
            found = healthy(request)
            os.kill(self.born.get(timeout=LIFE_SECONDS), signal.SIGKILL)
            return found

        provider.answer = answer

    def note(self, numbers: Sequence[int], answer: int) -> None:
        for number in numbers:
            self.scene.recorder.note(Sent(time.time(), {name_of(number): "firing"}, answer))


def kill_deliveries(database: str, times: int) -> Row:
    """At each step of each channel in turn."""
    steps = [(channel, step) for step in (*steps_of("slack"), READ) for channel in CHANNELS]
    with stage(database, hubs=0) as scene, Nursery(scene).opened() as nursery:
        unanswered: list[int] = []
        for number, (channel, step) in enumerate(itertools.islice(itertools.cycle(steps), times)):
            if step == READ:
                nursery.strike_once(getattr(scene, CHANNELS[channel]))
            nursery.bear(-signal.SIGKILL, kind=channel, step=step, numbers=(number,))
            nursery.note([number], BROKEN if step in UNANSWERED else 200)
            unanswered += [number] * (step in UNANSWERED)
            if (number + 1) % RECOVERS_EVERY == 0 or number + 1 == times:
                nursery.bear(0, kind="", numbers=tuple(unanswered))
                nursery.note(unanswered, 200)
                unanswered = []
        scene.started(1).rest()
        lost = rows(scene.url, select(func.count()).where(deliveries.c.detail == LOST))[0][0]
        return Row(f"kill -9 at each of {len(steps)} steps of a delivery ({lost} deliveries were in flight)", times,
                   "the message says: This may be a duplicate", scene.verdict(Allowed(extra=lost)))
