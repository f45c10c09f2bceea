"""The kinds of actions, by name. A kind that no configuration uses is never imported."""

from __future__ import annotations

from typing import Any

from alerthub.registry import named

REGISTRY = {
    "command": "alerthub.actions.command:Command",
    "http": "alerthub.actions.http:Http",
    "prefect": "alerthub.actions.prefect:Prefect",
    "kubernetes": "alerthub.actions.kubernetes:Kubernetes",
    "mlflow": "alerthub.actions.mlflow:Mlflow",
    "safe_mode": "alerthub.actions.safe_mode:SafeMode",
    "silence": "alerthub.actions.silence:SilenceAlerts",
}


def load(kind: str) -> Any:
    """The action class (see `base.Action`) of a kind. KeyError for a kind that does not exist."""
    return named(REGISTRY[kind])
