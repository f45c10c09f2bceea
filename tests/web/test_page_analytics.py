"""Looking back on a page and over the API: what is counted, what was asked for, what a stranger wrote, and what is calm."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from sqlalchemy import update

from alerthub.domain.command import Command, Verb
from alerthub.domain.person import Account
from alerthub.store.schema import deliveries
from alerthub.web.analytics import MEANINGS
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.pages import Reader, read
from tests.web.test_pages import EVIL, evil_alert

pytestmark = pytest.mark.anyio
API = "/api/v1/analytics"


async def page(hub: RunningHub, path: str = "/analytics", status: int = 200) -> Reader:
    answer = await hub.get(path)
    assert answer.status_code == status, answer.text
    return read(answer.text)


async def lived(hub: RunningHub, clock: FakeClock) -> None:
    """Three incidents: one taken after 2 minutes and over after 10, one over after 30, one still open."""
    await hub.hub.take(batch(firing("DiskFull", severity="critical", team="platform"), at=clock.now()))
    clock.advance(minutes=2)
    await hub.hub.hear(Command(Verb.acknowledge, "1", Account("api", "api", "API"), "key-1"))
    clock.advance(minutes=8)
    await hub.hub.take(batch(resolved("DiskFull", severity="critical", team="platform", ends_at=clock.now()), at=clock.now()))
    await hub.hub.take(batch(firing("Slow", severity="warning"), at=clock.now()))
    clock.advance(minutes=30)
    await hub.hub.take(batch(resolved("Slow", severity="warning", ends_at=clock.now()), firing("Open", severity="info"),
                             at=clock.now()))
    await hub.drain()
    clock.advance(minutes=1)


async def test_the_numbers_are_those_of_what_happened(hub: RunningHub, clock: FakeClock) -> None:
    await lived(hub, clock)
    found = await hub.json(API)
    assert found["incidents"] == {
        "count": 3, "open": 1, "to_acknowledge": {"count": 1, "median_seconds": 120.0, "p90_seconds": 120.0},
        "to_resolve": {"count": 2, "median_seconds": 600.0, "p90_seconds": 1800.0}}
    assert found["by_day"][-1] == {"day": "2026-11-21", "critical": 1, "error": 0, "warning": 1, "info": 1, "total": 3}
    assert len(found["by_day"]) == 30
    assert (found["by_hour"][3], found["by_weekday"][5], sum(found["by_hour"])) == (3, 3, 3)
    assert [one["channel"] for one in found["deliveries"]] == ["console"]
    assert set(found["meanings"]) == set(MEANINGS)
    assert not found["is_cut"]
    noise = {one["name"]: one for one in found["noise"]}
    assert noise["DiskFull"]["share_never_acknowledged"] == 0
    assert noise["Slow"]["share_never_acknowledged"] == 1


async def test_the_page_says_the_same_in_words_pictures_and_tables(hub: RunningHub, clock: FakeClock) -> None:
    await lived(hub, clock)
    shown = await page(hub)
    for words in ("3 incidents, 1 still open", "2 min to acknowledge", "10 min to resolve", "90 % within 30 min", "critical: 1",
                  "DiskFull", "Slow", "console", "2026-11-21: 1"):
        assert words in re.sub(r"\s+", " ", shown.text), words
    pictures = [tag for tag, attributes in shown.tags if tag == "svg" and "bands" in attributes.get("class", "")]
    assert len(pictures) == 3
    assert [tag for tag, _ in shown.tags].count("desc") == 3
    assert [tag for tag, _ in shown.tags].count("figure") == 3
    assert all("style" not in attributes for _, attributes in shown.tags)


async def test_of_nothing_it_says_so_calmly(hub: RunningHub) -> None:
    shown = await page(hub)
    for words in ("Nothing opened in these days.", "Nobody was woken", "No action was started", "No target was in its safe state",
                  "No message was sent", "– to acknowledge"):
        assert words in re.sub(r"\s+", " ", shown.text)
    assert "svg" not in [tag for tag, _ in shown.tags]


@pytest.mark.parametrize(("query", "names"), [
    ("severity=critical", {"DiskFull"}), ("team=platform", {"DiskFull"}), ("team=nobody", set()),
    ("days=7", {"DiskFull", "Slow", "Open"}),
    ("from=2026-11-21&to=2026-11-21", {"DiskFull", "Slow", "Open"}), ("from=2026-11-19&to=2026-11-20", set()),
    ("from=2026-11-21", {"DiskFull", "Slow", "Open"}), ("severity=warning&team=platform", set()),
])
async def test_what_is_asked_for_is_counted(hub: RunningHub, clock: FakeClock, query: str, names: set[str]) -> None:
    await lived(hub, clock)
    assert {one["name"] for one in (await hub.json(f"{API}?{query}"))["noise"]} == names
    await page(hub, f"/analytics?{query}")


@pytest.mark.parametrize("query", [
    "days=8", "days=x", "severity=bad", "from=yesterday", "from=2026-02-30", "from=2026-11-21&to=2026-11-01",
    "to=2020-01-01&from=2019-01-01",
    "from=9999-12-31", "from=0001-01-01", "team=%00", "team=a%0Ab", "team=" + "x" * 201, "from=²026-01-01", "days=<script>",
])
async def test_an_odd_question_is_refused_with_what_would_be_right(hub: RunningHub, query: str) -> None:
    answer = await hub.get(f"{API}?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "Shown are the last 30 days" in (await page(hub, f"/analytics?{query}", 400)).text


CALLED = """
answers: {time_zone: Europe/Istanbul}
people:
  - {name: ayse, email: ayse@example.com, contact: [email]}
global: {smtp_smarthost: "127.0.0.1:1", smtp_from: hub@example.com}
escalation_policies:
  - {name: trading, steps: [{notify: [person:ayse], wait: 5m}]}
sources: [{name: alertmanager, type: alertmanager}]
receivers: [{name: console, console_configs: [{}]}]
route: {receiver: console, group_by: [alertname], escalation_policy: trading}
"""


async def test_who_was_woken_is_named_with_the_hour_where_they_live(clock: FakeClock) -> None:
    async with running_hub(CALLED, clock=clock) as hub:
        await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
        await hub.drain()
        clock.advance(minutes=1)
        await hub.store.write(lambda tx: tx.conn.execute(
            update(deliveries).where(deliveries.c.destination.like("email:%")).values(state="sent")))
        (one,) = (await hub.json(API))["woken"]
        assert (one["person"], one["notifications"], one["at_night"], one["by_hour"][6]) == ("ayse", 1, 1, 1)
        shown = await page(hub)
        assert "ayse: 1, 1 at night" in shown.text
        assert "06:00: 1" in shown.text


@pytest.mark.parametrize("text", EVIL, ids=lambda text: ascii(text[:20]))
async def test_what_a_stranger_writes_is_shown_as_it_stands(hub: RunningHub, clock: FakeClock, text: str) -> None:
    await hub.hub.take(batch(evil_alert(text), at=clock.now(), group_labels={"alertname": text}))
    clock.advance(minutes=1)
    shown = await page(hub)
    assert all(link.startswith(("/", "#main", "http")) for link in shown.links())
    answer: Any = await hub.get("/analytics", params={"team": text})
    read(answer.text)


async def test_one_looks_back_at_a_time_and_the_others_wait(hub: RunningHub) -> None:
    at_once = most = 0
    real = hub.store.store.read

    async def read_slowly(unit: Any) -> Any:
        nonlocal at_once, most
        if "looked_back" not in unit.__qualname__:      # the door reads too
            return await real(unit)
        at_once += 1
        most = max(most, at_once)
        await hub.turns()
        at_once -= 1
        return await real(unit)

    hub.store.read = read_slowly        # type: ignore[method-assign]
    answers = await asyncio.gather(*(hub.get(path) for path in (API, "/analytics", API)))
    assert ([one.status_code for one in answers], most) == ([200] * 3, 1)


async def test_an_empty_answer_and_a_full_one_have_the_same_form(hub: RunningHub, clock: FakeClock) -> None:
    empty = await hub.json(API)
    await lived(hub, clock)
    assert set(await hub.json(API)) == set(empty)
