"""What the database counts is what somebody with all rows on the table, and much time, would count: random histories, on both
databases. And what is read for it has an end."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from alerthub.clock import uuid7
from alerthub.domain.analytics import QUARTER, WAKES, Span, Spread
from alerthub.store import analytics
from alerthub.store.analytics import Deliveries, Incidents, Scope, place_of
from alerthub.store.columns import EPOCH
from alerthub.store.database import Store
from alerthub.store.schema import action_runs, alerts, deliveries, events, incidents, lanes
from alerthub.store.tx import Tx
from tests.kit.clock import START
from tests.kit.plans import explained
from tests.kit.rows import add_incidents

NAMES = ["DiskFull", "Odd (name)", "X", "no bracket at all", "(", " (", "a (b) (c)"]
TEAMS = ["platform", "", 'it"s', "trading"]
SPANS = [Span(START, START + timedelta(days=7)), Span(START + timedelta(days=2, hours=5), START + timedelta(days=4)),
         Span(START - timedelta(days=30), START + timedelta(days=60)),
         Span(START + timedelta(days=20), START + timedelta(days=21))]
MAIL, CHAT, OWN = "email:ayse@example.com", "slack:#alerts", "telegram:5"


@dataclass
class History:
    """Rows as the hub would have left them, and as the reference reads them."""

    dice: random.Random
    incidents: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    teams: dict[str, str] = field(default_factory=dict)

    def fill(self, tx: Tx, count: int) -> None:
        at = START - timedelta(days=1)
        for number in range(count):
            at += timedelta(minutes=self.dice.choice([0, 1, 7, 61, 233]))
            self.incident(number, at)
        self.deliveries.sort(key=lambda row: row["started_at"])
        tx.conn.execute(incidents.insert(), self.incidents)
        tx.conn.execute(alerts.insert(), [self.alert(one["id"]) for one in self.incidents])
        tx.conn.execute(events.insert(), [{"actor_kind": "", "actor_name": "", "text": "", **one} for one in self.events])
        ids = {}
        for one in self.incidents:
            for key in (MAIL, CHAT, OWN):
                ids[one["id"], key] = self.lane(tx, one["id"], key)
        for place, row in enumerate(self.deliveries):
            row |= {"lane_id": ids[row["incident_id"], row["destination"]], "attempt": place}
        tx.conn.execute(deliveries.insert(), self.deliveries)
        tx.conn.execute(action_runs.insert(), self.runs)

    def incident(self, number: int, at: datetime) -> None:
        dice = self.dice
        one = uuid7(int(at.timestamp() * 1000), number.to_bytes(10, "big"))
        name, episode, last, over = dice.choice(NAMES), dice.choice([1, 1, 1, 2, 3]), at, None
        self.teams[one] = dice.choice(TEAMS)
        seq = 1
        self.event(one, seq, at, "opened")
        for turn in range(episode):
            for _ in range(dice.choice([0, 0, 1, 2])):
                seq += 1
                at += timedelta(seconds=dice.randint(0, 4000))
                self.event(one, seq, at, dice.choice(["acknowledged", "comment", "unacknowledged"]))
            over = None
            if turn < episode - 1 or dice.random() < 0.8:
                seq, at = seq + 1, at + timedelta(seconds=dice.randint(0, 9000))
                self.event(one, seq, at, "resolved")
                over = at
            if turn < episode - 1:
                seq, at = seq + 1, at + timedelta(seconds=dice.randint(0, 3000))
                self.event(one, seq, at, "reopened")
                last = at
        opened = last
        self.incidents.append({
            "number": number + 1, "id": one, "key": one, "source": "alertmanager", "title": f"{name} (host=x)", "seq": seq,
            "status": "resolved" if over else "triggered", "severity": dice.choice(["critical", "warning", "info"]),
            "episode": episode, "opened_at": opened, "updated_at": at, "resolved_at": over, "acknowledged_by": "", "firing": 1,
            "alerts": 1, "incomplete": 0, "is_stale": False, "is_silenced": False, "avoid": ""})
        for _ in range(dice.randint(0, 3)):
            self.delivery(one, at + timedelta(seconds=dice.randint(0, 90_000)))
        for _ in range(dice.choice([0, 0, 1])):
            self.run(one, at, len(self.runs))

    def event(self, one: str, seq: int, at: datetime, kind: str) -> None:
        self.events.append({"incident_id": one, "seq": seq, "at": at, "kind": kind, "data": "{}", "hash": ""})

    def alert(self, one: str) -> dict[str, Any]:
        labels = {"alertname": "x", **({"team": self.teams[one]} if self.teams[one] else {})}
        content = json.dumps({"labels": labels, "annotations": {"team": "platform"}})
        return {"source": "a", "identity": one, "incident_id": one, "is_current": True, "status": "firing", "content": content,
                "changed_at": START, "seen_at": START}

    def lane(self, tx: Tx, one: str, key: str) -> int:
        row = {"incident_id": one, "destination": key, "channel": key.partition(":")[0], "told_seq": 0, "want_seq": 0,
               "told_episode": 1, "repeats": 0, "attempt": 0, "failures": 0, "is_degraded": False, "is_dead": False}
        return int(tx.conn.execute(lanes.insert().values(**row).returning(lanes.c.id)).scalar_one())

    def delivery(self, one: str, at: datetime) -> None:
        state = self.dice.choice(["sent", "sent", "sent", "failed", "unknown", "sending"])
        self.deliveries.append({
            "incident_id": one, "destination": self.dice.choice([MAIL, CHAT, OWN]), "state": state, "up_to_seq": 1,
            "why": self.dice.choice(["opened", "escalated", "resolved", "acknowledged", "repeat"]), "possible_duplicate": False,
            "started_at": at, "failure": "", "detail": "", "is_dead_letter": state == "failed" and self.dice.random() < 0.5})

    def run(self, one: str, at: datetime, place: int) -> None:
        state = self.dice.choice(["succeeded", "succeeded", "failed", "unknown", "started", "refused"])
        self.runs.append({
            "id": uuid7(int(at.timestamp() * 1000), (place + 9_000_000).to_bytes(10, "big")), "incident_id": one, "episode": 1,
            "action": self.dice.choice(["retrain", "safe-mode"]), "target": "t", "direction": "neutral", "state": state,
            "reason": "allowed", "why": "", "rule_version": "1", "body_sha256": "", "labels": "{}", "created_at": at,
            "started_at": None if state == "refused" else at + timedelta(seconds=self.dice.randint(0, 40_000)), "attempt": 1,
            "report": self.dice.choice(["", "{}", json.dumps({"verified": "safe"}), json.dumps({"verified": ""})]),
            "round": place, "mode": self.dice.choice(["live", "live", "dry_run"])})

    # -- the slow and obvious way

    def within(self, scope: Scope) -> list[dict[str, Any]]:
        found = []
        for one in self.incidents:
            first = min(row["at"] for row in self.events if row["incident_id"] == one["id"] and row["kind"] == "opened")
            taken = [row["at"] for row in self.events if row["incident_id"] == one["id"] and row["kind"] == "acknowledged"]
            if (scope.span.start <= first < scope.span.end and scope.severity in ("", one["severity"])
                    and scope.team in ("", self.teams[one["id"]])):
                found.append({**one, "first": first, "taken": min(taken, default=None)})
        return found


def nearest(times: list[timedelta]) -> Spread:
    ranked = sorted(times)
    if not ranked:
        return Spread()
    return Spread(len(ranked), *(ranked[math.ceil(len(ranked) * part) - 1] for part in (0.5, 0.9)))


def quarter_of(at: datetime) -> int:
    return (at - EPOCH) // QUARTER


def name_of(title: str) -> str:
    return title.split(" (")[0]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_counted_of_incidents_is_what_the_rows_say(store: Store, seed: int) -> None:
    history = History(random.Random(seed))
    store.write_now(lambda tx: history.fill(tx, 110))
    scopes = [Scope(span, severity, team) for span in SPANS for severity in ("", "critical") for team in ("", "platform", 'it"s')]
    for scope in scopes:
        expected = history.within(scope)
        found = store.read_now(lambda tx, scope=scope: told(tx, scope))
        over = [one for one in expected if one["status"] == "resolved"]
        assert found["totals"] == (len(expected), len(expected) - len(over))
        assert found["resolve"] == nearest([one["resolved_at"] - one["first"] for one in over])
        assert found["acknowledge"] == nearest([one["taken"] - one["first"] for one in expected if one["taken"]])
        assert found["quarters"] == Counter((quarter_of(one["first"]), one["severity"]) for one in expected)
        noise = {}
        for one in expected:
            mine = noise.setdefault(name_of(one["title"]), [0, 0, 0])
            for place, more in enumerate((1, one["episode"], one["taken"] is None)):
                mine[place] += more
        assert {name: list(rest) for name, *rest in found["noise"]} == noise
        openings = [row[2] for row in found["noise"]]
        assert openings == sorted(openings, reverse=True)


def told(tx: Tx, scope: Scope) -> dict[str, Any]:
    found = Incidents(tx, scope)
    assert not found.is_cut
    return {"totals": found.totals(), "resolve": found.to_resolve(), "acknowledge": found.to_acknowledge(),
            "noise": found.noise(),
            "quarters": Counter({(quarter, severity): count for quarter, severity, count in found.by_quarter()})}


@pytest.mark.parametrize("seed", range(3))
def test_what_is_counted_of_messages_and_runs_is_what_the_rows_say(store: Store, seed: int) -> None:
    history = History(random.Random(seed))
    store.write_now(lambda tx: history.fill(tx, 110))
    for span in SPANS:
        store.read_now(lambda tx, span=span: compare_messages_and_runs(tx, history, span))


def compare_messages_and_runs(tx: Tx, history: History, span: Span) -> None:
    sent = [one for one in history.deliveries if span.start <= one["started_at"] < span.end]
    channels = Counter((one["destination"].split(":")[0], one["state"], one["is_dead_letter"]) for one in sent)
    woke = Counter((one["destination"], quarter_of(one["started_at"])) for one in sent
                   if one["state"] == "sent" and one["why"] in WAKES and one["destination"] in (MAIL, OWN))
    runs = Counter((one["action"], one["state"], bool(json.loads(one["report"] or "{}").get("verified"))) for one in history.runs
                   if one["started_at"] and span.start <= one["started_at"] < span.end and one["mode"] == "live")
    found = Deliveries(tx, span)
    assert not found.is_cut
    assert Counter({tuple(row[:3]): row[3] for row in found.by_channel()}) == channels
    assert Counter({tuple(row[:2]): row[2] for row in found.that_woke({MAIL, OWN, "sms:nobody"})}) == woke
    assert found.that_woke(()) == []
    assert Counter({tuple(row[:3]): row[3] for row in analytics.runs(tx, span)}) == runs


def test_of_nothing_nothing_is_counted(store: Store) -> None:
    def unit(tx: Tx) -> None:
        found = Incidents(tx, Scope(SPANS[0]))
        assert (found.totals(), found.to_resolve(), found.noise(), found.by_quarter()) == ((0, 0), Spread(), [], [])
        assert Deliveries(tx, SPANS[0]).by_channel() == []
        assert (analytics.runs(tx, SPANS[0]), analytics.latch_changes(tx, START)) == ([], [])

    store.read_now(unit)


def test_of_too_many_the_newest_are_counted_and_that_is_said(store: Store) -> None:
    history = History(random.Random(1))
    store.write_now(lambda tx: history.fill(tx, 60))
    span = SPANS[2]

    def unit(tx: Tx) -> None:
        found, sent = Incidents(tx, Scope(span), most=10), Deliveries(tx, span, most=7)
        assert (found.is_cut, found.totals()[0]) == (True, 10)
        newest = sorted(history.incidents, key=lambda one: one["id"])[-10:]
        assert sum(count for _, _, count in found.by_quarter()) == len(newest)
        assert (sent.is_cut, sum(row[3] for row in sent.by_channel())) == (True, 7)

    store.read_now(unit)


def test_a_moment_is_found_among_deliveries_also_where_some_are_gone(store: Store) -> None:
    history = History(random.Random(2))
    store.write_now(lambda tx: history.fill(tx, 40))

    def unit(tx: Tx) -> None:
        tx.conn.execute(deliveries.delete().where(deliveries.c.id % 3 == 0))
        rows = tx.conn.execute(deliveries.select().order_by(deliveries.c.id)).all()
        for moment in [START - timedelta(days=9), *(row.started_at for row in rows), START + timedelta(days=99)]:
            place = place_of(tx, moment)
            assert all(row.started_at < moment for row in rows if row.id < place)
            assert all(row.started_at >= moment for row in rows if row.id >= place)

    store.write_now(unit)


def test_a_time_below_zero_is_left_out(store: Store) -> None:
    """A clock was set back between the opening and the end."""
    def unit(tx: Tx) -> None:
        add_incidents(tx, 1)
        tx.conn.execute(incidents.update().values(status="resolved", resolved_at=START - timedelta(hours=1)))
        assert Incidents(tx, Scope(Span(START - timedelta(days=1), START + timedelta(days=1)))).to_resolve() == Spread()

    store.write_now(unit)


def test_changes_of_latches_are_read_newest_first_and_only_those(store: Store) -> None:
    def unit(tx: Tx) -> None:
        (one,) = add_incidents(tx)
        data = [{"latch": "btc", "state": "safe", "latch_seq": 1}, {"latch": "btc", "state": "released", "latch_seq": 2}, {}]
        tx.conn.execute(events.insert(), [
            {"incident_id": one, "seq": seq + 2, "at": START + timedelta(hours=seq), "kind": "latch" if seq < 2 else "action",
             "actor_kind": "", "actor_name": "", "text": "", "data": json.dumps(told)} for seq, told in enumerate(data)])
        assert analytics.latch_changes(tx, START + timedelta(days=1)) == [
            (START + timedelta(hours=1), "btc", "released", 2), (START, "btc", "safe", 1)]
        assert analytics.latch_changes(tx, START) == []

    store.write_now(unit)


def test_the_indexes_are_used(store: Store) -> None:
    """None of these reads events, deliveries, runs or incidents from end to end."""
    history = History(random.Random(3))
    store.write_now(lambda tx: history.fill(tx, 300))
    if not store.is_sqlite:
        store.write_now(lambda tx: tx.conn.exec_driver_sql("analyze"))
    span = Span(START + timedelta(days=1), START + timedelta(days=1, hours=2))
    with explained(store) as plans:
        store.read_now(lambda tx: told(tx, Scope(span, "critical", "platform")))
        store.read_now(lambda tx: analytics.latch_changes(tx, span.end))
        store.read_now(lambda tx: analytics.runs(tx, span))
        store.read_now(lambda tx: Deliveries(tx, span).by_channel())
    assert len(plans.steps) > 10
    found = [told for told in plans.reading_all() if "SELECT max(deliveries.id)" not in told]
    assert not found, "\n\n".join(found)
