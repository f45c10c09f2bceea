"""A load generator for loopback: raw keep-alive connections, prepared bodies, bounded in count and time. Closed loop (the next
body when the last one is answered), or open loop (so many a second, whatever the answers; late answers count from when the body
was due).

Run as a program; prints one JSON object. It does nothing but write and read, so that it is not what is measured.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from collections import Counter, deque

from alerthub.clock import SystemClock
from tests.bench.bodies import Fleet

CLOCK = SystemClock()
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
        self.run.serve(self)

    def write(self, request: bytes, due_at: float) -> None:
        self.sent_at = due_at
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

    def serve(self, connection: Connection) -> None:
        """The connection is free: give it the next request, or close it."""
        request = self.next_request()
        if request is None:
            connection.transport.close()
        else:
            connection.write(request, time.perf_counter())

    async def pace(self) -> None:
        """Closed loop: nothing to do."""

    async def go(self, ports: list[int]) -> dict[str, object]:
        self.began = time.perf_counter()
        loop = asyncio.get_running_loop()
        for number in range(self.connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", ports[number % len(ports)])
        await self.pace()
        await self.done.wait()
        elapsed = time.perf_counter() - self.began
        times = sorted(self.times)
        return {"webhooks": len(times), "seconds": round(elapsed, 3), "per_second": round(len(times) / elapsed, 1),
                "p50_ms": round(times[len(times) // 2] * 1000, 2), "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 2),
                "statuses": dict(self.statuses)}


class OpenRun(Run):
    """So many a second for `seconds`. What finds no connection free waits, and its time counts."""

    def __init__(self, requests: list[bytes], seconds: float, connections: int, rate: float) -> None:
        super().__init__(requests, seconds, connections)
        self.rate = rate
        self.waiting: deque[tuple[bytes, float]] = deque()
        self.free: list[Connection] = []
        self.due: list[float] = []
        self.is_over = False

    def serve(self, connection: Connection) -> None:
        if self.waiting:
            connection.write(*self.waiting.popleft())
        elif self.is_over:
            connection.transport.close()
        else:
            self.free.append(connection)

    async def pace(self) -> None:
        begin = time.perf_counter()
        for number, request in enumerate(self.requests[:int(self.rate * self.seconds)]):
            due_at = begin + number / self.rate
            if (wait := due_at - time.perf_counter()) > 0:
                await CLOCK.sleep(wait)
            self.due.append(due_at)
            if self.free:
                self.free.pop().write(request, due_at)
            else:
                self.waiting.append((request, due_at))
        self.is_over = True
        for connection in self.free:
            connection.transport.close()

    async def go(self, ports: list[int]) -> dict[str, object]:
        return {**await super().go(ports), "due": self.due}


def requests(path: str, bodies: list[bytes]) -> list[bytes]:
    return [f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            .encode() + body for body in bodies]


def main() -> None:
    options = json.loads(sys.argv[1])
    fleet = Fleet(options["seed"], options["repeats"], options["new"], options.get("shards", 0))
    bodies = requests(options["path"], list(fleet.bodies(options["count"], options["alerts"])))
    seconds, connections, rate = options["seconds"], options["connections"], options.get("rate")
    run = OpenRun(bodies, seconds, connections, rate) if rate else Run(bodies, seconds, connections)
    gc.disable()        # a pause here would be taken for one of the hub
    print(json.dumps(asyncio.run(run.go(options["ports"]))))


if __name__ == "__main__":
    main()
