"""What channels share about words: cutting, the state in a word, the minimal plain text.

Pure. Nothing here escapes: markup belongs to the channel that speaks it, and it escapes after cutting (R-25).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from alerthub.domain import local_time
from alerthub.domain.alert import AlertStatus, Labels, Severity
from alerthub.domain.message import ActionLine, AlertLine, DigestLine, IncidentStatus, Message, Why
from alerthub.domain.wording import clip, one_line

NAME_LIMIT = 80             # of a person, in a line that must stay short
TITLE_LIMIT = 200           # of a title, where everything has to fit into one plain text
ALERT_LIMIT = 300
LINK_LIMIT = 2_000
DESCRIPTION_LIMIT = 500
ACTION_LIMIT = 300
ACTIONS = 5                 # shown; what went wrong is shown first of all
TEST = "Test of AlertHub. Nothing is wrong; messages of incidents look like this one."
SILENCED = "Silenced or inhibited at the source."
MARKS = {Severity.critical: "🔴", Severity.error: "🟠", Severity.warning: "🟡", Severity.info: "🔵"}


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
    by = one_line(message.acknowledged_by, NAME_LIMIT)
    acknowledged = f"ACKNOWLEDGED by {by}" if by else "ACKNOWLEDGED"
    words = (acknowledged if message.status is IncidentStatus.acknowledged else "", "SILENCED" if is_quiet(message) else "",
             "FLAPPING" if message.flaps else "", "STALE" if message.is_stale else "")
    return ", ".join(word for word in words if word) or "FIRING"


def is_quiet(message: Message) -> bool:
    """Silenced, by the source or by a person."""
    return message.is_silenced or message.silenced_until is not None


def mark(message: Message) -> str:
    """A sign beside the word, never instead of it."""
    if message.why is Why.test:
        return "🧪"
    if message.status is IncidentStatus.resolved:
        return "✅"
    if is_quiet(message) or message.is_stale:
        return "🔕" if is_quiet(message) else "⌛"
    return "👀" if message.status is IncidentStatus.acknowledged else MARKS[message.severity]


def facts(message: Message) -> str:
    """`#17 · critical · 3 firing, 1 resolved · since 02:41 UTC (19 min)`: what stands under a title."""
    if message.why is Why.test:
        return TEST
    if message.why is Why.digest:
        return f"{message.severity.value} · {len(message.digest)} incidents"
    again = f"reopened ({ordinal(message.episode - 1)} time)" if message.episode > 2 else "reopened"
    parts = [f"#{message.number}", message.severity.value, counts(message), span(message), again if message.episode > 1 else ""]
    return " · ".join(part for part in parts if part)


def began(message: Message) -> datetime:
    """When it began at the source: the earliest start of the alerts that fire, or of those that did in this episode; where
    none is known, when the incident was opened. In UTC."""
    if message.resolved_at is None:
        ours = [alert for alert in message.alerts if alert.status is AlertStatus.firing]
    else:
        ours = [alert for alert in message.alerts
                if message.episode == 1 or (alert.ends_at is not None and alert.ends_at >= message.opened_at)]
    return min((alert.starts_at for alert in ours if alert.starts_at), default=message.opened_at).astimezone(UTC)


def span(message: Message) -> str:
    """`since 02:41 UTC (19 min)`, `02:41–07:03 UTC (4 h 22 min)`; with the date of another day than today."""
    start, end = began(message), message.resolved_at
    if end is None:
        return f"since {clock_time(start, message)} ({human_age(message.at - start)})"
    return f"{local_time.span(start, end, message.time_zone, message.at)} ({human_age(end - start)})"


def clock_time(moment: datetime, message: Message) -> str:
    """`02:41 UTC`, where its readers live; with the date of another day than the message's."""
    return local_time.clock_time(moment, message.time_zone, message.at)


def ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def still(message: Message, limit: int = TITLE_LIMIT) -> str:
    """`Still firing after 4 h: TITLE, 3 firing`: what a repeat says first."""
    word, _, rest = status_word(message).partition(" ")
    state = f"{word.lower()} {rest}".strip()
    told = ", ".join(part for part in (one_line(message.title, limit) or f"Incident #{message.number}", counts(message)) if part)
    return f"Still {state} after {human_age(message.at - began(message))}: {told}"


def description(message: Message, limit: int = DESCRIPTION_LIMIT) -> str:
    """The description that all alerts share, on one line; empty where it would only repeat the title."""
    text = one_line(message.common_annotations.get("description", ""))
    return "" if message.why is Why.test or text == one_line(message.title) else clip(text, limit)


def counts(message: Message) -> str:
    numbers = ((message.firing, "firing"), (message.resolved, "resolved"))
    return ", ".join(f"{number} {word}" for number, word in numbers if number)


def remarks(message: Message) -> list[str]:
    """What a reader must know to trust the rest. Our own words only."""
    lines = [*message.standing]
    if message.is_stale:
        lines.append("STALE: the source has been silent for too long; this may no longer be true.")
    if message.incomplete:
        lines.append(f"INCOMPLETE: the sender cut off {message.incomplete} more alerts (its max_alerts).")
    if message.is_silenced:
        lines.append(SILENCED)
    if message.flaps:
        lines.append(f"FLAPPING: opened {message.flaps} times in a short time. Until it is calm only this message changes.")
    if message.possible_duplicate:
        lines.append("This may be a duplicate: an earlier attempt was interrupted.")
    return lines


def unremarked(message: Message) -> list[str]:
    """The news, for a text that has the remarks too: what these say already is left out."""
    return [line for line in message.news if not (message.is_silenced and line.rstrip(".") == SILENCED.rstrip("."))]


def action_lines(message: Message, limit: int = ACTION_LIMIT) -> list[str]:
    """`✔ …`, `✖ …`, or `… …` while it has not ended, for each action, oldest first, cut to `limit`; of many those
    that went wrong and the newest."""
    order = sorted(range(len(message.actions)), key=lambda index: (not message.actions[index].is_bad, -index))
    shown = [action_line(message.actions[index], limit) for index in sorted(order[:ACTIONS])]
    return [*shown, *([more(len(message.actions) - ACTIONS)] if len(message.actions) > ACTIONS else [])]


def action_line(action: ActionLine, limit: int) -> str:
    """With ✔ only for what was done."""
    sign = "…" if action.is_pending else "✔" if action.is_done and not action.is_bad else "✖"
    return one_line(f"{sign} {action.text}", limit)


def alert_text(alert: AlertLine, common: Labels, limit: int = ALERT_LIMIT) -> str:
    """One alert on one line: its summary, else its name, and the labels that tell it from the others."""
    text = alert_words(alert, common)
    return clip(text if alert.status is AlertStatus.firing else f"resolved: {text}", limit)


def alert_words(alert: AlertLine, common: Labels) -> str:
    own = [f"{name}={value}" for name, value in sorted(alert.labels.items())
           if name != "alertname" and common.get(name) != value]
    said = one_line(alert.summary) or one_line(alert.labels.get("alertname", "")) or "alert"
    return f"{said} ({one_line(', '.join(own))})" if own else said


def alert_list(message: Message, count: int, limit: int = ALERT_LIMIT, said: Sequence[str] = ()) -> tuple[list[str], int]:
    """The lines of the first `count` alerts, and how many alerts there are to name. None in a test, and none where the only
    alert would repeat what the message `said` above."""
    total = max(message.firing + message.resolved, len(message.alerts))
    if message.why is Why.test:
        return [], 0
    if total == len(message.alerts) == 1 and alert_words(message.alerts[0], message.common_labels) in map(one_line, said):
        return [], 0
    return [alert_text(alert, message.common_labels, limit) for alert in message.alerts[:count]], total


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
    title, described = one_line(message.title, TITLE_LIMIT), description(message, min(DESCRIPTION_LIMIT, limit // 4))
    head = [f"[{status_word(message)}] {title}", *([described] if described else []), facts(message), *remarks(message),
            *action_lines(message, min(ACTION_LIMIT, limit // 20))]
    tail = [f"{one_line(link.label, NAME_LIMIT)}: {link.url}"
            for link in message.links if len(link.url) <= LINK_LIMIT]
    while tail and len("\n".join([*head, *tail])) > limit:
        tail.pop()
    room = limit - len("\n".join([*head, "", *tail])) - 1
    if message.digest:
        body = digest_text(message.digest, room) if room > 0 else ""
    else:
        lines, total = alert_list(message, 50, said=(title, described))
        body = listed(lines, total, room)
    return clip("\n".join(part for part in (*head, body, *tail) if part), limit)
