"""The room of proofs: whether what latched a target is over. Sources say so by their own lists, heartbeats by coming again; what
the hub cannot ask is never proved."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from alerthub.domain.incident import OWN_SOURCE
from alerthub.domain.latch import Cause, Refusal, lacking
from alerthub.domain.rules import Rules
from alerthub.flow.asking import release_of
from alerthub.store import alerts as alert_store
from alerthub.store import latches
from alerthub.store.tx import Tx


def causes_of(tx: Tx, rules: Rules, target: str, now: datetime) -> list[Cause]:
    """What latched it since it was last armed, and what an admin overrode and is not over yet; whether that is over."""
    return [judged(tx, rules, cause, now) for cause in latches.causes(tx, [target]).get(target, ())]


def judged(tx: Tx, rules: Rules, cause: Cause, now: datetime) -> Cause:
    """Of its own alarms, that a heartbeat is missing, the hub always knows. What a person says of them is no proof."""
    if cause.source != OWN_SOURCE:
        source = rules.sources.get(cause.source)
        return replace(cause, can_be_asked=source is not None and bool(source.reconcile_urls))
    name = heartbeat_of(tx, cause.incident_id)
    return replace(cause, witness=f"heartbeat {name}", can_be_asked=name in rules.heartbeats, looked_at=now)


def heartbeat_of(tx: Tx, incident_id: str) -> str:
    """The heartbeat whose alarm this incident is; empty for any other."""
    found = (json.loads(state.content)["labels"].get("heartbeat", "") for state in alert_store.of_incident(tx, incident_id))
    return next((name for name in found if name), "")


def heartbeats_said(tx: Tx, names: Collection[str], clear_since: datetime | None) -> None:
    """These heartbeats come again since then; None: they are missing, or not looked at any more."""
    for hold in latches.holds_of_source(tx, OWN_SOURCE) if names else ():
        if hold.clear_since != clear_since and heartbeat_of(tx, hold.incident_id) in names:
            latches.set_clear(tx, hold, clear_since)


def missing(tx: Tx, rules: Rules, target: str, now: datetime) -> Refusal | None:
    """What is missing in the proof that all that latched it is over; None when nothing is."""
    return lacking(causes_of(tx, rules, target, now), release_of(rules, target), now)


def settled(tx: Tx, rules: Rules, target: str, now: datetime) -> list[str]:
    """The incidents of the causes that a later release need not prove: they are over, or closed and nobody can be asked about
    them. Those an admin has overridden: there is no other way past them, and it is not asked for twice."""
    release = release_of(rules, target)
    return [cause.incident_id for cause in causes_of(tx, rules, target, now)
            if lacking([cause], release, now) is None or not (cause.is_open or (cause.number and cause.can_be_asked))]
