"""The pages with 10,000 open incidents, as a browser gets them: to the first byte and to the first thing it paints, beside a
static page of a bare application. In turns; first with a fresh browser, where nothing comes from a cache, every font is read anew
and our `Cross-Origin-Opener-Policy` makes the browser begin another process; then once more from another page of the same
application, as for whoever has the hub open."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import ExitStack
from typing import Any
from urllib.parse import urljoin

from playwright.async_api import Browser, async_playwright

from tests.bench.servers import Bare
from tests.kit.binaries import program, wait_until
from tests.kit.browser import DESKTOP
from tests.kit.hub import PLAIN
from tests.kit.hub_process import HubProcess
from tests.kit.webhooks import alert, webhook

CONFIG = "server: {listen: '${HUB_LISTEN}'}\nlog: {level: warning}\n" + PLAIN
OPEN, TOGETHER, TURNS = 10_000, 500, 15
SEVERITIES, TEAMS = ("critical", "error", "warning", "info"), ("trading", "ml", "platform")
PATHS = {"open incidents": "/", "by team": "/?team=ml", "by labels": "/?matcher=instance%3D~%22node-1.*%22",
         "one word that is nowhere": "/?q=nowhere", "one incident": "/incidents/5000"}
NEIGHBOUR = "/healthz"
TIMES = """new Promise(done => {
  const told = () => {
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    const [page] = performance.getEntriesByType('navigation');
    if (paint) done([page.responseStart - page.requestStart, page.responseEnd - page.requestStart, paint.startTime]);
    else requestAnimationFrame(told);
  };
  told();
})"""
Times = tuple[float, float, float, float]      # milliseconds to the first byte, the last one, the first paint; and that again


def labels(number: int) -> dict[str, str]:
    return {"severity": SEVERITIES[number % 4], "team": TEAMS[number % 3], "instance": f"node-{number}:9100", "zone": "eu-1"}


def fill(hub: HubProcess) -> None:
    for start in range(0, OPEN, TOGETHER):
        alerts = [alert(f"Alert{number:05}", **labels(number)) for number in range(start, start + TOGETHER)]
        assert hub.post(webhook(*alerts)) == 200
    wait_until(hub.is_quiet, 300, "everything is told")


async def pages() -> None:
    with ExitStack() as stack:
        hub = stack.enter_context(HubProcess(CONFIG))
        bare = stack.enter_context(Bare())
        await asyncio.to_thread(fill, hub)
        addresses = {"a bare static page": f"http://127.0.0.1:{bare.port}/page",
                     **{name: hub.url + path for name, path in PATHS.items()}}
        found = await measured(addresses)
    print(f"\n{OPEN:,} open incidents, SQLite, {TURNS} turns, medians in ms")
    print(f"{'':28} first byte  last byte  first paint  and again (highest)")
    for name, times in found.items():
        first, last, paint, again = zip(*times, strict=True)
        print(f"{name:28} {statistics.median(first):>10.1f} {statistics.median(last):>10.1f} {statistics.median(paint):>12.1f}"
              f" {statistics.median(again):>10.1f} {max(again):>9.1f}", flush=True)


async def measured(addresses: dict[str, str]) -> dict[str, list[Times]]:
    found: dict[str, list[Times]] = {name: [] for name in addresses}
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program("chromium", "chromium-browser"),
                                               args=["--no-sandbox", "--disable-dev-shm-usage"])
        for turn in range(TURNS + 1):
            for name, address in addresses.items():
                times = await visited(browser, address)
                if turn:        # the first one warms both up
                    found[name].append(times)
        await browser.close()
    return found


async def visited(browser: Browser, address: str) -> Times:
    context = await browser.new_context(viewport=DESKTOP)       # type: ignore[arg-type]
    page = await context.new_page()
    await page.goto(address, wait_until="commit")
    times: Any = await page.evaluate(TIMES)
    await page.goto(urljoin(address, NEIGHBOUR))
    await page.goto(address, wait_until="commit")
    again: Any = await page.evaluate(TIMES)
    await context.close()
    return times[0], times[1], times[2], again[2]
