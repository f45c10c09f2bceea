"""Every address of the API that changes something: what cannot be taken as it was sent is refused in words, never with a 500."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from alerthub.web.app import ROUTES
from alerthub.web.openapi import plain
from alerthub.web.shapes.operations import OPERATIONS
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub
from tests.kit.lived_api import TOKENS, lived_hub
from tests.web.test_api import problem_of

pytestmark = pytest.mark.anyio
LARGE = b'{"why": "' + b"x" * 2 * 1024**2 + b'"}'       # more than any address of the API takes
KNOWN = {"reference": "1", "number": "1", "id": "1", "lane": "1", "target": "agent-btc", "person": "ayse"}
CHANGING = sorted({(method, plain(one.path)) for one in ROUTES if one.path.startswith("/api/v1/") and not one.path.endswith("/")
                   for method in (one.methods or set()) & {"POST", "PUT", "DELETE"}})
WITH_BODY = {(one.method, one.path) for one in OPERATIONS if one.body is not None}


@pytest.fixture
async def lived(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with lived_hub(clock) as hub:
        yield hub
        checking = getattr(hub.client._transport.app.routed.state, "checking", None)       # type: ignore[attr-defined]
        assert checking is None or await asyncio.to_thread(checking.ended.wait, 20)


async def send(hub: RunningHub, method: str, path: str, body: bytes, *, query: str = "", key: str = "k") -> httpx.Response:
    run = (await hub.json("/api/v1/actions/runs"))["items"][0]["id"]
    address = path.format_map({**KNOWN, "run": run, "name": "selin" if "accounts" in path else "primary"})
    headers = {"authorization": f"Bearer {TOKENS['emre']}", "if-match": '"0"', "idempotency-key": key}
    return await hub.client.request(method, address + query, content=body, headers=headers)


async def test_a_body_that_is_too_large_is_refused(lived: RunningHub) -> None:
    for method, path in CHANGING:
        answer = await send(lived, method, path, LARGE)
        assert answer.status_code < 500, (path, answer.text)
        if (method, path) in WITH_BODY:
            assert problem_of(answer, 413).startswith("the body is larger than"), path
        assert (answer.headers.get("connection") == "close") == (answer.status_code == 413), path


async def test_a_key_that_was_used_for_something_else_is_refused(lived: RunningHub) -> None:
    for method, path in CHANGING:
        for body, query in ((b"", ""), (b"{}", ""), (b'{"why": "a", "comment": "a"}', ""), (b'{"why": "b"}', ""), (b"", "?&")):
            answer = await send(lived, method, path, body, query=query)
            assert answer.status_code < 500, (path, answer.text)


@pytest.mark.parametrize("path", ["/api/v1/deliveries/replay", "/api/v1/audit/verify"])
async def test_where_no_body_is_read_the_address_must_be_the_same(lived: RunningHub, path: str) -> None:
    assert (await send(lived, "POST", path, b"")).is_success
    assert "was used before, for something else" in problem_of(await send(lived, "POST", path, b"", query="?&"), 422)
