"""The compiled configuration as people look at it: plain JSON, names and spans, nothing that opens a door. Pure. Whoever shows
it redacts it once more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from alerthub.domain.person import Person
from alerthub.domain.route import Route
from alerthub.domain.rules import ActionRule, Approval, Destination, EscalationPolicy, HeartbeatRule, Rules, SourceRule
from alerthub.domain.schedule import Schedule
from alerthub.domain.wording import spoken


def described(rules: Rules) -> dict[str, Any]:
    return {
        "version": rules.version, "public_url": rules.public_url, "time_zone": rules.answers.time_zone,
        "routes": list(routes(rules.route, 0)),
        "receivers": [{"name": one.name, "destinations": [destination(told) for told in one.destinations]}
                      for one in rules.receivers.values()],
        "people": [person(one, rules) for one in rules.people.values()],
        "escalation_policies": [policy(one) for one in rules.policies.values()],
        "schedules": [schedule(one) for one in rules.schedules.values()],
        "sources": [source(one) for one in rules.sources.values()],
        "targets": [target(name, rules) for name in sorted(rules.targets)],
        "actions": [action(one) for one in rules.actions.values()],
        "heartbeats": [heartbeat(one) for one in rules.heartbeats.values()],
        "runbooks": [{"name": one.name, "title": one.title, "owner": one.owner, "matchers": [str(it) for it in one.matchers],
                      "actions": list(one.actions)} for one in rules.runbooks],
        "guards": {"max_per_hour": rules.guards.max_per_hour, "mode": rules.guards.mode.value},
        "retention": spoken(rules.retention), "reopen_window": spoken(rules.reopen_window),
    }


def routes(route: Route, depth: int) -> Iterator[dict[str, Any]]:
    """Each node before its children, in the order of the file; what a node inherits is said at it."""
    yield {"place": route.place, "depth": depth, "matchers": [str(one) for one in route.matchers], "continue": route.continues,
           "receiver": route.receiver, "group_by": list(route.group_by), "group_wait": spoken(route.group_wait),
           "repeat_interval": spoken(route.repeat_interval), "escalation_policy": route.escalation_policy or None,
           "ack_timeout": span(route.ack_timeout), "actions": list(route.actions),
           "mute_time_intervals": [one.name for one in route.mute], "active_time_intervals": [one.name for one in route.active]}
    for child in route.routes:
        yield from routes(child, depth + 1)


def span(length: timedelta) -> str | None:
    return spoken(length) if length else None


def destination(told: Destination) -> dict[str, Any]:
    return {"key": told.key, "channel": told.channel, "send_resolved": told.send_resolved,
            "answers": told.answers or "not heard", "is_personal": told.is_personal}


def person(one: Person, rules: Rules) -> dict[str, Any]:
    """By which kinds they are known and reached; the accounts themselves are theirs."""
    return {"name": one.name, "role": one.role, "grants": sorted(one.grants),
            "known_by": sorted({kind for kind, _ in one.accounts}),
            "contact": [told.channel for told in rules.contacts.get(one.name, ())]}


def policy(one: EscalationPolicy) -> dict[str, Any]:
    steps = [{"notify": [f"{kind}:{name}" for kind, name in step.notify], "wait": spoken(step.wait)} for step in one.steps]
    return {"name": one.name, "steps": steps, "repeat": one.repeat}


def schedule(one: Schedule) -> dict[str, Any]:
    return {"name": one.name, "time_zone": one.time_zone, "layers": [list(layer.people) for layer in one.layers]}


def source(one: SourceRule) -> dict[str, Any]:
    return {"name": one.name, "type": one.type, "stale_after": spoken(one.stale_after),
            "asked_at": [host_of(url) for url in one.reconcile_urls]}


def host_of(url: str) -> str:
    """Without what may be a password in front of it, or a key behind it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def target(name: str, rules: Rules) -> dict[str, Any]:
    release, permit = rules.releases.get(name), rules.permits.get(name)
    return {"name": name, "permit": spoken(permit.ttl) if permit else None,
            "release": {"clear_for": spoken(release.clear_for), "approve": approval(release.approval)} if release else None}


def approval(one: Approval | None) -> str | None:
    return f"{one.count} of role {one.role} within {spoken(one.within)}" if one is not None else None


def action(one: ActionRule) -> dict[str, Any]:
    return {"name": one.name, "type": one.type, "direction": one.direction.value, "mode": one.mode.value,
            "targets": list(one.targets), "target_label": one.target_label or None, "approve": approval(one.approval),
            "cooldown": span(one.cooldown), "max_per_hour": one.max_per_hour or None, "deadline": spoken(one.deadline),
            "does": list(one.does), "version": one.version}


def heartbeat(one: HeartbeatRule) -> dict[str, Any]:
    return {"name": one.name, "expected": one.cron or f"every {spoken(one.interval)}", "grace": span(one.grace),
            "receiver": one.receiver, "severity": one.severity, "matchers": [str(it) for it in one.matchers],
            "actions": [name for name, _ in one.actions], "needs_token": bool(one.token_sha256)}
