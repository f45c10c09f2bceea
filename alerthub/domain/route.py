"""Which receivers, policies and actions an alert's labels lead to. Alertmanager's routing tree, and what is ours in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerthub.domain.alert import Labels
from alerthub.domain.interval import TimeInterval, next_moment
from alerthub.domain.matcher import Matcher, all_match


@dataclass(frozen=True, slots=True)
class Route:
    """One node, inheritance already applied. `actions` are this node's and its parents' (an action on a parent holds for
    the whole subtree: adding a child route must never lose a tighten). `place` names it: `route.routes[0]`."""

    receiver: str
    matchers: tuple[Matcher, ...] = ()
    continues: bool = False
    group_by: tuple[str, ...] = ()          # empty: none of ours, the sender's groupLabels count
    group_wait: timedelta = timedelta(0)
    repeat_interval: timedelta = timedelta(hours=4)
    escalation_policy: str = ""
    ack_timeout: timedelta = timedelta(0)   # how long an acknowledgement holds while the source still fires; 0: for ever
    actions: tuple[str, ...] = ()
    mute: tuple[TimeInterval, ...] = ()
    active: tuple[TimeInterval, ...] = ()
    routes: tuple[Route, ...] = ()
    place: str = "route"

    def is_muted(self, now: datetime) -> bool:
        """Muted inside any `mute_time_intervals`, or outside all of a non-empty `active_time_intervals`."""
        if any(interval.contains(now) for interval in self.mute):
            return True
        return bool(self.active) and not any(interval.contains(now) for interval in self.active)

    def speaks_at(self, now: datetime) -> datetime:
        """`now` when it may speak, else the first minute at which it may (at most 400 days away)."""
        if not self.is_muted(now):
            return now
        return next_moment(now, lambda moment: not self.is_muted(moment), (*self.mute, *self.active))


def resolve(route: Route, labels: Labels) -> tuple[Route, ...]:
    """The matched nodes, in Alertmanager's order: the deepest match of each branch; siblings after a match only with
    `continue`. Never empty when called on the root, which has no matchers."""
    if not all_match(route.matchers, labels):
        return ()
    found: list[Route] = []
    for child in route.routes:
        matched = resolve(child, labels)
        found.extend(matched)
        if matched and not child.continues:
            break
    return tuple(found) or (route,)


def labels_asked(route: Route) -> frozenset[str]:
    """The names of the labels that any matcher of the tree looks at."""
    return frozenset(matcher.name for matcher in route.matchers).union(*(labels_asked(child) for child in route.routes))


class Routing:
    """`resolve` with a memory: alerts that are alike in the labels that the tree asks for lead to the same nodes, and a storm is
    made of such alerts. Bounded in entries and in what each may hold, and forgotten as a whole."""

    MOST = 10_000
    LONGEST = 512       # characters of the values together: whoever sends labels must not fill the memory

    def __init__(self, root: Route) -> None:
        self.root, self.names = root, sorted(labels_asked(root))
        self.known: dict[tuple[str | None, ...], tuple[Route, ...]] = {}

    def resolve(self, labels: Labels) -> tuple[Route, ...]:
        which = tuple(map(labels.get, self.names))
        found = self.known.get(which)
        if found is None:
            found = resolve(self.root, labels)
            if len(self.known) >= self.MOST:
                self.known.clear()
            if sum(len(value or "") for value in which) <= self.LONGEST:
                self.known[which] = found
        return found


def group_pairs(names: Iterable[str], labels: Labels) -> tuple[tuple[str, str], ...]:
    """The labels that make the incident: those named, or all with `...`. An absent label and an empty one are the same."""
    chosen = labels if "..." in names else names
    return tuple(sorted((name, labels[name]) for name in chosen if labels.get(name)))
