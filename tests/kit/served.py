"""Counterparts in a loop of a thread of their own: they answer also while the test blocks on a foreign program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from typing import Any

SECONDS = 15.0


@contextmanager
def served(*servers: AbstractAsyncContextManager[Any]) -> Iterator[None]:
    """They are entered before the body runs, and left after it, the last one first."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="counterparts", daemon=True)
    thread.start()

    def done(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(SECONDS)

    stack = AsyncExitStack()
    try:
        done(enter(stack, servers))
        yield
    finally:
        done(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


async def enter(stack: AsyncExitStack, servers: tuple[AbstractAsyncContextManager[Any], ...]) -> None:
    for server in servers:
        await stack.enter_async_context(server)
