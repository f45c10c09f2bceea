"""The evidence of one incident: what was done, what was not and why, by whom, and where it stands in the record. A pack is plain
JSON that can be checked without the hub: its events hash as the record does, and all of it has one digest. How a run is told in
words is in story.py. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alerthub.domain.record import Row, anchor_hash, judge_history, sha256
from alerthub.domain.story import Fate, fate_of, story

VERSION = "alerthub-evidence-v1"
DIGEST = "sha256"
ROW = ("incident_id", "seq", "at", "kind", "actor_kind", "actor_name", "text", "data", "hash")


def sealed(pack: Mapping[str, Any]) -> dict[str, Any]:
    """With its digest, which is over everything else in it."""
    return {**pack, DIGEST: sha256(dict(pack))}


def faults(pack: Mapping[str, Any]) -> Iterator[str]:
    """Everything in a pack that is not as the hub exported it; nothing when all is. Raises ValueError for what is no pack."""
    check_format(pack)
    try:
        number, last = int(pack["incident"]["number"]), int(pack["incident"]["seq"])
        rows = [Row(**{name: event[name] for name in ROW}) for event in pack["record"]["events"]]
        anchors = [(entry["n"], entry["at"], entry["position"], entry["content"], entry["before"], entry["hash"])
                   for entry in pack["record"]["anchors"]]
        given = pack[DIGEST]
    except KeyError as error:
        raise ValueError(f"it is no evidence of this hub: it has no {str(error.args[0])[:40]}") from None
    except (TypeError, AttributeError, ValueError):
        raise ValueError("it is no evidence of this hub: its parts have another form") from None
    if sha256({name: value for name, value in pack.items() if name != DIGEST}) != given:
        yield "the pack was changed since it was exported: its digest is wrong"
    yield from (str(finding) for finding in judge_history(rows, number, last))
    for n, at, position, content, before, value in anchors:
        if anchor_hash(before, n, at, position, content) != value:
            yield f"anchor {n} was changed"


def check_format(pack: Any) -> None:
    found = pack.get("format") if isinstance(pack, Mapping) else None
    if found is None:
        raise ValueError("it is no evidence of this hub: it has no format")
    if found != VERSION:
        raise ValueError(f"it is of the format {str(found)[:40]}; this program reads {VERSION}")


def summary(runs: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What was done, what was not and why, and what is not decided or not finished: one line each."""
    found: dict[str, list[str]] = {fate.value: [] for fate in Fate}
    for run in runs:
        headline, why, *_ = story(run)
        found[fate_of(run).value].append(f"{headline} {why}")
    return found
