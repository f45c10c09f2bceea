"""What did not come: lost resolves, silent sources, own alarms that are over; R-18."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from alerthub.domain.alert import Alert
from alerthub.domain.own import bad_payload, own_batch
from alerthub.domain.reconcile import Listed, Peer
from alerthub.domain.route import Route
from alerthub.domain.rules import SourceRule
from alerthub.flow import prune, watch
from alerthub.store import leases
from tests.kit.alerts import firing, resolved
from tests.kit.world import World, rules_for

pytestmark = pytest.mark.anyio
LONG_AGO = datetime.fromisoformat("2026-11-01T00:00:00+00:00")


def peer(*alerts: Alert, started_at: datetime | None = LONG_AGO, suppressed: bool = False) -> Peer:
    return Peer(started_at, {alert.identity: Listed(alert.labels, suppressed) for alert in alerts})


async def reconcile(world: World, *peers: Peer) -> None:
    asked_at = world.clock.now()
    await world.store.write(lambda tx: watch.reconcile(tx, world.rules, "alertmanager", peers, asked_at, world.clock.now()))
    world.clock.advance(minutes=1)


async def test_a_resolve_that_was_never_sent_is_found_at_the_second_look(world: World) -> None:
    """PROTOCOLS 1.6-3: what resolves under a silence is never sent."""
    await world.receive(firing(host="a"))
    world.clock.advance(minutes=1)
    await reconcile(world, peer())
    assert (await world.state()).is_open
    await reconcile(world, peer())
    found = await world.incident(1)
    assert found["status"] == "resolved"
    assert "as the source itself says when asked" in found["events"][-1]["text"]
    assert found["events"][-1]["actor"] == "hub:reconciler"


async def test_an_alert_that_any_peer_lists_stays_open(world: World) -> None:
    alert = firing(host="a")
    await world.receive(alert)
    world.clock.advance(minutes=1)
    for _ in range(3):
        await reconcile(world, peer(), peer(alert))
    assert (await world.state()).is_open


async def test_an_alertmanager_that_restarted_proves_nothing_until_it_can_know_again(world: World) -> None:
    await world.receive(firing(host="a"))
    world.clock.advance(minutes=1)
    restarted = world.clock.now()
    for _ in range(4):
        await reconcile(world, peer(started_at=restarted))
    assert (await world.state()).is_open
    for _ in range(4):
        await reconcile(world, peer(started_at=restarted))
    assert not (await world.state()).is_open


async def test_an_alert_that_comes_back_between_two_looks_is_not_resolved(world: World) -> None:
    alert = firing(host="a")
    await world.receive(alert)
    world.clock.advance(minutes=1)
    await reconcile(world, peer())
    await world.receive(alert)
    await reconcile(world, peer(alert))
    await reconcile(world, peer())
    assert (await world.state()).is_open


async def test_a_webhook_that_came_after_the_question_wins(world: World) -> None:
    """R-14: the observation counts from when the source was asked."""
    alert = firing(host="a")
    await world.receive(alert)
    world.clock.advance(minutes=1)
    await reconcile(world, peer())
    asked_at = world.clock.now()
    world.clock.advance(seconds=1)
    await world.receive(resolved(host="a"))
    await world.receive(alert)
    await world.store.write(lambda tx: watch.reconcile(tx, world.rules, "alertmanager", [peer()], asked_at, world.clock.now()))
    assert (await world.state()).is_open


async def test_silenced_at_the_source_is_shown_and_taken_back(world: World) -> None:
    alert = firing(host="a")
    await world.receive(alert)
    await world.drain()
    await reconcile(world, peer(alert, suppressed=True))
    assert (await world.state()).is_silenced
    await reconcile(world, peer(alert))
    assert not (await world.state()).is_silenced
    assert [event["kind"] for event in (await world.incident(1))["events"]] == ["opened", "silenced", "silenced"]


async def test_what_ends_under_a_silence_is_told_as_over_not_as_audible_again(world: World) -> None:
    alert = firing(host="a")
    await world.receive(alert)
    await reconcile(world, peer(alert, suppressed=True))
    for _ in range(2):
        await reconcile(world, peer())
    assert [event["kind"] for event in (await world.incident(1))["events"]] == ["opened", "silenced", "resolved"]


async def test_a_source_that_cannot_be_asked_pages_once_and_recovers(world: World) -> None:
    for _ in range(3):
        await world.store.write(lambda tx: watch.unreachable(tx, world.rules, "alertmanager", "no answer", world.clock.now()))
        world.clock.advance(minutes=1)
    (alarm,) = await world.incidents()
    assert "cannot be asked" in alarm["title"]
    await reconcile(world, peer())
    assert not (await world.state()).is_open


async def test_a_source_that_goes_silent_makes_its_incidents_stale_never_resolved(world: World) -> None:
    await world.receive(firing(host="a"))
    await world.drain()
    world.clock.advance(hours=12, seconds=1)
    await world.watch()
    await world.watch()
    await world.drain()
    found = await world.incident(1)
    assert (found["status"], found["is_stale"]) == ("triggered", True)
    assert [event["kind"] for event in found["events"]] == ["opened", "stale"]
    assert world.slack.messages[-1].is_stale


async def test_a_stale_incident_that_is_heard_of_again_is_not_stale(world: World) -> None:
    await world.receive(firing(host="a"))
    world.clock.advance(hours=13)
    await world.watch()
    await world.receive(firing(host="a"))
    found = await world.incident(1)
    assert (found["is_stale"], found["events"][-1]["kind"]) == (False, "changed")


async def test_an_incident_with_one_fresh_alert_is_not_stale(world: World) -> None:
    await world.receive(firing(host="a"))
    world.clock.advance(hours=11)
    await world.receive(firing(host="b"))
    world.clock.advance(hours=2)
    await world.watch()
    assert not (await world.state()).is_stale


async def test_stale_after_zero_is_never(world: World) -> None:
    world.configure(rules_for(sources={"alertmanager": SourceRule("alertmanager", "alertmanager", timedelta(0))}))
    await world.receive(firing(host="a"))
    world.clock.advance(days=30)
    await world.watch()
    assert not (await world.state()).is_stale


async def test_the_alarm_about_bad_bodies_ends_an_hour_after_the_last_one(world: World) -> None:
    from_now = own_batch([bad_payload("alertmanager", "not JSON")], world.clock.now())
    await world.receive_batches(from_now)
    world.clock.advance(minutes=59)
    await world.store.write(lambda tx: watch.expire_own(tx, world.rules, world.clock.now()))
    assert (await world.state()).is_open
    world.clock.advance(minutes=2)
    await world.store.write(lambda tx: watch.expire_own(tx, world.rules, world.clock.now()))
    assert not (await world.state()).is_open


async def test_one_replica_leads_and_is_followed_when_it_stops_renewing(world: World) -> None:
    async def leads(owner: str) -> bool:
        return await world.store.write(
            lambda tx: leases.lead(tx, "watch", owner, world.clock.now(), timedelta(seconds=30)))

    assert [await leads("a"), await leads("b"), await leads("a")] == [True, False, True]
    world.clock.advance(seconds=31)
    assert [await leads("b"), await leads("a")] == [True, False]
    await world.store.write(lambda tx: leases.resign(tx, "b"))
    assert await leads("a")


async def test_old_closed_incidents_are_forgotten_open_and_untold_ones_never(world: World) -> None:
    quiet = Route("alerts", group_by=("alertname",), repeat_interval=timedelta(0))
    world.configure(rules_for(quiet, retention=timedelta(days=30)))
    await world.receive(firing("Closed"), firing("Open"), firing("Untold"))
    await world.receive(resolved("Closed"))
    await world.drain()
    world.slack.gate = None
    world.clock.advance(days=31)
    await world.receive(resolved("Untold"))
    world.clock.advance(days=31)
    forgotten = await world.store.write(lambda tx: prune.prune(tx, world.rules, world.clock.now()))
    assert forgotten == 1
    assert sorted(incident["title"] for incident in await world.incidents()) == ["Open", "Untold"]
