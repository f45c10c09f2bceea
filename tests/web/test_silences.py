"""`/api/v1/silences`: made, listed, ended; what must not be one is refused with what would be right."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from alerthub.flow import silencing
from alerthub.store import silences
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub
from tests.sources.cases import JUNK

pytestmark = pytest.mark.anyio
PATH = "/api/v1/silences"
DISK = ['alertname="DiskFull"']


@pytest.fixture
def api(hub: RunningHub) -> httpx.AsyncClient:
    return hub.client


async def add(api: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await api.post(PATH, json={"matchers": DISK, "duration": "4h", **body})


def problem_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


async def test_one_that_is_made_holds_and_is_listed(api: httpx.AsyncClient, hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing(), at=clock.now()))
    answer = await add(api, matchers=['alertname="DiskFull", agent=""'], comment="swap", created_by="ayse")
    assert answer.status_code == 201
    made = answer.json()
    assert made["matchers"] == ['alertname="DiskFull"', 'agent=""']
    assert (made["number"], made["state"], made["created_by"], made["comment"]) == (1, "active", "ayse (API)", "swap")
    assert made["ends_at"] == "2026-11-21T07:00:00+00:00"
    assert (await api.get(PATH)).json() == {"items": [made], "next": None}
    incident = await hub.json("/api/v1/incidents/1")
    event = incident["events"][-1]
    assert (event["text"], event["actor"]) == (
        "Silenced by ayse (API) until 2026-11-21 07:00 UTC: swap", "account:ayse (API)")


@pytest.mark.parametrize(("query", "name"), [({"by": "mehmet"}, "mehmet (API)"), ({}, "api (API)"),
                                            ({"by": "m\n\x00\u202e" + "x" * 500}, f"m {'x' * 97}… (API)")])
async def test_who_ends_one_is_named_with_the_door(api: httpx.AsyncClient, hub: RunningHub, clock: FakeClock,
                                                   query: dict[str, str], name: str) -> None:
    await hub.hub.take(batch(firing(), at=clock.now()))
    await add(api)
    assert (await api.delete(f"{PATH}/1", params=query)).status_code == 200
    event = (await hub.json("/api/v1/incidents/1"))["events"][-1]
    assert (event["text"], event["actor"]) == (f"Silence ended by {name}: it still fires", f"account:{name}")


async def test_one_that_is_ended_is_over(api: httpx.AsyncClient, clock: FakeClock) -> None:
    await add(api)
    clock.advance(minutes=5)
    for _ in range(2):
        answer = await api.delete(f"{PATH}/1")
        assert answer.status_code == 200
        assert (answer.json()["state"], answer.json()["ends_at"]) == ("expired", "2026-11-21T03:05:00+00:00")
        clock.advance(minutes=5)
    assert [(await api.get(PATH, params={"state": state})).json()["items"] == [] for state in ("active", "expired", "all", "")] \
        == [True, False, False, True]


@pytest.mark.parametrize(("ends", "expected"), [
    ({"ends_at": "2026-11-21T04:00:00Z"}, "2026-11-21T04:00:00+00:00"),
    ({"ends_at": "2026-11-21T07:00:00+03:00"}, "2026-11-21T04:00:00+00:00"),
    ({"duration": "tomorrow"}, "2026-11-21T09:00:00+00:00"), ({"duration": "2d"}, "2026-11-23T03:00:00+00:00"),
])
async def test_its_end_is_given_either_way(api: httpx.AsyncClient, ends: dict[str, str], expected: str) -> None:
    answer = await api.post(PATH, json={"matchers": DISK, **ends})
    assert answer.json()["ends_at"] == expected


@pytest.mark.parametrize(("body", "word"), [
    ({}, "matchers: must be a list"), ({"matchers": "x"}, "matchers: must be a list"), ({"matchers": [1]}, "list of texts"),
    ({"matchers": [], "duration": "1h"}, "a matcher is missing"), ({"matchers": [""], "duration": "1h"}, "a matcher is missing"),
    ({"matchers": ["x"], "duration": "1h"}, "at character 2"), ({"matchers": ['a=~"("'], "duration": "1h"}, "at character"),
    ({"matchers": ['a=~".*"'], "duration": "1h"}, "cover everything"),
    ({"matchers": ['a="x"'] * 51, "duration": "1h"}, "at most 50"),
    ({"matchers": DISK}, "either ends_at or duration"), ({"matchers": DISK, "duration": "1h", "ends_at": "x"}, "either"),
    ({"matchers": DISK, "duration": "soon"}, "write a time span such as 1h"),
    ({"matchers": DISK, "duration": 4}, "must be texts"),
    ({"matchers": DISK, "ends_at": "tomorrow"}, "RFC 3339"), ({"matchers": DISK, "ends_at": "2026-11-21T03:00:30Z"}, "later"),
    ({"matchers": DISK, "ends_at": "2020-01-01T00:00:00Z"}, "later"),
    ({"matchers": DISK, "ends_at": "2028-01-01T00:00:00Z"}, "year"),
    ({"matchers": DISK, "ends_at": "0001-01-01T00:00:00Z"}, "RFC 3339"), ({"matchers": DISK, "ends_at": None}, "must be texts"),
    ({"matchers": DISK, "duration": "1h", "comment": None}, "must be texts"),
    ({"matchers": DISK, "until": "1h"}, "no such field"),
])
async def test_what_must_not_be_one_is_refused_with_what_would_be_right(api: httpx.AsyncClient, body: Any, word: str) -> None:
    assert word in problem_of(await api.post(PATH, content=json.dumps(body)), 400)
    assert (await api.get(PATH, params={"state": "all"})).json()["items"] == []


@pytest.mark.parametrize("body", JUNK)
async def test_junk_is_a_bad_question(api: httpx.AsyncClient, body: bytes) -> None:
    assert problem_of(await api.post(PATH, content=body), 400)


async def test_a_body_that_is_too_large_or_has_nul_in_it_does_no_harm(api: httpx.AsyncClient) -> None:
    assert problem_of(await api.post(PATH, content=b" " * 300_000), 413)
    answer = await api.post(PATH, content=b'{"matchers": ["a=\\"x\\\\u0000\\""], "duration": "1h", "comment": "\\u0000\\ud800"}')
    assert answer.status_code in (201, 400)
    answer = await add(api, comment="a\x00b\nc", created_by="\x1b[0m")
    assert "\x00" not in answer.json()["comment"]


@pytest.mark.parametrize("reference", ["0", "2", "999999999999999", "9" * 30, "x", "²", "٣", "%00", "-1", "1 "])
async def test_one_that_does_not_exist_cannot_be_ended(api: httpx.AsyncClient, reference: str) -> None:
    await add(api)
    assert "there is no silence" in problem_of(await api.delete(f"{PATH}/{reference}"), 404)
    assert len((await api.get(PATH)).json()["items"]) == 1


async def test_one_of_a_source_is_shown_and_ended_there(api: httpx.AsyncClient, hub: RunningHub, clock: FakeClock) -> None:
    made = (await add(api)).json()

    def unit(tx: Any) -> None:
        found = silences.find(tx, 1)
        assert found is not None
        theirs = type(found)("", 0, found.matchers, found.starts_at, found.ends_at, "bob", "by hand", "", "r1")
        silencing.compare(tx, "alertmanager", [theirs], clock.now(), writes=False)

    await hub.store.write(unit)
    theirs, ours = (await api.get(PATH)).json()["items"]
    assert ours == made
    assert (theirs["source"], theirs["remote_id"], theirs["comment"]) == ("alertmanager", "r1", "by hand")
    assert "was made in alertmanager; end it there" in problem_of(await api.delete(f"{PATH}/{theirs['number']}"), 409)


@pytest.mark.parametrize(("query", "word"), [
    ({"state": "open"}, "state must be one of active, all, expired"), ({"limit": "0"}, "limit must be"),
    ({"before": "x"}, "before")])
async def test_a_bad_question_says_what_would_be_right(api: httpx.AsyncClient, query: dict[str, str], word: str) -> None:
    assert word in problem_of(await api.get(PATH, params=query), 400)


async def test_pages_have_no_gaps(api: httpx.AsyncClient) -> None:
    for _ in range(5):
        await add(api)
    first = (await api.get(PATH, params={"limit": 3})).json()
    second = (await api.get(PATH, params={"limit": 3, "before": first["next"]})).json()
    assert [item["number"] for item in first["items"] + second["items"]] == [5, 4, 3, 2, 1]
    assert second["next"] is None
