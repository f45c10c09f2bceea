"""Who is called next, and when. Pure: rows, clock and on-call schedules come in as arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from alerthub.domain.rules import Destination, EscalationPolicy, PolicyStep, Rules

CONTACT_PAUSE = timedelta(minutes=1)     # between one address of a person and the next, unless the step is shorter
OnCall = Callable[[str], str]            # a schedule's name → who has it now, or empty


@dataclass(frozen=True, slots=True)
class Place:
    """Where an escalation stands: the step that is next, in which round."""

    step: int
    round: int


@dataclass(frozen=True, slots=True)
class Call:
    """Whom one step calls. `told` are destinations, each with how long after the step it is told; `names` for the history;
    `nobody` are the schedules that had nobody."""

    names: tuple[str, ...]
    told: tuple[tuple[Destination, timedelta], ...]
    nobody: tuple[str, ...] = ()

    def without(self, avoid: str) -> Call:
        """Not there: it is what the incident says does not work."""
        if not avoid or avoid not in {destination.key for destination, _ in self.told}:
            return self
        told = tuple((destination, after) for destination, after in self.told if destination.key != avoid)
        return Call(self.names if told else (), told, (*self.nobody, f"not by {avoid}, which does not work"))


def call_for(step: PolicyStep, rules: Rules, on_call: OnCall) -> Call:
    """Everybody whom the step names, once each; a person by the addresses of `contact`, in that order."""
    names: dict[str, None] = {}
    told: dict[str, tuple[Destination, timedelta]] = {}
    nobody: list[str] = []
    for kind, name in step.notify:
        if kind == "receiver":
            names[f"receiver {name}"] = None
            found = [(destination, timedelta(0)) for destination in rules.receivers[name].destinations]
        else:
            person = on_call(name) if kind == "schedule" else name
            found = contacts(person, step.wait, rules)
            if not found:
                nobody.append(f"nobody is on call in {name}" if kind == "schedule" and not person else
                              f"{person} has no address to be called at")
                continue
            names[f"{person} (on call: {name})" if kind == "schedule" else person] = None
        for destination, after in found:
            told.setdefault(destination.key, (destination, after))
    return Call(tuple(names), tuple(told.values()), tuple(nobody))


def contacts(person: str, wait: timedelta, rules: Rules) -> list[tuple[Destination, timedelta]]:
    """The first address at once, the next ones while nobody has answered, all within the step."""
    found = rules.contacts.get(person, ())
    pause = min(CONTACT_PAUSE, wait / len(found)) if found else CONTACT_PAUSE
    return [(destination, pause * index) for index, destination in enumerate(found)]


def after(policy: EscalationPolicy, place: Place) -> Place | None:
    """The next place; None when the policy has run out."""
    if place.step + 1 < len(policy.steps):
        return Place(place.step + 1, place.round)
    return Place(0, place.round + 1) if place.round < policy.repeat else None
