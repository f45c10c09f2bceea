"""iCalendar: what is exported can be read by others, what is imported names people, and bad files change nothing."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import icalendar
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerthub.calendars import AHEAD, LARGEST, BadCalendar, Imported, export, read
from alerthub.domain.schedule import Layer, Override, Schedule, Shift, shifts

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
SCHEDULE = Schedule("primary", (Layer(("ayse", "mehmet")),), "Europe/Istanbul")
EMAILS = {"ayse": "ayse@example.com", "mehmet": "m.kaya@example.com", "ann": "", "anna": ""}
TIMES = "DTSTART:20261123T060000Z\nDTEND:20261130T060000Z"


def event(*lines: str, uid: str = "UID:a@x", times: str = TIMES) -> str:
    return "\n".join(["BEGIN:VEVENT", uid, "DTSTAMP:20261101T000000Z", times, *lines, "END:VEVENT"])


def calendar(*events: str) -> bytes:
    text = "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//", *events, "END:VCALENDAR", ""])
    return text.replace("\n", "\r\n").encode()


def imported(*events: str, now: datetime = NOW) -> Imported:
    return read(calendar(*events), SCHEDULE, EMAILS, now)


def times(*events: str) -> list[str]:
    return [f"{one.starts_at:%m-%d %H:%M} {one.ends_at:%m-%d %H:%M}" for one in imported(*events).overrides]


def refused(content: bytes) -> str:
    with pytest.raises(BadCalendar) as caught:
        read(content, SCHEDULE, EMAILS, NOW)
    return str(caught.value)


# -- export

def test_every_shift_is_an_event_and_a_gap_is_none() -> None:
    found = [Shift("ayse", NOW, NOW + timedelta(hours=8)), Shift("", NOW + timedelta(hours=8), NOW + timedelta(hours=9)),
             Shift("ann", NOW + timedelta(hours=9), NOW + timedelta(hours=10))]
    events = icalendar.Calendar.from_ical(export(SCHEDULE, found, EMAILS, NOW)).walk("VEVENT")
    assert [(str(one["SUMMARY"]), one.start, one.end, str(one.get("ATTENDEE", ""))) for one in events] == [
        ("ayse", NOW, NOW + timedelta(hours=8), "mailto:ayse@example.com"),
        ("ann", NOW + timedelta(hours=9), NOW + timedelta(hours=10), "")]


def test_the_same_shift_is_the_same_event_in_the_next_export() -> None:
    shift = Shift("ayse", NOW, NOW + timedelta(hours=8))
    uids = [icalendar.Calendar.from_ical(export(SCHEDULE, [one], EMAILS, NOW)).walk("VEVENT")[0]["UID"]
            for one in (shift, shift, Shift("ann", shift.starts_at, shift.ends_at))]
    assert uids[0] == uids[1] != uids[2]


def test_a_name_that_would_break_a_calendar_does_not() -> None:
    person = "ay;se,\nEND:VCALENDAR \\ x"
    (one,) = icalendar.Calendar.from_ical(export(SCHEDULE, [Shift(person, NOW, NOW + AHEAD)], {}, NOW)).walk("VEVENT")
    assert one["SUMMARY"] == person


def test_what_was_exported_can_be_imported() -> None:
    found = shifts(SCHEDULE, (), NOW, NOW + timedelta(weeks=8))
    back = read(export(SCHEDULE, found, EMAILS, NOW), SCHEDULE, EMAILS, NOW).overrides
    assert [Shift(one.person, one.starts_at, one.ends_at) for one in back] == list(found)


# -- whom an event names

@pytest.mark.parametrize(("lines", "person"), [
    (["SUMMARY:ayse"], "ayse"), (["SUMMARY: AYSE "], "ayse"), (["SUMMARY:m.kaya@example.com"], "mehmet"),
    (["SUMMARY:On call: Ayse (primary)"], "ayse"), (["SUMMARY:anna"], "anna"), (["SUMMARY:ann-on-call\\, ann"], "ann"),
    (["SUMMARY:Duty", "ATTENDEE:mailto:M.Kaya@example.com"], "mehmet"), (["ATTENDEE;CN=Ann:mailto:other@example.com"], "ann"),
    (["SUMMARY:ayse", "ATTENDEE:mailto:m.kaya@example.com"], "ayse"),
    (["SUMMARY:Duty", "ATTENDEE:mailto:boss@example.com", "ATTENDEE:mailto:ayse@example.com"], "ayse"),
])
def test_an_event_names_its_person(lines: list[str], person: str) -> None:
    (one,) = imported(event(*lines)).overrides
    start, end = (datetime(2026, 11, day, 6, tzinfo=UTC) for day in (23, 30))
    assert one == Override("primary", person, start, end, uid="a@x")


@pytest.mark.parametrize(("lines", "word"), [
    (["SUMMARY:Betul"], "event 'Betul' of 2026-11-23 names nobody of people, in SUMMARY or by ATTENDEE; give it the name of one"),
    ([], "event 'without a name' of 2026-11-23 names nobody"), (["SUMMARY:annabel"], "names nobody"),
    (["SUMMARY:ayse for mehmet"], "names ayse and mehmet"), (["SUMMARY:Duty", "ATTENDEE:mailto:x@example.com"], "names nobody"),
    (["SUMMARY:Duty", "ATTENDEE:mailto:ayse@example.com", "ATTENDEE:mailto:m.kaya@example.com"], "names ayse and mehmet"),
    (["SUMMARY:\\n\\nEvil\\nline"], "event 'Evil line' of"),
])
def test_an_event_that_does_not_name_one_person_is_an_error(lines: list[str], word: str) -> None:
    told = refused(calendar(event(*lines)))
    assert word in told
    assert "\n" not in told


def test_every_unknown_person_is_told_and_nothing_is_imported() -> None:
    told = refused(calendar(event("SUMMARY:ayse"), event("SUMMARY:Betul", uid="UID:b"), event("SUMMARY:Cem", uid="UID:c")))
    assert [line.split(" of ")[0] for line in told.splitlines()] == ["event 'Betul'", "event 'Cem'"]


def test_of_many_errors_some_are_told() -> None:
    told = refused(calendar(*(event(f"SUMMARY:Stranger {number}", uid=f"UID:{number}") for number in range(30))))
    assert len(told.splitlines()) == 21
    assert told.endswith("and 10 more")


# -- when

@pytest.mark.parametrize(("given", "expected"), [
    ("DTSTART:20261123T090000\nDTEND:20261123T100000", ["11-23 06:00 11-23 07:00"]),
    ("DTSTART;VALUE=DATE:20261123\nDTEND;VALUE=DATE:20261125", ["11-22 21:00 11-24 21:00"]),
    ("DTSTART;VALUE=DATE:20261123", ["11-22 21:00 11-23 21:00"]),
    ("DTSTART;TZID=Europe/Berlin:20261123T090000\nDURATION:PT8H", ["11-23 08:00 11-23 16:00"]),
    ("DTSTART:20261120T000000Z\nDTEND:20261122T000000Z", ["11-20 00:00 11-22 00:00"]),
    ("DTSTART:20261101T000000Z\nDTEND:20261102T000000Z", []),
    ("DTSTART:20280101T000000Z\nDTEND:20280102T000000Z", []),
    ("DTSTART:20261122T000000Z\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20261123T000000Z",
     ["11-22 00:00 11-22 01:00", "11-24 00:00 11-24 01:00"]),
])
def test_an_event_has_its_times(given: str, expected: list[str]) -> None:
    assert times(event("SUMMARY:ayse", times=given)) == expected


def test_an_event_that_repeats_is_taken_for_a_year_at_its_wall_clock() -> None:
    weekly = "DTSTART;TZID=Europe/Berlin:20260323T090000\nDURATION:PT8H\nRRULE:FREQ=WEEKLY"
    found = imported(event("SUMMARY:ayse", times=weekly)).overrides
    assert len(found) == 52
    assert {one.uid for one in found} == {"a@x"}
    assert {one.starts_at.hour for one in found} == {7, 8}


def test_one_time_of_many_that_was_moved_or_cancelled_is_so() -> None:
    daily = event("SUMMARY:ayse", times="DTSTART:20261122T000000Z\nDTEND:20261122T010000Z\nRRULE:FREQ=DAILY;COUNT=3")
    moved = event("SUMMARY:mehmet", "RECURRENCE-ID:20261123T000000Z", times="DTSTART:20261123T050000Z\nDTEND:20261123T060000Z")
    gone = event("SUMMARY:ayse", "STATUS:CANCELLED", "RECURRENCE-ID:20261124T000000Z",
                 times="DTSTART:20261124T000000Z\nDTEND:20261124T010000Z")
    assert [(one.person, one.starts_at.hour) for one in imported(daily, moved, gone).overrides] == [("ayse", 0), ("mehmet", 5)]


def test_an_event_that_gives_nothing_any_more_is_still_known() -> None:
    cancelled = event("SUMMARY:whoever", "STATUS:CANCELLED")
    over = event("SUMMARY:ayse", uid="UID:b", times="DTSTART:20200101T000000Z\nDTEND:20200102T000000Z")
    assert imported(cancelled, over) == Imported(frozenset({"a@x", "b"}), ())


# -- what is no calendar, or too much of one

@pytest.mark.parametrize("content", [
    b"", b"\x00\xff\xfe", b"BEGIN:VCALENDAR", b"<html>", calendar() + calendar(), b"BEGIN:VCALENDAR\r\n" * 5000,
    b"BEGIN:VEVENT\r\n" * 5000 + b"END:VEVENT\r\n" * 5000])
def test_what_is_no_calendar_is_refused(content: bytes) -> None:
    assert refused(content)


@pytest.mark.parametrize(("content", "word"), [
    (calendar(), "there is no event"), (b"x" * (LARGEST + 1), "larger than"),
    (calendar(*[event("SUMMARY:ayse")] * 501), "501 events"),
    (calendar(event("SUMMARY:ayse", uid="X-NO:x")), "has no UID"),
    (calendar(event("SUMMARY:ayse", times="X-NO:x")), "no DTSTART"), (calendar(event(times="DTSTART:soon")), "no DTSTART"),
    (calendar(event("SUMMARY:ayse", times="DTSTART:20261123T060000Z\nDTEND:later")), "no DTEND"),
    (calendar(event("SUMMARY:ayse", times=TIMES + "\n" + TIMES)), "no DTSTART"),
    (calendar(event("SUMMARY:ayse", times="DTSTART:20261123T060000Z")), "ends when it starts"),
    (calendar(event("SUMMARY:ayse", times="DTSTART:20261123T060000Z\nDTEND:20261123T050000Z")), "ends before it starts"),
    (calendar(event("SUMMARY:ayse", times="DTSTART;TZID=Mars/Olympus:20261123T060000")), "'Mars/Olympus' is not a time zone"),
    *((calendar(event("SUMMARY:ayse", f"RRULE:FREQ={rule}")), "repeats more often than daily") for rule in (
        "SECONDLY", "MINUTELY", "hourly", "DAILY;BYSECOND=1,2", "YEARLY;BYMINUTE=1,2,3")),
    (calendar(event("SUMMARY:ayse", "RRULE:FREQ=BANANA")), "cannot be worked out"),
    (calendar(event("SUMMARY:ayse", "RRULE:FREQ=DAILY;INTERVAL=-1")), "cannot be worked out"),
    (calendar(event("SUMMARY:ayse", "DURATION:P999999999D", times="DTSTART:20261123T060000Z")), "cannot be worked out"),
    (calendar(*(event("SUMMARY:ayse", "RRULE:FREQ=DAILY", uid=f"UID:{n}") for n in range(6))), "at most 2000"),
])
def test_what_cannot_be_taken_says_why(content: bytes, word: str) -> None:
    assert word in refused(content)


LINES = st.sampled_from([
    "BEGIN:VCALENDAR", "END:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "UID:a", "UID:",
    "DTSTART:20261123T060000Z", "DTEND:20261124T060000Z", "DTSTART;VALUE=DATE:20261123", "DTEND;VALUE=PERIOD:x", "DURATION:-P1D",
    "DURATION:P1DT", "DTSTART;TZID=:20261123T060000", "DTSTART:00000000T000000", "RRULE:FREQ=DAILY;COUNT=2", "RRULE:",
    "RRULE:FREQ=WEEKLY;BYDAY=XX", "RRULE:FREQ=DAILY;UNTIL=20261125", "RDATE:20261125", "EXDATE:x", "RECURRENCE-ID:x",
    "ATTENDEE;CN=\"a:mailto:x", "ATTENDEE:ayse", "STATUS:CANCELLED", "SEQUENCE:x", "X-WR-TIMEZONE:Mars/Olympus", "SUMMARY:ayse",
    "RRULE:FREQ=", "TZID:x", ":", ";", "=", "\x00", "é"])


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, max_size=12), st.binary(max_size=20))
def test_no_bytes_do_more_than_be_refused(lines: list[str], noise: bytes) -> None:
    for content in (calendar(*lines), calendar("BEGIN:VEVENT", *lines, "END:VEVENT"), calendar(event("SUMMARY:ayse", *lines)),
                    calendar(event("SUMMARY:ayse")).replace(b"a@x", noise)):
        with suppress(BadCalendar):
            found = read(content, SCHEDULE, EMAILS, NOW)
            assert all(one.person in EMAILS and one.uid for one in found.overrides)


def test_without_the_extra_only_calendars_are_missing() -> None:
    program = """
import sys
sys.modules["icalendar"] = None
from datetime import UTC, datetime
from alerthub import calendars
from alerthub.domain.schedule import Schedule
try:
    calendars.export(Schedule("a", ()), [], {}, datetime(2026, 11, 21, tzinfo=UTC))
except calendars.NoCalendars as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout == "calendars need two more libraries; install alerthub[ical]\n"
