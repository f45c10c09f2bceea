"""The record in a real browser: a report is written by two people, an alert is tried, pictures fit a phone, no script is
needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.kit.browser import PHONE, is_wider_than_its_window, visit
from tests.kit.hub import PLAIN
from tests.kit.hub_process import HubProcess
from tests.kit.webhooks import alert, webhook

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CONFIG = "server: {listen: '${HUB_LISTEN}'}\n" + PLAIN.replace(
    "group_by: [alertname]}", "group_by: [alertname], routes: [{matchers: ['severity=\"critical\"'], receiver: console}]}")
LONG = "Very" * 40
PATHS = ["/incidents/1/report", "/analytics", "/configuration?labels=severity=critical", "/audit"]


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with HubProcess(CONFIG) as running:
        assert running.post(webhook(alert("DiskFull", severity="critical", host=LONG))) == 200
        yield running


def write(page: Page, text: str) -> None:
    """In the form as it was loaded."""
    page.get_by_role("textbox").fill(text)
    page.get_by_role("button", name="Save").click()


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_two_who_write_a_report_at_once_lose_nothing(browser: Browser, hub: HubProcess, scripts: bool) -> None:
    with pytest.raises(AssertionError, match="409"), two_pages(browser, hub, scripts=scripts) as (first, second):
        for page in (first, second):
            page.goto("/incidents/1/report")
            page.locator("details.edit > summary").click()
        write(first, f"# Theirs {scripts}\n\nThe feed was **late**.")
        expect(first.get_by_role("status")).to_contain_text("Saved as version")
        expect(first.locator("article strong")).to_have_text("late")
        write(second, "# Mine\n\nThe disk was full.")
        expect(second.get_by_text("while you were writing")).to_be_visible()
        expect(second.get_by_role("textbox")).to_have_value("# Mine\n\nThe disk was full.")
        expect(second.locator("pre.differs")).to_contain_text(f"-# Theirs {scripts}")
        write(second, f"# Both {scripts}\n\nThe feed was late, the disk was full.")
        expect(second.get_by_role("status")).to_contain_text("Saved as version")
        expect(second.get_by_role("heading", name=f"Both {scripts}")).to_be_visible()
        second.locator("table.rows a").nth(1).click()
        expect(second.get_by_role("heading", name=f"Theirs {scripts}")).to_be_visible()


@contextmanager
def two_pages(browser: Browser, hub: HubProcess, *, scripts: bool) -> Iterator[tuple[Page, Page]]:
    """That one is answered 409 is what the browser writes down in the end, and nothing else."""
    with visit(browser, hub.url, scripts=scripts) as first, visit(browser, hub.url, scripts=scripts) as second:
        yield first, second


def test_a_report_is_taken_away_as_a_file(browser: Browser, hub: HubProcess) -> None:
    with visit(browser, hub.url) as page:
        page.goto("/incidents/1/report")
        with page.expect_download() as taken:
            page.get_by_role("link", name="Export as Markdown").click()
        assert taken.value.suggested_filename == "incident-1-report.md"
        assert taken.value.path().read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_an_alert_is_tried_and_nothing_is_sent(browser: Browser, hub: HubProcess, scripts: bool) -> None:
    with visit(browser, hub.url, scripts=scripts) as page:
        page.get_by_role("link", name="Configuration").click()
        page.get_by_label("Its labels").fill("alertname=Tried\nseverity=critical")
        page.get_by_role("button", name="Test").click()
        expect(page.get_by_text("goes here", exact=False).first).to_be_visible()
        expect(page.get_by_role("heading", name="console by route.routes[0]")).to_be_visible()
    assert not any("Tried" in one["title"] for one in hub.incidents())


def test_the_record_is_checked_at_a_press(browser: Browser, hub: HubProcess) -> None:
    with visit(browser, hub.url) as page:
        page.get_by_role("link", name="Audit").click()
        page.get_by_role("button", name="Check the whole record").click()
        expect(page.locator(".said")).to_contain_text("being checked")
        page.goto("/audit")
        expect(page.get_by_text("as it was written")).to_be_visible()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_a_phone_need_not_scroll_sideways(browser: Browser, hub: HubProcess, path: str, dark: bool) -> None:
    with visit(browser, hub.url, size=PHONE, dark=dark) as page:
        page.goto(path)
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        assert not is_wider_than_its_window(page)


def test_the_words_of_a_picture_stay_readable_on_a_phone(browser: Browser, hub: HubProcess) -> None:
    with visit(browser, hub.url, size=PHONE) as page:
        page.goto("/analytics")
        heights = page.locator("svg.bands text").evaluate_all("found => found.map(one => one.getBoundingClientRect().height)")
        assert heights
        assert min(heights) >= 10
        page.get_by_text("Incidents by day: the numbers").click()
        expect(page.locator("figure table").first).to_be_visible()
