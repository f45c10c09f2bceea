"""N and N+1 side by side: this program on a database that a newer one has migrated, and a migration that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from alerthub.domain.command import Verb
from alerthub.domain.message import IncidentStatus
from alerthub.store.database import Store
from alerthub.store.migrate import TooNew, migrate, ready
from alerthub.store.schema import metadata
from alerthub.store.tx import Tx
from tests.kit.alerts import firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.hub import running_hub
from tests.kit.postgres import fresh_database
from tests.kit.stores import EACH_DATABASE, database
from tests.kit.world import World, person, rules_for

pytestmark = pytest.mark.anyio
CHECKOUT = Path(__file__).parents[2]
NEXT = [        # what the next version's migration may do: see migrations/README.md
    "alter table incidents add column mood text",
    "alter table lanes add column hops integer not null default 0",
    "alter table events add column mood text",
    "alter table deliveries add column hops integer not null default 0",
    "alter table alerts add column mood text not null default ''",
    "alter table action_runs add column mood text",
    "alter table timers add column mood text",
    "create table moods (name text primary key, incident_id text)",
    "create index ix_lanes_hops on lanes (hops)",
    "update alembic_version set version_num = '9999'",
]


def by_the_next_version(tx: Tx) -> None:
    for statement in NEXT:
        tx.conn.execute(text(statement))


@pytest.fixture(params=EACH_DATABASE)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with database(request.param, tmp_path) as url:
        store = Store(url, FakeClock().new_id)
        yield World(store, rules_for(people={"ayse": person("ayse")}))
        store.close()


async def test_a_newer_replica_migrates_and_this_one_works_on(world: World) -> None:
    await world.receive(firing("Before"))
    await world.drain()
    await world.store.write(by_the_next_version)
    await world.receive(firing("After", severity="critical"), resolved("Before"))
    await world.drain()
    await world.command(Verb.acknowledge, 2)
    await world.advance(minutes=10)
    await world.receive(resolved("After", severity="critical"))
    await world.drain()
    assert [(await world.state(number)).status for number in (1, 2)] == [IncidentStatus.resolved] * 2
    assert [message.status for message in world.slack.messages][-1] is IncidentStatus.resolved
    assert not [one for one in await world.deliveries() if one["state"] != "sent"]


@pytest.mark.postgres
async def test_a_replica_of_the_version_before_starts_and_says_so_and_takes_nothing_back(tmp_path: Path) -> None:
    with database("postgres", tmp_path) as url:
        store = Store(url, FakeClock().new_id)
        store.write_now(by_the_next_version)
        assert ready(store) == "9999"
        with pytest.raises(TooNew, match="a database is never taken back to an older version"):
            migrate(store)
        async with running_hub(database=url) as hub:
            assert (await hub.json("/health"))["components"]["schema"] == {
                "status": "degraded",
                "detail": "at revision 9999, which a newer replica made; replace this one by that version"}
        store.close()


async def test_one_process_on_a_newer_file_does_not_start(tmp_path: Path) -> None:
    """There is no other replica that it stands beside."""
    with database("sqlite", tmp_path) as url:
        store = Store(url, FakeClock().new_id)
        store.write_now(by_the_next_version)
        with pytest.raises(TooNew):
            ready(store)
        store.close()


KILLED = """
import os, signal, sys
from sqlalchemy import event
from alerthub.clock import SystemClock
from alerthub.store.database import Store
from alerthub.store.migrate import migrate

store = Store(sys.argv[1], SystemClock().new_id)

@event.listens_for(store.engine, "before_cursor_execute")
def on_execute(conn, cursor, statement, *rest):
    if sys.argv[2] in " ".join(statement.split()):
        os.kill(os.getpid(), signal.SIGKILL)

migrate(store)
"""


@pytest.mark.slow
@pytest.mark.parametrize("at", ["CREATE TABLE lanes", "SET version_num='0005'"])
@pytest.mark.parametrize("kind", EACH_DATABASE)
def test_a_migration_that_is_killed_is_made_by_the_next_start(kind: str, tmp_path: Path, at: str) -> None:
    """F25."""
    with fresh_database() if kind == "postgres" else nullcontext(f"sqlite:///{tmp_path}/hub.db") as url:
        done = subprocess.run([sys.executable, "-c", KILLED, url, at], cwd=CHECKOUT, timeout=60, check=False,
                              env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
        assert done.returncode == -signal.SIGKILL
        store = Store(url, FakeClock().new_id)
        assert store.read_now(tables) == set()
        migrate(store)
        assert set(metadata.tables) < store.read_now(tables)
        store.close()


def tables(tx: Tx) -> Any:
    return set(inspect(tx.conn).get_table_names())
