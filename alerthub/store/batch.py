"""One statement for many rows, at the least cost: over arrays on PostgreSQL, prepared once on SQLite. The toolkit's own way
takes longer for a row than either database does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnClause,
    ColumnElement,
    Connection,
    Dialect,
    Executable,
    TableValuedAlias,
    Text,
    any_,
    bindparam,
    cast,
    func,
)

PARAMETER = re.compile(r"%\((\w+)\)s(?:::[A-Z]+)?")      # as PostgreSQL's compiler writes it: name, and perhaps a cast
EQUAL = re.compile(r'(\S+) = each\."(\w+)"')
Write = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """A statement for one database. `writers` turn values into what the driver takes, by parameter; `fixed` are those parameters
    that are the same in all rows."""

    sql: str
    names: tuple[str, ...]
    writers: Mapping[str, Write]
    fixed: Mapping[str, Any]

    def column(self, name: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        write = self.writers.get(name)
        return [row[name] for row in rows] if write is None else [write(row[name]) for row in rows]


def run(conn: Connection, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> int:
    """Once per row, all rows with the same names; how many rows of the table that touched. In no order that could be relied on,
    so no two rows may be about the same thing. The statement is a constant of its module: what is made of it is kept."""
    if not rows:
        return 0
    batch = prepared(statement, conn.dialect, tuple(rows[0]))
    if conn.dialect.name == "postgresql":
        arrays = {name: array(batch.column(name, rows)) for name in rows[0]}
        return conn.exec_driver_sql(batch.sql, {**batch.fixed, **arrays}).rowcount
    columns = [batch.column(name, rows) if name in rows[0] else [batch.fixed[name]] * len(rows) for name in batch.names]
    return conn.exec_driver_sql(batch.sql, list(zip(*columns, strict=True))).rowcount


def array(values: Iterable[Any]) -> str:
    """Texts, whole numbers, truth values and None as the text of a PostgreSQL array. The driver's own way asks a regular
    expression for each."""
    return "{" + ",".join([quoted(value) for value in values]) + "}"


def quoted(value: Any) -> str:
    if value is None:
        return "NULL"
    if type(value) in (int, bool):
        return str(value)
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def among(column: ColumnElement[Any], name: str, is_postgres: bool) -> ColumnElement[bool]:
    """Whether it is one of those that `several` makes of a list, as the parameter of that name. On PostgreSQL the statement is
    the same however many there are."""
    if is_postgres:
        return column == any_(cast(bindparam(name, type_=Text()), ARRAY(column.type)))
    return column.in_(bindparam(name, expanding=True))


def several(values: Sequence[Any], is_postgres: bool) -> Any:
    return array(values) if is_postgres else list(values)


def listed(*columns: ColumnClause[Any], name: str = "wanted") -> TableValuedAlias:
    """Rows that are given as one list a column (made by `array`, as the parameter of that name), numbered from 1 in `place`; on
    PostgreSQL. To be joined."""
    lists = [cast(bindparam(column.name, type_=Text()), ARRAY(column.type)) for column in columns]
    return func.unnest(*lists).table_valued(*columns, with_ordinality="place", name=name).render_derived()


@lru_cache(256)
def prepared(statement: Any, dialect: Dialect, names: tuple[str, ...]) -> Batch:
    compiled = statement.compile(dialect=dialect, column_keys=list(names), for_executemany=True)
    found = {name: bound.type.dialect_impl(dialect).bind_processor(dialect) for name, bound in compiled.binds.items()}
    writers = {name: write for name, write in found.items() if write is not None}
    fixed = {name: writers[name](value) if name in writers else value
             for name, value in compiled.params.items() if name not in names}
    if dialect.name == "postgresql":
        types = {name: compiled.binds[name].type.compile(dialect) for name in names}
        return Batch(over_arrays(str(compiled), types), names, writers, fixed)
    return Batch(str(compiled), tuple(compiled.positiontup), writers, fixed)


def over_arrays(sql: str, types: Mapping[str, str]) -> str:
    """`UPDATE … SET a = %(a)s WHERE …` with `FROM unnest(%(a)s) AS each(a)`; an INSERT selects from it."""
    each = PARAMETER.sub(lambda found: f'each."{found[1]}"' if found[1] in types else found[0], sql)
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in types.items())
    columns = ", ".join(f'"{name}"' for name in types)
    source = f" FROM unnest({arrays}) AS each({columns})"
    if sql.startswith("INSERT"):
        head, _, rest = each.partition(" VALUES (")
        values, _, tail = rest.partition(")")
        return f"{head} SELECT {values}{source}{tail}"
    head, _, condition = each.partition(" WHERE ")
    return f"{head}{source} WHERE {condition}{narrowed(condition, types)}"


def narrowed(condition: str, types: Mapping[str, str]) -> str:
    """The first column that is compared must be one of all: or the planner, which cannot tell how many rows there are, may walk
    through the whole table beside them."""
    key = EQUAL.search(condition)
    return f" AND {key[1]} = ANY(%({key[2]})s::{types[key[2]]}[])" if key else ""
