"""Bodies within limits of bytes and of time, and what is said of one that was not read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request

from alerthub.web.base import refusal
from alerthub.web.bodies import NoBody, TooLarge, read_body
from alerthub.web.refusals import Refusals, refusals

pytestmark = pytest.mark.anyio
PATIENT, HASTY = 60.0, 0.01
GONE = {"type": "http.disconnect"}


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def request(*events: dict[str, Any], length: str | None = None, app: Any = None) -> Request:
    """Its body arrives as these events; then it is silent."""
    left = list(events)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    headers = [] if length is None else [(b"content-length", length.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers, "app": app}, receive)


async def test_the_parts_of_a_body_become_one() -> None:
    assert await read_body(request(part(b"one", more=True), part(b"two")), 6, PATIENT) == b"onetwo"
    assert await read_body(request(part(b"")), 0, PATIENT) == b""


@pytest.mark.parametrize("length", ["7", "9" * 19, None, "3", "-1", "x", "9" * 20], ids=str)
async def test_one_that_is_too_large_is_not_read_to_its_end_whatever_was_announced(length: str | None) -> None:
    with pytest.raises(TooLarge, match="the body is larger than 6 bytes") as caught:
        await read_body(request(part(b"four", more=True), part(b"four", more=True), length=length), 6, PATIENT)
    assert caught.value.status == 413


@pytest.mark.parametrize(("late", "status"), [({}, 408), ({"late": 503}, 503)])
async def test_one_that_drips_is_cut_off(late: dict[str, int], status: int) -> None:
    with pytest.raises(NoBody, match=r"^the body did not arrive within 0 s$") as caught:
        await read_body(request(part(b"half", more=True)), 6, HASTY, **late)
    assert caught.value.status == status


async def test_a_sender_that_goes_away_is_no_trouble() -> None:
    with pytest.raises(NoBody, match="the sender went away before the body was complete") as caught:
        await read_body(request(part(b"half", more=True), GONE), 6, PATIENT)
    assert caught.value.status == 400


async def test_after_a_body_that_was_not_read_the_connection_is_closed() -> None:
    answer = refusal(TooLarge(6))
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert json.loads(bytes(answer.body))["detail"] == "the body is larger than 6 bytes"


def test_each_name_and_reason_is_said_once_a_minute() -> None:
    told = Refusals()
    assert [told.is_news("slack", "401", now) for now in (0.0, 59.9, 60.0, 119.9)] == [True, False, True, False]
    assert told.is_news("slack", "403", 60.0)
    assert told.is_news("telegram", "401", 60.0)


def test_every_door_of_an_application_remembers_for_itself() -> None:
    one = request(app=Starlette())
    assert refusals(one, "hooks") is refusals(one, "hooks")
    assert refusals(one, "hooks") is not refusals(one, "replies")
