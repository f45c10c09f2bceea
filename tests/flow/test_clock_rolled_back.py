"""On SQLite units of work share a transaction: when it is rolled back, the hub's time is rolled back with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from alerthub.clock import SteeredClock
from alerthub.engine.hours import Hours
from alerthub.errors import Busy
from alerthub.flow.intake import take_in
from alerthub.store.database import Store
from alerthub.store.schema import lanes
from alerthub.store.tx import Tx
from tests.kit.alerts import batch, firing
from tests.kit.clock import START, FakeClock
from tests.kit.stores import database
from tests.kit.world import rules_for

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with database("sqlite", tmp_path) as url:
        store = Store(url, FakeClock().new_id)
        yield store
        store.close()


async def due(store: Store) -> list[datetime]:
    return list(await store.read(lambda tx: tx.conn.execute(select(lanes.c.due_at)).scalars()))


async def together(store: Store, *works: object) -> list[object]:
    """What these calls of `write` come to when their units share one transaction."""
    began, holds = threading.Event(), threading.Event()

    def held(_: Tx) -> None:
        began.set()
        holds.wait(10)

    first = asyncio.ensure_future(store.write(held))
    await asyncio.to_thread(began.wait, 10)
    tasks = [asyncio.ensure_future(work) for work in works]     # type: ignore[call-overload]
    for _ in range(10):     # until all of them wait
        await asyncio.sleep(0)
    holds.set()
    await first
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_what_shares_a_failed_transaction_with_a_jump_is_due_at_once(store: Store) -> None:
    """A webhook, the jump, and a claim that the jump refuses: the three are then run one by one."""
    own = FakeClock(START)
    clock = SteeredClock(own)
    hours = Hours(store, clock)
    await hours.follow()
    claim = hours.holding(lambda tx: None)
    own.moment += HOUR
    webhook = lambda tx: take_in(tx, rules_for(), [batch(firing("Disk"), at=clock.now())], clock.now())  # noqa: E731
    outcomes = await together(store, store.write(webhook), hours.follow(), store.write(claim))
    assert isinstance(outcomes[2], Busy)
    assert clock.now() == START + HOUR
    assert await due(store) == [START + HOUR]


async def test_a_jump_that_cannot_be_committed_is_seen_again(store: Store) -> None:
    own = FakeClock(START)
    clock = SteeredClock(own)
    hours = Hours(store, clock)
    await hours.follow()
    own.moment += HOUR
    write = store.write

    async def failing(unit: Callable[[Tx], None]) -> None:
        def broken(tx: Tx) -> None:
            unit(tx)
            assert clock.now() == START + HOUR
            raise Busy("the disk is full")
        await write(broken)

    store.write = failing       # type: ignore[assignment,method-assign]
    with pytest.raises(Busy):
        await hours.follow()
    assert clock.now() == START
    store.write = write         # type: ignore[method-assign]
    await hours.follow()
    assert clock.now() == START + HOUR


async def test_who_gives_up_waiting_for_a_jump_does_not_take_it_back(store: Store) -> None:
    """It is committed all the same: to see it again would move everything twice."""
    own = FakeClock(START)
    clock = SteeredClock(own)
    hours = Hours(store, clock)
    await hours.follow()
    own.moment += HOUR
    steer, steered, goes_on = clock.steer, threading.Event(), threading.Event()

    def slowly(moment: datetime, at: float) -> None:
        steer(moment, at)
        steered.set()
        goes_on.wait(10)

    clock.steer = slowly        # type: ignore[method-assign]
    following = asyncio.ensure_future(hours.follow())
    await asyncio.to_thread(steered.wait, 10)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    goes_on.set()
    await store.write(lambda tx: None)
    assert clock.now() == START + HOUR
