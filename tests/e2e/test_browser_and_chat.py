"""What is done on a page is seen in chat, and what is done in chat on the page: one state everywhere, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.kit.binaries import eventually
from tests.kit.browser import PHONE, SECONDS, launch
from tests.kit.hub_people import SHOWN_WITHIN, Scene, people_and_hub

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.anyio]


@asynccontextmanager
async def visiting(scene: Scene, **more: object) -> AsyncIterator[Page]:
    """Somebody before the page of an incident that has just begun. It fails afterwards when a script threw."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(**launch())
        context = await browser.new_context(base_url=scene.hub.url, **more)     # type: ignore[arg-type]
        context.set_default_timeout(SECONDS * 1000)
        thrown: list[str] = []
        context.on("weberror", lambda error: thrown.append(str(error.error)))
        page = await context.new_page()
        await page.goto("/incidents/1")
        yield page
        await context.close()
        await browser.close()
        assert thrown == []


@pytest.mark.parametrize("more", [{}, {"viewport": PHONE}, {"java_script_enabled": False}], ids=["desktop", "phone", "no script"])
async def test_an_acknowledgement_on_the_page_is_shown_in_slack_and_everywhere(more: dict[str, object]) -> None:
    async with people_and_hub() as scene:
        await scene.fires("DiskFull")
        before = scene.places.in_slack("DiskFull")
        assert "ACKNOWLEDGED" not in before.text
        async with visiting(scene, **more) as page:
            await page.get_by_role("button", name="Acknowledge").click()
            await expect(page.get_by_text("You have #1 now.")).to_be_visible()
            await eventually(lambda: scene.places.shows("DiskFull", "ACKNOWLEDGED by local (this machine)"), SHOWN_WITHIN,
                             "Slack and Telegram show who has it")
            await eventually(lambda: scene.places.paged("DiskFull") == ["trigger", "acknowledge"], SHOWN_WITHIN, "PagerDuty too")
            assert scene.places.in_slack("DiskFull").ts == before.ts       # the live message itself, no other one
            await page.get_by_role("button", name="Give back").click()
            await expect(page.get_by_text("Nobody has it.", exact=True)).to_be_visible()
            await eventually(lambda: "ACKNOWLEDGED" not in scene.places.in_slack("DiskFull").text, SHOWN_WITHIN, "given back")
        await scene.quiet()
        assert scene.places.objections() == []


async def test_a_press_in_slack_is_shown_on_the_page_that_is_open() -> None:
    async with people_and_hub() as scene:
        await scene.fires("DiskFull")
        async with visiting(scene) as page:
            await expect(page.locator(".live")).to_have_text("live")
            await scene.press(scene.places.button("DiskFull", "Acknowledge"))
            await expect(page.get_by_text("ayse has it", exact=True)).to_be_visible()
            await expect(page.get_by_role("button", name="Give back")).to_be_visible()
            # The messages on the page end with the one by which Slack was told, and say under which name it is known there.
            await expect(page.locator("#messages li", has_text="slack:#alerts: sent (acknowledged)")).to_be_visible()
            await expect(page.locator("#messages")).to_contain_text(f"ts={scene.places.in_slack('DiskFull').ts}")


async def test_what_is_insisted_on_here_is_over_there() -> None:
    async with people_and_hub() as scene:
        await scene.fires("DiskFull")
        async with visiting(scene) as page:
            await page.get_by_role("button", name="Resolve").click()
            assert (await scene.incident("DiskFull"))["status"] == "triggered"
            await page.get_by_role("button", name="Resolve anyway").click()
            await eventually(lambda: scene.places.shows("DiskFull", "RESOLVED"), SHOWN_WITHIN, "over everywhere")
