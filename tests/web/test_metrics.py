"""What the hub counts for its own alert rules (deploy/prometheus/rules/alerthub.yml)."""

from __future__ import annotations

import asyncio

import pytest

from alerthub.errors import Busy, Failure, SendFailed
from alerthub.store.database import Trouble
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub
from tests.web.test_health import break_channel, samples

pytestmark = pytest.mark.anyio


async def scraped(hub: RunningHub) -> dict[str, float]:
    return samples((await hub.get("/metrics")).text)


async def test_what_can_go_wrong_is_there_from_the_start_at_0(hub: RunningHub) -> None:
    """Of a counter that is born at 1, `increase` does not see the first step."""
    found = await scraped(hub)
    born = [f"alerthub_errors_total{{'where': '{where}'}}" for where in ("web", "claim", "deliver", "act", "rounds", "listening")]
    born += [f"alerthub_leases_lost_total{{'cause': '{cause}'}}" for cause in ("late", "unsettled")]
    born += [f"alerthub_{name}_total{{'channel': 'console'}}" for name in ("dead_letters", "possible_duplicates")]
    born += [f"alerthub_deliveries_total{{'channel': 'console', 'outcome': '{outcome}'}}" for outcome in ("sent", *Failure)]
    born += ["alerthub_dead_lanes{}", "alerthub_latched_targets{'verified': 'no'}", "alerthub_failing_destinations{}"]
    assert {name: found.get(name) for name in born} == dict.fromkeys(born, 0)
    assert found["alerthub_database_available{}"] == 1


async def test_a_database_that_is_away_is_not_available(hub: RunningHub) -> None:
    assert (await scraped(hub))["alerthub_database_available{}"] == 1
    hub.store.error = Busy("away")
    assert (await scraped(hub))["alerthub_database_available{}"] == 0
    hub.store.mend()
    assert (await scraped(hub))["alerthub_database_available{}"] == 1


async def test_a_database_that_can_be_read_and_not_written_is_not_available(hub: RunningHub, clock: FakeClock) -> None:
    hub.store.store.trouble = Trouble(clock.now(), "database or disk is full")
    assert (await scraped(hub))["alerthub_database_available{}"] == 0
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    assert (await scraped(hub))["alerthub_database_available{}"] == 1


async def test_a_dead_letter_is_shown_until_it_is_replayed(hub: RunningHub, clock: FakeClock) -> None:
    channel = break_channel(hub)
    channel.broken = SendFailed(Failure.configuration, "the token was revoked")
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    await hub.drain()
    assert (await scraped(hub))["alerthub_dead_lanes{}"] >= 1
    channel.broken = None
    assert (await hub.client.post("/api/v1/deliveries/replay")).status_code == 200
    await hub.drain()
    assert (await scraped(hub))["alerthub_dead_lanes{}"] == 0


async def test_a_delivery_that_was_held_up_past_its_lease_is_counted_and_not_sent(hub: RunningHub, clock: FakeClock) -> None:
    channel = break_channel(hub)
    channel.broken = None
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    await hub.hub.worker.claim_lanes(hub.hub.equipment.plant, clock.now())
    clock.advance(seconds=60)       # as if the process had been stopped between claim and send
    await asyncio.gather(*hub.hub.worker.under_way)
    found = await scraped(hub)
    assert found["alerthub_leases_lost_total{'cause': 'late'}"] == 1
    assert not any(value for name, value in found.items() if name.startswith("alerthub_deliveries_total"))
