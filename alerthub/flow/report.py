"""The room of reports: makes the draft from the record, and keeps what people make of it. Nothing that was kept is ever lost: a
save that has not seen the newest version changes nothing and is shown it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from alerthub.domain.report import LONGEST, draft
from alerthub.domain.rules import Rules
from alerthub.flow import stories
from alerthub.store import audit as record_store
from alerthub.store import reading, reports, runs
from alerthub.store.columns import EPOCH, MICROSECOND
from alerthub.store.reports import Report
from alerthub.store.tx import Tx

MOST_VERSIONS = 500
DRAFT, EDITED = "draft", "edited"


class Fate(StrEnum):
    saved = "saved"
    same = "same"               # it stands so already
    conflict = "conflict"       # somebody has written a version that this one has not seen
    too_long = "too_long"
    too_many = "too_many"


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of it, and the newest version, which after a conflict is somebody else's."""

    fate: Fate
    newest: Report


@dataclass(frozen=True, slots=True)
class Shown:
    """An incident and its report; `versions` newest first."""

    number: int
    title: str
    newest: Report
    shown: Report
    versions: tuple[Report, ...]


def show(tx: Tx, rules: Rules, reference: str, now: datetime, version: int = 0) -> Shown | None:
    """The newest report, or this version of it; where none is kept, the draft as it would be made now, as version 0."""
    found = reading.one_incident(tx, reference)
    if found is None:
        return None
    newest = reports.newest(tx, found["id"]) or drafted(tx, rules, found, now)
    shown = newest if version in (0, newest.version) else reports.find(tx, found["id"], version)
    if shown is None:
        return None
    return Shown(found["number"], found["title"], newest, shown, tuple(reports.versions(tx, found["id"], MOST_VERSIONS)))


def save(tx: Tx, rules: Rules, reference: str, text: str, seen: int, by: str, now: datetime) -> Kept | None:
    """Keep it as the next version, if `seen` is the newest one; None without such an incident. The same text again is kept
    once."""
    found = reading.one_incident(tx, reference)
    if found is None:
        return None
    kept = reports.newest(tx, found["id"])
    newest, text = kept or drafted(tx, rules, found, now), clean(text)
    if len(text) > LONGEST:
        return Kept(Fate.too_long, newest)
    if kept is not None and kept.text == text:
        return Kept(Fate.same, kept)
    if newest.version != seen:
        return Kept(Fate.conflict, newest)
    return add(tx, found["id"], newest, Report(newest.version + 1, now, by, EDITED, text))


def draft_anew(tx: Tx, rules: Rules, reference: str, by: str, now: datetime) -> Kept | None:
    """Make the draft from the record as it is now, as one more version. What people wrote stays as an older one."""
    found = reading.one_incident(tx, reference)
    if found is None:
        return None
    kept, made = reports.newest(tx, found["id"]), drafted(tx, rules, found, now)
    version = kept.version if kept else 0
    return add(tx, found["id"], kept or made, Report(version + 1, now, by, DRAFT, made.text))


def add(tx: Tx, incident_id: str, newest: Report, report: Report) -> Kept:
    if newest.version >= MOST_VERSIONS:
        return Kept(Fate.too_many, newest)
    reports.add(tx, incident_id, report)
    return Kept(Fate.saved, report)


def clean(text: str) -> str:
    """As it is kept: lines end with a line feed, and nothing is in it that a database does not take."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").encode("utf-8", "replace").decode()


def drafted(tx: Tx, rules: Rules, found: Mapping[str, Any], now: datetime) -> Report:
    text = draft(gathered(tx, found), rules.answers.time_zone, rules.owners, now)
    return Report(0, now, "", DRAFT, clean(text))


def gathered(tx: Tx, found: Mapping[str, Any]) -> dict[str, Any]:
    """All that a report tells of, as plain JSON."""
    its_runs = runs.of_incident(tx, found["id"])
    events = [{"seq": row.seq, "at": (EPOCH + row.at * MICROSECOND).isoformat(), "kind": row.kind, "actor_kind": row.actor_kind,
               "actor_name": row.actor_name, "text": row.text, "data": json.loads(row.data), "hash": row.hash}
              for row in record_store.history(tx, found["id"])]
    return {"incident": found, "alerts": found["alert_list"], "events": events, "deliveries": found["deliveries"],
            "runs": list(stories.views(tx, its_runs).values()), "requests": stories.requests(tx, its_runs).get(found["id"], [])}
