"""The rooms on the other database: each page is shown and each form is taken there as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.alerts import batch, firing
from tests.kit.clock import FakeClock
from tests.kit.hub import running_hub
from tests.kit.stores import database
from tests.web import test_page_deliveries as deliveries
from tests.web import test_page_oncall as oncall
from tests.web.rooms import look, press, said, told

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
CONFIG = oncall.CONFIG + "heartbeats: [{name: nightly, interval: 1d, receiver: console}]\n"
PAGES = ("/oncall", "/oncall?month=2026-12", "/actions", "/actions?state=failed", "/silences", "/silences?state=expired",
         "/silences?matchers=host%3D%22db-1%22", "/deliveries", "/deliveries?destination=x", "/deliveries/log?channel=email",
         "/deliveries/log?incident=1&state=failed", "/deliveries/1", "/heartbeats")
GIVEN = {"matchers": 'alertname="DiskFull"', "ends": "4h", "comment": "a\0b"}


async def test_every_page_is_shown_and_every_form_is_taken(tmp_path: Path) -> None:
    clock = FakeClock()
    with database("postgres", tmp_path) as url:
        async with running_hub(CONFIG, clock=clock, database=url) as hub:
            await hub.hub.take(batch(firing("DiskFull", host="db-1"), at=clock.now()))
            await hub.drain()
            await hub.hub.store.write(lambda tx: deliveries.give_up(tx, 2))
            for path in PAGES:
                await look(hub, path, "emre")
            for path, fields, words in (
                    ("/oncall/overrides", oncall.SWAP, "pia is on call"), ("/oncall/overrides/1/remove", {}, "Removed: pia"),
                    ("/silences", GIVEN, "Silence 1 holds"), ("/silences/1/end", {}, "is over"),
                    ("/deliveries/replay", {"destination": "email:ayse@example.com"}, "2 dead letters are sent again."),
                    ("/actions/say", {"verb": "freeze", "about": "", "why": "x\0y"}, "All actions are frozen."),
                    ("/actions/say", {"verb": "unfreeze", "about": ""}, "not frozen any more")):
                answer = await press(hub, path, "emre", key=clock.new_id(), **fields)
                assert words in said(await told(hub, answer, "emre")), path
