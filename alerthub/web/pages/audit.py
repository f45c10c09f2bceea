"""The record: searched, checked, taken away."""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from alerthub.store import audit as record_store
from alerthub.store import searching
from alerthub.store.searching import Wanted
from alerthub.store.tx import Tx
from alerthub.web.api import BadQuery, number
from alerthub.web.audit import KINDS, checking_of, may_check, wanted
from alerthub.web.base import hub_of
from alerthub.web.forms import BadForm, back, read_form
from alerthub.web.pages.render import page
from alerthub.web.routing import route
from alerthub.web.visitor import known

PATH, LINES = "/audit", 50
STARTED = "The record is being checked. What is found is shown here; without scripts, load the page anew."
FIELDS = ("incident", "kind", "actor", "text", "since", "until")


async def show(request: Request) -> Response:
    hub, wrong, status = hub_of(request), "", 200
    try:
        asked, before = wanted(request), number(request, "before", None, 2**62)
    except BadQuery as error:
        asked, before, wrong, status = Wanted(), None, f"{error}. Shown is the newest.", 400
    given = {name: request.query_params.get(name, "")[:200] for name in FIELDS}

    def unit(tx: Tx) -> dict[str, object]:
        newest = next(iter(record_store.last_anchors(tx, 1)), None)
        return {"found": searching.search(tx, asked, LINES, before), "extent": searching.extent(tx), "anchor": newest}

    filters = {} if wrong else {name: value for name, value in given.items() if value}
    return page(request, "audit.html", status, **await hub.store.read(unit), given=given, wrong=wrong,
                query=urlencode(filters), kinds=sorted(KINDS - {""}), last=checking_of(request).result.view(),
                may_check=may_check(known(request)), is_first=before is None,
                looked=searching.LOOKED_THROUGH, zone=hub.rules.answers.time_zone)


async def check(request: Request) -> Response:
    hub, visitor = hub_of(request), known(request)
    try:
        await read_form(request)
    except BadForm as error:
        return back(request, PATH, str(error), is_good=False)
    if not may_check(visitor):
        return back(request, PATH, "You may only look here. Nothing was started.", is_good=False)
    was_started = checking_of(request).start(hub.store.url, hub.clock, visitor.name)
    return back(request, PATH, STARTED if was_started else "It is being checked already.")


ROUTES = [*route(PATH, show), *route("/audit/verify", check, "POST")]
