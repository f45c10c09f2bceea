"""Forgetting keeps nobody waiting: in small bites, between the other rounds, as fast as alerts come in."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from alerthub.engine.rounds import PRUNE_SECONDS, Rounds
from alerthub.flow import prune
from alerthub.flow.intake import take_in
from alerthub.metrics import Metrics
from alerthub.store import pruning
from alerthub.store.database import Store
from alerthub.store.schema import alerts, events, incidents
from alerthub.store.tx import Tx
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.rows import count
from tests.kit.stores import database
from tests.kit.world import World, rules_for

pytestmark = pytest.mark.anyio
LATER = timedelta(days=100)


async def closed(world: World, number: int, changes: int = 0) -> None:
    """So many closed incidents, each of which changed so often meanwhile."""
    one = {"host": "a"}
    for name in map(str, range(number)):
        await world.receive(firing(name, **one))
        for turn in range(changes):
            await world.receive(firing(name, host=f"b{turn}"))
        await world.receive(resolved(name, **one), *(resolved(name, host=f"b{turn}") for turn in range(changes)))
    await world.settle_down(30)


def left(store: Store) -> tuple[int, int, int]:
    return store.read_now(lambda tx: (count(tx, incidents), count(tx, alerts), count(tx, events)))


async def test_a_bite_has_no_more_rows_than_webhooks_may_wait_for(world: World, store: Store) -> None:
    await closed(world, 4, changes=5)       # 7 events and 6 alerts each
    each = pruning.ROWS_OF_ONE + 2 * 7 + 6
    forget = lambda rows: store.write_now(lambda tx: pruning.forget_incidents(    # noqa: E731
        tx, world.clock.now() + LATER, 100, rows))
    assert [forget(2 * each), forget(each - 1), forget(each), forget(each)] == [2, 1, 1, 0]
    assert left(store) == (0, 0, 0)


async def test_what_is_not_over_is_never_bitten(world: World, store: Store) -> None:
    await closed(world, 2)
    await world.receive(firing("Open"))
    world.clock.advance(days=100)
    assert store.write_now(lambda tx: prune.prune(tx, world.rules, world.clock.now())) == 2
    assert left(store)[0] == 1


class SlowStore:
    """A store whose every write takes a second, and which always has more to forget."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.writes = clock, 0

    async def write(self, _unit: object) -> int:
        self.clock.advance(seconds=1)
        self.writes += 1
        return 1


async def test_a_backlog_lets_the_other_rounds_have_their_turn_and_goes_on_after_them(clock: FakeClock) -> None:
    slow = SlowStore(clock)
    rounds = Rounds(slow, rules_for, dict, clock, Metrics(), "a", lambda: None)     # type: ignore[arg-type]
    rounds.next["prune"] = clock.now() + timedelta(minutes=1)
    began = clock.monotonic()
    await rounds.prune()
    assert PRUNE_SECONDS < clock.monotonic() - began < PRUNE_SECONDS + 5, "the others wait for so long"
    assert rounds.next["prune"] <= clock.now(), "it is not over, so it is due at once"
    assert slow.writes * 2 < clock.monotonic() - began, "most of the time is left to webhooks"


async def test_without_a_backlog_it_is_made_once_a_minute(world: World, store: Store, clock: FakeClock) -> None:
    rounds = Rounds(store, lambda: world.rules, dict, world.clock, Metrics(), "a", lambda: None)
    rounds.next["prune"] = due = world.clock.now() + timedelta(minutes=1)
    await rounds.prune()
    assert rounds.next["prune"] == due


@pytest.mark.postgres
async def test_what_opens_again_while_it_is_about_to_be_forgotten_is_kept(tmp_path: Path) -> None:
    with database("postgres", tmp_path) as url, closing(Store(url, FakeClock().new_id)) as store:
        world = World(store, replace(rules_for(), reopen_window=LATER * 2))
        await closed(world, 1)
        world.clock.moment += LATER
        entered, goes_on = threading.Event(), threading.Event()

        def reopens(tx: Tx) -> None:
            take_in(tx, world.rules, [batch(firing("0", host="a"), at=world.clock.now())], world.clock.now())
            entered.set()
            goes_on.wait(10)

        opening = asyncio.ensure_future(store.write(reopens))
        await asyncio.to_thread(entered.wait, 10)
        forgetting = asyncio.ensure_future(store.write(lambda tx: prune.prune(tx, world.rules, world.clock.now())))
        await asyncio.wait([forgetting], timeout=1)
        goes_on.set()
        await opening
        assert await forgetting == 0
        assert (await world.state()).is_open
