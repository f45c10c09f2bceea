"""Silences hold incidents and let them go; what the source has and what it lacks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from alerthub.domain.event import Actor, Event
from alerthub.domain.incident import AlertState, content_of
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.reconcile import Listed, Peer
from alerthub.domain.rules import SourceRule
from alerthub.domain.silence import NotTaken, Plan, Silence, marked_comment
from alerthub.engine.silencing import Silencing
from alerthub.engine.timed import Timed
from alerthub.errors import Unreachable
from alerthub.flow import silencing, watch
from alerthub.store import alerts as alert_store
from alerthub.store import silences
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START
from tests.kit.world import World

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)
SOURCE = SourceRule("alertmanager", "alertmanager")


def asked(text: str = 'alertname="DiskFull"', hours: float = 1, at: datetime = START, **fields: Any) -> Silence:
    usual: dict[str, Any] = {"created_by": "ayse", "comment": "swap"}
    return Silence("", 0, parse_matchers(text), at, at + hours * HOUR, **{**usual, **fields})


async def silence(world: World, text: str = 'alertname="DiskFull"', hours: float = 1, by: str = "ayse", **fields: Any) -> Silence:
    now, who = world.clock.now(), Actor("person", by)
    return await world.store.write(lambda tx: silencing.create(tx, world.rules, asked(text, hours, now, **fields), who, now))


async def expire(world: World, number: int, by: str = "mehmet") -> Silence | None:
    return await world.store.write(lambda tx: silencing.expire(tx, world.rules, number, Actor("person", by), world.clock.now()))


async def run_due(world: World) -> list[Event]:
    return await world.store.write(lambda tx: silencing.run_due(tx, world.rules, world.clock.now()))


async def last_event(world: World, number: int = 1) -> dict[str, Any]:
    event: dict[str, Any] = (await world.incident(number))["events"][-1]
    return event


# -- held

async def test_a_silence_holds_what_fires_and_says_so(world: World) -> None:
    await world.receive(firing(host="a"), firing(host="b"))
    await world.receive(firing("Else"))
    made = await silence(world)
    assert (await world.state(1)).silence_id == made.id
    event = await last_event(world)
    assert event["text"] == "Silenced by ayse until 2026-11-21 04:00 UTC: swap"
    assert event["actor"] == "person:ayse"
    assert event["kind"] == "silenced"
    assert event["data"] == {"silence": made.id, "until": "2026-11-21T04:00:00+00:00"}
    assert (await world.state(2)).silence_id == ""


async def test_what_is_silenced_is_told_to_whoever_was_told_of_it(world: World) -> None:
    await world.receive(firing())
    await world.drain()
    world.slack.expect("opened")
    await silence(world)
    await world.drain()
    world.slack.expect("Silenced by ayse")


async def test_an_incident_with_one_alert_that_is_not_covered_is_not_held(world: World) -> None:
    await world.receive(firing(host="a"), firing(host="b"))
    await silence(world, 'host="a"')
    assert (await world.state()).silence_id == ""
    assert len((await world.incident())["events"]) == 1


async def test_what_no_longer_fires_need_not_be_covered(world: World) -> None:
    await world.receive(firing(host="a"), firing(host="b"))
    await world.receive(resolved(host="b"))
    made = await silence(world, 'host="a"')
    assert (await world.state()).silence_id == made.id


async def test_two_silences_hold_it_together_until_the_first_of_them_ends(world: World) -> None:
    await world.receive(firing(host="a"), firing(host="b"))
    await silence(world, 'host="a"', hours=9)
    second = await silence(world, 'host="b"')
    assert (await world.state()).silence_id == second.id
    world.clock.advance(hours=1)
    (event,) = await run_due(world)
    assert event.text == "Silence ended: it still fires"
    assert (await world.state()).silence_id == ""


async def test_a_longer_silence_takes_over_and_is_said(world: World) -> None:
    await world.receive(firing())
    await silence(world)
    longer = await silence(world, hours=4, by="mehmet", created_by="")
    assert (await world.state()).silence_id == longer.id
    assert (await last_event(world))["text"] == "Still silenced by mehmet until 2026-11-21 07:00 UTC: swap"
    world.clock.advance(hours=1)
    assert await run_due(world) == []


@pytest.mark.parametrize(("fields", "word"), [
    ({"text": 'severity=~".*"'}, "cover everything"), ({"hours": 0}, "later"), ({"hours": -1}, "later"),
    ({"hours": 24 * 366}, "one year")])
async def test_what_must_not_be_a_silence_is_refused_and_changes_nothing(world: World, fields: dict[str, Any], word: str) -> None:
    await world.receive(firing())
    with pytest.raises(ValueError, match=word):
        await silence(world, **fields)
    assert await world.store.read(lambda tx: silences.active(tx, START)) == []


async def test_what_people_write_becomes_one_line_without_control_characters(world: World) -> None:
    made = await silence(world, comment="disk\x1b[31m\n\r red\u202e" + "x" * 2_000, created_by="a\nb")
    assert made.comment.startswith("disk [31m red x")
    assert len(made.comment) == 1_000
    assert made.created_by == "a b"


# -- let go

async def test_when_it_is_over_what_still_fires_is_told_now(world: World) -> None:
    await world.receive(firing())
    await world.drain()
    made = await silence(world)
    await world.drain()
    world.slack.told.clear()
    world.clock.advance(minutes=59)
    assert await run_due(world) == []
    world.clock.advance(minutes=1)
    (event,) = await run_due(world)
    assert (event.text, event.actor) == ("Silence ended: it still fires", Actor("hub", "silences"))
    assert dict(event.data) == {"silence": "", "was": made.id}
    await world.drain()
    world.slack.expect("Silence ended: it still fires")
    assert await run_due(world) == []


async def test_whoever_ends_it_is_named(world: World) -> None:
    await world.receive(firing())
    made = await silence(world)
    world.clock.advance(minutes=5)
    ended = await expire(world, made.number)
    assert ended == replace(made, ends_at=world.clock.now())
    event = await last_event(world)
    assert (event["text"], event["actor"]) == ("Silence ended by mehmet: it still fires", "person:mehmet")
    assert (await world.state()).silence_id == ""


async def test_ended_twice_is_ended_once(world: World) -> None:
    await world.receive(firing())
    made = await silence(world)
    first = await expire(world, made.number)
    world.clock.advance(minutes=5)
    assert await expire(world, made.number) == first
    assert len((await world.incident())["events"]) == 3


async def test_only_a_silence_of_the_hub_can_be_ended_here(world: World) -> None:
    assert await expire(world, 1) is None
    await compare(world, listed("r1"), writes=False)
    assert await expire(world, 1) is None
    assert len(await world.store.read(lambda tx: silences.of_source(tx, "alertmanager", START))) == 1


async def test_what_another_silence_covers_goes_on_being_held(world: World) -> None:
    await world.receive(firing())
    first, second = await silence(world, hours=2), await silence(world)
    assert (await world.state()).silence_id == first.id
    await expire(world, first.number)
    assert (await world.state()).silence_id == second.id


async def test_a_resolve_passes_and_leaves_no_silence_behind(world: World) -> None:
    await world.receive(firing())
    await world.drain()
    await silence(world)
    await world.receive(resolved())
    await world.drain()
    assert (await world.state()).silence_id == ""
    assert world.slack.messages[-1].status == "resolved"
    world.clock.advance(hours=2)
    assert await run_due(world) == []


# -- judged by whoever folds

async def judged(world: World, *unsaved: AlertState, number: int = 1) -> tuple[str, Event | None]:
    found, now = await world.state(number), world.clock.now()

    def unit(tx: Any) -> tuple[str, Event | None]:
        incident = alert_store.incidents_for_change(tx, [found.id])[found.id]
        event = silencing.judge(tx, incident, silences.active(tx, now), now, unsaved)
        return incident.silence_id, event

    return await world.store.read(unit)


def unsaved(alert: Any, incident_id: str) -> AlertState:
    return AlertState("alertmanager", alert.identity, incident_id, alert.status, content_of(alert), START, None, START, START)


async def test_without_silences_nothing_is_judged(world: World) -> None:
    await world.receive(firing())
    assert await judged(world) == ("", None)


async def test_an_alert_that_is_not_stored_yet_counts(world: World) -> None:
    await world.receive(firing(host="a"))
    made = await silence(world, 'host=~"a|b"')
    key = (await world.state()).id
    assert await judged(world, unsaved(firing(host="b"), key)) == (made.id, None)
    assert await judged(world, unsaved(firing(host="c"), "another incident")) == (made.id, None)
    silence_id, event = await judged(world, unsaved(firing(host="c"), key))
    assert silence_id == ""
    assert event is not None
    assert event.text == "No longer silenced: DiskFull on c fires, which no silence covers"


async def test_an_end_that_is_not_stored_yet_counts(world: World) -> None:
    await world.receive(firing(host="a"), firing(host="b"))
    made = await silence(world, 'host="a"')
    key = (await world.state()).id
    silence_id, event = await judged(world, unsaved(resolved(host="b"), key))
    assert silence_id == made.id
    assert event is not None
    assert event.text == "Silenced by ayse until 2026-11-21 04:00 UTC: swap"
    assert event.actor == Actor("hub", "silences")


# -- the same at the source

def listed(remote_id: str, text: str = 'alertname="ByHand"', **fields: Any) -> Silence:
    usual = {"created_by": "somebody", "comment": "by hand", "remote_id": remote_id, "hours": 9}
    return asked(text, **{**usual, **fields})


def mirrored(made: Silence, remote_id: str = "r1") -> Silence:
    return replace(made, id="", number=0, comment=marked_comment(made), remote_id=remote_id)


async def compare(world: World, *remote: Silence, writes: bool = True) -> Plan:
    now = world.clock.now()
    return await world.store.write(lambda tx: silencing.compare(tx, "alertmanager", remote, now, writes=writes))


async def shown(world: World, state: str = "active") -> list[tuple[str, str]]:
    """Source and comment of each."""
    now = world.clock.now()
    page = await world.store.read(lambda tx: silences.page(tx, state, now, 50, None))
    return [(item["source"], item["comment"]) for item in page["items"]]


async def test_what_was_made_at_the_source_is_shown_once_and_ends_when_it_is_gone(world: World) -> None:
    for _ in range(2):
        assert await compare(world, listed("r1"), listed("r2", comment="another")) == Plan()
    assert sorted(await shown(world)) == [("alertmanager", "another"), ("alertmanager", "by hand")]
    await compare(world, listed("r1", comment="longer"))
    assert await shown(world) == [("alertmanager", "longer")]
    assert await shown(world, "expired") == [("alertmanager", "another")]
    await compare(world, listed("r1"), listed("r2", comment="another"))
    assert len(await shown(world)) == 2, "it is back: another peer did not know it yet"


async def test_what_was_made_at_the_source_holds_nothing_here(world: World) -> None:
    await world.receive(firing())
    await compare(world, listed("r1", 'alertname="DiskFull"'))
    assert await world.store.read(lambda tx: silences.active(tx, START)) == []
    assert (await world.state()).silence_id == ""


async def test_ours_at_the_source_is_not_shown_twice(world: World) -> None:
    made = await silence(world)
    await compare(world, mirrored(made))
    assert await shown(world) == [("", "swap")]


async def test_a_source_that_may_not_be_written_to_lacks_nothing(world: World) -> None:
    await silence(world)
    assert await compare(world, writes=False) == Plan()


async def test_what_the_hubs_own_silence_holds_is_not_told_again_as_silenced_at_the_source(world: World) -> None:
    alert = firing()
    await world.receive(alert)
    await silence(world)

    async def reconcile() -> None:
        now, peer = world.clock.now(), Peer(START - 99 * HOUR, {alert.identity: Listed(alert.labels, is_suppressed=True)})
        await world.store.write(lambda tx: watch.reconcile(tx, world.rules, "alertmanager", [peer], now, now))

    await reconcile()
    assert not (await world.state()).is_silenced
    world.clock.advance(hours=1)
    await run_due(world)
    await reconcile()
    assert (await world.state()).is_silenced, "the source says so, and now nobody else does"


@pytest.mark.parametrize(("ids", "is_silenced"), [({"r1"}, False), ({"r1", "theirs"}, True), ({"theirs"}, True), (set(), True)])
async def test_what_only_the_hubs_mirrored_silence_holds_back_is_not_silenced_at_the_source(
        world: World, ids: set[str], is_silenced: bool) -> None:
    """Also while it has ended here and not yet there."""
    alert = firing()
    await world.receive(alert)
    made = await silence(world)
    await world.store.write(lambda tx: silencing.made(tx, "alertmanager", made, "r1"))
    await expire(world, made.number)
    now, peer = world.clock.now(), Peer(START - 99 * HOUR, {alert.identity: Listed(alert.labels, True, frozenset(ids))})
    await world.store.write(lambda tx: watch.reconcile(tx, world.rules, "alertmanager", [peer], now, now))
    assert (await world.state()).is_silenced is is_silenced
    assert ("Silenced or inhibited at the source" in await world.history()) is is_silenced


async def test_one_whose_making_was_never_known_is_known_as_ours_before_it_is_ended(world: World) -> None:
    made = await silence(world)
    await expire(world, made.number)
    await compare(world, mirrored(made))
    assert await world.store.read(lambda tx: silences.mirrored_ids(tx, "alertmanager", world.clock.now())) == {"r1"}


# -- the round

class ScriptedKeeper:
    """A source's silences in memory. `lost` answers are lost after the effect; `away` refuses all; `never` is final."""

    def __init__(self) -> None:
        self.writes, self.lost, self.away, self.never = True, 0, False, False
        self.there: dict[str, Silence] = {}
        self.calls: list[str] = []

    async def listed(self) -> tuple[str, list[Silence]]:
        self.calls.append("list")
        if self.away:
            raise Unreachable("http://am does not answer")
        return "http://am", list(self.there.values())

    async def make(self, url: str, silence: Silence) -> str:
        self.calls.append("make")
        if self.never:
            raise NotTaken("400: bad matcher")
        remote_id = f"r{len(self.there) + 1}"
        self.there[remote_id] = mirrored(silence, remote_id)
        self.lose()
        return remote_id

    async def end(self, url: str, remote_id: str) -> None:
        self.calls.append("end")
        self.there.pop(remote_id, None)
        self.lose()

    def lose(self) -> None:
        if self.lost:
            self.lost -= 1
            raise Unreachable("http://am does not answer (ReadError)")


@pytest.fixture
def keeper() -> ScriptedKeeper:
    return ScriptedKeeper()


def rounds(world: World, keeper: ScriptedKeeper, owner: str = "a") -> Silencing:
    return Silencing(world.store, lambda: {"alertmanager": keeper}, world.clock, owner)


async def state_there(world: World, number: int = 1) -> tuple[str, str]:
    found = await world.store.read(lambda tx: silences.view_of(tx, number, world.clock.now()))
    assert found is not None
    there = found["mirrored"].get("alertmanager", {"state": "", "detail": ""})
    return there["state"], there["detail"]


async def test_a_silence_is_made_at_the_source_once_and_ended_there_once(world: World, keeper: ScriptedKeeper) -> None:
    made = await silence(world)
    for _ in range(3):
        await rounds(world, keeper).mirror(SOURCE)
    assert (keeper.calls.count("make"), await state_there(world)) == (1, ("made", ""))
    await expire(world, made.number)
    for _ in range(3):
        await rounds(world, keeper).mirror(SOURCE)
    assert (keeper.calls.count("end"), keeper.there, await state_there(world)) == (1, {}, ("ended", ""))


async def test_an_answer_that_was_lost_makes_no_second_one(world: World, keeper: ScriptedKeeper) -> None:
    await silence(world)
    keeper.lost = 1
    await rounds(world, keeper).mirror(SOURCE)
    assert (await state_there(world))[0] == "failed"
    await rounds(world, keeper).mirror(SOURCE)
    assert (keeper.calls, await state_there(world)) == (["list", "make", "list"], ("made", ""))


async def test_one_that_was_ended_before_its_making_was_known_is_ended_there(world: World, keeper: ScriptedKeeper) -> None:
    made = await silence(world)
    keeper.lost = 2
    await rounds(world, keeper).mirror(SOURCE)
    await expire(world, made.number)
    await rounds(world, keeper).mirror(SOURCE)
    await rounds(world, keeper).mirror(SOURCE)
    assert (keeper.there, (await state_there(world))[0]) == ({}, "ended")


async def test_a_source_that_is_away_is_asked_again(world: World, keeper: ScriptedKeeper) -> None:
    await silence(world)
    keeper.away = True
    await rounds(world, keeper).mirror(SOURCE)
    keeper.away = False
    await rounds(world, keeper).mirror(SOURCE)
    assert len(keeper.there) == 1


async def test_what_the_source_refuses_for_good_is_said_and_not_asked_again(world: World, keeper: ScriptedKeeper) -> None:
    await silence(world)
    await silence(world, 'alertname="Else"')
    keeper.never = True
    for _ in range(2):
        await rounds(world, keeper).mirror(SOURCE)
    assert (keeper.calls.count("make"), await state_there(world)) == (2, ("refused", "400: bad matcher"))


async def test_one_replica_mirrors(world: World, keeper: ScriptedKeeper) -> None:
    await silence(world)
    await rounds(world, keeper, "a").mirror(SOURCE)
    await rounds(world, keeper, "b").mirror(SOURCE)
    assert keeper.calls == ["list", "make"]


async def test_a_source_that_cannot_be_asked_is_left_alone(world: World, keeper: ScriptedKeeper) -> None:
    await rounds(world, keeper).mirror(SourceRule("grafana", "grafana"))
    assert keeper.calls == []


async def test_the_worker_ends_what_is_due(world: World) -> None:
    timed = Timed(world.store, lambda: world.rules)
    await world.receive(firing())
    await silence(world)
    assert await timed.run_due(world.clock.now()) == []
    world.clock.advance(hours=1)
    (event,) = await timed.run_due(world.clock.now())
    assert event.text == "Silence ended: it still fires"
