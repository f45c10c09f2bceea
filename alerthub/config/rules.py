"""The configuration as the domain's rules: the routing tree with its inheritance, actions, sources. Constructs no edge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from alerthub.actions.base import ActionSettings
from alerthub.actions.exchange import shown_url
from alerthub.config.heartbeats import heartbeats_of
from alerthub.config.kinds import Kinds, type_of
from alerthub.config.model import ConfigModel, RouteSettings
from alerthub.config.oncall import schedules_of
from alerthub.config.people import EscalationPolicy as PolicySettings
from alerthub.config.people import Person as PersonSettings
from alerthub.config.targets import permits_of, releases_of
from alerthub.domain.alert import canonical
from alerthub.domain.interval import TimeInterval
from alerthub.domain.matcher import Matcher, parse_matchers
from alerthub.domain.person import Person
from alerthub.domain.route import Route
from alerthub.domain.rules import (
    ActionRule,
    Answers,
    Approval,
    Blast,
    Circuit,
    Destination,
    EscalationPolicy,
    Flapping,
    Guards,
    PolicyStep,
    Receiver,
    Rules,
    SourceRule,
)
from alerthub.domain.runbook import Runbook
from alerthub.sources.base import SourceSettings

DOES_LIMIT = 500        # characters of one setting, where it is shown
Told = Mapping[str, tuple[Destination, ...]]


def rules_of(model: ConfigModel, kinds: Kinds, destinations: Told, contacts: Told, runbooks: Iterable[Runbook],
             version: str) -> Rules:
    return Rules(
        route=route_of(model), runbooks=tuple(runbooks), version=version,
        receivers={receiver.name: Receiver(receiver.name, tuple(destinations[receiver.name])) for receiver in model.receivers},
        actions={settings.name: action_rule(model, kinds, settings) for settings in model.actions},
        targets=frozenset(target.name for target in model.targets),
        sources={settings.name: source_rule(settings) for settings in model.sources},
        people={person.name: person_of(person) for person in model.people}, contacts=contacts,
        schedules=schedules_of(model), heartbeats=heartbeats_of(model),
        policies={settings.name: policy_of(model, settings) for settings in model.escalation_policies},
        answers=Answers(model.answers.unknown_accounts == "acknowledge", model.answers.time_zone),
        guards=Guards(model.guards.max_per_hour, model.guards.mode, model.answers.time_zone),
        releases=releases_of(model), permits=permits_of(model),
        flapping=Flapping(model.flapping.count, model.flapping.window) if model.flapping else Flapping(),
        public_url=model.server.public_url, reopen_window=model.reopen_window, retention=model.database.retention)


def route_of(model: ConfigModel) -> Route:
    """The tree, inheritance applied."""
    intervals = {settings.name: TimeInterval(settings.name, tuple(period.period() for period in settings.time_intervals))
                 for settings in model.time_intervals}
    root = Route(receiver=model.route.receiver or "", ack_timeout=model.ack_timeout)
    return compile_route(model.route, root, "route", intervals)


def compile_route(settings: RouteSettings, parent: Route, place: str, intervals: Mapping[str, TimeInterval]) -> Route:
    """As Alertmanager: what a node does not say is its parent's, but for its times. An empty `group_by` is one that was
    said. Actions add up: see `Route`."""
    own = {"receiver": settings.receiver, "group_by": settings.group_by, "group_wait": settings.group_wait,
           "repeat_interval": settings.repeat_interval, "escalation_policy": settings.escalation_policy,
           "ack_timeout": settings.ack_timeout}
    said: dict[str, Any] = {key: value for key, value in own.items() if value is not None}
    node = replace(
        parent, **said, matchers=matchers_of(settings), continues=settings.continue_, place=place,
        actions=tuple(dict.fromkeys((*parent.actions, *settings.actions))),
        mute=tuple(intervals[name] for name in settings.mute_time_intervals),
        active=tuple(intervals[name] for name in settings.active_time_intervals))
    children = (compile_route(child, node, f"{place}.routes[{index}]", intervals) for index, child in enumerate(settings.routes))
    return replace(node, routes=tuple(children))


def matchers_of(settings: RouteSettings) -> tuple[Matcher, ...]:
    classic = [Matcher(name, "=", value) for name, value in settings.match.items()]
    classic += [Matcher(name, "=~", value) for name, value in settings.match_re.items()]
    return (*classic, *(matcher for text in settings.matchers for matcher in parse_matchers(text)))


def person_of(settings: PersonSettings) -> Person:
    """Chat accounts by the ids that their provider gives, never by a name; an address counts in lower case."""
    own = {"slack": settings.slack, "telegram": settings.telegram, "email": settings.email and settings.email.lower(),
           "pagerduty": settings.pagerduty}
    accounts = frozenset((kind, str(value)) for kind, value in own.items() if value is not None)
    own_token = {("token", settings.name)} if settings.api_token is not None else frozenset()
    return Person(settings.name, settings.role, frozenset(settings.grants), accounts | own_token, settings.contact)


def policy_of(model: ConfigModel, settings: PolicySettings) -> EscalationPolicy:
    steps = tuple(PolicyStep(tuple(called(model, text) for text in step.notify), step.wait) for step in settings.steps)
    return EscalationPolicy(settings.name, steps, settings.repeat)


def called(model: ConfigModel, text: str) -> tuple[str, str]:
    """`schedule:primary`, or `primary` where only one thing has that name, which check.py has made sure of."""
    prefix, colon, name = text.partition(":")
    if colon and prefix in ("person", "schedule", "receiver"):
        return prefix, name.strip()
    if any(person.name == text for person in model.people):
        return "person", text
    return ("schedule" if any(schedule.name == text for schedule in model.schedules) else "receiver"), text


def action_rule(model: ConfigModel, kinds: Kinds, settings: ActionSettings) -> ActionRule:
    """Without targets of its own, a label may name any target of the type that the action acts on, and no other."""
    kind = kinds.actions.load(settings.type)
    fitting = [] if kind.Target is None else [target for target in model.targets if target.type == type_of(kind.Target)]
    names = settings.target_names or (tuple(target.name for target in fitting) if settings.target_label else ())
    approval = None if settings.approve is None else Approval(
        settings.approve.role, settings.approve.count, settings.approve.within)
    described = [settings, *(target for target in fitting if target.name in names)]
    return ActionRule(
        name=settings.name, type=settings.type, direction=settings.direction, targets=names,
        target_label=settings.target_label or "", deadline=settings.deadline, cooldown=settings.cooldown,
        max_per_hour=settings.max_per_hour, approval=approval, resumable=kind.resumable, on_flapping=settings.flapping,
        mode=settings.mode, blast=blast_of(settings), circuit=circuit_of(settings), releases=getattr(kind, "releases", False),
        does=does_of(settings, described[1:]), version=digest(canonical([one.model_dump(mode="json") for one in described])))


def does_of(settings: ActionSettings, targets: Iterable[Any] = ()) -> tuple[str, ...]:
    """What the settings of this kind say, the parameters, and where an `http` goes, for those who must agree; secrets as
    stars."""
    common = set(ActionSettings.model_fields) - {"parameters", "labels"}
    own = settings.model_dump(mode="json", exclude_defaults=True, exclude=common)
    said = [f"{name}: {canonical(value)}" for name, value in own.items()]
    said += [f"request to {target.name}: {request_of(target)}" for target in targets if getattr(target, "method", "")]
    return tuple(line[:DOES_LIMIT] for line in said)


def request_of(target: Any) -> str:
    """`POST https://hooks.example.com/run`"""
    text = f"{target.method} {shown_url(target.url)}"
    for secret in target.secrets():
        text = text.replace(secret, "***")
    return text


def blast_of(settings: ActionSettings) -> Blast:
    given = settings.blast_radius
    return Blast(given.targets, given.percent, given.within) if given is not None else Blast()


def circuit_of(settings: ActionSettings) -> Circuit:
    given = settings.circuit
    return Circuit(given.failures, given.reset) if given is not None else Circuit()


def source_rule(settings: SourceSettings) -> SourceRule:
    rule = SourceRule(name=settings.name, type=getattr(settings, "type", ""), stale_after=settings.stale_after)
    reconcile = getattr(settings, "reconcile", None)
    if reconcile is None:
        return rule
    return replace(rule, reconcile_urls=tuple(reconcile.urls), reconcile_interval=reconcile.interval)


def digest(text: str) -> str:
    """Short, for the record. Secrets are dumped as stars, so it tells nothing of them."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
