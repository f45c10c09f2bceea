"""What targets of the file ask for a release, and which permits the hub gives to agents; and what is wrong or odd with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alerthub.actions.base import TargetSettings
from alerthub.config.model import ConfigModel, RouteSettings, host_and_port, is_loopback
from alerthub.config.reader import Document, Path
from alerthub.domain.permit import Signer
from alerthub.domain.rules import Approval, Direction, PermitRule, Release
from alerthub.errors import Problem
from alerthub.hashing import hashed
from alerthub.settings import revealed


def releases_of(model: ConfigModel) -> dict[str, Release]:
    return {target.name: release_of(target) for target in model.targets}


def release_of(target: TargetSettings) -> Release:
    """Only agents are told that they are released."""
    asked = target.release
    return Release(asked.clear_for, Approval(asked.approve.role, asked.approve.count, asked.approve.within),
                   getattr(asked, "mode", ""))


def permits_of(model: ConfigModel) -> dict[str, PermitRule]:
    """Of the targets that have one and a key to sign it with."""
    keys = permit_keys(model)
    return {target.name: PermitRule(permit.ttl, hashed(token) if (token := revealed(permit.token)) else "")
            for target in model.targets if target.name in keys and (permit := getattr(target, "permit", None)) is not None}


def permit_keys(model: ConfigModel) -> Mapping[str, bytes | Signer]:
    """By target. Shown nowhere."""
    return {target.name: key for target in model.targets
            if getattr(target, "permit", None) is not None and (key := getattr(target, "permit_key", None)) is not None}


def check_permits(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """Who shows no token is let in from this machine only."""
    host, _ = host_and_port(model.server.listen)
    for index, target in enumerate(model.targets):
        permit = getattr(target, "permit", None)
        if permit is not None and permit.token is None and not is_loopback(host):
            yield document.problem(("targets", index, "permit"), f"the permit of {target.name} needs a token while the hub "
                                   f"listens on {host}; add token_file to permit")


def target_advice(document: Document, model: ConfigModel) -> Iterator[Problem]:
    yield from unsigned(document, model)
    latched = latched_targets(model)
    for index, target in enumerate(model.targets):
        if target.name not in latched:
            continue
        approve = target.release.approve
        able = sum(approve.role in (person.role, *person.grants) for person in model.people)
        if able < approve.count:
            yield document.problem(("targets", index), f"{approve.count} must agree to release {target.name} once it is safe, "
                                   f"but {able} of people have the role {approve.role}: only an admin's override releases it; "
                                   "give more people that role, or write release: {approve: {role: …, count: …}}")
        elif able == approve.count:
            yield document.problem(("targets", index), f"{approve.count} must agree to release {target.name} and only {able} of "
                                   f"people have the role {approve.role}, so none of those can ask: whoever asks does not "
                                   "count; give one more that role")
    yield from unprovable(document, model)


def unsigned(document: Document, model: ConfigModel) -> Iterator[Problem]:
    for index, target in enumerate(model.targets):
        if getattr(target, "permit", None) is not None and getattr(target, "permit_key", None) is None:
            yield document.problem_at_key(("targets", index, "permit"), "there is nothing to sign this permit with, so the agent "
                                          "gets none and stays safe; add secret_file or key_file to permit")


def latching(model: ConfigModel) -> set[str]:
    """The actions that latch their targets."""
    return {settings.name for settings in model.actions if settings.direction is Direction.tighten and settings.needs_target}


def latched_targets(model: ConfigModel) -> set[str]:
    """What they may latch; by a label, any target."""
    found = [settings for settings in model.actions if settings.name in latching(model)]
    everything = {target.name for target in model.targets if target.type == "agent"}
    return {name for settings in found for name in (settings.target_names or everything)}


def unprovable(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """Where a source cannot be asked what fires, nothing proves that what made a target safe is over. Any source's alerts may
    take any route."""
    blind = [source.name for source in model.sources if getattr(source, "reconcile", None) is None]
    used = first_use(model.route, ("route",), latching(model))
    if blind and used is not None:
        path, name = used
        many = len(blind) > 1
        yield document.problem(path, f"{name} latches its target, and {' and '.join(blind)} cannot be asked what fires (no "
                               f"reconcile): after an alert of {'theirs' if many else 'its'} only an admin's override releases "
                               "the target")


def first_use(route: RouteSettings, path: Path, names: set[str]) -> tuple[Path, str] | None:
    for index, name in enumerate(route.actions):
        if name in names:
            return (*path, "actions", index), name
    inner = (first_use(child, (*path, "routes", index), names) for index, child in enumerate(route.routes))
    return next((found for found in inner if found is not None), None)
