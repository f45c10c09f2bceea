"""The pages in a real browser, as people see them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.kit.browser import PHONE, chromium, is_wider_than_its_window, visit
from tests.kit.hub import PLAIN
from tests.kit.hub_process import HubProcess
from tests.kit.webhooks import alert, webhook

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CONFIG = "server: {listen: '${HUB_LISTEN}'}\n" + PLAIN


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with HubProcess(CONFIG) as running:
        yield running


def test_an_incident_is_found_and_opened(browser: Browser, hub: HubProcess) -> None:
    assert hub.post(webhook(alert("DiskFull"))) == 200
    with visit(browser, hub.url) as page:
        page.get_by_text("DiskFull").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("DiskFull")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_phone_need_not_scroll_sideways(browser: Browser, hub: HubProcess, scripts: bool) -> None:
    assert hub.post(webhook(alert("X" * 200))) == 200
    with visit(browser, hub.url, size=PHONE, scripts=scripts) as page:
        expect(page.get_by_text("X" * 200)).to_be_visible()
        assert not scripts or not is_wider_than_its_window(page)
