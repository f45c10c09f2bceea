"""`/heartbeats/{name}`: ok after commit, 404 for a stranger's name, 401 without the token, 503 when it cannot be stored."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from alerthub.domain.heartbeat import State
from alerthub.domain.matcher import parse_matchers
from alerthub.domain.rules import HeartbeatRule
from alerthub.errors import Busy
from alerthub.flow import beat
from alerthub.store import heartbeats as store
from alerthub.web import heartbeats
from alerthub.web.app import route
from tests.kit.clock import START, FakeClock
from tests.kit.hub import HERE, RunningHub

pytestmark = pytest.mark.anyio
TOKEN = "0123456789abcdef"
ETL = HeartbeatRule("etl", timedelta(minutes=10), "console")
SECRET = replace(ETL, name="secret", token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest())
NIGHTLY = HeartbeatRule("backup", timedelta(0), "console", grace=timedelta(minutes=30), cron="0 3 * * *",
                        time_zone="Europe/Istanbul", severity="warning", actions=(("safe-mode", ("agent-btc",)),))
WATCHDOG = HeartbeatRule("watchdog", timedelta(minutes=2), "console", matchers=parse_matchers('alertname="Watchdog"'))
HOSTILE = ["nobody", "ETL", "etl ", " etl", "%00", "etl%00", "%ff%fe", "%ed%a0%80", "' OR 1=1 --", "..%2fetl", "x" * 5000,
           "²", "%0d%0a", "<script>", "None", "*", "watchdog"]


@pytest.fixture
async def client(hub: RunningHub) -> AsyncIterator[httpx.AsyncClient]:
    """At the door of a hub that watches these."""
    use(hub, ETL, SECRET, NIGHTLY, WATCHDOG)
    await hub.hub.store.write(lambda tx: beat.start(tx, hub.hub.rules, hub.hub.clock.now()))
    routes = [*route("/heartbeats/{name}", heartbeats.ping, "GET", "POST"),
              *route("/heartbeats/{name}/{token}", heartbeats.ping, "GET", "POST"),
              *route("/api/v1/heartbeats", heartbeats.list_heartbeats)]
    app = Starlette(routes=routes)
    app.state.hub = hub.hub
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as found:
        yield found


def use(hub: RunningHub, *rules: HeartbeatRule) -> None:
    plant = hub.hub.equipment.plant
    fresh = replace(plant.rules, heartbeats={rule.name: rule for rule in rules})
    hub.hub.equipment = replace(hub.hub.equipment, plant=replace(plant, rules=fresh))


async def state(hub: RunningHub, name: str = "etl") -> Any:
    return (await hub.hub.store.read(store.read))[name]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/heartbeats/etl", "/heartbeats/etl/"])
async def test_a_ping_is_ok_when_it_is_stored(hub: RunningHub, client: httpx.AsyncClient, clock: FakeClock, method: str,
                                             path: str) -> None:
    clock.advance(minutes=1)
    answer = await client.request(method, path, content=b"exit code 0" if method == "POST" else None)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.text == "ok" or method == "HEAD"
    known = await state(hub)
    assert (known.state, known.seen_at) == (State.alive, START + timedelta(minutes=1))


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name[:12]))
async def test_a_name_that_nobody_configured_is_404_and_changes_nothing(hub: RunningHub, client: httpx.AsyncClient,
                                                                       name: str) -> None:
    before = await hub.hub.store.read(store.read)
    answer = await client.get(f"/heartbeats/{name}")
    assert answer.status_code == 404
    assert len(answer.content) < 500
    assert await hub.hub.store.read(store.read) == before


@pytest.mark.parametrize(("path", "headers", "status"), [
    ("", {}, 401), ("", {"authorization": f"Bearer {TOKEN}"}, 200), ("", {"authorization": f"bearer  {TOKEN} "}, 200),
    ("", {"authorization": f"Bearer {TOKEN}x"}, 401), ("", {"authorization": f"Basic {TOKEN}"}, 401),
    ("", {"authorization": "Bearer "}, 401), ("", {"authorization": b"Bearer \xff\xfe"}, 401),
    (f"/{TOKEN}", {}, 200), (f"/{TOKEN}/", {}, 200), ("/wrong", {}, 401), ("/%00", {}, 401), ("/%ff", {}, 401),
    ("/wrong", {"authorization": f"Bearer {TOKEN}"}, 401), (f"?token={TOKEN}", {}, 401),
])
async def test_one_with_a_token_is_beaten_by_those_who_have_it(hub: RunningHub, client: httpx.AsyncClient, path: str,
                                                               headers: dict[str, Any], status: int) -> None:
    answer = await client.get(f"/heartbeats/secret{path}", headers=headers)
    assert answer.status_code == status
    assert (await state(hub, "secret")).state is (State.alive if status == 200 else State.new)
    assert TOKEN not in answer.text


async def test_its_door_is_open_to_those_who_may_not_use_the_api(hub: RunningHub, client: httpx.AsyncClient) -> None:
    hub.open_door(api_token="another-secret", is_loopback=False)
    assert (await hub.get("/api/v1/heartbeats")).status_code == 401
    assert (await hub.get("/heartbeats/etl")).text == "ok"
    assert (await hub.client.post("/heartbeats/secret", headers={"authorization": f"Bearer {TOKEN}"})).text == "ok"


async def test_a_token_that_nobody_asked_for_does_no_harm(client: httpx.AsyncClient) -> None:
    assert (await client.get("/heartbeats/etl/anything")).status_code == 200


async def test_a_busy_database_is_503_and_no_beat(hub: RunningHub, client: httpx.AsyncClient,
                                                  caplog: pytest.LogCaptureFixture) -> None:
    hub.store.error = Busy("the database is away")
    answer = await client.get("/heartbeats/etl")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["detail"] == "the database is away; send it again"
    assert "heartbeat answered 503" in caplog.text
    hub.store.mend()
    assert (await state(hub)).state is State.new


async def test_a_database_that_hangs_is_503_in_time(hub: RunningHub, client: httpx.AsyncClient) -> None:
    hub.open_door(commit_seconds=0.05)
    hub.store.hold()
    answer = await client.get("/heartbeats/etl")
    assert answer.status_code == 503
    assert "did not commit in time" in answer.json()["detail"]
    hub.store.mend()


async def test_it_is_answered_only_after_the_commit(hub: RunningHub, client: httpx.AsyncClient) -> None:
    gate = hub.store.hold()
    asking = asyncio.create_task(client.get("/heartbeats/etl"))
    await hub.turns()
    assert not asking.done()
    gate.set()
    assert (await asking).text == "ok"
    assert (await state(hub)).state is State.alive


async def test_one_that_was_missing_resolves_its_incident(hub: RunningHub, client: httpx.AsyncClient, clock: FakeClock,
                                                          caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(66):
        clock.advance(seconds=10)
        await hub.hub.store.write(lambda tx: beat.run_due(tx, hub.hub.rules, clock.now()))
    assert [title for title in await hub.titles(status="open") if "etl" in title] == ["heartbeat etl is missing"]
    hub.hub.worker.wake.clear()
    with caplog.at_level(logging.INFO):
        assert (await client.post("/heartbeats/etl")).status_code == 200
    assert not [title for title in await hub.titles(status="open") if "etl" in title]
    assert hub.hub.worker.wake.is_set(), "whoever was told of it is told that it is over"
    assert "incident resolved: Resolved: 1 alert cleared: AlerthubHeartbeatMissing" in caplog.text


async def test_the_list_shows_what_is_watched_and_no_token(client: httpx.AsyncClient, hub: RunningHub, clock: FakeClock) -> None:
    clock.advance(minutes=1)
    await client.get("/heartbeats/etl")
    use(hub, *hub.hub.rules.heartbeats.values(), replace(ETL, name="fresh"))
    answer = await client.get("/api/v1/heartbeats")
    listed = answer.json()
    assert listed["next"] is None
    etl, secret, backup, watchdog, fresh = listed["items"]
    assert etl == {
        "name": "etl", "state": "alive", "seen_at": "2026-11-21T03:01:00+00:00", "due_at": "2026-11-21T03:11:00+00:00",
        "since": "2026-11-21T03:00:00+00:00", "interval": "10 min", "grace": "0 s", "severity": "critical",
        "receiver": "console", "matchers": [], "actions": []}
    assert (secret["state"], secret["seen_at"]) == ("new", None)
    assert (backup["cron"], backup["time_zone"], backup["due_at"]) == (
        "0 3 * * *", "Europe/Istanbul", "2026-11-22T00:30:00+00:00")
    assert backup["actions"] == [{"name": "safe-mode", "targets": ["agent-btc"]}]
    assert watchdog["matchers"] == ['alertname="Watchdog"']
    assert (fresh["state"], fresh["due_at"], fresh["since"]) == ("new", None, None), "another replica was reloaded first"
    assert SECRET.token_sha256 not in answer.text
