"""The report of one incident: shown as it reads, edited in place, every version kept, exported as Markdown."""

from __future__ import annotations

from difflib import unified_diff
from itertools import islice

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.person import Right
from alerthub.domain.report import LONGEST
from alerthub.flow import report as room
from alerthub.markdown import render as as_html
from alerthub.web.api import NUMBER, REFERENCE
from alerthub.web.base import hub_of
from alerthub.web.forms import BadForm, back, read_form
from alerthub.web.pages.render import page
from alerthub.web.routing import route
from alerthub.web.visitor import known

FORM = 1024 * 1024      # bytes: 100,000 characters as a browser sends them
DIFF = 400              # lines of what differs
TOLD = {
    room.Fate.saved: "Saved as version {}.", room.Fate.same: "Nothing was changed: it stands so already, as version {}.",
    room.Fate.too_long: f"A report has at most {LONGEST} characters. Nothing was saved: shorten it and save again.",
    room.Fate.too_many: f"There are {room.MOST_VERSIONS} versions already. Nothing was saved: export it and go on elsewhere.",
}
NOT_ALLOWED = "To write a report needs the right to respond. Nothing was saved."


async def show(request: Request) -> Response:
    found = await found_for(request, request.query_params.get("version", ""))
    if found is None:
        return page(request, "missing.html", 404, what="report")
    return shown(request, found)


async def change(request: Request) -> Response:
    """Save what somebody wrote, or make the draft anew. What cannot be saved is shown again, with nothing lost."""
    hub, visitor, found = hub_of(request), known(request), await found_for(request)
    if found is None:
        return page(request, "missing.html", 404, what="incident")
    address = f"/incidents/{found.number}/report"
    if not visitor.may(Right.respond):
        return back(request, address, NOT_ALLOWED, is_good=False)
    try:
        fields = await read_form(request, limit=FORM)
    except BadForm as error:
        return shown(request, found, status=error.status, problem=str(error))
    reference, now, name = str(found.number), hub.clock.now(), visitor.name
    if fields.get("do") == "draft":
        kept = await hub.store.write(lambda tx: room.draft_anew(tx, hub.rules, reference, name, now))
    else:
        text, seen = fields.get("text", ""), fields.get("seen", "")
        number = int(seen) if NUMBER.fullmatch(seen) else -1
        kept = await hub.store.write(lambda tx: room.save(tx, hub.rules, reference, text, number, name, now))
    if kept is None:
        return page(request, "missing.html", 404, what="incident")
    if kept.fate in (room.Fate.saved, room.Fate.same):
        return back(request, address, TOLD[kept.fate].format(kept.newest.version))
    return unsaved(request, await found_for(request) or found, kept, room.clean(fields.get("text", "")))


def unsaved(request: Request, found: room.Shown, kept: room.Kept, mine: str) -> Response:
    """The page again, with what they wrote in the form, and what the other one wrote that they have not seen."""
    if kept.fate is not room.Fate.conflict:
        return shown(request, found, status=413 if kept.fate is room.Fate.too_long else 409, mine=mine, problem=TOLD[kept.fate])
    lines = unified_diff(kept.newest.text.splitlines(), mine.splitlines(), f"version {kept.newest.version}", "yours", lineterm="")
    return shown(request, found, status=409, mine=mine, differs=list(islice(lines, DIFF)))


def shown(request: Request, found: room.Shown, *, status: int = 200, mine: str | None = None, problem: str = "",
          differs: list[str] | None = None) -> Response:
    body = Markup(as_html(found.shown.text))  # noqa: S704  (cleaned by nh3)
    text = mine if mine is not None else found.shown.text
    return page(request, "report.html", status, found=found, body=body, text=text, differs=differs, problem=problem,
                is_open=mine is not None, may_write=known(request).may(Right.respond), longest=LONGEST)


async def export(request: Request) -> Response:
    """As a file. Its name is made of the number alone."""
    found = await found_for(request, request.query_params.get("version", ""))
    if found is None:
        return page(request, "missing.html", 404, what="report")
    headers = {"content-disposition": f'attachment; filename="incident-{found.number}-report.md"', "cache-control": "no-store"}
    return Response(found.shown.text, 200, headers, "text/markdown")


async def found_for(request: Request, version: str = "") -> room.Shown | None:
    hub, reference = hub_of(request), request.path_params["reference"]
    if not REFERENCE.fullmatch(reference) or not (version == "" or NUMBER.fullmatch(version)):
        return None
    return await hub.store.read(lambda tx: room.show(tx, hub.rules, reference, hub.clock.now(), int(version or 0)))


ROUTES = [*route("/incidents/{reference}/report", show), *route("/incidents/{reference}/report", change, "POST"),
          *route("/incidents/{reference}/report.md", export)]
