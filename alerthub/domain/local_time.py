"""Times as people read them in chat, mail and history: where they live (`answers.time_zone`), never without the zone. Pure."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def clock_time(at: datetime, zone: str, now: datetime) -> str:
    """`14:05 UTC`, `17:05 +03`; with its date unless that is the day of `now` there."""
    return f"{minute(at, zone, now)} {name_of(at, zone)}"


def dated(at: datetime, zone: str) -> str:
    """`2026-11-21 14:05 UTC`: for what is read on other days, too."""
    return f"{there(at, zone):%Y-%m-%d %H:%M} {name_of(at, zone)}"


def day_and_time(at: datetime, zone: str) -> str:
    """`Sat 2026-11-21 14:05 UTC`"""
    return f"{there(at, zone):%a} {dated(at, zone)}"


def span(start: datetime, end: datetime, zone: str, now: datetime) -> str:
    """`02:41–07:03 UTC`; with the date of another day, and with both zones where clocks were moved in between."""
    first, last = minute(start, zone, now), minute(end, zone, start)
    before, after = name_of(start, zone), name_of(end, zone)
    return f"{first}–{last} {after}" if before == after else f"{first} {before}–{last} {after}"


def minute(at: datetime, zone: str, now: datetime) -> str:
    """As `clock_time`, for a text that names the zone itself."""
    local = there(at, zone)
    return f"{local:%H:%M}" if local.date() == there(now, zone).date() else f"{local:%Y-%m-%d %H:%M}"


def name_of(at: datetime, zone: str) -> str:
    """`UTC`, `CEST`, `+03`: what clocks there are called then."""
    return f"{there(at, zone):%Z}"


def there(at: datetime, zone: str) -> datetime:
    return at.astimezone(ZoneInfo(zone))
