"""What people look for, as an address says it: understood, or refused with what would be right."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from starlette.datastructures import QueryParams

from alerthub.domain.matcher import Matcher
from alerthub.store.search import Wanted
from alerthub.web.api import BadQuery
from alerthub.web.searching import wanted_of


@pytest.mark.parametrize(("query", "expected"), [
    ("", Wanted()), ("status=open&severity=&q=&team=&source=&opened_since=", Wanted("open")),
    ("severity=error&severity=critical&severity=error", Wanted(severities=("critical", "error"))),
    ("q=disk++db-1", Wanted(words=("disk", "db-1"))), ("team=a%20b&source=am", Wanted(source="am", team="a b")),
    ("matcher=agent%3D%22btc%22&matcher=%7Bhost!%3Dx%7D",
     Wanted(matchers=(Matcher("agent", "=", "btc"), Matcher("host", "!=", "x")))),
    ("opened_since=2026-11-20T15:15:36Z", Wanted(since=datetime(2026, 11, 20, 15, 15, 36, tzinfo=UTC))),
    ("opened_until=2026-11-20T18:15:36%2B03:00", Wanted(until=datetime(2026, 11, 20, 15, 15, 36, tzinfo=UTC))),
])
def test_a_question_is_understood(query: str, expected: Wanted) -> None:
    assert wanted_of(QueryParams(query)) == expected


@pytest.mark.parametrize(("query", "told"), [
    ("status=burning", "status must be one of acknowledged, open, resolved, triggered"),
    ("severity=error&severity=loud", "severity must be one of critical, error, info, warning"),
    ("matcher=%3D", "matcher '=': at character 1"), ("matcher=a%3D~%22(%22", "not a valid regular expression"),
    ("matcher=a", "expected one of = != =~ !~"), ("team=a%00b", "team holds what cannot be looked for"),
    ("source=%00", "source holds"), ("q=" + "x" * 2001, "q holds"), ("q=" + "x+" * 21, "q must be at most 20 words"),
    ("&".join(["matcher=a%3Db"] * 21), "matcher: at most 20"), ("matcher=" + ",".join(["a%3Db"] * 21), "matcher: at most 20"),
    ("matcher=a%3D" + "x" * 1500 + "&matcher=b%3D" + "x" * 1500, "of 2000 characters together"),
    ("opened_since=yesterday", "must be RFC 3339"), ("opened_until=0001-01-01T00:00:00Z", "must be RFC 3339"),
    ("opened_since=2026-02-30T00:00:00Z", "not in the calendar"),
])
def test_what_cannot_be_understood_is_said(query: str, told: str) -> None:
    with pytest.raises(BadQuery) as raised:
        wanted_of(QueryParams(query))
    assert told in str(raised.value)
