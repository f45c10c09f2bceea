"""Alerts that wake somebody who then does not know what to do, or whose they are: routes and Prometheus rules without a runbook
or an owner, and rules whose alerts no route but the catch-all takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from alerthub.config.model import ConfigModel, RouteSettings
from alerthub.config.reader import Document, Path, read_document
from alerthub.config.rules import matchers_of
from alerthub.domain.alert import Labels
from alerthub.domain.matcher import EQUAL, MATCHES, Matcher
from alerthub.domain.route import Route
from alerthub.domain.rules import Rules
from alerthub.domain.runbook import Runbook
from alerthub.errors import AlerthubError, ConfigError, Problem
from alerthub.resources import folder
from alerthub.runbooks import read_runbooks

LARGEST = 10 * 1024**2      # bytes of a file of rules
NAME = "alertname"
OWNERS = ("team", "owner")
# Labels that the rule gives, or nobody does. Any other may come with the series.
OF_RULES = ("severity", *OWNERS)
WORDS = re.compile(r"\w+(\|\w+)*")
TEMPLATE = "{{"


# -- routes

def uncovered(document: Document, model: ConfigModel) -> Iterator[Problem]:
    """The routes that are for one alert, or for several by name, and lead to no runbook or to one that nobody owns."""
    named = list(named_routes(model))
    runbooks = known_runbooks(model) if named else None
    for path, labels in named if runbooks is not None else ():
        place = next((found for key in ("matchers", "match", "match_re") if (found := (*path, key)) in document.keys), path)
        for text in missing(labels, runbooks or ()):
            yield document.problem(place, text)


def named_routes(model: ConfigModel) -> Iterator[tuple[Path, Labels]]:
    """Each route that says itself which alert it is for, with all labels that are certain there; once for each name."""
    waiting: list[tuple[Path, RouteSettings, dict[str, str]]] = [(("route",), model.route, {})]
    while waiting:
        path, route, above = waiting.pop()
        matchers = matchers_of(route)
        labels = {**above, **{one.name: one.value for one in matchers if one.op == EQUAL and one.value}}
        for name in names_in(matchers):
            yield path, {**labels, NAME: name}
        waiting.extend(((*path, "routes", index), child, labels) for index, child in enumerate(route.routes))


def names_in(matchers: Iterable[Matcher]) -> list[str]:
    """The alerts that the matchers name: `=`, or `=~` with nothing but words between bars."""
    named = [one for one in matchers if one.name == NAME and one.op in (EQUAL, MATCHES) and WORDS.fullmatch(one.value)]
    return [name for one in named for name in one.value.split("|")]


def known_runbooks(model: ConfigModel) -> tuple[Runbook, ...] | None:
    """Those of the program and the user's own. None when something is wrong in them, which is said elsewhere."""
    folders = [] if model.runbooks is None else [FilePath(model.runbooks.folder)]
    found: dict[str, Runbook] = {}
    try:
        for place in (folder("runbooks"), *folders):
            found.update((book.name, book) for book in read_runbooks(place))
    except AlerthubError:
        return None
    return tuple(found.values())


# -- files of Prometheus

def uncovered_rules(file: FilePath, rules: Rules) -> list[Problem]:
    """The alerts of a file of Prometheus rules that have no runbook, no owner, or no route of their own. Raises ConfigError
    when it is no such file."""
    document = read_rules(file)
    found: list[Problem] = []
    for path, rule, labels in alerting(document.data):
        annotations = mapping(rule.get("annotations"))
        has_own = str(annotations.get("runbook_url", "")).startswith(("https://", "http://"))
        texts = missing(labels, rules.runbooks, has_own)
        if not any(takes(child, labels) for child in rules.route.routes):
            texts.append(f"no route takes {labels[NAME]}, so only the catch-all hears of it ({rules.route.receiver}); add a "
                         f"route with {wanted(labels)}, or a label that one of the routes asks for")
        found += [document.problem((*path, "alert"), text) for text in texts]
    return found


def read_rules(file: FilePath) -> Document:
    """Variables of the environment are nothing to Prometheus: ${1} stays what it is."""
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        word = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise ConfigError([Problem(str(file), 0, 0, word)]) from None
    if len(content) > LARGEST:
        raise ConfigError([Problem(str(file), 0, 0, "is larger than 10 MiB")])
    document = read_document(str(file), content.replace(b"${", b"$${"), {})
    if not document.problems and not isinstance(mapping(document.data).get("groups"), list):
        document.problems.append(Problem(str(file), 0, 0, "is no file of Prometheus rules: there is no list of groups in it"))
    if document.problems:
        raise ConfigError(document.problems)
    return document


def alerting(data: Any) -> Iterator[tuple[Path, Mapping[str, Any], dict[str, str]]]:
    """The alerting rules: where, the rule, and the labels of its alerts, as far as it says them."""
    for number, group in enumerate(data["groups"]):
        shared = mapping(mapping(group).get("labels"))
        rules = mapping(group).get("rules")
        for index, rule in enumerate(rules if isinstance(rules, list) else ()):
            if name := mapping(rule).get("alert"):
                given = {str(key): str(value) for key, value in {**shared, **mapping(rule.get("labels"))}.items()}
                yield ("groups", number, "rules", index), rule, {**dict.fromkeys(OF_RULES, ""), **given, NAME: str(name)}


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def takes(route: Route, labels: Labels) -> bool:
    return all(may_match(matcher, labels) for matcher in route.matchers)


# -- both

def missing(labels: Labels, runbooks: Iterable[Runbook], has_own: bool = False) -> list[str]:
    """What an alert with these labels lacks, and what to do. `has_own`: it links a runbook itself."""
    fitting = [book for book in runbooks if is_for(book, labels)]
    is_owned = any(labels.get(name) for name in OWNERS)
    if not fitting and not has_own:
        also = "" if is_owned else " and owner:"
        return [f"{labels[NAME]} has no runbook; write one with {wanted(labels)}{also} into the folder that runbooks: names"]
    if not is_owned and not any(book.owner for book in fitting):
        where = f"owner: to the runbook {fitting[0].name}.md" if fitting else "a label team: to the rule"
        return [f"nobody owns {labels[NAME]}; add {where}"]
    return []


def wanted(labels: Labels) -> str:
    return f"matchers: ['{NAME}=\"{labels[NAME]}\"']"


def is_for(book: Runbook, labels: Labels) -> bool:
    """It may be the runbook of such an alert: nothing that is certain speaks against it, and something for it."""
    return all(may_match(one, labels) for one in book.matchers) and any(labels.get(one.name) for one in book.matchers)


def may_match(matcher: Matcher, labels: Labels) -> bool:
    """Of a label that is not among these, anything may be so; an empty one is certainly not there."""
    return matcher.name not in labels or TEMPLATE in labels[matcher.name] or matcher.matches(labels)
