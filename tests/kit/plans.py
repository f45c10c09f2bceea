"""How the database reaches the rows of each statement that the hub runs: which of them read a growing table from end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, event

from alerthub.store.columns import metadata
from alerthub.store.database import Store

# A row per target, person, source, destination or agreement: none per webhook, incident or delivery.
SMALL = frozenset({"destinations", "leaders", "heartbeats", "latches", "latch_causes", "looks", "permits", "freezes", "keys",
                   "identities", "link_codes", "overrides", "clocks"})
GROWING = frozenset(metadata.tables) - SMALL
EXPLAINED = re.compile(r"\s*(select|insert|update|delete|with)\b", re.IGNORECASE)
ALIAS = re.compile(r"\b(?:from|join)\s+(\w+)\s+as\s+(\w+)", re.IGNORECASE)
PARTIAL = frozenset(index.name for table in metadata.tables.values() for index in table.indexes
                    if index.dialect_options["sqlite"]["where"] is not None)


@dataclass(frozen=True)
class Step:
    """One table of a plan. `index` is empty without one; `has_range`: the index is entered by a condition."""

    table: str
    index: str = ""
    has_range: bool = False


@dataclass
class Plans:
    """What was run, each text once, and how."""

    steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)

    def reading_all(self) -> list[str]:
        """The statements that read a growing table, or an index of all of it, from one end on. An index of only what is due,
        open, dead or held is as long as that."""
        return [f"{statement}\n  {step}" for statement, steps in self.steps.items() for step in steps
                if step.table in GROWING and not step.has_range and step.index not in PARTIAL]


@contextmanager
def explained(store: Store) -> Iterator[Plans]:
    """Everything that the store runs inside is explained just before, with its parameters."""
    plans = Plans()

    def look(conn: Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if statement not in plans.steps and EXPLAINED.match(statement):
            plans.steps[statement] = tuple(steps(conn, statement, first(parameters)))

    event.listen(store.engine, "before_cursor_execute", look)
    try:
        yield plans
    finally:
        event.remove(store.engine, "before_cursor_execute", look)


def first(parameters: Any) -> Any:
    """Those of one row, where there are many."""
    return parameters[0] if isinstance(parameters, Sequence) and parameters and not is_plain(parameters) else parameters


def is_plain(parameters: Sequence[Any]) -> bool:
    return not isinstance(parameters[0], tuple | dict)


def steps(conn: Connection, statement: str, parameters: Any) -> Iterator[Step]:
    cursor = conn.connection.cursor()
    try:
        if conn.dialect.name == "sqlite":
            cursor.execute(f"explain query plan {statement}", parameters)
            names = {alias: table for table, alias in ALIAS.findall(statement)}
            yield from (step for row in cursor.fetchall() if (step := sqlite_step(row[3], names)))
        else:
            cursor.execute("set enable_seqscan = off")      # a few thousand rows tempt the planner where a million would not
            cursor.execute(f"explain (format json) {statement}", parameters)
            found = cursor.fetchone()[0]
            cursor.execute("set enable_seqscan = on")
            plan = found if isinstance(found, list) else json.loads(found)
            yield from postgres_steps(plan[0]["Plan"])
    finally:
        cursor.close()


def sqlite_step(detail: str, aliases: Mapping[str, str]) -> Step | None:
    """Of a line such as `SEARCH alerts USING INDEX uq_alerts_current (identity=? AND source=?)`."""
    found = re.match(r"(SCAN|SEARCH) (\w+)", detail)
    if not found:
        return None
    index = re.search(r"INDEX (\w+)", detail)
    return Step(aliases.get(found[2], found[2]), index[1] if index else "", found[1] == "SEARCH" and "(" in detail)


def postgres_steps(node: Mapping[str, Any]) -> Iterator[Step]:
    if "Relation Name" in node and node["Node Type"] not in ("ModifyTable", "Bitmap Heap Scan"):
        yield Step(node["Relation Name"], node.get("Index Name", ""), "Index Cond" in node)
    elif node["Node Type"] == "Bitmap Index Scan":
        yield Step(table_of(node["Index Name"]), node["Index Name"], "Index Cond" in node)
    for child in node.get("Plans", ()):
        yield from postgres_steps(child)


def table_of(index: str) -> str:
    """An index that the tables do not name belongs to a key or a unique column: its name begins with the table's."""
    for name, table in metadata.tables.items():
        if index in {one.name for one in table.indexes}:
            return name
    return next((name for name in metadata.tables if re.match(rf"(pk_|uq_)?{name}(_|$)", index)), index)
