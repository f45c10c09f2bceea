"""Runs as plain JSON, for whoever tells them in words or keeps them as evidence; and in the same form what was asked of latched
targets and came to no run. Votes, latches and who asked are read in one go each, and not at all where nothing was run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from alerthub.domain.action import Reason, RunState
from alerthub.domain.approval import Vote
from alerthub.domain.event import Event, EventKind
from alerthub.domain.latch import Latch, LatchState
from alerthub.domain.rules import Direction
from alerthub.store import events as event_store
from alerthub.store import latches, reading, votes
from alerthub.store.runs import Run
from alerthub.store.tx import Tx

RUN = ("id", "action", "target", "direction", "mode", "state", "reason", "why", "asked_by", "rule_version", "rules_version",
       "body_sha256", "alert", "labels", "round", "attempt", "created_at", "started_at", "finished_at", "report")
LATCH = ("target", "state", "since", "asked_by", "verified_at")


def views(tx: Tx, found: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """By id of the run."""
    if not found:
        return {}
    said = votes.of(tx, {subject for run in found for subject in subjects(run)})
    held = latches.of_targets(tx, {run.target for run in found if run.direction != Direction.neutral.value})
    releases = {run.incident_id for run in found if run.direction == Direction.relax.value}
    asked = event_store.of_kind(tx, EventKind.latch, releases) if releases else []
    return {run.id: {**plain(run), **votes_of(run, said), "latch": latch_view(held.get(run.target)), **asking_of(run, asked)}
            for run in found}


def subjects(run: Run) -> list[str]:
    """What was voted on: the run, and of a release the request that led to it."""
    return [run.subject, *([f"latch:{run.target}:{run.round - 1}"] if run.direction == Direction.relax.value else [])]


def plain(run: Run) -> dict[str, Any]:
    return {**{name: reading.text(getattr(run, name)) for name in RUN}, "state": run.state.value}


def votes_of(run: Run, said: Mapping[str, Sequence[Vote]]) -> dict[str, Any]:
    return {"votes": vote_views(vote for subject in subjects(run) for vote in said.get(subject, ()))}


def vote_views(said: Iterable[Vote]) -> list[dict[str, Any]]:
    return [{**asdict(vote), "verdict": vote.verdict.value, "at": vote.at.isoformat()} for vote in said]


def latch_view(latch: Latch | None) -> dict[str, Any] | None:
    return {**{name: reading.text(getattr(latch, name)) for name in LATCH}, "state": latch.state.value} if latch else None


def asking_of(run: Run, asked: Iterable[Event]) -> dict[str, Any]:
    """Of a release: by which account it was asked for, or overridden."""
    if run.direction != Direction.relax.value:
        return {}
    mine = [event.data for event in asked if event.data.get("latch") == run.target]
    forced = any(data.get("forced") and data["latch_seq"] == run.round for data in mine)
    seq, state = (run.round, LatchState.releasing) if forced else (run.round - 1, LatchState.release_requested)
    said = next((data for data in mine if (data["latch_seq"], data["state"]) == (seq, state.value)), {})
    return {"is_forced": forced, "asked_account": said.get("account", ""), "asked_via": said.get("via", "")}


# -- requests that came to no run

def requests(tx: Tx, found: Iterable[Run]) -> dict[str, list[dict[str, Any]]]:
    """By incident: who asked for a release, or overrode, and what became of it, as its history tells it. Not those that led to
    one of the runs: these tell it themselves. Nothing where no run has to do with a latch."""
    runs = [run for run in found if run.direction != Direction.neutral.value]
    if not runs:
        return {}
    told: dict[str, list[Event]] = {}
    for event in event_store.of_kind(tx, EventKind.latch, {run.incident_id for run in runs}):
        if "vote" not in event.data:
            told.setdefault(f"{event.incident_id} {event.data['latch']}", []).append(event)
    ran = {(run.target, run.round) for run in runs if run.direction == Direction.relax.value}
    asked = [(event, next(iter(rest), None)) for mine in told.values() for event, *rest in suffixes(mine) if is_request(event)]
    since = {run.incident_id: run.created_at for run in sorted(runs, key=lambda run: run.created_at, reverse=True)}
    return viewed(tx, [(event, end) for event, end in asked
                       if releasing(event, end) not in ran and event.at >= since[event.incident_id]])


def suffixes(events: Sequence[Event]) -> Iterable[Sequence[Event]]:
    return (events[index:] for index in range(len(events)))


def is_request(event: Event) -> bool:
    return bool(event.data.get("forced")) or event.data["state"] == LatchState.release_requested.value


def releasing(event: Event, end: Event | None) -> tuple[str, int]:
    """The target and the change of its latch by which it would be told to act again."""
    last = event if event.data.get("forced") or end is None else end
    return last.data["latch"], last.data["latch_seq"]


def viewed(tx: Tx, asked: Sequence[tuple[Event, Event | None]]) -> dict[str, list[dict[str, Any]]]:
    targets = {event.data["latch"] for event, _ in asked}
    held, said = latches.of_targets(tx, targets), votes.of(tx, {subject_of(event) for event, _ in asked})
    found: dict[str, list[dict[str, Any]]] = {}
    for event, end in sorted(asked, key=lambda pair: pair[0].seq):
        latch = held.get(event.data["latch"])
        state, reason, detail = outcome(event, end, latch)
        found.setdefault(event.incident_id, []).append({
            "id": "", "line": event.seq, "action": "release", "target": event.data["latch"], "direction": Direction.relax.value,
            "state": state.value, "reason": reason.value, "why": event.text, "asked_by": event.actor.name,
            "asked_account": event.data.get("account", ""), "asked_via": event.data.get("via", ""),
            "is_forced": bool(event.data.get("forced")), "created_at": event.at.isoformat(), "started_at": None,
            "finished_at": end.at.isoformat() if end else None, "report": {"detail": detail} if detail else {},
            "votes": vote_views(said.get(subject_of(event), ())), "latch": latch_view(latch)})
    return found


def subject_of(event: Event) -> str:
    return f"latch:{event.data['latch']}:{event.data['latch_seq']}"


def outcome(event: Event, end: Event | None, latch: Latch | None) -> tuple[RunState, Reason, str]:
    """What became of a request, by the next change of its latch in the same history."""
    if end is None:
        stands = latch is not None and latch.subject == subject_of(event)
        return (RunState.awaiting_approval, Reason.needs_approval, "") if stands else (
            RunState.refused, Reason.latch_moved, "another alert made it safe again")
    if end.data["state"] != LatchState.safe.value:
        return RunState.succeeded, Reason.allowed, end.text
    return RunState.refused, Reason.denied if end.data.get("account") else Reason.not_approved, end.text
