"""The labels of an incident's alerts, as routing and silences need them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

from alerthub.domain.alert import Labels
from alerthub.domain.compose import shared
from alerthub.domain.incident import AlertState, Incident
from alerthub.domain.route import Route
from alerthub.domain.rules import Rules
from alerthub.store import alerts as alert_store
from alerthub.store.tx import Tx

logger = logging.getLogger("alerthub.flow")
LOOKED_AT = 500     # alerts of one incident; those beyond are routed as one of these, or nobody could answer in time


def labels_of(tx: Tx, incident: Incident) -> list[Labels]:
    """Firing alerts first."""
    return list(labels_in(alert_store.of_incident(tx, incident.id, LOOKED_AT)))


def labels_in(states: Iterable[AlertState]) -> Iterable[Labels]:
    for state in states:
        try:
            labels: Labels = json.loads(state.content)["labels"]
        except (LookupError, TypeError, ValueError):    # one row that cannot be read must not keep anybody from being called
            logger.error("an alert cannot be read and is left out", extra={"event": "alert.unreadable", "row": state.row})
            continue
        yield labels


def common_labels(tx: Tx, incident: Incident) -> Labels:
    """What all of them share."""
    return shared(labels_of(tx, incident))


def routes_of(tx: Tx, rules: Rules, incident: Incident) -> list[Route]:
    """All routes by which its alerts lead somewhere, each once."""
    found = {route.place: route for labels in labels_of(tx, incident) for route in rules.routes(labels)}
    return list(found.values())
