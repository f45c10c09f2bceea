"""What fires already is looked at in bites, beside everything else, and until it is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alerthub.domain.latch import LatchState
from alerthub.domain.route import Route
from alerthub.engine.sweep import sweep
from alerthub.errors import Busy
from alerthub.flow import late
from alerthub.store import latches
from tests.kit.alerts import firing
from tests.kit.world import World, rules_for, safe_mode

pytestmark = pytest.mark.anyio
AGENTS = [f"agent-{number}" for number in range(3)]
WITH_ACTION = rules_for(Route("alerts", group_by=("alertname",), actions=("safe-mode",)), actions=[safe_mode()], targets=AGENTS)
MANY = late.BITE * 2 + 100


class SometimesBusy:
    """The real store, which refuses each second write."""

    def __init__(self, world: World) -> None:
        self.world, self.tried, self.busy = world, 0, 0

    async def write(self, unit: Any) -> Any:
        self.tried += 1
        if self.tried % 2:
            self.busy += 1
            raise Busy("another transaction holds it")
        return await self.world.store.write(unit)


async def test_every_alert_that_fires_is_looked_at_in_bites_and_again_when_the_database_is_busy(world: World) -> None:
    world.configure(replace(WITH_ACTION, route=Route("alerts", group_by=("alertname",))))
    first, *_, last = names = [f"Disk{number:04}" for number in range(MANY)]
    agents = {first: AGENTS[0], names[MANY // 2]: AGENTS[1], last: AGENTS[2]}
    await world.receive(*(firing(name, agent=agents.get(name, "none")) for name in names))
    world.configure(WITH_ACTION)
    store = SometimesBusy(world)
    await sweep(store, world.rules, world.clock, world.metrics, world.worker.nudge)     # type: ignore[arg-type]
    found = await world.store.read(lambda tx: [latches.find(tx, name) for name in AGENTS])
    assert [one.state for one in found if one] == [LatchState.safe] * 3
    assert (store.tried, store.busy) == (6, 3)      # three bites, each at the second try
    assert world.worker.called.is_set()


class SometimesWrong(SometimesBusy):
    """The real store, which fails at first as nobody has foreseen."""

    async def write(self, unit: Any) -> Any:
        self.tried += 1
        if self.tried == 1:
            raise LookupError("nobody has foreseen this")
        return await self.world.store.write(unit)


async def test_no_error_ends_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.configure(replace(WITH_ACTION, route=Route("alerts", group_by=("alertname",))))
    await world.receive(firing("Disk", agent=AGENTS[0]))
    world.configure(WITH_ACTION)
    store = SometimesWrong(world)
    await sweep(store, world.rules, world.clock, world.metrics, world.worker.nudge)     # type: ignore[arg-type]
    found = await world.store.read(lambda tx: latches.find(tx, AGENTS[0]))
    assert found is not None
    assert found.state is LatchState.safe
    assert "sweep.failed" in [getattr(record, "event", "") for record in caplog.records]
