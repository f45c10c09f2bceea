"""Replicas on one PostgreSQL have one time, the database's, whatever their machines' clocks say; and one jump of it is one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from alerthub.clock import SteeredClock
from alerthub.domain.message import IncidentStatus
from alerthub.engine.hours import Hours
from alerthub.errors import Busy
from alerthub.flow import deliver
from alerthub.store import hours
from alerthub.store.database import Store
from alerthub.store.tx import Tx
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START, FakeClock
from tests.kit.database_clock import DatabaseClock
from tests.kit.stores import database
from tests.kit.world import World

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)


class Machine(World):
    """A replica on a machine of its own, whose clock is wrong by so many seconds."""

    def __init__(self, url: str, wrong: float) -> None:
        self.own = FakeClock(START + timedelta(seconds=wrong))
        super().__init__(Store(url, self.own.new_id))
        self.time = SteeredClock(self.own)
        self.clock = self.steered = self.time       # type: ignore[assignment]
        self.worker = self.new_worker("replica")

    async def look(self) -> None:
        await self.worker.hours.look(self.time)

    async def hold(self) -> None:
        """Claim what is due, and die over it."""
        def claim(tx: Tx) -> int:
            return deliver.claim(tx, self.rules, {"slack": 9, "email": 9}, {}, "dead", self.clock.now()).lanes
        assert await self.store.write(claim) == 1


class Machines:
    """Two replicas and their database. Time passes for all of them alike."""

    def __init__(self, url: str, *wrong: float) -> None:
        self.database = DatabaseClock(url, START)
        self.each = [Machine(url, seconds) for seconds in wrong]

    async def look(self) -> None:
        for machine in self.each:
            await machine.look()

    async def pass_by(self, seconds: float) -> None:
        self.database.set(self.database.moment + timedelta(seconds=seconds))
        for machine in self.each:
            machine.own.advance(seconds=seconds)
        await self.look()

    def close(self) -> None:
        for machine in self.each:
            machine.store.close()


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    """One is right, the other 90 s ahead."""
    with started(tmp_path, 0, 90) as found:
        yield found


@contextmanager
def started(folder: Path, *wrong: float) -> Iterator[Machines]:
    with database("postgres", folder) as url, ExitStack() as ending:
        found = Machines(url, *wrong)
        ending.callback(found.close)
        yield found


def titles(machine: World) -> list[str]:
    return [message.title for message in machine.slack.messages]


@pytest.mark.postgres
async def test_a_clock_that_is_90_s_ahead_takes_no_lease_that_holds_and_takes_it_when_it_is_over(machines: Machines) -> None:
    one, two = machines.each
    await machines.look()
    await one.receive(firing("Disk"))
    await one.hold()
    await two.drain()
    assert titles(two) == []
    await machines.pass_by(31)
    await two.drain()
    await one.drain()
    assert titles(two) + titles(one) == ["Disk"]


@pytest.mark.postgres
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_jump_of_the_databases_clock_ends_no_lease_and_freezes_nothing(machines: Machines, jump: timedelta) -> None:
    one, two = machines.each
    await machines.look()
    await one.receive(firing("Disk"))
    await one.hold()
    machines.database.set(machines.database.moment + jump)
    await machines.look()
    await two.drain()
    assert titles(two) == []
    await machines.pass_by(31)
    await two.drain()
    assert titles(two) == ["Disk"]
    await machines.pass_by(2)
    await two.receive(firing("Fresh"))
    await one.drain()
    assert titles(one) == ["Fresh"]


@pytest.mark.postgres
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_the_first_to_see_a_jump_moves_what_waits_and_the_others_do_not(machines: Machines, jump: timedelta) -> None:
    one, two = machines.each
    await machines.look()
    machines.database.set(START + jump)
    await machines.look()
    assert [machine.worker.hours.moved for machine in machines.each] == [jump, jump]
    assert [machine.worker.hours.jumps for machine in machines.each] == [1, 1]
    assert one.clock.now() == two.clock.now() == START + jump
    machines.database.set(START)
    await machines.look()
    assert [machine.worker.hours.moved for machine in machines.each] == [timedelta(0)] * 2


@pytest.mark.postgres
async def test_a_machine_that_stood_still_takes_the_time_and_moves_nothing(machines: Machines) -> None:
    one, two = machines.each
    await machines.look()
    for minute in range(1, 11):
        machines.database.set(START + timedelta(minutes=minute))
        one.own.advance(minutes=1)
        await one.look()
    await two.look()
    assert (two.worker.hours.moved, two.worker.hours.jumps) == (timedelta(0), 0)
    assert two.clock.now() == START + timedelta(minutes=10)


@pytest.mark.postgres
async def test_a_replica_that_slept_over_a_jump_follows_it_and_moves_nothing_again(machines: Machines) -> None:
    one, two = machines.each
    await machines.look()
    machines.database.set(START - HOUR)
    await one.look()
    for minute in range(1, 11):
        machines.database.set(START - HOUR + timedelta(minutes=minute))
        one.own.advance(minutes=1)
        await one.look()
    await two.look()
    assert (two.worker.hours.moved, two.worker.hours.jumps) == (-HOUR, 1)
    assert two.clock.now() == one.clock.now() == START - HOUR + timedelta(minutes=10)


@pytest.mark.postgres
@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_a_replica_that_starts_between_a_jump_and_the_look_that_finds_it_moves_nothing_back(
        machines: Machines, jump: timedelta) -> None:
    old, new = machines.each
    await old.look()
    machines.database.set(START + jump)
    await new.look()        # its first: it knows of no jump
    await old.look()
    await machines.pass_by(2)
    assert [machine.worker.hours.moved for machine in machines.each] == [jump, jump]
    assert old.clock.now() == new.clock.now() == START + jump + timedelta(seconds=2)


@pytest.mark.postgres
@pytest.mark.parametrize("read_after", [0, 16])
async def test_a_database_that_takes_long_to_say_what_time_it_is_has_not_jumped(machines: Machines, read_after: int) -> None:
    """It may have read its clock when it was asked or when it answered."""
    one, _ = machines.each
    await machines.look()
    machines.database.set(START + timedelta(seconds=read_after))
    asked_and_answered = iter((0.0, 16.0))
    read = await one.store.write(lambda tx: hours.look(tx, lambda: next(asked_and_answered), one.time.told, timedelta(0)))
    assert (read.error, read.jump) == (8, timedelta(0))


@pytest.mark.postgres
async def test_a_resolve_that_comes_to_a_replica_whose_clock_is_30_s_behind_is_not_late(tmp_path: Path) -> None:
    """R-14."""
    with started(tmp_path, 0, -30) as machines:
        one, two = machines.each
        await machines.look()
        await one.receive(firing("Disk"))
        await machines.pass_by(1)
        await two.receive(resolved("Disk"))
        assert (await one.state()).status is IncidentStatus.resolved


@pytest.mark.postgres
async def test_without_the_database_the_time_goes_on(machines: Machines) -> None:
    _, two = machines.each
    await machines.look()
    two.own.advance(seconds=40)
    assert two.clock.now() == START + timedelta(seconds=40)


async def test_no_error_ends_the_looks(world: World) -> None:
    """Else the replica would go on by a time of its own when the database's jumps."""
    clock, looks = Hours(world.store, world.clock), list[int]()

    async def look(_: SteeredClock) -> None:
        looks.append(1)
        clock.wanted.set()
        if len(looks) == 2:
            clock.stop()
        raise OverflowError("a year after 9999")

    clock.look = look       # type: ignore[method-assign]
    await asyncio.wait_for(clock.run(SteeredClock(world.clock)), 10)
    assert len(looks) == 2


async def test_what_read_the_clock_before_it_jumped_is_not_done_after(tmp_path: Path) -> None:
    """It would find leases over that are not."""
    with database("sqlite", tmp_path) as url, ExitStack() as ending:
        world = World(Store(url, FakeClock().new_id))
        ending.callback(world.store.close)
        clock, done = world.worker.hours, list[str]()
        await clock.follow()
        before = clock.holding(lambda tx: done.append("before"))
        world.clock.moment -= HOUR
        await clock.follow()
        with pytest.raises(Busy, match="the clock has just been set"):
            await world.store.write(before)
        await world.store.write(clock.holding(lambda tx: done.append("after")))
        assert done == ["after"]
