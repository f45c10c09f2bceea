"""What the hub says when people only ask: what is open, who has it, who is on call. Plain lines; the channel escapes them."""

from __future__ import annotations

from datetime import datetime, timedelta

from alerthub.domain.action import RunState
from alerthub.domain.answer import Who
from alerthub.domain.approval import waiting_line
from alerthub.domain.incident import Incident
from alerthub.domain.latch import Latch
from alerthub.domain.local_time import clock_time, day_and_time
from alerthub.domain.message import IncidentStatus
from alerthub.domain.rules import Rules
from alerthub.domain.schedule import next_change, on_call
from alerthub.domain.story import named
from alerthub.domain.words import Said, usage
from alerthub.flow.asking import question_of, request_of
from alerthub.store import alerts as alert_store
from alerthub.store import latches, overrides, runs, votes
from alerthub.store.tx import Tx

LISTED = 15
LATEST, RUNS = 100, 10
TITLE = 100
HORIZON = timedelta(days=14)


def words_for(tx: Tx, rules: Rules, said: Said, who: Who, now: datetime) -> str:
    if said.what == "list":
        return open_incidents(tx, rules, now)
    if said.what == "oncall":
        return on_call_now(tx, rules, said.rest, now)
    if said.what == "runs":
        return latest_runs(tx, rules, now)
    if said.what == "latches":
        return latched(tx, rules, now)
    if said.what == "who":
        return who_has(tx, rules, said.number, now) if said.number else who_am_i(who)
    return usage()


def latest_runs(tx: Tx, rules: Rules, now: datetime) -> str:
    """What waits for people, then the last ten of the others."""
    found = runs.recent(tx, LATEST)
    pending = [run for run in found if run.state is RunState.awaiting_approval]
    said = votes.of(tx, [run.subject for run in pending])
    asked = [question for run in pending if (question := question_of(rules, run, said))]
    ended = [run_line(run, rules, now) for run in found if run.state is not RunState.awaiting_approval][:RUNS]
    waiting = [waiting_line(one, rules.people, rules.answers.time_zone, now) for one in asked[:LISTED]]
    return "\n".join([*waiting, *ended]) or "No action has been run."


def run_line(run: runs.Run, rules: Rules, now: datetime) -> str:
    what = named(run.action, run.target, run.direction)
    at = clock_time(run.created_at, rules.answers.time_zone, now)
    return f"{at} {what}: {run.state.value.replace('_', ' ')} ({run.reason.replace('_', ' ')})"


def latched(tx: Tx, rules: Rules, now: datetime) -> str:
    """What is kept safe, since when, because of what; and what speaks against its release."""
    lines = [latch_line(tx, rules, latch, now) for latch in latches.read(tx).values() if latch.state.is_safe]
    return "\n".join(lines) or "No target is latched: none is kept safe."


def latch_line(tx: Tx, rules: Rules, latch: Latch, now: datetime) -> str:
    if (request := request_of(rules, latch, votes.of(tx, [latch.subject]))) is not None:
        return waiting_line(request, rules.people, rules.answers.time_zone, now)
    incident = alert_store.find_incident(tx, latch.incident_id) if latch.incident_id else None
    because = f" because of #{incident.number}" if incident else ""
    since = f" since {clock_time(latch.since, rules.answers.time_zone, now)}" if latch.since else ""
    return f"{latch.target}: {latch.state.value.replace('_', ' ')}{since}{because} ({latch.action})"


def open_incidents(tx: Tx, rules: Rules, now: datetime) -> str:
    """The gravest first."""
    found, total = alert_store.open_incidents(tx, LISTED)
    if not found:
        return "Nothing is open."
    lines = [line_of(incident, rules, now) for incident in found]
    more = [f"… and {total - len(found)} more"] if total > len(found) else []
    return "\n".join([f"{total} open:", *lines, *more])


def line_of(incident: Incident, rules: Rules, now: datetime) -> str:
    title = " ".join(incident.title.split())
    shown = title if len(title) <= TITLE else f"{title[:TITLE]}…"
    return f"#{incident.number} {incident.severity.value}, {state_of(incident, rules, now)}: {shown}"


def state_of(incident: Incident, rules: Rules, now: datetime) -> str:
    if incident.status is IncidentStatus.acknowledged:
        at = incident.acknowledged_at
        since = f" since {clock_time(at, rules.answers.time_zone, now)}" if at else ""
        return f"{incident.acknowledged_by} has it{since}"
    if incident.status is IncidentStatus.resolved:
        return "resolved"
    return "silenced" if incident.silence_id or incident.is_silenced else "nobody has it"


def who_has(tx: Tx, rules: Rules, number: int, now: datetime) -> str:
    incident = alert_store.find_incident(tx, alert_store.id_of(tx, str(number)))
    return f"There is no incident #{number}." if incident is None else line_of(incident, rules, now)


def who_am_i(who: Who) -> str:
    if who.person is None:
        return f"This account ({who.account.key}) is nobody's here. Ask for a code: alerthub link NAME, then send: link CODE"
    grants = f", may approve for {', '.join(sorted(who.person.grants))}" if who.person.grants else ""
    return f"You are {who.person.name}, {who.person.role}{grants}."


def on_call_now(tx: Tx, rules: Rules, name: str, now: datetime) -> str:
    """Every schedule, or the one named: who, and until when."""
    wanted = [schedule for key, schedule in rules.schedules.items() if name.strip() in ("", key)]
    if not wanted:
        known = ", ".join(rules.schedules) or "none is configured"
        return f"There is no schedule of that name; there are: {known}."
    lines = []
    for schedule in wanted:
        covering = overrides.covering(tx, schedule.name, now, now + HORIZON)
        change = next_change(schedule, covering, now)
        until = f" until {day_and_time(change, rules.answers.time_zone)}" if change else ""
        lines.append(f"{schedule.name}: {on_call(schedule, covering, now) or 'NOBODY'}{until}")
    return "\n".join(lines)
