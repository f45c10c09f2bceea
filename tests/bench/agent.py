"""The toy agent as a process of its own that notes when it obeyed and when it first said so: CLOCK_MONOTONIC is one clock for
all processes. `GET /safe` waits until it has said that it is safe."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from datetime import datetime

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from alerthub.clock import SystemClock
from alerthub.toy_agent import ToyAgent, app


class TimedAgent(ToyAgent):
    obeyed = reported = 0.0

    def push(self, message_id: str, mode: str, reason: str) -> None:
        super().push(message_id, mode, reason)
        if mode != "safe":
            self.obeyed = self.reported = 0.0
            SAID.clear()
        elif not self.obeyed:
            self.obeyed = time.monotonic()

    def admits(self, headers: Mapping[str, str], body: bytes, now: datetime, *, signed: bool) -> bool:
        if not signed and self.mode == "safe" and not self.reported:
            self.reported = time.monotonic()
            SAID.set()
        return super().admits(headers, body, now, signed=signed)


SAID = asyncio.Event()
AGENT = TimedAgent()


async def safe(request: Request) -> JSONResponse:
    await SAID.wait()
    return JSONResponse({"obeyed": AGENT.obeyed, "reported": AGENT.reported})


if __name__ == "__main__":
    served = app(AGENT, SystemClock())
    served.router.routes.append(Route("/safe", safe))
    uvicorn.run(served, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
