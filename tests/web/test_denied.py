"""Who asks for what they may not: it is refused in the words of the door that they came by, and the record of the door has it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alerthub.errors import Busy
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.pages import read
from tests.kit.visitors import PASSWORD, cheap, code_for, member
from tests.web.test_tokens import OWN, SHARED, WITH_TOKENS, call, made

pytestmark = pytest.mark.anyio


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(WITH_TOKENS, clock=clock) as running:
        cheap(running)
        await running.hub.take(batch(firing("DiskFull"), at=clock.now()))
        yield running


async def denied(hub: RunningHub) -> list[tuple[str, str, str]]:
    """Who, what, from where; the oldest first."""
    found = (await call(hub, "GET", "access/events", OWN)).json()["items"]
    return [(one["account"], one["detail"], one["address"]) for one in reversed(found) if one["kind"] == "denied"]


async def test_what_somebody_may_not_do_is_kept(hub: RunningHub) -> None:
    browser = await member(hub, "mehmet")
    csrf = {"x-csrf-token": "x", "sec-fetch-site": "same-origin"}
    assert (await browser.client.post("/api/v1/incidents/1/acknowledge", headers=csrf)).status_code == 403
    assert (await browser.client.post("/incidents/1/acknowledge", data={})).status_code == 403
    assert (await browser.get("/people")).status_code == 403
    assert await denied(hub) == [
        ("mehmet", "POST /api/v1/incidents/1/acknowledge", "10.0.0.1"), ("mehmet", "POST /incidents/1/acknowledge", "10.0.0.1"),
        ("mehmet", "GET /people", "10.0.0.1")]


async def test_what_a_token_was_not_made_for_is_kept_and_of_the_shared_one_too(hub: RunningHub) -> None:
    token = await made(await member(hub))
    assert (await call(hub, "POST", "silences", token, {})).status_code == 403
    assert (await call(hub, "POST", "latches/agent-btc/override", SHARED, {"why": "I must"})).status_code == 403
    assert [(who, what) for who, what, _ in await denied(hub)] == [
        ("ayse", "POST /api/v1/silences"), ("API", "POST /api/v1/latches/agent-btc/override")]


async def test_what_a_page_says_with_words_is_kept_too(hub: RunningHub) -> None:
    browser = await member(hub, "selin", "responder")
    for verb in ("freeze", "unfreeze"):
        answer = await browser.post("/actions/say", {"verb": verb, "about": "safe-mode", "why": "x"}, page="/account")
        assert answer.status_code in (303, 409), read(answer.text).text
    assert await denied(hub) == [("selin", "POST /actions/say", "10.0.0.1")]


async def test_it_is_on_the_page_of_people(hub: RunningHub) -> None:
    await (await member(hub, "mehmet")).get("/people")
    admin = await member(hub, "root")
    assert "deniedmehmet10.0.0.1GET /people" in read((await admin.get("/people")).text).text


async def test_the_same_again_is_one_row_a_minute_and_nobody_fills_the_table(hub: RunningHub, clock: FakeClock) -> None:
    token = await made(await member(hub))
    paths = [*(f"incidents/{number}/report" for number in range(9)), *(f"made/up/{number}" for number in range(9))]
    for path in [*paths, "silences", "silences/"]:
        assert (await call(hub, "PUT" if "report" in path else "POST", path, token)).status_code == 403
    await asyncio.gather(*(call(hub, f"ODD{number}", "silences", token) for number in range(9)))
    assert [what for _, what, _ in await denied(hub)] == [
        "PUT /api/v1/incidents/0/report", "(an address that is not there)", "POST /api/v1/silences"]
    clock.advance(minutes=1)
    await call(hub, "POST", "silences", token)
    assert len(await denied(hub)) == 4


async def test_what_is_refused_for_another_reason_is_no_denial(hub: RunningHub) -> None:
    browser = await member(hub)
    assert (await browser.client.post("/incidents/1/acknowledge", data={"csrf": "old"})).status_code == 403
    assert (await browser.client.post("/api/v1/silences", json={})).status_code == 403
    again = {"current": "a wrong one", "password": PASSWORD + "!", "again": PASSWORD + "!"}
    assert (await browser.post("/account/password", again, page="/account")).status_code == 403
    assert (await browser.client.post("/", headers={"sec-fetch-site": "cross-site"})).status_code == 403
    assert await denied(hub) == []


async def test_a_path_is_cut_and_what_it_holds_is_harmless(hub: RunningHub) -> None:
    token = await made(await member(hub))
    await call(hub, "POST", "accounts/x%00%0a<script>" + "é" * 900 + "/disable", token)
    ((_, what, _),) = await denied(hub)
    assert (what.startswith("POST /api/v1/accounts/x%00%0A%3Cscript%3E"), len(what)) == (True, 205)


async def test_a_database_that_is_away_changes_no_refusal(hub: RunningHub, caplog: pytest.LogCaptureFixture) -> None:
    browser = await member(hub, "mehmet")

    async def away(unit: Any) -> Any:
        raise Busy("the database is away")

    hub.hub.store.write = away      # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "alerthub.access"):
        answer = await browser.client.post("/api/v1/silences", headers={"sec-fetch-site": "same-origin"})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")
    assert [record.event for record in caplog.records] == ["access.denied", "access.denied_not_kept"]  # type: ignore[attr-defined]


# -- in a browser

@pytest.mark.parametrize(("path", "back"), [
    ("/incidents/1/acknowledge", "/incidents/1"), ("/silences", "/silences"), ("/oncall/overrides/7/remove", "/oncall"),
    ("/people/disable", "/"), ("/people", "/"), ("/made/up", "/"),
])
async def test_a_form_that_somebody_may_not_send_is_answered_by_a_page(hub: RunningHub, path: str, back: str) -> None:
    answer = await (await member(hub, "mehmet")).client.post(path, data={"csrf": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")
    text = read(answer.text).text
    assert "Nothing was done: mehmet is viewer here and may not do that; it needs the right to" in text
    assert f'<a class="button" href="{back}">Back</a>' in answer.text


async def test_a_right_that_was_taken_away_while_the_page_was_open_is_said_on_a_page(hub: RunningHub) -> None:
    browser = await member(hub, "selin", "responder")
    fields = {"csrf": browser_mark((await browser.get("/incidents/1")).text), "key": "k"}
    await code_for(hub, "selin", "viewer")
    answer = await browser.client.post("/incidents/1/acknowledge", data=fields)
    assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")
    assert (await call(hub, "GET", "incidents/1", OWN)).json()["status"] == "triggered"


async def test_a_program_and_the_api_are_told_as_before(hub: RunningHub) -> None:
    browser = await member(hub, "mehmet")
    for path, headers in (("/silences", {"accept": "*/*"}), ("/api/v1/silences", {"sec-fetch-site": "same-origin"}),
                          ("/api/v1/accounts", {"sec-fetch-site": "same-origin"})):
        answer = await browser.client.post(path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")


def browser_mark(page: str) -> str:
    return re.findall(r'name="csrf" value="([0-9a-f]+)"', page)[0]
