"""`python -m tests.bench soak [--minutes 8] [--rate 50]`: does the memory of a hub under steady load stay flat? RSS each half
minute, and the slope of the second half."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Sequence

from alerthub.clock import SystemClock
from tests.bench.bodies import Fleet
from tests.bench.load import requests
from tests.bench.provider import Provider
from tests.bench.servers import WEBHOOK, Hub

CLOCK = SystemClock()
ALERTS, CONNECTIONS = 10, 8
STEP = 30.0
PAGES = ("/api/v1/incidents?limit=50", "/metrics", "/health", "/api/v1/deliveries?limit=50")


async def soak(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench soak")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--rate", type=int, default=50, help="webhooks a second")
    options = parser.parse_args(arguments)
    async with Provider() as provider:
        with Hub(provider.url, group_by="[alertname, instance]", channel=WEBHOOK) as hub:
            print(f"\n{options.rate} webhooks/s of {ALERTS} alerts for {options.minutes:g} min; 70 % repeats, 10 % new, "
                  "20 % resolved; "
                  "an incident for each alert, one signed webhook for each change; lists, metrics and health once a second")
            print("minute  RSS MiB  answered", flush=True)
            statuses: Counter[str] = Counter()
            until = time.monotonic() + options.minutes * 60
            fleet = Fleet(11, 0.7, 0.1)
            posting = [asyncio.create_task(post(hub, fleet, options.rate / CONNECTIONS, until, statuses))
                       for _ in range(CONNECTIONS)]
            looking = asyncio.create_task(look(hub, until))
            points = await watch(hub, until, statuses)
            await asyncio.gather(*posting, looking)
            half = points[len(points) // 2:]
            print(f"slope of the second half: {slope(half) * 60:+.2f} MiB a minute; highest {hub.memory('VmHWM'):.0f} MiB; "
                  f"answers {dict(statuses)}")


async def post(hub: Hub, fleet: Fleet, rate: float, until: float, statuses: Counter[str]) -> None:
    """One connection: so many webhooks a second, whatever the answers take."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    began, sent = time.monotonic(), 0
    while time.monotonic() < until:
        (request,) = requests("/hooks/alertmanager", list(fleet.bodies(1, ALERTS)))
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
        statuses[head[9:12].decode()] += 1
        sent += 1
        await CLOCK.sleep(max(0.0, began + sent / rate - time.monotonic()))
    writer.close()


async def look(hub: Hub, until: float) -> None:
    while time.monotonic() < until:
        for page in PAGES:
            reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
            writer.write(f"GET {page} HTTP/1.1\r\nHost: 127.0.0.1:{hub.port}\r\nConnection: close\r\n\r\n".encode())
            await reader.read()
            writer.close()
        await CLOCK.sleep(1.0)


async def watch(hub: Hub, until: float, statuses: Counter[str]) -> list[tuple[float, float]]:
    began, points = time.monotonic(), []
    while time.monotonic() < until:
        await CLOCK.sleep(min(STEP, max(0.0, until - time.monotonic())))
        points.append((time.monotonic() - began, hub.memory("VmRSS")))
        print(f"{points[-1][0] / 60:>6.1f}  {points[-1][1]:>7.1f}  {sum(statuses.values()):>8}", flush=True)
    return points


def slope(points: Sequence[tuple[float, float]]) -> float:
    """MiB a second, by least squares."""
    if len(points) < 2:
        return 0.0
    mean_x, mean_y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
    over = sum((x - mean_x) * (y - mean_y) for x, y in points)
    return over / sum((x - mean_x) ** 2 for x, _ in points)
