"""What was sent is written down many at a time, and waits for nobody's lock while it holds one itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from alerthub.domain.route import Route
from alerthub.flow import deliver
from alerthub.store import alerts, events
from alerthub.store.database import Store
from alerthub.store.tx import Tx
from tests.kit.alerts import firing, resolved
from tests.kit.binaries import eventually
from tests.kit.clock import FakeClock
from tests.kit.stores import database, locked
from tests.kit.world import World, destination, rules_for

pytestmark = pytest.mark.anyio
KEYS = [f"webhook:{name}" for name in "abc"]


def three(world: World) -> asyncio.Event:
    """Three destinations, whose answers wait for the event."""
    told = [destination(key, receiver="all", digests=False) for key in KEYS]
    world.configure(rules_for(Route("all", group_by=("alertname",)), receivers={"all": told}))
    gate = asyncio.Event()
    for key in KEYS:
        world.channels[key].gate = gate
    return gate


def states(tx: Tx) -> list[str]:
    return list(tx.conn.execute(text("SELECT state FROM deliveries ORDER BY destination")).scalars())


@pytest.fixture
def replica(tmp_path: Path, clock: FakeClock) -> Iterator[World]:
    with database("postgres", tmp_path) as url:
        store = Store(url, clock.new_id)
        yield World(store, clock=clock)
        store.close()


async def test_what_ends_together_is_written_down_together(world: World) -> None:
    gate = three(world)
    await world.receive(firing("Disk"))
    await world.worker.run_once()
    calls = 0
    write = world.store.write

    async def counted(unit: object) -> object:
        nonlocal calls
        calls += 1
        return await write(unit)    # type: ignore[arg-type]

    world.store.write = counted     # type: ignore[method-assign, assignment]
    gate.set()
    await asyncio.gather(*world.worker.under_way)
    assert (calls, await world.store.read(states)) == (1, ["sent"] * 3)


@pytest.mark.postgres
async def test_a_lane_that_somebody_holds_keeps_no_other_from_being_settled(replica: World) -> None:
    gate = three(replica)
    await replica.receive(firing("Disk"))
    await replica.worker.run_once()
    with locked(replica.store, "SELECT 1 FROM lanes WHERE destination = 'webhook:b' FOR UPDATE"):
        gate.set()
        await eventually(lambda: replica.store.read_now(states) == ["sent", "sending", "sent"], 5, "the others are settled")
    await asyncio.gather(*replica.worker.under_way)
    assert await replica.store.read(states) == ["sent"] * 3


@pytest.mark.postgres
@pytest.mark.parametrize("query", ["SELECT 1 FROM lanes WHERE destination = 'webhook:b' FOR UPDATE",
                                   "SELECT 1 FROM destinations WHERE key = 'webhook:b' FOR UPDATE"])
async def test_who_ends_later_does_not_stand_behind_one_that_waits(replica: World, query: str) -> None:
    gate = three(replica)
    replica.channels["webhook:b"].gate = first = asyncio.Event()
    await replica.receive(firing("Disk"))
    await replica.worker.run_once()
    with locked(replica.store, query):
        first.set()
        await eventually(lambda: replica.worker.settling.working, 5, "the first is being settled")
        gate.set()
        await eventually(lambda: replica.store.read_now(states) == ["sent", "sending", "sent"], 5, "the others are settled")
    await asyncio.gather(*replica.worker.under_way)
    assert await replica.store.read(states) == ["sent"] * 3


@pytest.mark.postgres
async def test_a_summary_waits_for_the_lanes_that_it_tells(replica: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Webhooks of a storm hold one or other of them nearly always."""
    monkeypatch.setattr(deliver, "SETTLE_WAITS", ())
    replica.configure(rules_for(Route("all", group_by=("alertname",)), receivers={"all": [destination(KEYS[0], receiver="all")]}))
    replica.channels[KEYS[0]].gate = gate = asyncio.Event()
    for number in range(30):
        await replica.receive(firing(f"Disk {number}"))
    await replica.worker.run_once()
    assert len(await replica.store.read(states)) == 30
    with locked(replica.store, "SELECT 1 FROM lanes ORDER BY id DESC LIMIT 1 FOR UPDATE"):
        gate.set()
        await eventually(lambda: replica.worker.settling.apart, 5, "it is settled apart")
    await asyncio.gather(*replica.worker.under_way)
    assert set(await replica.store.read(states)) == {"sent"}


@pytest.mark.postgres
async def test_a_new_lane_hides_its_destination_from_nobody(replica: World) -> None:
    """A webhook that refers to a destination holds a part of its row until it commits."""
    three(replica).set()
    await replica.receive(firing("Disk"))
    with locked(replica.store, "SELECT 1 FROM destinations FOR KEY SHARE"):
        await replica.drain()
        assert await replica.store.read(states) == ["sent"] * 3


async def test_many_incidents_are_read_as_each_would_be(world: World) -> None:
    for name, hosts in {"One": "a", "Two": "bcd", "Three": "efghi"}.items():
        await world.receive(*[firing(name, host=host) for host in hosts])
    await world.receive(resolved("Three", host="e"), resolved("Two", host="d"))
    ids = [incident["id"] for incident in await world.incidents()]
    spans = [(ids[0], 0, 9), (ids[1], 1, 2), (ids[0], 1, 1), (ids[2], 0, 1)]

    def compared(tx: Tx) -> None:
        each = {key: alerts.of_incident(tx, key, 3) for key in ids}
        assert alerts.first_of_each(tx, [*ids, "none"], 3) == each
        assert events.after_each(tx, spans) == [events.after(tx, *span) for span in spans]
        assert (alerts.first_of_each(tx, [], 3), events.after_each(tx, [])) == ({}, [])

    await world.store.read(compared)
