"""SQL for people who look for incidents: by state, severity, source, labels, words and when they opened, in cursor pages.

Labels are no columns: they are read and compared here, a stretch of incidents at a time. A page costs no more whatever is looked
for: it ends after so many rows with what it has found, and `next` goes on from there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, case, func, select, true, union_all

from alerthub.domain.alert import Labels
from alerthub.domain.matcher import EQUAL, Matcher, all_match
from alerthub.store.batch import among, several
from alerthub.store.reading import INCIDENT_FIELDS, RANKS, plain
from alerthub.store.schema import alerts
from alerthub.store.schema import incidents as table
from alerthub.store.tx import AnyRow, AnySelect, Tx

STATES = ("triggered", "acknowledged")      # of an open incident
OPEN = frozenset({"open", *STATES})
STRETCH = 25_000        # numbers that one statement looks through at most, where nothing says how many there are
STRETCHES = 4           # such statements for one page
ROWS = 2_500            # incidents that one statement gives
ALERTS = 2_500          # whose labels are compared for one page; an incident with more of them is compared whole
AT_ONCE = 400           # incidents whose alerts are read with one statement
GRAVEST_AFTER = re.compile(r"([0-3])-([0-9]{1,15})")
NUMBER_AFTER = re.compile(r"[0-9]{1,15}")
COLUMNS = [table.c[name] for name in INCIDENT_FIELDS]
CONTENTS = {is_postgres: select(alerts.c.incident_id, alerts.c.content).where(among(alerts.c.incident_id, "ids", is_postgres))
            for is_postgres in (False, True)}

Place = tuple[int, int]     # the rank and the number of an incident that was looked at; the rank is 0 where numbers alone order


class BadCursor(ValueError):
    """Not a `next` of such a list."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; what is left empty is not asked. One and the same alert of an incident must match all `matchers`;
    `team` is its label. Each word of `words` is in the title or in any alert's labels, written `name=value`; upper and lower
    case are the same. `until` is the first moment that no longer counts."""

    status: str = ""
    severities: tuple[str, ...] = ()
    source: str = ""
    team: str = ""
    matchers: tuple[Matcher, ...] = ()
    words: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    newest_first: bool = False      # also of open ones, which otherwise come the gravest first

    @property
    def is_gravest_first(self) -> bool:
        return self.status in OPEN and not self.newest_first

    @property
    def reads_labels(self) -> bool:
        return bool(self.matchers or self.words or self.team)

    @property
    def is_plain(self) -> bool:
        """Whether nothing but a state is asked for."""
        return not (self.reads_labels or self.severities or self.source or self.since or self.until)


def incidents(tx: Tx, wanted: Wanted, limit: int, cursor: str = "") -> dict[str, Any]:
    """Open ones the gravest first, else the newest first. `next` is the cursor of what follows, None at the end. A page may hold
    fewer than `limit`, or none, and still have a next one. Raises BadCursor."""
    place, found, budget = read_cursor(wanted, cursor), list[AnyRow](), ALERTS
    for _ in range(STRETCHES):
        rows, place = stretch(tx, wanted, place, ROWS if wanted.reads_labels else limit + 1)
        for some in several_at_once(rows):
            for row in fitting(tx, wanted, some):
                if len(found) == limit:
                    return page(wanted, found, place_of(wanted, found[-1]))
                found.append(row)
            budget -= sum(max(row.alerts, 1) for row in some)
            if budget <= 0 and wanted.reads_labels:
                is_last = place is None and some[-1] is rows[-1]
                return page(wanted, found, None if is_last else place_of(wanted, some[-1]))
        if place is None:
            break
    return page(wanted, found, place)


def page(wanted: Wanted, rows: Sequence[AnyRow], place: Place | None) -> dict[str, Any]:
    following = None if place is None else f"{place[0]}-{place[1]}" if wanted.is_gravest_first else str(place[1])
    return {"items": [plain(row, INCIDENT_FIELDS) for row in rows], "next": following}


def read_cursor(wanted: Wanted, cursor: str) -> Place | None:
    if not cursor:
        return None
    match = (GRAVEST_AFTER if wanted.is_gravest_first else NUMBER_AFTER).fullmatch(cursor) if cursor.isascii() else None
    if match is None:
        raise BadCursor("the cursor is not a `next` of this list")
    return (int(match[1]), int(match[2])) if wanted.is_gravest_first else (0, int(match[0]))


def place_of(wanted: Wanted, row: AnyRow) -> Place:
    return (RANKS.get(row.severity, 0) if wanted.is_gravest_first else 0), row.number


# -- the next incidents, by their own columns

def stretch(tx: Tx, wanted: Wanted, after: Place | None, most: int) -> tuple[Sequence[AnyRow], Place | None]:
    """The next rows, and the place from which the following ones go on; None when no more follow."""
    end = None
    if wanted.is_gravest_first:
        if not (lists := ranked(wanted, after)):
            return [], None
        query = gravest(wanted, lists, most + 1)
    elif wanted.status in OPEN:
        query = select(*COLUMNS).where(table.c.status != "resolved", *asked(wanted)).order_by(table.c.number.desc())
        query = query.where(table.c.number < after[1]) if after else query
    else:
        top = after[1] if after else (tx.conn.execute(select(func.max(table.c.number))).scalar() or 0) + 1
        low = max(top - STRETCH, 1)
        query = select(*COLUMNS).where(table.c.number >= low, table.c.number < top, *asked(wanted))
        query = query.order_by(table.c.number.desc())
        end = (0, low) if low > 1 else None
    rows = tx.conn.execute(query.limit(most + 1)).all()
    return (rows[:most], place_of(wanted, rows[most - 1])) if len(rows) > most else (rows, end)


def ranked(wanted: Wanted, after: Place | None) -> tuple[tuple[str, str, int | None], ...]:
    """The lists, one of each severity and state, that have what follows that place: and the number below which it does."""
    rank, number = after or (len(RANKS), None)
    states = (wanted.status,) if wanted.status in STATES else STATES
    return tuple((severity, state, number if RANKS[severity] == rank else None)
                 for severity in wanted.severities or RANKS for state in states if RANKS[severity] <= rank)


@lru_cache(64)      # to put it together takes longer than to ask it
def gravest(wanted: Wanted, lists: Sequence[tuple[str, str, int | None]], most: int) -> AnySelect:
    """The first so many of each list, each from its own place in the index; and of those the gravest."""
    found = []
    for severity, state, below in lists:
        one = select(*COLUMNS).where(table.c.status != "resolved", table.c.severity == severity, table.c.status == state)
        one = one.where(*asked(wanted), table.c.number < below if below is not None else true())
        found.append(select(one.order_by(table.c.number.desc()).limit(most).subquery()))
    every = union_all(*found).subquery()
    return select(every).order_by(case(RANKS, value=every.c.severity, else_=0).desc(), every.c.number.desc())


def asked(wanted: Wanted) -> list[ColumnElement[bool]]:
    """What the columns of an incident must be."""
    found = [table.c.status == wanted.status] if wanted.status not in ("", "open") else []
    if wanted.severities:
        found.append(table.c.severity.in_(wanted.severities))
    if wanted.source:
        found.append(table.c.source == wanted.source)
    if wanted.since is not None:
        found.append(table.c.opened_at >= wanted.since)
    if wanted.until is not None:
        found.append(table.c.opened_at < wanted.until)
    return found


# -- and by the labels of their alerts

def several_at_once(rows: Sequence[AnyRow]) -> Iterator[Sequence[AnyRow]]:
    """Not too many incidents, and not too many alerts."""
    first, weight = 0, 0
    for index, row in enumerate(rows):
        if index > first and (index - first == AT_ONCE or weight + row.alerts > ALERTS):
            yield rows[first:index]
            first, weight = index, 0
        weight += row.alerts
    if rows:
        yield rows[first:]


def fitting(tx: Tx, wanted: Wanted, rows: Sequence[AnyRow]) -> Iterator[AnyRow]:
    if not wanted.reads_labels:
        yield from rows
        return
    labels: dict[str, list[Labels]] = {}
    for incident_id, content in tx.conn.execute(CONTENTS[tx.is_postgres], {
            "ids": several([row.id for row in rows], tx.is_postgres)}):
        labels.setdefault(incident_id, []).append(json.loads(content)["labels"])
    matchers = (*wanted.matchers, Matcher("team", EQUAL, wanted.team)) if wanted.team else wanted.matchers
    for row in rows:
        own = labels.get(row.id, [])
        if has_words(row.title, own, wanted.words) and (not matchers or any(all_match(matchers, one) for one in own)):
            yield row


def has_words(title: str, labels: Sequence[Labels], words: Sequence[str]) -> bool:
    """Whether each word is in it, whatever the case."""
    if not words:
        return True
    said = "\n".join([title, *(f"{name}={value}" for one in labels for name, value in one.items())]).casefold()
    return all(word.casefold() in said for word in words)
