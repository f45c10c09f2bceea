"""Which actions an alert calls for, on which targets; the states of a run, and the reasons for what becomes of it. Whether a
run may start is decided in guard.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from alerthub.domain.alert import Alert
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Rules
from alerthub.domain.wording import clip

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
    frozen = "frozen"                        # people have frozen it, or all of them
    circuit_open = "circuit_open"            # it failed too often in a row
    over_limit_of_all = "over_limit_of_all"  # guards.max_per_hour
    blast_radius = "blast_radius"            # too many targets at once
    denied = "denied"
    not_approved = "not_approved"            # not by enough people, in time
    shadow = "shadow"                        # it would have been run
    dry_run = "dry_run"                      # the target was asked whether it would do it
    latch_moved = "latch_moved"              # of a release: it is not the one that people agreed to
    not_proved = "not_proved"                # of a release: what latched the target is not proved to be over


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
    Reason.frozen: "actions are frozen; run it by hand where it is needed, and lift the freeze when they may run again",
    Reason.circuit_open: "it failed too often in a row; repair the cause, then it is tried again",
    Reason.over_limit_of_all: "all actions together have run as often as guards.max_per_hour allows",
    Reason.blast_radius: "it has touched as many targets as blast_radius allows; look whether more of them should be",
    Reason.denied: "a person said no",
    Reason.not_approved: "not enough people approved it in time; run it by hand where it is needed",
    Reason.shadow: "shadow mode: nothing was sent",
    Reason.dry_run: "dry run: nothing was changed",
    Reason.latch_moved: "the target was made safe again, or the release is over; ask for a new one",
    Reason.not_proved: "it is not proved that what made the target safe is over",
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


def after_crash(rule: ActionRule | None) -> RunState:
    """What a run that was found started, its holder dead, becomes: set semantics may go on, all else is in doubt."""
    return RunState.started if rule is not None and rule.resumable else RunState.unknown
