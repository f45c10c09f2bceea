"""The pages in a real browser, as people see them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from alerthub.cli import GRACE_SECONDS
from tests.kit.binaries import LOCAL
from tests.kit.browser import DESKTOP, PHONE, is_wider_than_its_window, visit
from tests.kit.hub import PLAIN
from tests.kit.hub_process import HubProcess
from tests.kit.webhooks import alert, webhook

pytestmark = [pytest.mark.browser, pytest.mark.slow]
CONFIG = "server: {listen: '${HUB_LISTEN}'}\n" + PLAIN
SIZES = [pytest.param(DESKTOP, id="desktop"), pytest.param(PHONE, id="phone")]
# A script that ran would leave a mark.
RUNS = ["<script>window.pwned=1</script>", "\"><img src=x onerror=window.pwned=1>", "</title><svg/onload=window.pwned=1>",
        "'-window.pwned=1-'", "<iframe srcdoc='<script>parent.pwned=1</script>'>", "javascript:window.pwned=1",
        "</script><script>window.pwned=1</script>", "{{window.pwned=1}}", "<details open ontoggle=window.pwned=1>"]


@pytest.fixture(scope="module")
def hub() -> Iterator[HubProcess]:
    with HubProcess(CONFIG) as running:
        yield running


def fires(hub: HubProcess, name: str, **labels: str) -> int:
    """An alert of this name; the number of its incident."""
    assert hub.post(webhook(alert(name, **labels))) == 200
    return next(one["number"] for one in hub.incidents("open") if name in one["title"])


def over(hub: HubProcess, name: str, **labels: str) -> None:
    assert hub.post(webhook(alert(name, "resolved", **labels))) == 200


def asked(hub: HubProcess, number: int, verb: str, **body: str) -> None:
    assert httpx.post(f"{hub.url}/api/v1/incidents/{number}/{verb}", json=body, **LOCAL).status_code == 200


def is_live(page: Page) -> None:
    expect(page.locator(".live")).to_have_text(re.compile("^live"))


def row(page: Page, number: int) -> Locator:
    return page.locator(f"#incident-{number}")


# -- with the hand

def test_an_incident_is_found_opened_and_taken(browser: Browser, hub: HubProcess) -> None:
    fires(hub, "DiskFull")
    with visit(browser, hub.url) as page:
        page.get_by_text("DiskFull").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("DiskFull")
        page.get_by_role("button", name="Acknowledge").click()
        expect(page.get_by_role("status").filter(has_text="You have #")).to_be_visible()
        expect(page.get_by_text("local (this machine) has it").first).to_be_visible()


def test_without_scripts_everything_can_be_done(browser: Browser, hub: HubProcess) -> None:
    number = fires(hub, "NoScript", team="plain")
    with visit(browser, hub.url, scripts=False) as page:
        page.get_by_label("Team").fill("plain")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("ol.incidents li")).to_have_count(1)
        page.get_by_label(f"Choose #{number}").check()
        page.get_by_role("button", name="Acknowledge chosen").click()
        expect(page.get_by_text(f"You have #{number} now.")).to_be_visible()
        expect(page.get_by_label("Team")).to_have_value("plain")
        page.get_by_text("NoScript").first.click()
        page.get_by_role("button", name="Resolve").click()
        expect(page.get_by_text("Resolve it anyway?")).to_be_visible()
        page.get_by_role("button", name="Resolve anyway").click()
        expect(page.get_by_text("although 1 alert still fires").first).to_be_visible()


def test_a_wrong_filter_is_explained(browser: Browser, hub: HubProcess) -> None:
    with visit(browser, hub.url) as page:
        page.get_by_label("Labels").fill("team==")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("at character 6")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_nobody_need_scroll_sideways(browser: Browser, hub: HubProcess, size: dict[str, int], dark: bool, scripts: bool) -> None:
    number = fires(hub, "X" * 200, team="y" * 200, host="h" * 100)
    with visit(browser, hub.url, size=size, dark=dark, scripts=scripts) as page:
        expect(row(page, number)).to_be_visible()
        for path in ("/", f"/incidents/{number}", f"/incidents/{number}?ask=resolve", "/?matcher=%3D%3D"):
            page.goto(path)
            assert not is_wider_than_its_window(page), path


def test_rows_that_are_not_seen_yet_take_the_room_that_they_will(browser: Browser, hub: HubProcess) -> None:
    """They are laid out when they come into sight. A row that knew its size badly would move those below it."""
    assert hub.post(webhook(*[alert(f"Row{number}", team="rows", host="h" * number) for number in range(50)])) == 200
    with visit(browser, hub.url) as page:
        page.goto("/?team=rows")
        height = page.evaluate("document.documentElement.scrollHeight")
        heights = {page.locator("ol.incidents li").nth(number).bounding_box()["height"] for number in (0, 20, 49)}   # type: ignore[index]
        page.locator("ol.incidents li").last.scroll_into_view_if_needed()
        expect(page.locator("ol.incidents li").last).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollHeight") == height
        assert len(heights) == 1


@pytest.mark.parametrize("size", SIZES)
def test_ten_places_fit_into_the_header(browser: Browser, hub: HubProcess, size: dict[str, int]) -> None:
    with visit(browser, hub.url, size=size) as page:
        assert page.locator("header nav a").count() == 10
        assert not is_wider_than_its_window(page)
        page.get_by_role("link", name="Configuration", exact=True).scroll_into_view_if_needed()
        expect(page.get_by_role("link", name="Configuration", exact=True)).to_be_in_viewport()
        assert page.locator("body > header").bounding_box()["height"] < 100      # type: ignore[index]


# -- with the keys

def test_the_keys_move_open_and_leave(browser: Browser, hub: HubProcess) -> None:
    fires(hub, "KeyOne", team="keys", severity="critical")
    fires(hub, "KeyTwo", team="keys", severity="error")
    with visit(browser, hub.url) as page:
        page.goto("/?team=keys")
        focused = page.locator("a.title:focus")
        for key, name in (("j", "KeyOne"), ("j", "KeyTwo"), ("j", "KeyTwo"), ("k", "KeyOne"), ("k", "KeyOne")):
            page.keyboard.press(key)
            expect(focused).to_contain_text(name)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("KeyOne")
        page.keyboard.press("Escape")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Open incidents")


def test_the_keys_acknowledge_and_ask_before_they_resolve(browser: Browser, hub: HubProcess) -> None:
    number = fires(hub, "KeyAck", team="keyack")
    with visit(browser, hub.url) as page:
        page.goto("/?team=keyack")
        page.keyboard.press("j")
        page.keyboard.press("a")
        expect(page.get_by_text(f"You have #{number} now.")).to_be_visible()
        page.keyboard.press("j")
        page.keyboard.press("r")
        expect(page.get_by_text("Resolve it anyway?")).to_be_visible()
        page.goto(f"/incidents/{number}")
        page.keyboard.press("r")
        question = page.get_by_role("dialog")
        expect(question).to_contain_text("KeyAck")
        page.keyboard.press("Escape")
        expect(question).to_have_count(0)
        assert hub.api(f"incidents/{number}")["status"] == "acknowledged"
        page.keyboard.press("r")
        question.get_by_role("button", name="Resolve", exact=True).click()
        expect(page.get_by_text("Resolve it anyway?")).to_be_visible()


def test_a_key_is_only_a_letter_while_one_types_and_with_a_modifier(browser: Browser, hub: HubProcess) -> None:
    number = fires(hub, "KeyType", team="keytype")
    with visit(browser, hub.url) as page:
        page.goto("/?team=keytype")
        page.keyboard.press("/")
        expect(page.locator("#search")).to_be_focused()
        page.keyboard.type("jar?/")
        expect(page.locator("#search")).to_have_value("jar?/")
        page.keyboard.press("Escape")
        expect(page.locator("#search")).not_to_be_focused()
        page.keyboard.press("j")
        page.keyboard.press("Control+a")
        page.keyboard.press("Alt+r")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("acknowledge it")
        page.keyboard.press("a")        # the dialog is in front of it
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        assert hub.api(f"incidents/{number}")["status"] == "triggered"


# -- live

def test_a_change_appears_without_a_reload(browser: Browser, hub: HubProcess) -> None:
    number = fires(hub, "LiveOne", team="live")
    with visit(browser, hub.url) as page:
        page.goto("/?team=live")
        is_live(page)
        page.evaluate("window.same = true")
        fires(hub, "LiveTwo", team="live", severity="critical")
        expect(page.locator("ol.incidents li")).to_have_count(2)
        asked(hub, number, "acknowledge", by="ayse")
        expect(row(page, number)).to_contain_text("ayse (API) has it")
        over(hub, "LiveTwo", team="live", severity="critical")
        expect(page.locator("ol.incidents li")).to_have_count(1)
        assert page.evaluate("window.same")


def test_nothing_moves_under_the_pointer(browser: Browser, hub: HubProcess) -> None:
    number = fires(hub, "HoverOne", team="hover")
    with visit(browser, hub.url) as page:
        page.goto("/?team=hover")
        is_live(page)
        row(page, number).hover()
        page.get_by_label(f"Choose #{number}").check()
        before = row(page, number).bounding_box()
        fires(hub, "HoverTwo", team="hover", severity="critical")
        bar = page.get_by_role("button", name="1 change, show")
        expect(bar).to_be_visible()
        asked(hub, number, "comment", comment="x")
        expect(page.locator("ol.incidents li")).to_have_count(1)
        assert row(page, number).bounding_box() == before
        bar.click()
        expect(page.locator("ol.incidents li")).to_have_count(2)
        expect(bar).to_have_count(0)
        expect(page.get_by_label(f"Choose #{number}")).to_be_checked()


def test_who_walks_by_keys_keeps_the_row_until_n_shows_what_is_new(browser: Browser, hub: HubProcess) -> None:
    number = fires(hub, "WalkOne", team="walk")
    with visit(browser, hub.url) as page:
        page.goto("/?team=walk")
        is_live(page)
        page.keyboard.press("j")
        fires(hub, "WalkTwo", team="walk", severity="critical")
        expect(page.locator(".news")).to_be_visible()
        expect(row(page, number).locator("a.title")).to_be_focused()
        page.keyboard.press("n")
        expect(page.locator("ol.incidents li")).to_have_count(2)
        expect(page.locator(".news")).to_have_count(0)


def test_what_is_gone_stays_in_its_place_until_one_leaves(browser: Browser, hub: HubProcess) -> None:
    first, second = fires(hub, "GoneOne", team="gone", severity="critical"), fires(hub, "GoneTwo", team="gone")
    with visit(browser, hub.url) as page:
        page.goto("/?team=gone")
        is_live(page)
        row(page, second).hover()
        before = row(page, second).bounding_box()
        over(hub, "GoneOne", team="gone", severity="critical")
        expect(row(page, first)).to_have_class(re.compile("gone"))
        assert row(page, second).bounding_box() == before
        page.mouse.move(5, 5)
        expect(row(page, first)).to_have_count(0)


def test_who_types_is_not_disturbed(browser: Browser, hub: HubProcess) -> None:
    number = fires(hub, "TypeOne", team="typing")
    with visit(browser, hub.url) as page:
        page.goto(f"/incidents/{number}")
        is_live(page)
        page.locator("textarea").fill("I am just")
        page.locator("#silence-custom summary").click()
        page.locator("textarea").focus()
        asked(hub, number, "acknowledge", by="ayse")
        expect(page.get_by_text("ayse (API) has it").first).to_be_visible()
        expect(page.locator("textarea")).to_have_value("I am just")
        expect(page.locator("textarea")).to_be_focused()
        expect(page.locator("#silence-custom")).to_have_attribute("open", "")


def test_a_button_does_not_become_another_under_the_pointer(browser: Browser, hub: HubProcess) -> None:
    number = fires(hub, "ButtonOne")
    with visit(browser, hub.url) as page:
        page.goto(f"/incidents/{number}")
        is_live(page)
        page.get_by_role("button", name="Acknowledge").hover()
        asked(hub, number, "acknowledge", by="ayse")
        expect(page.get_by_text("Acknowledged by ayse (API)")).to_be_visible()
        expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()
        page.mouse.move(5, 5)
        expect(page.get_by_role("button", name="Give back")).to_be_visible()


def test_a_page_that_is_not_live_says_since_when_and_comes_back(browser: Browser) -> None:
    with HubProcess(CONFIG) as hub:
        context = browser.new_context(base_url=hub.url)
        page = context.new_page()
        page.goto("/")
        is_live(page)
        began = time.monotonic()
        hub.stop()
        assert time.monotonic() - began < GRACE_SECONDS / 2     # although a page is open: its stream is let go
        expect(page.locator(".live.away")).to_have_text(re.compile(r"Not live since [0-9]{2}:[0-9]{2} UTC"), timeout=20_000)
        hub.start()
        is_live(page)
        context.close()


# -- what strangers write

@pytest.mark.parametrize("size", SIZES)
def test_nothing_that_a_stranger_wrote_runs(browser: Browser, hub: HubProcess, size: dict[str, int]) -> None:
    for text in RUNS:
        one = alert(text, severity=text, team=text, host=text, **{text: text})
        one["annotations"] = {"summary": text, "description": text, "runbook_url": text, text: text}
        one["generatorURL"] = text
        assert hub.post(webhook(one)) == 200
    hostile = [one["number"] for one in hub.incidents("open") if "pwned" in one["title"]]
    assert len(hostile) == len(RUNS)
    for number, text in zip(hostile, RUNS, strict=True):
        asked(hub, number, "acknowledge", by=text)
        asked(hub, number, "comment", comment=text, by=text)
        asked(hub, number, "silence", comment=text, duration="4h")
    with visit(browser, hub.url, size=size) as page:
        for text in RUNS:
            for name in ("q", "team", "matcher", "status"):
                page.goto(f"/?{httpx.QueryParams({name: text})}")
                assert page.evaluate("window.pwned") is None, (name, text)
        for number in hostile:
            page.goto(f"/incidents/{number}")
            is_live(page)
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert page.evaluate("window.pwned") is None
            assert not page.locator("main a[href^='javascript']").count()
