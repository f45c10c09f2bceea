"""The page of heartbeats: what must come again, whether it does, and what happens when it does not. And who may see it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.kit.clock import FakeClock
from tests.kit.hub import PLAIN, RunningHub, running_hub
from tests.web.rooms import BEGIN, look, said

pytestmark = pytest.mark.anyio
TOKEN = "heartbeat-token-0001"
CONFIG = BEGIN + f"""
receivers: [{{name: console, console_configs: [{{}}]}}]
targets: [{{name: agent-btc, type: agent, url: "http://127.0.0.1:9/"}}]
actions: [{{name: safe-mode, type: safe_mode, direction: tighten, target_label: agent}}]
heartbeats:
  - {{name: nightly, interval: 1d, grace: 1h, receiver: console, token: {TOKEN},
      actions: [{{name: safe-mode, targets: [agent-btc]}}]}}
  - {{name: watchdog, matchers: ['alertname="Watchdog"'], interval: 2m, receiver: console, severity: warning}}
  - {{name: weekly, cron: "0 3 * * 1", grace: 1h, time_zone: Europe/Istanbul, receiver: console}}
route: {{receiver: console}}
"""


@pytest.fixture
async def hub(clock: FakeClock) -> AsyncIterator[RunningHub]:
    async with running_hub(CONFIG, clock=clock) as running:
        yield running


async def test_each_says_how_it_comes_and_what_happens_when_it_stays_away(hub: RunningHub) -> None:
    words = said(await look(hub, "/heartbeats", "vera"))
    assert "nightly new" in words
    assert "/heartbeats/nightly, with its token as bearer, every 1 d, and 1 h of grace" in words
    assert "An incident of severity critical at console; safe-mode on agent-btc" in words
    assert 'Alerts with alertname="Watchdog", every 2 min' in words
    assert "An incident of severity warning at console" in words
    assert "at 0 3 * * 1 (Europe/Istanbul)" in words
    assert "3 not heard of yet." in words


async def test_its_token_is_nowhere_on_the_page(hub: RunningHub) -> None:
    answer = await hub.get("/heartbeats", headers={"authorization": "Bearer the-shared-token-of-all"})
    assert TOKEN not in answer.text


async def test_what_was_seen_and_what_is_missing_is_said_and_the_missing_come_first(hub: RunningHub, clock: FakeClock) -> None:
    ping = await hub.get("/heartbeats/nightly", headers={"authorization": f"Bearer {TOKEN}"})
    assert ping.text == "ok"
    clock.advance(minutes=1)
    words = said(await look(hub, "/heartbeats"))
    assert "alive 1 min ago 2026-11-21 03:00 UTC in 1 d 59 min 2026-11-22 04:00 UTC" in words
    assert "All that were heard of come in time. 2 not heard of yet." in words


@pytest.mark.parametrize("path", ["/heartbeats", "/heartbeats/"])
async def test_the_page_is_not_open_although_what_lies_below_it_is(hub: RunningHub, path: str) -> None:
    locked = await hub.get(path)
    assert (locked.status_code, "watchdog" in locked.text) == (401, False)
    assert "watchdog" in (await look(hub, path)).text


@pytest.mark.parametrize("path", ["/heartbeats//", "/heartbeats/%2F", "/static/", "/runbooks/", "/respond/", "/hooks/"])
async def test_no_other_form_of_such_an_address_shows_anything(hub: RunningHub, path: str) -> None:
    answer = await hub.get(path)
    assert answer.status_code in (401, 404, 405)
    assert "watchdog" not in answer.text


async def test_without_any_it_says_what_one_is_for(clock: FakeClock) -> None:
    async with running_hub(PLAIN, clock=clock) as hub:
        words = said(await look(hub, "/heartbeats"))
        assert "None is watched. A heartbeat is what must come again in time" in words
