"""Message templates: Jinja2 in the hands of whoever writes the configuration, with labels as data and work that is bounded.

What comes out is untrusted text: the channel escapes it, or asks for `html` where the template itself is the markup.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import jinja2

from alerthub.channels.sandbox import (
    ALLOWANCE,
    SOURCE,
    TEXT,
    VALUE,
    Allowance,
    BoundedEnvironment,
    Exceeded,
    LabelSet,
    Record,
)
from alerthub.channels.sandbox_syntax import Bounder
from alerthub.channels.template_filters import FILTERS
from alerthub.domain.alert import AlertStatus, Severity
from alerthub.domain.message import AlertLine, IncidentStatus, Link, Message, Why

log = logging.getLogger(__name__)

# What a template can make Jinja2's compiler, the code that it writes, and the filters raise.
FAILURES = (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RuntimeError,
            MemoryError, SyntaxError, NameError, AssertionError)

VARIABLES = {
    "title": "one line that names the incident",
    "status": "triggered, acknowledged or resolved",
    "severity": "info, warning, error or critical",
    "number": "the incident's number",
    "why": "why it is told now: opened, changed, resolved, repeat …",
    "labels": "labels that all alerts share: {{ labels.agent }}, {{ labels['agent'] }}, {% for name, value in labels|items %}",
    "annotations": "annotations that all alerts share",
    "alerts": "the first alerts, each with status (firing or resolved), labels, annotations, summary, starts_at, ends_at, "
              "generator_url",
    "firing": "how many alerts fire",
    "resolved": "how many alerts are resolved",
    "news": "lines that this destination has not seen yet",
    "actions": "what automatic actions did, each with text and is_bad",
    "links": "each with label and url",
    "url": "the incident's page",
    "source": "the source's name",
    "opened_at": "for example 2026-11-21 12:00:00 UTC, as all times; empty when there is none",
    "resolved_at": "see opened_at",
    "acknowledged_by": "who acknowledged it, or nothing",
    "acknowledged_at": "see opened_at",
    "silenced_until": "see opened_at; empty while the hub has no silence of it",
    "flaps": "how often it has opened lately, once that is too often; else 0",
    "incomplete": "how many alerts the sender cut off",
    "is_stale": "the source has been silent for too long",
    "is_silenced": "silenced or inhibited at the source",
}


class Template:
    """A template that is known to work: it was parsed and rendered on sample messages. Raises ValueError with the line
    and a plain reason. VARIABLES lists what it can say.

    With `html`, everything that is printed is escaped and the template's own words are markup.
    """

    def __init__(self, source: str, *, html: bool = False) -> None:
        if len(source) > SOURCE:
            raise ValueError(f"a template of more than {SOURCE} characters")
        try:
            strict = compiled(source, strict=True, html=html)
            self._template = compiled(source, strict=False, html=html)
            for sample in samples():
                rendered(strict, sample)
        except FAILURES as error:
            raise ValueError(reason_of(error)) from None

    def render(self, message: Message) -> str | None:
        """The text, at most 64 KiB; None when the template fails or asks for too much. Never raises, never hangs."""
        try:
            return rendered(self._template, message)
        except FAILURES as error:
            # Only the kind of the error: its text may quote a label.
            log.warning("A message template failed; the built-in text is sent instead.",
                        extra={"event": "template.failed", "error": type(error).__name__, "line": line_of(error)})
            return None


@cache
def environment(*, strict: bool, html: bool) -> BoundedEnvironment:
    return BoundedEnvironment(FILTERS, strict=strict, html=html)


def compiled(source: str, *, strict: bool, html: bool) -> jinja2.Template:
    made = environment(strict=strict, html=html)
    return made.from_string(Bounder(made, VARIABLES).bound(made.parse(source)))


def rendered(template: jinja2.Template, message: Message) -> str:
    parts: list[str] = []
    length = 0
    for part in template.generate({**variables(message), ALLOWANCE: Allowance()}):
        length += len(part)
        if length > TEXT:
            raise Exceeded(f"a text of more than {TEXT} characters")
        parts.append(part)
    return "".join(parts)


def line_of(error: BaseException) -> int:
    """The line inside the template, or 0."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return error.lineno
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return (frames[-1].lineno or 0) if frames else 0


def reason_of(error: BaseException) -> str:
    line, word = line_of(error), str(error)
    if isinstance(error, jinja2.TemplateSyntaxError):
        word = error.message or "not a template"
    elif isinstance(error, RecursionError | MemoryError | SyntaxError):
        word = "nested too deeply"
    return f"line {line}: {word}" if line else word


def variables(message: Message) -> dict[str, Any]:
    return {
        "title": message.title[:VALUE], "status": message.status.value, "severity": message.severity.value,
        "number": message.number, "why": message.why.value, "labels": LabelSet(message.common_labels),
        "annotations": LabelSet(message.common_annotations), "alerts": [alert_record(alert) for alert in message.alerts],
        "firing": message.firing, "resolved": message.resolved, "news": [line[:VALUE] for line in message.news],
        "actions": [Record({"text": action.text[:VALUE], "is_bad": action.is_bad}) for action in message.actions],
        "links": [Record({"label": link.label, "url": link.url}) for link in message.links], "url": page_of(message),
        "source": message.source, "opened_at": instant(message.opened_at), "resolved_at": instant(message.resolved_at),
        "acknowledged_by": message.acknowledged_by, "incomplete": message.incomplete, "is_stale": message.is_stale,
        "is_silenced": message.is_silenced, "acknowledged_at": instant(message.acknowledged_at),
        "silenced_until": instant(message.silenced_until), "flaps": message.flaps,
    }


def alert_record(alert: AlertLine) -> Record:
    return Record({
        "status": alert.status.value, "labels": LabelSet(alert.labels), "annotations": LabelSet(alert.annotations),
        "summary": alert.summary, "starts_at": instant(alert.starts_at), "ends_at": instant(alert.ends_at),
        "generator_url": alert.generator_url,
    })


def page_of(message: Message) -> str:
    """The incident's page: the link called Incident, else the first one."""
    named = [link.url for link in message.links if link.label.startswith("Incident")]
    return next(iter([*named, *(link.url for link in message.links)]), "")


def instant(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment else ""


def samples() -> Iterator[Message]:
    """What a template is tried on: an incident with two alerts, and the same one resolved."""
    now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    labels = {"alertname": "AgentRewardNegative", "agent": "btc", "instance": "agent-btc:8000", "severity": "critical"}
    notes = {"summary": "The rolling reward is -12.5", "description": "Look at the agent.", "value": "-12.5"}
    firing = AlertLine(AlertStatus.firing, labels, notes, now, None, "http://prometheus:9090/graph")
    cleared = replace(firing, status=AlertStatus.resolved, ends_at=now)
    opened = Message(
        delivery_id="0" * 32, incident_id="0" * 32, number=17, episode=1, why=Why.opened, status=IncidentStatus.triggered,
        severity=Severity.critical, title="AgentRewardNegative on btc", at=now, opened_at=now - timedelta(minutes=5),
        alerts=(firing, cleared), firing=1, resolved=1, common_labels=labels, common_annotations=notes,
        source="alertmanager", news=("Opened: 1 alert firing",), links=(Link("Incident", "https://hub.example.com/incidents/17"),),
    )
    yield opened
    yield replace(opened, status=IncidentStatus.resolved, why=Why.resolved, resolved_at=now, alerts=(cleared, cleared), firing=0,
                  resolved=2, acknowledged_by="ayse")
