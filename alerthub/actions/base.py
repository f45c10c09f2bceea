"""What an action is: one effect on one target, at most once. When, whether and how often is not decided here.

Here is also what all actions share: their settings, those of their targets, and what a run may take from labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import httpx
from pydantic import AfterValidator, BaseModel, Field, model_validator

from alerthub.clock import Clock
from alerthub.domain.rules import Direction, RunMode
from alerthub.errors import ActionFailed
from alerthub.regex import compile_pattern
from alerthub.settings import Duration, Settings

LABEL_VALUE = r"^[A-Za-z0-9 ._:/@-]{1,200}$"      # what a label may say to an action, unless the action says otherwise
LONGEST_TIGHTEN = timedelta(seconds=45)     # what is not safe by then is paged within 60 s
Scalar = str | int | float | bool


def check_positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than 0; for example 30s")
    return value


def check_scalar(value: Scalar) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number, or a text in quotes")
    return value


def check_name(name: str) -> str:
    """Names that begin with `__` have a meaning of their own in receivers such as Prefect (PROTOCOLS 6.1, R-45)."""
    if not name or name.startswith("__"):
        raise ValueError("a parameter needs a name that does not begin with __")
    return name


def check_pattern(pattern: str) -> str:
    compile_pattern(pattern)
    return pattern


Span = Annotated[Duration, AfterValidator(check_positive)]
ParameterName = Annotated[str, AfterValidator(check_name)]
Name = Annotated[str, Field(pattern=LABEL_VALUE)]      # of actions and targets: a label must be able to name it


class Approve(Settings):
    """Who must agree before it runs, and how long the question stands (R-42)."""

    role: str = Field(min_length=1)
    count: int = Field(default=1, ge=1)
    within: Span = timedelta(minutes=15)


class BlastSettings(Settings):
    """How many different targets it may act on within a time (R-41)."""

    targets: int = Field(default=0, ge=0)
    percent: int = Field(default=0, ge=0, le=100)
    within: Span = timedelta(minutes=10)

    @model_validator(mode="after")
    def check_limit(self) -> Self:
        if not self.targets and not self.percent:
            raise ValueError("say how many: targets: a number, or percent: of the action's targets, from 1 to 100")
        return self


class CircuitSettings(Settings):
    """After so many runs in a row that failed or are unknown, nothing for the time of `reset`; then one is tried. 0: never."""

    failures: int = Field(default=3, ge=0)
    reset: Span = timedelta(hours=1)


class ActionSettings(Settings):
    """Base of one entry of `actions:`. `parameters` are fixed; of `labels` the values are passed on, when `pattern` allows
    them whole. Nothing of an alert reaches a target in another way, but for the text of the reason."""

    needs_target: ClassVar[bool] = True

    name: Name
    type: str
    summary: str = ""
    direction: Direction = Direction.neutral
    target: Name | None = None
    targets: tuple[Name, ...] = ()
    target_label: str | None = Field(default=None, min_length=1)
    deadline: Span = timedelta(seconds=30)
    cooldown: Duration = timedelta(0)
    max_per_hour: int = Field(default=0, ge=0)
    approve: Approve | None = None
    mode: RunMode = RunMode.live
    blast_radius: BlastSettings | None = None
    circuit: CircuitSettings | None = None
    flapping: Literal["once", "hold"] = "once"      # while its incident opens and closes too often
    parameters: dict[ParameterName, Annotated[Scalar, AfterValidator(check_scalar)]] = Field(default_factory=dict)
    labels: tuple[ParameterName, ...] = ()
    pattern: Annotated[str, AfterValidator(check_pattern)] = LABEL_VALUE

    @property
    def target_names(self) -> tuple[str, ...]:
        return (self.target,) if self.target is not None else self.targets

    @model_validator(mode="after")
    def check_targets(self) -> Self:
        if self.target is not None and self.targets:
            raise ValueError("give target or targets, not both")
        if self.needs_target and not self.target_names and self.target_label is None:
            raise ValueError("name what it acts on: target, targets, or the target_label that names it")
        return self

    @model_validator(mode="after")
    def check_parameters(self) -> Self:
        if twice := sorted(set(self.labels) & set(self.parameters)):
            raise ValueError(f"{twice[0]} is in parameters and in labels; keep one of them")
        return self

    @model_validator(mode="after")
    def check_relax(self) -> Self:
        if self.direction is Direction.relax:
            raise ValueError("relaxing is only the release of a latch, which people ask for and approve; no alert leads to it: "
                             "remove direction")
        return self

    @model_validator(mode="after")
    def check_tighten(self) -> Self:
        """Nothing may delay the way into the safe state: no guard, and no label with a strange value either."""
        guards = {"approve": self.approve, "cooldown": self.cooldown, "max_per_hour": self.max_per_hour, "labels": self.labels,
                  "mode": self.mode is not RunMode.live, "blast_radius": self.blast_radius, "circuit": self.circuit}
        if self.direction is Direction.tighten and (given := next((name for name, value in guards.items() if value), None)):
            raise ValueError(f"direction tighten is never delayed or refused; remove {given}, or make it neutral")
        if self.direction is Direction.tighten and self.deadline > LONGEST_TIGHTEN:
            raise ValueError("deadline is at most 45s with direction tighten: when it is not done by then, a person must be "
                             "paged within a minute")
        return self


class ReleaseApprove(Approve):
    """Who must agree to a release: two, unless it says otherwise, of whom neither is the one who asks."""

    role: str = Field(default="approver", min_length=1)
    count: int = Field(default=2, ge=1)


class ReleaseSettings(Settings):
    """What it takes to release a target that was made safe: so long must what caused it be over, and so many must agree."""

    clear_for: Duration = timedelta(minutes=10)
    approve: ReleaseApprove = Field(default_factory=ReleaseApprove)


class TargetSettings(Settings):
    """Base of one entry of `targets:`."""

    name: Name
    type: str
    release: ReleaseSettings = Field(default_factory=ReleaseSettings)


def parameters_for(settings: ActionSettings, labels: Mapping[str, str]) -> dict[str, Scalar]:
    """The parameters of one run. Raises ActionFailed, so that the run is refused, for a label that is missing or says what
    its action does not allow (R-45). The text shows the label's name, never its value."""
    pattern = compile_pattern(settings.pattern)
    found: dict[str, Scalar] = dict(settings.parameters)
    for name in settings.labels:
        if name not in labels or not pattern.fullmatch(labels[name]):
            word = "is not one that the action allows" if labels.get(name) else "is missing"
            raise ActionFailed(f"refused: the value of the label {name} {word}")
        found[name] = labels[name]
    return found


@dataclass(frozen=True, slots=True)
class Call:
    """One run of an action. `id` is the idempotency key that the target sees; `created_at` never changes over a run.

    `parameters` are flat scalars, already checked. `target` is the configured name; None when the action has none.
    """

    id: str
    action: str
    target: str | None
    reason: str
    incident_id: str
    number: int
    created_at: datetime
    deadline: datetime
    parameters: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    resumed: bool = False          # a run before a crash may have reached the target
    release: str = ""              # what a target that is released is told; empty: this is no release


class Outcome(StrEnum):
    succeeded = "succeeded"        # done, and verified where the target can be asked
    failed = "failed"              # certainly not done
    unknown = "unknown"            # perhaps done: never rerun, a person is paged


@dataclass(frozen=True, slots=True)
class Report:
    """What happened: for the record, the message and the risk team. Free of secrets. `request` and `answer` are what
    went over the wire (headers that authenticate left out); `verified` is what the target said of itself afterwards. `undo`:
    the request that would bring back what was there before, and under `how` what a person does for that; it is never sent."""

    outcome: Outcome
    detail: str
    request: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)
    verified: str = ""
    undo: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActionWire:
    http: httpx.AsyncClient
    clock: Clock


class Action(Protocol):
    """Built as `Kind(config, target, wire)` per (action, target). `Config` is one entry of `actions:`, discriminated by
    `type`; `Target` is the settings model of the `targets:` it acts on, or None.

    `resumable`: a run found half done after a crash may be continued with the same id (set semantics: safe mode). All
    others end as unknown.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[BaseModel]]
    Target: ClassVar[type[BaseModel] | None]
    resumable: ClassVar[bool]

    async def run(self, call: Call) -> Report:
        """Do it, and verify it, before `call.deadline`. Never raises for what the target does; is cancellable."""


@runtime_checkable
class Rehearsing(Protocol):
    """An action that can show what it would do. Of one that cannot, the record says only which parameters it had."""

    async def rehearse(self, call: Call, *, ask: bool) -> Report:
        """The very request that `run` would send, with no effect. Without `ask` nobody is asked: for shadow mode. With it the
        target is, as far as it can be without changing it. Succeeded means that nothing spoke against it."""
