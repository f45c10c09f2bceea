"""`ETag`: what has not changed is not sent again, and nobody decides about what has changed since they looked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub, running_hub
from tests.kit.lived_api import CONFIG, TOKENS, lived_hub
from tests.kit.stores import database
from tests.web.test_api import problem_of

pytestmark = pytest.mark.anyio
ACKNOWLEDGE = "/api/v1/incidents/2/acknowledge"


@pytest.fixture(scope="module")
async def still() -> AsyncIterator[RunningHub]:
    """Of this one the tests ask, and change nothing."""
    async with lived_hub(FakeClock()) as hub:
        yield hub


@pytest.fixture
async def lived(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with lived_hub(clock) as hub:
        yield hub


async def tag(hub: RunningHub, path: str) -> str:
    found = (await hub.get(path)).headers["etag"]
    assert found.startswith('"')
    return found


async def run_path(hub: RunningHub) -> str:
    waiting = (await hub.json("/api/v1/actions/runs?state=awaiting_approval"))["items"]
    (run,) = [one for one in waiting if one["labels"]["alertname"] == "Drift"]
    return f"/api/v1/actions/runs/{run['id']}"


async def ask(hub: RunningHub, path: str, match: str, who: str = "", **more: Any) -> httpx.Response:
    headers = {"if-match": match, **({"authorization": f"Bearer {TOKENS[who]}"} if who else {})}
    return await hub.client.post(path, headers=headers, **more)


@pytest.mark.parametrize("path", ["/api/v1/incidents/2", "/api/v1/silences/1", "/api/v1/latches/agent-btc", "run"])
async def test_what_has_not_changed_is_not_sent_again(still: RunningHub, path: str) -> None:
    path = await run_path(still) if path == "run" else path
    known = await tag(still, path)
    for wanted in (known, f'"x", {known}', f"W/{known}", "*"):
        answer = await still.get(path, headers={"if-none-match": wanted})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", known)
    assert (await still.get(path, headers={"if-none-match": '"x"'})).status_code == 200
    assert await tag(still, path) == known


async def test_a_change_changes_the_tag(lived: RunningHub) -> None:
    before = await tag(lived, "/api/v1/incidents/2")
    await lived.client.post("/api/v1/incidents/2/comment", json={"comment": "I look"})
    assert await tag(lived, "/api/v1/incidents/2") != before
    assert (await lived.get("/api/v1/incidents/2", headers={"if-none-match": before})).status_code == 200


@pytest.mark.parametrize("verb", ["acknowledge", "resolve", "silence", "escalate", "comment", "unacknowledge"])
async def test_who_has_not_seen_the_last_change_is_told_so(lived: RunningHub, verb: str) -> None:
    seen = await tag(lived, "/api/v1/incidents/2")
    await lived.client.post("/api/v1/incidents/2/comment", json={"comment": "it is worse than it looks"})
    before = await lived.json("/api/v1/incidents/2")
    body = {"comment": "x"} if verb == "comment" else {}
    answer = await ask(lived, f"/api/v1/incidents/2/{verb}", seen, json=body)
    assert problem_of(answer, 412) == ("#2 has changed since you looked at it. Look again, and decide anew. Its state now: "
                                       f"{before['status']}.")
    assert answer.headers["etag"] == await tag(lived, "/api/v1/incidents/2")
    assert (await lived.json("/api/v1/incidents/2"))["events"] == before["events"]


async def test_who_has_seen_it_as_it_is_is_heard(lived: RunningHub) -> None:
    seen = await tag(lived, "/api/v1/incidents/2")
    told = await ask(lived, ACKNOWLEDGE, f'"0.x", {seen}')
    assert told.json()["outcome"] == "done", told.text
    assert (await ask(lived, "/api/v1/incidents/2/unacknowledge", "*")).json()["outcome"] == "done"


@pytest.mark.parametrize("match", ["", "x", '""', '"x"', 'W/"1.x"', '"0.0"', "5"])
async def test_a_tag_that_never_was_matches_nothing(still: RunningHub, match: str) -> None:
    assert problem_of(await ask(still, ACKNOWLEDGE, match), 412)
    assert (await still.json("/api/v1/incidents/2"))["status"] == "triggered"


async def test_a_message_that_was_sent_meanwhile_keeps_nobody_from_answering(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing(), at=clock.now()))
    seen = await tag(hub, "/api/v1/incidents/1")
    await hub.drain()
    assert await tag(hub, "/api/v1/incidents/1") != seen, "a delivery is part of the answer"
    assert (await ask(hub, "/api/v1/incidents/1/acknowledge", seen)).status_code == 200


async def test_a_run_that_was_decided_meanwhile_is_not_approved(lived: RunningHub) -> None:
    path = await run_path(lived)
    seen = await tag(lived, path)
    assert (await ask(lived, f"{path}/deny", seen, "ayse")).status_code == 200
    answer = await ask(lived, f"{path}/approve", seen, "emre")
    assert f"Its state now: {(await lived.json(path))['state']}." in problem_of(answer, 412)
    assert answer.headers["etag"] == await tag(lived, path) != seen


async def test_a_latch_is_released_by_who_has_seen_how_it_is(lived: RunningHub) -> None:
    path = "/api/v1/latches/agent-btc"
    seen = await tag(lived, path)
    answer = await ask(lived, f"{path}/override", '"0.x"', "emre", json={"why": "it is a test"})
    assert "Its state now: safe." in problem_of(answer, 412)
    assert answer.headers["etag"] == seen
    assert (await lived.json(path))["is_safe"]
    assert (await ask(lived, f"{path}/override", seen, "emre", json={"why": "it is a test"})).status_code == 200


async def test_a_silence_is_ended_by_who_has_seen_how_it_is(lived: RunningHub) -> None:
    path = "/api/v1/silences/1"
    seen = await tag(lived, path)
    answer = await lived.client.delete(path, headers={"if-match": '"x"'})
    assert "Its state now: active, until " in problem_of(answer, 412)
    assert answer.headers["etag"] == seen
    assert (await lived.json(path))["state"] == "active"
    assert (await lived.client.delete(path, headers={"if-match": seen})).json()["state"] == "expired"
    assert problem_of(await lived.client.delete(path, headers={"if-match": seen}), 412)


@pytest.mark.postgres
@pytest.mark.parametrize("verb", ["acknowledge", "silence"])
async def test_postgres_says_the_same(tmp_path: Any, clock: FakeClock, verb: str) -> None:
    with database("postgres", tmp_path) as url:
        async with running_hub(database=url, clock=clock) as hub:
            await hub.hub.take(batch(firing(host="a"), at=clock.now()))
            seen = await tag(hub, "/api/v1/incidents/1")
            assert (await hub.client.post("/api/v1/incidents/1/comment", json={"comment": "x"})).status_code == 200
            assert problem_of(await ask(hub, f"/api/v1/incidents/1/{verb}", seen), 412)
            assert (await ask(hub, f"/api/v1/incidents/1/{verb}", await tag(hub, "/api/v1/incidents/1"))).status_code == 200


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_an_account_is_disabled_only_as_it_was_seen(kind: str, tmp_path: Any) -> None:
    with database(kind, tmp_path) as url:
        async with running_hub(database=url) as hub:
            path = "/api/v1/accounts/selin"
            await hub.client.post("/api/v1/accounts", json={"name": "selin", "role": "responder"})
            seen = await tag(hub, path)
            assert (await ask(hub, f"{path}/disable", seen)).status_code == 200
            answer = await ask(hub, f"{path}/disable", seen)
            assert "Its state now: disabled." in problem_of(answer, 412)
            assert answer.headers["etag"] == await tag(hub, path)
            assert (await ask(hub, f"{path}/enable", '"nothing.0"')).status_code == 412
            assert (await hub.json(path))["is_disabled"]
            assert (await ask(hub, f"{path}/enable", await tag(hub, path))).status_code == 200
            assert (await hub.get(path, headers={"if-none-match": seen})).status_code == 304
            assert (await ask(hub, f"{path}x/disable", seen)).status_code == 404


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_an_override_is_taken_back_only_as_it_was_seen(kind: str, tmp_path: Any, clock: FakeClock) -> None:
    with database(kind, tmp_path) as url:
        async with running_hub(CONFIG, database=url, clock=clock) as hub:
            fields = {"person": "emre", "starts_at": "2026-11-23T09:00", "ends_at": "2027-11-23T18:00"}
            made = (await hub.client.post("/api/v1/schedules/primary/overrides", json=fields)).json()
            path = f"/api/v1/overrides/{made['id']}"
            assert await hub.json(path) == made
            seen = await tag(hub, path)
            assert (await hub.get(path, headers={"if-none-match": seen})).status_code == 304
            answer = await hub.client.delete(path, headers={"if-match": '"x.y"'})
            assert "now it is emre on primary from 2026-11-23T" in problem_of(answer, 412)
            assert answer.headers["etag"] == seen
            assert (await hub.client.delete(path, headers={"if-match": seen})).json() == {"removed": made["id"]}
            assert problem_of(await hub.client.delete(path, headers={"if-match": seen}), 404)
            assert problem_of(await hub.get(path), 404)


async def test_a_number_that_another_override_has_got_since_is_not_the_same(lived: RunningHub) -> None:
    path, listed = "/api/v1/overrides/1", "/api/v1/schedules/primary/overrides"
    seen = await tag(lived, path)
    assert (await lived.client.delete(path)).is_success
    fields = {"person": "ayse", "starts_at": "2026-11-23T09:00", "ends_at": "2027-11-23T18:00"}
    assert (await lived.client.post(listed, json=fields)).json()["id"] == 1
    assert problem_of(await lived.client.delete(path, headers={"if-match": seen}), 412)
    assert [one["person"] for one in (await lived.json(listed))["items"]] == ["ayse"]
