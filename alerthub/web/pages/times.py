"""Times on pages: on the clocks of the place where people are, and how far from now; the exact instant is in the element."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from alerthub.domain.local_time import dated
from alerthub.domain.wording import spoken

Moment = datetime | str | None
NONE = "–"


@dataclass(frozen=True, slots=True)
class Times:
    """`zone` is the one that answers in chat are given in, unless a page is about another."""

    zone: str
    now: datetime

    def at(self, value: Moment) -> Markup | str:
        """`2026-11-21 06:04 +03`"""
        return timed(read(value), self.words(read(value))) if value else NONE

    def words(self, at: datetime) -> str:
        return dated(at, self.zone)

    def ago(self, value: Moment) -> Markup | str:
        """`3 min ago`, `in 2 h 5 min`; the time itself when somebody points at it."""
        if not value:
            return NONE
        at = read(value)
        return timed(at, self.distance(at), self.words(at))

    def distance(self, at: datetime) -> str:
        span = self.now - at
        if abs(span) < timedelta(seconds=1):
            return "now"
        return f"{spoken(span)} ago" if span > timedelta(0) else f"in {spoken(-span)}"


def read(value: datetime | str) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def timed(at: datetime, words: str, title: str = "") -> Markup:
    exact = at.astimezone(UTC).isoformat()
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, title or exact, words)
