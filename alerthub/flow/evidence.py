"""The room that gathers the evidence of one incident, read in one transaction. It writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from alerthub.domain.evidence import VERSION, sealed, summary
from alerthub.domain.record import Anchor, Row
from alerthub.flow import stories
from alerthub.flow.audit import heads_in
from alerthub.store import audit as record_store
from alerthub.store import latches, reading, runs
from alerthub.store.tx import Tx

INCIDENT = ("number", "id", "source", "title", "status", "severity", "episode", "opened_at", "resolved_at", "acknowledged_by",
            "alerts", "firing")


def pack(tx: Tx, reference: str, now: datetime) -> dict[str, Any] | None:
    """All that is known of an incident by number or id, sealed; None when there is none. Secrets were never stored."""
    found = reading.one_incident(tx, reference)
    if found is None:
        return None
    rows = record_store.history(tx, found["id"])
    its_runs = runs.of_incident(tx, found["id"])
    mine, asked = list(stories.views(tx, its_runs).values()), stories.requests(tx, its_runs).get(found["id"], [])
    held = [latch for latch in latches.read(tx).values() if latch.incident_id == found["id"]]
    return sealed({
        "format": VERSION, "made_at": now.isoformat(),
        "incident": {**{name: found[name] for name in INCIDENT}, "seq": rows[-1].seq if rows else 0},
        "summary": summary([*mine, *asked]), "runs": mine, "requests": asked, "alerts": found["alert_list"],
        "latches": [{name: reading.text(value) for name, value in asdict(latch).items()} for latch in held],
        "deliveries": found["deliveries"],
        "record": {"events": [asdict(row) for row in rows], "anchors": anchors_of(tx, found["id"], rows)},
    })


def anchors_of(tx: Tx, incident_id: str, rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The newest anchor that names this history, with the hash of the one before it, so that it can be checked alone."""
    before: Anchor | None = None
    found: list[dict[str, Any]] = []
    hashes = {row.hash for row in rows}
    for anchor in record_store.all_anchors(tx):
        heads = heads_in(anchor) if incident_id in anchor.content else ()
        if any(head.incident_id == incident_id and head.hash in hashes for head in heads):
            found = [{**asdict(anchor), "before": before.hash if before else ""}]
        before = anchor
    return found
