"""Runs as plain JSON, for whoever tells them in words or keeps them as evidence. Their votes, their latches and who asked are
read in one go each, and not at all where nothing was run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

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
    return {"votes": [{**asdict(vote), "verdict": vote.verdict.value, "at": vote.at.isoformat()}
                      for subject in subjects(run) for vote in said.get(subject, ())]}


def latch_view(latch: Latch | None) -> dict[str, Any] | None:
    return {**{name: reading.text(getattr(latch, name)) for name in LATCH}, "state": latch.state.value} if latch else None


def asking_of(run: Run, asked: Iterable[Event]) -> dict[str, Any]:
    """Of a release: by which account it was asked for, or overridden."""
    if run.direction != Direction.relax.value:
        return {}
    mine = [event.data for event in asked if event.data.get("latch") == run.target]
    forced = any(data.get("forced") and data["latch_seq"] == run.round for data in mine)
    seq, state = (run.round, LatchState.releasing) if forced else (run.round - 1, LatchState.release_requested)
    account = next((data.get("account", "") for data in mine if (data["latch_seq"], data["state"]) == (seq, state.value)), "")
    return {"is_forced": forced, "asked_account": account}
