"""The body of a webhook as clean Python values, and the notification that Alertmanager and Grafana both send.

Whatever a sender can get wrong ends here as BadPayload. Its reason names the place and what would be right,
and repeats at most 80 characters of the body. What only one sender has is in its own file.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json

from alerthub.domain.alert import Alert, AlertStatus, Batch
from alerthub.domain.wording import clip
from alerthub.errors import BadPayload

ECHO = 40                        # characters of a name or a value that a reason repeats
MAX_BITS = 2048                  # of a number that becomes text: Python may refuse to write 640 digits
MAX_COUNT = 2**31 - 1            # what fits an integer column of both databases
ZERO_TIME = "0001-01-01T00:00:00Z"      # Go's way to say "no time": endsAt of a firing alert (PROTOCOLS 1.1)
AlertReader = Callable[[Any, datetime], Alert]
STATUSES = {"firing": AlertStatus.firing, "resolved": AlertStatus.resolved}
KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number",
         float: "a number", type(None): "null"}

TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
WEB_ADDRESS = re.compile(r"https?://[^/?#\s\\]", re.IGNORECASE)
QUOTED_META = re.compile(r"\\([\\.+*?()|\[\]{}^$])")     # the characters that Go's regexp.QuoteMeta escapes

# A quick look for what must be replaced. Alertmanager hardly ever sends it, so most bodies pay for this only.
SUSPECT = re.compile(rb"\\(?:[bfr]|u00[01]|u[dD][89a-fA-F])")
ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"       # a proper surrogate pair stays
    rb"|(?P<line_end>r\\n)"
    rb"|(?P<unfit>[bfr]|u[dD][89a-fA-F][0-9a-fA-F]{2}|u00(?:0[0-8b-fB-F]|1[0-9a-fA-F]))"
    rb"|.)", re.DOTALL,
)


def read_json(body: bytes) -> Any:
    """The JSON value of a body, its names and texts normalised (R-5).

    NUL, other control characters and lone surrogates become U+FFFD, since PostgreSQL refuses some that SQLite
    takes (PROTOCOLS 7.2). Newline and tab stay; CR LF becomes a newline. Raw control characters, NaN, bad
    UTF-8 and nesting over 200 are not JSON here. Of a name given twice the last counts.
    """
    text = body.removeprefix(codecs.BOM_UTF8)
    if SUSPECT.search(text):
        text = ESCAPE.sub(replaced, text)
    try:
        return from_json(text, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise BadPayload(f"not valid JSON: {str(error)[:ECHO * 3]}") from None


def read_object(body: bytes) -> dict[str, Any]:
    value = read_json(body)
    if type(value) is not dict:
        raise unfit("the body", "a JSON object", value)
    return value


def replaced(escape: re.Match[bytes]) -> bytes:
    if escape["line_end"]:
        return rb"\n"
    return rb"\ufffd" if escape["unfit"] else escape[0]


def quoted(value: Any) -> str:
    """The beginning of a scalar of the body, safe to show."""
    text = value if type(value) is str else text_of_number(value)
    return json.dumps(clip(text, ECHO), ensure_ascii=False)


def unfit(place: str, right: str, value: Any) -> BadPayload:
    return BadPayload(f"{place}: is {KINDS[type(value)]}; must be {right}")


def text_of_number(value: Any) -> str:
    """JSON text of a number or boolean; nothing for one out of range (`1e999` is read as infinity)."""
    is_in_range = math.isfinite(value) if type(value) is float else value.bit_length() <= MAX_BITS
    return json.dumps(value) if is_in_range else ""


def read_texts(value: Any, place: str) -> dict[str, str]:
    """Names to texts. A number or boolean becomes its JSON text; null drops the name; a null map is empty."""
    if type(value) is not dict:
        if value is None:
            return {}
        raise unfit(place, "an object of names and texts", value)
    for item in value.values():
        if type(item) is not str:
            break
    else:
        return value
    given = {name: item for name, item in value.items() if item is not None}
    return {name: read_scalar(item, f"{place}[{quoted(name)}]") for name, item in given.items()}


def read_scalar(value: Any, place: str) -> str:
    if type(value) is str:
        return value
    if type(value) in (dict, list, type(None)):
        raise unfit(place, "a text", value)
    text = text_of_number(value)
    if not text:
        raise BadPayload(f"{place}: is a number out of range; write it as a text")
    return text


def read_labels(value: Any, place: str) -> dict[str, str]:
    """As texts. An empty label is dropped: to Prometheus it is the same as an absent one."""
    labels = read_texts(value, place)
    return {name: text for name, text in labels.items() if text} if "" in labels.values() else labels


def read_identity(value: Any, place: str) -> dict[str, str]:
    """The labels of an alert. They are all that it is known by (R-10): alerts without any would all be one,
    so they are refused. Alertmanager itself takes none without labels, and never sends one."""
    labels = read_labels(value, place)
    if not labels:
        raise BadPayload(f"{place}: is empty; an alert is known by its labels, so give alertname at least")
    return labels


def read_time(value: Any, place: str) -> datetime | None:
    """RFC 3339 with any offset as UTC, cut to microseconds. None for none, and for Go's zero time."""
    if value == ZERO_TIME or value is None or value == "":
        return None
    if type(value) is not str:
        raise unfit(place, 'a time such as "2026-11-20T15:15:36Z"', value)
    if not TIME.fullmatch(value):
        raise BadPayload(f'{place}: is {quoted(value)}; must be RFC 3339, such as "2026-11-20T15:15:36Z"')
    try:
        moment = datetime.fromisoformat(value.upper())
        # The year 1 is Go's zero time in any zone; converting it may leave the calendar (PROTOCOLS 7.7).
        return None if moment.year == 1 else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadPayload(f"{place}: is {quoted(value)}, which is not in the calendar") from None


def read_status(value: Any, ends_at: datetime | None, arrived_at: datetime) -> AlertStatus:
    """The word, or without one whether the end has passed."""
    if value is None:
        return AlertStatus.resolved if ends_at is not None and ends_at <= arrived_at else AlertStatus.firing
    if type(value) is not str:
        raise unfit(".status", '"firing" or "resolved"', value)
    status = STATUSES.get(value)
    if status is None:
        raise BadPayload(f'.status: is {quoted(value)}; must be "firing" or "resolved"')
    return status


def read_word(value: Any) -> str:
    """An attribute that decides nothing: text and numbers as text, anything else as if it were not given."""
    if type(value) is str:
        return value
    return text_of_number(value) if type(value) in (int, float) else ""


def read_address(value: Any) -> str:
    """An http(s) address, else nothing: no other scheme becomes a link, nor one with control characters."""
    if type(value) is not str or not WEB_ADDRESS.match(value) or not value.isprintable() or "\ufffd" in value:
        return ""
    return value.replace(" ", "%20")


def read_count(value: Any, place: str) -> int:
    """A number of things. Taking a wrong one for 0 would claim that nothing is missing, so it is refused."""
    if value is None:
        return 0
    if type(value) is not int or value < 0:
        raise BadPayload(f"{place}: must be a whole number, 0 or more")
    return min(value, MAX_COUNT)


def read_alerts(items: Any, read: AlertReader, arrived_at: datetime) -> tuple[Alert, ...]:
    """Each item by `read`, whose reasons begin at the item (`.status: …`). Null is Go's other empty list."""
    if type(items) is not list:
        if items is None:
            return ()
        raise unfit("alerts", "a list", items)
    alerts: list[Alert] = []
    for item in items:
        try:
            alerts.append(read(item, arrived_at))
        except BadPayload as flaw:
            raise BadPayload(f"alerts[{len(alerts)}]{flaw.reason}") from None
    return tuple(alerts)


def read_alert(item: Any, arrived_at: datetime) -> Alert:
    """One of `alerts[]` (PROTOCOLS 1.1). The sender's group status plays no part (R-8)."""
    if type(item) is not dict:
        raise unfit("", "an object", item)
    get = item.get
    labels = read_identity(get("labels"), ".labels")
    annotations = read_texts(get("annotations"), ".annotations")
    starts_at, ends_at = read_time(get("startsAt"), ".startsAt"), read_time(get("endsAt"), ".endsAt")
    status = read_status(get("status"), ends_at, arrived_at)
    return Alert(
        labels, status, annotations, starts_at, ends_at if status is AlertStatus.resolved else None,
        read_address(get("generatorURL")), read_word(get("fingerprint")),
    )


def read_version(value: Any, right: str, hints: Mapping[str, str]) -> None:
    """Refuse a body that says it is something else. None, or the right one as a number, will do."""
    if value is None or value == right or (type(value) is int and value == int(right)):
        return
    if type(value) in (dict, list):
        raise unfit("version", f'"{right}"', value)
    raise BadPayload(f'version: is {quoted(value)}; must be "{right}"{hints.get(read_word(value), "")}')


def read_notification(
    source: str, body: bytes, arrived_at: datetime, version: str, hints: Mapping[str, str],
    read: AlertReader = read_alert,
) -> Batch:
    """The whole body. `hints` says, by a wrong version, where such a body belongs."""
    data = read_object(body)
    if "alerts" not in data:
        raise BadPayload("alerts: is missing; a webhook with a payload of your own cannot be read here, "
                         "so remove the custom payload from the sender's webhook settings")
    read_version(data.get("version"), version, hints)
    return Batch(
        source=source, arrived_at=arrived_at, alerts=read_alerts(data["alerts"], read, arrived_at),
        group_labels=read_labels(data.get("groupLabels"), "groupLabels"),
        receiver=unquoted(read_word(data.get("receiver"))), sender=read_word(data.get("externalURL")),
        truncated=read_count(data.get("truncatedAlerts"), "truncatedAlerts"),
        body_sha256=hashlib.sha256(body).hexdigest(),
    )


def unquoted(receiver: str) -> str:
    """The name as it was configured: the sender writes `regexp.QuoteMeta(name)` (PROTOCOLS 1.1, R-7)."""
    return QUOTED_META.sub(r"\1", receiver) if "\\" in receiver else receiver
