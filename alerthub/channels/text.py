"""What channels share about words: cutting, the state in a word, the minimal plain text, what a status means.

Pure. Nothing here escapes: markup belongs to the channel that speaks it, and it escapes after cutting (R-25).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from alerthub.domain.alert import Labels
from alerthub.domain.message import AlertLine, DigestLine, IncidentStatus, Message, Why
from alerthub.errors import Failure

RETRY_AFTER_CAP = 3600.0    # PROTOCOLS 7.4
NAME_LIMIT = 80             # of a person, in a line that must stay short
TITLE_LIMIT = 200           # of a title, where everything has to fit into one plain text
ALERT_LIMIT = 300
LINK_LIMIT = 2_000
BREAKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")     # white space of any alphabet, and control characters
SECONDS = re.compile(r"(\d+)(?:\.\d+)?")


def clip(text: str, limit: int, more: str = "…") -> str:
    """At most `limit` code points; what was cut ends with `more`."""
    if len(text) <= limit:
        return text
    return text[: max(0, limit - len(more))] + more[:limit]


def utf16_length(text: str) -> int:
    """Length as JavaScript and Telegram count it."""
    return len(text) + sum(1 for character in text if ord(character) > 0xFFFF)


def utf16_clip(text: str, limit: int, more: str = "…") -> str:
    """At most `limit` UTF-16 units, never half of a character; what was cut ends with `more`."""
    if utf16_length(text) <= limit:
        return text
    room, kept = limit - utf16_length(more), 0
    if room < 0:
        return utf16_clip(more, limit, "")
    for index, character in enumerate(text):
        kept += 2 if ord(character) > 0xFFFF else 1
        if kept > room:
            return text[:index] + more
    return text


def one_line(text: str, limit: int | None = None) -> str:
    """Line breaks, tabs and control characters become single spaces; cut to `limit` code points."""
    line = BREAKS.sub(" ", text).strip()
    return line if limit is None else clip(line, limit)


def human_age(age: timedelta) -> str:
    """`45 s`, `5 min`, `2 h 10 min`, `3 d 4 h`; a negative age is `0 s`."""
    seconds = max(0, int(age.total_seconds()))
    days, hours, minutes = seconds // 86_400, seconds % 86_400 // 3_600, seconds % 3_600 // 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"


def status_word(message: Message) -> str:
    """The state in capitals, for a reader who sees no colour: `FIRING`, `ACKNOWLEDGED by ayse`, `RESOLVED` …"""
    if message.why is Why.test:
        return "TEST"
    if message.why is Why.digest:
        return "SUMMARY"
    if message.status is IncidentStatus.resolved:
        return "RESOLVED"
    if message.status is IncidentStatus.acknowledged:
        by = one_line(message.acknowledged_by, NAME_LIMIT)
        word = f"ACKNOWLEDGED by {by}" if by else "ACKNOWLEDGED"
        return f"{word}, STALE" if message.is_stale else word
    return "STALE" if message.is_stale else "FIRING"


def facts(message: Message) -> str:
    """`#17 · critical · 3 firing, 1 resolved · open for 5 min`: what stands under a title."""
    if message.why is Why.digest:
        return f"{message.severity.value} · {len(message.digest)} incidents"
    parts = [f"#{message.number}", message.severity.value, counts(message)]
    if message.resolved_at is not None:
        parts.append(f"resolved after {human_age(message.resolved_at - message.opened_at)}")
    else:
        parts.append(f"open for {human_age(message.at - message.opened_at)}")
    if message.episode > 1:
        parts.append(f"episode {message.episode}")
    return " · ".join(part for part in parts if part)


def counts(message: Message) -> str:
    numbers = ((message.firing, "firing"), (message.resolved, "resolved"))
    return ", ".join(f"{number} {word}" for number, word in numbers if number)


def remarks(message: Message) -> list[str]:
    """What a reader must know to trust the rest. Our own words only."""
    lines = []
    if message.is_stale:
        lines.append("STALE: the source has been silent for too long; this may no longer be true.")
    if message.incomplete:
        lines.append(f"INCOMPLETE: the sender cut off {message.incomplete} more alerts (its max_alerts).")
    if message.is_silenced:
        lines.append("Silenced or inhibited at the source.")
    if message.possible_duplicate:
        lines.append("This may be a duplicate: an earlier attempt was interrupted.")
    return lines


def alert_text(alert: AlertLine, common: Labels, limit: int = ALERT_LIMIT) -> str:
    """One alert on one line: its summary, else its name, and the labels that tell it from the others."""
    own = [f"{name}={value}" for name, value in sorted(alert.labels.items())
           if name not in ("alertname", "severity") and common.get(name) != value]
    said = one_line(alert.summary) or one_line(alert.labels.get("alertname", "")) or "alert"
    text = f"{said} ({one_line(', '.join(own))})" if own else said
    return clip(text if alert.status == "firing" else f"resolved: {text}", limit)


def listed(lines: Sequence[str], total: int, limit: int, prefix: str = "- ") -> str:
    """As many whole lines as fit, then `… +N more` (of `total`). Never longer than `limit`; may be empty."""
    kept: list[str] = []
    for line in lines:
        tried = [*kept, prefix + line]
        if len("\n".join([*tried, more(total - len(tried))]).rstrip()) > limit:
            break
        kept = tried
    rest = more(total - len(kept))
    return "\n".join(part for part in (*kept, rest if len(rest) <= limit else "") if part)


def more(count: int) -> str:
    return f"… +{count} more" if count > 0 else ""


def digest_text(lines: Sequence[DigestLine], limit: int) -> str:
    """Every incident of a storm, as fully as `limit` allows: with address, by title, or at least by number."""
    full = "\n".join(f"{digest_line(line)} {line.url}".rstrip() for line in lines)
    for width in (None, TITLE_LIMIT, 60, 30):
        text = full if width is None else "\n".join(digest_line(line, width) for line in lines)
        if len(text) <= limit:
            return text
    return clip(number_ranges(line.number for line in lines), limit)


def digest_line(line: DigestLine, limit: int = TITLE_LIMIT) -> str:
    word = "RESOLVED" if not line.status.is_open else line.severity.value
    return f"#{line.number} {word}: {one_line(line.title, limit)}"


def number_ranges(numbers: Iterable[int]) -> str:
    """`#3-#5, #9`."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"#{first}" if first == last else f"#{first}-#{last}" for first, last in ranges)


def plain_text(message: Message, limit: int) -> str:
    """The message without any form: title, state, severity, first alerts, links. What is sent when the rich form
    was refused, and the fallback beside it. At most `limit` code points; the links stay when alerts must go."""
    title = one_line(message.title, TITLE_LIMIT)
    head = [f"[{status_word(message)}] {title}", facts(message), *remarks(message)]
    tail = [f"{one_line(link.label, NAME_LIMIT)}: {link.url}"
            for link in message.links if len(link.url) <= LINK_LIMIT]
    while tail and len("\n".join([*head, *tail])) > limit:
        tail.pop()
    room = limit - len("\n".join([*head, "", *tail])) - 1
    if message.digest:
        body = digest_text(message.digest, room) if room > 0 else ""
    else:
        lines = [alert_text(alert, message.common_labels) for alert in message.alerts[:50]]
        body = listed(lines, max(message.firing + message.resolved, len(lines)), room)
    return clip("\n".join(part for part in (*head, body, *tail) if part), limit)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` (number or HTTP date) asks for, at most an hour; None for nonsense."""
    word = (value or "").strip()
    if number := SECONDS.fullmatch(word) if word.isascii() else None:
        return RETRY_AFTER_CAP if len(number[1]) > 9 else min(float(word), RETRY_AFTER_CAP)
    try:
        moment = parsedate_to_datetime(word)
        seconds = (moment - now).total_seconds() if moment.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None
    return None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_CAP)


STATUS = {
    400: Failure.content, 408: Failure.unavailable, 413: Failure.content, 422: Failure.content,
    425: Failure.unavailable, 429: Failure.rate_limited,
    504: Failure.timeout,       # a gateway waited in vain: the provider behind it may have taken it
}


def failure_for_status(status: int) -> Failure:
    """What a status means where the provider documents nothing else. Redirects (never followed) and refusals need
    a person; 5xx is tried again; a success that is asked about here was not one, and may have delivered."""
    if status in STATUS:
        return STATUS[status]
    if 300 <= status < 500:
        return Failure.configuration
    return Failure.unavailable if status >= 500 else Failure.bug
