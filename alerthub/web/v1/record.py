"""The record over the API: its anchors, and whether the history of one incident is as the hub wrote it. To search it and to
check the whole of it is in audit.py."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.record import judge_history, missing
from alerthub.store import alerts as alert_store
from alerthub.store import audit, details
from alerthub.store.tx import Tx
from alerthub.web.api import REFERENCE
from alerthub.web.routing import route
from alerthub.web.v1.asking import listed, shown

SHOWN = 100     # findings of one incident


async def list_anchors(request: Request) -> Response:
    return await listed(request, details.list_anchors)


async def verify(request: Request) -> Response:
    reference = request.path_params["reference"]

    def read(tx: Tx) -> dict[str, Any] | None:
        incident_id = alert_store.id_of(tx, reference) if REFERENCE.fullmatch(reference) else ""
        incident = alert_store.find_incident(tx, incident_id) if incident_id else None
        if incident is None:
            return None
        rows = audit.history(tx, incident.id)
        found = list(judge_history(iter(rows), incident.number, incident.seq)) if rows else [
            missing(incident.id, incident.number, 1, incident.seq)]
        newest = next(iter(audit.last_anchors(tx, 1)), None)
        return {"number": incident.number, "id": incident.id, "events": len(rows), "is_intact": not found,
                "findings": [str(one) for one in found[:SHOWN]],
                "anchor": {"n": newest.n, "hash": newest.hash} if newest else None}

    return await shown(request, "incident", "reference", read)


ROUTES = [*route("/api/v1/audit/anchors", list_anchors),
          *route("/api/v1/incidents/{reference}/verify", verify)]
