"""Who looks on is told of changes: one look for all of them, a bounded number of them, and an end when the hub stops."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.datastructures import Headers

from alerthub.engine import live
from alerthub.engine.live import Listener, Live
from alerthub.errors import Busy
from alerthub.flow import access
from alerthub.web.pages.live import told
from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import PLAIN, RunningHub, asgi, running_hub
from tests.kit.visitors import ADMIN, cheap, member
from tests.web.test_api import problem_of
from tests.web.test_login import PEOPLE

pytestmark = pytest.mark.anyio
SOON = 5.0


async def heard(listener: Listener, kind: str = "changed") -> tuple[str, ...]:
    """The next news, which must be of this kind."""
    async with asyncio.timeout(SOON):
        found, ids = await listener.next()
    assert found == kind
    return ids


async def settled(looking: Live) -> None:
    """Returns when the first look is over."""
    while not looking.store.looks:      # type: ignore[attr-defined]
        await asyncio.sleep(0)


class Rows:
    """A store of which only the looks are counted; each gives the next of the answers, then nothing new."""

    def __init__(self, *answers: object) -> None:
        self.answers, self.looks = list(answers), 0

    async def read(self, unit: object) -> Any:
        await asyncio.sleep(0)
        self.looks += 1
        answer = self.answers.pop(0) if self.answers else frozenset()
        if isinstance(answer, Exception):
            raise answer
        return None, answer


def watch(*answers: object) -> tuple[Live, Rows]:
    rows = Rows(*answers)
    return Live(rows, FakeClock()), rows      # type: ignore[arg-type]


async def test_all_hear_of_one_look() -> None:
    watched, rows = watch(frozenset({"a"}))
    with watched.listening() as one, watched.listening() as other:
        assert await heard(one) == await heard(other) == ("a",)
        assert rows.looks == 1


async def test_while_nobody_looks_on_nothing_is_looked_at() -> None:
    watched, rows = watch()
    watched.nudge()
    for _ in range(20):
        await asyncio.sleep(0)
    assert rows.looks == 0
    with watched.listening():
        await settled(watched)
        assert watched.looking is not None
    assert watched.looking is None


async def test_a_nudge_makes_the_next_look_come_at_once() -> None:
    watched, _ = watch(frozenset(), frozenset({"b"}))
    with watched.listening() as listener:
        await settled(watched)
        began = asyncio.get_running_loop().time()
        watched.nudge()
        assert await heard(listener) == ("b",)
        assert asyncio.get_running_loop().time() - began < live.APART


async def test_what_a_slow_one_has_not_heard_is_told_together() -> None:
    listener = Listener()
    listener.tell(frozenset({"b"}))
    listener.tell(frozenset({"a"}))
    assert await heard(listener) == ("a", "b")
    assert not listener.told.is_set()


@pytest.mark.parametrize("news", [
    [None], [frozenset({"a"}), None], [None, frozenset({"a"})], [frozenset(map(str, range(live.NAMED + 1)))],
])
async def test_too_many_to_name_are_simply_many(news: list[frozenset[str] | None]) -> None:
    listener = Listener()
    for one in news:
        listener.tell(one)
    assert await heard(listener) == ()
    listener.tell(frozenset({"z"}))
    assert await heard(listener) == ("z",)


async def test_exactly_so_many_are_named() -> None:
    listener = Listener()
    listener.tell(frozenset(map(str, range(live.NAMED))))
    assert len(await heard(listener)) == live.NAMED


async def test_a_database_that_is_away_is_said_and_that_it_is_back() -> None:
    watched, _ = watch(Busy("away"), Busy("away"), frozenset())
    with watched.listening() as listener:
        assert await heard(listener, "away") == ()
        watched.nudge()
        await asyncio.sleep(0)
        watched.nudge()
        assert await heard(listener) == ()      # whatever has changed meanwhile


async def test_there_are_only_so_many() -> None:
    watched, _ = watch()
    watched.listeners |= {Listener() for _ in range(live.LISTENERS - 1)}
    assert not watched.is_full
    with watched.listening():
        assert watched.is_full
        with watched.listening() as late:       # between the question and the stream another was first
            await heard(late, "over")
    assert not watched.is_full


async def test_at_the_end_everybody_is_let_go() -> None:
    watched, _ = watch()
    with watched.listening() as listener:
        watched.close()
        await heard(listener, "over")
        await heard(listener, "over")
        assert watched.is_full
        assert watched.looking is None
    with watched.listening() as late:
        await heard(late, "over")


# -- over the web

async def test_a_change_is_told_as_an_event_that_names_only_the_incident(clock: FakeClock) -> None:
    async with running_hub(clock=clock) as hub:
        stream = told(hub.hub.live)
        assert (await anext(stream)).event == "hello"
        coming = asyncio.ensure_future(anext(stream))
        while not hub.hub.live.listeners:
            await asyncio.sleep(0)
        await hub.hub.take(batch(firing("DiskFull", team="secret"), at=clock.now()))
        hub.hub.nudge()
        async with asyncio.timeout(SOON):
            event = await coming
        (incident,) = await hub.incidents()
        assert event.event == "changed"
        assert set(json.loads(event.data)) <= {incident["id"]}
        await stream.aclose()       # type: ignore[attr-defined]
        assert not hub.hub.live.listeners


async def test_a_stream_ends_when_it_is_old() -> None:
    watched, _ = watch()
    assert [event.event async for event in told(watched, 0.0)] == ["hello"]
    assert not watched.listeners


async def test_a_stream_ends_when_the_hub_stops(hub: RunningHub) -> None:
    stream = told(hub.hub.live)
    await anext(stream)
    hub.hub.live.close()
    assert [event async for event in stream] == []


async def test_a_stream_ends_with_the_right_to_look_on_and_is_asked_between_events_too() -> None:
    watched, _ = watch()
    answers = iter([True, True, False])

    async def may_look() -> bool:
        watched.each(lambda listener: listener.tell(frozenset({"i-1"})))
        return next(answers)

    async with asyncio.timeout(SOON):
        assert [event.event async for event in told(watched, may_look=may_look, every=0.0)] == ["hello", "changed", "changed"]
    assert not watched.listeners


@pytest.mark.parametrize("end", ["log out", "log out everywhere", "disable", "leave the configuration"])
async def test_whoever_may_not_look_any_more_is_not_still_there(clock: FakeClock, end: str) -> None:
    async with running_hub(PLAIN + PEOPLE, clock=clock) as hub:
        cheap(hub)
        browser, gate = await member(hub, "ayse"), hub.client._transport.app.routed.state.gate     # type: ignore[attr-defined]
        headers = Headers({"cookie": "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())})
        visitor = await gate.visitor(headers, is_marked=False)
        assert await gate.is_still(visitor, headers)
        hub.store.error = Busy("the database is away")
        assert await gate.is_still(visitor, headers)
        hub.store.mend()
        now = clock.now()
        if end == "disable":
            await hub.store.write(lambda tx: access.disable(tx, hub.hub.rules, ADMIN, "ayse", now))
        elif end == "leave the configuration":
            hub.path.write_text(hub.path.read_text().replace("name: ayse,", "name: another,"))
            assert hub.hub.reload() == []
        else:
            everywhere = end.endswith("everywhere")
            await hub.store.write(lambda tx: access.leave(tx, "ayse", visitor.session, now, everywhere=everywhere))
        assert not await gate.is_still(visitor, headers)


async def test_of_who_is_on_this_machine_the_database_is_not_asked(hub: RunningHub, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = hub.client._transport.app.routed.state.gate      # type: ignore[attr-defined]
    visitor = await gate.local()

    async def read(unit: object) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(hub.hub.store, "read", read)
    assert await gate.is_still(visitor, Headers({}))
    hub.open_door(api_token="0123456789abcdef")
    assert not await gate.is_still(visitor, Headers({}))


async def test_a_reader_that_goes_away_is_forgotten(hub: RunningHub) -> None:
    messages = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]
    async with asyncio.timeout(SOON):
        assert await asgi(hub.hub.web(), "GET", "/live", [(b"host", b"127.0.0.1:8095")], messages) == 200
    assert not hub.hub.live.listeners


async def test_a_head_opens_no_stream(hub: RunningHub) -> None:
    answer = await hub.client.head("/live")
    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    assert not hub.hub.live.listeners


async def test_when_there_are_too_many_it_is_said_when_to_come_again(hub: RunningHub) -> None:
    hub.hub.live.close()
    answer = await hub.get("/live")
    assert "not live" in problem_of(answer, 503)
    assert answer.headers["retry-after"] == "30"


async def test_what_is_said_once_is_left_for_the_page_that_a_person_looks_at(hub: RunningHub, clock: FakeClock) -> None:
    await hub.hub.take(batch(firing("DiskFull"), at=clock.now()))
    answer = await hub.fill("/incidents/1/acknowledge")
    assert answer.status_code == 303
    seen = [("You have #1 now." in (await hub.get("/incidents/1", headers=headers)).text)
            for headers in ({"x-live": "1"}, {}, {})]
    assert seen == [False, True, False]


async def test_a_stranger_is_told_nothing(hub: RunningHub) -> None:
    hub.open_door(api_token="0123456789abcdef")
    assert (await hub.get("/live")).status_code == 401
    hub.open_door(api_token="", is_loopback=False)
    assert (await hub.get("/live")).status_code == 401
