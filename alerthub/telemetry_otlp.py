"""Traces to an OpenTelemetry collector (OTLP over HTTP). Spans wait in memory, at most 2048, and a thread of their own gives them
out: a collector that is slow or away costs spans and nothing else. Nothing global is set: two hubs in one process do not mix.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from threading import Thread
from types import TracebackType
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    get_current_span,
    set_span_in_context,
    use_span,
)

from alerthub import __version__
from alerthub.telemetry import AROUND, Fact, Tracer

logger = logging.getLogger("alerthub.telemetry")
EXPORT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
TRACE: ContextVar[int] = ContextVar("trace", default=0)     # the id that the next root span gets; 0: a random one


class IncidentIds(RandomIdGenerator):
    """A sampler by ratio then keeps or drops an incident as a whole, on every replica alike."""

    def generate_trace_id(self) -> int:
        return TRACE.get() or super().generate_trace_id()


class Quiet(SpanExporter):
    """One line when the collector begins to take nothing, and one when it takes spans again; the library would write one for
    each attempt."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.exporter = exporter
        self.is_taken = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self.exporter.export(spans)
        is_taken = result is SpanExportResult.SUCCESS
        if is_taken != self.is_taken:
            self.is_taken = is_taken
            logger.warning("the collector takes traces again" if is_taken else "the collector takes no traces; they are dropped",
                           extra={"event": "traces.taken" if is_taken else "traces.dropped"})
        return result

    def shutdown(self) -> None:
        self.exporter.shutdown()


class Otlp:
    """See Tracer. `processor` in place of a collector is for tests."""

    def __init__(self, endpoint: str, environ: Mapping[str, str], processor: SpanProcessor | None = None) -> None:
        # The library's own lines repeat what Quiet says, many times.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        place = f"{endpoint}/v1/traces" if endpoint else None       # None: where the variables say
        self.exporter = Quiet(OTLPSpanExporter(place, timeout=EXPORT_SECONDS)) if processor is None else None
        is_named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        named = {} if is_named else {"service.name": "alerthub"}
        self.provider = TracerProvider(resource=Resource.create({**named, "service.version": __version__}),
                                       id_generator=IncidentIds(), shutdown_on_exit=False)
        if processor is not None:
            self.provider.add_span_processor(processor)
        if self.exporter is not None:
            self.provider.add_span_processor(BatchSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("alerthub", __version__)

    def span(self, name: str, incident_id: str = "", links: Sequence[object | None] = (), **facts: Fact) -> Open:
        if not incident_id:
            parent, others = above(links)
            return Open(self, self.tracer.start_span(name, parent, links=others, attributes=attributes(facts)))
        before = TRACE.set(trace_id(incident_id))
        span = self.tracer.start_span(name, Context(), links=[Link(one) for one in contexts(links)],
                                      attributes=attributes({**facts, "incident_id": incident_id}))
        TRACE.reset(before)
        return Open(self, span)

    def past(self, name: str, began: datetime, links: Sequence[object | None] = (), error: str = "",
             **facts: Fact) -> object | None:
        parent, others = above(links)
        span = self.tracer.start_span(name, parent, links=others, attributes=attributes(facts),
                                      start_time=int(began.timestamp() * 1e9))
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end()
        return span.get_span_context()

    def tell(self, **facts: Fact) -> None:
        get_current_span().set_attributes(attributes(facts))

    def here(self) -> object | None:
        context = get_current_span().get_span_context()
        return context if context.is_valid else None

    def close(self) -> None:
        flush = Thread(target=self.provider.force_flush, name="traces", daemon=True)
        flush.start()
        flush.join(CLOSE_SECONDS)
        if self.exporter is not None and flush.is_alive():
            self.exporter.shutdown()        # the collector is away: what it was waiting for ends now
        else:
            self.provider.shutdown()  # type: ignore[no-untyped-call, unused-ignore]


class Open:
    """A span that is open: what happens inside is below it. Of an error it keeps the kind, never the text."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self.tracer, self.span = tracer, span
        self.inside = use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False)

    def __enter__(self) -> None:
        self.inside.__enter__()
        self.before = AROUND.set(self.tracer)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        AROUND.reset(self.before)
        if kind is not None:
            self.span.set_status(Status(StatusCode.ERROR, kind.__name__))
        self.inside.__exit__(None, None, None)


def contexts(links: Sequence[object | None]) -> list[SpanContext]:
    return [one for one in links if isinstance(one, SpanContext)]


def above(links: Sequence[object | None]) -> tuple[Context | None, list[Link]]:
    """The first of them as the parent, and the others. None without links: the span around it is the parent."""
    known = contexts(links)
    parent = set_span_in_context(NonRecordingSpan(known[0]), Context()) if known else Context() if links else None
    return parent, [Link(one) for one in known[1:]]


def attributes(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {f"alerthub.{name}": value for name, value in facts.items()}


def trace_id(incident_id: str) -> int:
    """The incident's id as a number; 0 for what is no UUID."""
    try:
        return UUID(incident_id).int
    except ValueError:
        return 0
