"""What would become of an alert with these labels: which routes match and why others do not, who would hear, what follows.
Pure; nothing is sent and nothing kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerthub.domain.alert import Labels
from alerthub.domain.leads import leads
from alerthub.domain.matcher import Matcher
from alerthub.domain.route import Route, group_pairs, resolve
from alerthub.domain.rules import Rules
from alerthub.domain.runbook import choose
from alerthub.domain.silence import Silence, covers

MOST_LABELS, LONGEST = 50, 2_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """One node of the tree. `is_chosen`: the alert goes there. `why`: in words, why or why not. `failing`: matchers that do not
    hold, with the value that the alert has."""

    route: Route
    depth: int
    is_chosen: bool
    why: str
    failing: tuple[tuple[Matcher, str], ...] = ()


def verdicts(rules: Rules, labels: Labels) -> list[Verdict]:
    """All nodes, in the order of the file."""
    chosen = {route.place for route in resolve(rules.route, labels)}
    return list(judged(rules.route, labels, chosen, 0, ""))


def judged(route: Route, labels: Labels, chosen: set[str], depth: int, before: str) -> Iterator[Verdict]:
    """`before`: why it is not even asked."""
    failing = tuple((one, labels.get(one.name, "")) for one in route.matchers if not one.matches(labels))
    is_chosen = not before and route.place in chosen
    why = before or why_of(route, failing, is_chosen=is_chosen)
    yield Verdict(route, depth, is_chosen, why, () if before else failing)
    taken = ""
    for child in route.routes:
        is_asked = not (before or failing or taken)
        reason = before or ("the route above it does not match" if failing else taken)
        yield from judged(child, labels, chosen, depth + 1, reason)
        if is_asked and not child.continues and resolve(child, labels):
            taken = f"{child.place} matches before it and does not continue"


def why_of(route: Route, failing: tuple[tuple[Matcher, str], ...], *, is_chosen: bool) -> str:
    if failing:
        return "does not match: " + "; ".join(f"{matcher} fails, {told(matcher, value)}" for matcher, value in failing)
    return "the alert goes here" if is_chosen else "matches, and a route below it takes the alert"


def told(matcher: Matcher, value: str) -> str:
    return f'{matcher.name} is "{value}"' if value else f"the alert has no {matcher.name}"


def trial(rules: Rules, labels: Labels, now: datetime) -> dict[str, Any]:
    """As `alerthub routes test --json` prints it."""
    runbook = choose(rules.runbooks, labels)
    found = [{"route": lead.place, "receiver": lead.receiver, "destinations": list(lead.destinations),
              "actions": list(lead.actions), "escalation_policy": lead.policy or None, "muted_now": lead.is_muted,
              "problems": list(lead.problems)} for lead in leads(rules, [labels], now)]
    return {"labels": dict(labels), "routes": found, "runbook": runbook.name if runbook else None}


def in_full(rules: Rules, labels: Labels, silences: Iterable[Silence], now: datetime) -> dict[str, Any]:
    """The same for a page: also every node with its verdict, by what it is grouped, and which silences cover it."""
    found = trial(rules, labels, now)
    by_place = {one.route.place: one.route for one in verdicts(rules, labels)}
    for entry in found["routes"]:
        route = by_place[entry["route"]]
        entry |= {"group_by": list(route.group_by), "grouped_by": dict(group_pairs(route.group_by, labels)),
                  "mute_time_intervals": [one.name for one in route.mute],
                  "active_time_intervals": [one.name for one in route.active]}
    covering = [{"number": one.number, "matchers": [str(matcher) for matcher in one.matchers], "by": one.created_by,
                 "ends_at": one.ends_at.isoformat(), "comment": one.comment} for one in silences if covers(one, labels, now)]
    return {**found, "silences": covering,
            "tree": [{"route": one.route.place, "depth": one.depth, "receiver": one.route.receiver, "is_chosen": one.is_chosen,
                      "matchers": [str(matcher) for matcher in one.route.matchers], "why": one.why}
                     for one in verdicts(rules, labels)]}


def read_labels(text: str) -> Mapping[str, str]:
    """`a=b, c=d`, or one on each line; a value may be quoted. ValueError with what would be right."""
    parts = [part.strip() for line in text.splitlines() for part in split(line)]
    pairs = dict(pair_of(part) for part in parts if part)
    if not pairs:
        raise ValueError("write at least one label, for example alertname=DiskFull")
    if len(pairs) > MOST_LABELS or len(text) > LONGEST:
        raise ValueError(f"at most {MOST_LABELS} labels, of {LONGEST} characters together")
    return pairs


def split(line: str) -> Iterator[str]:
    """At commas, but for those inside quotes."""
    part, is_quoted = "", False
    for sign in line:
        is_quoted ^= sign == '"'
        if sign == "," and not is_quoted:
            yield part
            part = ""
        else:
            part += sign
    yield part


def pair_of(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name.strip():
        raise ValueError(f"{text[:80]!r} is not LABEL=VALUE, for example alertname=DiskFull")
    return name.strip(), value.strip().strip('"')
