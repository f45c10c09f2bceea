"""The room that anchors the record, and that checks it: which row was edited, removed, moved or put in (see domain/record.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime

from alerthub.domain.record import Anchor, Finding, Head, anchored, content_of, judge_anchor, judge_history, missing
from alerthub.store import audit as record_store
from alerthub.store.columns import EPOCH, MICROSECOND
from alerthub.store.events import hashes
from alerthub.store.tx import Tx

POSITIONS = 20_000      # that one anchor covers; the first anchor of a large database is followed by more


def anchor(tx: Tx, now: datetime) -> Anchor | None:
    """Hash the heads of all histories that have moved into one more anchor; None when nothing has. For the leader only.

    What was committed late, at a position that the last anchor had passed already, is found by looking from the one before.
    """
    last, before = ([*record_store.last_anchors(tx, 2), None, None])[:2]
    start, reached = (before.position if before else 0), (last.position if last else 0)
    up_to = min(record_store.last_position(tx), reached + POSITIONS)
    known = set(heads_in(last)) if last else set()
    heads = [head for head in record_store.heads(tx, start, up_to) if head not in known]
    pruned = record_store.take_pruned(tx)
    if not heads and not pruned and up_to <= reached:
        return None
    made = anchored(last, (now - EPOCH) // MICROSECOND, max(up_to, reached), content_of(heads, pruned))
    record_store.add_anchor(tx, made)
    return made


def content_read(anchor: Anchor) -> Mapping[str, list[list[object]]]:
    """Empty for what no hub has written."""
    try:
        content = json.loads(anchor.content)
        return {name: list(content[name]) for name in ("heads", "pruned")}
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"heads": [], "pruned": []}


def heads_in(anchor: Anchor, name: str = "heads") -> Iterator[Head]:
    for entry in content_read(anchor)[name]:
        match entry:
            case [str(incident_id), int(seq), str(value)]:
                yield Head(incident_id, seq, value)


def verify(tx: Tx, witnessed: Mapping[int, str] | None = None) -> Iterator[Finding]:
    """Everything in the record that is not as the hub wrote it, as it is found; nothing when all is. `witnessed` are hashes of
    anchors that somebody kept elsewhere, by number: the log has them.

    What was removed by age is no finding, since an anchor says so. Rows from before the chain are only counted.
    """
    for number, last, rows in record_store.histories(tx):
        yield from judge_history(rows, number, last)
    for incident_id, number, last in record_store.without_events(tx):
        yield missing(incident_id, number, 1, last)
    yield from verify_anchors(tx, dict(witnessed or {}))


def verify_anchors(tx: Tx, witnessed: dict[int, str]) -> Iterator[Finding]:
    before: Anchor | None = None
    pruned = {head.incident_id for head in record_store.waiting_pruned(tx)}
    gone: dict[str, tuple[int, int]] = {}       # incident → the last seq that an anchor knew, and that anchor
    for anchor in record_store.all_anchors(tx):
        yield from judge_anchor(anchor, before)
        if witnessed.pop(anchor.n, anchor.hash) != anchor.hash:
            yield Finding("", 0, 0, f"anchor {anchor.n} is not the one that was logged")
        known = list(heads_in(anchor))
        found = hashes(tx, [(head.incident_id, head.seq) for head in known])
        for head in known:
            there = found.get((head.incident_id, head.seq))
            if there is None:
                gone[head.incident_id] = max(gone.get(head.incident_id, (0, 0)), (head.seq, anchor.n))
            elif there != head.hash:
                yield Finding(head.incident_id, 0, head.seq, f"is not the one of anchor {anchor.n}: the history was written anew")
        pruned |= {head.incident_id for head in heads_in(anchor, "pruned")}
        before = anchor
    for n in sorted(witnessed):
        yield Finding("", 0, 0, f"anchor {n} was logged and is not there")
    for incident_id, (seq, n) in gone.items():
        if incident_id not in pruned:
            yield Finding(incident_id, 0, seq, f"was deleted: anchor {n} knew it")
