"""The report of an incident: drafted, edited, kept in versions, exported; two who write at once; who may, and what cannot act."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from alerthub.domain.report import LONGEST
from alerthub.flow import prune
from alerthub.flow import report as room
from alerthub.store.schema import reports
from tests.kit.alerts import batch, firing, resolved
from tests.kit.clock import FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.kit.pages import Reader, read
from tests.kit.rows import count
from tests.web.test_pages import EVIL, evil_alert

pytestmark = pytest.mark.anyio
PATH, API = "/incidents/1/report", "/api/v1/incidents/1/report"
CSRF = re.compile(r'name="csrf" value="([^"]*)"')


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    """With one incident that is over."""
    async with running_hub(clock=clock) as running:
        await running.hub.take(batch(firing("DiskFull", severity="critical", host="db-1"), at=clock.now()))
        clock.advance(minutes=23)
        await running.hub.take(batch(resolved("DiskFull", severity="critical", host="db-1", ends_at=clock.now()), at=clock.now()))
        await running.drain()
        yield running


async def page(hub: RunningHub, path: str = PATH, status: int = 200) -> Reader:
    answer = await hub.get(path)
    assert answer.status_code == status, answer.text
    return read(answer.text)


async def send(hub: RunningHub, **fields: str) -> httpx.Response:
    """The form of the page as it was loaded now."""
    csrf = CSRF.search((await hub.get(PATH)).text)
    return await hub.client.post(PATH, data={"csrf": csrf[1] if csrf else "", **fields})


def area(shown: str) -> str:
    found = re.search(r"<textarea[^>]*>\n?(.*?)</textarea>", shown, re.DOTALL)
    assert found is not None
    return found[1]


# -- a draft, and what people make of it

async def test_before_anybody_wrote_there_is_a_draft_and_nothing_is_kept(hub: RunningHub) -> None:
    shown = await page(hub)
    for words in ("Report of #1", "A draft from the record", "What went well", "It lasted 23 min", "DiskFull"):
        assert words in shown.text
    assert "Versions" not in shown.text
    assert await hub.store.read(lambda tx: count(tx, reports)) == 0


async def test_what_is_saved_is_shown_to_everybody_and_every_version_stays(hub: RunningHub, clock: FakeClock) -> None:
    answer = await send(hub, do="save", seen="0", text="# First\r\n\r\nIt was **full**.")
    assert (answer.status_code, answer.headers["location"]) == (303, PATH)
    said = await hub.client.get(PATH)
    assert "Saved as version 1." in said.text
    assert "<strong>full</strong>" in said.text
    clock.advance(minutes=1)
    await send(hub, do="save", seen="1", text="# Second")
    shown = await page(hub)
    assert "Second" in shown.text
    assert "Version 2" in shown.text
    assert "First" in (await page(hub, f"{PATH}?version=1")).text
    assert "an older one" in (await page(hub, f"{PATH}?version=1")).text


async def test_the_same_form_twice_is_one_version(hub: RunningHub) -> None:
    for _ in range(2):
        await send(hub, do="save", seen="0", text="# Once")
    assert "Nothing was changed" in (await hub.client.get(PATH)).text
    assert await hub.store.read(lambda tx: count(tx, reports)) == 1


async def test_the_second_of_two_who_write_at_once_loses_nothing(hub: RunningHub) -> None:
    await send(hub, do="save", seen="0", text="shared\ntheirs")
    answer = await send(hub, do="save", seen="0", text="shared\nmine")
    assert answer.status_code == 409
    shown = read(answer.text)
    assert "while you were writing" in shown.text
    assert "-theirs" in shown.text
    assert "+mine" in shown.text
    assert area(answer.text) == "shared\nmine"
    (seen,) = [tag["value"] for name, tag in shown.tags if name == "input" and tag.get("name") == "seen"]
    await send(hub, do="save", seen=seen, text="shared\nmine and theirs")
    assert "mine and theirs" in (await page(hub)).text
    assert "theirs" in (await page(hub, f"{PATH}?version=1")).text


async def test_the_draft_is_made_anew_and_what_was_written_stays(hub: RunningHub, clock: FakeClock) -> None:
    await send(hub, do="save", seen="0", text="# Mine")
    clock.advance(minutes=5)
    await hub.hub.take(batch(firing("DiskFull", severity="critical", host="db-1"), at=clock.now()))
    await send(hub, do="draft")
    shown = await page(hub)
    assert "Opened: 2 times" in shown.text
    assert "Mine" not in shown.text
    assert "Mine" in (await page(hub, f"{PATH}?version=1")).text
    assert "draft made from the record" in shown.text


@pytest.mark.parametrize(("text", "status", "words"), [
    ("x" * (LONGEST + 1), 413, "A report has at most 100000 characters"), ("x" * (1024 * 1024), 413, "larger than"),
])
async def test_what_is_too_long_is_refused_and_said(hub: RunningHub, text: str, status: int, words: str) -> None:
    answer = await send(hub, do="save", seen="0", text=text)
    assert answer.status_code == status
    assert words in read(answer.text).text
    assert await hub.store.read(lambda tx: count(tx, reports)) == 0


async def test_there_is_an_end_to_versions(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_VERSIONS", 2)
    for seen in ("0", "1", "2"):
        answer = await send(hub, do="save", seen=seen, text=f"text {seen}")
    assert answer.status_code == 409
    assert "versions already" in read(answer.text).text
    assert area(answer.text) == "text 2"


async def test_a_report_goes_with_its_incident(hub: RunningHub, clock: FakeClock) -> None:
    await send(hub, do="save", seen="0", text="# Gone in time")
    clock.advance(days=91)
    await hub.store.write(lambda tx: prune.prune(tx, hub.hub.rules, clock.now()))
    assert await hub.store.read(lambda tx: count(tx, reports)) == 0
    await page(hub, PATH, 404)


# -- as a file

async def test_it_is_exported_as_it_stands_under_a_name_that_is_only_ours(hub: RunningHub) -> None:
    await send(hub, do="save", seen="0", text="# Zürich <b>")
    answer = await hub.get("/incidents/1/report.md")
    assert answer.text == "# Zürich <b>"
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="incident-1-report.md"'
    assert answer.headers["x-content-type-options"] == "nosniff"


# -- strangers, and those who may only look

@pytest.mark.parametrize("text", EVIL, ids=lambda text: ascii(text[:20]))
async def test_what_a_stranger_writes_cannot_act(clock: FakeClock, text: str) -> None:
    async with running_hub(clock=clock) as hub:
        await hub.hub.take(batch(evil_alert(text), at=clock.now(), group_labels={"alertname": text}, sender=text))
        await hub.drain()
        links = set((await page(hub)).links())
        assert all(link.startswith(("/", "#main")) for link in links), links
        answer = await send(hub, do="save", seen="0", text=text or "x")
        assert answer.status_code == 303
        assert all(link.startswith(("/", "#main", "http://", "https://")) for link in (await page(hub)).links())


@pytest.mark.parametrize("path", ["/incidents/9/report", "/incidents/%00/report", "/incidents/<b>/report", f"{PATH}?version=7",
                                  f"{PATH}?version=x", f"{PATH}?version=%C2%B2", "/incidents/9/report.md",
                                  f"{PATH}?version=99999999999999"])
async def test_what_is_not_there_is_said(hub: RunningHub, path: str) -> None:
    assert "There is no such report" in (await page(hub, path, 404)).text


PEOPLE = """
people:
  - {name: ayse, role: responder, email: ayse@example.com, api_token: token-of-ayse-0123456789abcdef}
  - {name: vera, role: viewer, email: vera@example.com, api_token: token-of-vera-0123456789abcdef}
"""


@pytest.fixture
async def people(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(PEOPLE + PLAIN, clock=clock) as running:
        running.open_door(api_token="t" * 40, is_loopback=False)
        await running.hub.take(batch(firing("DiskFull"), at=clock.now()))
        yield running


def as_(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer token-of-{name}-0123456789abcdef"}


async def test_who_may_only_look_finds_no_form_and_saves_nothing(people: RunningHub) -> None:
    assert read((await people.get(PATH, headers=as_("vera"))).text).forms() == []
    assert len(read((await people.get(PATH, headers=as_("ayse"))).text).forms()) == 1
    answer = await people.fill(PATH, headers=as_("vera"), fields={"do": "save", "seen": "0", "text": "x"})
    assert answer.status_code in (303, 403)
    answer = await people.client.put(API, headers={**as_("vera"), "if-match": '"0"'}, json={"text": "x"})
    assert answer.status_code == 403
    assert await people.store.read(lambda tx: count(tx, reports)) == 0


async def test_a_version_names_who_wrote_it(people: RunningHub) -> None:
    answer = await people.client.put(API, headers={**as_("ayse"), "if-match": '"0"'}, json={"text": "# By her"})
    assert (answer.status_code, answer.json()["by"], answer.json()["kind"]) == (200, "ayse", "edited")


# -- the same over the API

async def put(hub: RunningHub, body: Any, tag: str | None = '"0"', path: str = API) -> httpx.Response:
    headers = {"if-match": tag} if tag is not None else {}
    content = body if isinstance(body, bytes) else None
    return await hub.client.put(path, headers=headers, content=content, json=None if content is not None else body)


async def test_the_api_shows_and_keeps_versions(hub: RunningHub, clock: FakeClock) -> None:
    found = await hub.get(API)
    first = found.json()
    assert (found.headers["etag"], first["version"], first["kind"], first["versions"]) == ('"0"', 0, "draft", [])
    saved = await put(hub, {"text": "# One"})
    assert (saved.status_code, saved.headers["etag"], saved.json()["version"]) == (200, '"1"', 1)
    clock.advance(minutes=1)
    assert (await put(hub, {"text": "# Two"}, '"1"')).headers["etag"] == '"2"'
    body = (await hub.get(API)).json()
    assert (body["incident"], body["text"], [one["version"] for one in body["versions"]]) == (1, "# Two", [2, 1])
    old = await hub.get(f"{API}?version=1")
    assert (old.json()["text"], old.headers["etag"]) == ("# One", '"2"')


@pytest.mark.parametrize(("tag", "status"), [
    (None, 428), ("", 428), ("*", 428), ("1", 428), ('W/"0"', 428), ('"x"', 428), ('"²"', 428), ('"7"', 412),
])
async def test_nobody_writes_over_what_they_have_not_read(hub: RunningHub, tag: str | None, status: int) -> None:
    headers = [(b"if-match", tag.encode())] if tag is not None else []
    answer = await hub.client.put(API, headers=headers, json={"text": "x"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert await hub.store.read(lambda tx: count(tx, reports)) == 0


async def test_after_a_conflict_the_answer_says_which_version_to_read(hub: RunningHub) -> None:
    await put(hub, {"text": "theirs"})
    answer = await put(hub, {"text": "mine"})
    assert (answer.status_code, answer.headers["etag"]) == (412, '"1"')
    assert "version 1" in answer.json()["detail"]


@pytest.mark.parametrize(("body", "status"), [
    (b"", 400), (b"{", 400), (b"[]", 400), (b"[" * 100_000, 400), ({"text": 1}, 400), ({}, 400), ({"text": "x", "by": "me"}, 400),
    (b'{"text": "\xff"}', 400), ({"text": "x" * (LONGEST + 1)}, 413), (b"x" * (1024 * 1024 + 1), 413),
    (b'{"text": "\\u0000\\ud800 fine"}', 200),
])
async def test_an_odd_body_is_answered(hub: RunningHub, body: Any, status: int) -> None:
    assert (await put(hub, body)).status_code == status


@pytest.mark.parametrize("path", ["/api/v1/incidents/9/report", "/api/v1/incidents/x/report", f"{API}?version=9"])
async def test_what_is_not_there_is_404(hub: RunningHub, path: str) -> None:
    assert (await hub.get(path)).status_code == 404
    assert "version" in path or (await put(hub, {"text": "x"}, path=path)).status_code == 404


async def test_the_version_asked_for_is_a_number(hub: RunningHub) -> None:
    assert (await hub.get(f"{API}?version=new")).status_code == 400


async def test_times_are_said_where_people_live(clock: FakeClock) -> None:
    async with running_hub("answers: {time_zone: Europe/Istanbul}\n" + PLAIN, clock=clock) as hub:
        await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
        shown = await page(hub)
        assert "2026-11-21 06:00 +03 (2026-11-21 03:00 UTC)" in shown.text
        assert clock.now().utcoffset() == timedelta(0)
