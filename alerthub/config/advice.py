"""What is right in a configuration, and worth a word all the same: deprecated keys, keys without effect, files open to all.

What is wrong is found in check.py.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import urlsplit

from alerthub.config.kinds import SUFFIX
from alerthub.config.model import ConfigModel, entries, host_and_port, is_loopback
from alerthub.config.oncall import gap_warnings
from alerthub.config.reader import Document, Path
from alerthub.errors import Problem


def warnings(document: Document, model: ConfigModel, now: datetime) -> tuple[str, ...]:
    """Each with its place, in file order. `now`: gaps of the schedules are looked for from now on."""
    found = [*not_yet(document, model), *unreachable(document, model), *gap_warnings(document, model, now),
             *unproved(document, model),
             *of_routes(document, model), *deprecated(document, model),
             *unapproved(document, model), *readable_by_all(document, document.data, ()), *open_door(document, model)]
    return tuple(str(one) for one in sorted(found, key=lambda one: (one.line, one.column)))


def not_yet(document: Document, model: ConfigModel) -> Iterator[Problem]:
    for index, target in enumerate(model.targets):
        if getattr(target, "permit", None) is not None:
            yield document.problem_at_key(("targets", index, "permit"),
                                          "permit is not served by this version: the agent gets no permit")


def unreachable(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """People who may be called and have no address to be called at."""
    called = {name for schedule in model.schedules for layer in schedule.layers for name in layer.people}
    called |= {text.removeprefix("person:").strip() for policy in model.escalation_policies for step in policy.steps
               for text in step.notify}
    for index, person in enumerate(model.people):
        if person.name in called and not (person.slack or person.telegram or person.email):
            yield document.problem(("people", index), f"{person.name} may be called, but has no address; add slack, telegram or "
                                   "email")


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
