"""Heartbeats as stories: in time nothing; missing is one incident, told and acted upon once; our own downtime never alarms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerthub.clock import SystemClock
from alerthub.domain.action import Reason, RunState
from alerthub.domain.alert import Batch
from alerthub.domain.heartbeat import Heartbeat, State
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction, HeartbeatRule
from alerthub.flow import beat
from alerthub.flow.intake import Taken, take_in
from alerthub.store import heartbeats
from alerthub.store.database import Store
from alerthub.store.schema import action_runs, incidents
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.rows import at_once, count
from tests.kit.stores import database
from tests.kit.world import SLACK, TELEGRAM, World, destination, rules_for, safe_mode

pytestmark = pytest.mark.anyio
MINUTE = timedelta(minutes=1)
ETL = HeartbeatRule("etl", 10 * MINUTE, "leads")
WATCHDOG = HeartbeatRule("watchdog", 2 * MINUTE, "leads", matchers=parse_matchers('alertname="Watchdog"'),
                         actions=(("safe-mode", ("agent-btc",)),))
NIGHTLY = HeartbeatRule("backup", timedelta(0), "leads", grace=30 * MINUTE, cron="30 2 * * *", time_zone="Europe/Berlin")


def configure(world: World, *rules: HeartbeatRule, actions: Iterable[ActionRule] = (), route: Route | None = None) -> None:
    told = {"alerts": [destination(SLACK)], "leads": [destination(TELEGRAM, receiver="leads")]}
    world.configure(rules_for(route, receivers=told, actions=[safe_mode(), *actions], targets=["agent-btc", "agent-eth"],
                              heartbeats={rule.name: rule for rule in rules}))


async def begin(world: World, *rules: HeartbeatRule, **more: Any) -> Taken | None:
    """The hub starts, or reloads, with these."""
    configure(world, *rules, **more)
    return await world.store.write(lambda tx: beat.start(tx, world.rules, world.clock.now()))


async def ping(world: World, name: str = "etl", ago: float = 0) -> Taken | None:
    now = world.clock.now()
    return await world.store.write(lambda tx: beat.seen(tx, world.rules, name, now - timedelta(seconds=ago), now))


async def hear(world: World, *alerts: Any, **fields: Any) -> Taken | None:
    """A webhook, as intake takes it in."""
    came = batch(*alerts, **{"at": world.clock.now(), **fields})

    def unit(tx: Any) -> Taken | None:
        take_in(tx, world.rules, [came], world.clock.now())
        return beat.match(tx, world.rules, came, world.clock.now())

    return await world.store.write(unit)


async def look(world: World) -> Taken | None:
    return await world.store.write(lambda tx: beat.run_due(tx, world.rules, world.clock.now()))


async def pass_time(world: World, step: float = 5, **span: float) -> None:
    """Time passes while the hub watches."""
    for _ in range(int(timedelta(**span).total_seconds() / step)):
        world.clock.advance(seconds=step)
        if await look(world):
            await world.drain()
    await world.drain()


async def row(world: World, name: str = "etl") -> Heartbeat:
    return (await world.store.read(heartbeats.read))[name]


async def titles(world: World, status: str = "open") -> list[str]:
    return [incident["title"] for incident in await world.incidents(status)]


# -- a job's pings

async def test_a_ping_in_time_is_nothing(world: World) -> None:
    await begin(world, ETL)
    for _ in range(5):
        await pass_time(world, minutes=9)
        assert await ping(world) is None
    assert await world.incidents() == []
    assert (await row(world)).state is State.alive


async def test_a_missing_one_is_one_incident_that_its_receiver_is_told_of(world: World) -> None:
    await begin(world, ETL)
    await ping(world)
    await pass_time(world, minutes=9, seconds=55)
    assert await titles(world) == []
    await pass_time(world, minutes=20)
    assert await titles(world, "") == ["heartbeat etl is missing"]
    for channel in (world.slack, world.telegram):
        message = channel.expect("heartbeat etl is missing")
        assert "It came last at 2026-11-21 03:00:00 UTC, 10 min ago" in str(message)
        channel.expect_nothing()
    assert (await row(world)).state is State.missing
    (incident,) = await world.incidents()
    assert (incident["severity"], incident["source"]) == ("critical", "alerthub")


async def test_one_that_comes_again_resolves_its_incident_everywhere(world: World) -> None:
    await begin(world, ETL)
    await pass_time(world, minutes=11)
    world.slack.expect("missing")
    world.telegram.expect("missing")
    taken = await ping(world)
    assert taken is not None
    assert taken.is_news
    await world.drain()
    assert await titles(world) == []
    assert "It came again at 2026-11-21 03:11:00 UTC." in str((await world.incident())["alert_list"])
    world.slack.expect("resolved")
    world.telegram.expect("resolved")
    assert (await row(world)).due_at == world.clock.now() + 10 * MINUTE
    await pass_time(world, minutes=11)
    assert (await world.incident())["episode"] == 2, "soon after, it is the same incident again"
    world.telegram.expect("missing")


async def test_one_that_never_came_is_missing_one_gap_after_the_start(world: World) -> None:
    await begin(world, ETL)
    await pass_time(world, minutes=9, seconds=55)
    assert await titles(world) == []
    await pass_time(world, seconds=5)
    assert "It has not come since the hub began to wait for it" in str((await world.incident())["alert_list"])


async def test_only_those_that_are_missing_are_alarmed_for(world: World) -> None:
    await begin(world, ETL, replace(ETL, name="other"), replace(ETL, name="mild", severity="warning"))
    await pass_time(world, minutes=5)
    await ping(world, "other")
    await pass_time(world, minutes=6)
    assert sorted(await titles(world)) == ["heartbeat etl is missing", "heartbeat mild is missing"]
    assert sorted(incident["severity"] for incident in await world.incidents()) == ["critical", "warning"]
    await ping(world, "etl")
    assert await titles(world) == ["heartbeat mild is missing"]


async def test_an_unknown_name_changes_nothing(world: World) -> None:
    await begin(world, ETL)
    assert await ping(world, "nobody") is None
    assert list(await world.store.read(heartbeats.read)) == ["etl"]


async def test_a_late_word_does_not_move_the_deadline_back(world: World) -> None:
    await begin(world, ETL)
    world.clock.advance(minutes=5)
    await ping(world)
    await ping(world, ago=30)
    assert (await row(world)).seen_at == world.clock.now()


async def test_a_ping_before_the_start_is_not_lost(world: World) -> None:
    """Another replica may be a moment behind with its configuration."""
    configure(world, ETL)
    await ping(world)
    assert (await row(world)).state is State.alive


async def test_a_cron_job_is_expected_once_in_the_night_in_which_the_clocks_change(store: Store) -> None:
    world = World(store, clock=FakeClock(datetime(2026, 10, 25, 0, 0, tzinfo=UTC)))      # 02:00 in Berlin, in summer time
    await begin(world, NIGHTLY)
    world.clock.advance(minutes=55)
    await begin(world, NIGHTLY)         # a reload, five minutes before the deadline of 03:00, which is 02:00 again
    await ping(world, "backup")         # 02:55, the first one
    assert (await row(world, "backup")).due_at == datetime(2026, 10, 26, 2, 0, tzinfo=UTC)
    await pass_time(world, step=50, hours=24)
    await pass_time(world, step=10, hours=1)
    assert await titles(world) == []
    await pass_time(world, minutes=10)
    assert await titles(world) == ["heartbeat backup is missing"]
    assert "expected at 30 2 * * * (Europe/Berlin), with a grace of 30 min" in str((await world.incident())["alert_list"])


# -- Watchdog

async def test_a_watchdog_that_keeps_firing_is_alive(world: World) -> None:
    await begin(world, WATCHDOG)
    for _ in range(5):
        assert await hear(world, firing("Watchdog"), firing("DiskFull")) is None
        await pass_time(world, seconds=110)
    assert sorted(await titles(world)) == ["DiskFull", "Watchdog"]


async def test_a_watchdog_that_stops_switches_the_agent_to_safe_mode_once(world: World) -> None:
    await begin(world, WATCHDOG)
    await hear(world, firing("Watchdog"))
    await pass_time(world, minutes=10)
    assert "heartbeat watchdog is missing" in await titles(world)
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 1
    assert not world.actions["safe-mode", "agent-eth"].calls
    (run,) = await world.runs(2)
    assert (run.state, run.reason, run.target) == (RunState.succeeded, Reason.tighten, "agent-btc")
    assert "heartbeat watchdog is missing" in str(world.telegram.messages[0])
    assert "safe-mode on agent-btc: succeeded" in str(world.telegram.messages[-1])


async def test_each_time_that_it_goes_missing_the_action_runs_again(world: World) -> None:
    await begin(world, WATCHDOG)
    for _ in range(2):
        await hear(world, firing("Watchdog"))
        await pass_time(world, minutes=3)
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 2


async def test_other_alerts_are_no_beats(world: World) -> None:
    await begin(world, WATCHDOG)
    for _ in range(3):
        assert await hear(world, firing("DiskFull"), resolved("DiskNotFull")) is None
        await pass_time(world, minutes=1)
    assert "heartbeat watchdog is missing" in await titles(world)


async def test_a_resolved_watchdog_is_an_alarm_at_once_and_a_firing_one_ends_it(world: World) -> None:
    await begin(world, WATCHDOG)
    await hear(world, firing("Watchdog"))
    await pass_time(world, seconds=10)
    assert await hear(world, resolved("Watchdog")) is not None
    world.clock.advance(seconds=1)
    assert await hear(world, resolved("Watchdog")) is None, "the other Alertmanager of the pair says it too"
    await world.drain()
    assert await titles(world) == ["heartbeat watchdog is missing"]
    assert "was resolved by its source" in str(world.telegram.messages[0])
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 1
    await pass_time(world, seconds=10)
    await hear(world, firing("Watchdog"))
    assert await titles(world) == ["Watchdog"]


async def test_an_observation_that_comes_late_decides_nothing(world: World) -> None:
    await begin(world, WATCHDOG)
    world.clock.advance(seconds=20)
    await hear(world, firing("Watchdog"))
    assert await hear(world, resolved("Watchdog"), at=world.clock.now() - timedelta(seconds=10)) is None
    world.clock.advance(seconds=10)
    await hear(world, resolved("Watchdog"))
    assert await hear(world, firing("Watchdog"), at=world.clock.now() - timedelta(seconds=5)) is None
    assert (await row(world, "watchdog")).state is State.missing


async def test_the_hubs_own_alarms_beat_nothing(world: World) -> None:
    everything = replace(WATCHDOG, matchers=parse_matchers('alertname=~".+"'))
    await begin(world, everything)
    before = await row(world, "watchdog")
    world.clock.advance(seconds=5)
    own = Batch("alerthub", world.clock.now(), (firing("AlerthubDeliveryFailed"),))
    assert await world.store.write(lambda tx: beat.match(tx, world.rules, own, world.clock.now())) is None
    assert await row(world, "watchdog") == before


async def test_an_action_without_targets_acts_on_all_it_may_act_on(world: World) -> None:
    bare = replace(WATCHDOG, actions=(("safe-mode", ()), ("safe-mode", ("agent-btc",)), ("gone", ())))
    rule = safe_mode(targets=("agent-btc", "agent-eth"))
    configure(world, bare)
    world.configure(replace(world.rules, actions={"safe-mode": rule}))
    await world.store.write(lambda tx: beat.start(tx, world.rules, world.clock.now()))
    await pass_time(world, minutes=3)
    assert sorted(run.target for run in await world.runs()) == ["agent-btc", "agent-eth"]
    assert len(world.actions["safe-mode", "agent-btc"].calls) == len(world.actions["safe-mode", "agent-eth"].calls) == 1


async def test_an_action_that_does_not_tighten_keeps_its_guards(world: World) -> None:
    retry = ActionRule("retry", "http", Direction.neutral, targets=("agent-eth",), cooldown=timedelta(hours=6), version="1")
    await begin(world, replace(ETL, actions=(("retry", ("agent-eth",)),)), actions=[retry])
    await pass_time(world, minutes=11)
    await ping(world)
    await pass_time(world, minutes=11)
    assert [(run.state, run.reason) for run in await world.runs()] == [
        (RunState.succeeded, Reason.allowed), (RunState.refused, Reason.cooling_down)]


async def test_a_route_adds_no_action_to_the_hubs_own_alarm(world: World) -> None:
    await begin(world, ETL, route=Route("alerts", actions=("safe-mode",)))
    await pass_time(world, minutes=11)
    assert await world.runs() == []


# -- restarts, downtime, clocks

async def test_a_restart_loses_no_timer(world: World) -> None:
    await begin(world, ETL)
    await ping(world)
    await pass_time(world, minutes=9)
    await begin(world, ETL)
    await pass_time(world, minutes=1)
    assert await titles(world) == ["heartbeat etl is missing"]


async def test_a_restart_while_it_is_missing_does_not_double(world: World) -> None:
    await begin(world, WATCHDOG)
    await pass_time(world, minutes=3)
    for downtime in (5, 600):
        world.clock.advance(seconds=downtime)
        await begin(world, WATCHDOG)
        await pass_time(world, minutes=5)
    assert await titles(world, "") == ["heartbeat watchdog is missing"]
    assert len(world.actions["safe-mode", "agent-btc"].calls) == 1
    assert len(await world.runs()) == 1


async def test_ten_minutes_of_downtime_alarm_nobody_before_one_full_gap(world: World) -> None:
    await begin(world, ETL, WATCHDOG)
    await ping(world)
    await hear(world, firing("Watchdog"))
    world.clock.advance(minutes=15)
    await begin(world, ETL, WATCHDOG)
    await pass_time(world, seconds=115)
    assert await titles(world) == ["Watchdog"]
    await pass_time(world, seconds=5)
    assert await titles(world) == ["heartbeat watchdog is missing", "Watchdog"]
    await pass_time(world, minutes=7, seconds=55)
    assert "heartbeat etl is missing" not in await titles(world)
    await pass_time(world, seconds=5)
    assert "heartbeat etl is missing" in await titles(world)


@pytest.mark.parametrize("seconds", [3, 19])
async def test_what_fell_due_in_a_short_restart_gets_one_full_gap(world: World, seconds: int) -> None:
    await begin(world, ETL)
    await ping(world)
    await pass_time(world, minutes=9, seconds=55)
    world.clock.advance(seconds=seconds + 2)
    await begin(world, ETL)
    await pass_time(world, minutes=9, seconds=55)
    assert await titles(world) == []
    await pass_time(world, seconds=5)
    assert await titles(world) == ["heartbeat etl is missing"]


@pytest.mark.parametrize("seconds", [13, 15, 19])
async def test_what_was_refused_in_a_short_restart_has_one_more_gap(world: World, seconds: int) -> None:
    await begin(world, ETL)
    await ping(world)
    await pass_time(world, minutes=9, seconds=30)
    world.clock.advance(seconds=seconds)        # the job's ping comes now, and nobody listens
    await begin(world, ETL)
    await pass_time(world, step=1, minutes=9, seconds=59)
    assert await titles(world) == []
    await pass_time(world, step=1, seconds=1)
    assert await titles(world) == ["heartbeat etl is missing"]


@pytest.mark.parametrize("seconds", [10, 30, 55])
async def test_what_was_refused_while_the_database_was_away_has_one_more_gap(world: World, seconds: int) -> None:
    await begin(world, ETL)
    await ping(world)
    await pass_time(world, minutes=9, seconds=35)
    world.clock.advance(seconds=seconds)
    await pass_time(world, minutes=9, seconds=50)
    assert await titles(world) == []
    await pass_time(world, seconds=25)
    assert await titles(world) == ["heartbeat etl is missing"]


async def test_a_short_gap_is_a_minute_at_least_after_the_hub_was_away(world: World) -> None:
    await begin(world, replace(ETL, interval=timedelta(seconds=15)))
    await ping(world)
    world.clock.advance(seconds=40)
    await pass_time(world, seconds=60)
    assert await titles(world) == []
    await pass_time(world, seconds=5)
    assert await titles(world) == ["heartbeat etl is missing"]


async def test_a_hub_that_stumbles_all_the_time_still_raises_the_alarm(world: World) -> None:
    await begin(world, ETL)
    await ping(world)
    await pass_time(world, step=15, minutes=19, seconds=45)
    assert await titles(world) == []
    await pass_time(world, step=15, minutes=2)
    assert await titles(world) == ["heartbeat etl is missing"]


@pytest.mark.parametrize(("up", "down"), [(100, 25), (15, 300), (0, 61)])
async def test_a_hub_that_is_restarted_for_ever_still_raises_the_alarm(world: World, up: int, down: int) -> None:
    await begin(world, ETL)
    await ping(world)
    for _ in range(3 * 600 // (up + down) + 2):
        await pass_time(world, seconds=up)
        world.clock.advance(seconds=down)
        await begin(world, ETL)
    await pass_time(world, seconds=30)
    assert await titles(world) == ["heartbeat etl is missing"]


async def test_what_may_have_come_while_the_hub_was_down_is_not_missed_soon_after(world: World) -> None:
    await begin(world, ETL)
    await ping(world)
    await pass_time(world, minutes=9)
    world.clock.advance(seconds=25)
    await begin(world, ETL)
    await pass_time(world, minutes=9, seconds=55)
    assert await titles(world) == []
    await pass_time(world, seconds=5)
    assert await titles(world) == ["heartbeat etl is missing"]


async def test_what_stood_still_alarms_nobody_before_one_full_gap(world: World) -> None:
    """SIGSTOP, a machine that slept, a database that was away, a clock that jumped: without a start."""
    await begin(world, ETL)
    await pass_time(world, minutes=5)
    world.clock.advance(minutes=30)
    await pass_time(world, minutes=9, seconds=55)
    assert await titles(world) == []
    await pass_time(world, seconds=10)
    assert await titles(world) == ["heartbeat etl is missing"]


async def test_a_replica_that_restarts_beside_another_delays_nothing(world: World) -> None:
    await begin(world, ETL)
    for _ in range(19):
        await pass_time(world, seconds=30)
        await begin(world, ETL)
    await pass_time(world, seconds=30)
    assert await titles(world) == ["heartbeat etl is missing"]


async def test_a_clock_that_jumps_back_freezes_nothing(world: World) -> None:
    world.clock.advance(days=365)
    await begin(world, ETL)
    await ping(world)
    world.clock.advance(days=-365)
    await look(world)
    assert (await row(world)).due_at == world.clock.now() + 10 * MINUTE
    await ping(world)
    await pass_time(world, minutes=9)
    assert await titles(world) == []
    await pass_time(world, minutes=2)
    assert await titles(world) == ["heartbeat etl is missing"]
    await ping(world)
    assert await titles(world) == []


async def test_a_reload_takes_over_new_and_drops_removed_ones(world: World) -> None:
    await begin(world, ETL)
    await pass_time(world, minutes=11)
    assert await titles(world) == ["heartbeat etl is missing"]
    taken = await begin(world, replace(ETL, name="other"))
    assert taken is not None
    assert await titles(world) == []
    assert "not in the configuration any more" in str((await world.incident())["alert_list"])
    assert list(await world.store.read(heartbeats.read)) == ["other"]
    await begin(world)
    assert await world.store.read(heartbeats.read) == {}
    assert await world.store.read(lambda tx: beat.next_due(tx, world.rules)) is None


async def test_a_missing_one_that_changed_its_severity_still_recovers(world: World) -> None:
    await begin(world, ETL)
    await pass_time(world, minutes=11)
    await begin(world, replace(ETL, severity="info"))
    await ping(world)
    assert await titles(world) == []


async def test_what_an_older_configuration_has_removed_is_watched_again(world: World) -> None:
    await begin(world, ETL)
    await world.store.write(lambda tx: heartbeats.forget(tx, ["etl"]))
    await pass_time(world, minutes=11)
    assert await titles(world) == ["heartbeat etl is missing"]


async def test_without_a_start_the_first_look_begins_to_watch(world: World) -> None:
    configure(world, ETL)
    await ping(world)
    world.clock.advance(minutes=20)
    await look(world)
    await pass_time(world, minutes=9, seconds=55)
    assert await titles(world) == []
    await pass_time(world, seconds=5)
    assert await titles(world) == ["heartbeat etl is missing"]


async def test_the_worker_is_told_when_to_look(world: World) -> None:
    await begin(world, ETL)
    now = world.clock.now()
    assert await world.store.read(lambda tx: beat.next_due(tx, world.rules)) == now + timedelta(seconds=10)
    for _ in range(200):        # a loop that sleeps until then always gets on
        due = await world.store.read(lambda tx: beat.next_due(tx, world.rules))
        assert due is not None
        assert due > world.clock.now()
        world.clock.advance(seconds=(due - world.clock.now()).total_seconds())
        await look(world)
    assert await titles(world) == ["heartbeat etl is missing"]


async def test_without_heartbeats_there_is_nothing_to_look_at(world: World) -> None:
    assert await begin(world) is None
    assert await look(world) is None
    assert await hear(world, firing("Watchdog")) is None
    assert await world.store.read(lambda tx: beat.next_due(tx, world.rules)) is None


# -- replicas

@pytest.mark.parametrize("skew", [0, 10])
async def test_a_clock_that_is_behind_takes_no_alarm_away(world: World, skew: int) -> None:
    """One replica resolves the alarm; a moment later another one, whose clock is behind, has to raise it again."""
    await begin(world, WATCHDOG)
    await pass_time(world, minutes=3)
    await hear(world, firing("Watchdog"))
    world.clock.advance(seconds=-skew)
    known = await row(world, "watchdog")
    lost = replace(known, state=State.alive, seen_at=None, due_at=world.clock.now())
    await world.store.write(lambda tx: heartbeats.save(tx, [lost]))
    await look(world)
    assert "heartbeat watchdog is missing" in await titles(world)


@pytest.mark.postgres
async def test_two_replicas_that_look_at_once_raise_one_incident(tmp_path: Any) -> None:
    with database("postgres", tmp_path) as url:
        stores = [Store(url, SystemClock().new_id) for _ in range(4)]
        world = World(stores[0])
        await begin(world, WATCHDOG, *(replace(WATCHDOG, name=f"watchdog-{number}") for number in range(9)))
        for _ in range(12):
            world.clock.advance(seconds=10)
            at_once([lambda store=store: store.write_now(lambda tx: beat.run_due(tx, world.rules, world.clock.now()))
                     for store in stores])
        await look(world)
        assert len(await titles(world, "")) == 10
        assert stores[1].read_now(lambda tx: count(tx, action_runs)) == 10
        for store in stores:
            store.close()


@pytest.mark.postgres
async def test_a_ping_at_the_moment_of_the_alarm_leaves_no_alarm_behind(tmp_path: Any) -> None:
    with database("postgres", tmp_path) as url:
        one, two = (Store(url, SystemClock().new_id) for _ in range(2))
        world = World(one)
        await begin(world, replace(ETL, interval=MINUTE))
        for _ in range(10):
            for _ in range(6):
                world.clock.advance(seconds=10)
                now = world.clock.now()
                if (await row(world)).due_at == now:
                    at_once([lambda now=now: one.write_now(lambda tx: beat.run_due(tx, world.rules, now)),
                             lambda now=now: two.write_now(lambda tx: beat.seen(tx, world.rules, "etl", now, now))])
                else:
                    await look(world)
            assert (await row(world)).state is State.alive
            assert two.read_now(lambda tx: count(tx, incidents, incidents.c.status != "resolved")) == 0
        one.close()
        two.close()


