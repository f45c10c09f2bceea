"""The record that cannot be edited unseen: each event is hashed with the one before it, and anchors hash the heads of all
histories. A plain hash, not a signature: whoever can rewrite every table can rewrite it, but not the anchors in the log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alerthub.domain.alert import canonical

ROW_VERSION, ANCHOR_VERSION = "alerthub-event-v1", "alerthub-anchor-v1"


@dataclass(frozen=True, slots=True)
class Row:
    """An event as the database holds it. `at` is in microseconds since 1970, `data` is text; `hash` is empty when the row is
    older than the chain."""

    incident_id: str
    seq: int
    at: int
    kind: str
    actor_kind: str
    actor_name: str
    text: str
    data: str
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """How far a history went at one moment."""

    incident_id: str
    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """`position`: events up to there are in this anchor or in one before it. `content` names heads and pruned histories."""

    n: int
    at: int
    position: int
    content: str
    hash: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written. `seq` is 0 when it is about a whole incident, or about an anchor."""

    incident_id: str
    number: int
    seq: int
    text: str

    def __str__(self) -> str:
        incident = f"incident #{self.number}" if self.number else f"incident {self.incident_id}"
        where = "" if not self.incident_id else f"{incident}, event {self.seq}: " if self.seq else f"{incident}: "
        return where + self.text


def sha256(value: object) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def link(previous: str, row: Row) -> str:
    """The hash of a row after the one whose hash is `previous` (empty for the first)."""
    return sha256([ROW_VERSION, previous, row.incident_id, row.seq, row.at, row.kind, row.actor_kind, row.actor_name, row.text,
                   row.data])


def content_of(heads: Iterable[Head], pruned: Iterable[Head]) -> str:
    """Sorted, so that it has one form."""
    return canonical({"heads": sorted([head.incident_id, head.seq, head.hash] for head in heads),
                      "pruned": sorted([head.incident_id, head.seq, head.hash] for head in pruned)})


def anchored(previous: Anchor | None, at: int, position: int, content: str) -> Anchor:
    """The anchor after that one."""
    n = previous.n + 1 if previous else 1
    return Anchor(n, at, position, content, anchor_hash(previous.hash if previous else "", n, at, position, content))


def anchor_hash(previous: str, n: int, at: int, position: int, content: str) -> str:
    return sha256([ANCHOR_VERSION, previous, n, at, position, content])


def judge_history(rows: Iterable[Row], number: int, last: int | None) -> Iterator[Finding]:
    """What is wrong with one incident's rows, in the order of `seq`. `last` is the seq that the incident itself knows; None
    when there is no such incident. An event after a gap cannot be checked: what it was hashed with is gone."""
    seq, previous, is_known, is_chained, incident_id = 0, "", True, False, ""
    for row in rows:
        incident_id = row.incident_id
        if row.seq > seq + 1:
            yield missing(incident_id, number, seq + 1, row.seq - 1)
            is_known = False
        if row.hash and is_known and row.hash != link(previous, row):
            yield Finding(incident_id, number, row.seq, "was changed or moved, or the event before it was written anew")
        if not row.hash and is_chained:
            yield Finding(incident_id, number, row.seq, "has no hash: it was put in or emptied by something else than the hub")
        seq, previous, is_known, is_chained = row.seq, row.hash, True, is_chained or bool(row.hash)
    if last is None:
        yield Finding(incident_id, number, 0, "its events are there, but it was deleted")
    elif seq < last:
        yield missing(incident_id, number, seq + 1, last)
    elif seq > last:
        yield Finding(incident_id, number, seq, f"was put in by something else than the hub: the history ends with {last}")


def missing(incident_id: str, number: int, first: int, last: int) -> Finding:
    text = "was deleted" if first == last else f"and those up to {last} were deleted"
    return Finding(incident_id, number, first, text)


def judge_anchor(anchor: Anchor, before: Anchor | None) -> Iterator[Finding]:
    """What is wrong with an anchor that stands after that one."""
    expected = before.n + 1 if before else 1
    if anchor.n > expected:
        yield Finding("", 0, 0, f"anchors {expected} to {anchor.n - 1} were deleted")
    elif anchor.hash != anchor_hash(before.hash if before else "", anchor.n, anchor.at, anchor.position, anchor.content):
        yield Finding("", 0, 0, f"anchor {anchor.n} was changed, or the one before it was written anew")
