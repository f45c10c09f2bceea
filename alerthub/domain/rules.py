"""Rules: the compiled configuration in the words of the domain. Settings are read elsewhere; here is what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cached_property

from alerthub.domain.alert import Labels
from alerthub.domain.matcher import Matcher
from alerthub.domain.person import Person
from alerthub.domain.route import Route, Routing
from alerthub.domain.runbook import Runbook
from alerthub.domain.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Destination:
    """One channel with one address. `key` is its identity: two receivers that name the same one share a live message."""

    key: str                    # "slack:#alerts"
    channel: str                # "slack"
    address: str                # "#alerts"
    receiver: str               # the first receiver that named it
    send_resolved: bool = True
    edits: bool = True
    digests: bool = True
    tells_untold_resolved: bool = True
    every: timedelta = timedelta(0)     # budget: one message per this time …
    burst: int = 1                      # … after so many at once
    answers: str = ""                   # how people answer there: buttons, links, one link (acknowledge), or not at all
    is_personal: bool = False           # one person's own: told only while somebody is still wanted
    echoes: bool = False                # what was done there is known there, and not told back


@dataclass(frozen=True, slots=True)
class Receiver:
    name: str
    destinations: tuple[Destination, ...]


class Direction(StrEnum):
    tighten = "tighten"     # into the safe state: immediate, needs nobody
    neutral = "neutral"
    relax = "relax"         # out of it: proof and people


@dataclass(frozen=True, slots=True)
class Approval:
    role: str
    count: int
    within: timedelta


class RunMode(StrEnum):
    """What a run that may start does. A tighten is always live."""

    live = "live"
    dry_run = "dry_run"     # the target is asked whether it would do it, and does nothing
    shadow = "shadow"       # nobody is asked; the record says what would have been done


@dataclass(frozen=True, slots=True)
class Blast:
    """How many different targets one action may touch within a time (R-41). 0: no such limit."""

    targets: int = 0
    percent: int = 0
    within: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Circuit:
    """So many runs in a row that failed or are unknown open it; after `reset` one is tried again. 0 failures: never opens."""

    failures: int = 3
    reset: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Release:
    """What it takes to release a latched target. `mode`: what an agent is told; empty: it is not told, the latch only opens."""

    clear_for: timedelta = timedelta(minutes=10)
    approval: Approval = Approval("approver", 2, timedelta(minutes=15))
    mode: str = "armed"


@dataclass(frozen=True, slots=True)
class PermitRule:
    """How long a lease is good for, and the hash of the token that the agent shows. What signs it is the edge's (web)."""

    ttl: timedelta
    token_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Guards:
    """Of all neutral and relaxing actions together. `mode` is the least that an action's own mode may be weakened to."""

    max_per_hour: int = 60
    mode: RunMode = RunMode.live
    time_zone: str = "UTC"      # of the times in what they say


@dataclass(frozen=True, slots=True)
class ActionRule:
    """What may be done. `targets` are names from the configuration; with `target_label` the alert's label chooses one of
    them by exact name, never builds one."""

    name: str
    type: str
    direction: Direction
    targets: tuple[str, ...] = ()
    target_label: str = ""
    deadline: timedelta = timedelta(seconds=30)
    cooldown: timedelta = timedelta(0)
    max_per_hour: int = 0                   # 0: no limit
    approval: Approval | None = None
    version: str = ""                       # hash of the settings, for the record
    resumable: bool = False
    on_flapping: str = "once"               # or hold; a tighten is never held back
    mode: RunMode = RunMode.live
    blast: Blast = Blast()
    circuit: Circuit = Circuit()
    releases: bool = False                  # whether it can also lead its target out of the safe state
    does: tuple[str, ...] = ()              # what exactly, line by line, for those who must agree; no secret is in it


@dataclass(frozen=True, slots=True)
class SourceRule:
    """What the hub must know of a source when it folds: how long its silence is tolerated, and whether it can be asked."""

    name: str
    type: str
    stale_after: timedelta = timedelta(hours=12)
    reconcile_urls: tuple[str, ...] = ()
    reconcile_interval: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Answers:
    """Whom the hub hears beside the people it knows."""

    unknown_may_acknowledge: bool = False
    time_zone: str = "UTC"              # of `until tomorrow 09:00`


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """Whom to call, and how long to wait for an answer. `notify`: (kind, name), kind being person, schedule or receiver."""

    notify: tuple[tuple[str, str], ...]
    wait: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class EscalationPolicy:
    name: str
    steps: tuple[PolicyStep, ...]
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Flapping:
    """More than `count` openings within `window` are one message with a count. 0: never."""

    count: int = 0
    window: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class HeartbeatRule:
    """What must come again within `interval` + `grace`, or by `cron` + `grace`. Without matchers it is a job's ping."""

    name: str
    interval: timedelta
    receiver: str
    grace: timedelta = timedelta(0)
    cron: str = ""
    time_zone: str = "UTC"
    severity: str = "critical"
    matchers: tuple[Matcher, ...] = ()
    actions: tuple[tuple[str, tuple[str, ...]], ...] = ()      # (action, targets); no targets: all that the action has
    token_sha256: str = ""                  # of the secret that a ping must bring; empty: none


@dataclass(frozen=True)
class Rules:
    """The whole configuration, compiled. Immutable: a reload makes another one."""

    route: Route
    receivers: Mapping[str, Receiver]
    actions: Mapping[str, ActionRule] = field(default_factory=dict)
    targets: frozenset[str] = frozenset()
    sources: Mapping[str, SourceRule] = field(default_factory=dict)
    runbooks: tuple[Runbook, ...] = ()
    people: Mapping[str, Person] = field(default_factory=dict)
    contacts: Mapping[str, tuple[Destination, ...]] = field(default_factory=dict)     # by person, in their order
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    policies: Mapping[str, EscalationPolicy] = field(default_factory=dict)
    heartbeats: Mapping[str, HeartbeatRule] = field(default_factory=dict)
    answers: Answers = Answers()
    flapping: Flapping = Flapping()
    guards: Guards = Guards()
    releases: Mapping[str, Release] = field(default_factory=dict)       # by target; a target without one has the usual one
    permits: Mapping[str, PermitRule] = field(default_factory=dict)     # by target
    public_url: str = "http://127.0.0.1:8095"
    reopen_window: timedelta = timedelta(hours=1)
    retention: timedelta = timedelta(days=90)
    give_up_pages: timedelta = timedelta(hours=24)
    give_up_updates: timedelta = timedelta(hours=1)
    storm: int = 10                          # more new incidents than this waiting for one destination: one summary
    version: str = ""                        # hash of the configuration file

    @property
    def reopens_within(self) -> timedelta:
        """What flaps stays one incident, also where the window to reopen is shorter."""
        return max(self.reopen_window, self.flapping.window) if self.flapping.count else self.reopen_window

    @property
    def approving(self) -> frozenset[str]:
        """The roles that are asked to approve or to release anything."""
        asked = [*(rule.approval for rule in self.actions.values() if rule.approval is not None),
                 *(release.approval for release in self.releases.values())]
        return frozenset(approval.role for approval in asked)

    @cached_property
    def routing(self) -> Routing:
        return Routing(self.route)

    def routes(self, labels: Labels) -> tuple[Route, ...]:
        """The nodes of the tree that an alert with these labels leads to."""
        return self.routing.resolve(labels)

    def told(self, route: Route, avoid: str = "") -> list[Destination]:
        """The route's receiver. The hub's own alarm about a destination, which it avoids, goes through any other one: its
        channel's siblings last, other receivers when the route offers nothing else."""
        told = self.receivers[route.receiver].destinations
        if not avoid:
            return list(told)
        others = [destination for destination in told if destination.key != avoid]
        everywhere = [found for key, found in self.destinations().items() if key != avoid]
        broken = next((found.channel for key, found in self.destinations().items() if key == avoid), "")
        elsewhere = [destination for destination in everywhere if destination.channel != broken]
        if any(destination.channel != broken for destination in others):
            return others
        return others + elsewhere[:1] or everywhere[:1]

    def destinations(self) -> Mapping[str, Destination]:
        """Every destination by key, the first receiver's settings winning."""
        return self.all_destinations

    @cached_property
    def all_destinations(self) -> Mapping[str, Destination]:
        found: dict[str, Destination] = {}
        for told in (*(receiver.destinations for receiver in self.receivers.values()), *self.contacts.values()):
            for destination in told:
                found.setdefault(destination.key, destination)
        return found

    @cached_property
    def owners(self) -> Mapping[str, tuple[str, ...]]:
        """Whose own each destination is, by key, of those that are somebody's; one may be several people's."""
        found: dict[str, tuple[str, ...]] = {}
        for person, told in self.contacts.items():
            for destination in told:
                found[destination.key] = (*found.get(destination.key, ()), person)
        return found
