"""Where labels lead, and why: each route with what it was chosen by, whom it tells, what it would do and what keeps it from that.
For people who ask before it happens; the rooms themselves ask `Rules.routes`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from alerthub.domain.alert import Labels
from alerthub.domain.route import Route
from alerthub.domain.rules import Rules


@dataclass(frozen=True, slots=True)
class Lead:
    """One node of the tree. `matchers` are those that it asks for itself, as they may be parsed again; `problems` what keeps its
    actions from being run."""

    place: str
    receiver: str
    matchers: tuple[str, ...]
    destinations: tuple[str, ...]
    policy: str = ""
    actions: tuple[str, ...] = ()
    is_muted: bool = False
    problems: tuple[str, ...] = ()


def leads(rules: Rules, some: Iterable[Labels], now: datetime) -> list[Lead]:
    """All nodes that these alerts lead to, each once, in the order in which they are met."""
    found: dict[str, tuple[Route, Labels]] = {}
    for labels in some:
        for route in rules.routes(labels):
            found.setdefault(route.place, (route, labels))
    return [lead_of(rules, route, labels, now) for route, labels in found.values()]


def lead_of(rules: Rules, route: Route, labels: Labels, now: datetime) -> Lead:
    told = tuple(destination.key for destination in rules.receivers[route.receiver].destinations)
    return Lead(route.place, route.receiver, tuple(map(str, route.matchers)), told, route.escalation_policy, route.actions,
                route.is_muted(now), tuple(unknown_targets(rules, route, labels)))


def unknown_targets(rules: Rules, route: Route, labels: Labels) -> list[str]:
    """What keeps actions of the route from being run: the label that should name their target names none."""
    used = [rule for rule in map(rules.actions.__getitem__, route.actions) if rule.target_label]
    return [f'{rule.name}: {rule.target_label}="{labels.get(rule.target_label, "")}" names no target; known are '
            + ", ".join(sorted(rule.targets)) for rule in used if labels.get(rule.target_label) not in rule.targets]
