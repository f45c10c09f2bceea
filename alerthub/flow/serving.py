"""Which of the runs that tighten this replica can run, and by which rule. While a configuration is rolled out replicas have
different ones: the older must not eat the push of what only the newer knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerthub.actions.base import Action, ActionSettings, parameters_for
from alerthub.domain.action import RunState, after_crash
from alerthub.domain.rules import ActionRule, Direction, Rules, RunMode
from alerthub.errors import ActionFailed
from alerthub.store.runs import Run
from alerthub.store.tx import AnyRow

LEFT_FOR = timedelta(seconds=30)                # then no replica can run it, and a person is paged
Due = tuple[list[Run], Sequence[AnyRow]]        # and their rows, to lease


@dataclass(frozen=True, slots=True)
class Armed:
    """An action ready for one target, and the settings that say what a run may take from labels."""

    action: Action
    settings: ActionSettings


Arsenal = Mapping[tuple[str, str], Armed]      # by (action, target): what this replica can run


def sorted_out(rules: Rules, arsenal: Arsenal, found: Due, now: datetime) -> tuple[Due, Due, list[Run]]:
    """Which of these tightens are started here, which are ended, and which are left to a replica that knows more."""
    ours: list[tuple[Run, AnyRow]] = []
    over: list[tuple[Run, AnyRow]] = []
    left: list[Run] = []
    for run, row in zip(*found, strict=True):
        rule = rule_of(rules, arsenal, run)
        if rule is None or (rule.name, run.target) not in arsenal:
            waits_since = max(run.created_at, row.lease_until or run.created_at)
            if now - waits_since < LEFT_FOR:
                left.append(run)
            else:
                over.append((run, row))
        else:
            can_run = not is_in_doubt(rule, run) and allows(arsenal[rule.name, run.target], run)
            (ours if can_run else over).append((run, row))
    return unzipped(ours), unzipped(over), left


def unzipped(pairs: Sequence[tuple[Run, AnyRow]]) -> Due:
    return [run for run, _ in pairs], [row for _, row in pairs]


def rule_of(rules: Rules, arsenal: Arsenal, run: Run) -> ActionRule | None:
    """The rule of a run. What makes a target safe, and has another name since it was called for, is run by that name: by the
    one type of tighten that this target has. With several types nobody knows which of them was meant."""
    rule = rules.actions.get(run.action)
    if run.direction != Direction.tighten.value or (rule is not None and (rule.name, run.target) in arsenal):
        return rule
    others = [other for _, other in sorted(rules.actions.items())
              if other.direction is Direction.tighten and (other.name, run.target) in arsenal and (
                  rule is None or other.type == rule.type)]
    return others[0] if len({other.type for other in others}) == 1 else rule


def allows(armed: Armed, run: Run) -> bool:
    """Whether the labels of the alert say nothing that the action does not allow."""
    try:
        parameters_for(armed.settings, run.labels)
    except ActionFailed:
        return False
    return True


def is_lost(run: Run) -> bool:
    """Found started, its holder dead: it may have had its effect."""
    return run.state is RunState.started and run.mode == RunMode.live.value


def is_in_doubt(rule: ActionRule | None, run: Run) -> bool:
    """Lost, and it must not be gone on with."""
    return is_lost(run) and after_crash(rule) is RunState.unknown
