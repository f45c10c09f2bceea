"""`/api/v1/incidents/{reference}/report`: what people write about an incident afterwards. Who saves says which version they have
seen (`If-Match`), so that nobody writes over what they have not read."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.person import Right
from alerthub.domain.report import LONGEST
from alerthub.flow import report as room
from alerthub.store.reports import Report
from alerthub.web.api import NUMBER, REFERENCE
from alerthub.web.base import answer, hub_of, problem
from alerthub.web.bodies import read_body
from alerthub.web.routing import route
from alerthub.web.visitor import known

BODY = 1024 * 1024
TAG = re.compile(r'"([0-9]{1,9})"')
STATUSES = {room.Fate.conflict: 412, room.Fate.too_long: 413, room.Fate.too_many: 409}
REASONS = {
    room.Fate.conflict: "somebody has saved version {version} meanwhile; read it, and send yours with If-Match: \"{version}\"",
    room.Fate.too_long: f"a report has at most {LONGEST} characters; nothing was saved",
    room.Fate.too_many: f"there are {room.MOST_VERSIONS} versions already; export the report and go on elsewhere",
}


async def show(request: Request) -> Response:
    """The newest version, or `?version=`; before anybody saved one, the draft as version 0. `ETag` is the newest version."""
    hub, reference = hub_of(request), request.path_params["reference"]
    wanted = request.query_params.get("version", "0")
    if not NUMBER.fullmatch(wanted):
        return problem(400, "version must be a number")
    found = await hub.store.read(lambda tx: room.show(tx, hub.rules, reference, hub.clock.now(), int(wanted))) if (
        REFERENCE.fullmatch(reference)) else None
    if found is None:
        return problem(404, f"there is no such report of an incident {reference[:40]!r}")
    body = {"incident": found.number, **view(found.shown),
            "versions": [view(one, with_text=False) for one in found.versions]}
    return answer(200, body, {"etag": f'"{found.newest.version}"'})


async def save(request: Request) -> Response:
    """200 with the version that was kept, after COMMIT. 412 when somebody was first, 428 without `If-Match`."""
    hub, reference, visitor = hub_of(request), request.path_params["reference"], known(request)
    if not visitor.may(Right.respond):
        return problem(403, "to write a report needs the right to respond")
    seen = TAG.fullmatch(request.headers.get("if-match", ""))
    if seen is None:
        return problem(428, 'send If-Match with the ETag that the report had when you read it, such as "3"')
    try:
        text = text_of(await read_body(request, BODY, hub.door.body_seconds))
    except ValueError:
        return problem(400, 'send {"text": "the whole report as Markdown"}')
    kept = await hub.store.write(lambda tx: room.save(
        tx, hub.rules, reference, text, int(seen[1]), visitor.name, hub.clock.now())) if REFERENCE.fullmatch(reference) else None
    if kept is None:
        return problem(404, f"there is no incident {reference[:40]!r}")
    tag = {"etag": f'"{kept.newest.version}"'}
    if kept.fate in STATUSES:
        return problem(STATUSES[kept.fate], REASONS[kept.fate].format(version=kept.newest.version), tag)
    return answer(200, view(kept.newest), tag)


def text_of(body: bytes) -> str:
    """ValueError for what is not the one field."""
    try:
        fields = json.loads(body)
    except RecursionError:
        raise ValueError from None
    if not isinstance(fields, dict) or set(fields) != {"text"} or not isinstance(fields["text"], str):
        raise ValueError
    return str(fields["text"])


def view(report: Report, *, with_text: bool = True) -> dict[str, Any]:
    found = {**asdict(report), "at": report.at.isoformat()}
    return {name: value for name, value in found.items() if with_text or name != "text"}


ROUTES = [*route("/api/v1/incidents/{reference}/report", show), *route("/api/v1/incidents/{reference}/report", save, "PUT")]
