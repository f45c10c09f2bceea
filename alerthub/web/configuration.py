"""`/api/v1/configuration`: what the hub goes by, since when, and what was wrong with the last file that it was to take over; and
for the page, what would become of an alert with certain labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.configuration import described
from alerthub.domain.trial import LONGEST, in_full, read_labels
from alerthub.log import redact
from alerthub.store import silences
from alerthub.store.tx import Tx
from alerthub.web.base import HubView, answer, hub_of
from alerthub.web.routing import route


def shown(hub: HubView) -> dict[str, Any]:
    """Every text of it redacted: whatever secret the hub knows is a star."""
    found = {**described(hub.rules), "loaded_at": hub.loaded_at.isoformat(), "problems": list(hub.problems)}
    return {name: masked(value) for name, value in found.items()}


def masked(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [masked(one) for one in value]
    return {name: masked(one) for name, one in value.items()} if isinstance(value, Mapping) else value


async def show(request: Request) -> Response:
    return answer(200, shown(hub_of(request)))


async def tried(hub: HubView, text: str) -> dict[str, Any]:
    """What would become of an alert with these labels now. ValueError, with what would be right."""
    if len(text) > LONGEST:
        raise ValueError(f"at most {LONGEST} characters")
    labels, now = read_labels(text), hub.clock.now()

    def unit(tx: Tx) -> dict[str, Any]:
        return in_full(hub.rules, labels, silences.active(tx, now), now)

    found: dict[str, Any] = masked(await hub.store.read(unit))
    return found


ROUTES = route("/api/v1/configuration", show)
