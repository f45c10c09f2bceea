"""The reference: a bare Starlette application that only reads the body. What a hub of no use at all would reach."""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def hook(request: Request) -> Response:
    await request.body()
    return Response(b'{"status":"ok"}', media_type="application/json")


async def page(request: Request) -> Response:
    return Response(PAGE, media_type="text/html")


PAGE = "<!doctype html><title>bare</title><h1>Nothing</h1>"
app = Starlette(routes=[Route("/hooks/alertmanager", hook, methods=["POST"]), Route("/page", page)])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), http="httptools", loop="asyncio", access_log=False,
                log_level="warning")
