"""An action that is refused in the moment in which it is called for is counted like one that is refused when it would start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from alerthub.domain.command import Verb
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction, Flapping
from alerthub.engine.doorway import Doorway
from tests.kit.alerts import batch, firing, resolved
from tests.kit.world import World, person, rules_for, safe_mode

pytestmark = pytest.mark.anyio
RETRY = ActionRule("retry", "http", Direction.neutral, targets=("etl",), version="1", on_flapping="hold")


def counted(registry: CollectorRegistry, action: str, reason: str) -> float:
    return registry.get_sample_value("alerthub_action_refused_total", {"action": action, "reason": reason}) or 0.0


@pytest.fixture
def door(world: World) -> Callable[..., Doorway]:
    """What the web hands webhooks to, over this world."""
    world.configure(rules_for(Route("alerts", group_by=("alertname",), actions=("safe-mode", "retry")),
                              actions=[safe_mode(), RETRY], targets=["agent-btc", "etl"],
                              people={"ayse": person("ayse")}))
    return lambda: Doorway(world.store, lambda: world.rules, world.clock, world.metrics, lambda _: None)


async def test_a_label_that_names_no_target_is_counted_once(world: World, door: Callable[..., Doorway]) -> None:
    for _ in range(3):      # a repeat refuses nothing anew
        await door().take(batch(firing("Reward", agent="agent-x"), at=world.clock.now()))
    assert counted(world.metrics.registry, "safe-mode", "unknown_target") == 1
    await world.drain()
    assert counted(world.metrics.registry, "safe-mode", "unknown_target") == 1
    assert counted(world.metrics.registry, "retry", "unknown_target") == 0


async def test_what_a_silence_holds_back_is_counted(world: World, door: Callable[..., Doorway]) -> None:
    await door().take(batch(firing("Drift", agent="agent-btc", severity="warning"), at=world.clock.now()))
    await world.drain()
    await world.command(Verb.silence, until=world.clock.now().replace(hour=23))
    await door().take(batch(resolved("Drift", agent="agent-btc", severity="warning", ends_at=world.clock.now()),
                            at=world.clock.now()))
    world.clock.advance(hours=2)
    await door().take(batch(firing("Drift", agent="agent-btc", severity="warning", starts_at=world.clock.now()),
                            at=world.clock.now()))
    assert counted(world.metrics.registry, "retry", "silenced") == 1
    assert counted(world.metrics.registry, "safe-mode", "silenced") == 0


async def test_what_comes_and_goes_too_often_is_counted(world: World, door: Callable[..., Doorway]) -> None:
    world.configure(replace(world.rules, flapping=Flapping(count=2)))
    for _ in range(4):
        await door().take(batch(firing("Drift", agent="agent-btc", starts_at=world.clock.now()), at=world.clock.now()))
        await world.advance(minutes=1)
        await door().take(batch(resolved("Drift", agent="agent-btc", ends_at=world.clock.now()), at=world.clock.now()))
        await world.advance(minutes=1)
    assert counted(world.metrics.registry, "retry", "flapping") == 2
