"""What opens and closes too often is one message with a count, and does not run its actions over and over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.action import RunState
from alerthub.domain.message import IncidentStatus
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction, Flapping
from alerthub.flow import flapping
from alerthub.store.database import Store
from tests.kit.alerts import firing, resolved
from tests.kit.world import EMAIL, SLACK, World, destination, rules_for, safe_mode

pytestmark = pytest.mark.anyio
BOTH = {"alerts": [destination(SLACK), destination(EMAIL)]}
RETRY = ActionRule("retry", "http", Direction.neutral, targets=("etl",), version="1")


def world_of(store: Store, *actions: ActionRule, **fields: Any) -> World:
    route = Route("alerts", group_by=("alertname",), actions=tuple(action.name for action in actions))
    return World(store, rules_for(route, receivers=BOTH, actions=actions, targets=("etl", "btc"),
                                  flapping=Flapping(3, timedelta(hours=1)), **fields))


async def flap(world: World, times: int) -> None:
    for _ in range(times):
        await world.receive(firing("EtlFailed", agent="btc"))
        await world.settle_down(60, step=20)
        await world.receive(resolved("EtlFailed", agent="btc"))
        await world.settle_down(60, step=20)


async def test_after_too_many_openings_only_the_live_message_changes(store: Store) -> None:
    world = world_of(store)
    await flap(world, 3)
    assert len(world.email.told) == 6
    world.email.told.clear()
    world.slack.told.clear()
    await flap(world, 3)
    assert [message.flaps for message in world.email.messages] == [4]       # said once, loudly
    assert "flapping, opened 4 times" in world.email.messages[0].news[-1]
    first, *quiet = world.slack.messages
    assert not first.only_edit
    assert quiet
    assert all(message.only_edit for message in quiet)
    assert quiet[-1].flaps == 6
    assert len(await world.incidents()) == 1


async def test_when_it_is_calm_everybody_is_told_how_it_is(store: Store) -> None:
    world = world_of(store)
    await flap(world, 5)
    world.email.told.clear()
    await world.advance(minutes=50)
    assert not await store.write(lambda tx: flapping.calm(tx, world.rules, world.clock.now()))
    await world.advance(minutes=20)
    await store.write(lambda tx: flapping.calm(tx, world.rules, world.clock.now()))
    await world.settle_down(5)
    told = world.email.expect("No longer flapping: it is resolved")
    assert (told.status, told.flaps) == (IncidentStatus.resolved, 0)


async def test_what_stays_open_after_flapping_is_told_as_firing(store: Store) -> None:
    world = world_of(store)
    await flap(world, 4)
    await world.receive(firing("EtlFailed", agent="btc"))
    world.email.told.clear()
    await world.advance(minutes=61)
    await store.write(lambda tx: flapping.calm(tx, world.rules, world.clock.now()))
    await world.settle_down(5)
    assert world.email.expect("No longer flapping: it fires").status is IncidentStatus.triggered


async def test_an_incident_that_flaps_stays_one_also_with_a_short_window_to_reopen(store: Store) -> None:
    world = world_of(store, reopen_window=timedelta(0))
    await flap(world, 6)
    assert len(await world.incidents()) == 1


@pytest.mark.parametrize(("policy", "ran"), [("once", 3), ("hold", 3)])
async def test_a_neutral_action_is_not_run_again_and_again(store: Store, policy: str, ran: int) -> None:
    world = world_of(store, ActionRule("retry", "http", Direction.neutral, targets=("etl",), version="1", on_flapping=policy))
    await flap(world, 6)
    states = [run.state for run in await world.runs()]
    assert states.count(RunState.succeeded) == ran
    assert states.count(RunState.refused) == 3
    assert any("comes and goes too often" in line for line in await world.history())


async def test_tightening_is_never_held_back(store: Store) -> None:
    world = world_of(store, safe_mode())
    await flap(world, 6)
    assert [run.state for run in await world.runs()] == [RunState.succeeded] * 6


async def test_without_a_limit_nothing_flaps(store: Store) -> None:
    world = World(store, rules_for(receivers=BOTH))
    await flap(world, 6)
    assert len(world.email.told) == 12
    assert not any(message.flaps or message.only_edit for message in world.email.messages)
