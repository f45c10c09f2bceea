"""SQL of what the automation has done, for people who look: runs in pages, and how much of its limits each action has used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from alerthub.domain.rules import ActionRule, Direction, RunMode
from alerthub.store.runs import HOUR, Run, failed_in_a_row, run_of
from alerthub.store.schema import action_runs, incidents
from alerthub.store.tx import Tx, chunks


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first; `next` is the cursor of the following page, empty when there is none."""

    runs: list[Run]
    next: str


def page(tx: Tx, limit: int, before: str = "", state: str = "", reason: str = "") -> Page:
    """Runs of any state, or of one; for any reason, or for one. `before`: the id of the last one seen."""
    query = select(action_runs).order_by(action_runs.c.id.desc()).limit(limit + 1)      # ids sort by the time of their making
    for column, wanted in ((action_runs.c.state, state), (action_runs.c.reason, reason)):
        query = query.where(column == wanted) if wanted else query
    if before:
        query = query.where(action_runs.c.id < before)
    found = [run_of(row) for row in tx.conn.execute(query)]
    return Page(found[:limit], found[limit - 1].id if len(found) > limit else "")


def find(tx: Tx, run_id: str) -> Run | None:
    """As it is now; nobody is kept from it."""
    row = tx.conn.execute(select(action_runs).where(action_runs.c.id == run_id)).first()
    return run_of(row) if row else None


def started(tx: Tx, actions: Collection[str], now: datetime) -> Mapping[tuple[str, str], int]:
    """How many runs that do not tighten have begun within this hour, by action and mode: what the guards count."""
    found: dict[tuple[str, str], int] = {}
    for chunk in chunks(sorted(actions)):
        query = (select(action_runs.c.action, action_runs.c.mode, func.count())
                 .where(action_runs.c.action.in_(chunk), action_runs.c.direction != Direction.tighten.value,
                        action_runs.c.started_at > now - HOUR).group_by(action_runs.c.action, action_runs.c.mode))
        found.update({(action, mode): number for action, mode, number in tx.conn.execute(query)})
    return found


def failures(tx: Tx, rule: ActionRule, mode: RunMode) -> tuple[int, datetime | None]:
    """How many of those that began last have failed, and when the last of them ended: what its circuit counts."""
    mine = (action_runs.c.action == rule.name, action_runs.c.direction != Direction.tighten.value,
            action_runs.c.mode == mode.value)
    return failed_in_a_row(tx, rule, mine)


def numbers(tx: Tx, incident_ids: Collection[str]) -> Mapping[str, tuple[int, str, int]]:
    """Number, title and how many alerts fire, of these incidents, by id; those that are not kept any more are absent."""
    found: dict[str, tuple[int, str, int]] = {}
    for chunk in chunks(sorted(set(incident_ids))):
        query = select(incidents.c.id, incidents.c.number, incidents.c.title, incidents.c.firing).where(incidents.c.id.in_(chunk))
        found.update({key: (number, title, firing) for key, number, title, firing in tx.conn.execute(query)})
    return found
