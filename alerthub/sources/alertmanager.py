"""Prometheus Alertmanager's webhook, version 4 (PROTOCOLS 1.1).

Of asking Alertmanager itself only the settings are here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from alerthub.domain.alert import Batch
from alerthub.sources.base import Access, HeaderSource, SourceSettings, Span
from alerthub.sources.body import read_notification

VERSION = "4"
HINTS = {"1": "; Grafana sends version 1, so give this source `type: grafana`"}


def check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_plain = False
    if not is_plain or not url.isprintable() or " " in url:
        raise ValueError("not an http(s) address; write it like http://alertmanager:9093")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user name or password in the address; give username and password_file beside it")
    if parts.query or parts.fragment:
        raise ValueError("only scheme, host, port and path prefix; nothing after ? or #")
    return url.rstrip("/")


class Reconcile(Access):
    """How Alertmanager is asked for the alerts that it knows: `urls` are all peers of one cluster.

    With `write`, silences made here are made there too. `receiver`, a regular expression, asks only for the
    alerts that go to it.
    """

    urls: list[Annotated[str, AfterValidator(check_url)]] = Field(min_length=1)
    interval: Span = timedelta(minutes=1)
    write: bool = False
    receiver: str | None = None


class AlertmanagerSettings(SourceSettings):
    type: Literal["alertmanager"] = "alertmanager"
    reconcile: Reconcile | None = None


class Alertmanager(HeaderSource):
    kind: ClassVar[str] = "alertmanager"
    Config: ClassVar[type[SourceSettings]] = AlertmanagerSettings

    def __init__(self, config: AlertmanagerSettings) -> None:
        super().__init__(config)

    def parse(self, body: bytes, arrived_at: datetime) -> Batch:
        """Version 4 or none. Fields that a release does not know yet, or does not send, change nothing."""
        return read_notification(self.name, body, arrived_at, VERSION, HINTS)
