"""A database that has grown: closed incidents by the thousand or million, copied from two that the hub itself lived through.

Each copy has ids, numbers, labels and times of its own, and a history that is hashed anew by the hub's own code: `alerthub audit
verify` finds nothing in it. A column that a migration adds is copied with the others.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Boolean, Table

from alerthub.clock import uuid7
from alerthub.domain.alert import identity_of
from alerthub.domain.command import Verb
from alerthub.domain.record import Row, link
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction, EscalationPolicy, PolicyStep
from alerthub.flow import audit
from alerthub.store.address import normal_url
from alerthub.store.database import Store
from alerthub.store.schema import EPOCH, MICROSECOND, Instant, action_runs, alerts, deliveries, events, incidents, lanes, timers
from tests.kit.alerts import firing, resolved
from tests.kit.clock import START, FakeClock
from tests.kit.stores import sqlite_database
from tests.kit.world import World, person, rules_for

TABLES = (incidents, alerts, events, lanes, deliveries, timers, action_runs)     # parents first
NUMBERED = {incidents: "number", alerts: "row", events: "position", lanes: "id", deliveries: "id", timers: "id"}
HOST = "host-of-the-first"      # in the labels; every copy has its own
APART = timedelta(milliseconds=20)     # between the openings of two copies
ACTED = 20                      # one of so many had an action, an escalation and an acknowledgement
AT_ONCE = 2_000                 # incidents that are in memory

Values = dict[str, Any]
Rows = Mapping[Table, Sequence[Values]]


# -- what the hub itself lived through

def lived(events_each: int) -> tuple[Rows, Rows]:
    """The rows of one closed incident with so many events, and of one with an action, an escalation and an acknowledgement."""
    with tempfile.TemporaryDirectory(prefix="ah-grown-") as folder, sqlite_database(Path(folder)) as url:
        clock = FakeClock()
        store = Store(url, clock.new_id)
        try:
            asyncio.run(live(World(store, clock=clock), events_each))
        finally:
            store.close()
        with closing(sqlite3.connect(f"{folder}/hub.db")) as conn:
            conn.row_factory = sqlite3.Row
            ids = [row["id"] for row in conn.execute("select id from incidents where source = 'alertmanager' order by number")]
            return rows_of(conn, ids[0]), rows_of(conn, ids[1])


async def live(world: World, events_each: int) -> None:
    route = Route("alerts", group_by=("alertname", "instance"))
    world.configure(rules_for(route))
    plain = {"instance": f"{HOST}:9100", "severity": "warning", "team": "platform", "cluster": "c1"}
    await world.receive(firing("HostDown", **plain))
    for turn in range(events_each - 2):
        world.clock.advance(seconds=30)
        if turn % 4 == 0:
            await world.drain()
        second = {**plain, "device": "sda1"}
        await world.receive(firing("HostDown", **second) if turn % 2 == 0 else resolved("HostDown", **second))
    await world.advance(seconds=30)
    ended = [resolved("HostDown", **plain), *([resolved("HostDown", **plain, device="sda1")] if events_each % 2 else [])]
    await world.receive(*ended)
    await world.settle_down(60)
    retrain = ActionRule("retrain", "http", Direction.neutral, targets=("etl",), version="1")
    policy = EscalationPolicy("trading", (PolicyStep((("person", "ayse"),)),))
    acting = Route("alerts", group_by=("alertname", "instance"), actions=("retrain",), escalation_policy="trading")
    world.configure(rules_for(acting, actions=[retrain], targets=["etl"], policies={"trading": policy}, people={
        "ayse": person("ayse")}))
    hot = {**plain, "severity": "critical"}
    await world.receive(firing("DriftHigh", **hot))
    await world.settle_down(30)
    number = (await world.incidents())[0]["number"]
    await world.command(Verb.acknowledge, number)
    await world.advance(seconds=60)
    await world.receive(resolved("DriftHigh", **hot))
    await world.settle_down(60)


def rows_of(conn: sqlite3.Connection, incident_id: str) -> Rows:
    found: dict[Table, Sequence[Values]] = {}
    for table in TABLES:
        key = "id" if table is incidents else "incident_id"
        order = NUMBERED.get(table, "id")
        rows = conn.execute(f"select * from {table.name} where {key} = ? order by {order}", (incident_id,))
        found[table] = [{name: row[name] for name in row.keys()} for row in rows]  # noqa: SIM118  (a sqlite3.Row)
    return found


# -- copies of it

@dataclass
class Plan:
    """How one row becomes many: what stays, what moves in time, and texts that name the host, the incident or its run."""

    table: Table
    values: Values
    instants: tuple[str, ...]
    texts: Mapping[str, str]        # by column, to be filled by %

    @staticmethod
    def of(table: Table, row: Values, tokens: Mapping[str, str]) -> Plan:
        names = {column.name for column in table.columns}
        truths = {column.name for column in table.columns if isinstance(column.type, Boolean)}
        values = {name: bool(value) if name in truths and value is not None else value
                  for name, value in row.items() if name in names}
        instants = tuple(column.name for column in table.columns if isinstance(column.type, Instant)
                         and values[column.name] is not None)
        texts = {name: marked(value, tokens) for name, value in values.items()
                 if isinstance(value, str) and any(token in value for token in tokens)}
        return Plan(table, values, instants, texts)

    def copy(self, told: Mapping[str, str], by: int) -> Values:
        made = dict(self.values)
        for name in self.instants:
            made[name] += by
        for name, text in self.texts.items():
            made[name] = text % told
        return made


def marked(text: str, tokens: Mapping[str, str]) -> str:
    text = text.replace("%", "%%")
    for token, name in tokens.items():
        text = text.replace(token, f"%({name})s")
    return text


class Copier:
    """Copies of one incident's rows. The numbers of all tables go on from where they stand."""

    def __init__(self, rows: Rows, numbers: Mapping[Table, Iterator[int]]) -> None:
        self.numbers = numbers
        tokens = {HOST: "host", rows[incidents][0]["id"]: "id"}
        tokens |= {run["id"]: f"run{index}" for index, run in enumerate(rows[action_runs])}
        tokens |= {run["id"][-12:]: f"code{index}" for index, run in enumerate(rows[action_runs])}
        self.runs = len(rows[action_runs])
        self.plans = {table: [Plan.of(table, row, tokens) for row in rows[table]] for table in TABLES}
        self.lane_ids = [row["id"] for row in rows[lanes]]
        self.opened = rows[incidents][0]["opened_at"]

    def copy(self, serial: int, opened: int) -> dict[Table, list[Values]]:
        """One closed incident that opened then, in microseconds."""
        ids = [uuid7(opened // 1000, (serial * 8 + place).to_bytes(10, "big")) for place in range(self.runs + 1)]
        told = {"host": f"host-{serial}", "id": ids[0]}
        for index, run in enumerate(ids[1:]):
            told |= {f"run{index}": run, f"code{index}": run[-12:]}
        made = {table: [plan.copy(told, opened - self.opened) for plan in plans] for table, plans in self.plans.items()}
        for table, name in NUMBERED.items():
            for row in made[table]:
                row[name] = next(self.numbers[table])
        made[incidents][0]["key"] = identity_of({"grown": str(serial)}) * 2
        for row in made[alerts]:
            row["identity"] = identity_of(json.loads(row["content"])["labels"])
        moved = dict(zip(self.lane_ids, (row["id"] for row in made[lanes]), strict=True))
        for row in made[deliveries]:
            row["lane_id"] = moved[row["lane_id"]]
        chain(made[events])
        return made


def chain(history: Iterable[Values]) -> None:
    previous = ""
    for row in history:
        previous = row["hash"] = link(previous, Row(row["incident_id"], row["seq"], row["at"], row["kind"], row["actor_kind"],
                                                    row["actor_name"], row["text"], row["data"]))


def copies(number: int, events_each: int, last: datetime, numbers: Mapping[Table, Iterator[int]], acted: int = ACTED) -> Iterator[
        dict[Table, list[Values]]]:
    """So many closed incidents, the last of them opened then, oldest first."""
    plain, busy = (Copier(rows, numbers) for rows in lived(events_each))
    began = (last - EPOCH) // MICROSECOND - number * (APART // MICROSECOND)
    for serial in range(number):
        copier = busy if serial % acted == acted - 1 else plain
        yield copier.copy(serial, began + serial * (APART // MICROSECOND))


# -- into a database

def grow(url: str, number: int, events_each: int = 10, last: datetime = START, acted: int = ACTED) -> dict[str, int]:
    """Fill a migrated database that nobody uses with so many closed incidents; the rows of each table. Safe from no crash."""
    numbers = {table: count(1) for table in NUMBERED}
    made = copies(number, events_each, last, numbers, acted)
    total: dict[str, int] = dict.fromkeys((table.name for table in TABLES), 0)
    address = normal_url(url)
    with closing(SqliteLoad(url) if address.startswith("sqlite") else PostgresLoad(url)) as load:
        while group := list(islice(made, AT_ONCE)):
            for table in TABLES:
                rows = [row for one in group for row in one[table]]
                load.write(table, rows)
                total[table.name] += len(rows)
        load.finish()
    anchor(url)
    return total


def anchor(url: str) -> None:
    """As the hub does each minute."""
    store = Store(url, str)
    while store.write_now(lambda tx: audit.anchor(tx, START)):
        continue
    store.close()


class SqliteLoad:
    def __init__(self, url: str) -> None:
        self.conn = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        for pragma in ("synchronous=off", "foreign_keys=off", "cache_size=-262144"):
            self.conn.execute(f"pragma {pragma}")

    def write(self, table: Table, rows: Sequence[Values]) -> None:
        if rows:
            names = list(rows[0])
            marks = ", ".join(f":{name}" for name in names)
            self.conn.execute("begin")
            self.conn.executemany(f"insert into {table.name} ({', '.join(names)}) values ({marks})", rows)
            self.conn.execute("commit")

    def finish(self) -> None:
        self.conn.execute("pragma wal_checkpoint(truncate)")

    def close(self) -> None:
        self.conn.close()


class PostgresLoad:
    """COPY, with foreign keys unchecked: they hold by construction."""

    def __init__(self, url: str) -> None:
        self.conn = psycopg.connect(url, autocommit=True)
        self.conn.execute("set session_replication_role = replica")
        self.conn.execute("set synchronous_commit = off")

    def write(self, table: Table, rows: Sequence[Values]) -> None:
        if not rows:
            return
        names = list(rows[0])
        target = sql.SQL("copy {} ({}) from stdin").format(
            sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, names)))
        with self.conn.cursor() as cursor, cursor.copy(target) as copy:
            for row in rows:
                copy.write_row(row.values())

    def finish(self) -> None:
        for table, name in NUMBERED.items():
            self.conn.execute(sql.SQL("select setval(pg_get_serial_sequence({}, {}), max({})) from {}").format(
                sql.Literal(table.name), sql.Literal(name), sql.Identifier(name), sql.Identifier(table.name)))
        self.conn.execute("vacuum analyze")

    def close(self) -> None:
        self.conn.close()
