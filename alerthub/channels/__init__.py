"""The kinds of channels, by name. A kind that no configuration uses is never imported."""

from __future__ import annotations

from importlib import import_module
from typing import Any

REGISTRY = {
    "slack": "alerthub.channels.slack:Slack",
    "telegram": "alerthub.channels.telegram:Telegram",
    "email": "alerthub.channels.email:Email",
    "pagerduty": "alerthub.channels.pagerduty:PagerDuty",
    "webhook": "alerthub.channels.webhook:Webhook",
    "console": "alerthub.channels.console:Console",
}


def load(kind: str) -> Any:
    """The channel class (see `base.Channel`) of a kind. KeyError for a kind that does not exist."""
    module, _, name = REGISTRY[kind].partition(":")
    return getattr(import_module(module), name)
