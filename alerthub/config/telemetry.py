"""Traces: where the collector is. Read once, at the start."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from alerthub.settings import Settings
from alerthub.telemetry import NEEDS, is_installed

EXAMPLE = "write it like http://collector:4318"


def check_collector(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not url.isprintable() or " " in url:
        raise ValueError(f"not an http(s) address; {EXAMPLE}")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ValueError(f"only scheme, host, port and path; {EXAMPLE}, and credentials in OTEL_EXPORTER_OTLP_HEADERS")
    if not is_installed():
        raise ValueError(f"{NEEDS}, or take telemetry out")
    return url.rstrip("/").removesuffix("/v1/traces")


class Telemetry(Settings):
    """Spans go to `{otlp_endpoint}/v1/traces` (OTLP over HTTP). OpenTelemetry's own variables hold as well."""

    otlp_endpoint: Annotated[str, AfterValidator(check_collector)]
