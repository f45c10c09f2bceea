"""Reloads that meet a busy database, or one another; and the machine's clock that jumps while the hub runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from alerthub.app import Hub
from alerthub.channels.base import Take
from alerthub.clock import SystemClock
from alerthub.domain.latch import LatchState
from alerthub.flow import beat
from alerthub.store import latches
from alerthub.store.schema import lanes
from alerthub.store.tx import Locked
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub

pytestmark = pytest.mark.anyio
WATCHED = """
sources:
  - {name: alertmanager, type: alertmanager}
receivers:
  - {name: console, console_configs: [{}]}
targets:
  - {name: agent-btc, type: agent, url: "http://127.0.0.1:9"}
actions:
  - {name: safe-mode, type: safe_mode, direction: tighten, target_label: agent}
route: {receiver: console, group_by: [alertname]}
heartbeats:
  - {name: etl, interval: 1m, receiver: console}
"""
WITH_ACTION = WATCHED.replace("receiver: console}\n", "receiver: console, actions: [{name: safe-mode, targets: [agent-btc]}]}\n")


async def is_missing(running: RunningHub, clock: FakeClock, seconds: int) -> None:
    for _ in range(0, seconds, 10):
        clock.advance(seconds=10)
        await running.hub.store.write(lambda tx: beat.run_due(tx, running.hub.rules, clock.now()))


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_reload_that_meets_a_busy_database_latches_in_the_end(times: int) -> None:
    clock = FakeClock()
    async with running_hub(WATCHED, clock=clock) as running:
        hub = running.hub
        await hub.take_over()
        await is_missing(running, clock, 200)
        running.path.write_text(running.path.read_text().replace(WATCHED, WITH_ACTION))
        write, left, said = hub.store.write, [times], []

        async def busy_at_first(unit: Callable[..., Any]) -> Any:
            if left[0]:
                left[0] -= 1
                raise Locked("database: LockNotAvailable")
            said.append(hub.components()["configuration"])
            return await write(unit)

        hub.store.write = busy_at_first
        assert hub.reload() == []
        await asyncio.wait_for(asyncio.shield(hub.changing), 10)
        hub.store.write = write
        await is_missing(running, clock, 60)
        assert (await hub.store.read(latches.read))["agent-btc"].state is LatchState.safe
        assert ("not looked at yet" in said[0], hub.components()["configuration"]) == (times > 0, "running")


class Poller:
    """A listener that takes its time to end."""

    name, is_exclusive = "telegram", False

    def __init__(self) -> None:
        self.alive = self.most = 0

    async def listen(self, hear: Take) -> None:
        self.alive += 1
        self.most = max(self.most, self.alive)
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            self.alive -= 1

    async def aclose(self) -> None: ...


async def test_of_reloads_at_once_one_listener_is_left() -> None:
    poller = Poller()

    class Listening(Hub):
        listeners = property(lambda self: [poller])

    async with running_hub(PLAIN, hub_type=Listening) as running:
        hub = running.hub
        hub.listening.start(hub.listeners)
        for _ in range(3):
            assert hub.reload() == []
        await asyncio.wait_for(asyncio.shield(hub.changing), 10)
        await asyncio.sleep(0)
        assert (poller.alive, poller.most) == (1, 1)


class Jumping(SystemClock):
    """The machine's clock, that somebody sets."""

    offset = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self.offset


@pytest.mark.slow
@pytest.mark.parametrize("hours", [8, -8])
async def test_what_comes_while_the_clock_jumps_is_told_at_once(hours: int) -> None:
    clock = Jumping()
    async with running_hub(PLAIN, clock=clock, loops=True) as running:
        await running.hub.take(batch(firing("Before"), at=running.hub.clock.now()))
        await told(running, 1)
        clock.offset = timedelta(hours=hours)
        await running.hub.take(batch(firing("Reward", severity="critical"), at=running.hub.clock.now()))
        await told(running, 2)


async def told(running: RunningHub, count: int) -> None:
    """Until so many incidents are told, or the test is over."""
    query = select(lanes.c.told_seq).where(lanes.c.told_seq > 0)
    async with asyncio.timeout(10):
        while len(await running.hub.store.read(lambda tx: tx.conn.execute(query).all())) < count:
            await asyncio.sleep(0)


async def test_a_hub_that_stops_starts_no_listener_of_a_reload_that_waited() -> None:
    """Two reloads, of which the first has not ended the old listeners yet."""
    poller = Poller()

    class Listening(Hub):
        listeners = property(lambda self: [poller])

    async with running_hub(PLAIN, hub_type=Listening) as running:
        hub = running.hub
        hub.listening.start(hub.listeners)
        await asyncio.sleep(0)
        for _ in range(2):
            assert hub.reload() == []
        await asyncio.sleep(0)
        await hub.stop()
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() in ("reload", "sweep")] == []
        assert poller.alive == 0
