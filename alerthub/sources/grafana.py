"""Grafana's webhook, version 1 (PROTOCOLS 1.9): Alertmanager's body with links and values, perhaps signed."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alerthub.domain.alert import Alert, Batch
from alerthub.settings import revealed
from alerthub.sources.base import HeaderSource, SourceSettings, StrongSecret
from alerthub.sources.body import read_address, read_alert, read_notification, text_of_number

VERSION = "1"
HINTS = {"4": "; Alertmanager sends version 4, so give this source `type: alertmanager`"}
LINKS = {"dashboard": "dashboardURL", "panel": "panelURL", "silence": "silenceURL"}
VALUE = "value"                # the annotation that tells the measured value
TOLERANCE = 300                # seconds between the sender's clock and ours, either way
SIGNATURE = re.compile(r"[0-9a-fA-F]{64}")
TIMESTAMP = re.compile(r"[0-9]{1,12}")

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]      # a token of RFC 9110


class GrafanaSettings(SourceSettings):
    """`hmac_*` are the contact point's settings for signatures. With a token as well, both must be right."""

    type: Literal["grafana"] = "grafana"
    hmac_secret: StrongSecret | None = None
    hmac_secret_file: str | None = None
    hmac_header: HeaderName = "X-Grafana-Alerting-Signature"
    hmac_timestamp_header: HeaderName | None = None

    @model_validator(mode="after")
    def check_signature(self) -> Self:
        if self.hmac_timestamp_header is not None and self.hmac_secret is None:
            raise ValueError("hmac_timestamp_header needs hmac_secret or hmac_secret_file")
        return self


class Grafana(HeaderSource):
    kind: ClassVar[str] = "grafana"
    Config: ClassVar[type[SourceSettings]] = GrafanaSettings

    def __init__(self, config: GrafanaSettings) -> None:
        super().__init__(config)
        self._secret = (revealed(config.hmac_secret) or "").encode()
        self._signature_header = config.hmac_header.lower()
        self._timestamp_header = (config.hmac_timestamp_header or "").lower()

    @property
    def is_open(self) -> bool:
        return super().is_open and not self._secret

    @property
    def signs_body(self) -> bool:
        return bool(self._secret)

    def admits(self, headers: Mapping[str, str], body: bytes | None, now: datetime) -> bool:
        """Without the body: whether it is worth reading. With it: whether the signature is right, too."""
        if not super().admits(headers, body, now):
            return False
        return not self._secret or self._is_signed(headers, body, now)

    def _is_signed(self, headers: Mapping[str, str], body: bytes | None, now: datetime) -> bool:
        signature, prefix = headers.get(self._signature_header, "").strip(), b""
        if not SIGNATURE.fullmatch(signature):
            return False
        if self._timestamp_header:
            timestamp = headers.get(self._timestamp_header, "").strip()
            if not TIMESTAMP.fullmatch(timestamp) or abs(int(timestamp) - now.timestamp()) > TOLERANCE:
                return False
            prefix = f"{timestamp}:".encode()
        if body is None:
            return True
        right = hmac.digest(self._secret, prefix + body, hashlib.sha256)
        return hmac.compare_digest(right, bytes.fromhex(signature))

    def parse(self, body: bytes, arrived_at: datetime) -> Batch:
        """Version 1 or none."""
        return read_notification(self.name, body, arrived_at, VERSION, HINTS, read_grafana_alert)


def read_grafana_alert(item: Any, arrived_at: datetime) -> Alert:
    """As Alertmanager's, with links for people, and the value as annotation `value` if the rule has none."""
    alert = read_alert(item, arrived_at)
    links = {name: address for name, field in LINKS.items() if (address := read_address(item.get(field)))}
    value = "" if VALUE in alert.annotations else value_of(item)
    annotations = {**alert.annotations, VALUE: value} if value else alert.annotations
    return replace(alert, annotations=annotations, links=links) if value or links else alert


def value_of(item: Mapping[str, Any]) -> str:
    """Grafana's own text of the values, else `A=1.5, B=0`; nothing without values (they may be null)."""
    text, values = item.get("valueString"), item.get("values")
    if type(text) is str and text.strip():
        return text
    if type(values) is not dict:
        return ""
    numbers = {name: number for name, number in values.items() if type(number) in (int, float)}
    pairs = ((name, text_of_number(number)) for name, number in numbers.items())
    return ", ".join(f"{name}={number}" for name, number in pairs if number)
