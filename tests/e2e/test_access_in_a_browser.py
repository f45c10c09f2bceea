"""Who may enter, in a real browser: from the link of the console to a wrong password, another site's form, and single sign-on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.kit.binaries import wait_until
from tests.kit.browser import PHONE, is_wider_than_its_window, visit
from tests.kit.hub import PLAIN
from tests.kit.hub_process import HubProcess
from tests.kit.providers.oidc import FakeOidc
from tests.kit.served import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]
TOKEN, PASSWORD = "the-token-of-the-api", "four words make sense"
PEOPLE = "people: [{name: ayse, role: responder, email: ayse@example.com}]\n"
CONFIG = "server: {listen: '${HUB_LISTEN}', api_token: " + TOKEN + "}\n" + PLAIN + PEOPLE


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with HubProcess(CONFIG, api_token=TOKEN) as running:
        yield running


def setup_link(hub: HubProcess) -> str:
    return wait_until(lambda: re.findall(r"/setup/[\w-]+", hub.logs()), what="the link on the console")[0]


@contextmanager
def opened(browser: Browser, base: str, **more: Any) -> Iterator[Page]:
    """A fresh browser that may be told no: Chromium calls every such answer an error."""
    context = browser.new_context(base_url=base, **more)
    try:
        yield context.new_page()
    finally:
        context.close()


def fill(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in", exact=True).click()


def test_from_the_console_to_a_password_and_out_again(browser: Browser, hub: HubProcess) -> None:
    """Without a script, on a phone: set up, look, log out, guess wrong, wait, come back."""
    with opened(browser, hub.url, viewport=PHONE, java_script_enabled=False) as page:
        page.goto("/")
        expect(page).to_have_url(f"{hub.url}/login")
        page.goto(setup_link(hub))
        page.get_by_label("Name").fill("boss")
        page.get_by_label("Password, 12 characters or more").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Become the admin").click()
        expect(page.locator(".visitor")).to_contain_text("boss")
        assert page.context.cookies()[0]["httpOnly"]
        before = {one["value"] for one in page.context.cookies()}
        page.get_by_role("button", name="Log out", exact=True).click()
        expect(page).to_have_url(f"{hub.url}/login")
        page.goto("/incidents/7?x=1")
        told = []
        while len(told) < 20 and "Too many wrong guesses" not in "".join(told):
            fill(page, "boss", "not the four words")
            told.append(page.get_by_role("alert").inner_text())
        assert "do not belong together" in told[0]
        assert 5 < len(told) < 20, "the waiting has begun"
        while page.locator(".visitor").count() == 0:        # a minute at most
            fill(page, "boss", PASSWORD)
            page.wait_for_load_state()
        expect(page).to_have_url(f"{hub.url}/incidents/7?x=1")
        assert not before & {one["value"] for one in page.context.cookies() if one["name"] == "alerthub_session"}


def test_the_pages_of_the_door_fit_a_phone(browser: Browser, hub: HubProcess) -> None:
    with opened(browser, hub.url, viewport=PHONE) as page:
        for path in ("/login", "/setup/none"):
            page.goto(path)
            assert not is_wider_than_its_window(page)


@pytest.fixture
def evil(hub: HubProcess) -> Iterator[str]:
    """Another site on this machine: for a browser another origin, of the same site, so that cookies come with what it posts."""
    page = f"""<form id=f method=post action="{hub.url}/logout"><input name=everywhere value=yes>
        <button>Win a prize</button></form>
        <iframe src="{hub.url}/login"></iframe>""".encode()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_another_site_can_neither_press_a_button_nor_frame_a_page(browser: Browser, hub: HubProcess, evil: str) -> None:
    with opened(browser, hub.url) as page:
        page.goto("/login")
        page.get_by_text("With a token of the configuration").click()
        page.get_by_label(re.compile("^Token")).fill(TOKEN)
        page.get_by_role("button", name="Log in with the token").click()
        expect(page.locator(".visitor")).to_contain_text("API")
        page.goto(evil)
        assert page.frames[1].url.startswith("chrome-error://"), "it is not framed"
        page.get_by_role("button", name="Win a prize").click()
        expect(page.locator("body")).to_contain_text("started by another site")
        page.goto(f"{hub.url}/account")
        expect(page.locator(".visitor")).to_contain_text("API")


def test_single_sign_on_in_a_browser(browser: Browser) -> None:
    provider = FakeOidc()
    config = "server: {listen: '${HUB_LISTEN}', public_url: 'http://${HUB_LISTEN}'}\n" + PLAIN + PEOPLE + provider.config()
    with served(provider.running()), HubProcess(config) as hub:
        for fault in ("state", "nonce", "audience", "expired", "key"):
            provider.fault = fault
            with opened(browser, hub.url) as page:
                page.goto("/")
                page.get_by_role("link", name="Log in with the company").click()
                expect(page.get_by_role("heading", level=1)).to_have_text("You are not let in")
                page.goto("/")
                expect(page).to_have_url(f"{hub.url}/login")
        provider.fault = ""
        with visit(browser, hub.url) as page:
            page.goto("/account")
            page.get_by_role("link", name="Log in with the company").click()
            expect(page).to_have_url(f"{hub.url}/account")
            expect(page.locator("h1")).to_have_text("ayse")
