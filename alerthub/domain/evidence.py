"""The evidence of one incident: what was done, what was not and why, by whom, and where it stands in the record. A pack is plain
JSON that can be checked without the hub: its events hash as the record does, and all of it has one digest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alerthub.domain.action import REASON_TEXT, Reason, RunState
from alerthub.domain.record import Row, anchor_hash, judge_history, sha256

VERSION = "alerthub-evidence-v1"
DIGEST = "sha256"
ENDED = {
    RunState.succeeded: "was done", RunState.failed: "FAILED: it was not done",
    RunState.unknown: "is UNCONFIRMED: it may have been done", RunState.refused: "was NOT done", RunState.expired: "was NOT done",
}
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


def is_not_done(run: Mapping[str, Any]) -> bool:
    """Whether its effect was certainly not caused, or nobody knows."""
    return run["state"] in (RunState.failed.value, RunState.unknown.value, RunState.refused.value, RunState.expired.value)


def story(run: Mapping[str, Any]) -> tuple[str, ...]:
    """One run in plain words, for a reader who does not know the program: what, why, who, how it was proved."""
    on = f" on {run['target'].removeprefix('?')}" if run["target"] else ""
    state = RunState(run["state"])
    lines = [f"{run['action']}{on} {ENDED.get(state, 'is ' + state.value.replace('_', ' '))}."]
    asked = f"Asked for by {run['asked_by']}" if run["asked_by"] else f"Called for by the alert: {run['why']}"
    lines.append(f"{asked}, at {run['created_at']}.")
    report = run["report"]
    why = report.get("detail") or REASON_TEXT.get(Reason(run["reason"]), run["reason"])
    lines.append(f"{'Why' if is_not_done(run) else 'How it went'}: {why} ({run['reason']}).")
    if run["votes"]:
        lines.append("People: " + "; ".join(
            f"{vote['person']} said {vote['verdict']} at {vote['at']} (as {vote['account']})" for vote in run["votes"]) + ".")
    request = report.get("request") or {}
    if request.get("url"):
        lines.append(f"Request: {request.get('method', 'POST')} {request['url']}, id {run['id']}.")
    if report.get("verified"):
        lines.append(f"Verified: the target said {report['verified']!r}.")
    elif state is RunState.succeeded:
        lines.append("Verified: no; this target cannot be asked, and its answer was taken for it.")
    if report.get("undo"):
        lines.append(f"To undo it: {report['undo']}.")
    return tuple(lines)


def summary(runs: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """First what was done, then what was not and why: one line each."""
    done: list[str] = []
    undone: list[str] = []
    for run in runs:
        lines = story(run)
        (undone if is_not_done(run) else done).append(f"{lines[0]} {lines[2]}")
    return {"done": done, "not_done": undone}
