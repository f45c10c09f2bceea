"""One of a kind over the API: a lane, a delivery, a run, a latch, a silence, a heartbeat; and the long lists of one incident."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.store import alerts as alert_store
from alerthub.store import details, heartbeats, latches, silences, usage
from alerthub.store.tx import Tx
from alerthub.web import heartbeats as heartbeats_room
from alerthub.web.actions import latch_view
from alerthub.web.api import REFERENCE, YES, YES_OR_NO, choice, number, run_view
from alerthub.web.base import answer, hub_of, problem
from alerthub.web.routing import route
from alerthub.web.tags import mark_of_silence
from alerthub.web.v1.asking import limit_of, listed, number_in, shown

Page = Callable[[Tx, str, int, int | None], dict[str, Any]]


async def list_lanes(request: Request) -> Response:
    """Who is told of which incident, newest first; `dead=1`: only those that wait for a replay."""
    only_dead = choice(request, "dead", YES_OR_NO) in YES
    return await listed(request, lambda tx, limit, before: details.list_lanes(tx, limit, before, only_dead=only_dead))


async def one_lane(request: Request) -> Response:
    return await shown(request, "lane", "lane", lambda tx: details.one_lane(tx, number_in(request, "lane")))


async def one_delivery(request: Request) -> Response:
    return await shown(request, "delivery", "id", lambda tx: details.one_delivery(tx, number_in(request, "id")))


async def one_run(request: Request) -> Response:
    reference = request.path_params["run"]

    def read(tx: Tx) -> dict[str, Any] | None:
        found = usage.find(tx, reference) if REFERENCE.fullmatch(reference) else None
        return run_view(found) if found else None

    return await shown(request, "run", "run", read, lambda view: f"{view['state']}-{view['attempt']}")


async def one_latch(request: Request) -> Response:
    hub, target = hub_of(request), request.path_params["target"].removesuffix("/")

    def read(tx: Tx) -> dict[str, Any] | None:
        found = latches.find(tx, target) if "\0" not in target else None
        return latch_view(tx, hub.rules, found, hub.clock.now()) if found else None

    return await shown(request, "latch of", "target", read, lambda view: str(view["seq"]))


async def one_silence(request: Request) -> Response:
    now = hub_of(request).clock.now()
    return await shown(request, "silence", "number", lambda tx: silences.view_of(tx, number_in(request, "number"), now),
                       mark_of_silence)


async def one_heartbeat(request: Request) -> Response:
    hub, name = hub_of(request), request.path_params["name"]
    rule = hub.rules.heartbeats.get(name)
    if rule is None:
        return problem(404, f"there is no heartbeat {name[:40]!r}")
    known = await hub.store.read(heartbeats.read)
    return answer(200, heartbeats_room.view(rule, known.get(name)))


# -- the long lists of one incident

def of_incident(page: Page, cursor: str = "before") -> Callable[[Request], Any]:
    """The endpoint that gives this list of the incident in the address."""

    async def show(request: Request) -> Response:
        reference = request.path_params["reference"]
        limit, start = limit_of(request), number(request, cursor, None, 2**62)

        def read(tx: Tx) -> dict[str, Any] | None:
            incident = alert_store.id_of(tx, reference) if REFERENCE.fullmatch(reference) else ""
            return page(tx, incident, limit, start) if incident else None

        return await shown(request, "incident", "reference", read)

    return show


ROUTES = [
    *route("/api/v1/incidents/{reference}/events",
           of_incident(lambda tx, incident, limit, after: details.events_of(tx, incident, limit, after or 0), "after")),
    *route("/api/v1/incidents/{reference}/alerts", of_incident(details.alerts_of)),
    *route("/api/v1/incidents/{reference}/deliveries", of_incident(details.deliveries_of)),
    *route("/api/v1/deliveries/{id:number}", one_delivery),
    *route("/api/v1/lanes", list_lanes), *route("/api/v1/lanes/{lane}", one_lane),
    *route("/api/v1/actions/runs/{run}", one_run), *route("/api/v1/silences/{number}", one_silence),
    *route("/api/v1/heartbeats/{name}", one_heartbeat), *route("/api/v1/latches/{target:path}", one_latch),
]
