"""Silences: what is covered and for how long, ends in words of people, what an incident is silenced by, and mirrors."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.domain.matcher import Matcher, all_match, parse_matchers
from alerthub.domain.silence import (
    LONGEST,
    SHORTEST,
    Mirror,
    Plan,
    Silence,
    check_matchers,
    covering,
    covers,
    end_of,
    foreign,
    holding,
    marked_comment,
    marker_of,
    matchers_for,
    plan,
)
from tests.kit.clock import START

HOUR, MOMENT = timedelta(hours=1), timedelta(microseconds=1)
ID = "01234567-89ab-7cde-8f01-23456789abcd"
OTHER_ID = "01234567-89ab-7cde-8f01-23456789abce"
DISK = {"alertname": "DiskFull", "host": "a"}


def silence(text: str = 'alertname="DiskFull"', hours: float = 1, **fields: Any) -> Silence:
    usual: dict[str, Any] = {"id": ID, "number": 1, "starts_at": START, "ends_at": START + hours * HOUR, "created_by": "ayse",
                             "comment": "disk is being swapped"}
    return Silence(matchers=parse_matchers(text), **{**usual, **fields})


# -- what it covers

@pytest.mark.parametrize(("text", "labels", "is_covered"), [
    ('alertname="DiskFull"', DISK, True),
    ('alertname="DiskFull",host="a"', DISK, True),
    ('alertname="DiskFull",host="b"', DISK, False),
    ('alertname=~"Disk.*",host!="b"', DISK, True),
    ('alertname="DiskFull",agent=""', DISK, True),
    ('alertname="DiskFull",agent=""', {**DISK, "agent": "btc"}, False),
    ('alertname="DiskFull"', {}, False),
])
def test_a_silence_covers_what_all_its_matchers_match(text: str, labels: dict[str, str], is_covered: bool) -> None:
    assert covers(silence(text), labels, START) is is_covered


@pytest.mark.parametrize(("now", "is_covered"), [
    (START - MOMENT, False), (START, True), (START + HOUR - MOMENT, True), (START + HOUR, False)])
def test_it_holds_from_its_start_until_its_end(now: datetime, is_covered: bool) -> None:
    assert covers(silence(), DISK, now) is is_covered


def test_of_several_the_one_that_ends_last_covers() -> None:
    short, long, other = silence(), silence(hours=4, id=OTHER_ID), silence('alertname="Else"', hours=9)
    assert covering([long, short, other], DISK, START) == covering([other, short, long], DISK, START) == long
    assert covering([other], DISK, START) is None
    assert covering([], DISK, START) is None


def test_an_incident_is_held_until_the_first_of_those_it_needs_ends() -> None:
    a, b = silence('host="a"', hours=4), silence('host="b"', id=OTHER_ID)
    in_b = {**DISK, "host": "b"}
    assert holding([a, b], [DISK, in_b], START) == b
    assert holding([a, b], [DISK], START) == a
    assert holding([a], [DISK, in_b], START) is None
    assert holding([a, b], [], START) is None, "nothing fires: there is nothing to hold"


@pytest.mark.parametrize(("text", "word"), [
    ("", "is missing"), ('severity=~".*"', "cover everything"), ('host!="a"', "cover everything"),
    ('agent=""', "cover everything"),
    (",".join(f'l{n}="x"' for n in range(51)), "at most 50"), ('host="' + "x" * 2_000 + '"', "too long"),
])
def test_what_must_not_become_a_silence_is_refused_with_what_would_be_right(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        check_matchers(parse_matchers(text))


def test_a_usual_silence_is_not_refused() -> None:
    check_matchers(parse_matchers('alertname="DiskFull",agent="",host!="b"'))


# -- what an incident is silenced by

@pytest.mark.parametrize(("common", "group_by", "expected"), [
    ({"alertname": "A", "agent": "btc", "severity": "critical"}, ("alertname", "agent"), 'agent="btc",alertname="A"'),
    ({"alertname": "A", "severity": "critical"}, ("alertname", "agent"), 'agent="",alertname="A"'),
    ({"alertname": "A", "severity": "critical"}, (), 'alertname="A",severity="critical"'),
    ({"alertname": "A", "host": "a"}, ("...",), 'alertname="A",host="a"'),
    ({"alertname": "A", "severity": "critical"}, ("severity",), 'alertname="A",severity="critical"'),
    ({"alertname": "A"}, ("cluster",), 'alertname="A"'),
])
def test_an_incident_is_silenced_by_what_its_route_groups_by_else_by_all_that_its_alerts_share(
        common: dict[str, str], group_by: tuple[str, ...], expected: str) -> None:
    assert matchers_for(common, group_by) == parse_matchers(expected)


@pytest.mark.parametrize("common", [{}, {"severity": "critical"}, {"alertname": "", "severity": "critical"}])
def test_never_by_nothing_nor_by_severity_alone(common: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="matchers of your own"):
        matchers_for(common, ("severity", "agent"))


labels_strategy = st.dictionaries(st.sampled_from(["alertname", "agent", "host", "severity"]), st.sampled_from(["", "a", "b"]))


@settings(deadline=None)
@given(labels_strategy, st.lists(st.sampled_from(["alertname", "agent", "severity", "..."]), unique=True))
def test_what_it_is_silenced_by_always_matches_it_and_may_become_a_silence(labels: dict[str, str], group_by: list[str]) -> None:
    try:
        matchers = matchers_for(labels, group_by)
    except ValueError:
        return
    assert all_match(matchers, labels)
    assert {matcher.name for matcher in matchers if matcher.value} - {"severity"}
    check_matchers(matchers)


# -- ends in words

NIGHT = datetime(2026, 11, 21, 0, 30, tzinfo=UTC)       # 03:30 in Istanbul


@pytest.mark.parametrize(("word", "expected"), [
    ("1h", NIGHT + HOUR), ("4h", NIGHT + 4 * HOUR), ("2d", NIGHT + timedelta(days=2)), ("90m", NIGHT + timedelta(minutes=90)),
    ("1h30m", NIGHT + timedelta(minutes=90)), ("1w", NIGHT + timedelta(weeks=1)), (" 4H ", NIGHT + 4 * HOUR),
    ("365d", NIGHT + LONGEST), ("1m", NIGHT + SHORTEST),
    ("tomorrow", datetime(2026, 11, 21, 6, 0, tzinfo=UTC)), ("until tomorrow 09:00", datetime(2026, 11, 21, 6, 0, tzinfo=UTC)),
    ("Tomorrow  9:00", datetime(2026, 11, 21, 6, 0, tzinfo=UTC)),
    ("until 18:00", datetime(2026, 11, 21, 15, 0, tzinfo=UTC)), ("3:00", datetime(2026, 11, 22, 0, 0, tzinfo=UTC)),
])
def test_an_end_in_words(word: str, expected: datetime) -> None:
    assert end_of(word, NIGHT, "Europe/Istanbul") == expected


def test_tomorrow_said_in_daylight_is_the_next_day() -> None:
    nine = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
    assert end_of("tomorrow", nine, "Europe/Istanbul") == nine + timedelta(days=1)


@pytest.mark.parametrize("word", [
    "", "soon", "4", "h", "-1h", "1.5h", "4 h", "366d", "0h", "30s", "999999w", "9" * 5000 + "h", "٤h", "24:00", "12:60",
    "until", "yesterday", "tomorrow 25:00", "1h; drop", "\x00", "for ever"])
def test_what_is_no_end_is_refused_with_what_would_be_right(word: str) -> None:
    with pytest.raises(ValueError, match="write a time span such as 1h"):
        end_of(word, NIGHT, "UTC")


@pytest.mark.parametrize(("now", "expected"), [
    # Berlin: clocks go forward on 2027-03-28 at 02:00, back on 2026-10-25 at 03:00
    (datetime(2027, 3, 27, 12, 0, tzinfo=UTC), datetime(2027, 3, 28, 7, 0, tzinfo=UTC)),
    (datetime(2026, 10, 24, 12, 0, tzinfo=UTC), datetime(2026, 10, 25, 8, 0, tzinfo=UTC)),
])
def test_tomorrow_is_at_nine_also_when_the_clocks_are_changed_in_between(now: datetime, expected: datetime) -> None:
    assert end_of("tomorrow", now, "Europe/Berlin") == expected


def test_a_wall_clock_that_comes_twice_or_never() -> None:
    assert end_of("2:30", datetime(2026, 10, 24, 22, 0, tzinfo=UTC), "Europe/Berlin") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert end_of("2:30", datetime(2027, 3, 27, 22, 0, tzinfo=UTC), "Europe/Berlin") == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)


ZONES = ["UTC", "Europe/Istanbul", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"]


@settings(deadline=None)
@given(st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)), st.sampled_from(ZONES))
def test_tomorrow_is_always_nine_there_and_never_more_than_a_day_and_a_bit_away(naive: datetime, zone: str) -> None:
    now = naive.replace(tzinfo=UTC)
    end = end_of("tomorrow", now, zone)
    local = end.astimezone(ZoneInfo(zone))
    assert (local.hour, local.minute, local.second) == (9, 0, 0)
    assert SHORTEST <= end - now <= timedelta(hours=25, minutes=2)


# -- the same here and at the source

OVER = silence(ends_at=START - HOUR, starts_at=START - 2 * HOUR)


def there(one: Silence, remote_id: str = "r1", **fields: Any) -> Silence:
    usual = {"ends_at": one.ends_at if one.is_active(START) else START + HOUR}
    return replace(one, **{**usual, "id": "", "number": 0, "comment": marked_comment(one), "remote_id": remote_id, **fields})


def known(state: str, one: Silence | None = None) -> Mirror:
    return Mirror(one or silence(), {"am": {"state": state}} if state else {})


@pytest.mark.parametrize(("ours", "remote", "expected"), [
    (known(""), [], Plan(make=(silence(),))),
    (known("failed"), [], Plan(make=(silence(),))),
    (known(""), [there(silence())], Plan(made=((silence(), "r1"),))),
    (known("failed"), [there(silence())], Plan(made=((silence(), "r1"),))),
    (known("made"), [there(silence())], Plan()),
    (known("made"), [], Plan(make=(silence(),))),
    (known("made"), [there(silence(), ends_at=START)], Plan()),
    (known(""), [there(silence(), ends_at=START)], Plan(made=((silence(), "r1"),))),
    (known("refused"), [], Plan()),
    (known("", OVER), [], Plan()),
    (known("made", OVER), [], Plan(ended=(OVER,))),
    (known("made", OVER), [there(OVER)], Plan(end=((OVER, ("r1",)),))),
    (known("", OVER), [there(OVER), there(OVER, "r2")], Plan(end=((OVER, ("r1", "r2")),))),
    (known("ended", OVER), [there(OVER)], Plan(end=((OVER, ("r1",)),))),
    (known("ended", OVER), [], Plan()),
    (known("made", OVER), [there(OVER, ends_at=START)], Plan(ended=(OVER,))),
    (known("", silence(starts_at=START + HOUR, hours=2)), [], Plan()),
    (known(""), [there(silence(), matchers=parse_matchers('alertname=~".+"'))], Plan(make=(silence(),))),
], ids=["new", "failed before", "made, and the answer was lost", "the answer was lost, and then it failed", "as it should be",
        "lost in a crash", "ended there by somebody", "the answer was lost, and somebody ended it", "refused for good",
        "over and never made", "over on both sides", "over here",
        "made twice, and over", "ended, and seen again at another peer", "nothing to end", "listed as over", "not begun yet",
        "the marker on something else"])
def test_what_a_source_lacks(ours: Mirror, remote: list[Silence], expected: Plan) -> None:
    assert plan("am", [ours], remote, START) == expected


def test_a_silence_is_found_by_the_marker_at_the_end_of_its_comment() -> None:
    assert marked_comment(silence()) == f"disk is being swapped (by ayse, alerthub:{ID})"
    assert marker_of(marked_comment(silence(comment="", created_by=""))) == ID
    forged = silence(comment=f"(by x, alerthub:{OTHER_ID})")
    assert marker_of(marked_comment(forged)) == ID
    for text in ("", "alerthub:", f"alerthub:{ID}", f"(alerthub:{ID}) and more", "(by x, alerthub:0123)"):
        assert marker_of(text) == ""


def test_what_others_made_is_foreign_also_with_a_marker_that_is_not_ours() -> None:
    ours, made_by_hand = there(silence()), silence(comment="by hand", remote_id="r2")
    of_another_hub, forged = there(silence(id=OTHER_ID), "r3"), there(silence(), "r4", matchers=parse_matchers('host=~".+"'))
    over = replace(made_by_hand, ends_at=START)
    found = foreign([known("made")], [ours, made_by_hand, of_another_hub, forged, over], START)
    assert found == [made_by_hand, of_another_hub, forged]


def test_what_people_read_of_a_silence() -> None:
    assert silence().about() == "by ayse until 2026-11-21 04:00 UTC: disk is being swapped"
    assert silence().about("Europe/Istanbul") == "by ayse until 2026-11-21 07:00 +03: disk is being swapped"
    assert silence(comment="", created_by="").about() == "by somebody until 2026-11-21 04:00 UTC"


def test_matchers_that_mean_the_same_are_equal() -> None:
    assert set(parse_matchers('a="1",b=~"x"')) == {Matcher("b", "=~", "x"), Matcher("a", "=", "1")}
