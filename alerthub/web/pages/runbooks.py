"""Runbooks. Open to everybody who reaches the hub: nothing of an incident is on them."""

from __future__ import annotations

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from alerthub.web.base import hub_of
from alerthub.web.pages.render import render
from alerthub.web.routing import route


async def runbook(request: Request) -> Response:
    hub, name = hub_of(request), request.path_params["name"]
    found = next((book for book in hub.rules.runbooks if book.name == name), None)
    if found is None:
        return render("missing.html", 404, what="runbook")
    return render("runbook.html", runbook=found, body=Markup(found.html))  # noqa: S704  (cleaned by nh3 when it was read)


ROUTES = route("/runbooks/{name}", runbook)
