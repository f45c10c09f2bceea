"""What a worker looks at: everything that may be due, whoever made it due, and whatever else cannot be looked at."""

from __future__ import annotations

from contextlib import suppress

import pytest
from anyio.lowlevel import checkpoint
from sqlalchemy import text

from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction
from alerthub.flow import deliver
from tests.kit.alerts import firing
from tests.kit.world import World, rules_for

pytestmark = pytest.mark.anyio
RETRY = ActionRule("retry", "http", Direction.neutral, targets=("etl",), version="1")


@pytest.fixture
async def rested(world: World) -> World:
    """Its worker knows of nothing to do. Another replica's work comes after that, and nobody calls."""
    world.configure(rules_for(Route("alerts", group_by=("alertname",), actions=("retry",)), actions=[RETRY], targets=["etl"]))
    await world.worker.look()
    return world


async def test_an_action_is_found_while_deliveries_cannot_be_claimed(rested: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a lane that nobody foresaw")
    monkeypatch.setattr(deliver, "claim", broken)
    await rested.receive(firing("Disk"))
    for _ in range(3):
        with suppress(ValueError):
            await rested.worker.look()
    await checkpoint()
    assert len(rested.actions["retry", "etl"].calls) == 1


async def test_an_action_that_a_look_has_seen_is_not_left_until_the_next_poll(rested: World) -> None:
    await rested.receive(firing("Disk"))
    await rested.store.write(lambda tx: tx.conn.execute(text("UPDATE lanes SET due_at = NULL")))
    assert await rested.worker.look() == 0.0
    await rested.drain()
    assert len(rested.actions["retry", "etl"].calls) == 1
