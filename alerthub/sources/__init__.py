"""The registry of sources: kind → where its class is. A source that nobody configured is never imported."""

from __future__ import annotations

from importlib import import_module

from alerthub.sources.base import Source

REGISTRY = {
    "alertmanager": "alerthub.sources.alertmanager:Alertmanager",
    "grafana": "alerthub.sources.grafana:Grafana",
    "generic": "alerthub.sources.generic:Generic",
}


def load(kind: str) -> type[Source]:
    """The class of one kind. Raises KeyError for a kind that is not in the registry."""
    module, name = REGISTRY[kind].split(":")
    source: type[Source] = getattr(import_module(module), name)
    return source
