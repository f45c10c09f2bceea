"""How an address leads to a room. Each room names its own; app.py puts them together, and one net under all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Endpoint = Callable[[Request], Awaitable[Response]]


class Number(Convertor[str]):
    """A number of a row, in an address beside which there are words. Starlette's own takes so many digits that Python refuses to
    read them."""

    regex = "[0-9]{1,15}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("number", Number())


def route(path: str, endpoint: Endpoint, *methods: str) -> list[Route]:
    """With and without a trailing slash: a redirect would turn a POST into a GET and lose the alert (R-2)."""
    both = [path] if path == "/" else [path, f"{path}/"]
    return [Route(one, endpoint, methods=list(methods or ("GET",))) for one in both]
