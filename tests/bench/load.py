"""A closed-loop load generator for loopback: raw keep-alive connections, prepared bodies, bounded in count and time.

Run as a program; prints one JSON object. It does nothing but write and read, so that it is not what is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

from tests.bench.bodies import Fleet

MOST_SECONDS = 30.0


class Connection(asyncio.Protocol):
    """Sends the next body as soon as the last one is answered."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        request = self.run.next_request()
        if request is None:
            self.transport.close()
            return
        self.sent_at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self.run.answered(head[9:12].decode(), time.perf_counter() - self.sent_at)
        self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self.run.closed(error)


class Run:
    """One measurement: for `seconds`, or until the bodies are used up."""

    def __init__(self, requests: list[bytes], seconds: float, connections: int) -> None:
        self.requests, self.seconds, self.connections = requests, min(seconds, MOST_SECONDS), connections
        self.position = 0
        self.statuses: Counter[str] = Counter()
        self.times: list[float] = []
        self.open = connections
        self.done = asyncio.Event()

    def next_request(self) -> bytes | None:
        if self.position >= len(self.requests) or time.perf_counter() - self.began > self.seconds:
            return None
        self.position += 1
        return self.requests[self.position - 1]

    def answered(self, status: str, seconds: float) -> None:
        self.statuses[status] += 1
        self.times.append(seconds)

    def closed(self, error: Exception | None) -> None:
        self.open -= 1
        if error is not None:
            self.statuses["lost"] += 1
        if not self.open:
            self.done.set()

    async def go(self, port: int) -> dict[str, object]:
        self.began = time.perf_counter()
        loop = asyncio.get_running_loop()
        for _ in range(self.connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", port)
        await self.done.wait()
        elapsed = time.perf_counter() - self.began
        times = sorted(self.times)
        return {"webhooks": len(times), "seconds": round(elapsed, 3), "per_second": round(len(times) / elapsed, 1),
                "p50_ms": round(times[len(times) // 2] * 1000, 2), "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 2),
                "statuses": dict(self.statuses)}


def requests(path: str, bodies: list[bytes]) -> list[bytes]:
    return [f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            .encode() + body for body in bodies]


def main() -> None:
    options = json.loads(sys.argv[1])
    fleet = Fleet(options["seed"], options["repeats"], options["new"])
    bodies = list(fleet.bodies(options["count"], options["alerts"]))
    run = Run(requests(options["path"], bodies), options["seconds"], options["connections"])
    print(json.dumps(asyncio.run(run.go(options["port"]))))


if __name__ == "__main__":
    main()
