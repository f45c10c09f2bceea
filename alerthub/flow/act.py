"""The room where actions run: decide, commit `started`, cause the effect once, settle. Which guards there are is decided in
domain/action.py; here they are only obeyed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from alerthub.actions.base import Action, ActionSettings, Call, Outcome, Report, parameters_for
from alerthub.clock import Clock
from alerthub.domain import own
from alerthub.domain.action import REASON_TEXT, Reason, RunState, after_crash, may_start
from alerthub.domain.alert import Alert, AlertStatus, Severity
from alerthub.domain.event import Actor, EventKind
from alerthub.domain.incident import OWN_SOURCE, Incident
from alerthub.domain.rules import ActionRule, Direction, Rules
from alerthub.errors import ActionFailed, Busy
from alerthub.flow.intake import take_in
from alerthub.store import alerts as alert_store
from alerthub.store import events as event_store
from alerthub.store import lanes, leases, runs
from alerthub.store.database import Store
from alerthub.store.schema import action_runs
from alerthub.store.tx import Tx

LEASE_BEYOND = timedelta(seconds=15)     # a lease ends this long after the run's own deadline
TOGETHER = 200     # tightening runs started by one claim; more follow at once
SETTLE_WAITS = (0.2, 0.5, 1.0, 2.0, 2.0)     # seconds
ACTOR = Actor("hub", "actions")
FINAL = {Outcome.succeeded: RunState.succeeded, Outcome.failed: RunState.failed, Outcome.unknown: RunState.unknown}
WORDS = {RunState.succeeded: "succeeded", RunState.failed: "FAILED", RunState.unknown: "is UNCONFIRMED",
         RunState.refused: "was NOT RUN", RunState.expired: "was NOT RUN"}


@dataclass(frozen=True, slots=True)
class Armed:
    """An action ready for one target, and the settings that say what a run may take from labels."""

    action: Action
    settings: ActionSettings


Arsenal = Mapping[tuple[str, str], Armed]      # by (action, target)


@dataclass(frozen=True, slots=True)
class Started:
    """A run whose start is committed: it is now or never."""

    run: runs.Run
    rule: ActionRule
    call: Call
    attempt: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is to be run now, and how many runs were decided about: the end of one may have made messages due."""

    started: Sequence[Started] = ()
    runs: int = 0


def claim(tx: Tx, rules: Rules, arsenal: Arsenal, slots: int, owner: str, now: datetime) -> Claimed:
    """Decide about the runs that are due and commit the start of those that may. Tightening ones need no slot: nothing that
    hangs may keep an agent from its safe mode."""
    tightening = runs.due(tx, now, TOGETHER, tighten=True)
    others = runs.due(tx, now, slots, tighten=False) if slots > 0 else ([], ())
    found, rows = [*tightening[0], *others[0]], [*tightening[1], *others[1]]
    started: list[Started] = []
    for run, row in zip(found, rows, strict=True):
        rule = rules.actions.get(run.action)
        if not begins(tx, rules, rule, run, now) or rule is None:
            continue
        try:
            call = call_of(tx, run, rule, arsenal, now)
        except ActionFailed:
            finish(tx, rules, run, RunState.refused, Reason.bad_label, None, now)
            continue
        leases.lease(tx, action_runs, "id", [row], owner, now + rule.deadline + LEASE_BEYOND)
        runs.decide(tx, run.id, state=RunState.started.value, started_at=run.started_at or now)
        started.append(Started(run, rule, call, run.attempt + 1))
    return Claimed(started, len(found))


def begins(tx: Tx, rules: Rules, rule: ActionRule | None, run: runs.Run, now: datetime) -> bool:
    """Whether a due run is started now. One that was found started, its holder dead, goes on only with set semantics."""
    if run.state is RunState.started:
        if after_crash(rule) is RunState.started:
            return True
        lost = Report(Outcome.unknown, REASON_TEXT[Reason.crashed])
        finish(tx, rules, run, RunState.unknown, Reason.crashed, lost, now)
        return False
    if rule is None:
        finish(tx, rules, run, RunState.refused, Reason.rule_changed, None, now)
        return False
    return permitted(tx, rules, rule, run, now)


def permitted(tx: Tx, rules: Rules, rule: ActionRule, run: runs.Run, now: datetime) -> bool:
    """Obey the guards: start, wait, or say why not."""
    decision = may_start(rule, runs.facts(tx, run, rule.version, now), now)
    if decision.state is RunState.approved:
        return True
    if decision.state is RunState.awaiting_approval and rule.approval is not None:
        runs.decide(tx, run.id, state=decision.state.value, reason=decision.reason.value,
                    due_at=run.created_at + rule.approval.within + timedelta(seconds=1))
        if run.state is not RunState.awaiting_approval:
            tell(tx, run, f"Action {described(run)} waits: {REASON_TEXT[decision.reason]}", now)
        return False
    finish(tx, rules, run, decision.state, decision.reason, None, now)
    return False


def call_of(tx: Tx, run: runs.Run, rule: ActionRule, arsenal: Arsenal, now: datetime) -> Call:
    """What the target will be told. Raises ActionFailed for a label value that the action does not allow."""
    armed = arsenal.get((run.action, run.target))
    parameters = parameters_for(armed.settings, run.labels) if armed else {}
    incident = alert_store.find_incident(tx, run.incident_id)
    return Call(id=run.id, action=run.action, target=run.target or None, reason=run.why, incident_id=run.incident_id,
                number=incident.number if incident else 0, created_at=run.created_at, deadline=now + rule.deadline,
                parameters=parameters, resumed=run.state is RunState.started)


@dataclass(frozen=True, slots=True)
class Acted:
    """How a run ended: for metrics and logs."""

    action: str
    target: str
    state: RunState
    detail: str
    seconds: float


async def run_one(store: Store, rules: Rules, arsenal: Arsenal, started: Started, clock: Clock) -> Acted:
    """Cause the effect and settle. The start is committed already, so nobody will start it again."""
    began = clock.monotonic()
    run = started.run
    armed = arsenal.get((run.action, run.target))
    call = replace(started.call, deadline=clock.now() + started.rule.deadline)
    report = (await armed.action.run(call) if armed is not None else
              Report(Outcome.failed, "the action or its target is no longer in the configuration"))
    state = FINAL[report.outcome]
    await settle_later(store, rules, started, report, clock)
    return Acted(run.action, run.target, state, report.detail, clock.monotonic() - began)


async def lose(store: Store, rules: Rules, started: Started, clock: Clock) -> None:
    """The action raised: whether it had an effect is not known, so a person is paged."""
    await settle_later(store, rules, started, Report(Outcome.unknown, "an unexpected error; see the log"), clock)


async def settle_later(store: Store, rules: Rules, started: Started, report: Report, clock: Clock) -> None:
    """Settle, trying again while the database is away. When it stays away, the lease ends and the run is found unknown."""
    state = FINAL[report.outcome]
    for wait in (*SETTLE_WAITS, None):
        try:
            return await store.write(lambda tx: settle(tx, rules, started, state, report, clock.now()))
        except Busy:
            if wait is None:
                raise
            await clock.sleep(wait)
    return None


def settle(tx: Tx, rules: Rules, started: Started, state: RunState, report: Report, now: datetime) -> None:
    reason = Reason.tighten if started.rule.direction is Direction.tighten else Reason.allowed
    finish(tx, rules, started.run, state, reason, report, now, attempt=started.attempt)


def finish(tx: Tx, rules: Rules, run: runs.Run, state: RunState, reason: Reason, report: Report | None, now: datetime,
           attempt: int | None = None) -> None:
    """End a run: its outcome, the line in the incident's history, and a page when a person must look."""
    ours = runs.settle(tx, run.id, run.attempt if attempt is None else attempt, state=state.value, reason=reason.value,
                       due_at=None, finished_at=now, report=json.dumps(asdict(report)) if report else "")
    if not ours:
        return
    detail = report.detail if report is not None else REASON_TEXT[reason]
    text = f"Action {described(run)} {WORDS[state]}: {detail}"
    incident = tell(tx, run, text, now)
    is_tighten = run.direction == Direction.tighten.value
    news: list[Alert] = []
    if state is RunState.succeeded:
        news = [own.cleared(alarm, now, text) for alarm in alarms(tx) if own.is_about(alarm.labels, run.action, run.target)]
    elif is_tighten or state in (RunState.failed, RunState.unknown):
        severity = Severity.critical if is_tighten else incident.severity
        detail = f"{text} (incident #{incident.number})"
        news = [own.action_failed(run.action, run.target, incident.id, WORDS[state], detail, severity)]
    if news:
        take_in(tx, rules, [own.own_batch(news, now)], now)


def alarms(tx: Tx) -> list[Alert]:
    """The hub's own alarms that stand."""
    contents = [json.loads(state.content) for state in alert_store.firing_of_source(tx, OWN_SOURCE)]
    return [Alert(content["labels"], AlertStatus.firing, content["annotations"]) for content in contents]


def described(run: runs.Run) -> str:
    return f"{run.action} on {run.target}" if run.target else run.action


def tell(tx: Tx, run: runs.Run, text: str, now: datetime) -> Incident:
    """Add a line to the incident's history and make its lanes due; the incident."""
    incident = alert_store.incidents_for_change(tx, [run.incident_id])[run.incident_id]
    event = incident.happened(EventKind.action, ACTOR, text, now, {"run": run.id, "action": run.action, "target": run.target})
    alert_store.save_incidents(tx, [incident])
    event_store.append(tx, [event])
    lanes.mark(tx, [(incident.id, incident.seq)], now)
    return incident
