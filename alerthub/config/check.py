"""What no single block can know: names that refer to each other, and settings that contradict each other.

Names are checked in the data as it was read, so that they are said together with every other mistake of the file; what
needs whole blocks is checked in the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any

from alerthub.config.kinds import SUFFIX, Kinds, type_of
from alerthub.config.model import ConfigModel, host_and_port, is_loopback
from alerthub.config.reader import Document, Path
from alerthub.config.targets import check_permits
from alerthub.config.tokens import check_tokens
from alerthub.config.words import suggestion
from alerthub.domain.incident import OWN_SOURCE
from alerthub.errors import Problem
from alerthub.store.address import password_of

# Sections whose entries have names, and what one entry is called.
NAMED = {
    "sources": "source", "people": "person", "schedules": "schedule", "escalation_policies": "escalation policy",
    "receivers": "receiver", "targets": "target", "actions": "action", "heartbeats": "heartbeat",
    "time_intervals": "time interval",
}
NO_DATABASE = "not an address; write postgresql://user:password@host:5432/name"
ACCOUNTS = ("slack", "telegram", "email", "pagerduty")
STEP_PREFIXES = {"person": "people", "schedule": "schedules", "receiver": "receivers"}


@dataclass(slots=True)
class Names:
    """The names of every section, and the problems of those who use them."""

    document: Document
    data: Mapping[str, Any]
    known: dict[str, dict[str, Path]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def report(self, path: Path, text: str) -> None:
        self.problems.append(self.document.problem(path, text))

    def collect(self) -> None:
        for section, word in NAMED.items():
            known = self.known.setdefault(section, {})
            for path, block in blocks(self.data, (section,)):
                name = block.get("name")
                if not isinstance(name, str):
                    continue
                if name in known:
                    first = self.document.place(known[name]).line
                    self.report((*path, "name"), f"{word} `{name}` is here twice, first in line {first}; rename one of them")
                known.setdefault(name, (*path, "name"))

    def use(self, section: str, name: Any, path: Path) -> None:
        if isinstance(name, str) and name not in self.known[section]:
            word = NAMED[section]
            self.report(path, f"there is no {word} `{name}`; "
                              + suggestion(name, self.known[section], f"those of {section} are"))

    def use_all(self, section: str, block: Mapping[str, Any], key: str, path: Path) -> None:
        for index, name in enumerate(as_list(block.get(key))):
            self.use(section, name, (*path, key, index))


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def blocks(data: Any, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The mappings of the list at the last key of the path; none when it is something else."""
    for index, block in enumerate(as_list(data.get(path[-1]))):
        if isinstance(block, dict):
            yield (*path, index), block


def check_names(document: Document, kinds: Kinds) -> list[Problem]:
    """Every name that is given twice, and every use of one that does not exist."""
    names = Names(document, document.data)
    names.collect()
    for check in (check_accounts, check_routes, check_heartbeats, check_schedules, check_policies, check_actions):
        check(names)
    check_targets(names, kinds)
    lists = [f"{kind}{SUFFIX}" for kind in kinds.channels.names]
    for path, block in blocks(names.data, ("receivers",)):
        if not any(block.get(key) for key in lists) and set(block) <= {"name", *lists}:      # a wrong key is said already
            names.report(path, f"a receiver needs a destination; add one of {', '.join(lists)}")
    for path, block in blocks(names.data, ("sources",)):
        if block.get("name") == OWN_SOURCE:
            names.report((*path, "name"), f"{OWN_SOURCE} is the hub's own source; choose another name")
    return names.problems


def check_accounts(names: Names) -> None:
    """Who answers from an account must be one person."""
    owners: dict[tuple[str, str], Path] = {}
    for path, block in blocks(names.data, ("people",)):
        for kind in ACCOUNTS:
            if not isinstance(block.get(kind), str | int) or not str(block[kind]).strip():
                continue
            first = owners.setdefault((kind, str(block[kind]).strip().lower()), path)
            if first != path:
                owner = names.data["people"][first[-1]].get("name")
                whose = owner if isinstance(owner, str) else "another person"
                names.report((*path, kind), f"this is {whose}'s {kind} as well, see line {names.document.place(first).line}; "
                             "whoever answers from there must be one person: correct one of them")


def check_routes(names: Names) -> None:
    root = names.data.get("route")
    if not isinstance(root, dict):
        return
    if root.get("receiver") is None:
        names.report(("route",), "the root route needs a receiver: it takes every alert that no other route takes")
    for key in ("matchers", "match", "match_re", "mute_time_intervals", "active_time_intervals"):
        if root.get(key):
            names.report(("route", key), f"the root route takes every alert, always; move {key} to a route below it")
    if root.get("continue") not in (None, False, "false"):
        names.report(("route", "continue"), "nothing comes after the root route; remove continue")
    waiting: list[tuple[Path, Mapping[str, Any]]] = [(("route",), root)]
    while waiting:
        path, route = waiting.pop()
        names.use("receivers", route.get("receiver"), (*path, "receiver"))
        names.use("escalation_policies", route.get("escalation_policy"), (*path, "escalation_policy"))
        names.use_all("actions", route, "actions", path)
        names.use_all("time_intervals", route, "mute_time_intervals", path)
        names.use_all("time_intervals", route, "active_time_intervals", path)
        waiting.extend(blocks(route, (*path, "routes")))


def check_heartbeats(names: Names) -> None:
    for path, block in blocks(names.data, ("heartbeats",)):
        names.use("receivers", block.get("receiver"), (*path, "receiver"))
        for inner, action in blocks(block, (*path, "actions")):
            names.use("actions", action.get("name"), (*inner, "name"))
            names.use_all("targets", action, "targets", inner)


def check_schedules(names: Names) -> None:
    for path, block in blocks(names.data, ("schedules",)):
        for inner, layer in blocks(block, (*path, "layers")):
            names.use_all("people", layer, "people", inner)


def check_policies(names: Names) -> None:
    for path, block in blocks(names.data, ("escalation_policies",)):
        for inner, step in blocks(block, (*path, "steps")):
            for index, text in enumerate(as_list(step.get("notify"))):
                if isinstance(text, str):
                    check_notify(names, text, (*inner, "notify", index))


def check_notify(names: Names, text: str, path: Path) -> None:
    """`person:ayse`, or `ayse` when only one thing has that name."""
    prefix, colon, name = text.partition(":")
    if colon and prefix in STEP_PREFIXES:
        names.use(STEP_PREFIXES[prefix], name.strip(), path)
        return
    having = [word for word, section in STEP_PREFIXES.items() if text in names.known[section]]
    if len(having) > 1:
        names.report(path, f"`{text}` is a {' and a '.join(having)}; write {having[0]}:{text} or {having[1]}:{text}")
    elif not having:
        known = {name: f"{word}:{name}" for word, section in STEP_PREFIXES.items() for name in names.known[section]}
        meant = suggestion(text, known, "") if not colon and get_close_matches(text.lower(), known) else suggestion(
            text, known.values(), "there are")
        names.report(path, f"there is no person, schedule or receiver `{text}`; {meant}")


def check_actions(names: Names) -> None:
    for path, block in blocks(names.data, ("actions",)):
        names.use("targets", block.get("target"), (*path, "target"))
        names.use_all("targets", block, "targets", path)


def check_targets(names: Names, kinds: Kinds) -> None:
    """An action acts on targets of one type. What is no type at all is said elsewhere."""
    types = {str(block.get("name")): block.get("type") for _, block in blocks(names.data, ("targets",))}
    classes = {name: kinds.actions.load(name) for name in kinds.actions.names}
    wanted = {name: type_of(kind.Target) for name, kind in classes.items() if kind.Target is not None}
    for path, block in blocks(names.data, ("actions",)):
        if (acting := str(block.get("type"))) not in wanted:
            continue
        fitting, given = wanted[acting], target_places(block, path)
        for name, place in given:
            if types.get(name, fitting) != fitting and types[name] in wanted.values():
                names.report(place, f"target `{name}` is of type {types[name]}; {acting} acts on type {fitting}")
        label = block.get("target_label")
        if label and not given and fitting not in types.values() and all(one in wanted.values() for one in types.values()):
            names.report((*path, "target_label"), f"no target is of type {fitting}, so the label {label} can name none; "
                                                  "add one to targets")


def target_places(block: Mapping[str, Any], path: Path) -> list[tuple[str, Path]]:
    given = [(block.get("target"), (*path, "target"))]
    given += [(name, (*path, "targets", index)) for index, name in enumerate(as_list(block.get("targets")))]
    return [(name, place) for name, place in given if isinstance(name, str)]


# -- what needs whole blocks

def check_blocks(document: Document, model: ConfigModel, kinds: Kinds) -> list[Problem]:
    """What is wrong with a model that is right by itself."""
    return [*check_server(document, model, kinds), *check_database(document, model), *check_folder(document, model),
            *check_commands(document, model), *check_permits(document, model), *check_tokens(document, model)]


def check_server(document: Document, model: ConfigModel, kinds: Kinds) -> Iterator[Problem]:
    host, _ = host_and_port(model.server.listen)
    if is_loopback(host):
        return
    if "public_url" not in model.server.model_fields_set:
        yield document.problem(("server", "listen"), "with this address the hub is reached from other machines; "
                               "add server.public_url, by which people open it")
    for index, settings in enumerate(model.sources):
        if kinds.sources.load(settings.type)(settings).is_open:      # type: ignore[attr-defined]
            yield document.problem(("sources", index), f"source {settings.name} needs a token while the hub listens on {host}; "
                                   "add token_file, or listen on 127.0.0.1")


def check_database(document: Document, model: ConfigModel) -> Iterator[Problem]:
    try:
        password_of(model.database.url)
    except ValueError:      # whose text may hold it
        yield document.problem(("database", "url"), NO_DATABASE)


def check_folder(document: Document, model: ConfigModel) -> Iterator[Problem]:
    if model.runbooks is not None and not FilePath(model.runbooks.folder).is_dir():
        yield document.problem(("runbooks", "folder"), "there is no such folder; make it, or correct the path")


def check_commands(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """Nothing is started that whoever answers for this machine has not listed."""
    for index, settings in enumerate(model.actions):
        for program in getattr(settings, "programs", ()):
            if program not in model.commands.allow:
                yield document.problem(("actions", index), f"action {settings.name} starts {program}, which is not allowed; "
                                       f"add it to the top of the file: commands: {{allow: [{program}]}}")
