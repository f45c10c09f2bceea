"""Who may enter, in the database: the same on both, also when replicas are asked at once, and found by an index."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from alerthub.domain.access import Kind
from alerthub.hashing import hashed
from alerthub.store import accounts, logins, schema, sessions
from alerthub.store.database import Store
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.rows import at_once

HOUR, WEEK = timedelta(hours=1), timedelta(days=7)
MOMENT = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)


def add(store: Store, name: str, role: str = "viewer") -> bool:
    return store.write_now(lambda tx: accounts.add(tx, name, role, START, "root"))


def session(store: Store, account: str = "ayse", after: timedelta = timedelta(0), proof: str = "") -> str:
    return store.write_now(lambda tx: sessions.begin(tx, account, "password", START + after, WEEK, proof=proof, agent="x",
                                                     address="y"))


def found(store: Store, secret: str, after: timedelta = timedelta(0), absolute: timedelta = WEEK) -> sessions.Session | None:
    return store.read_now(lambda tx: sessions.find(tx, secret, START + after, HOUR, absolute))


def test_a_name_is_one_account(store: Store) -> None:
    assert [add(store, "ayse"), add(store, "ayse", "admin"), add(store, "Ayse")] == [True, False, True]
    stored = store.read_now(lambda tx: accounts.find(tx, "ayse"))
    assert stored is not None
    assert (stored.role, stored.has_password, stored.disabled_at, stored.created_at) == ("viewer", False, None, START)
    assert [one.name for one in store.read_now(lambda tx: accounts.page(tx))] == ["Ayse", "ayse"]
    assert [one.name for one in store.read_now(lambda tx: accounts.page(tx, "Ayse", 1))] == ["ayse"]


@pytest.mark.parametrize(("absolute", "is_there"), [(MOMENT, False), (HOUR / 2, False), (HOUR / 2 + MOMENT, True)])
def test_a_session_lasts_no_longer_than_is_allowed_now(store: Store, absolute: timedelta, is_there: bool) -> None:
    secret = session(store)
    assert (found(store, secret, HOUR / 2, absolute) is not None) is is_there
    listed = store.read_now(lambda tx: sessions.of(tx, "ayse", START + HOUR / 2, HOUR, absolute))
    assert len(listed) == is_there


def test_a_session_brings_the_account_as_it_is_now(store: Store) -> None:
    secret = session(store)
    first = found(store, secret)
    assert first is not None
    assert (first.account, first.role, first.is_disabled) == ("ayse", None, False)
    add(store, "ayse", "responder")
    store.write_now(lambda tx: accounts.set_disabled(tx, "ayse", START))
    again = found(store, secret)
    assert again is not None
    assert (again.role, again.is_disabled) == ("responder", True)


@pytest.mark.parametrize(("after", "is_there"), [
    (timedelta(0), True), (HOUR - MOMENT, True), (HOUR, False), (HOUR + MOMENT, False)])
def test_a_session_that_is_not_used_ends_to_the_microsecond(store: Store, after: timedelta, is_there: bool) -> None:
    assert (found(store, session(store), after) is not None) is is_there


@pytest.mark.parametrize(("after", "is_there"), [(WEEK - MOMENT, True), (WEEK, False)])
def test_a_session_ends_after_its_time_to_the_microsecond(store: Store, after: timedelta, is_there: bool) -> None:
    secret = session(store)
    key = hashed(secret)
    store.write_now(lambda tx: sessions.seen(tx, key, START + WEEK - SECOND))
    assert (found(store, secret, after) is not None) is is_there


def test_one_s_own_sessions_end_and_no_other(store: Store) -> None:
    mine, also, other = session(store), session(store), session(store, "mehmet")
    key = hashed(mine)
    assert store.write_now(lambda tx: sessions.end_one(tx, "mehmet", key)) is False
    assert store.write_now(lambda tx: sessions.end_all(tx, "ayse", key)) == 1
    assert [found(store, secret) is not None for secret in (mine, also, other)] == [True, False, True]
    assert store.write_now(lambda tx: sessions.end_one(tx, "ayse", key)) is True
    assert found(store, mine) is None


def test_an_account_has_so_many_sessions_and_the_one_used_least_of_late_makes_room(store: Store) -> None:
    secrets = [session(store, after=SECOND * number) for number in range(sessions.MOST_OF_ONE + 2)]
    there = [found(store, secret, SECOND * 60) is not None for secret in secrets]
    assert there == [False, False, *[True] * sessions.MOST_OF_ONE]


def test_a_token_is_found_while_it_lasts_and_is_not_revoked(store: Store) -> None:
    number, secret = store.write_now(lambda tx: sessions.new_token(tx, "ayse", "x", "view", START, START + HOUR, "ayse"))

    def at(after: timedelta) -> sessions.Token | None:
        return store.read_now(lambda tx: sessions.find_token(tx, secret, START + after))

    assert [at(after) is not None for after in (timedelta(0), HOUR - MOMENT, HOUR)] == [True, True, False]
    assert store.write_now(lambda tx: sessions.revoke(tx, number, START, "mehmet")) is False
    assert store.write_now(lambda tx: sessions.revoke(tx, number, START, "ayse")) is True
    assert at(timedelta(0)) is None
    assert store.write_now(lambda tx: sessions.revoke(tx, number, START)) is False


def test_all_tokens_of_nobody_are_not_those_of_services(store: Store) -> None:
    store.write_now(lambda tx: sessions.new_token(tx, "", "bot", "view", START, START + HOUR, "root"))
    assert store.write_now(lambda tx: sessions.revoke_all(tx, "", START)) == 0


@pytest.mark.parametrize(("role", "password", "subject", "is_disabled", "people", "is_able"), [
    ("viewer", "x", "", False, set(), True), ("viewer", "", "x", False, set(), True), ("viewer", "", "", False, set(), False),
    ("viewer", "x", "", True, set(), False), ("", "x", "", False, set(), False), ("", "x", "", False, {"ayse"}, True),
    ("", "x", "", True, {"ayse"}, False), ("", "x", "", False, {"mehmet"}, False),
])
def test_whether_anybody_can_log_in(store: Store, role: str, password: str, subject: str, is_disabled: bool, people: set[str],
                                    is_able: bool) -> None:
    def make(tx: Tx) -> None:
        accounts.add(tx, "ayse", role, START, "root")
        accounts.set_password(tx, "ayse", password)
        accounts.set_subject(tx, "ayse", subject)
        if is_disabled:
            accounts.set_disabled(tx, "ayse", START)

    store.write_now(make)
    assert store.read_now(lambda tx: accounts.is_any_able(tx, people)) is is_able


def test_whom_the_configuration_names_has_no_role_here(store: Store) -> None:
    for name in ("ayse", "guest"):
        add(store, name, "admin")
    store.write_now(lambda tx: accounts.adopt(tx, {"ayse", "mehmet"}))
    assert [one.role for one in store.read_now(lambda tx: accounts.page(tx))] == ["", "admin"]


def test_a_guess_waits_after_so_many_and_counts_until_it_was_right(store: Store) -> None:
    def guess(after: float) -> float:
        keys, at = {"name:x": 2, "address:y": 4}, START + SECOND * after
        return store.write_now(lambda tx: logins.attempt(tx, keys, at)).total_seconds()

    assert [guess(0), guess(0), guess(0.5), guess(1), guess(2), guess(3)] == [0, 0, 0.5, 0, 1, 0]
    store.write_now(lambda tx: logins.succeeded(tx, "name:x", "address:y"))
    query = text("SELECT key, failures FROM login_attempts")
    rows = dict(store.read_now(lambda tx: [tuple(row) for row in tx.conn.execute(query)]))
    assert rows == {"address:y": 3}


def test_a_clock_that_jumped_back_keeps_nobody_out(store: Store) -> None:
    for _ in range(3):
        store.write_now(lambda tx: logins.attempt(tx, {"name:x": 1}, START + HOUR))
    assert store.write_now(lambda tx: logins.attempt(tx, {"name:x": 1}, START)) == timedelta(0)


def test_what_happened_at_the_door_is_kept_whatever_it_is_called(store: Store) -> None:
    store.write_now(lambda tx: logins.note(tx, Kind.login, START, "a\0b\udcff", "x" * 1000, "address"))
    (event,) = store.read_now(lambda tx: logins.page(tx))
    assert (event["kind"], event["account"], len(event["by"])) == ("login", "a b?", logins.DETAIL)
    store.write_now(lambda tx: logins.forget_events(tx, START + MOMENT, 10))
    assert store.read_now(lambda tx: logins.page(tx)) == []


@pytest.mark.postgres
def test_of_replicas_that_are_given_a_link_at_once_one_takes_it(replicas: list[Store]) -> None:
    for _ in range(20):
        code = replicas[0].write_now(lambda tx: accounts.new_link(tx, "invite", "ayse", START + HOUR, "root"))
        taken = at_once([lambda store=store, code=code: store.write_now(lambda tx: accounts.use_link(tx, code, START))
                         for store in replicas])
        assert sorted(map(str, taken)) == ["('invite', 'ayse')", "None", "None"]


@pytest.mark.postgres
def test_replicas_count_guesses_together(replicas: list[Store]) -> None:
    guesses = [lambda store=store: store.write_now(lambda tx: logins.attempt(tx, {"name:x": 5, "address:y": 20}, START))
               for store in replicas for _ in range(4)]
    assert sorted(wait.total_seconds() for wait in at_once(guesses)) == [0] * 5 + [1] * 7


def test_a_request_looks_one_row_up_by_an_index(sqlite: Store) -> None:
    def plan(tx: Tx, query: object) -> str:
        compiled = query.compile(tx.conn.engine)  # type: ignore[attr-defined]
        rows = tx.conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", tuple("x" for _ in compiled.params))
        return " / ".join(str(row[3]) for row in rows)

    for query in (sessions.WITH_ACCOUNT.where(schema.sessions.c.id_sha256 == "x"),
                  sessions.TOKEN_WITH_ACCOUNT.where(schema.tokens.c.token_sha256 == "x")):
        told = sqlite.read_now(lambda tx, query=query: plan(tx, query))
        assert told.count("SEARCH") == 2, told
        assert "SCAN" not in told
