"""The registry of sources: kind → where its class is. A source that nobody configured is never imported."""

from __future__ import annotations

from alerthub.registry import named
from alerthub.sources.base import Source

REGISTRY = {
    "alertmanager": "alerthub.sources.alertmanager:Alertmanager",
    "grafana": "alerthub.sources.grafana:Grafana",
    "generic": "alerthub.sources.generic:Generic",
}


def load(kind: str) -> type[Source]:
    """The class of one kind. Raises KeyError for a kind that is not in the registry."""
    source: type[Source] = named(REGISTRY[kind])
    return source
