"""Traces: what the walls of the hub say while it works, and nobody hears unless it is configured. What speaks to a collector
(OpenTelemetry, the extra `alerthub[otel]`) is telemetry_otlp.py, imported only when it is wanted.

The trace of an incident has the incident's own id, so that every attempt to tell it and every action for it stand together,
whichever replica made them, with nothing kept in the database. Facts are counts, kinds and ids: no text of an alert, no address.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from datetime import datetime
from importlib.util import find_spec
from typing import Protocol

logger = logging.getLogger("alerthub.telemetry")
Opened = AbstractContextManager[None]
Fact = str | int | float | bool | Sequence[str]
NEEDS = "traces need one more library; install alerthub[otel]"
# The variables by which OpenTelemetry itself is told of a collector (opentelemetry.io/docs/specs/otel/protocol/exporter).
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
NOTHING: Opened = nullcontext()


class Tracer(Protocol):
    """Nothing here waits for a collector, and nothing raises."""

    def span(self, name: str, incident_id: str = "", links: Sequence[object | None] = (), **facts: Fact) -> Opened:
        """What happens inside, until it ends: with an incident in that one's trace, with links below the first of them, else
        below the span around it."""
    def past(self, name: str, began: datetime, links: Sequence[object | None] = (), error: str = "",
             **facts: Fact) -> object | None:
        """What has just ended, well or by an error of this kind; to be linked to."""
    def tell(self, **facts: Fact) -> None:
        """More about the span around it."""
    def here(self) -> object | None:
        """The span around it; to be linked to."""
    def close(self) -> None:
        """Give out what is left, for a few seconds at most."""


class Off:
    """No traces."""

    def span(self, name: str, incident_id: str = "", links: Sequence[object | None] = (), **facts: Fact) -> Opened:
        return NOTHING

    def past(self, name: str, began: datetime, links: Sequence[object | None] = (), error: str = "",
             **facts: Fact) -> object | None:
        return None

    def tell(self, **facts: Fact) -> None:
        return None

    def here(self) -> object | None:
        return None

    def close(self) -> None:
        return None


OFF: Tracer = Off()
AROUND: ContextVar[Tracer] = ContextVar("tracer", default=OFF)      # the one whose span is open here


def within(name: str) -> Opened:
    """A part of the span around it; nothing where there is none."""
    return AROUND.get().span(name)


def is_installed() -> bool:
    try:
        return all(find_spec(f"opentelemetry.{name}") for name in ("sdk.trace", "exporter.otlp.proto.http"))
    except ModuleNotFoundError:
        return False


def is_wanted(endpoint: str, environ: Mapping[str, str]) -> bool:
    """By the configuration, or by OpenTelemetry's own variables; which can also forbid it."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER", "") == "none":
        return False
    return bool(endpoint) or any(environ.get(name) for name in ENDPOINTS)


def tracer_for(endpoint: str, environ: Mapping[str, str]) -> Tracer:
    """OFF unless traces are wanted. Variables that somebody sets for all programs of a machine do not keep the hub from its
    start: what is wrong with them is logged, and there are no traces."""
    if not is_wanted(endpoint, environ):
        return OFF
    if not is_installed():
        logger.warning("no traces: %s", NEEDS, extra={"event": "traces.off"})
        return OFF
    try:
        tracer: Tracer = importlib.import_module("alerthub.telemetry_otlp").Otlp(endpoint, environ)
    except (ValueError, RuntimeError) as error:
        logger.warning("no traces: a variable of OpenTelemetry cannot be used (%s)", type(error).__name__,
                       extra={"event": "traces.off"})
        return OFF
    return tracer
