"""Silences: which alerts one covers, until when, and what must be done so that its source has the same ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from alerthub.domain.alert import Labels
from alerthub.domain.local_time import dated
from alerthub.domain.matcher import EQUAL, Matcher, all_match
from alerthub.domain.route import group_pairs

LONGEST = timedelta(days=365)
SHORTEST = timedelta(minutes=1)
MOST_MATCHERS = 50
MATCHER_TEXT = 2_000                # characters of a label's name and value together
COMMENT, NAME = 1_000, 200          # characters that are kept of what people write
MORNING = time(9)
RIGHT = "write a time span such as 1h, 4h or 2d (at most one year), tomorrow (09:00), or until 18:00"
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
SPAN = re.compile(r"(?:[0-9]{1,6}[mhdw]){1,4}")
PART = re.compile(r"([0-9]+)([mhdw])")
WALL_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
# PROTOCOLS 1.8: Alertmanager has no idempotency key, so the comment says which silence of the hub it is.
MARKER = re.compile(r"alerthub:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\)\Z")


class NotTaken(ValueError):
    """The source says that it will never take this silence. The text is its word."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that all its matchers match are held from `starts_at` until `ends_at`. `source` is empty for the hub's own; else
    it is shown only: the source itself holds back what it covers. `number` is for people, given by the database."""

    id: str
    number: int
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str
    source: str = ""
    remote_id: str = ""

    def is_active(self, now: datetime) -> bool:
        return self.starts_at <= now < self.ends_at

    def about(self, zone: str = "UTC") -> str:
        """`by ayse until 2026-11-21 16:00 UTC: reason`"""
        reason = f": {self.comment}" if self.comment else ""
        return f"by {self.created_by or 'somebody'} until {dated(self.ends_at, zone)}{reason}"


def covers(silence: Silence, labels: Labels, now: datetime) -> bool:
    return silence.is_active(now) and all_match(silence.matchers, labels)


def covering(silences: Iterable[Silence], labels: Labels, now: datetime) -> Silence | None:
    """The one that covers these labels longest; None when none does."""
    found = (silence for silence in silences if covers(silence, labels, now))
    return max(found, key=lambda silence: (silence.ends_at, silence.id), default=None)


def holding(silences: Sequence[Silence], alerts: Iterable[Labels], now: datetime) -> Silence | None:
    """The one that keeps all of these alerts silent, and of several needed the first to end. None when one alert is not
    covered, or when there are none."""
    held: list[Silence] = []
    for labels in alerts:
        found = covering(silences, labels, now)
        if found is None:
            return None
        held.append(found)
    return min(held, key=lambda silence: (silence.ends_at, silence.id), default=None)


def check_matchers(matchers: Sequence[Matcher]) -> None:
    """ValueError, with what would be right, for what must not become a silence. Alertmanager refuses the same (PROTOCOLS 1.8)."""
    if not matchers:
        raise ValueError('a matcher is missing; write it like alertname="DiskFull"')
    if len(matchers) > MOST_MATCHERS:
        raise ValueError(f"{len(matchers)} matchers are too many; at most {MOST_MATCHERS}")
    if any(len(matcher.name) + len(matcher.value) > MATCHER_TEXT for matcher in matchers):
        raise ValueError(f"a matcher is too long; at most {MATCHER_TEXT} characters")
    if all(matcher.matches({}) for matcher in matchers):
        raise ValueError('these matchers cover everything; at least one must ask for a value, like alertname="DiskFull"')


def check_span(starts_at: datetime, ends_at: datetime) -> None:
    if ends_at - starts_at < SHORTEST:
        raise ValueError("a silence ends later than in a minute from now; " + RIGHT)
    if ends_at - starts_at > LONGEST:
        raise ValueError("a silence lasts at most one year; " + RIGHT)


def matchers_for(labels_common: Labels, group_by: Sequence[str]) -> tuple[Matcher, ...]:
    """What an incident is silenced by: the labels that its route groups by, as they are in it (an absent one must be absent),
    else all labels that its alerts share. ValueError when only a severity, or nothing, would be left."""
    named = [(name, labels_common.get(name, "")) for name in group_by if name != "..."]
    shared = list(group_pairs(("...",), labels_common))
    for pairs in (named, shared):
        if any(value and name != "severity" for name, value in pairs):
            return tuple(Matcher(name, EQUAL, value) for name, value in sorted(pairs))
    raise ValueError("its alerts share no label that tells them from others; make a silence with matchers of your own")


def end_of(word: str, now: datetime, zone: str) -> datetime:
    """When a silence ends that was asked for in words: `4h`, `1h30m`, `2d`; `tomorrow`, also `until tomorrow 09:00`, the next
    09:00 in the zone; `until 18:00`, the next one. ValueError with what would be right."""
    text = " ".join(word.lower().split()).removeprefix("until ")
    if SPAN.fullmatch(text):
        span = sum((int(count) * UNITS[unit] for count, unit in PART.findall(text)), timedelta(0))
        check_span(now, now + min(span, LONGEST * 2))
        return now + span
    if text in ("tomorrow", "tomorrow 09:00", "tomorrow 9:00"):
        return next_wall_clock(MORNING, now, zone)
    if clock := WALL_CLOCK.fullmatch(text):
        return next_wall_clock(time(int(clock[1]), int(clock[2])), now, zone)
    raise ValueError(f"{word[:40]!r} is not an end of a silence; {RIGHT}")


def next_wall_clock(clock: time, now: datetime, zone: str) -> datetime:
    """The first instant more than a minute from now at which clocks there show this. Where it is skipped, as if they had not
    been moved yet; where it comes twice, the first one."""
    place = ZoneInfo(zone)
    today = now.astimezone(place).date()
    instants = (datetime.combine(today + timedelta(days=days), clock, place).astimezone(UTC) for days in range(3))
    return next(instant for instant in instants if instant - now >= SHORTEST)


# What the source has, and what it shall have.

@dataclass(frozen=True, slots=True)
class Mirror:
    """One silence of the hub and how far each source has it: `made`, `ended`, `refused` (never again), `failed` (again)."""

    silence: Silence
    states: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def state(self, source: str) -> str:
        return self.states.get(source, {}).get("state", "")


@dataclass(frozen=True, slots=True)
class Plan:
    """What one source needs: silences to make and remote ids to end, each with the hub's; and what is so already."""

    make: tuple[Silence, ...] = ()
    end: tuple[tuple[Silence, tuple[str, ...]], ...] = ()
    made: tuple[tuple[Silence, str], ...] = ()
    ended: tuple[Silence, ...] = ()


def marked_comment(silence: Silence) -> str:
    by = silence.created_by or "alerthub"
    return f"{silence.comment} (by {by}, alerthub:{silence.id})".strip()


def marker_of(comment: str) -> str:
    """The id of the hub's silence that this one mirrors; empty when it claims none."""
    found = MARKER.search(comment)
    return found[1] if found else ""


def is_mirror(remote: Silence, silence: Silence) -> bool:
    """Marked as ours, and silencing the same: a marker alone can be written by anybody."""
    return marker_of(remote.comment) == silence.id and set(remote.matchers) == set(silence.matchers)


def plan(source: str, ours: Iterable[Mirror], remote: Sequence[Silence], now: datetime) -> Plan:
    """Compare the hub's silences with what the source lists. One that somebody ended there is still listed, as over, and is
    not made again; one that is not listed any more was lost (Alertmanager writes them down every 15 minutes only)."""
    make, end, made, ended = [], [], [], []
    for mirror in ours:
        silence, state = mirror.silence, mirror.state(source)
        found = [other for other in remote if is_mirror(other, silence)]
        lasting = tuple(other.remote_id for other in found if other.ends_at > now)
        if silence.is_active(now):
            if found and state != "made":
                made.append((silence, (*lasting, found[0].remote_id)[0]))
            elif not found and state != "refused":
                make.append(silence)
        elif lasting:
            end.append((silence, lasting))
        elif state not in ("", "ended", "refused"):
            ended.append(silence)
    return Plan(tuple(make), tuple(end), tuple(made), tuple(ended))


def foreign(ours: Iterable[Mirror], remote: Iterable[Silence], now: datetime) -> list[Silence]:
    """Those that are not over and were not made by this hub."""
    known = {mirror.silence.id: mirror.silence for mirror in ours}
    return [other for other in remote if other.ends_at > now
            and ((found := known.get(marker_of(other.comment))) is None or not is_mirror(other, found))]
