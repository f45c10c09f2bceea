"""Two replicas behind one name: who has logged in at one is known at the other, and a page of one shows what happens at the
other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.kit.browser import visit
from tests.kit.hub_process import HubProcess
from tests.kit.stores import database
from tests.kit.webhooks import alert, webhook

pytestmark = [pytest.mark.browser, pytest.mark.postgres, pytest.mark.slow]
SHARED, OWN = "the-shared-token-of-all", "own-token-of-ayse-0001"
CONFIG = f"""
server: {{listen: '${{HUB_LISTEN}}', api_token: {SHARED}}}
database: {{url: "DATABASE"}}
sources: [{{name: alertmanager, type: alertmanager}}]
people: [{{name: ayse, role: responder, api_token: {OWN}}}]
receivers: [{{name: console, console_configs: [{{}}]}}]
route: {{receiver: console, group_by: [alertname]}}
"""


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[tuple[HubProcess, HubProcess]]:
    with database("postgres", tmp_path) as url:
        one, two = (HubProcess(CONFIG.replace("DATABASE", url), api_token=SHARED) for _ in range(2))
        with one, two:
            yield one, two


def test_a_person_goes_from_one_to_the_other_and_sees_the_same(browser: Browser, replicas: tuple[HubProcess, HubProcess]) -> None:
    one, two = replicas
    with visit(browser, one.url, password=OWN) as page:
        expect(page.locator("body > header .live")).to_have_text("live")
        assert two.post(webhook(alert("DiskFull", severity="critical"))) == 200
        expect(page.locator("#incidents")).to_contain_text("DiskFull")
        # The proxy leads to the other one now: the same cookie, since the port is not of a cookie's concern.
        second = page.context.new_page()
        second.goto(f"{two.url}/incidents/1")
        expect(second.get_by_role("heading", level=1)).to_contain_text("DiskFull")
        second.get_by_role("button", name="Acknowledge").click()
        expect(second.locator(".said")).to_contain_text("You have #1")
        expect(page.locator("#incident-1")).to_contain_text("ayse")
        second.get_by_role("button", name="Log out").click()
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Log in")
