"""LISTEN and NOTIFY between replicas: who makes work due calls the others with the commit; a lost line is mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from alerthub.clock import SystemClock
from alerthub.engine.calls import Calls
from alerthub.errors import Busy
from alerthub.flow.intake import take_in
from alerthub.metrics import Metrics
from alerthub.store import calls
from alerthub.store.database import Store
from alerthub.store.tx import Tx
from tests.kit.alerts import batch, firing
from tests.kit.binaries import eventually, free_port
from tests.kit.hub import running_hub
from tests.kit.stores import database
from tests.kit.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
SOON = 20.0
ERROR = timedelta(seconds=1)       # a machine under load: a look that takes longer does not count


@dataclass
class Replicas:
    """Of one hub: `world` is the one that has work, `line` is another one's ear."""

    url: str
    world: World
    other: Store
    line: calls.Line = field(init=False)

    def heard(self) -> list[str]:
        """All that was said until now: PostgreSQL passes things on in the order of the commits."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("select pg_notify('alerthub', 'so far')")
        found: list[str] = []
        while "so far" not in found:
            found += self.line.heard()
        return found[:-1]


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    with database("postgres", tmp_path) as url, ExitStack() as ending:
        clock = SystemClock()
        one, two = (Store(url, clock.new_id, caller=calls.Caller(owner, clock.monotonic)) for owner in ("one", "two"))
        found = Replicas(url, World(one), two)
        found.line = two.line()
        ending.callback(one.close)
        ending.callback(two.close)
        ending.callback(found.line.close)
        yield found


async def test_a_commit_that_makes_work_due_calls_once_and_a_repeat_does_not(replicas: Replicas) -> None:
    await replicas.world.receive(firing("Disk"), firing("Cpu"))
    assert replicas.heard() == ["one"]
    await replicas.world.receive(firing("Disk"), firing("Cpu"))
    assert replicas.heard() == []
    await replicas.world.drain()
    assert replicas.heard() == []       # what was sent is settled: nobody else has to do anything


async def test_in_a_storm_not_each_commit_carries_a_call_and_what_was_left_out_follows(replicas: Replicas) -> None:
    async with hearing(replicas.world.store, "one"):
        caller = replicas.world.store.caller
        caller.last = caller.monotonic() + 1000     # it has just called
        owes, told = caller.owes, []
        caller.owes = lambda: told.append("owed")       # who calls for it hears of it below, however long these two take
        await replicas.world.receive(firing("Disk"))
        await replicas.world.receive(firing("Cpu"))
        assert (caller.owed, told) == (True, ["owed"])
        caller.owes = owes
        assert owes is not None
        owes()
        await eventually(lambda: not caller.owed, SOON, "it is called for")
        assert replicas.heard() == ["one"]
    assert caller.owes is None


async def test_what_is_rolled_back_calls_nobody(replicas: Replicas) -> None:
    def broken(tx: Tx) -> None:
        world = replicas.world
        take_in(tx, world.rules, [batch(firing("Disk"), at=world.clock.now())], world.clock.now())
        raise LookupError

    with pytest.raises(LookupError):
        await replicas.world.store.write(broken)
    assert replicas.heard() == []


@dataclass
class Hearing:
    """A replica that listens, and what that makes it do."""

    calls: Calls
    looked: asyncio.Event
    asked: asyncio.Event


@asynccontextmanager
async def hearing(store: Store, owner: str) -> AsyncIterator[Hearing]:
    looked, asked = asyncio.Event(), asyncio.Event()
    listening = Calls(store, SystemClock(), Metrics(), owner, looked.set, asked.set)
    task = asyncio.create_task(listening.run())
    await eventually(lambda: listening.state() == "running" and looked.is_set(), SOON, "the line is there")
    looked.clear()
    try:
        yield Hearing(listening, looked, asked)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_another_replicas_work_wakes_and_ones_own_does_not(replicas: Replicas) -> None:
    async with hearing(replicas.other, "two") as two, hearing(replicas.world.store, "one") as one:
        await replicas.world.receive(firing("Disk"))
        await asyncio.wait_for(two.looked.wait(), SOON)
        say(replicas, calls.CLOCK)      # heard by both, and after the other
        await asyncio.wait_for(one.asked.wait(), SOON)
        assert not one.looked.is_set()


async def test_a_storm_of_calls_is_one_look_now_and_one_later(replicas: Replicas) -> None:
    looks: list[str] = []
    listening = Calls(replicas.other, replicas.world.clock, Metrics(), "two", lambda: looks.append("look"), lambda: None)
    listening.pass_on(["one", "three"])
    for _ in range(100):
        listening.pass_on(["one"])
    assert (looks, listening.waiting is not None) == (["look"], True)
    await eventually(lambda: len(looks) == 2, SOON, "the later look")
    assert listening.waiting is None


async def test_a_line_that_is_cut_is_said_and_mended_and_what_was_missed_is_looked_for(replicas: Replicas) -> None:
    replicas.line.close()
    async with hearing(replicas.other, "two") as two:
        cut(replicas)
        await eventually(lambda: two.looked.is_set(), SOON, "it looks as soon as the line is there again")
        assert two.calls.state() == "running"
        two.looked.clear()
        await replicas.world.receive(firing("Disk"))
        await asyncio.wait_for(two.looked.wait(), SOON)


async def test_health_says_that_no_other_replica_is_heard() -> None:
    store = Store(f"postgresql://hub:hunter2@127.0.0.1:{free_port()}/hub", SystemClock().new_id)
    listening = Calls(store, SystemClock(), Metrics(), "two", lambda: None, lambda: None)
    task = asyncio.create_task(listening.run())
    await eventually(lambda: "OperationalError" in listening.state(), SOON, "it is said")
    assert listening.state() == "does not hear other replicas, looks every few seconds: database: OperationalError"
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    store.close()


async def test_a_line_that_ends_is_busy(replicas: Replicas) -> None:
    cut(replicas)
    with pytest.raises(Busy):
        while True:
            replicas.line.heard()


async def test_a_hub_on_postgresql_hears_and_has_the_databases_time(replicas: Replicas) -> None:
    async with running_hub(database=replicas.url, loops=True) as hub:
        await eventually(lambda: hub.hub.components()["replicas"] == "running", SOON, "the line is there")
        assert hub.hub.components()["clock"] == "running"
        with psycopg.connect(replicas.url) as connection:
            ((before,),) = connection.execute("select clock_timestamp()")
            now = hub.hub.clock.now()
            ((after,),) = connection.execute("select clock_timestamp()")
        assert before - ERROR < now < after + ERROR


async def test_a_hub_on_sqlite_has_nothing_of_it() -> None:
    async with running_hub(loops=True) as hub:
        assert {"replicas", "clock"}.isdisjoint(hub.hub.components())


def say(replicas: Replicas, payload: str) -> None:
    with psycopg.connect(replicas.url, autocommit=True) as connection:
        connection.execute("select pg_notify('alerthub', %s)", [payload])


def cut(replicas: Replicas) -> None:
    with psycopg.connect(replicas.url, autocommit=True) as connection:
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity"
                           " where datname = current_database() and query like 'LISTEN%'")
