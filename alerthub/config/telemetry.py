"""Traces: where the collector is. Read once, at the start."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from alerthub.settings import Settings, base_address
from alerthub.telemetry import NEEDS, is_installed


def check_collector(url: str) -> str:
    base_address(url, "write it like http://collector:4318", ", and credentials in OTEL_EXPORTER_OTLP_HEADERS")
    if not is_installed():
        raise ValueError(f"{NEEDS}, or take telemetry out")
    return url.rstrip("/").removesuffix("/v1/traces")


class Telemetry(Settings):
    """Spans go to `{otlp_endpoint}/v1/traces` (OTLP over HTTP). OpenTelemetry's own variables hold as well."""

    otlp_endpoint: Annotated[str, AfterValidator(check_collector)]
