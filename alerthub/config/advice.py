"""What is right in a configuration, and worth a word all the same: deprecated keys, keys without effect, files open to all.

What is wrong is found in check.py.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import urlsplit

from alerthub.config.coverage import uncovered
from alerthub.config.kinds import SUFFIX
from alerthub.config.model import ConfigModel, entries, host_and_port, is_loopback
from alerthub.config.oncall import gap_warnings
from alerthub.config.reader import Document, Path
from alerthub.config.targets import target_advice
from alerthub.domain.person import RIGHTS, Right
from alerthub.errors import Problem

NEAR = 0.75     # so alike are two words when one is meant for the other; get_close_matches' own 0.6 is for people who ask


def warnings(document: Document, model: ConfigModel, now: datetime) -> tuple[str, ...]:
    """Each with its place, in file order. `now`: gaps of the schedules are looked for from now on."""
    found = [*target_advice(document, model), *unreachable(document, model), *gap_warnings(document, model, now),
             *unclear_roles(document, model), *without_effect(document, model), *unable(document, model),
             *links_astray(document, model), *without_buttons(document, model), *hasty(document, model),
             *unproved(document, model), *any_workspace(document, model), *uncovered(document, model),
             *of_routes(document, model), *deprecated(document, model),
             *unapproved(document, model), *frozen_for_ever(document, model),
             *readable_by_all(document, document.data, ()), *open_door(document, model)]
    return tuple(str(one) for one in sorted(found, key=lambda one: (one.line, one.column)))


def called_people(model: ConfigModel) -> set[str]:
    """Whom schedules and steps name; and the other names that steps name."""
    called = {name for schedule in model.schedules for layer in schedule.layers for name in layer.people}
    return called | {text.removeprefix("person:").strip() for policy in model.escalation_policies for step in policy.steps
                     for text in step.notify}


def unreachable(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """People who may be called and have no address to be called at."""
    called = called_people(model)
    for index, person in enumerate(model.people):
        if person.name in called and not (person.slack or person.telegram or person.email):
            yield document.problem(("people", index), f"{person.name} may be called, but has no address; add slack, telegram or "
                                   "email")


def unable(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """People who may be called, and may only look."""
    called = called_people(model)
    for index, person in enumerate(model.people):
        if person.name in called and Right.respond not in RIGHTS.get(person.role, RIGHTS["responder"]):
            yield document.problem(("people", index, "role"),
                                   f"{person.name} may be called, but a role of {person.role} cannot acknowledge; write role: "
                                   f"responder, or take {person.name} out of schedules and steps")


def asked_for(model: ConfigModel) -> set[str]:
    """The roles whose approval actions, and releases of targets, ask for."""
    return {settings.approve.role for settings in model.actions if settings.approve is not None} | {
        target.release.approve.role for target in model.targets}


def near(word: str, words: Collection[str]) -> str:
    """The one of the words that is meant by it, perhaps."""
    return next(iter(get_close_matches(word.lower(), words, n=1, cutoff=NEAR)), "")


def unclear_roles(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """A role of one's own is a responder's. One that looks like the hub's may have been meant to be less."""
    asked = asked_for(model)
    for index, person in enumerate(model.people):
        if person.role not in RIGHTS and person.role not in asked and (meant := near(person.role, RIGHTS)):
            yield document.problem(("people", index, "role"), f"{person.role} is none of {', '.join(RIGHTS)}, so it may do "
                                   f"what a responder may; did you mean `{meant}`?")


def without_effect(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """Grants are for approvals: `approver`, and the roles that actions ask for."""
    asked = asked_for(model)
    for index, person in enumerate(model.people):
        for number, grant in enumerate(person.grants):
            if grant == "approver" or grant in asked:
                continue
            path = ("people", index, "grants", number)
            if grant in RIGHTS:
                yield document.problem(path, f"the grant {grant} has no effect: grants are for approvals; write role: {grant}")
            elif near(grant, ("approver",)):
                yield document.problem(path, f"the grant {grant} is asked for by no action; did you mean `approver`?")


def links_astray(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """People act by the links of a mail, which begin with our own address when nobody has said another."""
    server, shared = model.server, getattr(model.global_, "smtp_smarthost", "")
    is_local = "public_url" not in server.model_fields_set and is_loopback(host_and_port(server.listen)[0])
    are_mailed = shared or any(kind == "email" for receiver in model.receivers for kind, _, _ in entries(receiver))
    first = next((index for index, person in enumerate(model.people) if person.email), None)
    if is_local and are_mailed and first is not None:
        yield document.problem(("people", first, "email"), f"links in mails begin with {server.public_url} and lead to this "
                               "machine only; add server.public_url, by which people open the hub")


def without_buttons(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """People in Slack whom nobody there hears."""
    token, *heard = (getattr(model.global_, f"slack_{key}", None) for key in ("bot_token", "signing_secret", "app_token"))
    if token and not any(heard) and any(person.slack for person in model.people):
        yield document.problem_at_key(key_of(document, ("global",), "slack_bot_token"),
                                      "slack_bot_token alone: nothing is heard from Slack, so messages there have no buttons; "
                                      "add slack_app_token_file (Socket Mode) or slack_signing_secret_file")


def any_workspace(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """A Slack id is unique in its workspace only, and a shared channel brings in people of others."""
    heard = next((f"slack_{key}" for key in ("signing_secret", "app_token") if getattr(model.global_, f"slack_{key}", None)), "")
    if heard and not getattr(model.global_, "slack_team_id", None):
        yield document.problem_at_key(key_of(document, ("global",), heard),
                                      f"{heard} without slack_team_id: somebody of another workspace with the same id would pass "
                                      "for one of yours; add slack_team_id: T…, the id of your workspace")


def hasty(document: Document, model: ConfigModel) -> Iterator[Problem]:
    for index, policy in enumerate(model.escalation_policies):
        for number, step in enumerate(policy.steps):
            if step.wait == timedelta(0):
                yield document.problem(("escalation_policies", index, "steps", number, "wait"),
                                       "wait: 0 leaves nobody the time to answer: what follows comes at once; write for example "
                                       "wait: 5m")


def unproved(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """Heartbeats that anybody who reaches the hub can keep alive."""
    is_public = not is_loopback(urlsplit(model.server.public_url).hostname or "") or not is_loopback(
        host_and_port(model.server.listen)[0])
    for index, heartbeat in enumerate(model.heartbeats):
        if is_public and not heartbeat.matchers and heartbeat.token is None:
            yield document.problem(("heartbeats", index),
                                   f"anybody who reaches the hub can ping {heartbeat.name}; add token_file")


def key_of(document: Document, path: Path, name: str) -> Path:
    """The key by which the file gives it: its own, or the one of the file that holds it."""
    return next((found for key in (name, f"{name}_file") if (found := (*path, key)) in document.keys), path)


def deprecated(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """What the settings of a channel say of themselves. Such a sentence begins with the key that it is about."""
    for number, receiver in enumerate(model.receivers):
        for kind, index, settings in entries(receiver):
            for text in getattr(settings, "deprecations", list)():
                path = key_of(document, ("receivers", number, kind + SUFFIX, index), text.partition(" ")[0])
                yield document.problem_at_key(path, text)


def of_routes(document: Document, model: ConfigModel) -> Iterator[Problem]:
    waiting: list[tuple[Path, Any]] = [(("route",), model.route)]
    while waiting:
        path, route = waiting.pop()
        for key, right in (("match", "name=\"value\""), ("match_re", "name=~\"value\"")):
            if getattr(route, key):
                yield document.problem_at_key((*path, key), f"{key} is deprecated; write matchers: ['{right}']")
        if route.group_interval is not None:
            yield document.problem_at_key(
                (*path, "group_interval"), "group_interval has no effect: Alertmanager has grouped, and news are told at once")
        waiting.extend(((*path, "routes", index), child) for index, child in enumerate(route.routes))


def open_door(document: Document, model: ConfigModel) -> Iterator[Problem]:
    server = model.server
    if not is_loopback(urlsplit(server.public_url).hostname or "") and server.api_token is None:
        yield document.problem(("server",), "a proxy on this machine lets everybody who reaches it use the API and the "
                               "pages; set api_token_file, or keep /api and / from them in the proxy")


def readable_by_all(document: Document, data: Any, path: Path) -> Iterator[Problem]:
    """Secret files that every user of the machine may read (R-51)."""
    if isinstance(data, dict | list):
        for step, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from readable_by_all(document, value, (*path, step))
    elif isinstance(data, str) and re.fullmatch(r".*(?<!ca)_file", str(path[-1])) and is_readable_by_all(FilePath(data)):
        yield document.problem(path, f"{path[-1]}: every user of this machine can read that file; chmod 640 it")


def is_readable_by_all(file: FilePath) -> bool:
    return file.is_file() and bool(file.stat().st_mode & stat.S_IROTH)


def unapproved(document: Document, model: ConfigModel) -> Iterator[Problem]:
    for index, settings in enumerate(model.actions):
        if settings.approve is not None:
            able = sum(settings.approve.role in (person.role, *person.grants) for person in model.people)
            if able < settings.approve.count:
                yield document.problem(("actions", index, "approve"), f"{settings.approve.count} must approve "
                                       f"{settings.name}, but {able} of people have the role {settings.approve.role}")


def frozen_for_ever(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """Anybody who may respond can freeze actions; see answer.lifts_freezes for who ends that."""
    if model.actions and not any(person.role in ("approver", "admin") or "approver" in person.grants for person in model.people):
        yield document.problem(("actions",), "nobody can lift a freeze of actions: give one of people the role admin or "
                               "approver, or grants: [approver]")
