"""WHEN what waits for its time is done: escalation steps, ends of acknowledgements and silences, heartbeats that did not come,
requests for release that too few agreed to. Each is one transaction; nothing of it leaves the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar

from alerthub.domain.event import Event
from alerthub.domain.rules import Rules
from alerthub.flow import beat, escalate, latch, silencing
from alerthub.flow.intake import Taken
from alerthub.store import latches, leases
from alerthub.store.database import Store, Unit
from alerthub.store.leases import Due
from alerthub.store.tx import Tx, briefly

T = TypeVar("T")


class Holding(Protocol):
    """Makes a unit of work one that is refused when the clock has jumped meanwhile; see `Hours.holding`."""

    def __call__(self, unit: Unit[T]) -> Unit[T]: ...


def freely(unit: Unit[T]) -> Unit[T]:
    return unit


def next_due(tx: Tx, rules: Rules) -> Due:
    """When the first of each kind of work is due: these, lanes and runs."""
    due, beats = leases.next_due(tx), beat.next_due(tx, rules)
    return replace(due, timed=leases.earliest(due.timed, beats))


@dataclass
class Timed:
    """All of them, as one unit of work of the worker's loop."""

    store: Store
    rules: Callable[[], Rules]

    async def run_due(self, now: datetime, holding: Holding = freely) -> list[Event]:
        """Do what is due, each kind in a transaction of its own; what happened, for the log."""
        rules = self.rules()
        called, ended, over, missed = await asyncio.gather(
            self.store.write(briefly(holding(lambda tx: escalate.run_due(tx, rules, now)))),
            self.store.write(briefly(holding(lambda tx: silencing.run_due(tx, rules, now)))),
            self.run_latches(rules, now, holding),
            self.store.write(briefly(holding(lambda tx: beat.run_due(tx, rules, now)))), return_exceptions=True)
        for outcome in (called, ended, over, missed):     # none keeps the others from being done
            if isinstance(outcome, BaseException):
                raise outcome
        lists = [found for found in (called, ended, over) if isinstance(found, list)]
        return [event for found in lists for event in found] + (missed.events if isinstance(missed, Taken) else [])

    async def run_latches(self, rules: Rules, now: datetime, holding: Holding) -> list[Event]:
        """Each target in a transaction of its own: an incident that somebody holds delays its own target only."""
        due = holding(lambda tx: latches.due(tx, now))

        def look(target: str) -> Unit[list[Event]]:
            def unit(tx: Tx) -> list[Event]:
                return latch.run_due(tx, rules, target, now) if target in due(tx) else []    # the clock may be another now
            return briefly(unit)

        targets = await self.store.write(briefly(due))
        outcomes = await asyncio.gather(*(self.store.write(look(target)) for target in targets), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return [event for outcome in outcomes if isinstance(outcome, list) for event in outcome]
