"""No statement of the hub reads a growing table from end to end: what is over costs nothing any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from alerthub.domain.command import Verb
from alerthub.domain.delivery import DeliveryState
from alerthub.domain.message import IncidentStatus
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction, EscalationPolicy, PolicyStep
from alerthub.errors import Failure, SendFailed
from alerthub.flow import audit, escalate, flapping, prune, silencing, watch
from alerthub.store import alerts as alert_store
from alerthub.store import changes, details, lanes, reading, runs, search, searching, usage
from alerthub.store.columns import metadata
from alerthub.store.database import Store
from alerthub.store.schema import incidents, silences, votes
from alerthub.store.search import Wanted
from alerthub.store.tx import Locked, Tx
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START, FakeClock
from tests.kit.grown import grow
from tests.kit.plans import PARTIAL, Plans, Step, explained, postgres_steps, sqlite_step
from tests.kit.stores import EACH_DATABASE, database
from tests.kit.world import World, person, rules_for

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
CLOSED = 3000
# These stop at their limit, read what each minute empties, or (heads of an anchor) join with as many events as there are here.
BOUNDED = (
    'FROM incidents ORDER BY incidents.number DESC', "WHERE incidents.status = ? ORDER BY incidents.number DESC",
    "FROM deliveries ORDER BY deliveries.id DESC", "WHERE deliveries.state = ? ORDER BY deliveries.id DESC",
    "FROM action_runs ORDER BY action_runs.id DESC", "FROM quarantine ORDER BY quarantine.id DESC",
    "FROM anchors ORDER BY anchors.n DESC", "SELECT max(events.position) AS max_1 FROM events",
    "SELECT max(incidents.number) AS max_1 FROM incidents", "DELETE FROM pruned RETURNING",
    "SELECT max(deliveries.id) AS max_1 FROM deliveries",
    "GROUP BY events.incident_id) AS anon_1 ON anon_1.incident_id = events.incident_id AND events.seq = anon_1.seq",
)


@pytest.fixture(params=EACH_DATABASE)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A day after thousands of incidents were closed; half of them had an action and an escalation."""
    retrain = ActionRule("retrain", "http", Direction.neutral, targets=("etl",), version="1", cooldown=timedelta(hours=1),
                         max_per_hour=3)
    policy = EscalationPolicy("trading", (PolicyStep((("person", "ayse"),)),))
    rules = rules_for(Route("alerts", group_by=("alertname", "instance"), actions=("retrain",), escalation_policy="trading"),
                      actions=[retrain], targets=["etl"], policies={"trading": policy}, people={"ayse": person("ayse")},
                      retention=timedelta(hours=23, minutes=59))
    clock = FakeClock(START + timedelta(days=1))
    with database(request.param, tmp_path) as url:
        grow(url, CLOSED, acted=2)
        store = Store(url, clock.new_id)
        store.write_now(said_and_silenced)
        if not store.is_sqlite:      # there nobody ever does
            store.write_now(lambda tx: tx.conn.exec_driver_sql("analyze"))
        yield World(store, rules, clock)
        store.close()


def said_and_silenced(tx: Tx) -> None:
    """What people did in all that time."""
    tx.many(votes.insert(), [{"subject": f"run:{number}", "person": "ayse", "account": "", "via": "slack", "verdict": "yes",
                              "at": START} for number in range(CLOSED)])
    ended = {"source": "", "remote_id": "", "matchers": "[]", "starts_at": START, "ends_at": START + timedelta(hours=1),
             "created_by": "ayse", "comment": "", "created_at": START, "mirrored": "{}"}
    tx.many(silences.insert(), [{"id": tx.new_id(), **ended} for _ in range(CLOSED)])


async def live(world: World) -> None:
    """Everything that happens to alerts: new, repeated, cleared, again, told, not told, answered, escalated."""
    for number in range(30):
        await world.receive(firing("New", instance=f"n{number}"), firing("Two", instance=f"n{number}"))
    await work(world, 30)
    world.slack.failures.append(SendFailed(Failure.configuration, "gone"))
    await world.receive(firing("Last", instance="n0"))
    await work(world, 10)
    await world.receive(firing("New", instance="n1"), resolved("Two", instance="n1"))
    number = (await world.incidents("open"))[0]["number"]
    for verb in (Verb.acknowledge, Verb.unacknowledge, Verb.escalate):
        await world.command(verb, number)
    await world.receive(resolved("New", instance="n2"), resolved("Never", instance="n2"))
    await world.receive(firing("New", instance="n2"))
    await work(world, 20)


async def work(world: World, seconds: int) -> None:
    """What is due, as the worker's own loop does it: what another transaction holds for too long is claimed at the next look."""
    for _ in range(seconds):
        with suppress(Locked):
            await world.drain()
        world.clock.advance(seconds=1)


async def make_rounds(world: World) -> None:
    now = world.clock.now()
    for unit in (lambda tx: watch.mark_stale(tx, world.rules, now), lambda tx: watch.expire_own(tx, world.rules, now),
                 lambda tx: flapping.calm(tx, world.rules, now), lambda tx: silencing.free_orphans(tx, now),
                 lambda tx: escalate.audit(tx, world.rules, now), lambda tx: prune.prune(tx, world.rules, now),
                 lambda tx: audit.anchor(tx, now)):
        await world.store.write(unit)


async def look(world: World) -> None:
    """As the API, the pages, the commands, the metrics and the health checks do."""
    now = world.clock.now()
    await world.store.read(lambda tx: look_at_lists(tx, now))


def look_at_lists(tx: Tx, now: datetime) -> None:
    for status in ("", "open", *(state.value for state in IncidentStatus)):
        reading.list_incidents(tx, 50, None, status)
        reading.list_incidents(tx, 50, 2000, status)
        for wanted in (Wanted(status), Wanted(status, ("critical",)), Wanted(status, team="platform", words=("9",))):
            search.incidents(tx, wanted, 50)
            search.incidents(tx, wanted, 50, "2-2000" if wanted.is_gravest_first else "2000")
    for state in ("", *(state.value for state in DeliveryState)):
        reading.list_deliveries(tx, 50, None, state, only_dead=False)
    reading.list_deliveries(tx, 50, None, "", only_dead=True)
    reading.one_incident(tx, "17")
    reading.counts(tx)
    reading.open_counts(tx)
    reading.lanes_of(tx, "no incident")
    seen, _ = changes.look(tx, None)
    changes.look(tx, seen)
    reading.list_quarantine(tx, 50, None)
    for state, reason in ((None, None), ("awaiting_approval", None), (None, "shadow")):
        runs.recent(tx, 50, state, reason)
    runs.find(tx, "0123456789ab")
    look_closely(tx)
    lanes.oldest_due(tx, now)
    lanes.replay(tx, now)


def look_closely(tx: Tx) -> None:
    """As the API does at one thing, and at the record."""
    incident = alert_store.id_of(tx, "17")
    for before in (None, 500):
        details.list_lanes(tx, 50, before, only_dead=before is None)
        details.alerts_of(tx, incident, 50, before)
        details.deliveries_of(tx, incident, 50, before)
        details.list_anchors(tx, 50, before)
        for kind in ("", "comment"):
            searching.search(tx, searching.Wanted(kind=kind), 50, before)
    details.events_of(tx, incident, 50, 1)
    details.one_lane(tx, 17)
    details.one_delivery(tx, 17)
    for before_run in ("", incident):
        usage.page(tx, 50, before_run, "awaiting_approval")


def unexpected(plans: Plans) -> list[str]:
    return [told for told in plans.reading_all() if not any(known in plain(told) for known in BOUNDED)]


def plain(told: str) -> str:
    """The statement on one line, whatever the database calls its parameters."""
    return " ".join("?" if word.startswith("%(") else word for word in told.split())


async def test_no_statement_reads_a_growing_table_from_end_to_end(world: World) -> None:
    with explained(world.store) as plans:
        await live(world)
        await make_rounds(world)
        await look(world)
    assert len(plans.steps) > 100, "the hub has hardly run"
    found = unexpected(plans)
    assert not found, "\n" + "\n\n".join(found)


async def test_a_statement_without_an_index_is_found(world: World) -> None:
    """The measure itself can tell."""
    with explained(world.store) as plans:
        await world.store.read(lambda tx: tx.conn.execute(incidents.select().where(incidents.c.title == "no index has it")).all())
    assert len(unexpected(plans)) == 1


def test_whatever_goes_with_its_parent_is_found_by_it() -> None:
    """Retention deletes incidents; the database looks for what refers to each."""
    for table in metadata.tables.values():
        firsts = {next(iter(index.columns)).name for index in table.indexes}
        firsts |= {next(iter(constraint.columns)).name for constraint in table.constraints if len(constraint.columns)
                   and type(constraint).__name__ in ("UniqueConstraint", "PrimaryKeyConstraint")}
        for column in table.columns:
            assert not column.foreign_keys or column.name in firsts, f"{table.name}.{column.name} has no index"


@pytest.mark.parametrize(("line", "step"), [
    ("SCAN alerts", Step("alerts")), ("SCAN a USING INDEX ix_alerts_incident_id", Step("alerts", "ix_alerts_incident_id")),
    ("SEARCH events USING INDEX uq (incident_id=? AND seq>?)", Step("events", "uq", has_range=True)),
    ("SEARCH incidents USING INTEGER PRIMARY KEY (rowid=?)", Step("incidents", "", has_range=True)),
    ("SEARCH events", Step("events")), ("USE TEMP B-TREE FOR ORDER BY", None),
])
def test_a_line_of_sqlites_plan_is_read(line: str, step: Step | None) -> None:
    assert sqlite_step(line, {"a": "alerts"}) == step


def test_a_plan_of_postgresql_is_read() -> None:
    inner = {"Node Type": "Bitmap Index Scan", "Index Name": "ix_alerts_incident_id", "Index Cond": "(incident_id = 'x')"}
    plan = {"Node Type": "Limit", "Plans": [{"Node Type": "Bitmap Heap Scan", "Relation Name": "alerts", "Plans": [inner]},
                                            {"Node Type": "Seq Scan", "Relation Name": "events"}]}
    assert list(postgres_steps(plan)) == [Step("alerts", "ix_alerts_incident_id", has_range=True), Step("events")]


def test_the_partial_indexes_are_known() -> None:
    assert {"ix_incidents_open", "ix_incidents_gravest", "ix_lanes_due", "ix_deliveries_not_sent"} <= PARTIAL
