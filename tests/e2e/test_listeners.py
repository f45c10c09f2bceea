"""Who listens: one replica of several asks Telegram, and another one goes on when it dies; Slack without an open port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import groupby
from typing import Any

import psycopg
import pytest

from tests.kit.binaries import eventually
from tests.kit.hub_people import AYSE, BY_SOCKET, CHAT, CLOCK, SHOWN_WITHIN, Places, Scene, hub_among
from tests.kit.postgres import fresh_database
from tests.kit.providers import slack_people
from tests.kit.providers.slack import visible
from tests.kit.providers.slack_people import interactivity
from tests.kit.providers.slack_socket import FakeSocketMode
from tests.kit.stores import migrated

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

TAKEN_OVER_WITHIN = 30.0        # seconds: issue 3


@pytest.fixture
def database() -> Iterator[str]:
    with fresh_database(migrated) as url:
        yield url


@pytest.fixture
async def replicas(database: str) -> AsyncIterator[tuple[Scene, Scene]]:
    """Two hubs on one database, with one bot."""
    places = Places()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(places.open())
        first = await stack.enter_async_context(hub_among(places, places.config(database)))
        second = await stack.enter_async_context(hub_among(places, places.config(database)))
        yield first, second


def pid_of(scene: Scene) -> int:
    assert scene.hub.process is not None
    return scene.hub.process.pid


async def listening_pid(database: str) -> int:
    """Of the replica that asks Telegram, as the lease has it: host/pid/…"""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        found = await (await connection.execute("select owner from leaders where name like 'listen telegram:%'")).fetchall()
    ((owner,),) = found
    return int(str(owner).split("/")[1])


async def acknowledgements(scene: Scene, name: str) -> list[str]:
    return [event["text"] for event in (await scene.incident(name))["events"] if event["kind"] == "acknowledged"]


async def pressed(scene: Scene, name: str) -> dict[str, Any]:
    """Somebody presses Acknowledge in Telegram."""
    key, message = scene.places.key(name, "Acknowledge"), scene.places.in_telegram(name).id
    return await scene.places.telegram.press(key, by=AYSE, chat=CHAT, message=message)


@pytest.mark.postgres
async def test_one_replica_asks_telegram_and_the_other_goes_on_when_it_is_killed(
        replicas: tuple[Scene, Scene], database: str) -> None:
    telegram = replicas[0].places.telegram
    await replicas[0].fires("DiskFull")
    await replicas[0].fires("CpuHot")
    await eventually(lambda: telegram.polls, SHOWN_WITHIN, "somebody polls")
    asking = await listening_pid(database)
    dies, lives = sorted(replicas, key=lambda scene: pid_of(scene) != asking)
    assert (pid_of(dies), telegram.conflicts) == (asking, 0)

    update = await pressed(lives, "DiskFull")
    await eventually(lambda: lives.places.shows("DiskFull", "ACKNOWLEDGED by ayse"), SHOWN_WITHIN, "the press is heard")
    await eventually(lambda: not telegram.updates, SHOWN_WITHIN, "the press is confirmed")
    await lives.quiet()             # so that the one that dies holds no delivery: of these, test_crash.py tells
    dies.hub.kill()
    killed_at, polls = CLOCK.monotonic(), telegram.polls
    await telegram.push(update)     # as if it had died before it could confirm: Telegram gives it again
    later = await pressed(lives, "CpuHot")
    await eventually(lambda: telegram.polls > polls, TAKEN_OVER_WITHIN, "the other one polls")
    assert CLOCK.monotonic() - killed_at < TAKEN_OVER_WITHIN
    await eventually(lambda: lives.places.shows("CpuHot", "ACKNOWLEDGED by ayse"), SHOWN_WITHIN, "what was pressed meanwhile")
    await eventually(lambda: not telegram.updates, SHOWN_WITHIN, "all is confirmed")
    assert await listening_pid(database) == pid_of(lives)

    dies.hub.start()
    await eventually(lambda: later["callback_query"]["id"] in telegram.toasts, SHOWN_WITHIN, "the button stops turning")
    await lives.quiet()
    assert await acknowledgements(lives, "DiskFull") == await acknowledgements(lives, "CpuHot") == ["Acknowledged by ayse"]
    assert (telegram.conflicts, await listening_pid(database)) == (0, pid_of(lives))
    assert all("query is too old" in str(one) for one in lives.places.objections())     # the one that was given twice


@pytest.mark.postgres
async def test_one_click_that_reaches_both_replicas_is_one_effect(replicas: tuple[Scene, Scene]) -> None:
    one, other = replicas
    await one.fires("DiskFull")
    token = one.places.button("DiskFull", "Acknowledge")
    click, other_click = one.pressing(token), one.pressing(token)
    answers = await asyncio.gather(*(scene.deliver(interactivity(payload, CLOCK.now()))
                                     for scene in replicas for payload in (click, other_click) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    await eventually(lambda: one.places.shows("DiskFull", "ACKNOWLEDGED by ayse"), SHOWN_WITHIN, "it is shown")
    await one.quiet()
    assert await acknowledgements(one, "DiskFull") == ["Acknowledged by ayse"]
    # What is said twice in a row is one thing to PagerDuty (PROTOCOLS 4.1); no other word came in between.
    assert [word for word, _ in groupby(one.places.paged("DiskFull"))] == ["trigger", "acknowledge"]
    assert "Traceback" not in one.hub.logs() + other.hub.logs()


async def test_a_press_and_a_line_through_slacks_web_socket() -> None:
    places = Places()
    async with places.open(), FakeSocketMode() as sockets:
        places.slack.socket_url = sockets.url
        async with hub_among(places, places.config(slack_hears=BY_SOCKET)) as scene:
            await sockets.connected(1)
            await scene.fires("DiskFull")
            asked = await sockets.send("slash_commands", slack_people.typed("list"), accepts_response_payload=True)
            assert "nobody has it: DiskFull" in visible((await sockets.acked(asked))["payload"])
            envelope = await sockets.send("interactive", scene.pressing(places.button("DiskFull", "Acknowledge")))
            assert await sockets.acked(envelope) == {"envelope_id": envelope}
            await eventually(lambda: places.shows("DiskFull", "ACKNOWLEDGED by ayse"), SHOWN_WITHIN, "it is shown everywhere")
            await eventually(lambda: places.paged("DiskFull") == ["trigger", "acknowledge"], SHOWN_WITHIN, "PagerDuty is told")
            refused = await scene.press("whatever")
            assert refused.status_code == 401      # no signing secret: nothing posted can be proved
            await scene.quiet()
            assert places.objections() == []
            assert "ticket-secret" not in scene.hub.log.read_text()
            assert sockets.handshakes == 1
