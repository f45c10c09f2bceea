"""Forgetting keeps nobody waiting: in small bites, between the other rounds, as fast as alerts come in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerthub.engine.rounds import PRUNE_SECONDS, Rounds
from alerthub.flow import prune
from alerthub.metrics import Metrics
from alerthub.store import pruning
from alerthub.store.database import Store
from alerthub.store.schema import alerts, events, incidents
from tests.kit.alerts import firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.rows import count
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
