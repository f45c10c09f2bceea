"""When webhooks are committed: a sender is answered by what became of its own webhook."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from alerthub.engine.doorway import Doorway
from alerthub.store.database import Unit
from alerthub.store.tx import Tx
from tests.kit.alerts import batch, firing
from tests.kit.world import World

pytestmark = pytest.mark.anyio


def door_of(world: World) -> Doorway:
    return Doorway(world.store, lambda: world.rules, world.clock, world.metrics, lambda _: None)


async def test_what_comes_while_nothing_is_committed_is_committed_itself(
        world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All senders of a commit have given up before it began; the next webhook comes before it has ended."""
    door, write = door_of(world), world.store.write
    may_begin, has_run, may_end = asyncio.Event(), threading.Event(), threading.Event()

    async def held(unit: Unit[Any]) -> Any:
        def slow(tx: Tx) -> Any:
            result = unit(tx)
            has_run.set()
            may_end.wait(5)
            return result
        await may_begin.wait()
        return await write(slow)

    monkeypatch.setattr(world.store, "write", held)
    given_up = asyncio.create_task(door.take(batch(firing("Disk"))))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    may_begin.set()
    await asyncio.to_thread(has_run.wait, 5)
    may_begin.clear()
    taking = asyncio.create_task(door.take(batch(firing("Memory"))))
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.wait({taking}, timeout=0.3)       # the commit of nothing has ended
    may_begin.set()
    await asyncio.wait_for(taking, 5)
    assert [incident["title"] for incident in await world.incidents()] == ["Memory"]
