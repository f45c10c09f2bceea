"""A real browser, headless: Debian's Chromium, driven by Playwright. What a page does there and what the browser complains
about fails the test by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.kit.binaries import program

DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
SECONDS = 10.0          # that anything may take to appear on a busy machine


def launch() -> dict[str, Any]:
    """How it is started. `--no-sandbox`: in a container, as root, there is none to be had."""
    return {"executable_path": program("chromium", "chromium-browser"), "args": ["--no-sandbox", "--disable-dev-shm-usage"]}


@contextmanager
def chromium() -> Iterator[Browser]:
    """One for many tests: a start takes a second."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(**launch())
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser: Browser, base: str, *, size: dict[str, int] | None = None, scripts: bool = True, dark: bool = False,
          password: str = "", **more: Any) -> Iterator[Page]:
    """A person with a fresh browser, before the page at `base`. Fails afterwards when a script threw, or the content policy
    or the browser refused something of ours. `password`: a token of the hub's configuration, to log in with first."""
    context = browser.new_context(base_url=base, viewport=size or DESKTOP, java_script_enabled=scripts,      # type: ignore[arg-type]
                                  color_scheme="dark" if dark else "light", **more)
    context.set_default_timeout(SECONDS * 1000)
    complaints = heard(context)
    try:
        page = context.new_page()
        page.goto("/login" if password else "/")
        if password:
            page.get_by_text("With a token of the configuration").click()
            page.locator("input[name=token]").fill(password)
            page.get_by_role("button", name="Log in with the token").click()
            page.wait_for_url("**/")
        yield page
    finally:
        context.close()
    assert not complaints, complaints


def heard(context: BrowserContext) -> list[str]:
    """What scripts threw, and errors that the browser itself wrote down (a refused script, a file that is missing)."""
    found: list[str] = []
    context.on("weberror", lambda error: found.append(str(error.error)))
    context.on("console", lambda line: found.append(line.text) if line.type == "error" else None)
    return found


def is_wider_than_its_window(page: Page) -> bool:
    """Whether one has to scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def picture(page: Page, folder: Path, name: str) -> Path:
    """The whole page, for somebody to look at."""
    path = folder / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
