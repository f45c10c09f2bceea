"""What the configuration says, over the API: who would hear of an alert and why, escalation policies, who is on call over a
span, and which configuration is in use. No secret is in the rules."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alerthub.domain.alert import Labels, severity_of
from alerthub.domain.escalation import call_for
from alerthub.domain.route import Route, group_pairs, resolve
from alerthub.domain.rules import EscalationPolicy, PolicyStep, Rules
from alerthub.domain.runbook import choose
from alerthub.domain.schedule import Schedule, Shift, on_call, shifts
from alerthub.domain.silence import covers
from alerthub.domain.wording import spoken
from alerthub.store import overrides as override_store
from alerthub.store import silences
from alerthub.store.tx import Tx
from alerthub.web.api import BadQuery
from alerthub.web.base import answer, hub_of
from alerthub.web.oncall import override_view, schedule_of
from alerthub.web.routing import route
from alerthub.web.v1.asking import limit_of, page_of, time_of, word

WEEK = timedelta(weeks=1)
LONGEST_SPAN = timedelta(days=366)
MOST_LABELS, LONGEST_LABELS = 64, 8_000


# -- who would be told, and why

async def try_routes(request: Request) -> Response:
    """`?label=NAME=VALUE`, once for each; `at`: as if it were then."""
    hub = hub_of(request)
    labels, at = labels_of(request.query_params.getlist("label")), time_of(request, "at", "UTC") or hub.clock.now()
    return answer(200, await hub.store.read(lambda tx: told(tx, hub.rules, labels, at)))


def labels_of(given: list[str]) -> dict[str, str]:
    if not given or len(given) > MOST_LABELS or sum(map(len, given)) > LONGEST_LABELS:
        raise BadQuery(f"label: give 1 to {MOST_LABELS}, together at most {LONGEST_LABELS} characters, each as NAME=VALUE")
    pairs = [text.partition("=") for text in given]
    if any(not (name and found) for name, found, _ in pairs):
        raise BadQuery("label must be NAME=VALUE, for example label=alertname=DiskFull")
    return {name: value for name, _, value in pairs}


def told(tx: Tx, rules: Rules, labels: Labels, at: datetime) -> dict[str, Any]:
    """What an alert with these labels would lead to at that time."""
    calls = OnCall(tx, rules, at)
    found = next((silence for silence in silences.active(tx, at) if covers(silence, labels, at)), None)
    runbook = choose(rules.runbooks, labels)
    return {"labels": dict(labels), "at": at.isoformat(), "severity": severity_of(labels).value,
            "routes": [route_view(rules, one, labels, at, calls) for one in resolve(rules.route, labels)],
            "runbook": runbook.name if runbook else None,
            "silence": {"number": found.number, "ends_at": found.ends_at.isoformat(), "created_by": found.created_by,
                        "comment": found.comment} if found else None}


class OnCall:
    """Who has a schedule at that time; each is asked once."""

    def __init__(self, tx: Tx, rules: Rules, at: datetime) -> None:
        self.tx, self.rules, self.at = tx, rules, at
        self.known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        schedule = self.rules.schedules.get(name)
        if name not in self.known:
            made = override_store.covering(self.tx, name, self.at) if schedule else []
            self.known[name] = on_call(schedule, made, self.at) if schedule else ""
        return self.known[name]


def route_view(rules: Rules, one: Route, labels: Labels, at: datetime, calls: OnCall) -> dict[str, Any]:
    policy = rules.policies.get(one.escalation_policy)
    receiver = rules.receivers.get(one.receiver)
    return {"route": one.place, "matchers": [str(matcher) for matcher in one.matchers], "receiver": one.receiver,
            "destinations": [destination.key for destination in receiver.destinations] if receiver else [],
            "group": dict(group_pairs(one.group_by, labels)), "is_muted": one.is_muted(at),
            "speaks_at": one.speaks_at(at).isoformat(), "repeat_interval": spoken(one.repeat_interval),
            "escalation_policy": policy_view(rules, policy, calls) if policy else None,
            "actions": [action_view(rules, name, labels) for name in one.actions]}


def action_view(rules: Rules, name: str, labels: Labels) -> dict[str, Any]:
    """On which target it would be run; a problem where the label that should say so names none."""
    rule = rules.actions[name]
    value = labels.get(rule.target_label, "") if rule.target_label else ""
    targets = [value] if rule.target_label and value in rule.targets else [] if rule.target_label else list(rule.targets)
    missing = bool(rule.target_label) and not targets
    return {"name": name, "direction": rule.direction.value, "mode": rule.mode.value, "targets": targets,
            "approval": {"role": rule.approval.role, "count": rule.approval.count} if rule.approval else None,
            "problem": f'{rule.target_label}="{value}" names no target' if missing else None}


def policy_view(rules: Rules, policy: EscalationPolicy, calls: OnCall) -> dict[str, Any]:
    """Its steps, and whom each would call now."""
    return {"name": policy.name, "repeat": policy.repeat, "steps": [
        {"notify": [f"{kind}:{name}" for kind, name in step.notify], "wait": spoken(step.wait), **call_view(step, rules, calls)}
        for step in policy.steps]}


def call_view(step: PolicyStep, rules: Rules, calls: OnCall) -> dict[str, Any]:
    call = call_for(step, rules, calls)
    told = [{"destination": destination.key, "after": spoken(after)} for destination, after in call.told]
    return {"calls": list(call.names), "nobody": list(call.nobody), "destinations": told}


async def list_policies(request: Request) -> Response:
    hub = hub_of(request)
    limit, after = limit_of(request), word(request, "after")

    def read(tx: Tx) -> list[dict[str, Any]]:
        calls = OnCall(tx, hub.rules, hub.clock.now())
        return [policy_view(hub.rules, policy, calls) for policy in hub.rules.policies.values()]

    return answer(200, page_of(await hub.store.read(read), limit, after))


# -- who is on call

async def calendar(request: Request) -> Response:
    """`?from=TIME&until=TIME`: a week from now unless said otherwise, at most a year."""
    hub = hub_of(request)
    schedule = schedule_of(hub.rules, request.path_params["name"])
    start = time_of(request, "from", schedule.time_zone) or hub.clock.now()
    end = time_of(request, "until", schedule.time_zone) or start + WEEK
    if not timedelta(0) < end - start <= LONGEST_SPAN:
        raise BadQuery("until must be after from, and at most 366 days")
    return answer(200, await hub.store.read(lambda tx: span_view(tx, schedule, start, end)))


def span_view(tx: Tx, schedule: Schedule, start: datetime, end: datetime) -> dict[str, Any]:
    made = override_store.covering(tx, schedule.name, start, end)
    found = shifts(schedule, made, start, end)
    return {"schedule": schedule.name, "time_zone": schedule.time_zone, "from": start.isoformat(), "until": end.isoformat(),
            "shifts": [span(shift) for shift in found], "gaps": [span(shift) for shift in found if not shift.person],
            "overrides": [override_view(one) for one in made]}


def span(shift: Shift) -> dict[str, Any]:
    return {"person": shift.person or None, "starts_at": shift.starts_at.isoformat(), "ends_at": shift.ends_at.isoformat()}


ROUTES = [
    *route("/api/v1/routes/test", try_routes), *route("/api/v1/escalation-policies", list_policies),
    *route("/api/v1/schedules/{name}/calendar", calendar),
]
