"""Two replicas at the same moment: a click, a code, a step, the end of a silence or of an alert happen once, and in one order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Barrier, get_ident
from typing import Any

import pytest

from alerthub.clock import SystemClock
from alerthub.domain.alert import Alert
from alerthub.domain.command import Ask, Command, Outcome, Press, Typed, Verb
from alerthub.domain.message import IncidentStatus
from alerthub.domain.person import Account
from alerthub.domain.route import Route
from alerthub.domain.rules import EscalationPolicy
from alerthub.flow import escalate, silencing
from alerthub.flow.intake import Folding, take_in
from alerthub.flow.respond import hear
from alerthub.store import alerts as alert_store
from alerthub.store import people, silences, timers
from alerthub.store.database import Store
from alerthub.store.tx import Tx
from tests.flow.test_people_corners import AYSE, BUTTONS, CONTACTS, MEHMET, MINUTE, PEOPLE, TWO, calling, step
from tests.kit.alerts import batch, firing, resolved
from tests.kit.rows import at_once
from tests.kit.stores import database
from tests.kit.world import World, rules_for

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
Unit = Callable[[Tx], Any]


@dataclass
class Pair:
    """One hub as two replicas; `world` looks at it through the first."""

    stores: tuple[Store, Store]
    world: World

    def together(self, *units: Unit) -> list[Any]:
        """Each in a transaction of its own, on one replica and the other in turn, all at the same moment."""
        return at_once([lambda unit=unit, store=self.stores[number % 2]: store.write_now(unit)
                        for number, unit in enumerate(units)])

    def asked(self, *asks: Ask) -> list[Any]:
        return self.together(*[lambda tx, ask=ask: hear(tx, self.world.rules, ask, self.world.clock.now()) for ask in asks])

    def room(self, room: Any) -> Unit:
        """`escalate.run_due` or `silencing.run_due`, now."""
        return lambda tx: room(tx, self.world.rules, self.world.clock.now())

    async def fired(self, number: int) -> None:
        await self.world.receive(firing(f"Disk{number:02}", severity="critical"))
        await self.world.drain()

    async def said(self, number: int, words: str) -> int:
        return sum(words in line for line in await self.world.history(number))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with database("postgres", tmp_path) as url:
        one, two = (Store(url, SystemClock().new_id) for _ in range(2))
        yield Pair((one, two), World(one, calling(*TWO, step("person:ayse"), receivers=BUTTONS)))
        one.close()
        two.close()


def by(name: str) -> Account:
    return Account("slack", name.upper(), name)


@pytest.mark.parametrize(("label", "names"), [
    ("Escalate now", ("ayse", "ayse")), ("Escalate now", ("ayse", "mehmet")), ("Silence 1 h", ("ayse", "ayse")),
    ("Acknowledge", ("ayse", "mehmet")),
])
async def test_a_click_on_both_replicas_is_done_once(pair: Pair, label: str, names: tuple[str, str]) -> None:
    for number in range(1, 11):
        await pair.fired(number)
        token = next(button.token for button in pair.world.slack.messages[-1].buttons if button.label == label)
        answers = pair.asked(*[Press(token, by(name), f"{number}-{which}") for which, name in enumerate(names)])
        assert sorted(answer.outcome.value for answer in answers) == ["already", "done"]
        assert await pair.said(number, "step 2 of 3") == (label == "Escalate now")
        pair.world.clock.advance(seconds=6)
        await pair.world.drain()
    made = await pair.world.store.read(lambda tx: silences.active(tx, pair.world.clock.now()))
    assert len(made) == 10 * label.startswith("Silence")


async def test_a_code_that_two_accounts_send_makes_one_of_them_the_persons(pair: Pair) -> None:
    for number in range(10):
        expires = pair.world.clock.now() + 10 * MINUTE
        code = await pair.world.store.write(lambda tx, expires=expires: people.new_code(tx, "ayse", expires))
        answers = pair.asked(*[Typed(f"link {code}", Account("telegram", f"9{number}{which}", "x"), f"{number}-{which}", "1")
                               for which in range(2)])
        assert sorted(answer.outcome.value for answer in answers) == ["done", "refused"]


async def test_an_acknowledgement_at_the_moment_of_a_step_leaves_nobody_called_after_it(pair: Pair) -> None:
    for number in range(1, 11):
        await pair.fired(number)
        pair.world.clock.advance(minutes=5)
        taken = Command(Verb.acknowledge, str(number), by("ayse"), f"ack-{number}")
        pair.together(lambda tx, taken=taken: hear(tx, pair.world.rules, taken, pair.world.clock.now()),
                      pair.room(escalate.run_due), pair.room(escalate.run_due))
        found = [line for line in await pair.world.history(number) if "Acknowledged" in line or "step 2 of" in line]
        assert ["Acknowledged" in line for line in found] in ([True], [False, True])
        incident = await pair.world.state(number)
        assert incident.status is IncidentStatus.acknowledged
        waiting = await pair.world.store.read(lambda tx, key=incident.id: timers.of_incidents(tx, [key]))
        assert [timer.due_at for timer in waiting] == [None, None]


async def test_an_acknowledgement_that_is_made_anew_at_its_end_holds_or_is_refused(pair: Pair) -> None:
    route = Route("alerts", group_by=("alertname",), escalation_policy="trading", ack_timeout=30 * MINUTE)
    policies = {"trading": EscalationPolicy("trading", TWO)}
    pair.world.configure(rules_for(route, people=PEOPLE, contacts=CONTACTS, policies=policies))
    for number in range(1, 9):
        await pair.fired(number)
        await pair.world.command(Verb.acknowledge, number)
        pair.world.clock.advance(minutes=30)
        again = Command(Verb.acknowledge, str(number), by("mehmet"), f"again-{number}")
        answer, *_ = pair.together(lambda tx, again=again: hear(tx, pair.world.rules, again, pair.world.clock.now()),
                                   pair.room(escalate.run_due), pair.room(escalate.run_due))
        assert await pair.said(number, "expired") == 1
        incident = await pair.world.state(number)
        waiting = await pair.world.store.read(lambda tx, key=incident.id: timers.of_incidents(tx, [key]))
        if answer.outcome is Outcome.done:
            assert incident.acknowledged_by == "mehmet"
            assert [timer.due_at for timer in waiting if timer.due_at] == [pair.world.clock.now() + 30 * MINUTE]
        else:
            assert incident.status is IncidentStatus.triggered
        await pair.world.command(Verb.resolve, number, forced=True)
        await pair.world.drain()


async def test_a_silence_that_ends_at_the_moment_of_a_step_begins_the_escalation_again_once(pair: Pair) -> None:
    for number in range(1, 9):
        await pair.fired(number)
        await pair.world.say(f"silence {number} 5m", key=f"silence-{number}")
        pair.world.clock.advance(minutes=5)
        for _ in range(2):
            pair.together(pair.room(silencing.run_due), pair.room(escalate.run_due),
                          pair.room(escalate.run_due), pair.room(silencing.run_due))
        pair.world.clock.advance(minutes=1)
        await pair.world.drain()
        assert await pair.said(number, "Silence ended") == 1
        assert (await pair.said(number, "step 1 of 3"), await pair.said(number, "step 2 of 3")) == (2, 0)
        pair.world.clock.advance(minutes=4)
        await pair.world.drain()
        assert (await pair.said(number, "step 1 of 3"), await pair.said(number, "step 2 of 3")) == (2, 1)
        await pair.world.command(Verb.resolve, number, forced=True)


async def test_an_alert_that_resolves_at_the_moment_of_a_step_is_escalated_no_more(pair: Pair) -> None:
    for number in range(1, 9):
        await pair.fired(number)
        pair.world.clock.advance(minutes=5)
        over = batch(resolved(f"Disk{number:02}", severity="critical"), at=pair.world.clock.now())
        pair.together(lambda tx, over=over: take_in(tx, pair.world.rules, [over], pair.world.clock.now()),
                      pair.room(escalate.run_due))
        await pair.world.settle_down(10)
        await pair.world.advance(minutes=30)
        assert (await pair.world.state(number)).status is IncidentStatus.resolved
        assert await pair.said(number, "run out") == 0


async def test_two_replicas_call_each_person_once(pair: Pair) -> None:
    other = World(pair.stores[1], pair.world.rules, pair.world.clock)
    other.channels = pair.world.channels
    await pair.world.receive(firing("DiskFull", severity="critical"))
    await asyncio.gather(pair.world.drain(), other.drain())
    pair.world.clock.advance(minutes=5)
    await asyncio.gather(pair.world.drain(), other.drain())
    assert len([told for told in pair.world.channels[AYSE].messages if not told.only_edit]) == 1
    assert len(pair.world.channels[MEHMET].messages) == 1


# -- webhooks

@pytest.mark.parametrize("name", ["one incident for each", "the same incident"])
async def test_of_two_webhooks_that_begin_the_same_the_second_waits_and_finds_it(pair: Pair, name: str) -> None:
    """Neither is done over again: both were, whole, when the second met the first at the unique index."""
    turns: list[str] = []
    for number in range(20):
        alerts = [firing("Disk" if "same" in name else f"Disk{number:02}-{one}", host=f"{number}-{one}") for one in range(8)]
        meet = Barrier(2)
        met: set[int] = set()

        def unit(tx: Tx, alerts: list[Alert] = alerts, meet: Barrier = meet, met: set[int] = met) -> None:
            turns.append(name)
            if get_ident() not in met:
                met.add(get_ident())
                meet.wait(10)       # both are in a transaction
            take_in(tx, pair.world.rules, [batch(*alerts, at=pair.world.clock.now())], pair.world.clock.now())

        pair.together(unit, unit)
    assert len(turns) == 40
    shown = await pair.world.incidents()
    assert sum(incident["firing"] for incident in shown) == 160
    assert len(shown) == (1 if "same" in name else 160)


async def test_more_at_once_than_wait_for_each_other_are_stored_once_all_the_same(pair: Pair) -> None:
    alerts = [firing("Disk", host=str(number)) for number in range(alert_store.MOST_KEPT_APART + 1)]
    now = pair.world.clock.now()
    pair.together(*[lambda tx: take_in(tx, pair.world.rules, [batch(*alerts, at=now)], now)] * 2)
    (incident,) = await pair.world.incidents()
    assert incident["firing"] == len(alerts)


async def test_a_resolve_judged_by_a_row_that_another_replica_replaces_is_judged_anew(pair: Pair) -> None:
    """An end that nobody saw begin is kept. While its repeat is read by one replica, the alert begins at the other one."""
    rules, (one, other), now = pair.world.rules, pair.stores, pair.world.clock.now()
    earlier, later = now - timedelta(minutes=9), now + timedelta(seconds=1)
    over = [batch(resolved("Disk", starts_at=earlier, ends_at=earlier), at=now)]
    one.write_now(lambda tx: take_in(tx, rules, over, now))
    begins = [batch(firing("Disk", starts_at=now), at=now)]
    ends = [batch(resolved("Disk", starts_at=now, ends_at=later), at=later)]
    reads = []

    def take(tx: Tx) -> None:
        folding = Folding(tx, rules, later)
        folding.load_states(ends)
        if not reads:
            other.write_now(lambda its: take_in(its, rules, begins, now))
        reads.append(dict(folding.states))
        folding.load_incidents(ends)
        folding.fold(ends[0])
        folding.save()

    one.write_now(take)
    assert len(reads) == 2, "the first time it was judged by a row that was no longer there"
    (incident,) = await pair.world.incidents()
    assert incident["status"] == IncidentStatus.resolved.value
