"""What people look for, as an address says it: the same words for the page of the incidents and for the API."""

from __future__ import annotations

from datetime import datetime

from starlette.datastructures import QueryParams

from alerthub.domain.alert import Severity
from alerthub.domain.matcher import Matcher, parse_matchers
from alerthub.errors import BadPayload
from alerthub.sources.body import read_time
from alerthub.store.search import Wanted
from alerthub.web.api import STATUSES, BadQuery

MOST_MATCHERS, MOST_WORDS = 20, 20
LONGEST = 2_000         # characters of all matchers together, of the words, and of each name
SEVERITIES = frozenset(severity.value for severity in Severity)
FILTERS = ("status", "severity", "source", "team", "matcher", "q", "opened_since", "opened_until")


def wanted_of(query: QueryParams, *, newest_first: bool = False) -> Wanted:
    """`status`, `severity` (once for each), `source`, `team`, `matcher` (once for each, as Alertmanager writes them), `q`,
    `opened_since` and `opened_until`. What is empty is not asked. Raises BadQuery with what would be right."""
    status = query.get("status", "")
    if status not in STATUSES:
        raise BadQuery(f"status must be one of {', '.join(sorted(filter(None, STATUSES)))}")
    for name in FILTERS:
        if any("\0" in text or len(text) > LONGEST for text in query.getlist(name)):
            raise BadQuery(f"{name} holds what cannot be looked for, or more than {LONGEST} characters")
    severities = tuple(sorted(filter(None, set(query.getlist("severity")))))
    if not SEVERITIES.issuperset(severities):
        raise BadQuery(f"severity must be one of {', '.join(sorted(SEVERITIES))}")
    words = tuple(query.get("q", "").split())
    if len(words) > MOST_WORDS:
        raise BadQuery(f"q must be at most {MOST_WORDS} words")
    return Wanted(status, severities, query.get("source", ""), query.get("team", ""), matchers_of(query.getlist("matcher")),
                  words, moment_of(query, "opened_since"), moment_of(query, "opened_until"), newest_first)


def matchers_of(texts: list[str]) -> tuple[Matcher, ...]:
    """Raises BadQuery: in which character of which one, and what would be right."""
    if len(texts) > MOST_MATCHERS or sum(map(len, texts)) > LONGEST:        # before anything is compiled
        raise BadQuery(f"matcher: at most {MOST_MATCHERS} of {LONGEST} characters together")
    found: list[Matcher] = []
    for text in texts:
        try:
            found += parse_matchers(text)
        except ValueError as error:
            raise BadQuery(f"matcher {text[:100]!r}: {error}") from None
    if len(found) > MOST_MATCHERS:
        raise BadQuery(f"matcher: at most {MOST_MATCHERS}")
    return tuple(found)


def moment_of(query: QueryParams, name: str) -> datetime | None:
    text = query.get(name, "")
    try:
        found = read_time(text, name) if text else None
    except BadPayload as error:
        raise BadQuery(error.reason) from None
    if text and found is None:
        raise BadQuery(f'{name} must be RFC 3339, such as "2026-11-20T15:15:36Z"')
    return found
