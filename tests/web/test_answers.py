"""The API of answers: whose body was not read is told why, with the status that the other doors have for it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import RunningHub

pytestmark = pytest.mark.anyio
PATH = "/api/v1/incidents/1/acknowledge"


async def test_a_body_that_is_too_large_is_413(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing(), at=clock.now()))
    answer = await hub.client.post(PATH, content=json.dumps({"by": "x" * 70_000}))
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert answer.json()["detail"] == "the body is larger than 65536 bytes"
    assert (await hub.json("/api/v1/incidents/1"))["status"] == "triggered"


async def test_a_body_that_drips_is_408(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing(), at=clock.now()))
    hub.open_door(body_seconds=0.01)

    async def drips() -> Any:
        yield b'{"by": '
        await asyncio.Event().wait()

    answer = await hub.client.post(PATH, content=drips())
    assert (answer.status_code, "did not arrive within" in answer.json()["detail"]) == (408, True)


@pytest.mark.parametrize("body", [b"[", b"[]", b'{"who": "ayse"}', b'{"by": 7}'])
async def test_a_body_that_means_nothing_is_400(hub: RunningHub, body: bytes) -> None:
    assert (await hub.client.post(PATH, content=body)).status_code == 400


async def test_the_name_that_somebody_gives_themselves_is_one_line_beside_the_door(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing(), at=clock.now()))
    assert (await hub.client.post(PATH, json={"by": "ayse\n\u202e\x00 x"})).status_code == 200
    assert (await hub.json("/api/v1/incidents/1"))["acknowledged_by"] == "ayse x (API)"
