"""How an address leads to a room. Each room names its own; app.py puts them together, and one net under all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Endpoint = Callable[[Request], Awaitable[Response]]


def route(path: str, endpoint: Endpoint, *methods: str) -> list[Route]:
    """With and without a trailing slash: a redirect would turn a POST into a GET and lose the alert (R-2)."""
    both = [path] if path == "/" else [path, f"{path}/"]
    return [Route(one, endpoint, methods=list(methods or ("GET",))) for one in both]
