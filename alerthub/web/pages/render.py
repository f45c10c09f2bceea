"""How a page is made: the templates, what every page shows of the hub and of who looks at it, and the files beside them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.compose import is_web
from alerthub.domain.rules import Rules
from alerthub.domain.story import Fate
from alerthub.domain.wording import spoken
from alerthub.store.columns import EPOCH, MICROSECOND
from alerthub.web.base import hub_of
from alerthub.web.forms import SAID, is_secure, said
from alerthub.web.gate import cookie_name
from alerthub.web.styles import style
from alerthub.web.visitor import visitor_of

LIVE = "x-live"         # the script's own word, when it loads a page to see what has changed
HERE = Path(__file__).parent.parent
STYLES = {Fate.not_done: "bad", Fate.pending: "open", Fate.done: "good"}       # of what became of a run


def moment(value: str | None) -> str:
    """`2026-11-21 03:04:05 UTC`, from what the API gives."""
    return f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S} UTC" if value else "–"


def micros(value: int) -> str:
    """The same, from what the record keeps: microseconds since 1970."""
    return f"{EPOCH + value * MICROSECOND:%Y-%m-%d %H:%M:%S.%f} UTC"


def ago(value: str | datetime, now: datetime) -> str:
    """`12 min`, `3 h`, `2 d`: how long ago, in one unit, to be read at a glance; the exact time stands beside it."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    seconds = int((now - at).total_seconds())
    for unit, size, until in (("s", 1, 60), ("min", 60, 3600), ("h", 3600, 48 * 3600)):
        if seconds < until:
            return f"{max(seconds, 0) // size} {unit}"
    return f"{seconds // 86400} d"


ENVIRONMENT = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape(default=True),
                          undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
ENVIRONMENT.filters |= {"moment": moment, "micros": micros, "ago": ago, "spoken": spoken}
ENVIRONMENT.tests["web"] = is_web
ENVIRONMENT.globals["style"] = style
# What leads where, on top of every page, in this order.
ENVIRONMENT.globals["places"] = [
    ("/", "Incidents"), ("/oncall", "On call"), ("/actions", "Actions"), ("/silences", "Silences"), ("/deliveries", "Deliveries"),
    ("/heartbeats", "Heartbeats"), ("/analytics", "Analytics"), ("/audit", "Audit"), ("/configuration", "Configuration"),
    ("/health", "Health")]


def owners_of(rules: Rules) -> dict[str, str]:
    """Whose own each destination is, of those that are somebody's, in words."""
    return {key: ", ".join(people) for key, people in rules.owners.items()}


def render(name: str, status: int = 200, **values: Any) -> Response:
    """A page for anybody: it names nobody and offers nothing that only some may do."""
    page = ENVIRONMENT.get_template(name).render(visitor=None, path="", said=None, is_live=False, **values)
    return Response(page, status, {"cache-control": "no-store"}, "text/html")


def page(request: Request, name: str, status: int = 200, /, **values: Any) -> Response:
    """A page for whoever asks for it: with their name, what they may do, and what became of what they have just asked."""
    is_live = LIVE in request.headers
    told = None if is_live else said(request)       # it is for the page that a person looks at, and once
    text = ENVIRONMENT.get_template(name).render(visitor=visitor_of(request), path=request.url.path, said=told, is_live=is_live,
                                                 **values)
    answer = Response(text, status, {"cache-control": "no-store"}, "text/html")
    if told is not None:
        answer.delete_cookie(cookie_name(hub_of(request).door, SAID), httponly=True, samesite="strict", secure=is_secure(request))
    return answer
