"""Which actions an alert calls for, and whether each may run now. THE place for every guard: approval, cooldown, caps,
blast radius, freeze and the latch are decided here, purely, each with a named reason; the flow only obeys.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from alerthub.domain.alert import Alert
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Direction, Rules
from alerthub.domain.wording import clip

# A neutral action answers what was true when it was proposed; after an outage of the hub longer than this it is a person's
# decision whether it still fits (PROTOCOLS 6.5: stale plans).
START_WITHIN = timedelta(minutes=15)


SHOWN = 80      # characters of a label that names no target


class RunState(StrEnum):
    proposed = "proposed"
    awaiting_approval = "awaiting_approval"
    approved = "approved"        # may start: due
    started = "started"          # committed before the effect; from here on it is never started again
    verifying = "verifying"
    succeeded = "succeeded"
    failed = "failed"
    unknown = "unknown"
    refused = "refused"
    expired = "expired"

    @property
    def is_final(self) -> bool:
        return self in (RunState.succeeded, RunState.failed, RunState.unknown, RunState.refused, RunState.expired)


class Reason(StrEnum):
    """Why a run may start, waits, or is refused. The same word in record, log, metric and message."""

    tighten = "tighten"                      # into the safe state: at once, nobody is asked
    allowed = "allowed"
    needs_approval = "needs_approval"
    cooling_down = "cooling_down"
    over_hourly_limit = "over_hourly_limit"
    unknown_target = "unknown_target"        # the label names no configured target
    incident_closed = "incident_closed"
    rule_changed = "rule_changed"
    bad_label = "bad_label"                  # a label says what the action does not allow
    too_old = "too_old"
    silenced = "silenced"                    # people asked for silence; tightening goes on
    flapping = "flapping"
    crashed = "crashed"                      # the hub stopped while it ran


REASON_TEXT = {
    Reason.tighten: "tightening needs nobody",
    Reason.allowed: "allowed",
    Reason.silenced: "the incident is silenced; run it by hand where it is needed",
    Reason.flapping: "the incident comes and goes too often; run it by hand where it is needed",
    Reason.needs_approval: "a person must approve it",
    Reason.cooling_down: "it ran on this target a short time ago (cooldown)",
    Reason.over_hourly_limit: "it has run as often as max_per_hour allows",
    Reason.unknown_target: "the alert names no configured target",
    Reason.incident_closed: "the incident was closed before it could start",
    Reason.rule_changed: "the action was changed in the configuration since it was proposed",
    Reason.bad_label: "a label of the alert is missing, or has a value that the action does not allow",
    Reason.too_old: "it waited for too long to be started safely",
    Reason.crashed: "the hub stopped while it ran",
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """One action on one target, called for by one alert."""

    rule: ActionRule
    target: str
    alert: Alert
    reason: Reason | None = None     # set when it is refused before it is a run
    text: str = ""                   # why it is refused, in full


def proposals(routes: Iterable[Route], alert: Alert, rules: Rules) -> list[Proposal]:
    """What the matched routes call for. Targets come from the configuration; a label can only choose among them."""
    found: dict[tuple[str, str], Proposal] = {}
    for route in routes:
        for name in route.actions:
            rule = rules.actions[name]
            for proposal in on_targets(rule, alert, rules):
                found.setdefault((name, proposal.target), proposal)
    return list(found.values())


def on_targets(rule: ActionRule, alert: Alert, rules: Rules) -> list[Proposal]:
    if not rule.target_label:
        return [Proposal(rule, target, alert) for target in rule.targets or ("",)]
    wanted = alert.labels.get(rule.target_label, "")
    if wanted in rules.targets and (not rule.targets or wanted in rule.targets):
        return [Proposal(rule, wanted, alert)]
    shown = clip(wanted, SHOWN)
    known = ", ".join(sorted(rule.targets or rules.targets)) or "none"
    name = rule.target_label
    label = f'the label {name}="{shown}" names no target' if wanted else f"the alert has no label {name}"
    # The mark keeps it apart from every configured name: none may begin with it.
    return [Proposal(rule, f"?{shown}", alert, Reason.unknown_target, f"{label}; known are {known}")]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a guard may know of the world when it decides: read in the transaction that obeys the decision."""

    is_open: bool
    rule_version: str                       # of the configuration now; empty when the action is no longer there
    proposed_version: str
    proposed_at: datetime
    last_started: datetime | None = None    # this action on this target
    started_last_hour: int = 0              # this action, all targets
    approvals: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    state: RunState
    reason: Reason


def may_start(rule: ActionRule, facts: Facts, now: datetime) -> Decision:
    """Decide for a run that is about to start. A tighten passes everything: no cooldown, cap, approval or closed incident
    may delay or drop it. Everything else must pass every guard, again, at the moment of execution (R-42)."""
    if rule.direction is Direction.tighten:
        return Decision(RunState.approved, Reason.tighten)
    if facts.rule_version != facts.proposed_version:
        return Decision(RunState.refused, Reason.rule_changed)
    if not facts.is_open:
        return Decision(RunState.refused, Reason.incident_closed)
    if facts.last_started is not None and now - facts.last_started < rule.cooldown:
        return Decision(RunState.refused, Reason.cooling_down)
    if rule.max_per_hour and facts.started_last_hour >= rule.max_per_hour:
        return Decision(RunState.refused, Reason.over_hourly_limit)
    if rule.approval is not None and facts.approvals < rule.approval.count:
        if now - facts.proposed_at > rule.approval.within:
            return Decision(RunState.expired, Reason.needs_approval)
        return Decision(RunState.awaiting_approval, Reason.needs_approval)
    waited_for_people = rule.approval.within if rule.approval is not None else timedelta(0)
    if now - facts.proposed_at > waited_for_people + START_WITHIN:
        return Decision(RunState.expired, Reason.too_old)
    return Decision(RunState.approved, Reason.allowed)


def after_crash(rule: ActionRule | None) -> RunState:
    """What a run that was found started, its holder dead, becomes: set semantics may go on, all else is in doubt."""
    return RunState.started if rule is not None and rule.resumable else RunState.unknown
