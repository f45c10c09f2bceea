"""Whether a run may start. THE place for every guard: approval, cooldown, caps, blast radius, circuit, freeze and the latch are
decided here, purely, each with a named reason; the flow only obeys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerthub.domain.action import REASON_TEXT, Reason, RunState
from alerthub.domain.approval import Tally
from alerthub.domain.latch import LatchState, minutes
from alerthub.domain.local_time import clock_time
from alerthub.domain.rules import ActionRule, Direction, Guards, RunMode

# A neutral action answers what was true when it was proposed; after an outage of the hub longer than this it is a person's
# decision whether it still fits (PROTOCOLS 6.5: stale plans).
START_WITHIN = timedelta(minutes=15)
NO_GUARDS = Guards()
REHEARSED = {RunMode.shadow: Reason.shadow, RunMode.dry_run: Reason.dry_run}     # how a run ends that was not live


@dataclass(frozen=True, slots=True)
class Facts:
    """What a guard may know of the world when it decides: read in the transaction that obeys the decision. Counted are runs
    that neither tighten nor were run in another mode than this one would be."""

    direction: Direction
    is_open: bool
    rule_version: str                       # of the configuration now; empty when the action is no longer there
    proposed_version: str
    proposed_at: datetime
    started_at: datetime | None = None      # when it was, if it has been begun
    target: str = ""
    frozen: str = ""                        # by whom and why; empty: it is not
    last_started: datetime | None = None    # this action on this target
    started_last_hour: int = 0              # this action, all targets
    all_started_last_hour: int = 0          # all actions
    touched: frozenset[str] = frozenset()   # targets of this action, started within the time of its blast radius
    failures: int = 0                       # failed or unknown, in a row, counted back from the run that began last
    last_failed: datetime | None = None
    is_under_way: bool = False              # this action, on whatever target
    tally: Tally | None = None              # of the people who were asked
    latch: LatchState = LatchState.armed    # of the target; with `latch_seq`, for a release only
    latch_seq: int = 0
    round: int = 0                          # the seq of the latch to which people agreed
    unproved: str = ""                      # what is missing in the proof for the release


@dataclass(frozen=True, slots=True)
class Decision:
    """`text` says it of this very run, where more is known than the reason says."""

    state: RunState
    reason: Reason
    text: str = field(default="", compare=False)


def refused(reason: Reason, text: str = "") -> Decision:
    return Decision(RunState.refused, reason, text or REASON_TEXT[reason])


def mode_of(rule: ActionRule, direction: Direction, guards: Guards) -> RunMode:
    """The weaker of the action's own mode and that of all; what tightens or releases is always live."""
    if direction is not Direction.neutral:
        return RunMode.live
    modes = (rule.mode, guards.mode)
    return next((mode for mode in (RunMode.shadow, RunMode.dry_run) if mode in modes), RunMode.live)


Guard = Callable[[ActionRule, Facts, Guards, datetime], Decision | None]


def changed(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    return refused(Reason.rule_changed) if facts.rule_version != facts.proposed_version else None


def closed(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    return None if facts.is_open else refused(Reason.incident_closed)


def moved(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    stands = facts.latch is LatchState.releasing and facts.latch_seq == facts.round
    return None if stands else refused(Reason.latch_moved)


def unproved(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    return refused(Reason.not_proved, facts.unproved) if facts.unproved else None


def denied(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    names = facts.tally.denied if facts.tally is not None else ()
    return refused(Reason.denied, f"{' and '.join(names)} said no") if names else None


def frozen(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    return refused(Reason.frozen, f"{facts.frozen}; {REASON_TEXT[Reason.frozen]}") if facts.frozen else None


def circuit_open(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    """After `reset` it is tried again, by one run at a time."""
    circuit = rule.circuit
    if not circuit.failures or facts.failures < circuit.failures or facts.last_failed is None:
        return None
    until = facts.last_failed + circuit.reset
    if now < until:
        return refused(Reason.circuit_open, f"its last {circuit.failures} runs failed or are unconfirmed; repair the cause: it "
                                            f"is tried again after {clock_time(until, guards.time_zone, now)}")
    return refused(Reason.circuit_open, "its last runs failed, and another run is trying it now") if facts.is_under_way else None


def cooling_down(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    if facts.last_started is None or now - facts.last_started >= rule.cooldown:
        return None
    return refused(Reason.cooling_down, f"it ran on this target {minutes(now - facts.last_started)} ago, and cooldown is "
                                        f"{minutes(rule.cooldown)}")


def over_hourly_limit(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    is_over = rule.max_per_hour and facts.started_last_hour >= rule.max_per_hour
    return refused(Reason.over_hourly_limit, f"it has run {facts.started_last_hour} times in this hour, and max_per_hour is "
                                             f"{rule.max_per_hour}") if is_over else None


def over_limit_of_all(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    is_over = guards.max_per_hour and facts.all_started_last_hour >= guards.max_per_hour
    return refused(Reason.over_limit_of_all, f"all actions together have run {facts.all_started_last_hour} times in this hour, "
                                             f"and guards.max_per_hour is {guards.max_per_hour}") if is_over else None


def beyond_blast(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    """A target that was touched already does not count again. Per cent of the action's targets, rounded down, but one."""
    percent = max(1, rule.blast.percent * len(rule.targets) // 100) if rule.blast.percent else 0
    most = min((limit for limit in (rule.blast.targets, percent) if limit), default=0)
    if not most or facts.target in facts.touched or len(facts.touched) < most:
        return None
    return refused(Reason.blast_radius, f"it has touched {len(facts.touched)} other targets in {minutes(rule.blast.within)}, and "
                                        f"blast_radius allows {most}; look whether more of them should be")


def unapproved(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    """Nobody is asked about what is only rehearsed."""
    approval = rule.approval
    if approval is None or (facts.tally is not None and facts.tally.is_enough) or mode_of(
            rule, facts.direction, guards) is not RunMode.live:
        return None
    given = len(facts.tally.approved) if facts.tally is not None else 0
    if now - facts.proposed_at > approval.within:
        return Decision(RunState.expired, Reason.not_approved, f"{given} of {approval.count} people approved it in "
                        f"{minutes(approval.within)}; run it by hand where it is needed")
    return Decision(RunState.awaiting_approval, Reason.needs_approval,
                    f"{approval.count - given} more with the role {approval.role} must approve it")


def too_old(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    approval = rule.approval if facts.direction is Direction.neutral else None
    is_old = now - facts.proposed_at > START_WITHIN + (approval.within if approval is not None else timedelta(0))
    return Decision(RunState.expired, Reason.too_old, REASON_TEXT[Reason.too_old]) if is_old else None


def begun_long_ago(rule: ActionRule, facts: Facts, guards: Guards, now: datetime) -> Decision | None:
    """What was true when it was begun need not be after a long outage."""
    is_old = facts.started_at is not None and now - facts.started_at > START_WITHIN
    return Decision(RunState.expired, Reason.too_old, REASON_TEXT[Reason.too_old]) if is_old else None


FOR_NEUTRAL: tuple[Guard, ...] = (changed, closed, denied, frozen, circuit_open, cooling_down, over_hourly_limit,
                                  over_limit_of_all, beyond_blast, unapproved, too_old)
FOR_RELAX: tuple[Guard, ...] = (changed, moved, unproved, frozen, over_limit_of_all, too_old)
# What was begun before a crash is gone on with only while nobody wants it otherwise.
TO_GO_ON: dict[Direction, tuple[Guard, ...]] = {
    Direction.tighten: (), Direction.neutral: (changed, closed, frozen, begun_long_ago),
    Direction.relax: (changed, moved, unproved, frozen)}


def first(guards: Iterable[Guard], rule: ActionRule, facts: Facts, limits: Guards, now: datetime) -> Decision | None:
    return next((found for guard in guards if (found := guard(rule, facts, limits, now)) is not None), None)


def may_start(rule: ActionRule, facts: Facts, now: datetime, guards: Guards = NO_GUARDS) -> Decision:
    """Decide for a run that is about to start. A tighten passes everything: nothing may delay or drop it. Everything else must
    pass every guard, again, at the moment of execution (R-42).

    When several speak against it, the first wins: the run makes no sense any more (rule changed, incident closed; of a release:
    latch moved, not proved); people said no (denied, frozen); it went wrong before (circuit); limits (cooldown, per hour, of all,
    blast radius); people have yet to agree, so that they are asked only about what could start; too old. What may start in
    another mode than live says so as its reason."""
    if facts.direction is Direction.tighten:
        return Decision(RunState.approved, Reason.tighten)
    is_relax = facts.direction is Direction.relax
    if (against := first(FOR_RELAX if is_relax else FOR_NEUTRAL, rule, facts, guards, now)) is not None:
        return against
    return Decision(RunState.approved, REHEARSED.get(mode_of(rule, facts.direction, guards), Reason.allowed))


def may_go_on(rule: ActionRule, facts: Facts, now: datetime) -> Decision | None:
    """What speaks against going on with a run that was found started, its holder dead; None: nothing."""
    return first(TO_GO_ON[facts.direction], rule, facts, NO_GUARDS, now)
