"""The clock of one PostgreSQL database, in the hands of a test: its clock_timestamp() is found before PostgreSQL's own."""

from __future__ import annotations

from datetime import datetime

import psycopg

MAKE = """
create schema hands;
create table hands.clock (at timestamptz not null);
insert into hands.clock values (now());
create function hands.clock_timestamp() returns timestamptz language sql volatile as 'select at from hands.clock';
do $$ begin execute format('alter database %I set search_path = hands, pg_catalog, public', current_database()); end $$;
"""


class DatabaseClock:
    """Counts for connections that are opened after it was made."""

    def __init__(self, url: str, moment: datetime) -> None:
        self.url, self.moment = url, moment
        self.execute(MAKE)
        self.set(moment)

    def set(self, moment: datetime) -> None:
        self.moment = moment
        self.execute("update hands.clock set at = %s", moment)

    def execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement, values or None)
