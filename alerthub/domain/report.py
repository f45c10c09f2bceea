"""The report of an incident that is over, as a draft in Markdown: what the record knows, in order, and empty places for what only
people know. Pure. Labels, names and comments come from strangers: none of them can become markup.

What is told about is plain JSON, as flow/report.py gathers it: times are ISO 8601.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerthub.domain.event import EventKind
from alerthub.domain.local_time import dated, there
from alerthub.domain.story import fate_of, headline, why
from alerthub.domain.wording import clip, one_line, spoken

LONGEST = 100_000           # characters that a report may have
MOST_LINES, MOST_ALERTS, MOST_VALUES = 200, 50, 10
LINE = 400                  # characters of one text in it
PEOPLE = ("person", "account")
TOUCHED = ("agent", "service", "host", "instance", "pod", "deployment", "model", "flow", "job", "team", "cluster", "namespace")
OPENINGS = (EventKind.opened.value, EventKind.reopened.value)
EMPTY = ("What went well", "What went badly", "Follow-up")
TO_FILL = "*Not written yet.*"
DID = {EventKind.acknowledged.value: "acknowledged", EventKind.unacknowledged.value: "gave back",
       EventKind.resolved.value: "resolved", EventKind.comment.value: "commented", EventKind.silenced.value: "silenced",
       EventKind.unsilenced.value: "ended a silence", EventKind.escalated.value: "escalated",
       EventKind.action.value: "decided about an action", EventKind.latch.value: "decided about a target in its safe state",
       EventKind.changed.value: "changed it elsewhere"}
# What means something wherever it stands; inside a word an underscore does not. `&` begins an entity, `|` a cell.
SIGNS = re.compile(r"[\\`*\[\]<>&|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# What means something at the beginning of a line only.
BEGINNING = re.compile(r"\A(?:[#+=:-]|[0-9]{1,9}(?=[.)]))")


def escaped(text: str, limit: int = LINE) -> str:
    """One line of a stranger's text that reads in Markdown as it stands, wherever it is put."""
    line = SIGNS.sub(r"\\\g<0>", one_line(text, limit))
    found = BEGINNING.match(line)
    if found is None:
        return line
    return f"{found[0]}\\{line[found.end():]}" if found[0].isdigit() else f"\\{line}"


@dataclass(frozen=True, slots=True)
class Times:
    """Of one incident: first opened, first taken by a person, over at last. None: not so far."""

    opened: datetime
    acknowledged: datetime | None
    resolved: datetime | None

    @property
    def to_acknowledge(self) -> timedelta | None:
        return self.acknowledged - self.opened if self.acknowledged else None

    @property
    def to_resolve(self) -> timedelta | None:
        return self.resolved - self.opened if self.resolved else None


def times_of(incident: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> Times:
    told = list(events)
    opened = next((event["at"] for event in told if event["kind"] in OPENINGS), incident["opened_at"])
    taken = next((event["at"] for event in told if event["kind"] == EventKind.acknowledged.value), None)
    over = incident["resolved_at"] if incident["status"] == "resolved" else None
    return Times(instant(opened), instant(taken) if taken else None, instant(over) if over else None)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def draft(told: Mapping[str, Any], zone: str, owners: Mapping[str, Sequence[str]], made_at: datetime) -> str:
    """The whole text. `zone` is where people read its times; `owners` names the people whose own a destination is."""
    incident, events = told["incident"], told["events"]
    times = times_of(incident, events)
    parts = [
        [f"# Incident {incident['number']}: {escaped(incident['title'])}",
         f"*A draft from the record, made {dated(made_at, zone)}. The last three sections are for people.*"],
        section("Summary", [summary(incident, times, events)]),
        section("Impact", impact(told, times)), section("Times", clocks(times, zone)),
        section("Timeline", timeline(events, zone)), section("People", people(events, told["runs"])),
        section("Actions", actions(told)), section("Messages", messages(told["deliveries"], owners)),
        section("Silences", silences(events)), section("The record", record(events)),
        *(section(heading, [TO_FILL]) for heading in EMPTY),
    ]
    return clip("\n\n".join("\n\n".join(part) for part in parts) + "\n", LONGEST)


def section(heading: str, blocks: Iterable[str]) -> list[str]:
    return [f"## {heading}", *blocks]


def bullets(lines: Iterable[str], none: str) -> list[str]:
    return ["\n".join(f"- {line}" for line in lines) or none]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def some(lines: Sequence[str], most: int, what: str) -> list[str]:
    more = [f"and {len(lines) - most} more {what}"] if len(lines) > most else []
    return [*lines[:most], *more]


# -- what it was

def summary(incident: Mapping[str, Any], times: Times, events: Sequence[Mapping[str, Any]]) -> str:
    """One line, for who reads no other."""
    lasted = f"It lasted {spoken(times.to_resolve)}" if times.to_resolve is not None else "It is not over yet"
    taker = next((event for event in events if event["kind"] == EventKind.acknowledged.value), None)
    taken = "nobody acknowledged it"
    if taker is not None and times.to_acknowledge is not None:
        taken = f"{escaped(taker['actor_name'])} acknowledged it after {spoken(times.to_acknowledge)}"
    return (f"{escaped(incident['severity']).capitalize()}: {escaped(incident['title'])}, from {escaped(incident['source'])}. "
            f"{lasted}; {taken}.")


def impact(told: Mapping[str, Any], times: Times) -> list[str]:
    incident, alerts = told["incident"], told["alerts"]
    openings = sum(event["kind"] in OPENINGS for event in told["events"])
    lasted = spoken(times.to_resolve) if times.to_resolve is not None else "not over yet"
    facts = [f"Severity: {escaped(incident['severity'])}", f"Duration: {lasted}",
             f"Opened: {'once' if openings <= 1 else f'{openings} times'}",
             f"Alerts: {incident['alerts']}" + (f", {incident['firing']} still firing" if incident["firing"] else "")]
    facts += [f"Touched, by {name}: {', '.join(some(values, MOST_VALUES, 'values'))}" for name, values in touched(alerts)]
    lines = some([alert_line(alert) for alert in alerts], MOST_ALERTS, "alerts")
    return [*bullets(facts, ""), *(["Its alerts:", *bullets(lines, "")] if lines else ["No alert is kept."])]


def touched(alerts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    """The labels that say where, each with its values."""
    for name in TOUCHED:
        values = sorted({escaped(alert["labels"][name], 80) for alert in alerts if alert["labels"].get(name)})
        if values:
            yield name, values


def alert_line(alert: Mapping[str, Any]) -> str:
    labels = alert["labels"]
    said = alert["annotations"].get("summary", "")
    rest = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "alertname")
    return (escaped(labels.get("alertname", "") or "alert", 100) + (f": {escaped(said, 200)}" if said else "")
            + (f" ({escaped(rest)})" if rest else ""))


def clocks(times: Times, zone: str) -> list[str]:
    def line(word: str, at: datetime | None, span: timedelta | None, none: str) -> str:
        after = f", after {spoken(span)}" if span is not None else ""
        return f"{word}: {both(at, zone)}{after}" if at else f"{word}: {none}"

    return bullets([line("Opened", times.opened, None, ""),
                    line("First acknowledged by a person", times.acknowledged, times.to_acknowledge, "never"),
                    line("Resolved", times.resolved, times.to_resolve, "not yet")], "")


def both(at: datetime, zone: str) -> str:
    """Where people live, and in UTC where that differs."""
    local = dated(at, zone)
    return local if zone == "UTC" else f"{local} ({dated(at, 'UTC')})"


# -- what happened

def timeline(events: Sequence[Mapping[str, Any]], zone: str) -> list[str]:
    first = events[:MOST_LINES]
    rows = [[f"{there(at, zone):%Y-%m-%d %H:%M:%S}", f"{there(at, 'UTC'):%H:%M:%S}", escaped(event["actor_name"], 80),
             escaped(event["text"])] for event in first for at in (instant(event["at"]),)]
    left = len(events) - len(first)
    more = [f"And {left} more, in the record of the incident."] if left else []
    return [table([f"Local ({escaped(zone)})", "UTC", "Who", "What"], rows), *more] if rows else ["Nothing is kept."]


def people(events: Iterable[Mapping[str, Any]], runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Everybody who did something, by name, in the order in which they came in."""
    did: dict[str, Counter[str]] = {}
    for event in events:
        if event["actor_kind"] in PEOPLE:
            did.setdefault(event["actor_name"], Counter())[deed(event)] += 1
    for run in runs:
        for vote in run["votes"]:
            did.setdefault(vote["person"], Counter())["agreed" if vote["verdict"] == "approve" else "said no"] += 0
    return bullets([f"{escaped(name, 100)}: {deeds(counted)}" for name, counted in did.items()], "Nobody did anything by hand.")


def deed(event: Mapping[str, Any]) -> str:
    if "vote" in event["data"]:
        return "agreed" if event["data"].get("verdict") == "approve" else "said no"
    return DID.get(event["kind"], str(event["kind"]))


def deeds(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count} times" if count > 1 else what for what, count in counted.items())


def actions(told: Mapping[str, Any]) -> list[str]:
    """Each with what became of it, and the hash of the line of the record that says so."""
    runs = [*told["runs"], *told["requests"]]
    lines = [f"{escaped(headline(run))} {escaped(why(run))} "
             f"({fate_of(run).value.replace('_', ' ')}{evidence(run, told['events'])})" for run in runs]
    return bullets(some(lines, MOST_LINES, "actions"), "No action was called for.")


def evidence(run: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> str:
    found = [event for event in events
             if event["seq"] == run.get("line") or (run["id"] and event["data"].get("run") == run["id"])]
    return f"; event {found[-1]['seq']}, hash {found[-1]['hash']}" if found and found[-1]["hash"] else ""


def messages(deliveries: Iterable[Mapping[str, Any]], owners: Mapping[str, Sequence[str]]) -> list[str]:
    by_place: dict[str, Counter[str]] = {}
    for delivery in deliveries:
        counted = by_place.setdefault(delivery["destination"], Counter())
        counted["dead" if delivery["is_dead_letter"] else delivery["state"]] += 1
    rows = [[escaped(place, 200), escaped(", ".join(owners.get(place, ())), 100), str(counted["sent"]), str(counted["failed"]),
             str(counted["dead"]), str(counted["unknown"])] for place, counted in sorted(by_place.items())]
    heads = ["To", "Whose own", "Sent", "Failed", "Given up", "Not known"]
    return [table(heads, rows)] if rows else ["Nobody was told."]


def silences(events: Iterable[Mapping[str, Any]]) -> list[str]:
    kinds = (EventKind.silenced.value, EventKind.unsilenced.value)
    found = [event for event in events if event["kind"] in kinds]
    return bullets([f"{dated(instant(event['at']), 'UTC')}: {escaped(event['text'])}" for event in found],
                   "It was not silenced.")


def record(events: Sequence[Mapping[str, Any]]) -> list[str]:
    if not events or not events[-1]["hash"]:
        return ["Its events are not chained."]
    last = events[-1]
    return [f"Its history ends with event {last['seq']}, hash {last['hash']}. The evidence is exported on the audit page, or "
            "with alerthub audit export."]
