"""A failover to a replica that lags takes the database back: rows are gone, their numbers are given again, and the hub remembers
more than its database. F4; `make faults FAULTS=F4` plays it."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import select, text, update

from alerthub.domain.action import RunState
from alerthub.domain.command import Outcome, Verb
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction
from alerthub.engine.doorway import CHUNK_ALERTS, Doorway
from alerthub.errors import Busy
from alerthub.flow.seen import mark_of_incident
from alerthub.store.database import Store
from alerthub.store.lineage import doubt
from alerthub.store.schema import action_runs, events, incidents, lanes
from alerthub.store.tx import Tx
from tests.kit.alerts import batch, firing, resolved
from tests.kit.world import SLACK, World, destination, person, rules_for

pytestmark = pytest.mark.anyio
WITH_BUTTONS = rules_for(receivers={"alerts": [destination(SLACK, answers="buttons")]}, people={"ayse": person("ayse")})


async def lost_and_another(world: World) -> None:
    """The only incident is lost, and the next one's lane gets the number that its lane had."""
    def lose(tx: Tx) -> int:
        number = tx.conn.execute(select(lanes.c.id)).scalar_one()
        tx.conn.execute(incidents.delete())
        return int(number)

    number = await world.store.write(lose)
    world.clock.advance(seconds=1)
    await world.receive(firing("Other"))
    await world.store.write(lambda tx: tx.conn.execute(update(lanes).values(id=number)))


@pytest.mark.parametrize("ending", ["told", "failed"])
async def test_what_was_being_sent_of_a_lost_incident_is_not_written_down_as_anothers(world: World, ending: str) -> None:
    world.configure(rules_for(receivers={"alerts": [destination(SLACK)]}))
    held = world.slack.gate = asyncio.Event()
    if ending == "failed":
        world.slack.failures = [RuntimeError("a bug")]
    await world.receive(firing("Lost"))
    await world.worker.run_once()
    await asyncio.sleep(0)
    await lost_and_another(world)
    second = world.new_worker("replica-2")
    slow = world.slack.gate = asyncio.Event()
    await second.run_once()                     # attempt 1 of that number, as the other is
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(*world.worker.under_way)
    row = await world.store.read(lambda tx: tx.conn.execute(select(lanes)).one())
    assert (row.receipt, row.told_seq, row.failures, row.attempt) == (None, 0, 0, 1)
    assert [delivery["state"] for delivery in await world.deliveries()] == ["sending"]
    slow.set()
    await asyncio.gather(*second.under_way)
    row = await world.store.read(lambda tx: tx.conn.execute(select(lanes)).one())
    assert (json.loads(row.receipt), row.told_seq) == ({"ts": "1.000" if ending == "failed" else "2.000"}, 1)


async def test_a_button_of_a_lost_incident_does_nothing_to_another(store: Store) -> None:
    world = World(store, WITH_BUTTONS)
    await world.receive(firing("Lost"))
    await world.drain()
    message = world.slack.expect("Lost")
    await lost_and_another(world)
    answer = await world.press(message, "Acknowledge")
    assert (answer.outcome, answer.text) == (Outcome.refused, "That incident is not kept any more.")
    await world.settle_down(5)
    assert (await world.press(world.slack.expect("Other"), "Acknowledge")).outcome is Outcome.done


async def test_what_waits_after_a_failover_is_marked_and_what_comes_later_is_not(world: World) -> None:
    await world.receive(firing("Told"))
    await world.drain()
    assert not world.slack.expect("Told").possible_duplicate
    await world.receive(firing("Waits"))
    await world.store.write(doubt)
    await world.settle_down(5)
    assert world.slack.expect("Waits").possible_duplicate
    await world.receive(resolved("Told"), resolved("Waits"))
    await world.settle_down(5)
    assert [message.possible_duplicate for message in world.slack.messages] == [False, False]


@pytest.mark.parametrize(("direction", "times"), [(Direction.neutral, 1), (Direction.tighten, 2)])
async def test_an_action_that_the_database_has_forgotten_is_done_once_but_for_what_makes_safe(
        store: Store, direction: Direction, times: int) -> None:
    action = ActionRule("restart", "http", direction, target_label="agent", resumable=True, version="1")
    route = Route("alerts", group_by=("alertname",), actions=(action.name,))
    world = World(store, rules_for(actions=[action], targets=["drl"], route=route))
    await world.receive(firing("Broken", agent="drl"))
    before = await world.store.read(lambda tx: tx.conn.execute(select(action_runs)).one()._asdict())
    await world.drain()
    await world.store.write(lambda tx: tx.conn.execute(update(action_runs).values(**before)))
    await world.store.write(lambda tx: tx.conn.execute(text("delete from latch_causes")))
    world.worker.nudge()
    await world.drain()
    assert len(world.actions["restart", "drl"].calls) == times
    state = await world.store.read(lambda tx: tx.conn.execute(select(action_runs.c.state)).scalar_one())
    assert state == (RunState.unknown.value if times == 1 else RunState.succeeded.value)


async def test_what_somebody_saw_is_not_taken_for_what_has_the_same_number_now(store: Store) -> None:
    world = World(store, WITH_BUTTONS)
    await world.receive(firing("Disk"))
    looked = await world.incident()
    mark = mark_of_incident(looked["events"][-1]["seq"], looked["updated_at"])
    world.clock.advance(seconds=1)
    moment = world.clock.now()
    await world.store.write(lambda tx: tx.conn.execute(update(events).values(at=moment)))
    await world.store.write(lambda tx: tx.conn.execute(update(incidents).values(updated_at=moment)))
    assert (await world.command(Verb.acknowledge, expected=(mark,))).why == "changed_since"
    looked = await world.incident()
    mark = mark_of_incident(looked["events"][-1]["seq"], looked["updated_at"])
    assert (await world.command(Verb.acknowledge, expected=(mark,))).outcome is Outcome.done


# -- a webhook that takes several transactions

LARGE = batch(*(firing("Large", host=f"h{number}") for number in range(CHUNK_ALERTS + 1)))


async def test_a_large_webhook_that_was_stored_and_lost_is_stored_anew(world: World) -> None:
    """Its sender comes again; without a failover it would be answered at once by what became of it."""
    door = Doorway(world.store, lambda: world.rules, world.clock, world.metrics, lambda _: None)
    await door.take(LARGE)
    await world.store.write(lambda tx: tx.conn.execute(incidents.delete()))
    world.store.lineage.changes += 1
    await door.take(LARGE)
    assert [incident["alerts"] for incident in await world.incidents()] == [CHUNK_ALERTS + 1]


async def test_a_large_webhook_in_the_midst_of_which_the_database_fails_over_is_not_acknowledged(world: World) -> None:
    def fail_over(may_act: bool) -> None:
        world.store.lineage.changes += 1

    door = Doorway(world.store, lambda: world.rules, world.clock, world.metrics, fail_over)
    with pytest.raises(Busy, match="first parts"):
        await door.take(LARGE)
