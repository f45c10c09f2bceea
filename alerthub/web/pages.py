"""Pages for people who look: the incidents, one incident, a runbook. Server-rendered; reading needs no script."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.compose import is_web
from alerthub.domain.runbook import choose
from alerthub.store import reading
from alerthub.web.api import STATUSES, find_incident
from alerthub.web.base import hub_of

HERE = Path(__file__).parent
PAGE = 100


def moment(value: str | None) -> str:
    """`2026-11-21 03:04:05 UTC`, from what the API gives."""
    return f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S} UTC" if value else "–"


ENVIRONMENT = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape(default=True),
                          undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
ENVIRONMENT.filters["moment"] = moment
ENVIRONMENT.tests["web"] = is_web


def render(name: str, status: int = 200, **values: Any) -> Response:
    page = ENVIRONMENT.get_template(name).render(**values)
    return Response(page, status, {"cache-control": "no-store"}, "text/html")


async def index(request: Request) -> Response:
    status = request.query_params.get("status", "open")
    wanted = status if status in STATUSES else ""
    before = request.query_params.get("before", "")
    cursor = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
    found = await hub_of(request).store.read(lambda tx: reading.list_incidents(tx, PAGE, cursor, wanted))
    return render("incidents.html", incidents=found["items"], next=found["next"], shown=status)


async def incident(request: Request) -> Response:
    hub, found = hub_of(request), await find_incident(request)
    if found is None:
        return render("missing.html", 404, what="incident")
    runbook = next((book for alert in found["alert_list"] if (book := choose(hub.rules.runbooks, alert["labels"]))), None)
    return render("incident.html", incident=found, runbook=runbook)


async def runbook(request: Request) -> Response:
    hub, name = hub_of(request), request.path_params["name"]
    found = next((book for book in hub.rules.runbooks if book.name == name), None)
    if found is None:
        return render("missing.html", 404, what="runbook")
    return render("runbook.html", runbook=found, body=Markup(found.html))  # noqa: S704  (cleaned by nh3 when it was read)


async def style(request: Request) -> Response:
    return Response((HERE / "static" / "hub.css").read_bytes(), headers={"cache-control": "max-age=3600"}, media_type="text/css")
