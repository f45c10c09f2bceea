"""Kinds of columns, and the collection that all tables are in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Integer, MetaData, TypeDecorator, literal_column

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, kept as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: int | None, dialect: Any) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)



def holds(column: Column[bool]) -> ColumnElement[bool]:
    """That a truth is so, in the words of the partial indexes. SQLAlchemy would write `= 1` for SQLite, and `IS TRUE` for either:
    then neither database finds the index, and reads the whole table."""
    return literal_column(f"{column.table.name}.{column.name}")


# SQLite numbers rows by itself only for INTEGER, PostgreSQL must not run out of them.
RowId = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData(naming_convention={
    "ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s",
})
