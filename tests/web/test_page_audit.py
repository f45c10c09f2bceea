"""The record on a page and over the API: searched, checked beside the requests, taken away so that it does no harm elsewhere."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from typing import Any

import pytest
from sqlalchemy import update

from alerthub.domain.evidence import faults
from alerthub.domain.record import Finding
from alerthub.flow import audit
from alerthub.store.schema import events
from alerthub.web import checking
from alerthub.web.checking import Checking
from alerthub.web.export import FORMULA, cell
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.kit.pages import Reader, read
from tests.web.test_pages import EVIL, evil_alert

pytestmark = pytest.mark.anyio
API = "/api/v1/audit"


async def page(hub: RunningHub, path: str = "/audit", status: int = 200) -> Reader:
    answer = await hub.get(path)
    assert answer.status_code == status, answer.text
    return read(answer.text)


async def lived(hub: RunningHub, clock: FakeClock) -> None:
    for name in ("DiskFull", "Slow"):
        await hub.hub.take(batch(firing(name), at=clock.now()))
        clock.advance(minutes=1)
    await hub.client.post("/api/v1/incidents/1/comment", json={"comment": "=1+1", "by": "-ayse"})
    await hub.store.write(lambda tx: audit.anchor(tx, clock.now()))


async def checked(hub: RunningHub) -> dict[str, Any]:
    """What the check finds that is asked for now."""
    assert (await hub.client.post(f"{API}/verify")).status_code == 202
    running = hub_checking(hub)
    assert await asyncio.to_thread(running.ended.wait, 20)
    found: dict[str, Any] = await hub.json(f"{API}/verify")
    return found


def hub_checking(hub: RunningHub) -> Checking:
    app: Any = hub.client._transport.app.routed     # type: ignore[attr-defined]
    found: Checking = app.state.checking
    return found


# -- search

@pytest.mark.parametrize(("query", "texts"), [
    ("", ["API: =1+1", "Opened: 1 alert firing: Slow", "Opened: 1 alert firing: DiskFull"]),
    ("incident=2", ["Opened: 1 alert firing: Slow"]),
    ("incident=%232", ["Opened: 1 alert firing: Slow"]), ("kind=comment", ["API: =1+1"]),
    ("text=DISK", ["Opened: 1 alert firing: DiskFull"]),
    ("actor=alertmanager&incident=1", ["Opened: 1 alert firing: DiskFull"]), ("since=2026-11-22", []), ("until=2026-11-20", []),
    ("since=2026-11-21T03:01&kind=opened", ["Opened: 1 alert firing: Slow"]),
    ("since=2026-11-21&until=2026-11-21&text=slow", ["Opened: 1 alert firing: Slow"]),
    ("incident=9", []),
])
async def test_what_is_looked_for_is_found(hub: RunningHub, clock: FakeClock, query: str, texts: list[str]) -> None:
    await lived(hub, clock)
    found = [one["text"].replace("-ayse (API)", "API") for one in (await hub.json(f"{API}?{query}"))["items"]]
    assert found == texts
    shown = (await page(hub, f"/audit?{query}")).text
    assert all(text.removeprefix("API: ") in shown for text in texts)
    assert texts or "Nothing" in shown


async def test_older_ones_are_a_page_away(hub: RunningHub, clock: FakeClock) -> None:
    await lived(hub, clock)
    first = await hub.json(f"{API}?limit=2")
    second = await hub.json(f"{API}?limit=2&before={first['next']}")
    assert [len(first["items"]), len(second["items"]), second["next"]] == [2, 1, None]


@pytest.mark.parametrize("query", ["incident=x", "incident=²", "kind=bad", "since=now", "until=2026-02-30", "before=0",
                                   "limit=999", "text=" + "x" * 201, "actor=%00", "since=9999-12-31T23:59-23:59"])
async def test_an_odd_question_is_refused_with_what_would_be_right(hub: RunningHub, query: str) -> None:
    assert (await hub.get(f"{API}?{query}")).status_code == 400
    assert "limit" in query or "Shown is the newest" in (await page(hub, f"/audit?{query}", 400)).text


async def test_what_strangers_write_is_shown_as_it_stands(hub: RunningHub, clock: FakeClock) -> None:
    for text in EVIL:
        await hub.hub.take(batch(evil_alert(text), at=clock.now(), group_labels={"alertname": text}))
        read((await hub.get("/audit", params={"text": text, "actor": text})).text)
        assert (await hub.get(API, params={"text": text[:200].replace(chr(0), "")})).status_code == 200
    shown = await page(hub)
    assert all(link.startswith(("/", "#main")) for link in shown.links())


async def test_of_nothing_it_says_so_calmly(hub: RunningHub) -> None:
    text = (await page(hub)).text
    for words in ("The record is empty so far.", "Nothing has happened yet.", "It was not checked since", "No anchor yet"):
        assert words in text


# -- check

async def test_a_record_as_it_was_written_is_found_good(hub: RunningHub, clock: FakeClock) -> None:
    await lived(hub, clock)
    assert (await hub.json(f"{API}/verify"))["state"] == "never"
    found = await checked(hub)
    assert (found["state"], found["is_good"], found["findings"], found["anchors"]) == ("done", True, [], 1)
    assert found["extent"]["last_position"] == 3
    assert "as it was written" in (await page(hub)).text


async def test_a_line_that_somebody_changed_is_named(hub: RunningHub, clock: FakeClock) -> None:
    await lived(hub, clock)
    await hub.store.write(lambda tx: tx.conn.execute(update(events).where(events.c.position == 2).values(text="<b>never")))
    found = await checked(hub)
    assert not found["is_good"]
    assert "incident #2, event 1: was changed" in found["findings"][0]["text"]
    shown = (await page(hub)).text
    assert "✗ changed" in shown
    assert "incident #2, event 1" in shown


async def test_the_button_of_the_page_starts_it_and_one_at_a_time_is_enough(hub: RunningHub) -> None:
    answer = await hub.fill("/audit/verify")
    assert (answer.status_code, answer.headers["location"]) == (303, "/audit")
    assert "being checked" in (await hub.client.get("/audit")).text
    running = hub_checking(hub)
    assert await asyncio.to_thread(running.ended.wait, 20)
    running.result = checking.Result("running", hub.hub.clock.now(), by="ayse")
    assert (await hub.client.post(f"{API}/verify")).status_code == 200
    assert "asked for by ayse" in (await page(hub)).text


async def test_of_very_many_findings_the_first_are_shown(
        hub: RunningHub, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    await lived(hub, clock)
    monkeypatch.setattr(checking, "verify", lambda tx: (Finding("", 0, 0, f"wrong {number}") for number in range(1000)))
    found = await checked(hub)
    assert (len(found["findings"]), found["is_cut"]) == (checking.SHOWN, True)


async def test_a_database_that_is_away_is_said(clock: FakeClock) -> None:
    running = Checking()
    running.start("sqlite:////nowhere/at/all.db", clock, "ayse")
    assert await asyncio.to_thread(running.ended.wait, 20)
    assert (running.result.state, "there is no database" in running.result.problem) == ("failed", True)


VIEWER = "people:\n  - {name: vera, role: viewer, email: v@example.com, api_token: token-of-vera-0123456789abcdef}\n"


async def test_who_may_only_look_starts_nothing(clock: FakeClock) -> None:
    async with running_hub(VIEWER + PLAIN, clock=clock) as hub:
        hub.open_door(api_token="t" * 40, is_loopback=False)
        headers = {"authorization": "Bearer token-of-vera-0123456789abcdef"}
        assert "Check the whole record" not in (await hub.get("/audit", headers=headers)).text
        assert (await hub.client.post(f"{API}/verify", headers=headers)).status_code == 403
        assert (await hub.client.post("/audit/verify", headers=headers)).status_code in (303, 403)
        assert (await hub.get(f"{API}/verify", headers=headers)).json()["state"] == "never"


# -- taken away

async def test_json_lines_are_one_event_each(hub: RunningHub, clock: FakeClock) -> None:
    await lived(hub, clock)
    answer = await hub.get(f"{API}/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.jsonl"'
    assert [json.loads(line)["position"] for line in answer.text.splitlines()] == [3, 2, 1]


async def test_no_cell_of_a_csv_is_a_formula(hub: RunningHub, clock: FakeClock) -> None:
    await lived(hub, clock)
    for sign in ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "  =1"):
        await hub.hub.take(batch(firing("X"), at=clock.now(), source="alertmanager"))
        await hub.client.post("/api/v1/incidents/1/comment", json={"comment": sign, "by": sign})
    answer = await hub.get(f"{API}/export?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 9
    for row in rows:
        assert not any(value.lstrip(" ").startswith(FORMULA) for value in row.values()), row
    assert any(row["actor_name"].startswith("'=cmd") for row in rows)


@pytest.mark.parametrize(("value", "expected"), [
    ("=1", "'=1"), ("plain", "plain"), (-5, -5), ("", ""), ("a=1", "a=1"), (" @x", "' @x"), ("\t=1", "'\t=1"), (None, None)])
def test_a_cell_is_marked_only_where_it_must_be(value: Any, expected: Any) -> None:
    assert cell(value) == expected


async def test_the_evidence_of_one_incident_can_be_checked_elsewhere(hub: RunningHub, clock: FakeClock) -> None:
    await lived(hub, clock)
    answer = await hub.get(f"{API}/export?evidence=1")
    assert answer.headers["content-disposition"] == 'attachment; filename="incident-1.json"'
    assert list(faults(answer.json())) == []
    told = await hub.get(f"{API}/export?evidence=1&format=html")
    assert "Evidence of incident #1" in told.text
    assert told.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(("query", "status"), [("evidence=9", 404), ("evidence=x", 404), ("evidence=1&format=exe", 400),
                                               ("format=xls", 400), ("incident=x", 400), ("evidence=%00", 404)])
async def test_what_cannot_be_exported_is_said(hub: RunningHub, query: str, status: int) -> None:
    assert (await hub.get(f"{API}/export?{query}")).status_code == status
