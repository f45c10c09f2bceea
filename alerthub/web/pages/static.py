"""The files beside the pages: scripts, the icon. They hold nothing secret."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from alerthub.web.base import problem
from alerthub.web.pages.render import HERE
from alerthub.web.routing import route

KINDS = {".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {path.name: path for path in (HERE / "static").iterdir() if path.suffix in KINDS}


async def static(request: Request) -> Response:
    """By its name alone, out of a list that is made at the start: no path is put together from what somebody asks."""
    path = FILES.get(request.path_params["name"])
    if path is None:
        return problem(404, "there is nothing at this address")
    return Response(path.read_bytes(), headers={"cache-control": "max-age=3600"}, media_type=KINDS[path.suffix])


ROUTES = route("/static/{name}", static)
