"""Looking for incidents: every filter on both databases, pages without gaps whatever is looked for, and a bounded cost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerthub.domain.alert import Severity
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.message import IncidentStatus
from alerthub.flow.intake import take_in
from alerthub.store import alerts as alert_store
from alerthub.store import search
from alerthub.store.database import Store
from alerthub.store.schema import alerts, incidents
from alerthub.store.search import BadCursor, Wanted
from alerthub.store.tx import Tx
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import START
from tests.kit.plans import explained
from tests.kit.rows import add_incidents, incident
from tests.kit.world import rules_for

MINUTE = timedelta(minutes=1)
OPENED = [
    firing("DiskFull", host="db-1", severity="critical", team="storage"), firing("DiskFull2", host="db-2", severity="warning"),
    firing("AgentRewardNegative", agent="btc", severity="critical", team="trading"),
    firing("DriftHigh", agent="eth", severity="info", team="trading"), firing("100%_sure\\", note='say "hi"', severity="error"),
    firing("Überlauf", host="STRASSE", severity="error"),
]
MEANT = {"DiskFull", "DiskFull2", "AgentRewardNegative", "DriftHigh", "100%_sure\\", "Überlauf"}


@pytest.fixture
def lived(store: Store) -> Store:
    """Six incidents, a minute apart; the fourth is over."""
    rules = rules_for()
    for minute, alert in enumerate(OPENED):
        now = START + minute * MINUTE
        store.write_now(lambda tx, alert=alert, now=now: take_in(tx, rules, [batch(alert, at=now)], now))
    end = START + 10 * MINUTE
    over = resolved("DriftHigh", agent="eth", severity="info", team="trading", ends_at=end)
    store.write_now(lambda tx: take_in(tx, rules, [batch(over, at=end)], end))
    return store


def names(store: Store, wanted: Wanted, limit: int = 50) -> list[str]:
    """The names of all incidents that are found, page by page."""
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = store.read_now(lambda tx, cursor=cursor: search.incidents(tx, wanted, limit, cursor))
        assert len(page["items"]) <= limit
        found += [name_of(item["title"]) for item in page["items"]]
        cursor = page["next"]
    return found


def name_of(title: str) -> str:
    return max((name for name in MEANT if title.startswith(name)), key=len)


def matching(*texts: str) -> Wanted:
    return Wanted(matchers=tuple(one for text in texts for one in parse_matchers(text)))


@pytest.mark.parametrize(("wanted", "expected"), [
    (Wanted(), ["Überlauf", "100%_sure\\", "DriftHigh", "AgentRewardNegative", "DiskFull2", "DiskFull"]),
    (Wanted("open"), ["AgentRewardNegative", "DiskFull", "Überlauf", "100%_sure\\", "DiskFull2"]),
    (Wanted("open", newest_first=True), ["Überlauf", "100%_sure\\", "AgentRewardNegative", "DiskFull2", "DiskFull"]),
    (Wanted("triggered", ("critical",)), ["AgentRewardNegative", "DiskFull"]),
    (Wanted("acknowledged"), []), (Wanted("resolved"), ["DriftHigh"]),
    (Wanted(severities=("info", "warning")), ["DriftHigh", "DiskFull2"]),
    (Wanted(source="alertmanager", severities=("warning",)), ["DiskFull2"]), (Wanted(source="alert%"), []),
    (Wanted(team="trading"), ["DriftHigh", "AgentRewardNegative"]), (Wanted("open", team="trading"), ["AgentRewardNegative"]),
    (matching('agent="btc"'), ["AgentRewardNegative"]), (matching('agent=~"btc|eth"'), ["DriftHigh", "AgentRewardNegative"]),
    (matching('{host!="", host!~"db.*"}'), ["Überlauf"]), (matching('team="trading"', 'agent!="btc"'), ["DriftHigh"]),
    (matching('note="say \\"hi\\""'), ["100%_sure\\"]), (matching('nothing="x"'), []),
    (Wanted(words=("db-",)), ["DiskFull2", "DiskFull"]), (Wanted(words=("DB-1", "diskfull")), ["DiskFull"]),
    (Wanted(words=("%",)), ["100%_sure\\"]), (Wanted(words=("_",)), ["100%_sure\\"]), (Wanted(words=("\\",)), ["100%_sure\\"]),
    (Wanted(words=("i%t",)), []), (Wanted(words=("straße",)), ["Überlauf"]), (Wanted(words=("überlauf",)), ["Überlauf"]),
    (Wanted(words=("team=storage",)), ["DiskFull"]), (Wanted(words=('"hi"',)), ["100%_sure\\"]),
    (Wanted(since=START + 4 * MINUTE), ["Überlauf", "100%_sure\\"]), (Wanted(until=START + MINUTE), ["DiskFull"]),
    (Wanted(since=START + MINUTE, until=START + 3 * MINUTE), ["AgentRewardNegative", "DiskFull2"]),
], ids=repr)
@pytest.mark.parametrize("limit", [50, 1])
def test_every_filter_finds_what_it_means_in_pages_of_any_size(lived: Store, wanted: Wanted, expected: list[str],
                                                               limit: int) -> None:
    assert names(lived, wanted, limit) == expected


def test_one_alert_must_match_all_matchers(store: Store) -> None:
    both = batch(firing("A", host="a", disk="1"), firing("A", host="b", disk="2"), at=START)
    store.write_now(lambda tx: take_in(tx, rules_for(), [both], START))
    assert found(store, matching('host="a"', 'disk="1"'))
    assert not found(store, matching('host="a"', 'disk="2"'))
    assert found(store, Wanted(words=("host=a", "disk=2"))), "words may be of several alerts"


def found(store: Store, wanted: Wanted, limit: int = 50, cursor: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = store.read_now(lambda tx: search.incidents(tx, wanted, limit, cursor))["items"]
    return items


@pytest.mark.parametrize(("wanted", "cursor"), [
    (Wanted(), "x"), (Wanted(), "2-3"), (Wanted("open"), "17"), (Wanted("open"), "9-1"), (Wanted(), "٣"), (Wanted(), "1" * 16),
    (Wanted("open", newest_first=True), "1-3"), (Wanted(), "1\n"),
])
def test_a_cursor_of_another_list_is_refused(store: Store, wanted: Wanted, cursor: str) -> None:
    with pytest.raises(BadCursor):
        store.read_now(lambda tx: search.incidents(tx, wanted, 5, cursor))


# -- bounded

@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bounds, small."""
    for name, value in (("STRETCH", 10), ("STRETCHES", 3), ("ROWS", 7), ("ALERTS", 9), ("AT_ONCE", 4)):
        monkeypatch.setattr(search, name, value)


def many(tx: Tx, count: int, severity: Severity, *, closed: bool = False, alerts_each: int = 1) -> None:
    """So many incidents, every seventh of the team `rare`."""
    status = IncidentStatus.resolved if closed else IncidentStatus.triggered
    made = [incident(tx, f"{severity.value}{closed}{number}", severity=severity, status=status, alerts=alerts_each)
            for number in range(count)]
    alert_store.save_incidents(tx, made)
    rows = [{"source": "alertmanager", "identity": f"{one.id}-{each}", "incident_id": one.id, "is_current": False,
             "status": "firing", "changed_at": START, "seen_at": START,
             "content": json.dumps({"labels": {"team": "rare" if number % 7 == 0 else "usual"}})}
            for number, one in enumerate(made) for each in range(alerts_each)]
    tx.many(alerts.insert(), rows)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("limit", [1, 3, 5, 50])
@pytest.mark.parametrize("wanted", [
    Wanted(team="rare"), Wanted("open", team="rare"), Wanted("resolved", team="rare"), Wanted("open", ("error",)), Wanted(),
    Wanted("resolved", ("info",)), Wanted("open", newest_first=True, words=("rare",)), Wanted("open"),
], ids=repr)
def test_pages_over_many_stretches_have_no_gaps_and_no_doubles(store: Store, wanted: Wanted, limit: int) -> None:
    def fill(tx: Tx) -> None:
        for severity in Severity:
            many(tx, 15, severity)
            many(tx, 15, severity, closed=True, alerts_each=3)

    store.write_now(fill)
    numbers, cursor, pages = list[int](), "", 0
    while True:
        page = store.read_now(lambda tx, cursor=cursor: search.incidents(tx, wanted, limit, cursor))
        numbers += [item["number"] for item in page["items"]]
        pages += 1
        if page["next"] is None:
            break
        assert page["next"] != cursor
        cursor = page["next"]
    expected = store.read_now(lambda tx: by_hand(tx, wanted))
    assert sorted(numbers) == sorted(expected)
    assert len(numbers) == len(set(numbers))
    assert pages < 200
    if not wanted.is_gravest_first:
        assert numbers == sorted(expected, reverse=True)


def by_hand(tx: Tx, wanted: Wanted) -> list[int]:
    """What should be found, by looking at everything."""
    rare = {row.incident_id for row in tx.conn.execute(alerts.select()) if "rare" in row.content}
    return [row.number for row in tx.conn.execute(incidents.select())
            if (not wanted.status or (row.status != "resolved" if wanted.status == "open" else row.status == wanted.status))
            and (not wanted.severities or row.severity in wanted.severities)
            and (not wanted.reads_labels or row.id in rare)]


@pytest.mark.usefixtures("narrow")
def test_a_page_that_finds_nothing_ends_and_says_where_to_go_on(store: Store) -> None:
    store.write_now(lambda tx: many(tx, 60, Severity.info, closed=True))
    page = store.read_now(lambda tx: search.incidents(tx, Wanted("resolved", words=("nowhere",)), 5, ""))
    assert page["items"] == []
    assert 1 < int(page["next"]) < 60


def test_one_page_looks_at_so_much_and_no_more(store: Store) -> None:
    """What is not there, in ten thousand open incidents: a bounded number of statements, each of them bounded or by an index."""
    store.write_now(lambda tx: [many(tx, 2500, severity) for severity in Severity])
    with explained(store) as plans:
        page = store.read_now(lambda tx: search.incidents(tx, Wanted("open", words=("nowhere",)), 50, ""))
    assert page["items"] == []
    assert page["next"] is not None
    assert 0 < len(plans.steps) <= 2 * (search.ALERTS // search.AT_ONCE + 3)


def test_pages_go_on_while_incidents_come_and_go(store: Store) -> None:
    store.write_now(lambda tx: add_incidents(tx, 30))
    first = store.read_now(lambda tx: search.incidents(tx, Wanted("open"), 10, ""))
    store.write_now(lambda tx: add_incidents(tx, 5, key="new", severity=Severity.critical))
    seen = [item["number"] for item in first["items"]]
    cursor = first["next"]
    while cursor is not None:
        page = store.read_now(lambda tx, cursor=cursor: search.incidents(tx, Wanted("open"), 10, cursor))
        seen += [item["number"] for item in page["items"]]
        cursor = page["next"]
    assert seen == list(range(30, 0, -1))


def test_nothing_asked_is_plain() -> None:
    assert Wanted("open").is_plain
    assert not replace(Wanted("open"), words=("a",)).is_plain
