"""iCalendar: a schedule as a file that calendars subscribe to, and the events of such a file as overrides.

The libraries are an extra, `alerthub[ical]`; without them nothing else is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Any

from alerthub.domain.rotation import instant_of
from alerthub.domain.schedule import Override, Schedule, Shift
from alerthub.errors import AlerthubError

try:
    import icalendar
    import recurring_ical_events  # type: ignore[import-untyped]
    IS_INSTALLED = True
except ImportError:
    IS_INSTALLED = False

AHEAD = timedelta(days=365)         # so far are repeated events imported
LARGEST = 1024**2                   # bytes of a file
MOST_EVENTS, MOST_OVERRIDES, MOST_PROBLEMS = 500, 2000, 20
TOO_OFTEN = frozenset({"SECONDLY", "MINUTELY", "HOURLY"})
BY_TIME = ("BYHOUR", "BYMINUTE", "BYSECOND")
# What the libraries raise for bytes that are no calendar, or for dates beyond the calendar's end.
UNREADABLE = (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, RecursionError)


class NoCalendars(AlerthubError):
    """The extra is not installed."""


class BadCalendar(AlerthubError):
    """A calendar cannot be imported. `problems` says everything that is wrong with it; nothing of it was taken."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        more = len(self.problems) - MOST_PROBLEMS
        super().__init__("\n".join((*self.problems[:MOST_PROBLEMS], *((f"and {more} more",) if more > 0 else ()))))


@dataclass(frozen=True, slots=True)
class Imported:
    """`uids` are those of all events in the file, also of those that give no override any more."""

    uids: frozenset[str]
    overrides: tuple[Override, ...]


def require() -> None:
    if not IS_INSTALLED:
        raise NoCalendars("calendars need two more libraries; install alerthub[ical]")


def export(schedule: Schedule, found: Sequence[Shift], emails: Mapping[str, str], now: datetime) -> bytes:
    """One event per shift, named after who is on call; gaps are left out. The same shift has the same UID each time."""
    require()
    calendar = icalendar.Calendar()
    calendar.add("prodid", "-//alerthub//on call//EN")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", f"On call: {schedule.name}")
    for shift in found:
        if shift.person:
            calendar.add_component(event_of(schedule, shift, emails.get(shift.person, ""), now))
    return bytes(calendar.to_ical())


def event_of(schedule: Schedule, shift: Shift, email: str, now: datetime) -> Any:
    event: Any = icalendar.Event()
    identity = f"{schedule.name}\n{shift.person}\n{shift.starts_at.isoformat()}"
    event.add("uid", f"{sha256(identity.encode()).hexdigest()[:32]}@alerthub")
    event.add("dtstamp", now.astimezone(UTC))
    event.add("dtstart", shift.starts_at)
    event.add("dtend", shift.ends_at)
    event.add("summary", shift.person)
    if email:
        event.add("attendee", icalendar.vCalAddress(f"mailto:{email}"))
    return event


def read(content: bytes, schedule: Schedule, emails: Mapping[str, str], now: datetime) -> Imported:
    """The events of the coming year as overrides of the schedule. Raises BadCalendar with every problem at once.

    `emails` are the people, with their addresses or "". The person is who is named in SUMMARY, else by ATTENDEE. Times
    without a zone, and whole days, are those of the schedule's zone. Cancelled events give no override."""
    require()
    calendar, events = parsed(content)
    problems = [problem for event in events for problem in wrong_with(event)]
    if problems:
        raise BadCalendar(problems)
    try:
        occurrences = recurring_ical_events.of(calendar).between(now, now + AHEAD)
    except UNREADABLE as error:
        raise BadCalendar([f"its events cannot be worked out: {shown(error)}"]) from None
    if len(occurrences) > MOST_OVERRIDES:
        raise BadCalendar([f"{len(occurrences)} times in a year; at most {MOST_OVERRIDES} are taken, so import a part of it"])
    found = [made for event in occurrences if (made := override_of(event, schedule, emails)) is not None]
    if problems := [one for one in found if isinstance(one, str)]:
        raise BadCalendar(problems)
    return Imported(frozenset(str(event["UID"]) for event in events), tuple(one for one in found if isinstance(one, Override)))


def parsed(content: bytes) -> tuple[Any, list[Any]]:
    if len(content) > LARGEST:
        raise BadCalendar([f"the file is larger than {LARGEST} bytes; export a shorter time"])
    try:
        calendar: Any = icalendar.Calendar.from_ical(content)
        events = calendar.walk("VEVENT")
    except UNREADABLE:
        raise BadCalendar(["this is not an iCalendar file; it begins with BEGIN:VCALENDAR and ends with END:VCALENDAR"]) from None
    if not events:
        raise BadCalendar(["there is no event in the file"])
    if len(events) > MOST_EVENTS:
        raise BadCalendar([f"{len(events)} events in the file; at most {MOST_EVENTS} are taken"])
    return calendar, events


def wrong_with(event: Any) -> Iterator[str]:
    """What the libraries would take for something else, or not survive."""
    if not event.get("UID"):
        yield f"{told(event)} has no UID, by which a second import would know it again"
    for name in ("DTSTART", "DTEND"):
        value = event.get(name)
        if value is None and name == "DTEND":
            continue
        at = getattr(value, "dt", None) if not isinstance(value, list) and not broken(value) else None
        if not isinstance(at, date):
            yield f"{told(event)} has no {name} that can be read"
        elif isinstance(at, datetime) and at.tzinfo is None and value.params.get("TZID"):
            yield f"{told(event)}: {shown(value.params['TZID'])} is not a time zone; use a name like Europe/Istanbul"
    if is_reversed(event):
        yield f"{told(event)} ends before it starts"
    rules = event.get("RRULE") or []
    for rule in rules if isinstance(rules, list) else [rules]:
        if is_too_often(rule):
            yield f"{told(event)} repeats more often than daily; make it events of the lengths of turns"


def is_reversed(event: Any) -> bool:
    """The libraries would exchange its times."""
    try:
        return bool("DTEND" in event and event["DTEND"].dt < event["DTSTART"].dt)
    except UNREADABLE:
        return False        # said elsewhere


def broken(value: Any) -> bool:
    """A property that the library has kept although it could not be read."""
    return isinstance(value, icalendar.vBroken)


def is_too_often(rule: Any) -> bool:
    if broken(rule) or not isinstance(rule, Mapping):
        return False        # the expansion says what is wrong with it
    frequency = {str(one).upper() for one in rule.get("FREQ", [])}
    return bool(frequency & TOO_OFTEN) or any(len(rule.get(name, [])) > 1 for name in BY_TIME)


def override_of(event: Any, schedule: Schedule, emails: Mapping[str, str]) -> Override | str | None:
    """The override, or what is wrong; None for a cancelled event."""
    if str(event.get("STATUS", "")).upper() == "CANCELLED":
        return None
    named = people_in(event, emails)
    if len(named) != 1:
        word = f"names {' and '.join(sorted(named))}" if named else "names nobody of people, in SUMMARY or by ATTENDEE"
        return f"{told(event)} {word}; give it the name of one: {', '.join(sorted(emails)[:10])}"
    try:
        start, end = (instant(at, schedule.time_zone) for at in (event.start, event.end))
        return Override(schedule.name, named.pop(), start, end, uid=str(event["UID"]))
    except UNREADABLE as error:
        return f"{told(event)}: {shown(error)}"


def people_in(event: Any, emails: Mapping[str, str]) -> set[str]:
    """Whom the summary is, or is about; else whom the attendees are."""
    summary = f" {' '.join(str(event.get('SUMMARY', '')).split())} ".casefold()
    about = {name: [word.casefold() for word in (name, mail) if word] for name, mail in emails.items()}
    if found := {name for name, words in about.items() if summary.strip() in words}:
        return found
    if found := {name for name, words in about.items() if any(is_word_in(word, summary) for word in words)}:
        return found
    given = event.get("ATTENDEE") or []
    heard = {text for one in (given if isinstance(given, list) else [given])
             for text in (str(one).casefold().removeprefix("mailto:"), str(getattr(one, "params", {}).get("CN", "")).casefold())}
    return {name for name, words in about.items() if not heard.isdisjoint(words)}


def is_word_in(word: str, text: str) -> bool:
    """Not as a part of another word: `ann` is not in `anna`."""
    at = text.find(word)
    while at >= 0:
        around = text[at - 1:at] + text[at + len(word):at + len(word) + 1]
        if not any(sign.isalnum() or sign in "@._-" for sign in around):
            return True
        at = text.find(word, at + 1)
    return False


def instant(at: date | datetime, time_zone: str) -> datetime:
    if isinstance(at, datetime) and at.tzinfo is not None:
        return at.astimezone(UTC)
    return instant_of(at if isinstance(at, datetime) else datetime.combine(at, time()), time_zone)


def told(event: Any) -> str:
    """The event, as an error calls it."""
    value = event.get("DTSTART")
    at = getattr(value, "dt", None) if not isinstance(value, list) and not broken(value) else None
    return f"event {shown(event.get('SUMMARY') or 'without a name')}" + (f" of {at:%Y-%m-%d}" if isinstance(at, date) else "")


def shown(value: object) -> str:
    return repr(" ".join(str(value).split())[:80])
