"""`alerthub audit verify` reads the database beside whoever holds it, says what it found, and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from alerthub.cli_audit import audit
from alerthub.domain.event import Actor, Event, EventKind
from alerthub.flow.audit import anchor
from alerthub.store import events as event_store
from alerthub.store.database import Store
from alerthub.store.tx import Tx
from tests.kit.clock import START, FakeClock
from tests.kit.rows import add_incidents
from tests.kit.stores import EACH_DATABASE, database
from tests.unit.config_files import REST


@pytest.fixture(params=EACH_DATABASE)
def held(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store that stays open, as a running hub's does; the configuration of the folder leads to it."""
    with database(request.param, tmp_path) as url:
        (tmp_path / "alerthub.yml").write_text(f"database: {{url: '{url}'}}\n{REST}")
        store = Store(url, FakeClock().new_id)
        store.write_now(fill)
        yield store
        store.close()


def fill(tx: Tx) -> None:
    (incident_id,) = add_incidents(tx, seq=3)
    event_store.append(tx, [Event(incident_id, seq, START, EventKind.comment, Actor("person", "ayse"), f"line {seq}")
                            for seq in (1, 2, 3)])


def said(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(audit, ["verify", *arguments, "--config", str(folder / "alerthub.yml")])


def test_a_right_record_is_right_and_its_newest_anchor_is_told(held: Store, tmp_path: Path) -> None:
    first = said(tmp_path)
    assert first.exit_code == 0
    assert first.stdout == "the record is as it was written\nno anchor yet: the hub makes one every minute\n"
    made = held.write_now(lambda tx: anchor(tx, START))
    assert made is not None
    assert said(tmp_path).stdout.endswith(f"\nnewest anchor 1:{made.hash}\n")
    assert said(tmp_path, "--anchor", f"1:{made.hash}").exit_code == 0
    assert said(tmp_path, "--anchor", f"1:{'0' * 64}").exit_code == 1
    assert said(tmp_path, "--anchor", "1").exit_code == 2
    assert json.loads(said(tmp_path, "--json").stdout) == {"findings": [], "anchor": {"n": 1, "hash": made.hash}}


def test_a_row_that_was_edited_is_named_and_is_a_failure(held: Store, tmp_path: Path) -> None:
    held.write_now(lambda tx: tx.conn.execute(text("update events set text = 'never' where seq = 2")))
    result = said(tmp_path)
    assert result.exit_code == 1
    assert "incident #1, event 2: was changed or moved" in result.stdout
    assert "1 findings" not in result.stdout
    found = json.loads(said(tmp_path, "--json").stdout)["findings"]
    assert [(one["number"], one["seq"]) for one in found] == [(1, 2)]


def test_a_database_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    (tmp_path / "alerthub.yml").write_text(f"database: {{url: 'sqlite:///{tmp_path}/none.db'}}\n{REST}")
    result = said(tmp_path)
    assert (result.exit_code, result.stderr) == (1, f"alerthub: there is no database {tmp_path}/none.db\n")
    assert not (tmp_path / "none.db").exists()


def test_a_database_that_was_not_migrated_is_said(tmp_path: Path) -> None:
    (tmp_path / "old.db").touch()
    (tmp_path / "alerthub.yml").write_text(f"database: {{url: 'sqlite:///{tmp_path}/old.db'}}\n{REST}")
    result = said(tmp_path)
    assert result.exit_code == 1
    assert "was the database migrated?" in result.stderr


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"<html>", b"[]", b"{}", b'{"format": "other"}'])
def test_a_file_that_is_no_evidence_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(content)
    result = CliRunner().invoke(audit, ["check", str(file)])
    assert result.exit_code == 1
    assert f"{file} cannot be read as evidence: it is " in result.stderr
    assert not any(word in result.stderr for word in ("Error", "Expecting", "codec", "char 0", "\\x"))
