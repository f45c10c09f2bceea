"""One statement for many rows: what is written is what was given, whatever the texts hold, and the count is of rows."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, select, update

from alerthub.store.batch import among, several
from alerthub.store.database import Store
from alerthub.store.schema import destinations
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.messages import HOSTILE

TEXTS = [*HOSTILE, "", " ", "NULL", "null", '"', "\\", '\\"', "{a,b}", "a,b", "%(x)s", "%", "each", "true", "ı", "\n\t"]
NEW = destinations.insert()
HEAL = update(destinations).where(destinations.c.key == bindparam("which"), destinations.c.channel == bindparam("kind")).values(
    failing_since=None, last_error="")


def written(text: str, failing_since: datetime | None = START) -> dict[str, object]:
    return {"key": f"key {text}", "channel": "slack", "free_at": START, "failing_since": failing_since, "last_error": text,
            "moved_to": text}


def clean() -> list[str]:
    """What both databases take: the boundary replaces NUL."""
    return [text for text in dict.fromkeys(TEXTS) if text == "\n\t" or text.isprintable()]


def stored(tx: Tx) -> dict[str, tuple[object, ...]]:
    columns = destinations.c.key, destinations.c.free_at, destinations.c.failing_since, destinations.c.last_error
    return {row.key: tuple(row) for row in tx.conn.execute(select(*columns))}


def test_every_text_arrives_as_it_was_given(store: Store) -> None:
    assert store.write_now(lambda tx: tx.batch(NEW, [written(text) for text in clean()])) == len(clean())
    assert store.read_now(stored) == {f"key {text}": (f"key {text}", START, START, text) for text in clean()}


def test_nothing_is_not_the_word_null(store: Store) -> None:
    store.write_now(lambda tx: tx.batch(NEW, [written("NULL", None), written("none")]))
    assert store.read_now(stored)["key NULL"] == ("key NULL", START, None, "NULL")


def test_an_update_touches_the_rows_that_it_names_and_counts_them(store: Store) -> None:
    store.write_now(lambda tx: tx.batch(NEW, [written(text) for text in ("a", "b", "c")]))
    wanted = [{"which": "key a", "kind": "slack"}, {"which": "key b", "kind": "email"}, {"which": "key d", "kind": "slack"}]
    assert store.write_now(lambda tx: tx.batch(HEAL, wanted)) == 1
    assert {key for key, row in store.read_now(stored).items() if row[2] is None} == {"key a"}


def test_no_rows_are_no_statement(store: Store) -> None:
    assert store.write_now(lambda tx: tx.batch(NEW, [])) == 0


def test_what_is_looked_for_is_found_whatever_it_is_called(store: Store) -> None:
    store.write_now(lambda tx: tx.batch(NEW, [written(text) for text in clean()]))

    def found(tx: Tx) -> set[str]:
        query = select(destinations.c.last_error).where(among(destinations.c.last_error, "texts", tx.is_postgres))
        return set(tx.conn.execute(query, {"texts": several(clean(), tx.is_postgres)}).scalars())

    assert store.read_now(found) == set(clean())
