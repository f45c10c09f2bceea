"""SQL of looking back. The database counts; what comes out does not grow with the number of incidents, and what is read for it
has an end: the newest of a span where there are too many, which the answer says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, ColumnElement, Subquery, and_, case, cast, func, literal_column, or_, select, type_coerce

from alerthub.domain.analytics import QUARTER, WAKES, Span, Spread
from alerthub.store.columns import EPOCH, MICROSECOND
from alerthub.store.halving import first_at
from alerthub.store.schema import action_runs, alerts, deliveries, events, holds, incidents
from alerthub.store.tx import AnySelect, Tx, chunks

MOST_INCIDENTS, MOST_DELIVERIES, MOST_CHANGES, MOST_NAMES = 50_000, 200_000, 20_000, 50
SKEW = timedelta(hours=1)       # by so much a replica's clock, and a row that was committed late, may be off
QUARTERS = QUARTER // MICROSECOND
NO_ID = "00000000-0000-0000-0000-000000000000"
IS_ACKNOWLEDGED = events.c.kind == literal_column("'acknowledged'")     # in the words of the indexes
IS_LATCH = events.c.kind == literal_column("'latch'")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which incidents are looked at: those that were first opened within the span."""

    span: Span
    severity: str = ""
    team: str = ""


def id_at(moment: datetime) -> str:
    """The smallest UUIDv7 of that time: ids sort by the time at which they were made."""
    digits = f"{max(0, (moment - EPOCH) // timedelta(milliseconds=1)):012x}"
    return f"{digits[:8]}-{digits[8:12]}{NO_ID[13:]}"


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def plain(column: Any) -> Any:
    """An instant as the number that it is."""
    return type_coerce(column, BigInteger)


# -- incidents

class Incidents:
    """The incidents of a scope, at most so many of the newest. `is_cut`: there were more."""

    def __init__(self, tx: Tx, scope: Scope, most: int = MOST_INCIDENTS) -> None:
        self.tx = tx
        first, last = id_at(scope.span.start - SKEW), id_at(scope.span.end + SKEW)
        within = and_(incidents.c.id >= first, incidents.c.id < last)
        ids = select(incidents.c.id).where(within).order_by(incidents.c.id.desc())
        beyond = tx.conn.execute(ids.offset(most).limit(1)).scalar()
        self.is_cut = beyond is not None
        where = [within if beyond is None else and_(incidents.c.id > beyond, incidents.c.id < last)]
        if scope.severity:
            where.append(incidents.c.severity == scope.severity)
        if scope.team:
            where.append(self.is_of(scope.team))
        found = select(incidents.c.id, incidents.c.severity, incidents.c.title, incidents.c.episode, opened().label("opened"),
                       case((incidents.c.status == "resolved", plain(incidents.c.resolved_at))).label("resolved"))
        inner = found.where(*where).subquery()
        self.all = select(inner).where(
            inner.c.opened >= micros(scope.span.start), inner.c.opened < micros(scope.span.end)).subquery()

    def is_of(self, team: str) -> ColumnElement[bool]:
        label = (func.json_extract_path_text(cast(alerts.c.content, JSON), "labels", "team") if self.tx.is_postgres
                 else func.json_extract(alerts.c.content, "$.labels.team"))
        mine = select(func.count()).where(alerts.c.incident_id == incidents.c.id, label == team)
        return mine.scalar_subquery() > 0       # not EXISTS: PostgreSQL would look through all alerts that there are

    def totals(self) -> tuple[int, int]:
        """How many there are, and how many of them are not over."""
        query = select(func.count(), func.count() - func.count(self.all.c.resolved)).select_from(self.all)
        count, still_open = self.tx.conn.execute(query).one()
        return count, still_open

    def to_resolve(self) -> Spread:
        return spread(self.tx, select((self.all.c.resolved - self.all.c.opened).label("took")).where(
            self.all.c.resolved.is_not(None)))

    def to_acknowledge(self) -> Spread:
        return spread(self.tx, select((taken(self.all) - self.all.c.opened).label("took")))

    def by_quarter(self) -> list[tuple[int, str, int]]:
        """How many opened in each quarter of an hour, by severity."""
        quarter = self.all.c.opened // QUARTERS
        query = select(quarter, self.all.c.severity, func.count()).group_by(quarter, self.all.c.severity)
        return [(number, severity, count) for number, severity, count in self.tx.conn.execute(query)]

    def noise(self) -> list[tuple[str, int, int, int]]:
        """By the name of the alert, the noisiest first: incidents, openings, how many of the incidents nobody ever took."""
        name = before(self.tx, self.all.c.title, " (")
        each = select(name.label("name"), self.all.c.episode,
                      case((taken(self.all).is_(None), 1), else_=0).label("untaken")).subquery()
        openings = func.sum(each.c.episode)
        query = select(each.c.name, func.count(), openings, func.sum(each.c.untaken)).group_by(each.c.name)
        rows = self.tx.conn.execute(query.order_by(openings.desc(), each.c.name).limit(MOST_NAMES))
        return [(name, count, int(opened), int(untaken)) for name, count, opened, untaken in rows]


def opened() -> ColumnElement[int]:
    """When an incident opened first: what came back has the time of its last opening in its row."""
    first = select(plain(events.c.at)).where(events.c.incident_id == incidents.c.id, events.c.seq == 1).scalar_subquery()
    last = plain(incidents.c.opened_at)
    return case((incidents.c.episode == 1, last), else_=func.coalesce(first, last))


def taken(found: Subquery) -> Any:
    """When somebody acknowledged it first; null for never."""
    return select(func.min(plain(events.c.at))).where(events.c.incident_id == found.c.id, IS_ACKNOWLEDGED).scalar_subquery()


def before(tx: Tx, text: Any, mark: str) -> ColumnElement[str]:
    """The text up to this mark; all of it where there is none."""
    place = func.strpos(text, mark) if tx.is_postgres else func.instr(text, mark)
    return case((place > 0, func.substr(text, 1, place - 1)), else_=text)


def spread(tx: Tx, times: AnySelect) -> Spread:
    """Of a query with one column `took`, in microseconds. One below zero is of a clock that was set back, and is left out."""
    each = times.subquery()
    known = select(each.c.took, func.row_number().over(order_by=each.c.took).label("place"), func.count().over().label("count"))
    ranked = known.where(each.c.took >= 0).subquery()
    middle, tenth = ((ranked.c["count"] * percent + 99) // 100 for percent in (50, 90))
    rows = tx.conn.execute(select(ranked.c.took, ranked.c["count"]).where(
        or_(ranked.c.place == middle, ranked.c.place == tenth)).order_by(ranked.c.place)).all()
    if not rows:
        return Spread()
    return Spread(rows[0][1], rows[0][0] * MICROSECOND, rows[-1][0] * MICROSECOND)


# -- messages

class Deliveries:
    """The deliveries that were begun in a span. Their numbers grow with time, so that a moment is found among them by halving:
    an index by time would be paid for by every message."""

    def __init__(self, tx: Tx, span: Span, most: int = MOST_DELIVERIES) -> None:
        self.tx = tx
        first, end = (place_of(tx, moment) for moment in (span.start - SKEW, span.end + SKEW))
        self.is_cut = end - first > most
        self.which = and_(deliveries.c.id >= max(first, end - most), deliveries.c.id < end,
                          deliveries.c.started_at >= span.start, deliveries.c.started_at < span.end)

    def by_channel(self) -> list[tuple[str, str, bool, int]]:
        """Channel, state, whether it was given up, how many."""
        channel = before(self.tx, deliveries.c.destination, ":")
        is_dead = case((holds(deliveries.c.is_dead_letter), 1), else_=0)
        query = select(channel, deliveries.c.state, is_dead, func.count()).where(self.which)
        rows = self.tx.conn.execute(query.group_by(channel, deliveries.c.state, is_dead))
        return [(name, state, bool(dead), count) for name, state, dead, count in rows]

    def that_woke(self, destinations: Iterable[str]) -> list[tuple[str, int, int]]:
        """Of these, what was sent there because somebody was wanted: destination, quarter of an hour, how many."""
        quarter = plain(deliveries.c.started_at) // QUARTERS
        query = select(deliveries.c.destination, quarter, func.count()).where(
            self.which, deliveries.c.state == "sent", deliveries.c.why.in_(sorted(WAKES)))
        grouped = query.group_by(deliveries.c.destination, quarter)
        return [(key, number, count) for chunk in chunks(sorted(destinations))
                for key, number, count in self.tx.conn.execute(grouped.where(deliveries.c.destination.in_(chunk)))]


def place_of(tx: Tx, moment: datetime) -> int:
    """The number of the first delivery that was not begun before then; one more than the last where there is none."""
    return first_at(tx, deliveries.c.id, deliveries.c.started_at, moment)


# -- actions and latches

def runs(tx: Tx, span: Span) -> list[tuple[str, str, bool, int]]:
    """Of what was really started in the span: action, state, whether its target confirmed it, how many."""
    report = func.nullif(action_runs.c.report, "")      # of a run that has not ended it is empty, and no JSON
    said = (func.json_extract_path_text(cast(report, JSON), "verified") if tx.is_postgres
            else func.json_extract(report, "$.verified"))
    is_verified = case((func.coalesce(said, "") != "", 1), else_=0)
    query = select(action_runs.c.action, action_runs.c.state, is_verified, func.count()).where(
        action_runs.c.id >= id_at(span.start - timedelta(days=1) - SKEW), action_runs.c.id < id_at(span.end + SKEW),
        action_runs.c.started_at >= span.start, action_runs.c.started_at < span.end, action_runs.c.mode == "live")
    rows = tx.conn.execute(query.group_by(action_runs.c.action, action_runs.c.state, is_verified))
    return [(action, state, bool(verified), count) for action, state, verified, count in rows]


def latch_changes(tx: Tx, before_then: datetime) -> list[tuple[datetime, str, str, int]]:
    """When, target, state, its own count: the newest of all that is kept from before then."""
    query = select(events.c.at, events.c.data).where(IS_LATCH, events.c.at < before_then)
    rows = tx.conn.execute(query.order_by(events.c.at.desc()).limit(MOST_CHANGES))
    told = ((at, json.loads(data)) for at, data in rows)
    return [(at, data["latch"], data["state"], data["latch_seq"]) for at, data in told if "latch_seq" in data]
