"""The evidence of one incident: what was done, what was not and why, by whom, and where it stands in the record. A pack is plain
JSON that can be checked without the hub: its events hash as the record does, and all of it has one digest. How a run is told in
words is in story.py. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alerthub.domain.record import Row, anchor_hash, judge_history, sha256
from alerthub.domain.story import is_not_done, story

VERSION = "alerthub-evidence-v1"
DIGEST = "sha256"
ROW = ("incident_id", "seq", "at", "kind", "actor_kind", "actor_name", "text", "data", "hash")


def sealed(pack: Mapping[str, Any]) -> dict[str, Any]:
    """With its digest, which is over everything else in it."""
    return {**pack, DIGEST: sha256(dict(pack))}


def faults(pack: Mapping[str, Any]) -> Iterator[str]:
    """Everything in a pack that is not as the hub exported it; nothing when all is. Raises ValueError for what is no pack."""
    try:
        if pack["format"] != VERSION:
            raise ValueError(f"it is of the format {str(pack['format'])[:40]!r}; this program reads {VERSION}")
        number, last = int(pack["incident"]["number"]), int(pack["incident"]["seq"])
        rows = [Row(**{name: event[name] for name in ROW}) for event in pack["record"]["events"]]
        anchors = [(entry["n"], entry["at"], entry["position"], entry["content"], entry["before"], entry["hash"])
                   for entry in pack["record"]["anchors"]]
        given = pack[DIGEST]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no evidence of this hub: {error!r:.60}") from None
    if sha256({name: value for name, value in pack.items() if name != DIGEST}) != given:
        yield "the pack was changed since it was exported: its digest is wrong"
    yield from (str(finding) for finding in judge_history(rows, number, last))
    for n, at, position, content, before, value in anchors:
        if anchor_hash(before, n, at, position, content) != value:
            yield f"anchor {n} was changed"


def summary(runs: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What was done, and what was not and why: one line each."""
    done: list[str] = []
    undone: list[str] = []
    for run in runs:
        headline, why, *_ = story(run)
        (undone if is_not_done(run) else done).append(f"{headline} {why}")
    return {"done": done, "not_done": undone}
