"""What the store makes of a failover: who is asked, what is noticed, and what is not waited for."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from sqlalchemy import text

from alerthub.clock import SystemClock
from alerthub.errors import Busy
from alerthub.store.address import Hosts
from alerthub.store.commits import UNCONFIRMED, Commits
from alerthub.store.database import Store
from alerthub.store.lineage import Lineage
from alerthub.store.tx import Tx

NAMED = {"host": "a,b,c", "port": "1,2,3", "user": "u"}


@pytest.mark.parametrize(("found", "first"), [(("", 0), "a,b,c"), (("a", 1), "a,b,c"), (("c", 3), "c,a,b"), (("c", 1), "a,b,c")])
def test_the_host_that_was_found_last_is_asked_first(found: tuple[str, int], first: str) -> None:
    hosts = Hosts()
    hosts.found(*found)
    arranged = hosts.arranged(NAMED)
    assert (arranged["host"], arranged["user"]) == (first, "u")
    assert dict(zip(arranged["host"].split(","), arranged["port"].split(","), strict=True)) == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize("parameters", [{"host": "a", "port": "1"}, {"host": "a"}, {}, {"host": "a,b", "port": "1"}])
def test_an_address_of_one_host_stays_as_it_is(parameters: dict[str, Any]) -> None:
    hosts = Hosts()
    hosts.found("b", 1)
    assert hosts.arranged(parameters) == parameters


class Answers:
    """A new connection of a driver, to a server on this timeline; `None` cannot say."""

    def __init__(self, timeline: str | None) -> None:
        self.timeline = timeline

    def execute(self, _query: str) -> Answers:
        if self.timeline is None:
            raise ValueError("no such function")
        return self

    def fetchone(self) -> tuple[str | None]:
        return (self.timeline,)

    def rollback(self) -> None: ...


def test_another_timeline_is_noticed_once_and_silence_is_none(caplog: pytest.LogCaptureFixture) -> None:
    lineage = Lineage()
    with caplog.at_level(logging.WARNING):
        for timeline in (None, "00000001", "00000001", None, "00000002", "00000002"):
            lineage.look(Answers(timeline), ValueError)
    assert (lineage.changes, lineage.doubted) == (1, 0)
    assert len([record for record in caplog.records if "since a failover" in record.message]) == 1


@pytest.mark.postgres
def test_a_server_says_its_timeline_and_the_doubt_is_over_with_the_first_commit(postgres: str) -> None:
    store = Store(postgres, SystemClock().new_id)
    store.read_now(lambda tx: tx.conn.execute(text("select 1")).scalar())
    assert store.lineage.known == "00000001"
    store.lineage.changes += 1
    with pytest.raises(ValueError, match="no"):
        store.write_now(refuse)
    assert store.lineage.doubted == 0
    store.write_now(lambda tx: None)
    assert store.lineage.doubted == 1
    store.close()


def refuse(tx: Tx) -> None:
    raise ValueError("no")


@pytest.mark.postgres
def test_a_server_that_takes_no_writes_any_more_is_left(postgres: str) -> None:
    store = Store(postgres, SystemClock().new_id)
    store.write_now(lambda tx: tx.conn.execute(text("set default_transaction_read_only = on")))
    with pytest.raises(Busy):
        store.write_now(write)
    store.write_now(write)
    store.close()


def write(tx: Tx) -> None:
    tx.conn.execute(text("delete from destinations"))


class Waits:
    """A connection of a driver whose COMMIT waits until somebody cancels it."""

    Error = RuntimeError

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel_safe(self, *, timeout: float) -> None:
        self.cancelled.set()


def test_a_commit_that_waits_without_end_is_given_up_and_not_taken_for_one() -> None:
    commits, driver = Commits(0.02), Waits()
    with pytest.raises(Busy, match=UNCONFIRMED.partition(";")[0]), commits.watched(driver):
        assert driver.cancelled.wait(10)
    with commits.watched(Waits()):
        pass
    assert not commits.under_way
    commits.close()
