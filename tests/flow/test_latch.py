"""A target that was made safe: what proves that it is over, who must agree, and any doubt keeps it safe; R-42 … R-44, F21."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerthub.actions.base import Outcome, Report
from alerthub.domain.action import Reason, RunState
from alerthub.domain.alert import Alert
from alerthub.domain.command import Answer, Verb
from alerthub.domain.command import Outcome as Said
from alerthub.domain.event import EventKind
from alerthub.domain.latch import BLIND_AFTER, Latch, LatchState, replayed
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.permit import Mode
from alerthub.domain.reconcile import Listed, Peer
from alerthub.domain.route import Route
from alerthub.domain.rules import Approval, HeartbeatRule, PermitRule, Release, Rules, SourceRule
from alerthub.domain.silence import Silence
from alerthub.flow import beat, permit, prune, silencing, watch
from alerthub.flow import latch as room
from alerthub.store import events as event_store
from alerthub.store import freezes, latches, leases
from alerthub.store.freezes import Freeze
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START
from tests.kit.world import World, person, rules_for, safe_mode

pytestmark = pytest.mark.anyio
ROUTE = Route("alerts", group_by=("alertname",), actions=("safe-mode",))
BTC = "agent-btc"
LONG_AGO = START - timedelta(days=20)
RELEASE = Release(timedelta(minutes=10), Approval("approver", 2, timedelta(minutes=15)), "trading")
PEOPLE = {name: person(name, role) for name, role in (
    ("ayse", "responder"), ("bora", "approver"), ("can", "approver"), ("deniz", "approver"), ("emre", "admin"),
    ("filiz", "viewer"))}
SAFE, REQUESTED, RELEASING, RELEASED = (
    LatchState.safe, LatchState.release_requested, LatchState.releasing, LatchState.released)


def rules(**fields: Any) -> Rules:
    usual: dict[str, Any] = {
        "actions": [safe_mode(releases=True)], "targets": [BTC, "agent-eth"], "people": PEOPLE, "releases": {BTC: RELEASE},
        "sources": {"alertmanager": SourceRule("alertmanager", "alertmanager", reconcile_urls=("http://am",))}}
    return rules_for(fields.pop("route", ROUTE), **{**usual, **fields})


@pytest.fixture
def world(world: World) -> World:
    world.configure(rules())
    return world


# -- words of the stories

async def latch_of(world: World, target: str = BTC) -> Latch:
    return (await world.store.read(lambda tx: latches.find(tx, target))) or Latch(target)


async def state_of(world: World) -> LatchState:
    return (await latch_of(world)).state


async def mode_of(world: World) -> Mode:
    rule = PermitRule(timedelta(seconds=15))
    return (await world.store.write(lambda tx: permit.lease(tx, rule, BTC, world.clock.now()))).mode


async def fire(world: World, name: str = "Reward", **labels: str) -> None:
    await world.receive(firing(name, **{"agent": BTC, **labels}))
    await world.drain()


async def clear(world: World, name: str = "Reward", **labels: str) -> None:
    await world.receive(resolved(name, **{"agent": BTC, **labels}))
    world.clock.advance(seconds=1)


async def look(world: World, *alerts: Alert, suppressed: bool = False, started_at: Any = LONG_AGO) -> None:
    peers = [Peer(started_at, {alert.identity: Listed(alert.labels, suppressed) for alert in alerts})]
    now = world.clock.now()
    await world.store.write(lambda tx: watch.reconcile(tx, world.rules, "alertmanager", peers, now, now))


async def look_for(world: World, minutes: int, *alerts: Alert) -> None:
    """One look a minute, the last one now."""
    for _ in range(minutes):
        await look(world, *alerts)
        world.clock.advance(minutes=1)
    await look(world, *alerts)


async def proved(world: World) -> None:
    """It fired, was latched, is over, and has been seen to be over for long enough."""
    await fire(world)
    await clear(world)
    await look_for(world, 10)


async def ask(world: World, by: str = "ayse") -> Answer:
    return await world.command(Verb.release, by=by, subject=BTC, text="looked at it")


async def vote(world: World, by: str, verb: Verb = Verb.approve, subject: str = BTC) -> Answer:
    return await world.command(verb, by=by, subject=subject)


async def agreed(world: World) -> None:
    await proved(world)
    assert (await ask(world)).outcome is Said.done
    for name in ("bora", "can"):
        assert (await vote(world, name)).outcome is Said.done


def action(world: World) -> Any:
    return world.actions["safe-mode", BTC]


def pushed(world: World) -> list[str]:
    """What the target was told, in order."""
    return [call.release or "safe" for call in action(world).calls]


async def lack(world: World) -> str:
    found = await world.store.read(lambda tx: room.missing(tx, world.rules, BTC, world.clock.now()))
    return found.lack.value if found else ""


async def is_as_told(world: World) -> None:
    """What the history tells is what is stored."""
    stored = await world.store.read(latches.read)
    ids = [one["id"] for one in await world.incidents()]
    told = replayed(await world.store.read(lambda tx: event_store.of_kind(tx, EventKind.latch, ids)))
    assert {name: (one.state, one.seq, one.generation) for name, one in stored.items()} == {
        name: (one.state, one.seq, one.generation) for name, one in told.items()}


# -- in

async def test_a_tighten_latches_in_the_transaction_that_stores_the_alert(world: World) -> None:
    taken = await world.receive(firing("Reward", agent=BTC))
    assert await state_of(world) is SAFE
    assert [event.kind for event in taken.events] == [EventKind.opened, EventKind.latch]
    assert f"{BTC} is latched safe: only people can release it" in await world.history()
    (run,) = await world.runs()
    assert (run.round, run.direction, run.alert["labels"]["agent"]) == (1, "tighten", BTC)
    assert (await latch_of(world)).verified_at is None
    await world.drain()
    assert (await latch_of(world)).verified_at == world.clock.now()
    await is_as_told(world)


async def test_an_alert_that_names_no_target_latches_nothing(world: World) -> None:
    await world.receive(firing("Reward", agent="agent-doge"))
    assert not await world.store.read(latches.read)


async def test_the_same_incident_tells_the_target_once_and_another_one_again(world: World) -> None:
    await fire(world)
    await fire(world)
    await fire(world, host="b")
    assert pushed(world) == ["safe"]
    await fire(world, "Drift")
    assert pushed(world) == ["safe", "safe"]
    latch = await latch_of(world)
    assert (latch.generation, latch.seq) == (1, 1)
    causes = await world.store.read(lambda tx: room.causes_of(tx, world.rules, BTC, world.clock.now()))
    assert [cause.number for cause in causes] == [1, 2]


async def test_one_webhook_latches_all_that_it_names(world: World) -> None:
    await world.receive(firing("Reward", agent=BTC), firing("Reward", agent="agent-eth"), firing("Drift", agent=BTC))
    await world.drain()
    assert {name: one.state for name, one in (await world.store.read(latches.read)).items()} == {BTC: SAFE, "agent-eth": SAFE}
    await is_as_told(world)


async def test_neither_a_silence_nor_a_freeze_nor_flapping_keeps_it_from_latching(world: World) -> None:
    now = world.clock.now()
    covers = Silence("", 0, parse_matchers('alertname="Reward"'), now, now + timedelta(hours=1), "ayse", "")
    await world.store.write(lambda tx: silencing.create(tx, world.rules, covers, silencing.HUB, now))
    await world.store.write(lambda tx: freezes.add(tx, Freeze("", "ayse", "slack:AYSE", "quiet", now)))
    for _ in range(5):
        await fire(world)
        await clear(world)
    assert await state_of(world) is SAFE
    assert set(pushed(world)) == {"safe"}


async def test_resolved_never_releases(world: World) -> None:
    await fire(world)
    await clear(world)
    await look_for(world, 60)
    await world.drain()
    assert await state_of(world) is SAFE
    assert pushed(world) == ["safe"]
    assert await mode_of(world) is Mode.safe


async def test_a_missing_watchdog_latches_and_its_return_proves_that_it_is_over(world: World) -> None:
    watchdog = HeartbeatRule("watchdog", timedelta(minutes=2), "alerts", matchers=parse_matchers('alertname="Watchdog"'),
                             actions=(("safe-mode", (BTC,)),))
    world.configure(rules(heartbeats={"watchdog": watchdog}))
    await world.store.write(lambda tx: beat.start(tx, world.rules, world.clock.now()))
    for _ in range(15):
        await world.advance(seconds=10)
    assert await state_of(world) is SAFE
    assert pushed(world) == ["safe"]
    assert await lack(world) == "still_fires"
    await is_as_told(world)
    await world.store.write(lambda tx: beat.seen(tx, world.rules, "watchdog", world.clock.now(), world.clock.now()))
    assert await lack(world) == "not_long_enough"
    world.clock.advance(minutes=10)
    assert await lack(world) == ""


async def test_that_a_person_closed_the_alarm_of_a_heartbeat_proves_nothing(world: World) -> None:
    watchdog = HeartbeatRule("etl", timedelta(minutes=2), "alerts", actions=(("safe-mode", (BTC,)),))
    world.configure(rules(heartbeats={"etl": watchdog}))
    await world.store.write(lambda tx: beat.start(tx, world.rules, world.clock.now()))
    for _ in range(15):
        await world.advance(seconds=10)
    assert (await world.command(Verb.resolve, by="ayse", forced=True)).outcome is Said.done
    world.clock.advance(minutes=60)
    assert await lack(world) == "not_looked"


# -- the proof

async def test_the_source_must_have_been_seen_clear_for_long_enough(world: World) -> None:
    alert = firing("Reward", agent=BTC)
    await fire(world)
    world.clock.advance(minutes=1)
    await look(world, alert)
    assert await lack(world) == "still_fires"
    await clear(world)
    assert await lack(world) == "not_looked"
    await look(world, alert)
    assert await lack(world) == "not_looked", "its own list still shows it"
    await look_for(world, 9)
    assert await lack(world) == "not_long_enough"
    answer = await ask(world)
    assert answer.outcome is Said.refused
    assert "#1 has been clear for 9 min of 10 min" in answer.text
    world.clock.advance(minutes=1)
    assert await lack(world) == "not_long_enough", "nobody has looked meanwhile"
    await look(world)
    assert await lack(world) == ""


async def test_what_is_suppressed_at_the_source_still_fires(world: World) -> None:
    await proved(world)
    await look(world, firing("Reward", agent=BTC), suppressed=True)
    assert await lack(world) == "not_looked"


async def test_a_gap_between_two_looks_begins_anew(world: World) -> None:
    await fire(world)
    await clear(world)
    await look_for(world, 9)
    world.clock.advance(seconds=BLIND_AFTER.total_seconds() + 1)
    assert await lack(world) == "blind"
    await look(world)
    assert await lack(world) == "not_long_enough"


async def test_a_source_that_has_just_started_proves_nothing(world: World) -> None:
    await fire(world)
    await clear(world)
    restarted = world.clock.advance(minutes=1)
    for _ in range(4):
        await look(world, started_at=restarted)
        world.clock.advance(minutes=1)
    assert await lack(world) == "not_looked"
    await look(world, started_at=None)
    assert await lack(world) == "not_looked"


async def test_a_word_that_came_after_the_question_is_newer_than_the_answer(world: World) -> None:
    asked_at = world.clock.now()
    world.clock.advance(seconds=1)
    await fire(world)
    await clear(world)
    peers = [Peer(LONG_AGO, {})]
    await world.store.write(lambda tx: watch.reconcile(tx, world.rules, "alertmanager", peers, asked_at, world.clock.now()))
    assert await lack(world) == "not_looked"


async def test_a_source_that_cannot_be_asked_proves_nothing(world: World) -> None:
    world.configure(rules(sources={"alertmanager": SourceRule("alertmanager", "alertmanager")}))
    await proved(world)
    assert await lack(world) == "cannot_be_asked"
    world.configure(rules(sources={}))
    assert await lack(world) == "cannot_be_asked"


async def test_every_incident_that_latched_it_must_be_over(world: World) -> None:
    await fire(world)
    await fire(world, "Drift")
    await clear(world)
    await look_for(world, 11, firing("Drift", agent=BTC))
    assert "#2" in (await ask(world)).text
    assert await lack(world) == "still_fires"


async def test_what_a_person_closed_while_it_fires_is_not_over(world: World) -> None:
    await fire(world)
    await world.command(Verb.resolve, by="ayse", forced=True)
    await look_for(world, 11, firing("Reward", agent=BTC))
    assert await lack(world) == "not_looked"


async def test_a_clock_that_jumps_is_no_proof(world: World) -> None:
    await fire(world)
    await clear(world)
    await look(world)
    jump = timedelta(minutes=4)
    world.clock.moment += jump
    await world.store.write(lambda tx: leases.shift(tx, jump))
    await look(world)
    found = (await world.store.read(lambda tx: room.causes_of(tx, world.rules, BTC, world.clock.now())))[0]
    assert found.looked_at == found.clear_since


# -- out

async def test_the_whole_way_out(world: World) -> None:
    action(world).report = Report(Outcome.succeeded, "done")
    await proved(world)
    assert (await ask(world)).text == f"You have asked to release {BTC}: 2 of approver must agree until 03:25 UTC."
    assert await state_of(world) is REQUESTED
    await vote(world, "bora")
    assert await state_of(world) is REQUESTED
    await vote(world, "can")
    assert await state_of(world) is RELEASING
    assert await mode_of(world) is Mode.safe, "until the target confirms it"
    await world.drain()
    assert await state_of(world) is RELEASED
    assert pushed(world) == ["safe", "trading"]
    assert await mode_of(world) is Mode.armed
    history = "\n".join(await world.history())
    for text in ("ayse asks to release agent-btc (looked at it): 2 of approver must agree until 03:25 UTC",
                 "bora and can agreed to release agent-btc, as ayse asked", "agent-btc is released: it may act again"):
        assert text in history
    assert not await world.store.read(lambda tx: room.causes_of(tx, world.rules, BTC, world.clock.now()))
    await is_as_told(world)


async def test_where_the_target_cannot_be_told_it_is_released_at_once(world: World) -> None:
    world.configure(rules(actions=[safe_mode()]))
    await agreed(world)
    assert await state_of(world) is RELEASED
    await world.drain()
    assert pushed(world) == ["safe"]


async def test_the_same_alert_latches_and_pushes_again_after_a_release(world: World) -> None:
    await agreed(world)
    await world.drain()
    await fire(world)
    assert await state_of(world) is SAFE
    assert pushed(world) == ["safe", "trading", "safe"]
    assert (await latch_of(world)).generation == 2
    await is_as_told(world)


@pytest.mark.parametrize("by", ["ayse", "filiz"])
async def test_who_has_not_the_role_cannot_agree(world: World, by: str) -> None:
    await proved(world)
    await ask(world, "bora")
    assert (await vote(world, by)).outcome is Said.refused


async def test_the_asker_s_own_word_does_not_count(world: World) -> None:
    await proved(world)
    await ask(world, "bora")
    assert (await vote(world, "bora")).outcome is Said.refused
    await vote(world, "can")
    assert await state_of(world) is REQUESTED
    await vote(world, "deniz")
    assert await state_of(world) is RELEASING


async def test_the_same_person_twice_is_once(world: World) -> None:
    await proved(world)
    await ask(world)
    for _ in range(3):
        await vote(world, "bora")
    assert await state_of(world) is REQUESTED


async def test_it_is_asked_for_once(world: World) -> None:
    await proved(world)
    await ask(world)
    again = await ask(world, "can")
    assert (again.outcome, again.text) == (Said.refused, f"ayse has asked for the release of {BTC} already.")


async def test_two_approvers_at_once_release_it_once(world: World) -> None:
    await proved(world)
    await ask(world)
    await asyncio.gather(*(vote(world, name) for name in ("bora", "can", "deniz")))
    await world.drain()
    assert await state_of(world) is RELEASED
    assert pushed(world) == ["safe", "trading"]
    await is_as_told(world)


async def test_one_who_does_not_agree_keeps_it_safe(world: World) -> None:
    await proved(world)
    await ask(world)
    await vote(world, "bora")
    await vote(world, "can", Verb.deny)
    latch = await latch_of(world)
    assert (latch.state, latch.generation) == (SAFE, 1)
    assert (await vote(world, "deniz")).outcome is Said.refused
    assert (await ask(world)).outcome is Said.done, "asked anew, the old words do not count"
    await vote(world, "deniz")
    assert await state_of(world) is REQUESTED


@pytest.mark.parametrize(("seconds", "state"), [(899, REQUESTED), (900, SAFE), (901, SAFE)])
async def test_a_request_is_over_in_time(world: World, seconds: float, state: LatchState) -> None:
    await proved(world)
    await ask(world)
    await vote(world, "bora")
    await world.advance(seconds=seconds)
    assert await state_of(world) is state
    if state is SAFE:
        assert "Too few agreed in time (1 of 2): agent-btc stays safe. Ask again." in await world.history()
        assert (await vote(world, "can")).outcome is Said.refused
    await is_as_told(world)


async def test_a_word_that_comes_too_late_releases_nothing_although_nobody_has_looked_at_the_clock(world: World) -> None:
    await proved(world)
    await ask(world)
    await vote(world, "bora")
    world.clock.advance(minutes=15, seconds=1)
    await vote(world, "can")
    assert await state_of(world) is not RELEASING


async def test_an_alert_that_fires_again_ends_the_request(world: World) -> None:
    await proved(world)
    await ask(world)
    await vote(world, "bora")
    await world.receive(firing("Reward", agent=BTC))
    assert await state_of(world) is SAFE
    assert (await vote(world, "can")).outcome is Said.refused
    assert any("its release is called off" in text for text in await world.history())
    await is_as_told(world)


async def test_an_alert_that_fires_before_the_release_is_pushed_stops_it(world: World) -> None:
    await agreed(world)
    await fire(world)
    assert await state_of(world) is SAFE
    assert set(pushed(world)) == {"safe"}
    (relax,) = [run for run in await world.runs() if run.direction == "relax"]
    assert (relax.state, relax.reason) == (RunState.refused, Reason.latch_moved)


async def test_an_alert_that_fires_while_the_release_is_under_way_has_the_last_word(world: World) -> None:
    """The late "trading" may have landed after the "safe"."""
    await agreed(world)
    action(world).hold = asyncio.Event()
    await world.worker.run_once()
    while pushed(world)[-1] != "trading":
        await asyncio.sleep(0)
    await world.receive(firing("Reward", agent=BTC))
    await world.worker.run_once()
    action(world).hold.set()
    for _ in range(2):      # what is under way ends, and what follows from that
        await world.drain()
    assert await state_of(world) is SAFE
    assert pushed(world) == ["safe", "trading", "safe", "safe"]
    assert await mode_of(world) is Mode.safe
    await is_as_told(world)


@pytest.mark.parametrize("outcome", [Outcome.failed, Outcome.unknown])
async def test_a_release_that_is_not_confirmed_makes_it_safe_again_and_pages(world: World, outcome: Outcome) -> None:
    await agreed(world)
    scripted = action(world)

    async def run(call: Any) -> Report:
        scripted.calls.append(call)
        return Report(outcome, "no answer") if call.release else Report(Outcome.succeeded, "done")

    scripted.run = run
    await world.drain()
    latch = await latch_of(world)
    assert (latch.state, latch.generation) == (SAFE, 2)
    assert pushed(world) == ["safe", "trading", "safe"]
    assert latch.verified_at is not None
    assert any(one["source"] == "alerthub" for one in await world.incidents())
    await is_as_told(world)


async def test_the_proof_is_looked_at_again_when_people_have_agreed(world: World) -> None:
    await proved(world)
    await ask(world)
    await vote(world, "bora")
    world.clock.advance(seconds=BLIND_AFTER.total_seconds() + 1)
    answer = await vote(world, "can")
    assert await state_of(world) is SAFE
    assert "bora and can agreed, but alertmanager has not been asked for 5 min" in answer.text


async def test_the_proof_is_looked_at_again_when_the_release_starts(world: World) -> None:
    await agreed(world)
    world.clock.advance(seconds=BLIND_AFTER.total_seconds() + 1)
    await world.drain()
    latch = await latch_of(world)
    assert (latch.state, latch.generation) == (SAFE, 2)
    assert pushed(world) == ["safe", "safe"]


async def test_who_agreed_must_still_be_here_when_the_release_starts(world: World) -> None:
    await agreed(world)
    world.configure(rules(people={**PEOPLE, "can": person("can", "responder")}))
    await world.drain()
    assert await state_of(world) is SAFE
    assert set(pushed(world)) == {"safe"}


async def test_nothing_is_released_while_actions_are_frozen(world: World) -> None:
    await proved(world)
    await world.store.write(lambda tx: freezes.add(tx, Freeze("safe-mode", "emre", "slack:EMRE", "audit", world.clock.now())))
    assert "actions are frozen by emre: audit" in (await ask(world)).text
    assert "frozen" in (await world.command(Verb.override, by="emre", subject=BTC, text="now")).text
    assert await state_of(world) is SAFE


async def test_a_restart_in_between_changes_nothing(world: World) -> None:
    await agreed(world)
    await world.drain(world.new_worker("replica-2"))
    assert await state_of(world) is RELEASED
    assert pushed(world) == ["safe", "trading"]


async def test_an_admin_overrides_by_name_and_with_a_reason(world: World) -> None:
    await fire(world)
    assert (await world.command(Verb.override, by="emre", subject=BTC)).outcome is Said.refused
    assert (await world.command(Verb.override, by="bora", subject=BTC, text="why not")).outcome is Said.refused
    done = await world.command(Verb.override, by="emre", subject=BTC, text="the feed was wrong")
    assert done.outcome is Said.done
    await world.drain()
    assert await state_of(world) is RELEASED
    assert pushed(world) == ["safe", "trading"]
    incident = (await world.state()).id
    events = await world.store.read(lambda tx: event_store.of_kind(tx, EventKind.latch, [incident]))
    (forced,) = [event for event in events if event.data.get("forced")]
    assert forced.actor.name == "emre"
    assert forced.data["account"] == "slack:EMRE"
    assert forced.text == ("emre overrides the latch of agent-btc although #1, which latched it, is still open "
                           "(the feed was wrong)")


async def test_after_an_override_a_repeat_changes_nothing_and_anything_new_latches_again(world: World) -> None:
    await fire(world)
    await world.command(Verb.override, by="emre", subject=BTC, text="the feed was wrong")
    await world.drain()
    await fire(world)
    assert await state_of(world) is RELEASED, "the admin has decided about this very alert"
    await fire(world, host="b")
    assert await state_of(world) is SAFE
    assert pushed(world) == ["safe", "trading", "safe"]


async def test_what_is_not_latched_cannot_be_released(world: World) -> None:
    answer = await ask(world)
    assert answer.outcome is Said.refused
    assert "is not latched" in answer.text


async def test_a_latched_target_s_incident_is_never_forgotten(world: World) -> None:
    await proved(world)
    world.configure(replace(world.rules, retention=timedelta(days=1)))
    world.clock.advance(days=400)
    await world.drain()
    await world.store.write(lambda tx: prune.prune(tx, world.rules, world.clock.now()))
    assert await world.incidents()
    await look_for(world, 11)
    assert (await ask(world)).outcome is Said.done
