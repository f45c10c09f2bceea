"""The outside dead man's switch: asked for while the hub can do its work, and only then (R-28)."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerthub.app import Hub
from alerthub.config import load
from alerthub.errors import Busy
from tests.kit.providers.http import FakeProvider

pytestmark = pytest.mark.anyio
TEXT = """
server: {{ping: {{url: "{url}", interval: 30s}}}}
database: {{url: "sqlite:///{folder}/hub.db"}}
receivers: [{{name: all, console_configs: [{{}}]}}]
route: {{receiver: all}}
"""


def hub_at(folder: Path, url: str) -> Hub:
    (folder / "alerthub.yml").write_text(TEXT.format(url=url, folder=folder))
    hub = Hub(load(folder / "alerthub.yml", {}))
    hub.migrate()
    return hub


async def test_the_switch_is_asked_for_while_the_hub_works(tmp_path: Path) -> None:
    async with FakeProvider() as switch:
        hub = hub_at(tmp_path, f"{switch.url}/ping/secret-key")
        await hub.rounds.make_due()
        assert [(request.method, request.path) for request in switch.requests] == [("GET", "/ping/secret-key")]
        await hub.stop()


async def test_the_switch_is_not_asked_for_when_nothing_can_be_stored(tmp_path: Path) -> None:
    async with FakeProvider() as switch:
        hub = hub_at(tmp_path, f"{switch.url}/ping/secret-key")
        hub.store.writer.close()
        with pytest.raises(Busy):
            await hub.ping()
        assert not switch.requests
        await hub.stop()


async def test_a_switch_that_leads_elsewhere_is_a_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with FakeProvider() as switch:
        hub = hub_at(tmp_path, f"{switch.url}/ping/secret-key")
        switch.script(302, headers={"location": "about:blank"})
        await hub.ping()
        assert "dead man's switch answered 302" in caplog.text
        await hub.stop()


async def test_a_switch_that_is_away_is_a_line_in_the_log_without_its_address(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hub = hub_at(tmp_path, "http://127.0.0.1:1/ping/secret-key")
    await hub.ping()
    assert "dead man's switch does not answer" in caplog.text
    assert "secret-key" not in caplog.text
    await hub.stop()
