"""The room that looks back over a span, in one transaction. It writes nothing. What it says is plain JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from alerthub.domain import analytics as domain
from alerthub.domain.analytics import SEVERITIES, Spread
from alerthub.domain.rules import Rules
from alerthub.store import analytics
from alerthub.store.analytics import Deliveries, Incidents, Scope
from alerthub.store.tx import Tx

STATES = ("sent", "failed", "unknown", "sending")


def look_back(tx: Tx, rules: Rules, scope: Scope) -> dict[str, Any]:
    """Everything that the page shows. Team and severity choose among incidents; the rest is of all of them."""
    zone, span = rules.answers.time_zone, scope.span
    found, sent = Incidents(tx, scope), Deliveries(tx, span)
    count, still_open = found.totals()
    opened = found.by_quarter()
    owners = rules.owners
    return {
        "from": span.start.isoformat(), "to": span.end.isoformat(), "time_zone": zone, "team": scope.team,
        "severity": scope.severity, "is_cut": found.is_cut or sent.is_cut,
        "incidents": {"count": count, "open": still_open, "to_acknowledge": spread_view(found.to_acknowledge()),
                      "to_resolve": spread_view(found.to_resolve())},
        "by_day": [{"day": day.isoformat(), **{name: counted.get(name, 0) for name in SEVERITIES}, "total": sum(counted.values())}
                   for day, counted in domain.by_day(opened, span, zone)],
        "by_hour": domain.by_hour(opened, zone), "by_weekday": domain.by_weekday(opened, zone),
        "noise": [noise_view(*row) for row in found.noise()],
        "woken": [{"person": one.person, "notifications": one.count, "at_night": one.at_night, "by_hour": list(one.hours)}
                  for one in domain.woken(sent.that_woke(owners), owners, zone)],
        "actions": [{**asdict(one), "running": one.running, "rate": round(one.rate, 4)}
                    for one in domain.records(analytics.runs(tx, span))],
        "safe_mode": [{"target": one.target, "seconds": seconds(one.lasted), "times": one.times, "is_safe": one.is_safe}
                      for one in domain.in_safe_mode(analytics.latch_changes(tx, span.end), span)],
        "deliveries": channels(sent.by_channel()),
    }


def seconds(span: timedelta | None) -> float | None:
    return round(span.total_seconds(), 3) if span is not None else None


def spread_view(spread: Spread) -> dict[str, Any]:
    return {"count": spread.count, "median_seconds": seconds(spread.median), "p90_seconds": seconds(spread.p90)}


def noise_view(name: str, incidents: int, openings: int, untaken: int) -> dict[str, Any]:
    return {"name": name, "incidents": incidents, "openings": openings, "reopenings": openings - incidents,
            "never_acknowledged": untaken, "share_never_acknowledged": round(untaken / incidents, 4)}


def channels(counted: Iterable[tuple[str, str, bool, int]]) -> list[dict[str, Any]]:
    """A dead letter counts as dead, and not also as failed."""
    found: dict[str, Counter[str]] = {}
    for name, state, is_dead, count in counted:
        found.setdefault(name, Counter())["dead" if is_dead else state] += count
    return [{"channel": name, **{state: mine[state] for state in (*STATES, "dead")}} for name, mine in sorted(found.items())]
