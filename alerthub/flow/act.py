"""The room where actions run: decide, commit `started`, cause the effect once, settle. Which guards there are is decided in
domain/guard.py; here they are only obeyed. How a run ends is in finish.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerthub.actions.base import Action, Call, Outcome, Rehearsing, Report, parameters_for
from alerthub.clock import Clock
from alerthub.domain.action import REASON_TEXT, Reason, RunState
from alerthub.domain.approval import tally
from alerthub.domain.guard import REHEARSED, Decision, Facts, may_go_on, may_start, mode_of, refused
from alerthub.domain.latch import LatchState
from alerthub.domain.rules import ActionRule, Direction, Release, Rules, RunMode
from alerthub.errors import ActionFailed
from alerthub.flow import latch
from alerthub.flow.again import while_busy
from alerthub.flow.asking import call_approvers
from alerthub.flow.finish import beginning, finish, tell
from alerthub.flow.serving import Arsenal, Due, is_in_doubt, is_lost, rule_of, sorted_out
from alerthub.store import alerts as alert_store
from alerthub.store import freezes, latches, leases, runs, votes
from alerthub.store.database import Store
from alerthub.store.schema import action_runs
from alerthub.store.tx import Tx

LEASE_BEYOND = timedelta(seconds=15)     # a lease ends this long after the run's own deadline
TOGETHER = 200     # tightening runs started by one claim; more follow at once
LEFT = timedelta(seconds=2)             # when to look again at a tighten that is left to another replica
SETTLE_WAITS = (0.2, 0.5, 1.0, 2.0, 2.0)     # seconds
FINAL = {Outcome.succeeded: RunState.succeeded, Outcome.failed: RunState.failed, Outcome.unknown: RunState.unknown}
NOT_RUN = (RunState.refused, RunState.expired)


@dataclass(frozen=True, slots=True)
class Started:
    """A run whose start is committed: it is now or never."""

    run: runs.Run
    rule: ActionRule
    call: Call
    attempt: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is to be run now, and how many runs were decided about: the end of one may have made messages due. `refused`: the
    action and the reason of each that is not run. `ending`: how many tightens cannot be run, and are still to be ended."""

    started: Sequence[Started] = ()
    runs: int = 0
    refused: Sequence[tuple[str, Reason]] = ()
    ending: int = 0


def claim_tightening(tx: Tx, rules: Rules, arsenal: Arsenal, owner: str, now: datetime) -> Claimed:
    """Commit the start of the runs that tighten and are due. In a transaction of its own, and without slots: nothing that
    hangs or breaks may keep an agent from its safe mode. Nothing here waits for an incident that somebody holds: what cannot be
    run is ended by `end_tightening`."""
    found = runs.due(tx, now, TOGETHER, tighten=True)
    ours, over, left = sorted_out(rules, arsenal, found, now)
    put_back = runs.leave(tx, [run.id for run in left], now, now + LEFT)
    claimed = decide(tx, rules, arsenal, ours, owner, now)
    more = put_back if len(found[0]) == TOGETHER else 0     # behind them may be what can be run
    return replace(claimed, runs=claimed.runs + more, ending=len(over[0]))


def end_tightening(tx: Tx, rules: Rules, arsenal: Arsenal, owner: str, now: datetime) -> Claimed:
    """End the tightens that no replica can run, and those whose fate a crash has left in doubt: a person is paged."""
    _, over, _ = sorted_out(rules, arsenal, runs.due(tx, now, TOGETHER, tighten=True), now)
    return decide(tx, rules, arsenal, over, owner, now)


def claim(tx: Tx, rules: Rules, arsenal: Arsenal, slots: int, owner: str, now: datetime) -> Claimed:
    """Decide about all other runs that are due and commit the start of those that may. One replica at a time does: the next
    one sees what it has started."""
    due = runs.due(tx, now, slots, tighten=False) if slots > 0 else ([], ())
    if not due[0] or not runs.may_decide(tx):
        return Claimed()
    return decide(tx, rules, arsenal, due, owner, now)


def decide(tx: Tx, rules: Rules, arsenal: Arsenal, due: Due, owner: str, now: datetime) -> Claimed:
    started: list[Started] = []
    against: list[tuple[str, Reason]] = []
    for run, row in zip(*due, strict=True):
        rule = rule_of(rules, arsenal, run)
        decision = decision_about(tx, rules, rule, run, now)
        begun = (prepared(tx, rules, arsenal, rule, run, now)
                 if rule is not None and decision.state is RunState.approved else decision)
        if isinstance(begun, Started):
            leases.lease(tx, action_runs, "id", [row], owner, now + begun.rule.deadline + LEASE_BEYOND,
                         state=RunState.started.value, started_at=run.started_at or now, mode=begun.run.mode,
                         reason=decision.reason.value)
            started.append(begun)
            continue
        obey(tx, rules, rule, run, begun, now)
        if begun.state in NOT_RUN:
            against.append((run.action, begun.reason))
    return Claimed(started, len(due[0]), against)


def prepared(tx: Tx, rules: Rules, arsenal: Arsenal, rule: ActionRule, run: runs.Run, now: datetime) -> Started | Decision:
    """What is to be run. Not for a label that says what the action does not allow."""
    resumes = run.state is RunState.started
    try:
        call = call_of(tx, rules, run, rule, arsenal, now)
    except ActionFailed as error:
        return refused(Reason.bad_label, error.detail)
    mode = RunMode(run.mode) if resumes else mode_of(rule, Direction(run.direction), rules.guards)
    return Started(replace(run, mode=mode.value), rule, call, run.attempt + 1)


def decision_about(tx: Tx, rules: Rules, rule: ActionRule | None, run: runs.Run, now: datetime) -> Decision:
    """Whether a due run is started now. One that was found started, its holder dead, goes on only with set semantics, and
    only while nobody wants it otherwise."""
    if is_in_doubt(rule, run):
        return Decision(RunState.unknown, Reason.crashed, REASON_TEXT[Reason.crashed])
    if rule is None:
        return refused(Reason.rule_changed)
    if run.state is not RunState.started:
        return may_start(rule, facts_of(tx, rules, rule, run, now), now, rules.guards)
    against = may_go_on(rule, facts_of(tx, rules, rule, run, now), now) if is_lost(run) else None
    if against is not None:
        return Decision(RunState.unknown, against.reason, f"{REASON_TEXT[Reason.crashed]}, and it was not gone on with: "
                                                          f"{against.text}")
    return Decision(RunState.approved, reason_of(run))


def reason_of(run: runs.Run) -> Reason:
    """Why a run was started that has been."""
    if run.direction == Direction.tighten.value:
        return Reason.tighten
    return REHEARSED.get(RunMode(run.mode), Reason.allowed)


def facts_of(tx: Tx, rules: Rules, rule: ActionRule, run: runs.Run, now: datetime) -> Facts:
    """All that the guards may know: what the store counts, what people said, and what holds the target."""
    direction = Direction(run.direction)
    known = runs.facts(tx, run, rule, rules.actions, mode_of(rule, direction, rules.guards), now)
    if direction is Direction.tighten:
        return known
    known = replace(known, frozen=", ".join(freeze.text(rules.answers.time_zone) for freeze in freezes.standing(tx)
                                            if freeze.holds(run.action)))
    if direction is Direction.relax:
        return with_latch(tx, rules, run, known, now)
    if rule.approval is None:
        return known
    until = run.created_at + rule.approval.within       # a word that came later does not count (F21)
    said = [vote for vote in votes.of(tx, [run.subject]).get(run.subject, ()) if vote.at <= until]
    return replace(known, tally=tally(said, rule.approval, rules.people, run.asked_by))


def with_latch(tx: Tx, rules: Rules, run: runs.Run, known: Facts, now: datetime) -> Facts:
    """Of a release: the latch now, and what is missing in its proof now (R-42)."""
    found = latches.find(tx, run.target)
    if found is None:
        return known
    unproved = latch.release_stands(tx, rules, run, now) if found.state is LatchState.releasing else ""
    return replace(known, latch=found.state, latch_seq=found.seq, unproved=unproved)


def obey(tx: Tx, rules: Rules, rule: ActionRule | None, run: runs.Run, decision: Decision, now: datetime) -> None:
    """Let it wait, or end it and say why."""
    if decision.state is not RunState.awaiting_approval or rule is None or rule.approval is None:
        lost = Report(Outcome.unknown, decision.text) if decision.state is RunState.unknown else None
        finish(tx, rules, run, decision.state, decision.reason, lost, now, text=decision.text)
        return
    runs.decide(tx, run.id, state=decision.state.value, reason=decision.reason.value,
                due_at=run.created_at + rule.approval.within + timedelta(seconds=1))
    if run.state is not RunState.awaiting_approval:
        incident = alert_store.find_incident(tx, run.incident_id)
        called = call_approvers(tx, rules, incident, rule.approval, run.asked_by, now) if incident is not None else {}
        tell(tx, run, f"{beginning(run)} waits: {decision.text}", now,
             {"state": decision.state.value, "reason": decision.reason.value, **called})


def call_of(tx: Tx, rules: Rules, run: runs.Run, rule: ActionRule, arsenal: Arsenal, now: datetime) -> Call:
    """What the target will be told. Raises ActionFailed for a label value that the action does not allow."""
    armed = arsenal.get((rule.name, run.target))
    parameters = parameters_for(armed.settings, run.labels) if armed else {}
    incident = alert_store.find_incident(tx, run.incident_id)
    release = rules.releases.get(run.target, Release()).mode if run.direction == Direction.relax.value else ""
    return Call(id=run.id, action=rule.name, target=run.target or None, reason=run.why, incident_id=run.incident_id,
                number=incident.number if incident else 0, created_at=run.created_at, deadline=now + rule.deadline,
                parameters=parameters, resumed=run.state is RunState.started, release=release)


@dataclass(frozen=True, slots=True)
class Acted:
    """How a run ended: for metrics and logs."""

    action: str
    target: str
    state: RunState
    detail: str
    seconds: float
    reason: Reason = Reason.allowed


async def run_one(store: Store, rules: Rules, arsenal: Arsenal, started: Started, clock: Clock, held: float = 0.0) -> Acted:
    """Cause the effect and settle. The start is committed already, so nobody will start it again. `held`: for how many seconds of
    the monotonic clock it has been so when this begins."""
    began = clock.monotonic()
    run = started.run
    report = await report_of(arsenal, started, clock, timedelta(seconds=held))
    if started.rule.name != run.action:
        report = replace(report, detail=f"{report.detail} (run by {started.rule.name}; {run.action} is no longer configured)")
    await settle_later(store, rules, started, report, clock)
    state, reason = ending(run, report)
    return Acted(run.action, run.target, state, report.detail, clock.monotonic() - began, reason)


async def report_of(arsenal: Arsenal, started: Started, clock: Clock, held: timedelta) -> Report:
    """What came of it. What does not make safe is not begun once its time is over: whoever stood still for so long may have been
    taken for dead, and a person called. By either clock: the monotonic one stands still with the machine."""
    run, rule = started.run, started.rule
    armed = arsenal.get((rule.name, run.target))
    if armed is None:
        return Report(Outcome.failed, "the action or its target is no longer in the configuration")
    now = clock.now()
    deadline = now + rule.deadline
    if run.direction != Direction.tighten.value:
        deadline = min(deadline - held, started.call.deadline)
        if deadline <= now:
            outcome = Outcome.unknown if started.call.resumed else Outcome.failed
            return Report(outcome, "the hub was held up for so long that it was not begun any more")
    call = replace(started.call, deadline=deadline)
    if run.mode == RunMode.live.value:
        return await armed.action.run(call)
    return await rehearsed(armed.action, rule, call, RunMode(run.mode))


async def rehearsed(action: Action, rule: ActionRule, call: Call, mode: RunMode) -> Report:
    """What would have been sent, and in a dry run what the target says to that. Nothing is changed."""
    if isinstance(action, Rehearsing):
        report = await action.rehearse(call, ask=mode is RunMode.dry_run)
    else:
        parameters = dict(call.parameters)
        report = Report(Outcome.succeeded, f"an action of type {rule.type} cannot show its request",
                        {"action": call.action, "target": call.target, "parameters": parameters})
    if rule.approval is None:
        return report
    return replace(report, detail=f"{report.detail}; {rule.approval.count} with the role {rule.approval.role} would have to "
                                  "approve it first")


async def lose(store: Store, rules: Rules, started: Started, clock: Clock, why: str) -> None:
    """Whether it had an effect is not known, so a person is paged."""
    await settle_later(store, rules, started, Report(Outcome.unknown, why), clock)


async def settle_later(store: Store, rules: Rules, started: Started, report: Report, clock: Clock) -> None:
    """Settle, trying again while the database is away. When it stays away, the lease ends and the run is found unknown."""
    await while_busy(lambda: store.write(lambda tx: settle(tx, rules, started, report, clock.now())), SETTLE_WAITS, clock)


def settle(tx: Tx, rules: Rules, started: Started, report: Report, now: datetime) -> None:
    state, reason = ending(started.run, report)
    if not finish(tx, rules, started.run, state, reason, report, now, attempt=started.attempt):
        latch.came_late(tx, rules, started.run, state, now)


def ending(run: runs.Run, report: Report) -> tuple[RunState, Reason]:
    """What was only rehearsed has had no effect, whatever came of it."""
    is_live = run.mode == RunMode.live.value
    return FINAL[report.outcome] if is_live else RunState.refused, reason_of(run)
