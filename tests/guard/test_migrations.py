"""Migrations expand only: the version before goes on beside each of them (migrations/README.md), unless it says `contract`."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from types import ModuleType

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from alerthub.store.migrate import script_config

BEFORE_REPLICAS = {"0001", "0002", "0003", "0004"}      # nothing ran beside them
MODULES = {script.revision: script.module for script in ScriptDirectory.from_config(script_config()).walk_revisions()}
BREAKS = {      # what the version before cannot live with, in the words of PostgreSQL
    "drops a table": r"DROP TABLE (?!IF EXISTS temp)",
    "drops a column": r"ALTER TABLE \S+ DROP COLUMN",
    "drops a constraint": r"ALTER TABLE \S+ DROP CONSTRAINT",
    "renames": r"\bRENAME\b",
    "changes a type": r"ALTER COLUMN \S+ (SET DATA )?TYPE",
    "makes a column NOT NULL": r"ALTER COLUMN \S+ SET NOT NULL",
    "takes a default away": r"ALTER COLUMN \S+ DROP DEFAULT",
    "adds a column that is NOT NULL without a default": r"ADD COLUMN (?!.* DEFAULT ).* NOT NULL",
    "adds a constraint": r"ALTER TABLE \S+ ADD CONSTRAINT",
    "adds a unique index": r"CREATE UNIQUE INDEX \S+ ON (\S+)",
}


def statements(upgrade: Callable[[], None]) -> list[str]:
    """What it does on PostgreSQL, without a database."""
    written = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written})
    with Operations.context(context):
        upgrade()
    return [" ".join(statement.split()) for statement in written.getvalue().split(";") if statement.strip()]


def breaks(upgrade: Callable[[], None]) -> list[str]:
    """Why the version before does not survive it. A table that it makes itself may have any form."""
    found = statements(upgrade)
    own = {match[1] for statement in found if (match := re.match(r"CREATE TABLE (\S+)", statement))}
    return [why for statement in found for why, pattern in BREAKS.items()
            if (match := re.search(pattern, statement)) and not concerns(statement, own, match)]


def concerns(statement: str, own: set[str], match: re.Match[str]) -> bool:
    """Whether it is only about tables of its own."""
    table = re.match(r"ALTER TABLE (\S+)", statement)
    return (table[1] if table else match[1] if match.groups() else "") in own


def offending(module: ModuleType) -> list[str]:
    return [] if getattr(module, "contract", "") else breaks(module.upgrade)


@pytest.mark.parametrize("revision", sorted(MODULES.keys() - BEFORE_REPLICAS))
def test_the_version_before_goes_on_beside_it(revision: str) -> None:
    assert offending(MODULES[revision]) == []


def word(**more: object) -> sa.Column[str]:
    return sa.Column("word", sa.Text(), **more)     # type: ignore[arg-type]


@pytest.mark.parametrize(("upgrade", "why"), [
    (lambda: op.drop_table("lanes"), "drops a table"),
    (lambda: op.drop_column("lanes", "owner"), "drops a column"),
    (lambda: op.alter_column("lanes", "owner", new_column_name="holder"), "renames"),
    (lambda: op.rename_table("lanes", "tracks"), "renames"),
    (lambda: op.alter_column("lanes", "attempt", type_=sa.BigInteger()), "changes a type"),
    (lambda: op.alter_column("lanes", "owner", nullable=False), "makes a column NOT NULL"),
    (lambda: op.alter_column("lanes", "owner", server_default=None), "takes a default away"),
    (lambda: op.add_column("lanes", word(nullable=False)), "adds a column that is NOT NULL without a default"),
    (lambda: op.create_unique_constraint("uq", "lanes", ["owner"]), "adds a constraint"),
    (lambda: op.create_index("uq", "lanes", ["owner"], unique=True), "adds a unique index"),
    (lambda: op.drop_constraint("uq", "lanes", type_="unique"), "drops a constraint"),
    (lambda: op.execute("ALTER TABLE lanes RENAME COLUMN owner TO holder"), "renames"),
])
def test_what_the_version_before_cannot_live_with_is_refused(upgrade: Callable[[], None], why: str) -> None:
    module = ModuleType("made_up")
    module.upgrade = upgrade        # type: ignore[attr-defined]
    assert offending(module) == [why]
    module.contract = "since 0.3 nothing uses it"      # type: ignore[attr-defined]
    assert offending(module) == []


def expand() -> None:
    op.create_table("tracks", word(nullable=False), sa.Column("n", sa.Integer()))
    op.create_index("uq_tracks_word", "tracks", ["word"], unique=True)
    op.create_unique_constraint("uq_tracks_n", "tracks", ["n"])
    op.add_column("lanes", word(nullable=True))
    op.add_column("incidents", word(nullable=False, server_default=sa.text("''")))
    op.create_index("ix_lanes_word", "lanes", ["word"], postgresql_where=sa.text("word <> ''"))


def test_what_only_adds_is_allowed() -> None:
    assert breaks(expand) == []
