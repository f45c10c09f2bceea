"""The hub's own small JSON, for scripts and cron: several alerts, or one in a line (see `Generic`).

Unlike in the formats of others, a name that is not known here is refused: it is a typing mistake, and
somebody waits for its effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Literal

from alerthub.domain.alert import Alert, AlertStatus, Batch
from alerthub.errors import BadPayload
from alerthub.sources.base import HeaderSource, SourceSettings
from alerthub.sources.body import (
    quoted,
    read_address,
    read_alerts,
    read_identity,
    read_labels,
    read_object,
    read_scalar,
    read_status,
    read_texts,
    read_time,
    unfit,
)

LIST_KEYS = ("alerts", "group_labels")
ALERT_KEYS = ("labels", "annotations", "status", "starts_at", "ends_at", "generator_url")
# What the short form says in a word of its own, and where the same stands in the long form.
SHORT_KEYS = {
    "name": ("labels", "alertname"),
    "severity": ("labels", "severity"),
    "summary": ("annotations", "summary"),
}


class GenericSettings(SourceSettings):
    type: Literal["generic"] = "generic"


class Generic(HeaderSource):
    """Takes two forms. Times are RFC 3339 with an offset.

        {"alerts": [{"labels": {"alertname": "BackupFailed", "host": "db-1"},
                     "annotations": {"summary": "no space left"}, "generator_url": "https://ci.example.com/job/7",
                     "status": "firing", "starts_at": "2026-11-20T15:15:36Z", "ends_at": null}],
         "group_labels": {"host": "db-1"}}

        {"name": "BackupFailed", "severity": "critical", "summary": "no space left", "status": "firing",
         "labels": {"host": "db-1"}}

    Of the first only `alerts` with their `labels` must be there, of the second only `name`; the second takes
    the other keys of an alert, too. `status` is firing or resolved, else told by `ends_at`.
    """

    kind: ClassVar[str] = "generic"
    Config: ClassVar[type[SourceSettings]] = GenericSettings

    def __init__(self, config: GenericSettings) -> None:
        super().__init__(config)

    def parse(self, body: bytes, arrived_at: datetime) -> Batch:
        """A body with `alerts` is the first form, one with `name` the second."""
        data = read_object(body)
        group_labels: Mapping[str, str] = {}
        if "alerts" in data:
            check_names(data, LIST_KEYS)
            alerts = read_alerts(data["alerts"], read_generic_alert, arrived_at)
            group_labels = read_labels(data.get("group_labels"), "group_labels")
        else:
            alerts = (read_short_form(data, arrived_at),)
        return Batch(source=self.name, arrived_at=arrived_at, alerts=alerts, group_labels=group_labels,
                     body_sha256=hashlib.sha256(body).hexdigest())


def check_names(item: Mapping[str, Any], known: tuple[str, ...], place: str = "") -> None:
    for name in item:
        if name not in known:
            raise BadPayload(f"{place}{quoted(name)} is not known here; the names are {', '.join(known)}")


def read_generic_alert(item: Any, arrived_at: datetime) -> Alert:
    if type(item) is not dict:
        raise unfit("", "an object", item)
    check_names(item, ALERT_KEYS, ": ")
    starts_at = read_time(item.get("starts_at"), ".starts_at")
    ends_at = read_time(item.get("ends_at"), ".ends_at")
    status = read_status(item.get("status"), ends_at, arrived_at)
    return Alert(
        labels=read_identity(item.get("labels"), ".labels"), status=status,
        annotations=read_texts(item.get("annotations"), ".annotations"), starts_at=starts_at,
        ends_at=ends_at if status is AlertStatus.resolved else None,
        generator_url=read_address(item.get("generator_url")),
    )


def read_short_form(data: Mapping[str, Any], arrived_at: datetime) -> Alert:
    """The long form of it, read as such; its reasons then speak of the body instead of an item of a list."""
    check_names(data, (*SHORT_KEYS, *ALERT_KEYS))
    if "name" not in data:
        raise BadPayload('name: is missing; send {"name": …}, or {"alerts": [{"labels": {…}}]} for several')
    try:
        return read_generic_alert(lengthened(data), arrived_at)
    except BadPayload as flaw:
        raise BadPayload(flaw.reason.removeprefix(".")) from None


def lengthened(data: Mapping[str, Any]) -> dict[str, Any]:
    if not read_scalar(data["name"], "name"):
        raise BadPayload("name: is empty; it is what the alert is called")
    item: dict[str, Any] = {name: value for name, value in data.items() if name in ALERT_KEYS}
    for short, (field, name) in SHORT_KEYS.items():
        if data.get(short) is None:
            continue
        texts, text = read_texts(item.get(field), field), read_scalar(data[short], short)
        if texts.get(name) not in (None, "", text):
            raise BadPayload(f"{short}: differs from {field}.{name}; say it once")
        item[field] = {**texts, name: text}
    return item
