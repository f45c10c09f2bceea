"""What those who look on are told: each incident that has changed since the last look, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alerthub.domain.route import Route
from alerthub.store import changes
from alerthub.store.database import Store
from alerthub.store.schema import deliveries, events, incidents
from alerthub.store.tx import Tx
from tests.kit.alerts import firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.stores import EACH_DATABASE, database
from tests.kit.world import World, rules_for

pytestmark = pytest.mark.anyio


@pytest.fixture(params=EACH_DATABASE)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    clock = FakeClock()
    with database(request.param, tmp_path) as url:
        store = Store(url, clock.new_id)
        yield World(store, rules_for(Route("alerts", group_by=("alertname",))), clock)
        store.close()


class Watcher:
    """Looks now and then; by the titles of what has changed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.seen: changes.Seen | None = None

    def look(self) -> frozenset[str] | None:
        self.seen, found = self.world.store.read_now(lambda tx: changes.look(tx, self.seen))
        return found


async def test_the_first_look_finds_nothing_changed(world: World) -> None:
    await world.receive(firing("DiskFull"))
    assert Watcher(world).look() == frozenset()


async def test_on_an_empty_database_there_is_nothing_either(world: World) -> None:
    watcher = Watcher(world)
    assert watcher.look() == frozenset()
    await world.receive(firing("DiskFull"))
    assert len(watcher.look() or ()) == 1


async def test_each_change_is_seen_once(world: World) -> None:
    await world.receive(firing("DiskFull"), firing("Calm"))
    await world.drain()
    watcher = Watcher(world)
    watcher.look()
    assert watcher.look() == frozenset()
    await world.receive(resolved("DiskFull", ends_at=world.clock.advance(minutes=1)))
    changed = watcher.look()
    assert changed is not None
    assert len(changed) == 1
    assert watcher.look() == frozenset()


async def test_a_repeat_of_the_source_is_no_change(world: World) -> None:
    await world.receive(firing("DiskFull"))
    watcher = Watcher(world)
    watcher.look()
    world.clock.advance(minutes=1)
    await world.receive(firing("DiskFull"))
    assert watcher.look() == frozenset()


async def test_that_a_message_was_sent_is_a_change_of_its_incident(world: World) -> None:
    watcher = Watcher(world)
    watcher.look()
    await world.receive(firing("DiskFull"))
    (opened,) = watcher.look() or ()
    await world.drain()
    assert watcher.look() == {opened}
    assert watcher.look() == frozenset()


async def test_a_number_that_becomes_visible_late_is_seen(world: World) -> None:
    """A transaction that began first may commit last: its rows have smaller numbers."""
    await world.receive(firing("DiskFull"), firing("Calm"))
    watcher = Watcher(world)
    watcher.look()
    assert watcher.seen is not None
    last = min(watcher.seen.events)
    known = {position: one for position, one in watcher.seen.events.items() if position != last}
    missed = watcher.seen.events[last]
    watcher.seen = replace(watcher.seen, events=known)
    assert watcher.look() == {missed}


async def test_very_much_is_simply_much(world: World) -> None:
    watcher = Watcher(world)
    watcher.look()
    await world.receive(*(firing(f"Disk{number:04}") for number in range(changes.MOST + 1)))
    assert watcher.look() is None
    assert watcher.look() is not None


async def test_of_a_long_history_only_its_end_is_kept(world: World) -> None:
    await world.receive(*(firing(f"Disk{number:04}") for number in range(changes.LATE * 2)))
    watcher = Watcher(world)
    watcher.look()
    assert watcher.seen is not None
    assert len(watcher.seen.events) == changes.LATE


async def test_what_was_pruned_is_no_change(world: World) -> None:
    await world.receive(firing("DiskFull"))
    await world.drain()
    watcher = Watcher(world)
    watcher.look()

    def prune(tx: object) -> None:
        tx.conn.execute(events.delete())        # type: ignore[attr-defined]
        tx.conn.execute(deliveries.delete())    # type: ignore[attr-defined]

    world.store.write_now(prune)
    assert watcher.look() == frozenset()


async def test_a_number_that_was_given_again_is_a_change(world: World) -> None:
    """After a failover the newest events may be lost, and others have their positions."""
    await world.receive(firing("Lost"))
    watcher = Watcher(world)
    watcher.look()

    def lose(tx: Tx) -> None:
        tx.conn.execute(incidents.delete())

    def give_again(tx: Tx) -> None:
        tx.conn.execute(events.update().values(position=1))

    world.store.write_now(lose)
    await world.receive(firing("Other"))
    world.store.write_now(give_again)
    assert len(watcher.look() or ()) == 1
