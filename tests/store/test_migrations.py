"""Migrations: they build exactly what the program declares, once, whole or not at all, whoever starts at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event, inspect, text

from alerthub.clock import SystemClock
from alerthub.errors import Busy
from alerthub.store.database import Store
from alerthub.store.migrate import TooNew, migrate
from alerthub.store.schema import metadata
from alerthub.store.tx import Tx
from tests.kit.binaries import free_port
from tests.kit.postgres import fresh_database
from tests.kit.rows import at_once, note, notes
from tests.kit.stores import EACH_DATABASE

new_id = SystemClock().new_id
HEAD = "0009"


@pytest.fixture(params=EACH_DATABASE)
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store without a single table."""
    with fresh_database() if request.param == "postgres" else nullcontext(f"sqlite:///{tmp_path}/empty.db") as url:
        opened = Store(url, new_id)
        yield opened
        opened.close()


def tables(store: Store) -> set[str]:
    return store.read_now(lambda tx: set(inspect(tx.conn).get_table_names()))


COLUMNS = {
    "sqlite": "select m.name, c.name, upper(c.type), c.[notnull], c.dflt_value, c.pk, m.sql like '%autoincrement%'"
              " from sqlite_master m, pragma_table_info(m.name) c where m.type = 'table' and m.name not like 'sqlite_%'",
    "postgresql": "select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns"
                  " where table_schema = 'public'",
}
KEYS = {
    "sqlite": "select m.name, k.[from], k.[table], k.[to], k.on_delete, '' from sqlite_master m,"
              " pragma_foreign_key_list(m.name) k union all"
              " select m.name, i.[unique], i.origin, group_concat(x.name), '', '' from sqlite_master m,"
              " pragma_index_list(m.name) i, pragma_index_info(i.name) x where i.origin <> 'c' group by m.name, i.name",
    "postgresql": "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
                  " where connamespace = 'public'::regnamespace",
}
INDEXES = {
    "sqlite": "select name, sql from sqlite_master where type = 'index' and sql is not null",
    "postgresql": "select indexname, indexdef from pg_indexes where schemaname = 'public'",
}


def shape(conn: Connection) -> dict[str, set[tuple[Any, ...]]]:
    """All that the database itself says of its tables, but for alembic's own."""
    kind = conn.dialect.name
    asked = {"columns": COLUMNS[kind], "keys": KEYS[kind], "indexes": INDEXES[kind]}
    rows = {what: [tuple(row) for row in conn.execute(text(sql))] for what, sql in asked.items()}
    return {what: {row for row in found if "alembic" not in str(row)} for what, found in rows.items()}


def test_the_migrations_build_what_the_program_declares(empty: Store) -> None:
    """Both ways: as alembic compares it, and as the database itself tells it (partial indexes, ON DELETE)."""
    assert migrate(empty) == HEAD
    differences = empty.read_now(lambda tx: compare_metadata(
        MigrationContext.configure(tx.conn, opts={"compare_type": True, "compare_server_default": True}), metadata))
    assert differences == []

    def rebuilt(tx: Tx) -> tuple[Any, Any]:
        migrated = shape(tx.conn)
        metadata.drop_all(tx.conn)
        metadata.create_all(tx.conn)
        return migrated, shape(tx.conn)

    migrated, declared = empty.write_now(rebuilt)
    assert migrated == declared
    assert {row[0] for row in declared["columns"]} == set(metadata.tables)
    assert len(declared["indexes"]) >= sum(len(table.indexes) for table in metadata.tables.values())
    assert len(declared["keys"]) >= sum(len(table.foreign_keys) for table in metadata.tables.values())


def test_a_second_time_is_nothing_to_do(empty: Store) -> None:
    migrate(empty)
    empty.write_now(lambda tx: note(tx, "kept"))
    wrote: list[str] = []

    @event.listens_for(empty.engine, "before_cursor_execute")
    def on_execute(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        wrote.append(statement.split()[0].upper())

    assert migrate(empty) == HEAD
    assert not {"CREATE", "ALTER", "DROP", "INSERT", "UPDATE", "DELETE"} & set(wrote)
    assert empty.read_now(notes) == ["kept"]


def test_a_database_of_a_newer_program_is_not_touched(empty: Store) -> None:
    migrate(empty)
    empty.write_now(lambda tx: tx.conn.execute(text("update alembic_version set version_num = '9999'")))
    with pytest.raises(TooNew, match="revision 9999, which this alerthub does not know; run a newer one"):
        migrate(empty)
    assert empty.read_now(lambda tx: tx.conn.execute(text("select version_num from alembic_version")).scalar_one()) == "9999"
    assert set(metadata.tables) < tables(empty)


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", ["CREATE TABLE alembic_version", "CREATE TABLE lanes", "INSERT INTO alembic_version"])
def test_what_stops_in_the_middle_leaves_nothing_and_can_be_done_again(empty: Store, at: str) -> None:
    alive = [True]

    @event.listens_for(empty.engine, "before_cursor_execute")
    def on_execute(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if alive and at in " ".join(statement.split()):
            alive.clear()
            raise Killed(statement)

    with pytest.raises(Killed):
        migrate(empty)
    assert tables(empty) == set()
    assert migrate(empty) == HEAD
    assert set(metadata.tables) < tables(empty)


def test_tables_that_somebody_else_made_are_not_overwritten(empty: Store) -> None:
    empty.write_now(lambda tx: tx.conn.execute(text("create table incidents (mine integer)")))
    with pytest.raises(Exception, match="already exists"):
        migrate(empty)
    assert tables(empty) == {"incidents"}


@pytest.mark.postgres
def test_replicas_that_start_together_migrate_once() -> None:
    with fresh_database() as url:
        replicas = [Store(url, new_id) for _ in range(4)]
        created: list[str] = []
        for replica in replicas:
            @event.listens_for(replica.engine, "before_cursor_execute")
            def on_execute(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
                if "CREATE TABLE" in statement:
                    created.append(statement.split()[2])

        assert at_once([lambda replica=replica: migrate(replica) for replica in replicas]) == [HEAD] * 4
        assert sorted(created) == sorted([*metadata.tables, "alembic_version"])
        for replica in replicas:
            replica.close()


@pytest.mark.postgres
def test_a_server_that_is_away_is_busy() -> None:
    store = Store(f"postgresql://hub@127.0.0.1:{free_port()}/hub", new_id)
    with pytest.raises(Busy):
        migrate(store)
    store.close()


def test_a_file_that_cannot_be_written_is_busy(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_bytes(b"no database" * 1000)
    store = Store(f"sqlite:///{tmp_path}/hub.db", new_id)
    with pytest.raises(Busy, match="not a database"):
        migrate(store)
    store.close()
